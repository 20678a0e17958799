"""Tests of the wavelet transform: exact geometry, integer synthesis as inverse of the analysis, and
colours.
"""

from __future__ import annotations

import numpy as np
import pytest

from dfmcodec.codecs.wavelet.colour import (
    CHROMA_ANGLES,
    ColourBasis,
    Luma,
    pixels_to_planes,
    planes_to_pixels,
    principal_chroma_angle,
)
from dfmcodec.codecs.wavelet.correction import CELL, padded_cells
from dfmcodec.codecs.wavelet.geometry import Geometry, Tiling, default_levels
from dfmcodec.codecs.wavelet.synthesis import Samples
from dfmcodec.codecs.wavelet.transform import (
    BAND_NORMS,
    LOW_NORMS,
    MAX_UNITS,
    NORM_UNIT,
    UNITS_PER_CODE_VALUE,
    Pyramid,
    analyse,
    analyse_transposed,
    synthesise_level,
)
from dfmcodec.image.region import Region
from dfmcodec.image.tiles import TILE_GRID, default_tiles


def in_units(band):
    return np.rint(band * UNITS_PER_CODE_VALUE).astype(np.int32)


def synthesise(pyramid):
    low = in_units(pyramid.low)
    for bands in reversed(pyramid.bands):
        low = synthesise_level(low, [in_units(band) for band in bands])
    return low / UNITS_PER_CODE_VALUE


@pytest.mark.parametrize("shape", [(3, 64, 96), (3, 37, 53), (1, 1, 9), (3, 5, 1), (1, 1, 1), (3, 2, 2), (3, 1, 2)])
def test_synthesis_inverts_analysis_at_any_size(shape):
    planes = np.random.default_rng(0).integers(-200, 200, shape).astype(np.float32)
    levels = default_levels(*shape[1:])
    pyramid = analyse(planes, levels)
    geometry = Geometry(shape[1], shape[2], shape[0], levels)
    assert pyramid.low.shape[1:] == geometry.low_sizes[-1]
    for level, bands in enumerate(pyramid.bands):
        assert [band.shape[1:] for band in bands] == [geometry.band_size(level, o) for o in range(3)]
    count = pyramid.low.size + sum(band.size for bands in pyramid.bands for band in bands)
    assert count == planes.size  # critically sampled
    assert np.abs(synthesise(pyramid) - planes).max() < 0.3
    assert np.sqrt(np.mean((synthesise(pyramid) - planes) ** 2)) < 0.06


@pytest.mark.parametrize("shape", [(1, 1), (1, 6), (7, 1), (2, 3), (5, 8), (33, 18)])
def test_the_transposed_analysis_is_its_transpose(shape):
    """The products of one with any pyramid and of the other with any planes are equal."""
    rng = np.random.default_rng(0)
    planes = rng.normal(size=(3, *shape)).astype(np.float32)
    found = analyse(planes, 3)
    bands = [tuple(rng.normal(size=band.shape).astype(np.float32) for band in level) for level in found.bands]
    other = Pyramid(rng.normal(size=found.low.shape).astype(np.float32), tuple(bands))
    product = np.vdot(found.low, other.low)
    product += sum(np.vdot(a, b) for pair in zip(found.bands, bands, strict=True) for a, b in zip(*pair, strict=True))
    back = analyse_transposed(other)
    assert back.shape == planes.shape
    assert np.vdot(planes, back) == pytest.approx(product, rel=1e-4, abs=1e-4)


def test_norms_are_those_of_the_synthesis():
    """White noise in one band: its energy grows by the squared norm."""
    rng = np.random.default_rng(0)
    size, levels = 512, 4
    geometry = Geometry(size, size, 1, levels)
    for level in range(levels):
        for orientation in range(4):
            bands = [[np.zeros((1, *geometry.band_size(i, o)), np.int32) for o in range(3)] for i in range(levels)]
            low = np.zeros((1, *geometry.low_sizes[level + 1]), np.int32)
            noise = rng.choice([-1, 1], low.shape).astype(np.int32) * 1024
            norm = LOW_NORMS[level] if orientation == 3 else BAND_NORMS[level][orientation]
            if orientation == 3:
                low = noise
            else:
                bands[level][orientation] = noise
            for i in range(level, -1, -1):
                low = synthesise_level(low, bands[i])
            measured = np.sqrt(np.sum(low.astype(np.float64) ** 2) / noise.size) / 1024
            assert measured == pytest.approx(norm / NORM_UNIT, rel=0.02 if level < 3 else 0.06)


def test_extreme_coefficients_stay_in_their_range():
    low = np.full((1, 8, 8), MAX_UNITS, np.int32)
    bands = [np.full((1, 8, 8), sign * MAX_UNITS, np.int32) for sign in (1, -1, 1)]
    assert np.abs(synthesise_level(low, bands)).max() <= MAX_UNITS


@pytest.mark.parametrize("angle", [0, 1, 100, 255])
@pytest.mark.parametrize("luma", list(Luma))
def test_chroma_axes_are_orthonormal_and_without_luma_and_planes_are_undone(angle, luma):
    basis = ColourBasis(angle, luma)
    chroma = basis.axes[1:]
    assert np.abs(chroma @ chroma.T - np.eye(2)).max() < 1e-6
    assert np.abs(chroma @ np.float32(luma.weights)).max() < 1e-6
    assert np.abs(basis.duals @ np.ones(3) - [3**0.5, 0, 0]).max() < 1e-6  # of gray
    assert np.allclose(basis.duals[0] / basis.duals[0].sum(), luma.weights, atol=1e-6)
    pixels = np.random.default_rng(0).integers(0, 256, (6, 7, 3), dtype=np.uint8)
    planes = pixels_to_planes(pixels, basis).transpose(1, 2, 0) * UNITS_PER_CODE_VALUE
    assert np.array_equal(planes_to_pixels(planes, basis), pixels)


def test_basis_of_equal_weights_is_orthonormal():
    for angle in range(CHROMA_ANGLES):
        basis = ColourBasis(angle)
        assert np.allclose(basis.axes, basis.duals, rtol=0, atol=1e-6)
        assert np.abs(basis.axes @ basis.axes.T - np.eye(3)).max() < 1e-6


@pytest.mark.parametrize("luma", list(Luma))
def test_principal_angle_decorrelates_chroma(chelsea, luma):
    angle = principal_chroma_angle(chelsea.pixels, luma)

    def correlation(angle):
        differences = np.diff(pixels_to_planes(chelsea.pixels, ColourBasis(angle, luma))[1:], axis=2).reshape(2, -1)
        return abs(np.corrcoef(differences)[0, 1])

    assert correlation(angle) < 0.05
    assert correlation(angle) <= correlation(0)
    assert principal_chroma_angle(chelsea.pixels[:, :, :1]) == 0


def test_cells_are_the_samples_with_their_surroundings():
    samples = np.arange(2 * 4 * 6 * 3 // 2, dtype=np.int32).reshape(3, 4, 6)
    complete = Samples.complete(samples)
    cells = padded_cells(complete.around(complete.at, CELL))
    assert cells.shape == (12, 4, 5)
    inner = cells[:, 1:-1, 1:-1].reshape(3, 2, 2, 2, 3)
    assert np.array_equal(inner.transpose(0, 3, 1, 4, 2).reshape(3, 4, 6), samples)
    assert padded_cells(samples[:1, :3, :5]).shape == (12, 2, 3)


def test_surroundings_are_the_samples_or_repeat_the_edges():
    samples = np.random.default_rng(0).integers(-99, 99, (3, 9, 11)).astype(np.int32)
    padded = np.pad(samples, ((0, 0), (4, 4), (4, 4)), mode="edge")
    complete = Samples.complete(samples)
    part = Samples(samples[:, 2:9, 0:8], Region(2, 0, 9, 8), 9, 11)
    for block in (Region(0, 0, 9, 11), Region(4, 0, 9, 4), Region(5, 3, 9, 5)):
        expected = padded[:, block.top + 1 : block.bottom + 7, block.left + 1 : block.right + 7]
        assert np.array_equal(complete.around(block, 3), expected)
        if block.top > 4:
            assert np.array_equal(part.around(block, 3), expected)


@pytest.mark.parametrize(("side", "count"), [(64, 1), (1535, 1), (1536, 2), (4000, 4), (6000, 6), (65535, 64)])
def test_tiles_cover_the_image_once(side, count):
    assert default_tiles(side) == count
    tiling = Tiling(side, 100, 3, 6, count, 1)
    assert [tile.top for tile in tiling.tiles] == [0, *(tile.rows.stop for tile in tiling.tiles[:-1])]
    assert tiling.tiles[-1].rows.stop == side
    assert all(tile.top % TILE_GRID == 0 for tile in tiling.tiles)
    assert side < 1024 or 500 < min(tile.geometry.height for tile in tiling.tiles)
    covered, numbers = tiling.covering(Region(side - 1, 5, side, 6))
    assert (covered.bottom, numbers) == (side, [count - 1])
