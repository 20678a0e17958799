"""The wavelet transform: planes <-> bands of coefficients.

The CDF 9/7 wavelet (Cohen, Daubechies, Feauveau 1992) repeatedly splits the planes of an image into
four bands, in the lifting form of Daubechies and Sweldens 1998. Decomposition level 0 is the
finest. Each level keeps three orientations of [3, h, w] planes,

    0: high along rows     [3, ceil(h/2), floor(w/2)]
    1: high along columns  [3, floor(h/2), ceil(w/2)]
    2: high along both     [3, floor(h/2), floor(w/2)]

and the coarsest level also keeps the low-pass band. Synthesis uses integers, in units of
1/`UNITS_PER_CODE_VALUE` of a code value. So every host gets the same low-pass bands, which are
context for finer symbols. Analysis uses floating point, as only encoders need it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dfmcodec._types import Array, Float32, Int32
from dfmcodec.kernels import compiled
from dfmcodec.threads import in_threads

Bands = tuple[Float32, Float32, Float32]
UNITS_PER_CODE_VALUE = 64  # units in a code value
MAX_UNITS = 1 << 16  # the largest magnitude of a coefficient or sample
# Lifting coefficients and the low-pass gain of the 9/7 wavelet, in units of 2^-12.
FRACTION_BITS = 12
_ALPHA, _BETA, _GAMMA, _DELTA = -6497, -217, 3616, 1817
_LOW_GAIN = 5039
# The norm of each band's synthesis functions (with colour axes of length 1), in 2^-8, for
# decomposition levels 0..5. The squared error of a coefficient times the squared norm is the
# squared error in the image; if the axes are not orthogonal, on average.
BAND_NORMS = (
    (319, 319, 201),
    (630, 630, 375),
    (1322, 1322, 809),
    (2702, 2702, 1677),
    (5484, 5484, 3369),
    (10971, 10971, 6842),
)
LOW_NORMS = (504, 1056, 2162, 4362, 8767, 17661)
NORM_UNIT = 1 << 8


@dataclass(frozen=True)
class Pyramid:
    """The wavelet coefficients of an image."""

    low: npt.NDArray[np.float32]  # the coarsest low-pass band, float32 [C, h, w]
    bands: tuple[Bands, ...]  # bands[level][orientation], each float32 [C, h, w]


def _before(high: Array, count: int) -> Array:
    """Returns high[n - 1] for n < count, mirrored at the start."""
    return np.concatenate([high[:1], high], axis=0)[:count]


def _here(high: Array, count: int) -> Array:
    """Returns high[n] for n < count, mirrored at the end."""
    return high if len(high) == count else np.concatenate([high, high[-1:]], axis=0)


def _after(low: Array, count: int) -> Array:
    """Returns low[n + 1] for n < count, mirrored at the end."""
    return low[1:] if len(low) > count else np.concatenate([low[1:], low[-1:]], axis=0)


def _scaled(x: Int32, coefficient: int) -> Int32:
    """Returns round(x * coefficient / 2^12)."""
    product: Int32 = x * np.int32(coefficient)
    product += np.int32(1 << FRACTION_BITS - 1)
    product >>= FRACTION_BITS
    return product


def _join(low: Int32, high: Int32) -> Int32:
    """Joins low [ceil(n/2), ...] of gain 1 and high [floor(n/2), ...] along axis 0, in integers."""
    if len(high) == 0:
        return low.copy()
    low, high = _scaled(low, _LOW_GAIN), high.copy()
    low -= _scaled(_before(high, len(low)) + _here(high, len(low)), _DELTA)
    high -= _scaled(low[: len(high)] + _after(low, len(high)), _GAMMA)
    low -= _scaled(_before(high, len(low)) + _here(high, len(low)), _BETA)
    high -= _scaled(low[: len(high)] + _after(low, len(high)), _ALPHA)
    x = np.empty((len(low) + len(high), *low.shape[1:]), dtype=np.int32)
    x[0::2], x[1::2] = low, high
    return x


def _analyse_level(planes: Float32) -> tuple[Float32, Bands]:
    """Splits planes [C, H, W] into a low-pass band and three orientations."""
    planes = np.ascontiguousarray(planes)
    channels, height, width = planes.shape
    rows, columns, high_rows, high_columns = -(-height // 2), -(-width // 2), height // 2, width // 2
    shapes = (rows, columns), (rows, high_columns), (high_rows, columns), (high_rows, high_columns)
    low, first, second, third = (np.empty((channels, *shape), dtype=np.float32) for shape in shapes)

    def split(channel: int) -> None:
        compiled.analyse_channel(
            plane=planes[channel],
            height=height,
            width=width,
            low=low[channel],
            band_0=first[channel],
            band_1=second[channel],
            band_2=third[channel],
        )

    in_threads(split, range(channels))
    return low, (first, second, third)


def analyse(planes: Float32, levels: int) -> Pyramid:
    """Splits planes, float32 [C, H, W], into the bands of a pyramid. Its coefficients are in the
    unit of the planes.
    """
    low = planes
    bands: list[Bands] = []
    for _ in range(levels):
        low, of_level = _analyse_level(low)
        bands.append(of_level)
    return Pyramid(low, tuple(bands))


def _split_transposed(low: Float32, high: Float32) -> Float32:
    """Applies the transpose of `_split`."""
    if len(high) == 0:
        return low.copy()
    one = np.float32(1 << FRACTION_BITS)
    low = np.asarray(low * (one / np.float32(_LOW_GAIN)))
    high = high.copy()
    high += np.float32(_DELTA) / one * _to_high(low, len(high))
    low += np.float32(_GAMMA) / one * _to_low(high, len(low))
    high += np.float32(_BETA) / one * _to_high(low, len(high))
    low += np.float32(_ALPHA) / one * _to_low(high, len(low))
    x = np.empty((len(low) + len(high), *low.shape[1:]), dtype=np.float32)
    x[0::2], x[1::2] = low, high
    return x


def _to_high(low: Float32, count: int) -> Float32:
    """Applies the transpose of `_before` plus `_here`, for `count` samples of high."""
    high = low[:count].copy()
    high[-1] += low[count:].sum(axis=0)
    high[0] += low[0]
    high[: len(low) - 1] += low[1:]
    return high


def _to_low(high: Float32, count: int) -> Float32:
    """Applies the transpose of the first samples plus `_after`, for `count` samples of low."""
    low = np.zeros((count, *high.shape[1:]), dtype=np.float32)
    low[: len(high)] = high
    low[1 : len(high) + 1] += high[: count - 1]
    low[-1] += high[count - 1 :].sum(axis=0)
    return low


def _transposed_level(low: Float32, bands: Bands) -> Float32:
    """Applies the transpose of a decomposition level to one channel, [h, w] for each band."""
    low, first, second, third = (np.ascontiguousarray(band.T) for band in (low, *bands))
    top, bottom = _split_transposed(low, first), _split_transposed(second, third)
    return _split_transposed(*map(np.ascontiguousarray, (top.T, bottom.T)))


def analyse_transposed(pyramid: Pyramid) -> Float32:
    """Applies the transpose of `analyse` to a pyramid: float32 [C, H, W]. It converts a derivative
    with respect to coefficients to one with respect to planes.
    """

    def of_channel(channel: int) -> Float32:
        low: Float32 = pyramid.low[channel]
        for first, second, third in reversed(pyramid.bands):
            low = _transposed_level(low, (first[channel], second[channel], third[channel]))
        return low

    return np.stack(in_threads(of_channel, range(len(pyramid.low))))


def synthesise_level(low: Int32, bands: Sequence[Int32]) -> Int32:
    """Inverts one decomposition level. `low` is int32 [C, ceil(h/2), ceil(w/2)], and `bands` are
    the three orientations, int32, units. Returns int32 [C, h, w], units, limited to +-MAX_UNITS.
    """
    first, second, third = bands
    top = _join(low.transpose(2, 0, 1), first.transpose(2, 0, 1))  # [w, C, h/2]
    bottom = _join(second.transpose(2, 0, 1), third.transpose(2, 0, 1))
    joined = _join(top.transpose(2, 1, 0), bottom.transpose(2, 1, 0))  # [h, C, w]
    return np.ascontiguousarray(np.clip(joined, -MAX_UNITS, MAX_UNITS).transpose(1, 0, 2))
