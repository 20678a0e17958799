"""Estimates of size and error before the first iteration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import log

import numpy as np
import numpy.typing as npt

from dfmcodec._types import Float32, Float64
from dfmcodec.codecs.wavelet.context import MEANS, ContextModel, TableChoice
from dfmcodec.codecs.wavelet.encode.encoding import Encoding
from dfmcodec.codecs.wavelet.encode.trellis_search import STEP_UNIT, pass_coefficients
from dfmcodec.codecs.wavelet.geometry import Geometry, Tile, Tiling
from dfmcodec.codecs.wavelet.neighbourhood import NEIGHBOURS
from dfmcodec.codecs.wavelet.passes import PHASES, CodingPass, level_passes, pass_shape
from dfmcodec.codecs.wavelet.quantizer import MAX_STEP, Q_STEP_UNIT, band_step
from dfmcodec.codecs.wavelet.transform import BAND_NORMS, NORM_UNIT, UNITS_PER_CODE_VALUE, Pyramid
from dfmcodec.entropy.tables import LAST_DIRECT, RADIUS, SCALES_PER_OCTAVE, UNIT_SCALE_INDEX
from dfmcodec.perception.distortion import CoefficientWeights
from dfmcodec.search.quality import BIT_COST
from dfmcodec.search.rate_control import Bracket

_KNOWN_OCTAVES = 0.6  # reduction of scales by contexts, relative to neighbouring magnitudes; measured on data/kodak
_PARENT_WEIGHT = 4  # in neighbours
_GUESS_FACTOR = 1.01  # measured on data/kodak: sd 3 %
_STEP_ERROR = 0.33  # squared error of a coefficient that is not zero, in squared steps; measured on data/kodak
_ESTIMATED_TILES = 4  # the approximate number of tiles of a large image that are used
_OCTAVE, _LEAST_ENERGY = 32, np.float32(2.0**-20)  # intervals in an octave of energy, from the least one on
_FIRST_INTERVAL, _INTERVALS = -20 * _OCTAVE, 64 * _OCTAVE
_DEAD_ZONE = 0.1  # beyond half a symbol, for coefficients of weight 1


class GuessedTables:
    """Guesses the tables of passes before the first iteration: Laplace tables, from the magnitudes
    around each coefficient.

    They are the magnitudes of the eight neighbours in the band and, with four times the weight, of
    the parent.
    """

    def __init__(self, pyramid: Pyramid, q_step: int) -> None:
        self._pyramid = pyramid
        self._q_step = q_step
        self._last: tuple[int, npt.NDArray[np.int16]] | None = None  # a band, and the tables of its four passes

    def __call__(self, coding_pass: CodingPass) -> TableChoice:
        """Returns the tables of a pass."""
        if self._last is None or self._last[0] != coding_pass.band:
            self._last = coding_pass.band, self._of_band(coding_pass)
        y, x = PHASES[coding_pass.phase]
        table = self._last[1][y::2, x::2].ravel()
        return TableChoice(table, np.ones(table.size, dtype=np.int32))

    def _of_band(self, coding_pass: CodingPass) -> npt.NDArray[np.int16]:
        """Returns the tables of the band of a pass, int16 [rows, columns]."""
        log_scale = _neighbour_magnitudes(self._pyramid, self._q_step, coding_pass)
        log_scale /= 2
        log_scale += np.float32(0.05)
        np.log2(log_scale, out=log_scale)
        log_scale -= np.float32(_KNOWN_OCTAVES)
        log_scale *= np.float32(SCALES_PER_OCTAVE)
        scale = np.clip(np.rint(log_scale) + UNIT_SCALE_INDEX, 0, LAST_DIRECT)
        return np.asarray(scale.astype(np.int16) * np.int16(len(MEANS)))


def _neighbour_magnitudes(pyramid: Pyramid, q_step: int, coding_pass: CodingPass) -> Float32:
    """Returns the mean magnitude around each coefficient of the band of a pass in steps, float32
    [rows, columns].
    """
    bands = [
        bands_of_level[coding_pass.orientation][coding_pass.channel]
        for bands_of_level in pyramid.bands[coding_pass.level : coding_pass.level + 2]
    ]
    norm = BAND_NORMS[coding_pass.level][coding_pass.orientation]
    height, width = bands[0].shape
    padded = np.pad(np.abs(bands[0]), 1)
    sums = padded[1:-1, :-2] + padded[1:-1, 2:]
    beside = padded[:-2] + padded[2:]
    for x in range(3):
        sums += beside[:, x : x + width]
    weight = len(NEIGHBOURS)
    if len(bands) > 1 and bands[1].size:
        gain = np.float32(BAND_NORMS[coding_pass.level + 1][coding_pass.orientation] / norm * 0.5)
        parent = (np.abs(bands[1]) * (_PARENT_WEIGHT * gain)).repeat(2, axis=0).repeat(2, axis=1)[:height, :width]
        missing = [(0, size - parent_size) for size, parent_size in zip(sums.shape, parent.shape, strict=True)]
        sums += np.pad(parent, missing, mode="edge") if np.any(missing) else parent
        weight += _PARENT_WEIGHT
    sums *= np.float32(STEP_UNIT * UNITS_PER_CODE_VALUE / band_step(q_step, norm) / weight)
    return np.asarray(sums)


def rounded_bits(c: Float32, choice: TableChoice, context: ContextModel, weights: Float32 | None = None) -> float:
    """Returns the bits of coefficients, in steps, each rounded separately to quantiser 0 under
    tables with mean 0. Where errors weigh less, a bit costs more squared steps.
    """
    down = np.float32(_DEAD_ZONE) if weights is None else np.float32(_DEAD_ZONE) / weights
    symbols = np.clip(np.abs(c) / 2 + (np.float32(0.5) - down), 0, RADIUS).astype(np.int32)
    return float(context.bits_of_entries(choice.table, symbols + RADIUS).sum(dtype=np.float64))


def smallest_q_step(is_enough: Callable[[int], bool]) -> int:
    """Returns the smallest q_step from which on a condition holds, at most MAX_STEP."""
    bracket = Bracket(0, MAX_STEP)
    bracket.bisect(lambda q_step: not is_enough(q_step))
    return bracket.high


def _tiles_used(tiling: Tiling) -> tuple[Tile, ...]:
    """Returns the tiles whose coefficients are used: some of those of a large image."""
    return tiling.tiles[:: max(1, len(tiling.tiles) // _ESTIMATED_TILES)]


@dataclass(frozen=True)
class Estimator:
    """Estimates of size and error from the coefficients of an image."""

    encoding: Encoding
    part: float  # the fraction of the image's samples in the tiles that are used; see `_tiles_used`
    # the mean squared coefficient of each interval of a thirty-second of an octave, in squared code
    # values of the image, float64 [N]
    energies: Float64
    counts: Float64  # the number of coefficients in each interval, float64 [N]

    @classmethod
    def of(cls, encoding: Encoding) -> Estimator:
        """Returns the estimator of the image of an encoding."""
        tiles = _tiles_used(encoding.tiling)
        symbols = sum(tile.geometry.symbol_count() for tile in tiles)
        energies, counts = np.zeros(_INTERVALS), np.zeros(_INTERVALS)
        for tile in tiles:
            for level, three in enumerate(encoding.pyramid(tile).bands):
                every_row = 1 if level else 2  # of level 0, every second row is enough
                for orientation, band in enumerate(three):
                    norm = np.float32(BAND_NORMS[level][orientation] / NORM_UNIT)
                    energy = (band[:, ::every_row].ravel() * norm) ** 2
                    place = (_OCTAVE * np.log2(energy + _LEAST_ENERGY)).astype(np.intp) - _FIRST_INTERVAL
                    energies += every_row * np.bincount(place, energy, _INTERVALS)
                    counts += every_row * np.bincount(place, minlength=_INTERVALS)
        part = symbols / encoding.image.pixels.size
        return cls(encoding, part, energies / np.maximum(counts, 1), counts)

    def guess(self) -> Callable[[int], float]:
        """Returns a function of the q_step that returns the size within about 3 percent. It keeps
        the pyramids of the tiles that are used.
        """
        encoding = self.encoding
        pyramids = [(tile, encoding.pyramid(tile)) for tile in _tiles_used(encoding.tiling)]
        sample = [(tile.geometry, pyramid, encoding.coefficient_weights(tile, pyramid)) for tile, pyramid in pyramids]
        return partial(self._guessed_bytes, sample)

    def _guessed_bytes(self, sample: list[tuple[Geometry, Pyramid, CoefficientWeights | None]], q_step: int) -> float:
        """Returns the bits of separately rounded coefficients under guessed tables, in bytes."""
        context, dearer = self.encoding.weights.context, np.float32(self.encoding.bit_cost(q_step) / BIT_COST)
        bits = 0.0
        for geometry, pyramid, weights in sample:
            guessed = GuessedTables(pyramid, q_step)
            for level in range(geometry.levels):
                for coding_pass in level_passes(geometry, level):
                    tables = guessed(coding_pass)
                    pass_weights = None
                    if weights is not None:
                        pass_weights = weights.of_pass(coding_pass, pass_shape(geometry, coding_pass)).ravel() / dearer
                    bits += rounded_bits(pass_coefficients(pyramid, q_step, coding_pass), tables, context, pass_weights)
        return self.encoding.fixed_bytes + _GUESS_FACTOR * bits / 8 / self.part

    def rough_bytes(self, q_step: int) -> float:
        """Returns the size up to a factor that hardly depends on the step: 1/2 log2(1 + 0.9 c^2),
        summed over coefficients c.
        """
        nats = float(self.counts @ np.log1p(self.energies * (0.9 * (Q_STEP_UNIT / q_step) ** 2)))
        return self.encoding.fixed_bytes + nats / (2 * log(2) * 8) / self.part

    def rough_mse(self, q_step: int) -> float:
        """Returns the squared error within about 10 percent: a fraction of a squared step, or the
        squared coefficient if that is less.
        """
        largest = _STEP_ERROR * (q_step / Q_STEP_UNIT) ** 2
        error = float(self.counts @ np.minimum(self.energies, largest))
        return error / self.part / self.encoding.image.pixels.size

    def q_step_for(self, rough_bytes: float) -> int:
        """Returns the smallest q_step whose rough size is at most the given number of bytes."""
        return smallest_q_step(lambda q_step: self.rough_bytes(q_step) <= rough_bytes)
