"""The latent pyramid: sub-bands of a wavelet as the first, linear layer of the `latent` model.

A picture in an orthonormal luma-chroma basis is split again and again into four bands by the CDF 9/7 wavelet
(Cohen, Daubechies, Feauveau 1992) in the lifting form of Daubechies and Sweldens 1998. Level 0 is the finest.
Of each level stay three orientations:

    0: high along rows     [3, ceil(h/2), floor(w/2)]
    1: high along columns  [3, floor(h/2), ceil(w/2)]
    2: high along both     [3, floor(h/2), floor(w/2)]

and of the coarsest level the low-pass band too. Synthesis works on integers, in units of 1/`UNITS_PER_LEVEL` of a
grey level, so that every machine gets the same coarse pictures: they are context for the finer symbols. The
analysis, which only an encoder needs, works in floats.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from math import atan2, cos, pi, sin
from typing import Any

import numpy as np
import numpy.typing as npt

from dfmcodec.image import Pixels, values_per_level
from dfmcodec.model import MAX_CHROMA_ANGLE, MAX_LEVELS

Array = Any  # float32 or int32
Float32 = npt.NDArray[np.float32]
Int32 = npt.NDArray[np.int32]
Bands = tuple[Float32, Float32, Float32]

COLOURS = 3
ORIENTATIONS = 3
UNITS_PER_LEVEL = 64
MAX_UNITS = 1 << 16  # what any coefficient or sample is limited to

# Lifting coefficients and the low-pass gain of the 9/7 wavelet, in units of 2^-12.
FRACTION_BITS = 12
_ALPHA, _BETA, _GAMMA, _DELTA = -6497, -217, 3616, 1817
_LOW_GAIN = 5039

# Norm of a band's synthesis functions (colour basis orthonormal), for levels 0..5 in units of 2^-8: the squared
# error of a coefficient times its norm squared is the squared error it makes in the picture.
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

# Rows: luma, and two chroma axes that a picture may turn in their plane.
_BASIS = np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]], dtype=np.float64)
_BASIS /= np.linalg.norm(_BASIS, axis=1, keepdims=True)
TILE_SIDE, TILE_GRID = 1024, 256
CHROMA_ANGLES = MAX_CHROMA_ANGLE + 1  # in half a turn
MIDDLE = 128.0


@dataclass(frozen=True)
class Geometry:
    """Sizes of the bands of a picture.

    Args:
        height: Of the picture, pixels.
        width: Of the picture, pixels.
        colours: 1 or 3.
        levels: Number of levels, 1..MAX_LEVELS.
    """

    height: int
    width: int
    colours: int
    levels: int

    @cached_property
    def low_sizes(self) -> tuple[tuple[int, int], ...]:
        """(height, width) of the picture and of the low-pass band after each level."""
        sizes = [(self.height, self.width)]
        for _ in range(self.levels):
            height, width = sizes[-1]
            sizes.append((-(-height // 2), -(-width // 2)))
        return tuple(sizes)

    def symbol_count(self, finest_level: int = 0) -> int:
        """Of the low-pass band and all levels from a finest one on."""
        height, width = self.low_sizes[finest_level]
        return self.colours * height * width

    def band_size(self, level: int, orientation: int) -> tuple[int, int]:
        """(height, width) of a band."""
        height, width = self.low_sizes[level]
        rows = height // 2 if orientation else -(-height // 2)
        columns = -(-width // 2) if orientation == 1 else width // 2
        return rows, columns


@dataclass(frozen=True)
class Window:
    """A rectangle of a picture: rows top..bottom, columns left..right, the ends left out."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def rows(self) -> slice:
        return slice(self.top, self.bottom)

    @property
    def columns(self) -> slice:
        return slice(self.left, self.right)

    def common(self, other: Window) -> Window:
        """What lies in both."""
        return Window(
            max(self.top, other.top),
            max(self.left, other.left),
            min(self.bottom, other.bottom),
            min(self.right, other.right),
        )

    def relative_to(self, other: Window) -> Window:
        """Counted from another's first pixel."""
        return Window(self.top - other.top, self.left - other.left, self.bottom - other.top, self.right - other.left)

    def grown(self, margin: int, height: int, width: int) -> Window:
        """With so many pixels more on all sides, within a picture of that size."""
        return Window(
            max(0, self.top - margin),
            max(0, self.left - margin),
            min(height, self.bottom + margin),
            min(width, self.right + margin),
        )


@dataclass(frozen=True)
class Tile:
    """A rectangle of a picture that has a pyramid of its own.

    Args:
        top, left: Of its first pixel; multiples of TILE_GRID.
        geometry: Sizes of its bands.
    """

    top: int
    left: int
    geometry: Geometry

    @property
    def rows(self) -> slice:
        """Of the picture."""
        return slice(self.top, self.top + self.geometry.height)

    @property
    def columns(self) -> slice:
        """Of the picture."""
        return slice(self.left, self.left + self.geometry.width)


@dataclass(frozen=True)
class Tiling:
    """Large pictures are cut into tiles, which are coded by themselves: memory stays bounded, and parts can be decoded.

    Machine and filter work across the tiles' edges.

    Args:
        height: Of the picture, pixels.
        width: Of the picture, pixels.
        colours: 1 or 3.
        levels: Of the pyramids.
        tile_rows: Number of tiles one above the other.
        tile_columns: Number of tiles side by side.
    """

    height: int
    width: int
    colours: int
    levels: int
    tile_rows: int = 1
    tile_columns: int = 1

    @classmethod
    def default(cls, height: int, width: int, colours: int) -> Tiling:
        """How a picture is cut where nothing else is asked for."""
        return cls(height, width, colours, default_levels(height, width), default_tiles(height), default_tiles(width))

    @cached_property
    def tiles(self) -> tuple[Tile, ...]:
        """All tiles, row by row."""
        rows, columns = _edges(self.height, self.tile_rows), _edges(self.width, self.tile_columns)
        return tuple(
            Tile(top, left, Geometry(bottom - top, right - left, self.colours, self.levels))
            for top, bottom in pairwise(rows)
            for left, right in pairwise(columns)
        )

    def covering(self, window: Window) -> tuple[Window, list[int]]:
        """The tiles that a window of the picture lies in: the rectangle that they make up, and their numbers."""
        numbers = [
            number
            for number, tile in enumerate(self.tiles)
            if tile.top < window.bottom
            and tile.rows.stop > window.top
            and tile.left < window.right
            and tile.columns.stop > window.left
        ]
        first, last = self.tiles[numbers[0]], self.tiles[numbers[-1]]
        return Window(first.top, first.left, last.rows.stop, last.columns.stop), numbers


@dataclass(frozen=True)
class Pyramid:
    """Coefficients of a picture: the coarsest low-pass band and bands[level][orientation], each [colours, h, w]."""

    low: npt.NDArray[np.float32]
    bands: tuple[Bands, ...]


def _edges(side: int, count: int) -> list[int]:
    """Where tiles begin along an axis, and where the last one ends."""
    return [TILE_GRID * ((2 * at * side + TILE_GRID * count) // (2 * TILE_GRID * count)) for at in range(count)] + [
        side
    ]


def default_tiles(side: int) -> int:
    """Into how many tiles an axis is cut: so that they have about TILE_SIDE pixels."""
    return max(1, (side + TILE_SIDE // 2) // TILE_SIDE)


def default_levels(height: int, width: int) -> int:
    """As many levels as leave a low-pass band of more than one sample, at most MAX_LEVELS."""
    return min(MAX_LEVELS, max(1, (max(height, width) - 1).bit_length()))


def colour_basis(chroma_angle: int) -> Float32:
    """The orthonormal luma-chroma basis, its chroma axes turned by chroma_angle / CHROMA_ANGLES of half a turn.

    Returns:
        float32 [3, 3], rows are axes in RGB.
    """
    angle = chroma_angle * pi / CHROMA_ANGLES
    turn = np.array([[1, 0, 0], [0, cos(angle), sin(angle)], [0, -sin(angle), cos(angle)]])
    return (turn @ _BASIS).astype(np.float32)


def principal_chroma_angle(pixels: Pixels) -> int:
    """The angle that makes the chroma axes principal: differences of neighbouring pixels are uncorrelated along them.

    0 for gray pictures.
    """
    if pixels.shape[2] == 1:
        return 0
    planes = to_planes(pixels, 0)[1:]
    covariance = np.zeros((2, 2))
    for difference in (np.diff(planes, axis=1), np.diff(planes, axis=2)):
        flat = difference.reshape(2, -1).astype(np.float64)
        covariance += flat @ flat.T
    angle = 0.5 * atan2(2 * covariance[0, 1], covariance[0, 0] - covariance[1, 1])
    return round(angle * CHROMA_ANGLES / pi) % CHROMA_ANGLES


def to_planes(pixels: Pixels, chroma_angle: int) -> Float32:
    """uint8 or uint16 [H, W, C] -> levels in the luma-chroma basis, float32 [C, H, W]."""
    levels = pixels.astype(np.float32)
    if pixels.itemsize > 1:
        levels *= np.float32(1 / values_per_level(8 * pixels.itemsize))
    centred = levels - np.float32(MIDDLE)
    if pixels.shape[2] > 1:
        centred = centred @ colour_basis(chroma_angle).T
    return np.ascontiguousarray(centred.transpose(2, 0, 1))


def _before(high: Array, count: int) -> Array:
    """high[n - 1] for n < count, mirrored at the start (and the end)."""
    return np.concatenate([high[:1], high], axis=0)[:count]


def _here(high: Array, count: int) -> Array:
    return high if len(high) == count else np.concatenate([high, high[-1:]], axis=0)


def _after(low: Array, count: int) -> Array:
    """low[n + 1] for n < count, mirrored at the end."""
    return low[1:] if len(low) > count else np.concatenate([low[1:], low[-1:]], axis=0)


def _split(x: Float32) -> tuple[Float32, Float32]:
    """Analysis along axis 0: [n, ...] -> low [ceil(n/2), ...] of gain 1, high [floor(n/2), ...]."""
    if len(x) == 1:
        return x.copy(), x[:0].copy()
    one = np.float32(1 << FRACTION_BITS)
    low, high = x[0::2].copy(), x[1::2].copy()
    high += np.float32(_ALPHA) / one * (low[: len(high)] + _after(low, len(high)))
    low += np.float32(_BETA) / one * (_before(high, len(low)) + _here(high, len(low)))
    high += np.float32(_GAMMA) / one * (low[: len(high)] + _after(low, len(high)))
    low += np.float32(_DELTA) / one * (_before(high, len(low)) + _here(high, len(low)))
    return low / (np.float32(_LOW_GAIN) / one), high


def _scaled(x: Int32, coefficient: int) -> Int32:
    """round(x * coefficient / 2^12)."""
    product: Int32 = x * np.int32(coefficient)
    product += np.int32(1 << FRACTION_BITS - 1)
    product >>= FRACTION_BITS
    return product


def _join(low: Int32, high: Int32) -> Int32:
    """Inverse of `_split`, on integers."""
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


def analyse(planes: Float32, levels: int) -> Pyramid:
    """Float32 [C, H, W] -> its pyramid of `levels` levels."""
    low = planes
    bands: list[Bands] = []
    for _ in range(levels):
        top, bottom = _split(low.transpose(1, 0, 2))  # along columns
        low, first = _split(top.transpose(2, 1, 0))
        second, third = _split(bottom.transpose(2, 1, 0))
        low = np.ascontiguousarray(low.transpose(1, 2, 0))
        first, second, third = (np.ascontiguousarray(band.transpose(1, 2, 0)) for band in (first, second, third))
        bands.append((first, second, third))
    return Pyramid(low, tuple(bands))


def synthesise_level(low: Int32, bands: Sequence[Int32]) -> Int32:
    """One level of the inverse wavelet.

    Args:
        low: int32 [C, ceil(h/2), ceil(w/2)], units.
        bands: The three orientations, int32, units.

    Returns:
        int32 [C, h, w], units, limited to +-MAX_UNITS.
    """
    first, second, third = bands
    top = _join(low.transpose(2, 0, 1), first.transpose(2, 0, 1))  # [w, C, h/2]
    bottom = _join(second.transpose(2, 0, 1), third.transpose(2, 0, 1))
    joined = _join(top.transpose(2, 1, 0), bottom.transpose(2, 1, 0))  # [h, C, w]
    return np.ascontiguousarray(np.clip(joined, -MAX_UNITS, MAX_UNITS).transpose(1, 0, 2))
