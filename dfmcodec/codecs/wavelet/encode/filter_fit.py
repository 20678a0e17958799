"""The least-squares fit of the image filter, and its quantisation if it is worth its bits.

The filter is a Wiener filter, like the adaptive loop filter (Tsai et al. 2013); see
`codecs.wavelet.filter`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import NamedTuple

import numpy as np

from dfmcodec._types import Float32, Float64, Int32, Units
from dfmcodec.codecs.wavelet.filter import ImageFilter, tap_differences, taps
from dfmcodec.codecs.wavelet.sections.filter import filter_bytes
from dfmcodec.codecs.wavelet.synthesis import Samples
from dfmcodec.container.layout import STREAM_SECTION_BYTES
from dfmcodec.fourier.quantize import step_size
from dfmcodec.image.region import Region
from dfmcodec.threads import in_threads

_STEP_INDICES = (48, 56, 64, 72, 80)  # 1/64 .. 1/1024
_SMALLEST_RADIUS = 2
BLOCK_ROWS, BLOCK_COLUMNS = 16, 256
_BLOCKS_AT_A_TIME = 16  # blocks whose products are kept in memory
_RIDGE = 1e-5
_AGREED = 0.5  # the least ratio of the error that a filter lowers in other blocks to that in its own blocks


def fit_filter(
    samples: Units, residual: Callable[[Region], Float32], bit_cost: float, largest_radius: int, stride: int = 1
) -> ImageFilter | None:
    """Returns the filter that minimises squared error + bit_cost * bits, in squared units; None if
    no filter lowers it. Raises FloatingPointError if the normal equations have NaN or infinite
    values.

    `samples` are the linear synthesis, int16 or int32 [C, H, W], units. `residual` returns the
    residual of linear synthesis and correction network in a region, float32 [C, h, w], units. The
    fit tries radii up to the largest one, in pixels, and uses about one of `stride` blocks; all
    blocks if there are few, or if the others are not like these.
    """
    if largest_radius < _SMALLEST_RADIUS:
        return None
    equations = _equations(samples, residual, largest_radius, stride)
    if equations is None or not equations.is_finite:
        msg = "the normal equations of the filter"
        raise FloatingPointError(msg)
    best, best_gain = None, 0.0
    for radius in range(_SMALLEST_RADIUS, largest_radius + 1):
        size = len(taps(radius)) * samples.shape[0]
        if size >= samples[0].size:
            break
        ridged, factor = _with_inverse_factor(equations.normal[:size, :size])
        solution = np.linalg.solve(ridged, equations.moment[:size]).astype(np.float64)
        for step_index in _STEP_INDICES:
            symbols = _quantize(solution, factor, step_size(step_index))
            lowered = equations.lowered(np.asarray(symbols * step_size(step_index), dtype=np.float64))
            candidate = ImageFilter(radius, step_index, _by_output(symbols, samples.shape[0]))
            gain = lowered - 8 * bit_cost * (filter_bytes(candidate) + STREAM_SECTION_BYTES)
            if gain > best_gain:
                best, best_gain = candidate, gain
    return best


def _by_output(symbols: Float64, channels: int) -> Int32:
    """Rearranges [taps * inputs, outputs] to int32 [outputs, taps, inputs]."""
    return np.ascontiguousarray(symbols.T.reshape(channels, -1, channels)).astype(np.int32)


class _NormalEquations(NamedTuple):
    """The normal equations of the fit to some blocks."""

    normal: Float64  # the matrix, [taps * C, taps * C]
    moment: Float64  # the right side, [taps * C, C]

    @classmethod
    def of(
        cls, samples: Units, residual: Callable[[Region], Float32], radius: int, blocks: Sequence[Region]
    ) -> _NormalEquations:
        """Returns the equations of some blocks."""
        complete, channels = Samples.complete(samples), len(samples)
        size = len(taps(radius)) * channels
        normal, moment = np.zeros((size, size)), np.zeros((size, channels))

        def products(block: Region) -> tuple[Float32, Float32]:
            padded = complete.around(block, radius).astype(np.float32)
            differences = tap_differences(padded, radius, 0, block.height)
            error = residual(block).reshape(channels, -1)
            return differences @ differences.T, differences @ error.T

        for first in range(0, len(blocks), _BLOCKS_AT_A_TIME):
            for by_differences, by_error in in_threads(products, blocks[first : first + _BLOCKS_AT_A_TIME]):
                normal += by_differences
                moment += by_error
        return cls(normal, moment)

    def plus(self, factor: float, others: _NormalEquations) -> _NormalEquations:
        """Returns the sum with other equations times a factor."""
        return _NormalEquations(self.normal + factor * others.normal, self.moment + factor * others.moment)

    @property
    def is_finite(self) -> bool:
        """Indicates whether all values are finite."""
        return isfinite(self.normal.sum() + self.moment.sum())

    def lowered(self, weights: Float64) -> float:
        """Returns the amount by which weights lower the squared error; [taps * C, C], or the first
        of them.
        """
        size = len(weights)
        return float(2 * np.sum(weights * self.moment[:size]) - np.sum(weights * (self.normal[:size, :size] @ weights)))


def _equations(
    samples: Units, residual: Callable[[Region], Float32], radius: int, stride: int
) -> _NormalEquations | None:
    """Returns the normal equations for the complete image, from about one of `stride` blocks if
    these are typical of the image. Returns None if they have NaN or infinite values.

    Half of them are the blocks with the largest contrasts. A filter that does not know these could
    overshoot there, and more in each iteration. The other blocks lie on diagonals and count for
    all others. They are typical if the filter of every second one lowers the error of the others,
    too.
    """
    blocks = _blocks(*samples.shape[1:])
    count = len(blocks) // (2 * stride)
    if stride > 1 and count > 1:
        by_contrast = sorted(blocks, key=lambda block: -_contrast(samples, block))
        first_ones, rest = by_contrast[:count], set(by_contrast[count:])
        others = [block for block in blocks if block in rest]
        used = [block for block in others if block.diagonal % (2 * stride) == 0]
        share = sum(block.pixels for block in others) / max(1, sum(block.pixels for block in used))
        parts = [
            _NormalEquations.of(samples, residual, radius, first_ones[half::2]).plus(
                share, _NormalEquations.of(samples, residual, radius, used[half::2])
            )
            for half in range(2)
        ]
        if not all(part.is_finite for part in parts):
            return None
        if used and _agree(*parts):
            return parts[0].plus(1, parts[1])
    equations = _NormalEquations.of(samples, residual, radius, blocks)
    return equations if equations.is_finite else None


@dataclass(frozen=True)
class _Block(Region):
    """A block of pixels."""

    diagonal: int  # the number of its diagonal

    @property
    def pixels(self) -> int:
        """The number of pixels."""
        return self.height * self.width


def _blocks(height: int, width: int) -> list[_Block]:
    """Returns the blocks of an image, row by row."""
    return [
        _Block(top, left, min(height, top + BLOCK_ROWS), min(width, left + BLOCK_COLUMNS), row + column)
        for row, top in enumerate(range(0, height, BLOCK_ROWS))
        for column, left in enumerate(range(0, width, BLOCK_COLUMNS))
    ]


def _contrast(samples: Units, block: Region) -> float:
    """Returns the largest difference of two neighbours in every second row of a block."""
    values = samples[:, block.rows, block.columns][:, ::2]
    return float(np.abs(np.diff(values.astype(np.int32), axis=2)).max(initial=0))


def _agree(one: _NormalEquations, other: _NormalEquations) -> bool:
    """Indicates whether the filter of each half of some blocks is of use for the other half."""
    own_gain = other_gain = 0.0
    for first, second in ((one, other), (other, one)):
        ridged, _ = _with_inverse_factor(first.normal)
        solution = np.linalg.solve(ridged, first.moment).astype(np.float64)
        own_gain += first.lowered(solution)
        other_gain += second.lowered(solution)
    return other_gain >= _AGREED * own_gain


def _with_inverse_factor(normal: Float64) -> tuple[Float64, Float64]:
    """Adds a ridge to the normal matrix, and returns it with the upper triangular U such that U^T U
    is its inverse.

    An image whose differences are all parallel, such as a gradient, needs a larger ridge.
    """
    ridge = _RIDGE * (float(np.trace(normal)) / len(normal) + 1e-9)
    while True:
        ridged: Float64 = normal + ridge * np.eye(len(normal))
        try:
            return ridged, np.asarray(np.linalg.cholesky(np.linalg.inv(ridged)).T)
        except np.linalg.LinAlgError:
            ridge *= 10


def _quantize(solution: Float64, factor: Float64, step: float) -> Float64:
    """Rounds weights one after another. Later weights compensate the error (Hassibi and Stork 1993,
    in Cholesky form).
    """
    weights = solution.copy()
    symbols = np.empty_like(weights)
    for row in range(len(weights)):
        symbols[row] = np.rint(weights[row] / step)
        error = (weights[row] - symbols[row] * step) / factor[row, row]
        weights[row + 1 :] -= factor[row, row + 1 :, None] * error
    return symbols
