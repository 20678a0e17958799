"""The latent model: a picture's latents and filter, fitted to the target by alternating walks.

A walk (`pyramid_coding.traverse`) rounds all latents by rate and distortion. After it the picture's own filter is
fitted by least squares, and the next walk rounds towards what the filter and the prior's machine leave to do, knowing
what each symbol costs as context of others (`rounding.Influence`). The step follows the target from walk to walk, so
there is no outer loop of whole fits. Effort is the number of walks.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from math import inf, isfinite, log, log2, sqrt
from typing import Protocol

import numpy as np
import numpy.typing as npt

from dfmcodec import bitstream
from dfmcodec.context_correction import ContextCorrection
from dfmcodec.encoder.config import BIT_PRICE, step_of_lmbda
from dfmcodec.encoder.correction_fit import SymbolSample, fit_correction
from dfmcodec.encoder.filter_fit import fit_filter
from dfmcodec.encoder.job import MAX_RESTARTS, Job, Outcome, Progress, restarts_text
from dfmcodec.encoder.rounding import (
    ChosenSymbols,
    Influence,
    ObservedSymbols,
    PathChooser,
    local_groups,
    pass_coefficients,
    round_low,
    rounded_bits,
)
from dfmcodec.entropy.context import ContextModel, Groups
from dfmcodec.errors import DivergedError, TargetUnreachableError
from dfmcodec.image import PEAK_LEVEL, values_per_level
from dfmcodec.integrity import CHECK_BYTES
from dfmcodec.latents import (
    BAND_NORMS,
    NORM_UNIT,
    UNITS_PER_LEVEL,
    Pyramid,
    Tile,
    Tiling,
    analyse,
    colour_basis,
    principal_chroma_angle,
    to_planes,
)
from dfmcodec.metrics import mse, psnr_of_mse
from dfmcodec.model import MAX_STEP, LatentArchitecture, QuantizedLatents
from dfmcodec.picture_filter import PictureFilter, filter_change
from dfmcodec.prior import shipped
from dfmcodec.pyramid_coding import join_tiles, traverse
from dfmcodec.scan import Place, level_places, log_step
from dfmcodec.synthesis import Samples, blocks, evaluator, machine_change, planes_to_values

Float32 = npt.NDArray[np.float32]
Int32 = npt.NDArray[np.int32]

_ENOUGH_OF_AIM = 0.995  # where the coder's slack is much of the budget
_CODER_SLACK_BYTES = 9  # a stream's last words, by which a section may be larger than estimated
_INFLUENCE_PART = 0.3  # of the slopes, which are of first order only; measured best
_GUESS_FACTOR = 1.01  # measured on data/kodak: sd 3 %
_SECOND_WALK = 0.975  # of the first one's size at the same step, as its tables are no guess; measured alike
_STEP_ERROR = 0.33  # squared error of a coefficient that is not zero, in squared steps; measured on data/kodak
_GUESSES = 2  # of the size, before the first walk
_GUESSED_TILES = 4  # about so many of a large picture are looked at for guesses
_MORE_WALKS = 24  # beyond those of the effort, until a target is met
_DB_PER_OCTAVE = 5.0  # by which PSNR falls with the step, about


@dataclass(frozen=True)
class Effort:
    """What an effort level does; docs/presets.md.

    Args:
        walks: At least so many.
        filter_radius: Largest radius of the picture's own filter.
        refined: Whether what a walk found out serves the next, or only the step does.
        filter_rows_part: Part of the picture's rows that the filter is fitted to, 1 / this.
        corrections_after: Walks after which the correction of the context networks is fitted (again).
        aim: Part of a size budget that is aimed at.
        enough: Part of it that has to be used; less spares walks.
    """

    walks: int
    filter_radius: int
    refined: bool = True
    filter_rows_part: int = 1
    corrections_after: tuple[int, ...] = (1,)
    aim: float = 0.997
    enough: float = 0.992


EFFORT_LEVELS = {
    1: Effort(1, 3, refined=False, filter_rows_part=4, corrections_after=(), aim=0.985, enough=0.97),
    2: Effort(2, 4, aim=0.985, enough=0.97),
    3: Effort(3, 5, aim=0.992, enough=0.984),
    4: Effort(4, 5),
    5: Effort(6, 5, corrections_after=(1, 3)),
    6: Effort(8, 5, corrections_after=(1, 3, 5)),
    7: Effort(12, 5, corrections_after=(1, 3, 7)),
    8: Effort(18, 5, corrections_after=(1, 3, 7, 11)),
    9: Effort(28, 5, corrections_after=(1, 3, 7, 11, 19)),
}


@dataclass(frozen=True)
class Trial:
    """The picture after a walk.

    Args:
        model: Latents and filter.
        file_bytes: Estimated.
        mse: Of the decoded picture, squared levels; infinite where the trial was not finished.
        tiles: How many streams the latents have.
    """

    model: QuantizedLatents
    file_bytes: float
    mse: float
    tiles: int

    @property
    def psnr_db(self) -> float:
        return psnr_of_mse(self.mse) if self.mse < inf else -inf

    @property
    def most_bytes(self) -> float:
        """What the file will surely not exceed."""
        streams = self.tiles + (self.model.picture_filter is not None) + (self.model.correction is not None)
        return self.file_bytes + streams * _CODER_SLACK_BYTES


class _TileState:
    """A tile on its way: what a walk found out about it serves the next.

    Args:
        tile: Where it is.
        pyramid: What its latents are to be rounded to.
    """

    def __init__(self, tile: Tile, pyramid: Pyramid) -> None:
        self.tile = tile
        self.pyramid = pyramid
        self.influence: Influence | None = None
        self.groups: dict[Place, Groups] = {}


class LatentEncoder:
    """Walks over one picture; what a walk found out serves the next.

    Args:
        job: The encoding.
    """

    def __init__(self, job: Job) -> None:
        image = job.image
        self.image = image
        self.effort = EFFORT_LEVELS[job.config.effort]
        self.prior = shipped()
        self.chroma_angle = principal_chroma_angle(image.pixels)
        machine = self.prior.machine
        self.tiling = Tiling.default(image.height, image.width, image.channels)
        tiles = self.tiling.tile_rows, self.tiling.tile_columns
        self.architecture = LatentArchitecture(
            image.channels, self.tiling.levels, machine.depth, machine.width, 1, self.prior.checksum, *tiles
        )
        self._tiles = [_TileState(tile, self._analysed(tile)) for tile in self.tiling.tiles]
        self._looked_at = self._tiles[:: max(1, len(self._tiles) // _GUESSED_TILES)]
        looked_at = sum(state.tile.geometry.symbol_count() for state in self._looked_at)
        self._looked_at_part = looked_at / image.pixels.size
        self._energies = self._energies_of_pyramids()
        self._side_bytes = bitstream.latent_file_bytes(self.tiling)
        self._section_bytes = bitstream.section_file_bytes(CHECK_BYTES if job.has_checks else 0)
        self._context = self.prior.context
        self._correction: ContextCorrection | None = None
        self._step_of_groups = 1
        self._is_plain = False
        self.walks = 0

    def _analysed(self, tile: Tile, change: Float32 | None = None) -> Pyramid:
        """The pyramid of a tile of the picture, less a change in units that is added to its synthesis."""
        planes = to_planes(self.image.pixels[tile.rows, tile.columns], self.chroma_angle)
        if change is not None:
            planes -= change[:, tile.rows, tile.columns] * np.float32(1 / UNITS_PER_LEVEL)
        return analyse(planes, self.tiling.levels)

    def walk(self, step: int, bit_price: float, largest_bytes: float = inf) -> Trial:
        """Chooses the latents at a step and fits the filter.

        Args:
            step: In 1/64 levels.
            bit_price: In squared steps.
            largest_bytes: Of a file that is of use. Where nothing serves a next walk, a larger one is not finished:
                it has no filter, and its squared error is not known.

        Raises:
            FloatingPointError: Something of it is not finite.
        """
        effort = self.effort
        self.walks += 1
        sample = (
            SymbolSample(self.prior.context, self.tiling, log_step(step))
            if self.walks in effort.corrections_after and not self._is_plain
            else None
        )
        height, width = self.image.height, self.image.width
        samples = np.empty((self.tiling.colours, height, width), dtype=np.int32)
        symbols, start = np.empty(samples.size, dtype=np.int32), 0
        bodies, bits = [], 0.0
        for state in self._tiles:
            tile = state.tile
            source = self._source(state, step, bit_price, sample)
            found, samples[:, tile.rows, tile.columns] = traverse(tile.geometry, step, self._context, source)
            symbols[start : start + len(found)] = found
            start += len(found)
            bits += source.bits
            if source.writer is not None:
                bodies.append(source.writer.to_bytes())
            if effort.refined or len(self._tiles) == 1:  # the groups of a large picture would need much memory
                state.groups = source.groups
            if isinstance(source, ObservedSymbols):
                state.influence = source.observed.scaled(_INFLUENCE_PART)
        self._step_of_groups = step
        file_bytes = self._side_bytes + bits / 8
        model = QuantizedLatents(
            self.architecture,
            height,
            width,
            step,
            self.chroma_angle,
            symbols,
            samples,
            None,
            self._correction,
            self.image.bit_depth,
            join_tiles(bodies) if bodies else None,
        )
        if self._correction is not None:
            file_bytes += self._section_bytes + self._correction.file_bytes
        if not effort.refined and file_bytes > largest_bytes:
            return Trial(model, file_bytes, inf, len(self._tiles))

        change = self._machine_change(samples, step)
        price = bit_price * (step * UNITS_PER_LEVEL / 64) ** 2
        own_filter = None
        if not self._is_plain:
            own_filter = fit_filter(
                samples, partial(self._error, samples, change), price, effort.filter_radius, effort.filter_rows_part
            )
        if own_filter is not None:
            model = replace(model, picture_filter=own_filter)
            file_bytes += self._section_bytes + own_filter.file_bytes
        error = self._finish(samples, change, own_filter)
        if sample is not None:
            self._correct_contexts(sample)
        if effort.refined:
            for state in self._tiles:
                state.pyramid = self._analysed(state.tile, change)
        return Trial(model, file_bytes, error, len(self._tiles))

    def restart(self, best: Trial | None, plain: bool) -> None:
        """Forgets what walks found out but for the best trial, whose values were all finite.

        Args:
            best: None where there is none yet.
            plain: Whether further walks fit neither filter nor correction.
        """
        self._is_plain = plain
        self._correction = None if best is None else best.model.correction
        self._context = self._corrected_context()
        change = None
        if best is not None and self.effort.refined:
            with suppress(FloatingPointError):
                change = self._machine_change(best.model.samples, best.model.step)
                self._finish(best.model.samples, change, best.model.picture_filter)
        for state in self._tiles:
            state.influence, state.groups = None, {}
            state.pyramid = self._analysed(state.tile, change)

    def _source(self, state: _TileState, step: int, bit_price: float, sample: SymbolSample | None) -> ChosenSymbols:
        """The symbols of a tile by rate and distortion."""
        context, geometry, pyramid = self._context, state.tile.geometry, state.pyramid
        tables = partial(self._tables_of, state, step)
        chooser = PathChooser(pyramid, geometry, step, bit_price, context, tables, state.influence)
        low, chosen = round_low(pyramid, step), chooser.symbols()
        if self.effort.refined and self.walks % 2 == 1:  # influence changes little: every other walk is enough
            return ObservedSymbols(low, chosen, context, geometry, step, sample)
        return ChosenSymbols(low, chosen, context, writes=not self.effort.refined)

    def _error(self, samples: Int32, change: Float32, rows: slice) -> Float32:
        """What samples and change leave to do in some rows, float32 [C, rows, W], units."""
        planes = to_planes(self.image.pixels[rows], self.chroma_angle)
        return np.asarray(planes * np.float32(UNITS_PER_LEVEL) - change[:, rows] - samples[:, rows])

    def _finish(self, samples: Int32, change: Float32, own_filter: PictureFilter | None) -> float:
        """Adds the filter to the machine's change; the squared error of the picture that comes out, squared levels."""
        image, basis = self.image, colour_basis(self.chroma_angle)
        whole = Samples.whole(samples)
        pixels = np.empty_like(image.pixels)
        for block in blocks(whole.at, image.height, image.width):
            part = slice(block.top, block.bottom), slice(block.left, block.right)
            if own_filter is not None:
                change[:, *part] += filter_change(whole.around(block, own_filter.radius), own_filter)
            planes = samples[:, *part].astype(np.float32) + change[:, *part]
            pixels[part] = planes_to_values(planes.transpose(1, 2, 0), basis, image.bit_depth)
        return mse(image.pixels, pixels, image.visible) / values_per_level(image.bit_depth) ** 2

    def _correct_contexts(self, sample: SymbolSample) -> None:
        self._correction = fit_correction(sample, self._correction)
        self._context = self._corrected_context()

    def _corrected_context(self) -> ContextModel:
        context, correction = self.prior.context, self._correction
        return context if correction is None else correction.applied(context, self.tiling.tiles[0].geometry)

    def _tables_of(self, state: _TileState, step: int, place: Place) -> Groups:
        """Tables of a pass as of the last walk, for scales in another step; a guess before the first walk."""
        if not state.groups:
            return local_groups(state.pyramid, step, place, self.prior.context)
        return self.prior.context.rescaled(state.groups[place], log2(self._step_of_groups / step))

    def _machine_change(self, samples: Int32, step: int) -> Float32:
        whole, machine = Samples.whole(samples), self.prior.machine
        evaluate = evaluator(machine)
        change = np.empty(samples.shape, dtype=np.float32)
        for block in blocks(whole.at, whole.height, whole.width):
            part = machine_change(whole, block, step, machine.reach, evaluate)
            change[:, block.top : block.bottom, block.left : block.right] = part
        if not isfinite(change.sum(dtype=np.float64)):
            msg = "the machine's values"
            raise FloatingPointError(msg)
        return change

    def _energies_of_pyramids(self) -> tuple[Float32, Float32]:
        """Squared coefficients in squared levels of the picture: every other row of level 0, and all of the others.

        Of the tiles that are looked at.
        """
        fine: list[Float32] = []
        coarse: list[Float32] = [np.zeros(1, dtype=np.float32)]
        for state in self._looked_at:
            for level, three in enumerate(state.pyramid.bands):
                for orientation, band in enumerate(three):
                    norm = np.float32(BAND_NORMS[level][orientation] / NORM_UNIT)
                    rows = band if level else band[:, ::2]
                    (coarse if level else fine).append((rows.ravel() * norm) ** 2)
        return np.concatenate(fine), np.concatenate(coarse)

    def guessed_bytes(self, step: int) -> float:
        """Size, good to some 3 percent: bits of coefficients rounded by themselves, under guessed tables."""
        context = self.prior.context
        bits = 0.0
        for state in self._looked_at:
            for level in range(self.tiling.levels):
                for place in level_places(state.tile.geometry, level):
                    groups = local_groups(state.pyramid, step, place, context)
                    bits += rounded_bits(pass_coefficients(state.pyramid, step, place), groups, context)
        return self._side_bytes + _GUESS_FACTOR * bits / 8 / self._looked_at_part

    def rough_bytes(self, step: int) -> float:
        """Size, off by a factor that hardly depends on the step: 1/2 log2(1 + 0.9 c^2) summed over coefficients c."""
        scale = np.float32(0.9 * (64 / step) ** 2)
        fine, coarse = (float(np.log1p(energies * scale).sum(dtype=np.float64)) for energies in self._energies)
        return self._side_bytes + (2 * fine + coarse) / (2 * log(2) * 8) / self._looked_at_part

    def rough_mse(self, step: int) -> float:
        """Squared error, good to some 10 percent: a part of a squared step, or the coefficient if that is less."""
        largest = np.float32(_STEP_ERROR * (step / 64) ** 2)
        fine, coarse = (float(np.minimum(energies, largest).sum(dtype=np.float64)) for energies in self._energies)
        return (2 * fine + coarse) / self._looked_at_part / self.image.pixels.size

    def step_for(self, rough_bytes: float) -> int:
        """The smallest step whose rough size is at most a number of bytes."""
        return smallest_step(lambda step: self.rough_bytes(step) <= rough_bytes)


def smallest_step(is_enough: Callable[[int], bool]) -> int:
    """The smallest step from which on a condition holds, at most MAX_STEP."""
    low, high = 1, MAX_STEP
    while low < high:
        middle = (low + high) // 2
        if is_enough(middle):
            high = middle
        else:
            low = middle + 1
    return low


class Target(Protocol):
    """What an encoding is to reach."""

    first_step: int
    largest_bytes: float  # of a file that meets it

    def meets(self, trial: Trial) -> bool:
        """Whether a trial may be written."""

    def is_close(self, trial: Trial) -> bool:
        """Whether a trial that meets the target leaves nothing of it unused."""

    def score(self, trial: Trial) -> float:
        """What is best among the trials that meet the target: larger is better."""

    def next_step(self, trial: Trial) -> int:
        """The step of the next walk."""

    def unreachable(self, trial: Trial) -> str:
        """What to say if even this trial does not meet it."""


class SizeTarget:
    """At most `budget_bytes`, used up as far as possible."""

    def __init__(self, encoder: LatentEncoder, job: Job, budget_bytes: int) -> None:
        self._encoder = encoder
        self._job = job
        self._budget = budget_bytes
        self.largest_bytes: float = budget_bytes - _CODER_SLACK_BYTES
        self._aim = encoder.effort.aim * (budget_bytes - 2 * _CODER_SLACK_BYTES)
        self._enough = min(encoder.effort.enough * budget_bytes, _ENOUGH_OF_AIM * self._aim)
        self.first_step = encoder.step_for(self._aim)
        for _ in range(_GUESSES):
            ratio = encoder.guessed_bytes(self.first_step) / encoder.rough_bytes(self.first_step)
            self.first_step = encoder.step_for(self._aim / ratio)
        self._expected: float | None = None  # bytes of the next trial
        self._too_fine, self._coarse = 0, MAX_STEP + 1  # the coarsest step that did not fit, the finest that did

    def meets(self, trial: Trial) -> bool:
        return trial.most_bytes <= self._budget

    def is_close(self, trial: Trial) -> bool:
        return trial.file_bytes >= self._enough or trial.model.step == 1 or trial.mse == 0

    def score(self, trial: Trial) -> float:
        return trial.psnr_db

    def next_step(self, trial: Trial) -> int:
        """A trial's size over its rough size changes slowly with the step, so it corrects the next guess.

        Refinement makes files a little larger from walk to walk; that drift is expected to go on.
        """
        step = trial.model.step
        if self.meets(trial):
            self._coarse = min(self._coarse, step)
        else:
            self._too_fine = max(self._too_fine, step)
        drift = 1.0 if self._expected is None else trial.file_bytes / self._expected
        drift = min(max(drift, 0.99), 1.01) if self._encoder.effort.refined else 1.0
        if self._encoder.walks == 1 and not self._encoder.effort.refined:
            drift = _SECOND_WALK
        ratio = trial.file_bytes / self._encoder.rough_bytes(step)
        guess = self._encoder.step_for(self._aim / (ratio * drift))
        if not self.meets(trial):
            guess = min(max(guess, step + 1), MAX_STEP)
        open_bracket = 0 < 1.03 * self._too_fine < self._coarse <= MAX_STEP
        if open_bracket and not self._too_fine < guess < self._coarse:  # pictures without detail mislead the guess
            guess = max(self._too_fine + 1, round(sqrt(self._too_fine * self._coarse)))
        self._expected = ratio * self._encoder.rough_bytes(guess)
        return guess

    def unreachable(self, trial: Trial) -> str:
        return self._job.too_small(trial.most_bytes)


class PsnrTarget:
    """At least `floor_db`, in as few bytes as possible."""

    largest_bytes = inf

    def __init__(self, encoder: LatentEncoder, floor_db: float) -> None:
        self._floor_db = floor_db
        largest_mse = PEAK_LEVEL**2 * 10 ** (-floor_db / 10)
        self.first_step = smallest_step(lambda step: encoder.rough_mse(step) >= largest_mse)

    def meets(self, trial: Trial) -> bool:
        return trial.psnr_db >= self._floor_db

    def is_close(self, trial: Trial) -> bool:
        return trial.psnr_db < self._floor_db + 0.03 or trial.model.step == MAX_STEP

    def score(self, trial: Trial) -> float:
        return -trial.file_bytes

    def next_step(self, trial: Trial) -> int:
        step = trial.model.step
        above_db = min(max(trial.psnr_db - self._floor_db - 0.004, -20.0), 20.0)
        guess = round(step * 2 ** (above_db / _DB_PER_OCTAVE))
        if guess == step and not self.meets(trial):
            guess = step - 1
        return min(max(guess, 1), MAX_STEP)

    def unreachable(self, trial: Trial) -> str:
        return f"{self._floor_db:.2f} dB is out of reach: {trial.psnr_db:.2f} dB at step {trial.model.step / 64:.3f}"


class LmbdaTarget:
    """The least squared error + price of bits, at the step that belongs to a multiplier."""

    largest_bytes = inf

    def __init__(self, encoder: LatentEncoder, lmbda: float) -> None:
        self._samples = encoder.image.pixels.size
        self.first_step = min(max(round(64 * step_of_lmbda(lmbda)), 1), MAX_STEP)

    def meets(self, trial: Trial) -> bool:
        return True

    def is_close(self, trial: Trial) -> bool:
        return True

    def score(self, trial: Trial) -> float:
        return -(trial.mse * self._samples + 8 * trial.file_bytes * BIT_PRICE * (trial.model.step / 64) ** 2)

    def next_step(self, trial: Trial) -> int:
        return self.first_step

    def unreachable(self, trial: Trial) -> str:
        raise NotImplementedError  # every trial meets it


def _target_of(job: Job, encoder: LatentEncoder) -> Target:
    if job.budget_bytes is not None:
        return SizeTarget(encoder, job, job.budget_bytes)
    if job.config.psnr is not None:
        return PsnrTarget(encoder, job.config.psnr)
    return LmbdaTarget(encoder, job.config.target_lmbda or 0.0)


def fit_latents(job: Job) -> Outcome:
    """Encodes a picture's latents.

    Raises:
        TargetUnreachableError: The target cannot be met.
        DivergedError: Walks came to values that are not numbers again and again.
    """
    started = time.perf_counter()
    encoder = LatentEncoder(job)
    target = _target_of(job, encoder)
    best: Trial | None = None
    step, reason, restarts = target.first_step, "done", 0
    for number in range(1, encoder.effort.walks + _MORE_WALKS + 1):
        try:
            trial = encoder.walk(step, BIT_PRICE, target.largest_bytes)
        except FloatingPointError as error:
            if restarts == MAX_RESTARTS:
                if best is not None:
                    reason = "diverged"
                    break
                msg = (
                    f"the fit came to values that are not numbers {restarts + 1} times ({error}): a fault of this "
                    "computer or program; try again, then please report it"
                )
                raise DivergedError(msg) from error
            restarts += 1
            encoder.restart(best, plain=restarts > 1)
            continue
        if target.meets(trial) and (best is None or target.score(trial) > target.score(best)):
            best = trial
        seconds = time.perf_counter() - started
        what = f"step {step / 64:.2f}, {trial.file_bytes:.0f} bytes{restarts_text(restarts)}"
        part = min(0.99, number / max(encoder.effort.walks, 3))
        job.on_progress(Progress(part, number, trial.psnr_db, seconds, what, job.file_budget_bytes))
        if best is not None:
            early = _reason_to_stop(job, seconds)
            if early or (number >= encoder.effort.walks and target.is_close(best)):
                reason = early or reason
                break
        following = target.next_step(trial)
        if number > encoder.effort.walks and following == step and (best is not None or step in (1, MAX_STEP)):
            break
        step = following
    if best is None:
        raise TargetUnreachableError(target.unreachable(trial))
    return Outcome(best.model, best.file_bytes, None, encoder.walks, time.perf_counter() - started, reason, restarts)


def _reason_to_stop(job: Job, seconds: float) -> str | None:
    if job.should_stop():
        return "interrupted"
    limit = job.config.time_limit_s
    return "time limit" if limit is not None and seconds > limit else None
