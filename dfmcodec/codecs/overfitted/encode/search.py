"""The search of the overfitted codec: one fit whose Lagrange multiplier follows the target, then
rounding.

The stages are methods of `_Search`, each from one `Fitted` to the next:

1. Training steps. The lmbda is adjusted so that the size or the PSNR reaches the target. In the
   last tenth, the step sizes of the networks are chosen, and the fit continues with rounded
   networks, which compensates the rounding.
2. Coordinate descent of coarse grids and of the networks' weights (`refine`).
3. Further training steps if the fit ends away from its target.
4. Coordinate descents of the finest grid with multipliers around the last one, until one file meets
   the target and another does not. A combination of both meets it exactly.

A fit that ends early is rounded from its last state. Its latents are shrunk to zero as far as the
target requires.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import ClassVar

import numpy as np

from dfmcodec._types import Bools, Float32, Tune
from dfmcodec.codecs.overfitted.encode.candidates import Candidate, Candidates, SymbolCandidate
from dfmcodec.codecs.overfitted.encode.control import FitControl
from dfmcodec.codecs.overfitted.encode.coordinate_descent import descend
from dfmcodec.codecs.overfitted.encode.fit import Fit, FitState, Measured
from dfmcodec.codecs.overfitted.encode.networks import Networks
from dfmcodec.codecs.overfitted.encode.plan import Plan, plan_of
from dfmcodec.codecs.overfitted.encode.quantize import Rounding, choose_rounding, delta_scales
from dfmcodec.codecs.overfitted.encode.refine import refined
from dfmcodec.codecs.overfitted.encode.smooth import smooth_latents
from dfmcodec.codecs.overfitted.encode.visible_target import VisibleTarget
from dfmcodec.codecs.overfitted.encode.windows import colours_of
from dfmcodec.codecs.overfitted.grids import code_of_lmbda
from dfmcodec.codecs.overfitted.weights import DELTA_NAMES, WeightDeltas
from dfmcodec.container.layout import container_bytes
from dfmcodec.errors import TargetUnreachableError
from dfmcodec.image import peak_value
from dfmcodec.models import Model
from dfmcodec.report import EncodeResult
from dfmcodec.search.driver import End, Search, Watch, drive
from dfmcodec.search.job import Job, Outcome
from dfmcodec.search.target import Figures, LmbdaTarget, PsnrTarget, ScoreTarget, Target, best_of

_CONTROL_STEPS = 10  # steps between two measurements; a measurement also refreshes the shifted target
_TIMED_STEPS = range(1, 6)  # measured to predict the duration of the others; the first compiles
_TARGET_FROM = 30  # steps before the target is shifted
_FOR_STEPS = 0.7  # fraction of the remaining time for steps
_ROUNDING_WINDOWS = 8  # windows for choosing the rounding of networks
_USUAL_EXPONENT = 1  # exponent of the step sizes of networks before their rounding is chosen
_STEPS_PER_TRIAL = 6  # training steps per trial of the networks' coordinate descent
_COARSE_GRIDS, _COARSE_FROM = (2, 1), 2000  # levels that are descended once, and the minimum steps of such a fit
_FURTHER_ROUNDS = 5  # maximum rounds of further steps, for a fit that ends too far from its target
_FURTHER_STEPS = 30  # minimum number of steps in each round, or `further_fraction` of the schedule
_DESCENTS = 8  # maximum number of descents until the target lies between two
_SAME_LMBDA = 1.01  # ratio of multipliers whose descents are nearly equal


@dataclass(frozen=True)
class Fitted:
    """A fit after a stage."""

    fit: Fit  # with its Lagrange multiplier
    state: FitState
    rounding: Rounding  # as far as it is known
    is_rounded: bool = False  # whether the fit uses rounded networks
    target: VisibleTarget | None = None  # of the tune `visual`; None for the image itself

    @property
    def steps(self) -> int:
        """Returns the number of training steps of the schedule."""
        return self.fit.schedule.steps

    @property
    def applied(self) -> Rounding | None:
        """Returns the rounding that the fit uses; None if it uses none."""
        return self.rounding if self.is_rounded else None

    @property
    def deltas(self) -> WeightDeltas:
        """Returns the weight deltas that a file would store."""
        return self.rounding.deltas(self.state.networks)

    @property
    def symbols(self) -> list[Float32]:
        """Returns the rounded latents."""
        return [np.rint(grid) for grid in self.state.latents]

    def under(self, lmbda: float) -> Fitted:
        """Returns the fit with another Lagrange multiplier."""
        return replace(self, fit=self.fit.with_lmbda(lmbda))

    @property
    def used(self) -> FitState:
        """Returns the state with the networks in use."""
        networks = self.state.networks if self.applied is None else self.applied(self.state.networks)
        return self.state._replace(networks=networks)

    def measured(self, windows: int | None = None) -> Measured | None:
        """Measures the state with the networks in use; None if the state has diverged."""
        if not self.state.is_finite:
            return None
        measured = self.fit.measured(self.used, windows)
        if not measured.is_finite:
            return None
        figures = None if self.target is None else self.target.figures
        return measured if figures is None else replace(measured, mse=figures.mse, score=figures.score)

    def retargeted(self) -> Fitted:
        """Returns the fit with the target that follows from its decoded image."""
        if self.target is None or not self.state.is_finite:
            return self
        target = self.target.after(self.fit.decoded(self.used))
        if target.figures is None or not isfinite(target.figures.mse):
            return self
        return replace(self, fit=self.fit.aimed_at(target.colours), target=target)


class _Search:
    """The fit of one image to a target; see `fit_grids`."""

    def __init__(self, job: Job, plan: Plan, watch: Watch, rival: Figures | None = None) -> None:
        self._job = job
        self._rival = rival  # the figures of the file that it competes with; None for none
        self._plan = plan
        self._watch = watch
        self._target = job.target
        frozen = smooth_latents(colours_of(job.image), plan.first_lmbda)
        self._has_frozen = bool(frozen)
        self.first = self._first(frozen)
        self._candidates = Candidates(job, self._target, plan.weights, self.first.fit.lmbda_code)
        frozen_until = plan.schedule.frozen_fraction if frozen else 0.0
        pixel_count, is_visual = self.first.fit.pixel_count, job.tune is Tune.VISUAL
        self._control = FitControl(self._target, plan.first_lmbda, pixel_count, frozen_until, is_visual)
        self._timed_from_s = 0.0

    def _first(self, frozen: Sequence[Bools]) -> Fitted:
        """Returns the fit before its first step."""
        plan, image = self._plan, self._job.image
        target = VisibleTarget.of(image) if self._job.tune is Tune.VISUAL else None
        fit = Fit(
            colours_of(image),
            plan.first_lmbda,
            code_of_lmbda(plan.first_lmbda),
            plan.start,
            plan.schedule,
            delta_scales(plan.weights),
            self._job.config.seed,
            frozen,
            peak=peak_value(image.bit_depth),
            weights=None if target is None else target.pixel_weights,
        )
        usual = Rounding(plan.weights, (_USUAL_EXPONENT,) * len(DELTA_NAMES))
        return Fitted(fit, fit.start(), usual, target=target)

    def run(self) -> Outcome:
        """Runs all stages."""
        fitted, steps, reason = self._fitted()
        best = None
        if reason == "iteration limit":
            fitted = self._with_descended_networks(self._with_descended_grids(fitted))
            fitted, best, further = self._brought_to_target(fitted)
            steps += further
            if self._job.tune is Tune.VISUAL and self._has_missed(best):
                self._control = replace(self._control, has_failed=True)
                fitted, best, further = self._brought_to_target(fitted)
                steps += further
        if best is None:
            best = self._shrunk_to_target(fitted, reason)
        watch = self._watch
        ended = watch.stopped or reason
        return Outcome(best.model, best.written_bytes, steps, watch.seconds, ended, watch.restarts)

    def _fitted(self) -> tuple[Fitted, int, str]:
        """Runs the training steps of the schedule. Returns the last finite state that was measured,
        the number of steps, and why the fit ended.
        """
        now, finite, number = self.first, self.first.state, 0
        knows_rounding = False
        # before the first step, which takes seconds to compile
        reason = self._watch.reason_to_stop() or "iteration limit"
        while number < now.steps and reason == "iteration limit":
            schedule, fraction = now.fit.schedule, number / now.steps
            if not knows_rounding and fraction >= schedule.rounding_known_from:
                now, knows_rounding = replace(now, rounding=self._chosen_rounding(now, finite)), True
            if not now.is_rounded and fraction >= schedule.rounding_from:
                now = replace(now, rounding=self._chosen_rounding(now, finite), is_rounded=True)
            moves_networks = fraction < schedule.networks_until
            state = now.fit.step(now.state, number, moves_networks, now.applied, self._job.should_stop)
            number += 1
            now = replace(now, state=state, fit=self._in_time(now.fit, number))
            early = self._watch.reason_to_stop()
            if early is None and number % _CONTROL_STEPS and number < now.steps:
                continue
            if number >= _TARGET_FROM:
                now = now.retargeted()
            measured = now.measured()
            if measured is None:
                half = now.fit.schedule.network_rate / 2
                now = replace(now, state=finite, fit=now.fit.rescheduled(network_rate=half))
                if not self._watch.can_restart():
                    reason = "diverged"
                continue
            finite = now.state
            other_bytes = container_bytes(Model.OVERFITTED) + self._candidates.networks_bytes(now.deltas)
            self._show(now, measured, other_bytes, number)
            self._check_rival(measured, other_bytes, number / now.steps)
            if early is not None:
                reason = early
                break
            fraction, fraction_between = number / now.steps, _CONTROL_STEPS / now.steps
            now = now.under(self._control.following(now.fit.lmbda, measured, other_bytes, fraction, fraction_between))
        return replace(now, state=finite), number, reason

    def _check_rival(self, measured: Measured, other_bytes: float, fraction: float) -> None:
        """Raises TargetUnreachableError if the fit will be worse than the file of another codec."""
        rival, is_visual = self._rival, self._job.tune is Tune.VISUAL
        if is_visual and rival is not None and self._control.is_behind(measured, other_bytes, fraction, rival):
            msg = f"the fit would be worse than the other codec's {self._job.reported_db(rival.psnr_db):.2f} dB"
            raise TargetUnreachableError(msg)

    def _in_time(self, fit: Fit, number: int) -> Fit:
        """Shortens a fit to the time limit after the duration of steps is known. A complete short
        fit is better than the beginning of a long one.
        """
        limit = self._job.config.time_limit_s
        if limit is None or number > _TIMED_STEPS[-1]:
            return fit
        seconds = self._watch.seconds
        if number == _TIMED_STEPS[0]:
            self._timed_from_s = seconds
        elif number == _TIMED_STEPS[-1]:
            each = (seconds - self._timed_from_s) / (_TIMED_STEPS[-1] - _TIMED_STEPS[0])
            affordable = number + int(_FOR_STEPS * max(0.0, limit - seconds) / each)
            return fit.rescheduled(steps=min(fit.schedule.steps, affordable))
        return fit

    def _with_descended_grids(self, fitted: Fitted) -> Fitted:
        """Runs coordinate descent of the coarser grids, if the fit is long enough. With a shifted
        target, a descent overshoots.
        """
        if fitted.steps < _COARSE_FROM or fitted.target is not None:
            return fitted
        state, symbols = fitted.state, fitted.symbols
        networks = fitted.rounding(state.networks)

        def costs(_: Float32) -> Float32:
            return fitted.fit.costs(networks, symbols)

        for level in _COARSE_GRIDS:
            descend(symbols[level], costs, self._watch.has_to_stop, level)
        values = [old + new - np.rint(old) for old, new in zip(state.latents, symbols, strict=True)]
        moving = replace(state.moving_latents, values=tuple(values))
        return replace(fitted, state=state._replace(moving_latents=moving))

    def _with_descended_networks(self, fitted: Fitted) -> Fitted:
        """Runs coordinate descent of the weight deltas, if the networks are rounded."""
        if not fitted.is_rounded:
            return fitted
        trials = fitted.steps // _STEPS_PER_TRIAL
        networks = refined(fitted.fit, fitted.state, fitted.rounding, trials, self._watch.has_to_stop)
        return replace(fitted, state=fitted.state._replace(networks=networks))

    def _has_missed(self, best: Candidate | None) -> bool:
        """Indicates whether no candidate meets the target, or the best is far from a quality."""
        target = self._target
        is_quality = isinstance(target, ScoreTarget) and not target.is_least
        return best is None or (is_quality and not target.is_close(best))

    def _brought_to_target(self, fitted: Fitted) -> tuple[Fitted, Candidate | None, int]:
        """Runs further steps and coordinate descents. Returns the fit after the steps, the
        candidate at the target, if any, and the number of steps.
        """
        fitted, tried, steps = self._stepped_to_target(fitted)
        if self._job.tune is Tune.VISUAL:
            # the symbols as they are make a larger file than descents near their multiplier
            tried = self._descended_to_target(fitted, tried[-1:] if self._target.limits_size else [])
        elif not (tried and self._has_frozen):
            tried = self._descended_to_target(fitted, [])
        return fitted, self._of_nearest(tried), steps

    def _stepped_to_target(self, fitted: Fitted) -> tuple[Fitted, list[SymbolCandidate], int]:
        """Runs further training steps with other multipliers. Returns the fit after them, the
        candidates of its states, the last one last, and the number of steps.
        """
        if isinstance(self._target, LmbdaTarget):
            return fitted, [], 0
        search = _FurtherSteps(self._target, self._control, self._watch, fitted, self._as_it_is)
        drive(search, self._watch)
        return search.fitted, search.tried, search.taken

    def _as_it_is(self, fitted: Fitted) -> SymbolCandidate:
        """Returns the candidate with the rounded latents of a fit."""
        return self._tried(fitted.symbols, fitted)

    def _tried(self, symbols: Sequence[Float32], fitted: Fitted) -> SymbolCandidate:
        """Returns the candidate with given symbols and the networks of a fit."""
        candidate = self._candidates.of(symbols, fitted.deltas)
        figures = candidate.written_bytes, candidate.psnr_db
        return SymbolCandidate(*figures, candidate.model, symbols, fitted.fit.lmbda, score=candidate.score)

    def _descended_to_target(self, fitted: Fitted, known: Sequence[SymbolCandidate]) -> list[SymbolCandidate]:
        """Runs coordinate descents until the target is met closely or lies between two candidates,
        the known ones included.
        """
        search = _Descents(self._target, self._control, self._watch, fitted, self._descended)
        search.tried.extend(known)
        drive(search, self._watch)
        return search.tried

    def _descended(self, fitted: Fitted) -> SymbolCandidate:
        """Rounds the latents of a fit and runs coordinate descent of the finest grid."""
        networks = fitted.rounding(fitted.state.networks)
        finest, *coarser = fitted.symbols
        costs = fitted.fit.costs
        descend(finest, lambda tried: costs(networks, [tried, *coarser]), self._watch.has_to_stop)
        return self._tried([finest, *coarser], fitted)

    def _of_nearest(self, tried: Sequence[SymbolCandidate]) -> Candidate | None:
        """Returns the candidate at the target, or a combination of two; None if none meets it."""
        meeting, beyond = self._control.nearest(tried)
        if meeting is None or beyond is None:
            return meeting
        return self._candidates.between(meeting, beyond)

    def _shrunk_to_target(self, fitted: Fitted, reason: str) -> Candidate:
        """Returns the candidate whose latents are shrunk to zero as far as the target requires."""
        tried = self._candidates.shrunk(fitted.state.latents, fitted.deltas)
        best = best_of(self._target, tried)
        if best is None:
            closest = min(tried, key=lambda candidate: abs(self._target.log_overshoot(candidate)))
            ended = self._watch.stopped or reason
            raise TargetUnreachableError(self._unreachable(closest, fitted.steps, ended))
        return best

    def _chosen_rounding(self, fitted: Fitted, state: FitState) -> Rounding:
        """Returns the best rounding for the networks of a state."""
        fit = fitted.fit

        def cost(networks: Networks) -> float:
            return fit.cost(fit.measured(state._replace(networks=networks), _ROUNDING_WINDOWS))

        return choose_rounding(self._plan.weights, state.networks, cost)

    def _show(self, fitted: Fitted, measured: Measured, other_bytes: float, number: int) -> None:
        psnr_db = self._job.reported_db(measured.psnr_db)
        what = f"{psnr_db:.2f} dB, {other_bytes + measured.bits / 8:.0f} bytes{self._watch.restarts_text}"
        self._watch.show(min(0.99, number / fitted.steps), number, psnr_db, what)

    def _unreachable(self, candidate: Candidate, steps: int, reason: str) -> str:
        if isinstance(self._target, ScoreTarget):
            reached = f"the fit reached {candidate.quality:.1f} in {steps} steps"
            return f"the target of SSIMULACRA2 {self._target.goal:g} is out of reach: {reached}; use --model wavelet"
        if not isinstance(self._target, PsnrTarget):
            return self._job.too_small(candidate.written_bytes)
        floor_db = self._target.floor_db
        if reason == "iteration limit":
            advice = f" in {steps} steps; use --model wavelet"
            return self._job.out_of_reach(floor_db, "the fit reached", candidate.psnr_db, advice)
        floor_db, reached_db = map(self._job.reported_db, (floor_db, candidate.psnr_db))
        ended = f"the fit ended early ({reason}) at {reached_db:.2f} dB, below {floor_db:.2f}"
        return f"{ended}; {'' if reason == 'diverged' else 'give it more time, or '}use --model wavelet"


class _LmbdaSearch(Search[float, SymbolCandidate]):
    """The search for a Lagrange multiplier, after the steps of the schedule.

    `fitted` is the fit after the last trial, and `tried` has the candidates of all trials.
    """

    most_trials: ClassVar[int]

    def __init__(
        self,
        target: Target,
        control: FitControl,
        watch: Watch,
        fitted: Fitted,
        candidate_of: Callable[[Fitted], SymbolCandidate],
    ) -> None:
        super().__init__(target)
        self._control = control
        self._watch = watch
        self._candidate_of = candidate_of
        self.fitted = fitted
        self.tried: list[SymbolCandidate] = []

    def start(self) -> float:
        return self.fitted.fit.lmbda

    def has_trials_left(self) -> bool:
        return len(self.tried) < self.most_trials

    def trial(self, parameter: float, check: Callable[[], None]) -> SymbolCandidate:
        self.tried.append(self._candidate_of(self.fitted.under(parameter)))
        return self.tried[-1]


class _FurtherSteps(_LmbdaSearch):
    """Further steps with other multipliers, in rounds. The first trial is the unchanged fit. A
    round that diverges is discarded.
    """

    most_trials = 1 + _FURTHER_ROUNDS

    @property
    def _each(self) -> int:
        """Returns the number of steps of a round."""
        return max(_FURTHER_STEPS, round(self.fitted.fit.schedule.further_fraction * self.fitted.steps))

    taken = 0  # steps so far

    def trial(self, parameter: float, check: Callable[[], None]) -> SymbolCandidate:
        if self.tried:
            self.fitted = self.fitted.under(parameter)
            moved = self._stepped()
            self.taken += self._each
            if moved.measured(_ROUNDING_WINDOWS) is None:
                raise FloatingPointError
            self.fitted = moved
        return super().trial(parameter, check)

    def _stepped(self) -> Fitted:
        """Returns the fit after the steps of a round."""
        fitted, each = self.fitted, self._each
        first = fitted.fit.schedule.further_from
        for i in range(each):
            if i % _CONTROL_STEPS == 0:
                fitted = fitted.retargeted()
            at = round((first + (1 - first) * i / each) * fitted.steps)
            state = fitted.fit.step(fitted.state, at, False, fitted.applied, self._watch.has_to_stop)
            fitted = replace(fitted, state=state)
        return fitted

    def following(self, trial: SymbolCandidate, best: SymbolCandidate | None) -> float | End:
        lmbda = self._control.in_further_steps(self.tried)
        return End("converged") if lmbda is None or self._watch.has_to_stop() else lmbda


class _Descents(_LmbdaSearch):
    """Coordinate descents that all start from the symbols of the fit. A descent from the result of
    another one would find few improvements.
    """

    most_trials = _DESCENTS

    def following(self, trial: SymbolCandidate, best: SymbolCandidate | None) -> float | End:
        if self._watch.has_to_stop() or self._control.is_settled(self.tried):
            return End("converged")
        lmbda = self._control.of_next_descent(self.tried)
        is_same = any(1 / _SAME_LMBDA < lmbda / one.lmbda < _SAME_LMBDA for one in self.tried)
        return End("converged") if is_same else lmbda


def fit_grids(job: Job, previous: EncodeResult | None = None, plan: Plan | None = None) -> Outcome:
    """Fits latents and networks to an image, by a plan or the one that follows from the settings
    and the previous file. Raises TargetUnreachableError if the target cannot be met, or the fit
    would be worse than the previous file; ConfigError if files of this codec cannot store the given
    Lagrange multiplier.
    """
    watch, rival = Watch(job), None
    if previous is not None:
        report = previous.report
        rival = Figures(report.file_bytes - job.ancillary_bytes, report.psnr_db + job.range_db)
    return _Search(job, plan_of(job, previous) if plan is None else plan, watch, rival).run()
