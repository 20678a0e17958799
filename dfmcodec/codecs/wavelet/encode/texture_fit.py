"""The fit of a texture: the fine detail of the original that a decoded image lacks.

The deviations of fine luma coefficients are compared in cells, where symbols are zero. They follow
from half-power moments, (mean |x|^(1/2))^2, which are nearly the deviation of Gaussian noise but
much smaller for the few large coefficients of an edge. So texture gets noise, and edges, gradients
and graphics get hardly any.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from dfmcodec import container
from dfmcodec._types import Bools, Float32, Float64, Pixels
from dfmcodec.codecs.wavelet.colour import MIDDLE, ColourBasis
from dfmcodec.codecs.wavelet.contents import QuantizedLatents, tiling_of
from dfmcodec.codecs.wavelet.geometry import ORIENTATIONS, Tile
from dfmcodec.codecs.wavelet.quantizer import Q_STEP_UNIT
from dfmcodec.codecs.wavelet.sections.texture import write_texture
from dfmcodec.codecs.wavelet.texture import (
    BANDS,
    CELL_BITS,
    MAX_CODE,
    STRENGTH_UNIT,
    TEXTURE_LEVELS,
    UNIT_DEVIATION,
    Texture,
    add_noise,
    beside,
    cell_counts,
    tile_noise,
    unpacked_masks,
)
from dfmcodec.codecs.wavelet.transform import UNITS_PER_CODE_VALUE, analyse
from dfmcodec.image import values_per_code_value
from dfmcodec.threads import in_threads

_HALF_POWER = 1.4793  # the deviation of Gaussian noise over (mean |x|^(1/2))^2: (pi^(1/2) / (2^(1/4) gamma(3/4)))^2
_LEVEL_STRENGTHS = (1.0, 0.5)  # of the finest level and the next one; the best of those tried on Kodak photographs
_LEAST_WEIGHT = 0.05  # the fraction of a cell that needs zeros for an estimate
_FINEST_STEP = 3 * Q_STEP_UNIT  # of files with texture
_ROWS = 64  # of a tile, to which noise is added at a time
_CODE_UNITS = 8 * UNIT_DEVIATION  # deviation of the noise of code c over 2^c, in units

Masks = Mapping[int, Bools]  # of the bands of a tile; see `texture.nonzero_masks`


@dataclass(frozen=True)
class Deviations:
    """The sums over cells of 2^CELL_BITS[0] pixels from which a texture follows, float64 [BANDS,
    rows, columns].
    """

    weights: Float64
    original: Float64  # weighted square roots of the original's coefficients
    decoded: Float64  # of the decoded image's

    def missing(self, cell_bits: int) -> Float64:
        """Returns the missing deviation in cells of 2^cell_bits pixels, in units, float64 [BANDS,
        rows, columns]: that of noise which makes up for the difference of variances.
        """
        weights, original, decoded = (_joined(sums, cell_bits) for sums in (self.weights, self.original, self.decoded))
        count = np.maximum(weights, 1e-9)
        variances = (_HALF_POWER * (original / count) ** 2) ** 2 - (_HALF_POWER * (decoded / count) ** 2) ** 2
        positions = 4.0 ** (cell_bits - 1) / np.repeat(4.0 ** np.arange(TEXTURE_LEVELS), ORIENTATIONS)
        has_zeros = weights > _LEAST_WEIGHT * positions[:, None, None]
        return np.asarray(np.sqrt(np.maximum(variances, 0)) * has_zeros)


def _joined(sums: Float64, cell_bits: int) -> Float64:
    """Returns the sums over larger cells."""
    factor = 1 << cell_bits - CELL_BITS[0]
    rows, columns = (-(-side // factor) for side in sums.shape[1:])
    padded = np.pad(sums, ((0, 0), (0, rows * factor - sums.shape[1]), (0, columns * factor - sums.shape[2])))
    return np.asarray(padded.reshape(BANDS, rows, factor, columns, factor).sum((2, 4)))


def _fine_bands(pixels: Pixels, basis: ColourBasis) -> list[Float32]:
    """Returns the bands of luma that texture has, float32 [h, w] each, units."""
    scale = np.float32(UNITS_PER_CODE_VALUE / values_per_code_value(8 * pixels.itemsize))
    luma = pixels.astype(np.float32)
    luma = luma @ (basis.duals[0] * scale) if pixels.shape[2] > 1 else luma[:, :, 0] * scale
    pyramid = analyse(luma[None] - np.float32(MIDDLE * UNITS_PER_CODE_VALUE), TEXTURE_LEVELS)
    return [band[0] for of_level in pyramid.bands for band in of_level]


def _cell_sums(values: Float32, side: int) -> Float64:
    """Returns the sums over square cells of a band, float64 [rows, columns]."""
    rows, columns = (np.arange(0, length, side) for length in values.shape)
    return np.asarray(np.add.reduceat(np.add.reduceat(values, columns, axis=1, dtype=np.float64), rows, axis=0))


def measure(original: Pixels, decoded: Pixels, model: QuantizedLatents, masks: Sequence[Masks]) -> Deviations:
    """Measures original and decoded pixels, [H, W, C], with the masks of each tile."""
    tiling, basis = tiling_of(model.architecture, model.height, model.width), model.basis
    sums = np.zeros((3, BANDS, *cell_counts(model.height, model.width, CELL_BITS[0])))

    def measure_tile(number: int) -> None:
        tile = tiling.tiles[number]
        top, left = tile.top >> CELL_BITS[0], tile.left >> CELL_BITS[0]
        bands = [_fine_bands(pixels[tile.rows, tile.columns], basis) for pixels in (original, decoded)]
        for band, (first, second, mask) in enumerate(zip(*bands, masks[number].values(), strict=True)):
            if not mask.size:
                continue
            weights = np.where(mask, np.float32(0), np.where(beside(mask), np.float32(0.5), np.float32(1)))
            side = 1 << CELL_BITS[0] - band // ORIENTATIONS - 1
            of_band = [weights, weights * np.sqrt(np.abs(first)), weights * np.sqrt(np.abs(second))]
            for target, values in zip(sums, of_band, strict=True):
                cells = _cell_sums(values, side)
                target[band, top : top + cells.shape[0], left : left + cells.shape[1]] = cells

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
        """Returns the texture of a strength: amplitudes relative to the missing deviations."""
        wanted = self.missing[cell_bits] * (strength * np.repeat(_LEVEL_STRENGTHS, ORIENTATIONS))[:, None, None]
        codes = np.rint(np.log2(np.maximum(wanted, 1e-9) / _CODE_UNITS))
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
            for top in range(0, len(noise), _ROWS):
                part = result[tile.rows, tile.columns][top : top + _ROWS]
                part[...] = add_noise(np.ascontiguousarray(part), noise[top : top + _ROWS])

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
