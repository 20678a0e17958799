"""Texture: noise in place of the detail that quantisation removed.

The encoder measures how much of the original's fine detail is missing, in cells of the image, for
each band of luma in the two finest decomposition levels, and for each chroma axis in the second.
The decoder replaces coefficients of luma whose symbol is zero by pseudo-random numbers, and adds
such numbers to those of chroma. The noise is synthesised apart from the image and added to the
decoded samples. So contexts, adaptation, correction network and image filter do not depend on it.

All numbers are integers, and a number depends only on the seed, the band and the position in the
image. So all hosts, regions and tiles have the same noise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dfmcodec._types import Bools, Int8, Int32, Pixels, Symbols, UInt8
from dfmcodec.codecs.wavelet.colour import ColourBasis
from dfmcodec.codecs.wavelet.geometry import ORIENTATIONS, Geometry, Tile
from dfmcodec.codecs.wavelet.passes import PHASES, level_passes, pass_shape
from dfmcodec.codecs.wavelet.quantizer import synthesise_fine
from dfmcodec.codecs.wavelet.transform import UNITS_PER_CODE_VALUE
from dfmcodec.errors import ConfigError
from dfmcodec.image import peak_value, values_per_code_value
from dfmcodec.image.region import CHANNELS
from dfmcodec.kernels import by_kernels, compiled

TEXTURE_LEVELS = 2  # the number of decomposition levels with noise, from the finest on
LUMA_BANDS = TEXTURE_LEVELS * ORIENTATIONS  # the number of bands of luma with noise
CHROMA_LEVEL = 1  # the level of chroma with noise
_NOISES = LUMA_BANDS + (CHANNELS - 1) * ORIENTATIONS  # of a seed, for luma and chroma
CELL_BITS = range(6, 9)  # base-2 logarithms of the possible sides of a cell, in pixels
MAX_CODE = 8  # the largest amplitude code
_CODE_BITS = 3  # code 1 stands for an amplitude of 2^(1 + 3) units
MAX_SEED = 255
STRENGTH_UNIT = 200  # the strength of a section is in 1/`STRENGTH_UNIT`
NOISE_DEVIATION = 147.80  # standard deviation of the sum of four uniform bytes
_AMPLITUDE_BITS = 8  # fractional bits of interpolated amplitudes
_SHIFT = 15  # of the product of noise and amplitude
# Standard deviation of the noise of an amplitude of one unit, in units.
UNIT_DEVIATION = NOISE_DEVIATION * (1 << _AMPLITUDE_BITS) / (1 << _SHIFT)
_MEAN = 510  # of the sum of four uniform bytes
_SAME_STEP = 1 << 14  # with which `synthesise_fine` takes coefficients in units
_LARGEST_NOISE = 1 << 12  # in units: 64 code values
_FACTOR_BITS = 12
# Odd multipliers that spread columns, rows and bands over 32 bits.
_COLUMN, _ROW, _BAND = np.uint32(0x9E3779B1), np.uint32(0x85EBCA77), np.uint32(0xC2B2AE3D)
_MIX = np.uint32(0x7FEB352D), np.uint32(0x846CA68B)  # of `_hashed`


@dataclass(frozen=True)
class Texture:
    """The amplitude codes of an image. Raises ConfigError if a value is out of range.

    Code 0 stands for no noise, and code c > 0 for an amplitude of 8 * 2^c units. The noise of an
    amplitude of one unit has a standard deviation of `UNIT_DEVIATION`.
    """

    seed: int  # of the noise, 0..MAX_SEED
    strength: int  # for information, in 1/STRENGTH_UNIT; see docs/texture.md
    cell_bits: int  # base-2 logarithm of the side of a cell, in pixels
    # int8 [amplitude_count(C), rows, columns], 0..MAX_CODE: the bands of luma, finest level first,
    # then the chroma axes
    codes: Int8

    @property
    def cells(self) -> tuple[int, int]:
        """The (rows, columns) of cells."""
        rows, columns = self.codes.shape[1:]
        return rows, columns

    @property
    def relative_strength(self) -> float:
        """The strength, 0..1."""
        return self.strength / STRENGTH_UNIT

    def __post_init__(self) -> None:
        if self.cell_bits not in CELL_BITS:
            msg = f"texture in cells of 2^{self.cell_bits} pixels; 2^{CELL_BITS[0]} to 2^{CELL_BITS[-1]} are possible"
            raise ConfigError(msg)
        counts = [amplitude_count(channels) for channels in (1, CHANNELS)]
        if len(self.codes) not in counts or self.codes.min() < 0 or self.codes.max() > MAX_CODE:
            msg = f"the codes of a texture must be {' or '.join(map(str, counts))} arrays of 0..{MAX_CODE}"
            raise ConfigError(msg)


def amplitude_count(channels: int) -> int:
    """Returns the number of amplitudes of a cell: those of luma's bands, and of the chroma axes."""
    return LUMA_BANDS + channels - 1


def cell_counts(height: int, width: int, cell_bits: int) -> tuple[int, int]:
    """Returns the (rows, columns) of cells of an image."""
    return -(-height >> cell_bits), -(-width >> cell_bits)


def nonzero_masks(symbols: Symbols, geometry: Geometry, finest_level: int = 0) -> dict[int, Bools]:
    """Returns where the symbols of luma are not zero, bool [h, w], by the number of each band with
    noise. `symbols` are those of a tile in coding order, int32, down to a finest level.
    """
    masks: dict[int, Bools] = {}
    for level in range(finest_level, min(TEXTURE_LEVELS, geometry.levels)):
        start = geometry.symbol_count(level + 1)
        of_level = [np.zeros(geometry.band_size(level, orientation), dtype=bool) for orientation in range(ORIENTATIONS)]
        for coding_pass in level_passes(geometry, level):
            if coding_pass.channel > 0:
                break
            rows, columns = pass_shape(geometry, coding_pass)
            y, x = PHASES[coding_pass.phase]
            of_pass = symbols[start : start + rows * columns].reshape(rows, columns)
            of_level[coding_pass.orientation][y::2, x::2] = of_pass != 0
            start += rows * columns
        masks |= {level * ORIENTATIONS + orientation: mask for orientation, mask in enumerate(of_level)}
    return masks


def packed_masks(symbols: Symbols, geometry: Geometry) -> UInt8:
    """Returns `nonzero_masks` as bits, uint8 [N]."""
    masks = nonzero_masks(symbols, geometry)
    return np.packbits(np.concatenate([mask.ravel() for mask in masks.values()]))


def unpacked_masks(packed: UInt8, geometry: Geometry) -> dict[int, Bools]:
    """Inverts `packed_masks`."""
    bits, start = np.unpackbits(packed).view(bool), 0
    masks: dict[int, Bools] = {}
    for band in range(min(TEXTURE_LEVELS, geometry.levels) * ORIENTATIONS):
        height, width = geometry.band_size(*divmod(band, ORIENTATIONS))
        masks[band] = bits[start : start + height * width].reshape(height, width)
        start += height * width
    return masks


def _hashed(numbers: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    """Returns a pseudo-random number for each number (lowbias32, C. Wellons 2018)."""
    numbers = numbers ^ (numbers >> np.uint32(16))
    numbers *= _MIX[0]
    numbers ^= numbers >> np.uint32(15)
    numbers *= _MIX[1]
    numbers ^= numbers >> np.uint32(16)
    return numbers


def _noise(key: int, rows: range, columns: range) -> Int32:
    """Returns the noise at positions of a band of the image, int32 [h, w]: the sum of four bytes
    less its mean, nearly Gaussian. For `key`, see `_key`.
    """
    with np.errstate(over="ignore"):
        of_rows = np.arange(rows.start, rows.stop, dtype=np.uint32) * _ROW + np.uint32(key)
        of_columns = np.arange(columns.start, columns.stop, dtype=np.uint32) * _COLUMN
        hashed = _hashed(of_rows[:, None] + of_columns)
    total = (hashed & 255) + (hashed >> 8 & 255) + (hashed >> 16 & 255) + (hashed >> 24)
    return np.asarray(total.astype(np.int32) - np.int32(_MEAN), dtype=np.int32)


def _between_cells(first: int, count: int, side_bits: int, cells: int) -> tuple[Int32, Int32, Int32]:
    """Returns, for positions along an axis of a band, the two cells whose centres they lie between
    and the weight of the second in 1/2^(side_bits + 1). A cell has 2^side_bits positions.
    """
    doubled = 2 * np.arange(first, first + count, dtype=np.int32) + 1 - (1 << side_bits)
    cell, weight = doubled >> side_bits + 1, doubled & (2 << side_bits) - 1
    return np.clip(cell, 0, cells - 1), np.clip(cell + 1, 0, cells - 1), weight


def _cell_amplitudes(codes: Int8) -> Int32:
    """Returns the amplitudes of codes, int32 of the same shape, units."""
    return np.asarray((np.int32(1) << codes.astype(np.int32) & ~1) << _CODE_BITS)


def amplitudes(codes: Int8, rows: range, columns: range, side_bits: int) -> Int32:
    """Returns amplitudes at positions of a band, interpolated between the centres of cells, int32
    [h, w], in 2^-8 units. `codes` are int8 [rows, columns] of the complete image.
    """
    of_cells = _cell_amplitudes(codes)
    one = 2 << side_bits
    left, right, weight = _between_cells(columns.start, len(columns), side_bits, codes.shape[1])
    along = of_cells[:, left] * (one - weight) + of_cells[:, right] * weight
    above, below, weight = _between_cells(rows.start, len(rows), side_bits, codes.shape[0])
    sums = along[above] * (one - weight)[:, None] + along[below] * weight[:, None]
    return np.asarray(sums.astype(np.int32) >> 2 * (side_bits + 1) - _AMPLITUDE_BITS)


def beside(mask: Bools) -> Bools:
    """Returns the positions with at least one marked position among the nine around them."""
    wide = mask.copy()
    wide[1:] |= mask[:-1]
    wide[:-1] |= mask[1:]
    result = wide.copy()
    result[:, 1:] |= wide[:, :-1]
    result[:, :-1] |= wide[:, 1:]
    return result


def _key(seed: int, noise: int) -> int:
    """Returns the part of the hash that depends on the seed and on which of its noises it is."""
    return (_NOISES * seed + noise + 1) * int(_BAND) & 0xFFFFFFFF


def _band_noise_by_kernel(codes: Int8, key: int, mask: Bools, top: int, left: int, side_bits: int) -> Int32:
    noise = np.empty(mask.shape, dtype=np.int32)
    rows, columns = codes.shape
    compiled.texture_band(
        amplitudes=_cell_amplitudes(codes),
        cell_rows=rows,
        cell_columns=columns,
        side_bits=side_bits,
        key=key,
        top=top,
        left=left,
        height=mask.shape[0],
        width=mask.shape[1],
        nonzero=np.ascontiguousarray(mask).view(np.uint8),
        noise=noise,
    )
    return noise


@by_kernels(_band_noise_by_kernel)
def _band_noise(codes: Int8, key: int, mask: Bools, top: int, left: int, side_bits: int) -> Int32:
    """Returns the noise coefficients of a band of a tile, int32 [h, w], units. There is none where
    symbols are not zero (`mask`), and half as much beside them. `codes` are those of the band.
    """
    rows, columns = range(top, top + mask.shape[0]), range(left, left + mask.shape[1])
    amplitude = amplitudes(codes, rows, columns, side_bits)
    amplitude >>= beside(mask).astype(np.int32)
    values = _noise(key, rows, columns) * amplitude + (1 << _SHIFT - 1) >> _SHIFT
    return np.where(mask, np.int32(0), values)


def tile_noise(
    texture: Texture, tile: Tile, masks: Mapping[int, Bools], finest_level: int = 0, out: Int32 | None = None
) -> Int32:
    """Returns the noise of a tile's planes, int32 [C, h, w], units; with a finest level above 0,
    that of the low-pass bands of this level. For `masks`, see `nonzero_masks`. `out` receives it,
    if given.
    """
    geometry = tile.geometry
    coarsest = min(TEXTURE_LEVELS, geometry.levels)
    noise = np.zeros((geometry.channels, *geometry.low_sizes[max(coarsest, finest_level)]), dtype=np.int32)
    for level in reversed(range(finest_level, coarsest)):
        at = tile.top >> level + 1, tile.left >> level + 1
        bands = [np.zeros((geometry.channels, *geometry.band_size(level, o)), np.int32) for o in range(ORIENTATIONS)]
        for orientation, band in enumerate(bands):
            number = level * ORIENTATIONS + orientation
            of_noises = [(texture.codes[number], number, masks[number])]
            if level == CHROMA_LEVEL:
                everywhere = np.zeros(band.shape[1:], dtype=bool)
                of_noises += [
                    (codes, LUMA_BANDS + axis * ORIENTATIONS + orientation, everywhere)
                    for axis, codes in enumerate(texture.codes[LUMA_BANDS:])
                ]
            for plane, (codes, number, mask) in zip(band, of_noises, strict=False):
                plane[...] = _band_noise(codes, _key(texture.seed, number), mask, *at, texture.cell_bits - level - 1)
        last = out if level == finest_level else None
        noise = synthesise_fine(noise, bands, [_SAME_STEP] * ORIENTATIONS, last)
    if out is not None and noise is not out:
        out[...] = noise
    return noise


def _factors(basis: ColourBasis, channels: int, bits: int) -> Int32:
    """Returns samples of each colour per unit of each plane, int32 [plane, colour], in 2^-12."""
    axes = basis.axes if channels > 1 else np.ones((1, 1))
    unit = values_per_code_value(bits) / UNITS_PER_CODE_VALUE * (1 << _FACTOR_BITS)
    return np.rint(axes.astype(np.float64) * unit).astype(np.int32)


def _add_noise_by_kernel(pixels: Pixels, noise: Int32, basis: ColourBasis) -> Pixels:
    height, width, channels = pixels.shape
    bits = 8 * pixels.itemsize
    compiled.add_noise(
        noise=np.ascontiguousarray(noise),
        channels=channels,
        count=height * width,
        factors=_factors(basis, channels, bits),
        peak=peak_value(bits),
        pixels=pixels,
    )
    return pixels


@by_kernels(_add_noise_by_kernel)
def add_noise(pixels: Pixels, noise: Int32, basis: ColourBasis) -> Pixels:
    """Adds noise of planes, int32 [C, H, W], units, to pixels, uint8 or uint16 [H, W, C], whose
    memory the result may take.
    """
    channels, bits = pixels.shape[2], 8 * pixels.itemsize
    limited = np.clip(noise, -_LARGEST_NOISE, _LARGEST_NOISE)
    added = np.tensordot(limited, _factors(basis, channels, bits), ((0,), (0,))) + (1 << _FACTOR_BITS - 1)
    return np.clip(pixels + (added >> _FACTOR_BITS), 0, peak_value(bits)).astype(pixels.dtype)
