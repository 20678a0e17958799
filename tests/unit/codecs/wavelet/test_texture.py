"""Tests of textures: exact noise, its section, and a fit that finds lost
grain.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import dfmcodec
from dfmcodec import container, kernels, read_info
from dfmcodec.codecs.wavelet.colour import ColourBasis
from dfmcodec.codecs.wavelet.contents import TileStream
from dfmcodec.codecs.wavelet.encode.texture_fit import fit_texture
from dfmcodec.codecs.wavelet.geometry import Geometry, Tile
from dfmcodec.codecs.wavelet.sections.texture import read_texture, write_texture
from dfmcodec.codecs.wavelet.texture import (
    LUMA_BANDS,
    MAX_CODE,
    Texture,
    add_noise,
    amplitude_count,
    amplitudes,
    beside,
    cell_counts,
    tile_noise,
)
from dfmcodec.errors import ConfigError, CorruptError
from dfmcodec.perception.ssimulacra2 import ssimulacra2
from dfmcodec.search.config import EncoderConfig

DEPTHS = (255, np.uint8), (65535, np.uint16)


def empty_masks(geometry):
    return {band: np.zeros(geometry.band_size(band // 3, band % 3), dtype=bool) for band in range(LUMA_BANDS)}


def random_texture(rng, channels, height, width, cell_bits):
    shape = amplitude_count(channels), *cell_counts(height, width, cell_bits)
    return Texture(3, 90, cell_bits, rng.integers(0, MAX_CODE + 1, shape).astype(np.int8))


@pytest.mark.parametrize("cell_bits", [6, 7, 8])
@pytest.mark.parametrize("channels", [1, 3])
def test_section_restores_the_texture(cell_bits, channels):
    texture = random_texture(np.random.default_rng(3), channels, 700, 1001, cell_bits)
    again = read_texture(write_texture(texture), 700, 1001, channels)
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
    texture = random_texture(np.random.default_rng(3), 3, 512, 768, 6)

    def noise_of(top, left, height, width):
        geometry = Geometry(height, width, 3, 6)
        return tile_noise(texture, Tile(top, left, geometry), empty_masks(geometry))

    complete, part = noise_of(0, 0, 512, 768), noise_of(256, 256, 256, 512)
    assert np.array_equal(complete[:, 256 + 32 :, 256 + 32 : -32], part[:, 32:, 32:-32])


def grain_lost(height=256, width=256):
    """Returns an image with grain at the left and edges at the right, and it without grain."""
    columns = np.indices((height, width))[1][:, :, None]
    half = width // 2
    decoded = np.where(columns < half, 120, np.where(columns // 16 % 2, 200, 40)).astype(np.uint8)
    grain = np.random.default_rng(0).normal(0, 4, (height, half, 1))
    original = decoded.copy()
    original[:, :half] = np.clip(decoded[:, :half] + grain, 0, 255).astype(np.uint8)
    return original, decoded


def fit_of(original, decoded):
    model, _ = container.read(dfmcodec.encode(decoded, effort=1, quality=60).data)
    packed = np.packbits(np.zeros(4 * decoded.size, bool))
    model = replace(model, q_step=1024, samples=None, streams=(TileStream(b"", nonzero=packed),))
    return fit_texture(model, original, decoded)


def test_fit_restores_grain_of_chroma():
    rng = np.random.default_rng(0)
    decoded = np.full((256, 256, 3), (130, 120, 110), np.uint8)
    grain = np.kron(rng.normal(0, 6, (128, 128)), np.ones((2, 2)))  # of level 1
    original = np.clip(decoded + grain[:, :, None] * (1, 0, -1), 0, 255).astype(np.uint8)
    _, pixels = fit_of(original, decoded).textured(1.0, 1000)
    noise = (pixels.astype(np.float64) - decoded)[32:-32, 32:-32]
    assert 1.5 < np.std(noise[:, :, 0] - noise[:, :, 2]) / 2 < 6
    assert np.std(noise @ (0.299, 0.587, 0.114)) < 1


def test_fit_measures_lost_grain_and_leaves_edges_alone():
    original, decoded = grain_lost()
    _, pixels = fit_of(original, decoded).textured(1.0, 1000)
    noise = pixels.astype(np.float64) - decoded
    assert 2 < noise[32:-32, 32:96].std() < 6
    assert noise[32:-32, 176:-16].std() < 0.2
    assert fit_of(decoded, decoded).textured(1.0, 1000) is None


def photograph_like(height, width, channels=3):
    """Returns blobs with grain, uint8 [H, W, C]. A coarse step removes the grain."""
    rng = np.random.default_rng(1)
    blobs = np.kron(rng.normal(128, 40, (-(-height // 8), -(-width // 8))), np.ones((8, 8)))[:height, :width, None]
    grain = rng.normal(0, 6, (height, width, 1))
    tint = np.array([0, 12, -20])[:channels]
    return np.clip(blobs + grain + tint, 0, 255).astype(np.uint8)


def test_decoder_has_the_pixels_of_the_encoder():
    for image in photograph_like(300, 260), photograph_like(300, 260, 1):
        result = dfmcodec.encode(image, effort=1, quality=50)
        assert result.report.codec["texture"]["strength"] > 0
        assert result.report.section_bytes["texture"] > 0
        assert np.array_equal(dfmcodec.decode(result.data).pixels, result.decoded.pixels)


def test_region_has_the_noise_of_the_image():
    result = dfmcodec.encode(photograph_like(300, 260), effort=1, quality=50)
    part = dfmcodec.decode(result.data, region=(31, 57, 150, 201)).pixels
    assert np.array_equal(part, result.decoded.pixels[57 : 57 + 201, 31 : 31 + 150])


def test_texture_can_be_left_out():
    image = photograph_like(300, 260)
    with_texture, without = (dfmcodec.encode(image, effort=1, quality=50, texture=t) for t in (None, 0))
    assert "texture" not in without.report.section_bytes
    plain = dfmcodec.decode(with_texture.data, texture=False).pixels
    assert np.array_equal(plain, without.decoded.pixels)
    assert not np.array_equal(plain, with_texture.decoded.pixels)


def test_tiles_and_smaller_sizes_have_noise_too():
    image = photograph_like(2100, 300)
    result = dfmcodec.encode(image, effort=1, quality=50)
    assert read_info(result.data).architecture.tile_rows > 1
    assert np.array_equal(dfmcodec.decode(result.data).pixels, result.decoded.pixels)
    for scale in 0.5, 0.8:
        small, plain = (dfmcodec.decode(result.data, scale=scale, texture=t).pixels for t in (True, False))
        assert small.astype(float).std() > plain.astype(float).std()


def test_size_limit_holds_with_texture():
    image = photograph_like(300, 260)
    for size in 3000, 9000:
        result = dfmcodec.encode(image, effort=1, size=size)
        assert "texture" in result.report.section_bytes
        assert len(result.data) <= size


def test_floor_holds_with_texture():
    result = dfmcodec.encode(photograph_like(300, 260), effort=1, ssimulacra2=30)
    decoded = dfmcodec.decode(result.data).pixels
    assert ssimulacra2(photograph_like(300, 260), decoded) >= 30


@pytest.mark.parametrize("options", [{"tune": "psnr"}, {"psnr": 35}, {"quality": 98}, {"texture": 0}])
def test_files_without_texture(options):
    result = dfmcodec.encode(photograph_like(300, 260), effort=1, **options)
    assert "texture" not in result.report.section_bytes


def test_texture_is_refused_where_there_is_none():
    for options in {"tune": "psnr"}, {"psnr": 35}, {"model": "coordinate"}, {"model": "overfitted"}:
        with pytest.raises(ConfigError):
            EncoderConfig(texture=0.5, **options)


def test_kernels_have_the_noise_of_numpy(monkeypatch):
    rng = np.random.default_rng(5)
    for side, cell_bits, channels in (199, 6, 3), (333, 7, 1), (270, 8, 3):
        texture = random_texture(rng, channels, 2 * side, 2 * side, cell_bits)
        geometry = Geometry(side, side - 1, channels, 6)
        masks = {band: rng.random(mask.shape) < 0.1 for band, mask in empty_masks(geometry).items()}
        pixels = [rng.integers(0, peak + 1, (side, side - 1, channels)).astype(t) for peak, t in DEPTHS]

        tile, results = Tile(64, 128, geometry), []
        for is_numpy in False, True:
            monkeypatch.setattr(kernels, "is_switched_off", is_numpy)
            noise = tile_noise(texture, tile, masks)
            results.append([noise, *(add_noise(part.copy(), noise, ColourBasis(77)) for part in pixels)])
        assert all(map(np.array_equal, *results))


@pytest.mark.parametrize("body", [b"", bytes(10), bytes([0, 0, 5, *[0] * 8]), bytes([0, 0, 6, *[200] * 8])])
def test_damaged_section_is_refused(body):
    with pytest.raises(CorruptError):
        read_texture(body, 100, 100, 3)
