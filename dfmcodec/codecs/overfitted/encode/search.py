"""The overfitted codec: one fit whose Lagrange multiplier follows the target, then integers.

The stages, each a method of `_Search`:

1. Training steps. The lmbda moves so that the size, or the PSNR, comes to the target. In the
   last tenth the steps of the networks are chosen, and the fit goes on with networks as the decoder
   will have them, which makes up for their rounding.
2. Coordinate descent of coarse grids, and of the networks' weights (`refine`).
3. Further training steps where the fit ends away from its target.
4. Coordinate descents of the finest grid under multipliers around the last one, until one gives a
   file that meets the target and one a file beyond it; a part of each leads exactly to it.

A fit that ends early goes from its last state to integers; latents are drawn to zero as far as its
target needs it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from dfmcodec._types import Float32, Tune
from dfmcodec.codecs.overfitted.encode.candidates import Candidate, Candidates, SymbolCandidate
from dfmcodec.codecs.overfitted.encode.control import FitControl
from dfmcodec.codecs.overfitted.encode.coordinate_descent import descend
from dfmcodec.codecs.overfitted.encode.fit import Fit, FitState, Measured
from dfmcodec.codecs.overfitted.encode.networks import Networks
from dfmcodec.codecs.overfitted.encode.plan import Plan, plan_of
from dfmcodec.codecs.overfitted.encode.quantize import Rounding, choose_rounding, delta_scales
from dfmcodec.codecs.overfitted.encode.refine import refined
from dfmcodec.codecs.overfitted.encode.smooth import smooth_latents
from dfmcodec.codecs.overfitted.encode.windows import colours_of
from dfmcodec.codecs.overfitted.grids import code_of_lmbda
from dfmcodec.codecs.overfitted.weights import DELTA_NAMES
from dfmcodec.codecs.registry import Model
from dfmcodec.codecs.wavelet.encode.distortion import pixel_weights
from dfmcodec.container.layout import container_bytes
from dfmcodec.errors import TargetUnreachableError
from dfmcodec.image import peak_value
from dfmcodec.search.job import MAX_RESTARTS, Job, Outcome, Progress, restarts_text
from dfmcodec.search.target import LmbdaTarget, PsnrTarget, best_of

_CONTROL_STEPS = 10  # between two measurements
_TIMED_STEPS = range(1, 6)  # by which the others are timed; the first compiles
_FOR_STEPS = 0.7  # the part of a time limit that is left for steps
_ROUNDING_WINDOWS = 8  # of the image, by which the rounding of networks is chosen
_USUAL_EXPONENT = 1  # of the steps of networks, before their rounding is chosen
_STEPS_PER_TRIAL = 6  # of the networks' coordinate descent
_COARSE_GRIDS, _COARSE_FROM = (2, 1), 2000  # levels that are descended once, and the least steps of such a fit
_FURTHER_ROUNDS = 5  # of steps at most, where a fit ends too far from its target
_FURTHER_STEPS = 30  # in each of them at least, or `further_fraction` of the schedule
_DESCENTS = 8  # at most, until the target lies between two
_SAME_LMBDA = 1.01  # between multipliers whose descents are much the same


class _Search:
    """The fit of one image to a target; see `fit_grids`."""

    def __init__(self, job: Job, plan: Plan, started: float) -> None:
        self._job = job
        self._plan = plan
        self._started = started
        self._cut_short: str | None = None  # why what comes after the steps ended early
        code = code_of_lmbda(plan.first_lmbda)
        scales = delta_scales(plan.prior) if plan.counts_networks else None
        colours = colours_of(job.image)
        frozen = smooth_latents(colours, plan.first_lmbda)
        start, schedule, peak = plan.start, plan.schedule, peak_value(job.image.bit_depth)
        weights = pixel_weights(colours) if job.tune is Tune.VISUAL else None
        self._fit = Fit(
            colours,
            plan.first_lmbda,
            code,
            start,
            schedule,
            scales,
            job.config.seed,
            frozen,
            peak=peak,
            weights=weights,
        )
        self._target = job.target
        self._candidates = Candidates(job, self._target, plan.prior, code)
        self._has_frozen = bool(frozen)
        frozen_until = schedule.frozen_fraction if frozen else 0.0
        self._control = FitControl(self._target, plan.first_lmbda, self._fit.pixel_count, frozen_until)
        self._rounding: Rounding | None = None
        self._expected_rounding: Rounding | None = None
        self._timed_from_s = 0.0

    def run(self) -> Outcome:
        """All stages."""
        state, steps, restarts, reason = self._fitted()
        best = None
        if reason == "steps":
            state = self._with_descended_grids(state)
            state = self._with_descended_networks(state)
            state, tried, further = self._stepped_to_target(state)
            steps += further
            best = self._of_nearest(tried or self._descended_to_target(state))
        if best is None:
            best = self._shrunk_to_target(state, reason)
        seconds = time.perf_counter() - self._started
        return Outcome(best.model, best.written_bytes, None, steps, seconds, self._cut_short or reason, restarts)

    def _fitted(self) -> tuple[FitState, int, int, str]:
        """Takes the steps of the schedule.

        Returns:
            The last finite state that was measured, the number of steps, how often the fit diverged
            and went on from the best state, and why it ended.
        """
        state = kept = self._fit.start()
        number, restarts = 0, 0
        reason = self._reason_to_stop() or "steps"  # before the first step, which is compiled for seconds
        while number < self._steps and reason == "steps":
            schedule, part = self._fit.schedule, number / self._steps
            if self._expected_rounding is None and part >= schedule.rounding_known_from:
                self._expected_rounding = self._chosen_rounding(kept)
            if self._rounding is None and part >= schedule.rounding_from:
                self._rounding = self._chosen_rounding(kept)
            moves_networks = part < schedule.networks_until
            state = self._fit.step(state, number, moves_networks, self._rounding, self._job.should_stop)
            number += 1
            self._keep_to_time(number)
            early = self._reason_to_stop()
            if early is None and number % _CONTROL_STEPS and number < self._steps:
                continue
            found = self._measured(state)
            if found is None:
                restarts, state = restarts + 1, kept
                if restarts > MAX_RESTARTS:
                    reason = "diverged"
                    break
                self._fit.slow_down()
                continue
            kept = state
            other_bytes = container_bytes(Model.OVERFITTED) + self._networks_bytes(state.networks)
            self._report(found, other_bytes, number, restarts)
            if early is not None:
                reason = early
                break
            part, part_between = number / self._steps, _CONTROL_STEPS / self._steps
            self._fit.lmbda = self._control.following(self._fit.lmbda, found, other_bytes, part, part_between)
        return kept, number, restarts, reason

    @property
    def _steps(self) -> int:
        return self._fit.schedule.steps

    def _keep_to_time(self, number: int) -> None:
        """Makes the fit as short as a time limit needs it, once it is known how long steps take: a
        short fit is worth more than the first part of a long one.
        """
        limit = self._job.config.time_limit_s
        if limit is None or number > _TIMED_STEPS[-1]:
            return
        seconds = time.perf_counter() - self._started
        if number == _TIMED_STEPS[0]:
            self._timed_from_s = seconds
        elif number == _TIMED_STEPS[-1]:
            each = (seconds - self._timed_from_s) / (_TIMED_STEPS[-1] - _TIMED_STEPS[0])
            affordable = number + int(_FOR_STEPS * max(0.0, limit - seconds) / each)
            self._fit.shorten(min(self._steps, affordable))

    def _with_descended_grids(self, state: FitState) -> FitState:
        """A state after coordinate descent of its coarser grids, in a fit that is long enough to be
        worth it.
        """
        if self._steps < _COARSE_FROM:
            return state
        networks, symbols = self._any_rounding(state.networks), [np.rint(grid) for grid in state.latents]

        def costs(_: Float32) -> Float32:
            return self._fit.costs(networks, symbols)

        for level in _COARSE_GRIDS:
            descend(symbols[level], costs, self._has_to_stop, level)
        values = [old + new - np.rint(old) for old, new in zip(state.latents, symbols, strict=True)]
        return state._replace(moving_latents=replace(state.moving_latents, values=tuple(values)))

    def _with_descended_networks(self, state: FitState) -> FitState:
        """A state with networks that a file can hold and that suit its symbols better."""
        if self._rounding is None:
            return state
        trials = self._steps // _STEPS_PER_TRIAL
        networks = refined(self._fit, state, self._rounding, trials, self._has_to_stop)
        return state._replace(networks=networks)

    def _stepped_to_target(self, state: FitState) -> tuple[FitState, list[SymbolCandidate], int]:
        """Takes further steps under other multipliers.

        Returns:
            The last state; where latents were frozen, what the states came to; and the number of
            steps.
        """
        if isinstance(self._target, LmbdaTarget):
            return state, [], 0
        schedule, taken, tried = self._fit.schedule, 0, [self._as_it_is(state)]
        each = max(_FURTHER_STEPS, round(schedule.further_fraction * self._steps))
        for _ in range(_FURTHER_ROUNDS):
            lmbda = self._control.in_further_steps(tried)
            if lmbda is None or self._has_to_stop():
                break
            self._fit.lmbda = lmbda
            moved = state
            for i in range(each):
                at = round((schedule.further_from + (1 - schedule.further_from) * i / each) * self._steps)
                moved = self._fit.step(moved, at, False, self._rounding, self._has_to_stop)
            taken += each
            if self._measured(moved, _ROUNDING_WINDOWS) is None:
                break
            state = moved
            tried.append(self._as_it_is(state))
        return state, tried if self._has_frozen else [], taken

    def _as_it_is(self, state: FitState) -> SymbolCandidate:
        """The rounded latents of a state."""
        return self._tried([np.rint(grid) for grid in state.latents], state)

    def _tried(self, symbols: Sequence[Float32], state: FitState) -> SymbolCandidate:
        """What symbols come to with the networks of a state."""
        candidate = self._candidates.of(symbols, self._any_rounding.deltas(state.networks))
        return SymbolCandidate(symbols, candidate, self._fit.lmbda)

    def _descended_to_target(self, state: FitState) -> list[SymbolCandidate]:
        """Coordinate descents until the target is met closely or lies between two.

        All start from the symbols of the fit: one after the other they would find less and less to
        change for the better.
        """
        tried: list[SymbolCandidate] = []
        for _ in range(_DESCENTS):
            tried.append(self._descended(state))
            if self._has_to_stop() or self._control.is_settled(tried):
                break
            lmbda = self._control.of_next_descent(tried)
            if any(1 / _SAME_LMBDA < lmbda / one.lmbda < _SAME_LMBDA for one in tried):
                break
            self._fit.lmbda = lmbda
        return tried

    def _descended(self, state: FitState) -> SymbolCandidate:
        """Rounds the latents of a state and descends the finest grid."""
        networks = self._any_rounding(state.networks)
        finest, *coarser = (np.rint(grid) for grid in state.latents)
        descend(finest, lambda tried: self._fit.costs(networks, [tried, *coarser]), self._has_to_stop)
        return self._tried([finest, *coarser], state)

    def _of_nearest(self, tried: Sequence[SymbolCandidate]) -> Candidate | None:
        """The model of those tried that is nearest to the target and meets it, or of parts of two;
        None if none meets it.
        """
        meeting, beyond = self._control.nearest(tried)
        if meeting is None or beyond is None:
            return None if meeting is None else meeting.candidate
        return self._candidates.between(meeting, beyond)

    def _shrunk_to_target(self, state: FitState, reason: str) -> Candidate:
        """The model of a state's latents that are drawn to zero as far as the target needs it.

        Raises:
            TargetUnreachableError: None meets it.
        """
        tried = self._candidates.shrunk(state.latents, self._any_rounding.deltas(state.networks))
        best = best_of(self._target, tried)
        if best is None:
            closest = min(tried, key=lambda candidate: abs(self._target.log_overshoot(candidate)))
            raise TargetUnreachableError(self._unreachable(closest, self._cut_short or reason))
        return best

    @property
    def _any_rounding(self) -> Rounding:
        """How networks are rounded; or would be, as far as that is known."""
        usual = Rounding(self._plan.prior, (_USUAL_EXPONENT,) * len(DELTA_NAMES))
        return self._rounding or self._expected_rounding or usual

    def _chosen_rounding(self, state: FitState) -> Rounding:
        """How the networks of a state are rounded."""

        def cost(networks: Networks) -> float:
            return self._fit.cost(self._fit.measured(state._replace(networks=networks), _ROUNDING_WINDOWS))

        return choose_rounding(self._plan.prior, state.networks, cost)

    def _measured(self, state: FitState, windows: int | None = None) -> Measured | None:
        """A state with networks as latents see them now, from some windows, all if None; None if it
        has diverged.
        """
        if not state.is_finite:
            return None
        networks = state.networks if self._rounding is None else self._rounding(state.networks)
        found = self._fit.measured(state._replace(networks=networks), windows)
        return found if found.is_finite else None

    def _networks_bytes(self, networks: Networks) -> int:
        return self._candidates.networks_bytes(self._any_rounding.deltas(networks))

    def _has_to_stop(self) -> bool:
        self._cut_short = self._cut_short or self._reason_to_stop()
        return self._cut_short is not None

    def _reason_to_stop(self) -> str | None:
        return self._job.reason_to_stop(time.perf_counter() - self._started)

    def _report(self, found: Measured, other_bytes: float, number: int, restarts: int) -> None:
        seconds = time.perf_counter() - self._started
        psnr_db = self._job.reported_db(found.psnr_db)
        what = f"{psnr_db:.2f} dB, {other_bytes + found.bits / 8:.0f} bytes{restarts_text(restarts)}"
        part = min(0.99, number / self._steps)
        self._job.on_progress(Progress(part, number, psnr_db, seconds, what, self._job.limit_bytes))

    def _unreachable(self, candidate: Candidate, reason: str) -> str:
        if not isinstance(self._target, PsnrTarget):
            return self._job.too_small(candidate.written_bytes)
        floor_db = self._job.reported_db(self._target.floor_db)
        reached_db = self._job.reported_db(candidate.psnr_db)
        if reason != "steps":
            ended = f"the fit ended early ({reason}) at {reached_db:.2f} dB, below {floor_db:.2f}"
            return f"{ended}; {'' if reason == 'diverged' else 'give it more time, or '}use --model wavelet"
        came_to = f"which reached {reached_db:.2f} in {self._steps} steps; use --model wavelet"
        return f"{floor_db:.2f} dB is out of reach of the overfitted codec, {came_to}"


def fit_grids(job: Job, plan: Plan | None = None) -> Outcome:
    """Fits latents and networks to an image.

    Args:
        job: The image and its settings.
        plan: Where the fit starts and how it goes; that for the settings if None.

    Raises:
        TargetUnreachableError: The target cannot be met.
        ConfigError: Files of this model cannot name the Lagrange multiplier that was given.
    """
    started = time.perf_counter()
    return _Search(job, plan_of(job) if plan is None else plan, started).run()
