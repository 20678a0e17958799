"""Tests of the experiment with textures: exact noise, its section, and a fit that finds lost
grain.
"""

from __future__ import annotations

import numpy as np
import pytest

import dfmcodec
from dfmcodec import container
from dfmcodec.codecs.wavelet.contents import tiling_of
from dfmcodec.codecs.wavelet.geometry import Geometry, Tile
from research.texture.fit import fitted_texture, measure, with_noise
from research.texture.noise import BANDS, MAX_CODE, Texture, amplitudes, beside, cell_counts, tile_noise
from research.texture.section import read_texture, write_texture


def empty_masks(geometry):
    return {band: np.zeros(geometry.band_size(band // 3, band % 3), dtype=bool) for band in range(BANDS)}


@pytest.mark.parametrize("cell_bits", [6, 7, 8])
def test_section_restores_the_texture(cell_bits):
    codes = np.random.default_rng(3).integers(0, MAX_CODE + 1, (BANDS, *cell_counts(700, 1001, cell_bits)))
    texture = Texture(3, 90, cell_bits, codes.astype(np.int8))
    again = read_texture(write_texture(texture), 700, 1001)
    assert np.array_equal(again.codes, texture.codes)
    assert (again.seed, again.strength, again.cell_bits) == (3, 90, cell_bits)


def test_amplitudes_are_interpolated_between_the_centres_of_cells():
    codes = np.array([[1, 3], [0, 2]], dtype=np.int8)
    field = amplitudes(codes, range(64), range(64), 5)
    assert field[:16, :16].max() == field[:16, :16].min() == 16 << 8  # beyond the outer centres
    assert np.all(np.diff(field[0]) >= 0)
    assert np.array_equal(amplitudes(codes, range(10, 30), range(7, 50), 5), field[10:30, 7:50])


def test_positions_beside_a_symbol():
    mask = np.zeros((5, 6), dtype=bool)
    mask[0, 0] = mask[3, 4] = True
    expected = np.zeros((5, 6), dtype=bool)
    expected[:2, :2] = expected[2:5, 3:6] = True
    assert np.array_equal(beside(mask), expected)


def test_tiles_continue_each_other():
    """Away from its edges, where the synthesis mirrors, a tile has the noise of the image."""
    codes = np.random.default_rng(3).integers(0, MAX_CODE + 1, (BANDS, *cell_counts(512, 768, 6)))
    texture = Texture(1, 0, 6, codes.astype(np.int8))

    def noise_of(top, left, height, width):
        geometry = Geometry(height, width, 1, 6)
        return tile_noise(texture, Tile(top, left, geometry), empty_masks(geometry))

    complete, part = noise_of(0, 0, 512, 768), noise_of(256, 256, 256, 512)
    assert np.array_equal(complete[256 + 32 :, 256 + 32 : -32], part[32:, 32:-32])


def test_fit_measures_lost_grain_and_leaves_edges_alone():
    columns = np.indices((256, 256))[1][:, :, None]
    decoded = np.where(columns < 128, 120, np.where(columns // 16 % 2, 200, 40)).astype(np.uint8)  # edges at the right
    grain = np.random.default_rng(0).normal(0, 4, (256, 128, 1))
    original = decoded.copy()
    original[:, :128] = np.clip(decoded[:, :128] + grain, 0, 255).astype(np.uint8)
    model, _ = container.read(dfmcodec.encode(decoded, effort=1, quality=60).data)
    tiles = tiling_of(model.architecture, 256, 256).tiles
    masks = [empty_masks(Geometry(256, 256, 1, 6))]
    texture = fitted_texture(measure(original, decoded, model, masks), 1.0, 1000)
    assert texture is not None
    noise = with_noise(decoded, texture, tiles, masks).astype(np.float64) - decoded
    assert 2 < noise[32:-32, 32:96].std() < 6
    assert noise[32:-32, 176:-16].std() < 0.2
    assert fitted_texture(measure(decoded, decoded, model, masks), 1.0, 1000) is None
