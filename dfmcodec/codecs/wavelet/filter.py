"""The image filter: a linear correction of the synthesis, fitted to one image by least squares.

Like the adaptive loop filter of VVC (Tsai et al. 2013), it is fitted per image. It is written if it
saves more than it costs. At pixel p it adds to channel i

    sum_j sum_t w[i, j, t] (s_j(p + t) - s_j(p)),    t != 0,  |t|_1 <= radius,

with the samples s of the linear synthesis; edge samples are repeated beyond the image.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np

from dfmcodec._types import Float32, Int32
from dfmcodec.errors import ConfigError
from dfmcodec.fourier.quantize import STEP_COUNT, step_size
from dfmcodec.kernels import by_kernels, compiled

MAX_RADIUS = 5
_BLOCK_PIXELS = 1 << 14


@lru_cache(maxsize=MAX_RADIUS)
def taps(radius: int) -> tuple[tuple[int, int], ...]:
    """Returns the offsets (row, column) of a filter, ordered by distance, row and column.

    The offsets of a smaller radius are a prefix.
    """
    reach = range(-radius, radius + 1)
    offsets = [(y, x) for y in reach for x in reach if 0 < abs(y) + abs(x) <= radius]
    return tuple(sorted(offsets, key=lambda t: (abs(t[0]) + abs(t[1]), t)))


@dataclass(frozen=True)
class ImageFilter:
    """A quantised image filter. Raises ConfigError if a value is outside the range of the file
    format.
    """

    radius: int  # 1..MAX_RADIUS
    step_index: int  # the index of the quantisation step of the weights; see `fourier.quantize.step_size`
    symbols: Int32  # int32 [C, taps, C]: output channel, tap, input channel

    def __post_init__(self) -> None:
        if not (1 <= self.radius <= MAX_RADIUS and 0 <= self.step_index < STEP_COUNT):
            msg = f"a filter with radius {self.radius} and step index {self.step_index} is not valid"
            raise ConfigError(msg)
        channels = self.symbols.shape[0]
        if self.symbols.shape != (channels, len(taps(self.radius)), channels):
            msg = f"a filter of radius {self.radius} cannot have weights of shape {list(self.symbols.shape)}"
            raise ConfigError(msg)

    @property
    def weights(self) -> Float32:
        """The dequantised weights, float32 [C, taps, C]."""
        return (self.symbols * step_size(self.step_index)).astype(np.float32)


def rings(radius: int) -> list[slice]:
    """Returns the slice of taps for each distance 1..radius."""
    starts = [2 * distance * (distance - 1) for distance in range(1, radius + 2)]
    return [slice(start, stop) for start, stop in pairwise(starts)]


def tap_differences(padded: Float32, radius: int, first_row: int, last_row: int) -> Float32:
    """Returns the differences that the weights multiply, for the pixels of some rows, float32 [taps
    * C, rows * W], units. `padded` is float32 [C, H + 2 radius, W + 2 radius], units; `last_row` is
    the row after the last one.
    """
    channels, _, padded_width = padded.shape
    width, rows = padded_width - 2 * radius, last_row - first_row
    offsets = taps(radius)
    differences = np.empty((len(offsets), channels, rows, width), dtype=np.float32)
    top = first_row + radius
    centre = padded[:, top : top + rows, radius : radius + width]
    for row, (y, x) in enumerate(offsets):
        shifted = padded[:, top + y : top + y + rows, radius + x : radius + x + width]
        np.subtract(shifted, centre, out=differences[row])
    return differences.reshape(len(offsets) * channels, -1)


def _filter_residual_by_kernel(padded: Int32, image_filter: ImageFilter) -> Float32:
    radius = image_filter.radius
    channels, height, width = len(padded), *(side - 2 * radius for side in padded.shape[1:])
    residual = np.empty((channels, height, width), dtype=np.float32)
    compiled.filter_residual(
        weights=np.ascontiguousarray(image_filter.weights.transpose(1, 2, 0)),
        taps=np.array(taps(radius), dtype=np.int32),
        radius=radius,
        samples=np.ascontiguousarray(padded),
        channels=channels,
        height=height,
        width=width,
        residual=residual,
    )
    return residual


@by_kernels(_filter_residual_by_kernel)
def filter_residual(padded: Int32, image_filter: ImageFilter) -> Float32:
    """Returns the output of the filter, which is added to the linear synthesis, float32 [C, H, W],
    units. `padded` are the samples, padded by `radius` on all sides, int32 [C, H + 2 radius, W + 2
    radius], units.
    """
    channels, height, width = padded.shape[0], *(side - 2 * image_filter.radius for side in padded.shape[1:])
    values = padded.astype(np.float32)
    weights = image_filter.weights.reshape(channels, -1)
    change = np.empty((channels, height, width), dtype=np.float32)
    block_rows = max(1, _BLOCK_PIXELS // width)
    for row in range(0, height, block_rows):
        stop = min(height, row + block_rows)
        differences = tap_differences(values, image_filter.radius, row, stop)
        change[:, row:stop] = (weights @ differences).reshape(channels, stop - row, width)
    return change
