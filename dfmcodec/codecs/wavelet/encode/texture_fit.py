"""The fit of a texture: the fine detail of the original that a decoded image lacks.

The deviations of fine coefficients are compared in cells, those of luma where symbols are zero.
They follow from half-power moments, (mean |x|^(1/2))^2, which are nearly the deviation of Gaussian
noise but much smaller for the few large coefficients of an edge. So texture gets noise, and edges,
gradients and graphics get hardly any.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from dfmcodec import container
from dfmcodec._types import Bools, Float32, Float64, Pixels
from dfmcodec.codecs.wavelet.colour import ColourBasis, pixels_to_planes
from dfmcodec.codecs.wavelet.contents import QuantizedLatents, tiling_of
from dfmcodec.codecs.wavelet.geometry import ORIENTATIONS, Tile
from dfmcodec.codecs.wavelet.quantizer import Q_STEP_UNIT
from dfmcodec.codecs.wavelet.sections.texture import write_texture
from dfmcodec.codecs.wavelet.texture import (
    CELL_BITS,
    CHROMA_LEVEL,
    LUMA_BANDS,
    MAX_CODE,
    STRENGTH_UNIT,
    TEXTURE_LEVELS,
    UNIT_DEVIATION,
    Texture,
    add_noise,
    amplitude_count,
    beside,
    cell_counts,
    tile_noise,
    unpacked_masks,
)
from dfmcodec.codecs.wavelet.transform import UNITS_PER_CODE_VALUE, Bands, analyse
from dfmcodec.threads import in_threads

_HALF_POWER = 1.4793  # the deviation of Gaussian noise over (mean |x|^(1/2))^2: (pi^(1/2) / (2^(1/4) gamma(3/4)))^2
_SECOND_LEVEL = 0.3  # the part of what is restored in luma's second level: it costs fidelity and gains no realism
_FULL = 0.25  # at strength s, a missing deviation below s^2 times this times the step is restored fully
_LEAST_WEIGHT = 0.05  # the fraction of a cell that needs zeros for an estimate
_FINEST_STEP = 3 * Q_STEP_UNIT  # of files with texture
_ROWS = 64  # of a tile, to which noise is added at a time
_CODE_DEVIATION = 8 * UNIT_DEVIATION / UNITS_PER_CODE_VALUE  # deviation of the noise of code c over 2^c, code values

Masks = Mapping[int, Bools]  # of the bands of a tile; see `texture.nonzero_masks`


@dataclass(frozen=True)
class Deviations:
    """The sums over cells of 2^CELL_BITS[0] pixels from which a texture follows, float64
    [amplitude_count(C), rows, columns].
    """

    weights: Float64
    original: Float64  # weighted square roots of the original's coefficients
    decoded: Float64  # of the decoded image's

    def missing(self, cell_bits: int) -> Float64:
        """Returns the missing deviation in cells of 2^cell_bits pixels, in code values,
        float64 [amplitude_count(C), rows, columns]: that of noise which makes up for the difference
        of variances.
        """
        weights, original, decoded = (_joined(sums, cell_bits) for sums in (self.weights, self.original, self.decoded))
        count = np.maximum(weights, 1e-9)
        variances = (_HALF_POWER * (original / count) ** 2) ** 2 - (_HALF_POWER * (decoded / count) ** 2) ** 2
        positions = 4.0 ** (cell_bits - 1 - _levels(len(weights)))
        has_zeros = weights > _LEAST_WEIGHT * positions[:, None, None]
        return np.asarray(np.sqrt(np.maximum(variances, 0)) * has_zeros)


def _joined(sums: Float64, cell_bits: int) -> Float64:
    """Returns the sums over larger cells."""
    factor = 1 << cell_bits - CELL_BITS[0]
    rows, columns = (-(-side // factor) for side in sums.shape[1:])
    padded = np.pad(sums, ((0, 0), (0, rows * factor - sums.shape[1]), (0, columns * factor - sums.shape[2])))
    return np.asarray(padded.reshape(-1, rows, factor, columns, factor).sum((2, 4)))


def _levels(count: int) -> Float64:
    """Returns the level of each of the amplitudes of a cell, float64 [count]."""
    of_luma = np.repeat(np.arange(TEXTURE_LEVELS), ORIENTATIONS)
    return np.concatenate([of_luma, np.full(count - LUMA_BANDS, CHROMA_LEVEL)]).astype(np.float64)


def _fine_bands(pixels: Pixels, basis: ColourBasis) -> list[Bands]:
    """Returns the bands of each level that has texture, from the finest, in code values."""
    return list(analyse(pixels_to_planes(pixels, basis), TEXTURE_LEVELS).bands)


def _cell_sums(values: Float32, side: int) -> Float64:
    """Returns the sums over square cells of a band, float64 [rows, columns]."""
    rows, columns = (np.arange(0, length, side) for length in values.shape)
    return np.asarray(np.add.reduceat(np.add.reduceat(values, columns, axis=1, dtype=np.float64), rows, axis=0))


def measure(original: Pixels, decoded: Pixels, model: QuantizedLatents, masks: Sequence[Masks]) -> Deviations:
    """Measures original and decoded pixels, [H, W, C], with the masks of each tile."""
    tiling, basis = tiling_of(model.architecture, model.height, model.width), model.basis
    count = amplitude_count(original.shape[2])
    sums = np.zeros((3, count, *cell_counts(model.height, model.width, CELL_BITS[0])))

    def measure_tile(number: int) -> None:
        tile = tiling.tiles[number]
        top, left = tile.top >> CELL_BITS[0], tile.left >> CELL_BITS[0]
        bands = [_fine_bands(pixels[tile.rows, tile.columns], basis) for pixels in (original, decoded)]
        for number_of_band, mask in masks[number].items():
            level, orientation = divmod(number_of_band, ORIENTATIONS)
            first, second = (of_image[level][orientation] for of_image in bands)
            weights = np.where(mask, np.float32(0), np.where(beside(mask), np.float32(0.5), np.float32(1)))
            found = [(number_of_band, weights)]
            if level == CHROMA_LEVEL:
                found += [(LUMA_BANDS + axis, np.ones_like(weights)) for axis in range(len(first) - 1)]
            for channel, (amplitude, of_channel) in enumerate(found):
                roots = (of_channel * np.sqrt(np.abs(band[channel])) for band in (first, second))
                for target, values in zip(sums, (of_channel, *roots), strict=True):
                    cells = _cell_sums(values, 1 << CELL_BITS[0] - level - 1)
                    target[amplitude, top : top + cells.shape[0], left : left + cells.shape[1]] += cells

    in_threads(measure_tile, range(len(tiling.tiles)))
    return Deviations(*sums)


@dataclass(frozen=True)
class WaveletTextureFit:
    """The fit of textures to a file; see `search.encoder.TextureFit`."""

    model: QuantizedLatents
    decoded: Pixels  # the pixels without texture, [H, W, C]
    tiles: Sequence[Tile]
    masks: Sequence[Masks]  # of the tiles
    missing: Mapping[int, Float64]  # the missing deviations, by the base-2 logarithm of the side of a cell

    def texture(self, strength: float, cell_bits: int, seed: int = 0) -> Texture:
        """Returns the texture of a strength. Where little is missing, noise gains most realism for
        the fidelity that it costs, so more of it is restored.
        """
        missing = np.maximum(self.missing[cell_bits], 1e-9)
        step = self.model.q_step / Q_STEP_UNIT
        restored = missing * np.minimum(1, strength * np.sqrt(_FULL * step / missing))
        restored[ORIENTATIONS:LUMA_BANDS] *= _SECOND_LEVEL
        codes = np.rint(np.log2(restored / _CODE_DEVIATION))
        return Texture(seed, round(strength * STRENGTH_UNIT), cell_bits, np.clip(codes, 0, MAX_CODE).astype(np.int8))

    def textured(self, strength: float, limit_bytes: float) -> tuple[QuantizedLatents, Pixels] | None:
        """Takes the smallest cells with which the section has at most `limit_bytes`."""
        for cell_bits in CELL_BITS:
            texture = self.texture(strength, cell_bits)
            if not texture.codes.any():
                return None
            if container.section_file_bytes(len(write_texture(texture))) <= limit_bytes:
                return replace(self.model, texture=texture), self.with_noise(texture)
        return None

    def with_noise(self, texture: Texture) -> Pixels:
        """Returns the decoded pixels with the noise of a texture, [H, W, C]."""
        result = self.decoded.copy()

        def add(number: int) -> None:
            tile = self.tiles[number]
            noise = tile_noise(texture, tile, self.masks[number])
            for top in range(0, noise.shape[1], _ROWS):
                part = result[tile.rows, tile.columns][top : top + _ROWS]
                part[...] = add_noise(np.ascontiguousarray(part), noise[:, top : top + _ROWS], self.model.basis)

        in_threads(add, range(len(self.tiles)))
        return result


def fit_texture(model: QuantizedLatents, original: Pixels, decoded: Pixels) -> WaveletTextureFit | None:
    """Returns the fit of textures to a finished file, from the coded and the decoded pixels, [H, W,
    C]; None for a step so fine that hardly any texture is lost.
    """
    if model.q_step < _FINEST_STEP:
        return None
    tiles = tiling_of(model.architecture, model.height, model.width).tiles
    packed = [stream.nonzero for stream in model.streams]
    masks = [unpacked_masks(p, t.geometry) for p, t in zip(packed, tiles, strict=True) if p is not None]
    deviations = measure(original, decoded, model, masks)
    missing = {cell_bits: deviations.missing(cell_bits) for cell_bits in CELL_BITS}
    return WaveletTextureFit(model, decoded, tiles, masks, missing)
