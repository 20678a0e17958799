"""The fitted model: one fit whose multiplier follows the target, then integers.

While the fit runs, the multiplier of bits is moved so that the size, or the PSNR, comes to the
target. In its last tenth the steps of the networks are chosen, and the fit goes on with networks
as the decoder will have them, which makes up for their rounding; in the end single weights move
by a step where that helps (`refine`). A fit that ends away from its target takes further steps.
Then sweeps under multipliers around the last one give one file that meets the target and one beyond
it, and a part of each leads exactly to it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import exp, log

import numpy as np

from dfmcodec._types import Float32, Model, Symbols
from dfmcodec.bitstream.contents import FittedArchitecture, QuantizedGrids
from dfmcodec.bitstream.layout import SECTION_ENTRY, container_bytes
from dfmcodec.bitstream.sections.checks import CHECK_BYTES
from dfmcodec.bitstream.sections.grids import write_grids
from dfmcodec.bitstream.sections.networks import write_networks
from dfmcodec.decoder import render
from dfmcodec.encoder.fitted.fit import Fit, FitState, Measured
from dfmcodec.encoder.fitted.networks import Networks
from dfmcodec.encoder.fitted.plan import Plan, plan_of
from dfmcodec.encoder.fitted.quantize import Rounding, change_scales, choose_rounding
from dfmcodec.encoder.fitted.refine import refined
from dfmcodec.encoder.fitted.smooth import smooth_latents
from dfmcodec.encoder.fitted.sweep import sweep
from dfmcodec.encoder.fitted.windows import colours_of
from dfmcodec.encoder.job import MAX_RESTARTS, Job, Outcome, Progress, restarts_text
from dfmcodec.errors import TargetUnreachableError
from dfmcodec.fourier.jax_backend import on_processor
from dfmcodec.image import peak_value
from dfmcodec.latents.grids import code_of_lmbda
from dfmcodec.metrics import psnr
from dfmcodec.prior.fitted import CHANGE_NAMES, NetworkChanges

_ROUNDING_WINDOWS = 8  # of the image, by which the rounding of networks is chosen
_EXPECTED_FROM = 0.5  # part of the steps after which it is known how networks would be rounded
_ROUNDING_FROM = 0.9  # and after which they are rounded
_FIXED_FROM = 0.97  # part of the steps after which they do not move
_STEPS_PER_TRIAL = 6  # of refined networks
_COARSE_SWEEPS = 2, 1  # levels of grids that are swept once,
_COARSE_SWEEPS_FROM = 2000  # after so many steps
_TIMED_STEPS = range(1, 6)  # by which the others are timed; the first compiles
_FOR_STEPS = 0.7  # the part of a time limit that is left for steps
_CONTROL_STEPS = 10  # between two measurements
_LARGEST_MOVE = 0.2  # of the logarithm of the multiplier after one of them
_CONTROL_FROM = 0.2  # part of the steps after which the multiplier moves
_AIM = 0.998  # of a size budget
# By which part of their bits at the end symbols take more, after parts of the steps. It grows no
# more above a rate.
_EXCESS = (0.2, 0.5, 0.6, 0.75, 0.85, 0.9, 0.95, 1.0), (0.58, 0.30, 0.24, 0.145, 0.06, 0.02, 0.02, 0.0)
_EXCESS_UP_TO = 0.48, 0.25  # bits per pixel, without and with latents that are held
_SETTLING_PART = 0.2  # of the steps, after which the size says something, once no latents are held
_SWEPT = 0.98  # of the bytes of symbols, in integers, by refined networks and after a sweep;
_SWEPT_OF_HELD = 1.01  # finest grids that were held have few symbols that a sweep could change
_USUAL_EXPONENT = 1  # of the steps of networks, before their rounding is chosen
_GAINS_DB = 1.5  # that a fit gains from its start to its end
# How far the logarithm of the multiplier follows that of the size, in what is left of a whole fit
_LMBDA_OF_SIZE = 5.0
_MEASURED_LATE = 0.1  # parts of a fit until the size has followed the multiplier
_LMBDA_OF_PSNR = 2.0  # and 1 dB, in a whole fit
_FARTHEST_MOVE = 1.2  # of the logarithm of the multiplier in a fit
_FURTHER_ROUNDS = 5  # of steps at most, where a fit ends too far from its target
_FURTHER_PART, _FURTHER_STEPS = 0.06, 30  # of the steps in each of them, and at least, and
_FURTHER_FROM = 0.8  # the part of the fit from which on they have their rates and noise
_FURTHER_AIM = 0.996  # of a size budget
_FURTHER_OF_SIZE, _FURTHER_OF_PSNR = 2.5, 0.45  # how far the logarithm of the multiplier follows that of the size; 1 dB
_FURTHER_GROWTH = 2.0  # of moves from round to round
_OF_CANDIDATE = 0.98  # of a file before a sweep is left after it, and
_SWEPT_MOVE = 0.05  # sweeps make up for such moves
_PSNR_SPARE = 0.004  # dB above a PSNR target that are aimed at
_SWEEPS = 8  # at most, until the target lies between two
_SWEEP_OF_SIZE = 10.0  # how far the logarithm of the multiplier follows that of the size after the first
_SWEEP_OF_PSNR = 3.0
_FARTHEST_SWEEP = 2.0
_FARTHEST_DB = 20.0  # above a PSNR target; an exact image would be infinitely far
_CLOSE_SWEEPS = 0.1  # by the move that each of two asks for
_SAME_LMBDA = 0.01  # between logarithms of multipliers whose sweeps are much the same
_LEAST_SHRINK, _GRID_SHRINK = -0.2, 4.0  # parts of a symbol, for the largest and the smallest of a grid
_HALVINGS = 10  # of the range between them
_ENOUGH_OF_BUDGET = 0.998
_ENOUGH_DB = 0.005


@dataclass(frozen=True)
class _Candidate:
    """A model that could be written.

    Args:
        model: The model.
        file_bytes: The size of its file without ancillary data.
        psnr_db: Of the decoded image.
    """

    model: QuantizedGrids
    file_bytes: int
    psnr_db: float

    @property
    def changes(self) -> NetworkChanges:
        """What its networks differ from those of the prior by."""
        assert self.model.changes is not None
        return self.model.changes


@dataclass(frozen=True)
class _Tried:
    """Whole symbols under a multiplier.

    Args:
        symbols: Of each grid, float32 [h_l, w_l].
        candidate: Their model.
        lmbda: The multiplier.
    """

    symbols: Sequence[Float32]
    candidate: _Candidate
    lmbda: float


class _Search:
    """The fit of one image to a target; see `fit_grids`."""

    def __init__(self, job: Job, plan: Plan, started: float) -> None:
        self._job = job
        self._plan = plan
        self._started = started
        self._cut_short: str | None = None  # why what comes after the steps ended early
        self._code = code_of_lmbda(plan.first_lmbda)
        scales = change_scales(plan.prior) if plan.counts_networks else None
        colours = colours_of(job.image)
        held = smooth_latents(colours, plan.first_lmbda)
        self._held_until = plan.schedule.held_part if held else 0.0
        start, schedule, peak = plan.start, plan.schedule, peak_value(job.image.bit_depth)
        self._fit = Fit(
            colours, plan.first_lmbda, self._code, start, schedule, scales, job.config.seed, held, peak=peak
        )
        self._rounding: Rounding | None = None
        self._expected_rounding: Rounding | None = None
        self._timed_from_s = 0.0

    def run(self) -> Outcome:
        state = kept = self._fit.start()  # kept is finite
        number, restarts = 0, 0
        reason = self._reason_to_stop() or "steps"  # before the first step, which is compiled for seconds
        while number < self._steps and reason == "steps":
            if self._expected_rounding is None and number >= _EXPECTED_FROM * self._steps:
                self._expected_rounding = self._chosen_rounding(kept)
            if self._rounding is None and number >= _ROUNDING_FROM * self._steps:
                self._rounding = self._chosen_rounding(kept)
            moves_networks = number < _FIXED_FROM * self._steps
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
            expected_bytes = self._expected_bytes(found, state.networks)
            self._report(found, expected_bytes, number, restarts)
            if early is not None:
                reason = early
                break
            self._follow(found, expected_bytes, number / self._steps)
        best = None
        if reason == "steps":
            kept = self._with_swept_coarse_grids(kept)
            kept = self._with_refined_networks(kept)
            kept, tried, further = self._stepped_to_target(kept)
            number += further
            best = self._of_nearest(tried or self._swept_to_target(kept))
        if best is None:
            best = self._shrunk_to_target(kept.latents, self._any_rounding.changes(kept.networks), reason)
        seconds = time.perf_counter() - self._started
        return Outcome(best.model, best.file_bytes, None, number, seconds, self._cut_short or reason, restarts)

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

    def _with_swept_coarse_grids(self, state: FitState) -> FitState:
        """A state whose coarser grids are swept, in a fit that is long enough to be worth it."""
        if self._steps < _COARSE_SWEEPS_FROM:
            return state
        networks, symbols = self._any_rounding(state.networks), [np.rint(grid) for grid in state.latents]

        def costs(_: Float32) -> Float32:
            return self._fit.costs(networks, symbols)

        for level in _COARSE_SWEEPS:
            sweep(symbols[level], costs, self._has_to_stop, level)
        values = [old + new - np.rint(old) for old, new in zip(state.latents, symbols, strict=True)]
        return state._replace(moving_latents=replace(state.moving_latents, values=tuple(values)))

    def _with_refined_networks(self, state: FitState) -> FitState:
        """A state with networks that a file can hold and that suit its symbols better."""
        if self._rounding is None:
            return state
        trials = self._steps // _STEPS_PER_TRIAL
        networks = refined(self._fit, state, self._rounding, trials, self._has_to_stop)
        return state._replace(networks=networks)

    def _stepped_to_target(self, state: FitState) -> tuple[FitState, list[_Tried], int]:
        """Takes further steps under other multipliers until the target is near enough for sweeps;
        where latents were held, and sweeps find little to change, until it is met or lies between
        two states.

        Returns:
            The last state; where latents were held, what the states came to; and the number of
            steps.
        """
        if self._is_without_target:
            return state, [], 0
        each, taken, tried = max(_FURTHER_STEPS, round(_FURTHER_PART * self._steps)), 0, [self._as_it_is(state)]
        for number in range(_FURTHER_ROUNDS):
            move = self._further_move(tried[-1].candidate)
            is_near = self._is_settled(tried) if self._held_until else abs(move) < _SWEPT_MOVE
            if is_near or self._has_to_stop():
                break
            move *= _FURTHER_GROWTH**number
            self._fit.lmbda *= exp(min(max(move, -_FARTHEST_MOVE), _FARTHEST_MOVE))
            moved = state
            for i in range(each):
                at = round((_FURTHER_FROM + (1 - _FURTHER_FROM) * i / each) * self._steps)
                moved = self._fit.step(moved, at, False, self._rounding, self._has_to_stop)
            taken += each
            if self._measured(moved, _ROUNDING_WINDOWS) is None:
                break
            state = moved
            tried.append(self._as_it_is(state))
        return state, tried if self._held_until else [], taken

    def _as_it_is(self, state: FitState) -> _Tried:
        """The rounded latents of a state."""
        candidate = self._candidate(state.latents, self._any_rounding.changes(state.networks), 0.0)
        return _Tried([np.rint(grid) for grid in state.latents], candidate, self._fit.lmbda)

    def _further_move(self, candidate: _Candidate) -> float:
        """By how much the logarithm of the multiplier has to move for further steps to meet the
        target.
        """
        config, budget = self._job.config, self._job.budget_bytes
        if budget is not None:
            swept = 1.0 if self._held_until else _OF_CANDIDATE
            return _FURTHER_OF_SIZE * log(swept * candidate.file_bytes / (_FURTHER_AIM * budget))
        return 0.0 if config.psnr is None else _FURTHER_OF_PSNR * (candidate.psnr_db - config.psnr - _PSNR_SPARE)

    def _swept_to_target(self, state: FitState) -> list[_Tried]:
        """Sweeps until the target is met closely or lies between two.

        All sweeps start from the symbols of the fit: one after the other they would find less and
        less to change for the better.
        """
        tried: list[_Tried] = []
        for _ in range(_SWEEPS):
            tried.append(self._swept(state))
            if self._has_to_stop() or self._is_settled(tried):
                break
            lmbda = self._next_lmbda(tried)
            if any(abs(log(lmbda / swept.lmbda)) < _SAME_LMBDA for swept in tried):
                break
            self._fit.lmbda = lmbda
        return tried

    def _of_nearest(self, tried: Sequence[_Tried]) -> _Candidate | None:
        """The model of those tried that is nearest to the target and meets it, or of parts of two;
        None if none meets it.
        """
        meeting, beyond = self._nearest(tried)
        if meeting is None or beyond is None:
            return None if meeting is None else meeting.candidate
        return self._between(meeting, beyond)

    def _swept(self, state: FitState) -> _Tried:
        """Rounds the latents of a state and sweeps the finest grid."""
        networks, changes = self._any_rounding(state.networks), self._any_rounding.changes(state.networks)
        finest, *coarser = (np.rint(grid) for grid in state.latents)
        sweep(finest, lambda tried: self._fit.costs(networks, [tried, *coarser]), self._has_to_stop)
        symbols = [finest, *coarser]
        return _Tried(symbols, self._candidate(symbols, changes, 0.0), self._fit.lmbda)

    def _nearest(self, tried: Sequence[_Tried]) -> tuple[_Tried | None, _Tried | None]:
        """The nearest to the target of those that meet it, and of those that do not."""

        def distance(one: _Tried) -> float:
            return abs(self._sweep_move(one.candidate))

        meeting = [one for one in tried if self._meets(one.candidate)]
        beyond = [one for one in tried if not self._meets(one.candidate)]
        return min(meeting, key=distance, default=None), min(beyond, key=distance, default=None)

    def _is_settled(self, tried: Sequence[_Tried]) -> bool:
        """Whether one is close to the target, or two around it are to each other."""
        meeting, beyond = self._nearest(tried)
        if meeting is None:
            return False
        move = self._sweep_move(meeting.candidate)
        return move == 0 or (beyond is not None and abs(self._sweep_move(beyond.candidate) - move) < _CLOSE_SWEEPS)

    def _next_lmbda(self, tried: Sequence[_Tried]) -> float:
        """The multiplier of the next sweep: by false position if the target lies between two, else
        by moves that are twice as far each time.
        """
        meeting, beyond = self._nearest(tried)
        if meeting is None or beyond is None:
            move = self._sweep_move(tried[-1].candidate) * 2 ** (len(tried) - 1)
            return tried[-1].lmbda * exp(min(max(move, -_FARTHEST_SWEEP), _FARTHEST_SWEEP))
        first, second = self._sweep_move(meeting.candidate), self._sweep_move(beyond.candidate)
        ratio = beyond.lmbda / meeting.lmbda
        return meeting.lmbda * exp(log(ratio) * first / (first - second))

    def _sweep_move(self, candidate: _Candidate) -> float:
        """By how much the logarithm of the multiplier has to move after a sweep; 0 for nothing."""
        if self._is_without_target or (self._meets(candidate) and self._is_close(candidate)):
            return 0.0
        config, budget = self._job.config, self._job.budget_bytes
        if budget is not None:
            return _SWEEP_OF_SIZE * log(candidate.file_bytes / max(1.0, _AIM * budget))
        assert config.psnr is not None
        return _SWEEP_OF_PSNR * min(candidate.psnr_db - config.psnr - _PSNR_SPARE, _FARTHEST_DB)

    @property
    def _any_rounding(self) -> Rounding:
        """How networks are rounded; or would be, as far as that is known."""
        usual = Rounding(self._plan.prior, (_USUAL_EXPONENT,) * len(CHANGE_NAMES))
        return self._rounding or self._expected_rounding or usual

    def _rounded(self, networks: Networks) -> Networks:
        """Networks as latents see them now."""
        return networks if self._rounding is None else self._rounding(networks)

    def _measured(self, state: FitState, windows: int | None = None) -> Measured | None:
        """A state with networks as latents see them now, from so many windows; None if it has come
        to NaN or infinite values.
        """
        if not state.is_finite:
            return None
        found = self._fit.measured(state._replace(networks=self._rounded(state.networks)), windows)
        return found if found.is_finite else None

    def _between(self, meeting: _Tried, beyond: _Tried) -> _Candidate:
        """The model with as many symbols beyond the target as still meet it, those of the first
        pixels in row order.
        """
        best = meeting.candidate
        places = np.arange(self._fit.pixel_count).reshape(self._fit.height, self._fit.width)
        least, most = 0, places.size
        for _ in range(_HALVINGS):
            if self._is_close(best) or most - least < 2:
                break
            count = (least + most) // 2
            symbols = [
                np.where(places[:: 1 << level, :: 1 << level] < count, of_beyond, of_meeting)
                for level, (of_beyond, of_meeting) in enumerate(zip(beyond.symbols, meeting.symbols, strict=True))
            ]
            candidate = self._candidate(symbols, meeting.candidate.changes, 0.0)
            if self._meets(candidate):
                least = count
                best = max(best, candidate, key=self._score)
            else:
                most = count
        return best

    def _shrunk_to_target(self, latents: Sequence[Float32], changes: NetworkChanges, reason: str) -> _Candidate:
        """The model of latents that are drawn to zero as far as the target needs it, those of the
        finest grid first.

        Args:
            latents: Those of the fit, in symbols, float32 [h_l, w_l].
            changes: Its networks.
            reason: Why it ended.

        Raises:
            TargetUnreachableError: None meets it.
        """
        nearest = candidate = self._candidate(latents, changes, 0.0)
        if self._is_without_target:
            return nearest
        best = nearest if self._meets(nearest) else None
        least, most = _LEAST_SHRINK, _GRID_SHRINK * len(latents)  # around the target, if it can be met
        for _ in range(_HALVINGS):
            if best is not None and self._is_close(best):
                break
            shrink = (least + most) / 2
            candidate = self._candidate(latents, changes, shrink)
            if self._meets(candidate) and (best is None or self._score(candidate) > self._score(best)):
                best = candidate
            if self._meets(candidate) == (self._job.budget_bytes is not None):
                most = shrink  # a smaller shrink may still fit, or meet a floor
            else:
                least = shrink
        if best is None:
            closest = nearest if self._job.budget_bytes is None else candidate
            raise TargetUnreachableError(self._unreachable(closest, self._cut_short or reason))
        return best

    @property
    def _is_without_target(self) -> bool:
        return self._job.budget_bytes is None and self._job.config.psnr is None

    def _chosen_rounding(self, state: FitState) -> Rounding:
        """How the networks of a state are rounded."""

        def cost(networks: Networks) -> float:
            return self._fit.cost(self._fit.measured(state._replace(networks=networks), _ROUNDING_WINDOWS))

        return choose_rounding(self._plan.prior, state.networks, cost)

    def _networks_bytes(self, changes: NetworkChanges) -> int:
        check = CHECK_BYTES if self._job.has_checks else 0
        return len(write_networks(self._plan.prior, changes)) + SECTION_ENTRY.size + check

    def _candidate(self, latents: Sequence[Float32], changes: NetworkChanges, shrink: float) -> _Candidate:
        """The model of latents that are rounded after `shrink` symbols are taken off their
        magnitudes, with the size of its file and the PSNR of the decoded image.

        Those of the finest grid shrink by `_GRID_SHRINK` at most, by the rest those of the next.
        """
        grids: tuple[Symbols, ...] = ()
        for grid in latents:
            of_grid = min(shrink, _GRID_SHRINK)
            grids += (_shrunk(grid, of_grid),)
            shrink -= of_grid
        image, prior = self._job.image, self._plan.prior
        arch = FittedArchitecture(image.channels, len(grids), 1, prior.width, 1, prior.checksum)
        model = QuantizedGrids(arch, image.height, image.width, self._code, grids, changes, image.bit_depth)
        network, _ = prior.networks_of(changes)
        size = container_bytes(Model.FITTED) + len(write_grids(grids, network)) + self._networks_bytes(changes)
        return _Candidate(model, size, psnr(image.pixels, render(model), image.visible))

    def _expected_bytes(self, found: Measured, networks: Networks) -> float:
        """The size of the file of a state."""
        of_networks = self._networks_bytes(self._any_rounding.changes(networks))
        return container_bytes(Model.FITTED) + found.bits / 8 + of_networks

    def _follow(self, found: Measured, expected_bytes: float, part: float) -> None:
        """Moves the multiplier towards the target, after a part of the steps.

        The size falls while a fit goes on, as noise fades, and the PSNR rises, so both are compared
        as they are expected to be in the end.
        """
        config, budget, first = self._job.config, self._job.budget_bytes, self._plan.first_lmbda
        if part < _CONTROL_FROM:
            return
        if budget is not None:
            bits_in_the_end = self._bits_in_the_end(found.bits, part)
            if bits_in_the_end is None:
                return
            in_the_end = expected_bytes + (self._swept_part * bits_in_the_end - found.bits) / 8
            move = _LMBDA_OF_SIZE / (1 + _MEASURED_LATE - part) * log(in_the_end / max(1.0, _AIM * budget))
        elif config.psnr is not None:
            in_the_end_db = found.psnr_db + _GAINS_DB * (1 - part) ** 3
            move = _LMBDA_OF_PSNR * (in_the_end_db - config.psnr - _PSNR_SPARE)
        else:
            return
        move *= _CONTROL_STEPS / self._steps
        moved = log(self._fit.lmbda / first) + min(max(move, -_LARGEST_MOVE), _LARGEST_MOVE)
        self._fit.lmbda = first * exp(min(max(moved, -_FARTHEST_MOVE), _FARTHEST_MOVE))

    @property
    def _swept_part(self) -> float:
        """What bits of symbols come to in integers and after a sweep."""
        return _SWEPT_OF_HELD if self._held_until else _SWEPT

    def _bits_in_the_end(self, bits: float, part: float) -> float | None:
        """What symbols will take that take so many bits after a part of the steps; None where that
        is unknown, as latents are held or have just begun to move.
        """
        if part < self._held_until + _SETTLING_PART:
            return None
        excess = float(np.interp(part, *_EXCESS))
        most = _EXCESS_UP_TO[bool(self._held_until)]
        return max(bits / (1 + excess), bits - excess * most * self._fit.pixel_count)

    def _meets(self, candidate: _Candidate) -> bool:
        budget, floor_db = self._job.budget_bytes, self._job.config.psnr
        if budget is not None:
            return candidate.file_bytes <= budget
        return floor_db is None or candidate.psnr_db >= floor_db

    def _score(self, candidate: _Candidate) -> float:
        return -float(candidate.file_bytes) if self._job.config.psnr is not None else candidate.psnr_db

    def _is_close(self, best: _Candidate) -> bool:
        budget, floor_db = self._job.budget_bytes, self._job.config.psnr
        if budget is not None:
            return best.file_bytes >= _ENOUGH_OF_BUDGET * budget
        return floor_db is None or best.psnr_db <= floor_db + _ENOUGH_DB

    def _has_to_stop(self) -> bool:
        self._cut_short = self._cut_short or self._reason_to_stop()
        return self._cut_short is not None

    def _reason_to_stop(self) -> str | None:
        if self._job.should_stop():
            return "interrupted"
        limit = self._job.config.time_limit_s
        return "time limit" if limit is not None and time.perf_counter() - self._started > limit else None

    def _report(self, found: Measured, expected_bytes: float, number: int, restarts: int) -> None:
        seconds = time.perf_counter() - self._started
        psnr_db = self._job.reported_db(found.psnr_db)
        what = f"{psnr_db:.2f} dB, {expected_bytes:.0f} bytes{restarts_text(restarts)}"
        part = min(0.99, number / self._steps)
        progress = Progress(part, number, psnr_db, seconds, what, self._job.file_budget_bytes)
        self._job.on_progress(progress)

    def _unreachable(self, candidate: _Candidate, reason: str) -> str:
        if self._job.budget_bytes is not None:
            return self._job.too_small(candidate.file_bytes)
        floor_db = self._job.reported_db(self._job.config.psnr or 0.0)
        reached_db = self._job.reported_db(candidate.psnr_db)
        if reason != "steps":
            ended = f"the fit ended early ({reason}) at {reached_db:.2f} dB, below {floor_db:.2f}"
            return f"{ended}; {'' if reason == 'diverged' else 'give it more time, or '}use --model latent"
        came_to = f"which came to {reached_db:.2f} in {self._steps} steps; use --model latent"
        return f"{floor_db:.2f} dB is out of reach of the fitted model, {came_to}"


def fit_grids(job: Job, plan: Plan | None = None) -> Outcome:
    """Fits latents and networks to an image.

    Args:
        job: The image and its settings.
        plan: Where the fit starts and how it goes; that for the settings if None.

    Raises:
        TargetUnreachableError: The target cannot be met.
        ConfigError: Files of this model cannot name the multiplier that was given.
    """
    started = time.perf_counter()
    with on_processor():
        return _Search(job, plan_of(job) if plan is None else plan, started).run()


def _shrunk(latents: Float32, shrink: float) -> Symbols:
    """Rounds latents after a part of a symbol is taken off their magnitudes."""
    magnitudes = np.maximum(np.floor(np.abs(latents) + np.float32(0.5 - shrink)), 0)
    return np.asarray(np.copysign(magnitudes, latents), dtype=np.int32)
