"""Tests of distortion weights, and of files with the tune `visual`."""

from __future__ import annotations

import numpy as np
import pytest
from common import dfm

import dfmcodec
from dfmcodec import container
from dfmcodec._types import Tune
from dfmcodec.codecs.encode import encode_image
from dfmcodec.codecs.wavelet.colour import ColourBasis, Luma, pixels_to_planes
from dfmcodec.codecs.wavelet.compact import from_halves
from dfmcodec.codecs.wavelet.encode.efforts import Effort
from dfmcodec.codecs.wavelet.encode.encoding import Encoding
from dfmcodec.codecs.wavelet.encode.iteration import Iterations
from dfmcodec.codecs.wavelet.geometry import Geometry
from dfmcodec.codecs.wavelet.passes import CodingPass, level_passes, pass_shape
from dfmcodec.codecs.wavelet.transform import Pyramid, analyse
from dfmcodec.errors import ConfigError
from dfmcodec.image import Image
from dfmcodec.perception.distortion import (
    CoefficientWeights,
    Distortion,
    TargetShift,
    basis_of,
    pixel_weights,
)
from dfmcodec.perception.ssimulacra2 import ssimulacra2
from dfmcodec.search.config import EncoderConfig


def weights_of(pixels, levels=4, basis=None):
    basis = basis or ColourBasis()
    planes = pixels_to_planes(pixels, basis)
    return CoefficientWeights.of(analyse(planes, levels), planes, basis)


def test_weights_for_psnr_are_equal(chelsea):
    encoding = Encoding.of(chelsea, Effort(2, 3, learns_after=(), adapted_after=(), shifts=1), tune=Tune.PSNR)
    (tile,) = encoding.tiling.tiles
    assert encoding.coefficient_weights(tile, encoding.pyramid(tile)) is None


def test_coarse_errors_weigh_most_in_flat_images():
    weights = weights_of(np.full((64, 48, 3), 100, np.uint8))
    means = [float(from_halves(level[0]).mean()) for level in weights.levels]
    finest = np.sqrt(12.5 / np.sqrt(60))
    assert means == pytest.approx([finest, 1.5 * finest, 2 * finest, 3 * finest], rel=5e-3)
    assert weights.of_pass(CodingPass(0, 0, 2, 0), (16, 12)).mean() == pytest.approx(0.6 * finest, rel=5e-3)
    assert all(np.ptp(level, axis=(1, 2)).max() == 0 for level in weights.levels)


def test_detail_masks_errors():
    pixels = np.full((64, 64, 3), 128, np.uint8)
    pixels[:, 32:] += 100 * (np.indices((64, 32)).sum(axis=0) % 2).astype(np.uint8)[:, :, None]
    weights, of_flat = weights_of(pixels), weights_of(np.full_like(pixels, 128))
    finest, flat = (each.of_band(0, 2, (32, 32)) for each in (weights, of_flat))  # the checkerboard is diagonal
    assert finest[:, 20:].max() < 0.2 * finest[:, :12].min()
    assert flat.max() < finest[:, :12].min()
    assert np.exp(np.log(finest).mean()) < 0.6 * flat.min()  # bits cost more in textured images
    others = weights.of_band(0, 0, (32, 32)) / of_flat.of_band(0, 0, (32, 32))
    assert others[:, 20:].min() > 1.1 * (finest / flat)[:, 20:].max()  # detail of another direction masks less


def test_coarser_detail_masks_errors():
    pixels = np.full((64, 128, 3), 128, np.uint8)
    pixels[:, 64:] += 60 * (np.indices((64, 64)).sum(axis=0) // 4 % 2).astype(np.uint8)[:, :, None]
    pixels = np.ascontiguousarray(pixels.repeat(4, axis=0).repeat(4, axis=1))  # no detail in the finest level
    finest = weights_of(pixels).of_band(1, 0, (64, 128))
    inside = finest[8:-8, 72:-8]
    assert np.median(inside) < 0.9 * finest[:, :56].min()


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (2, 1), (3, 5), (17, 16)])
@pytest.mark.parametrize("channels", [1, 3])
def test_all_sizes_have_weights(size, channels):
    pixels = np.random.default_rng(0).integers(0, 256, (*size, channels), dtype=np.uint8)
    weights = weights_of(pixels, 2)
    geometry = Geometry(*size, channels, 2)
    for level in range(2):
        for coding_pass in level_passes(geometry, level):
            shape = pass_shape(geometry, coding_pass)
            of_pass = weights.of_pass(coding_pass, shape)
            assert of_pass.shape == shape
            assert np.all((of_pass > 0) & (of_pass < np.inf))


def scaled(pyramid, weights, factors):
    """The errors of a pyramid, weighted, times a factor for each orientation."""
    return Pyramid(
        pyramid.low,
        tuple(
            tuple(
                factor * weights.of_band(level, o, b.shape[1:]) * b
                for o, (b, factor) in enumerate(zip(three, factors, strict=True))
            )
            for level, three in enumerate(pyramid.bands)
        ),
    )


def test_where_weights_agree_with_the_derivative_nothing_is_shifted(chelsea):
    weights = weights_of(chelsea.pixels)
    errors = analyse(np.random.default_rng(2).standard_normal((3, *chelsea.pixels.shape[:2])).astype(np.float32), 4)
    shift = TargetShift.after(None, errors, scaled(errors, weights, (0.2, 3, 1)), weights, 0.5)
    assert all(np.abs(from_halves(band)).max() < 0.01 for three in shift.bands for band in three)
    against = TargetShift.after(None, errors, scaled(errors, weights, (-1, -1, -1)), weights, 0.5)
    assert all(np.all(band == 0) for three in against.bands for band in three)


def test_a_shift_goes_against_the_derivative_and_adds_up(chelsea):
    """The derivative of another band's errors: the symbols are to make up for these."""
    weights = weights_of(np.full_like(chelsea.pixels, 9))
    rng = np.random.default_rng(3)
    size = 3, *chelsea.pixels.shape[:2]
    errors, others = (analyse(rng.standard_normal(size).astype(np.float32), 4) for _ in range(2))
    slopes = Pyramid(
        errors.low,
        tuple(tuple(a + b for a, b in zip(x, y, strict=True)) for x, y in zip(errors.bands, others.bands, strict=True)),
    )
    slopes = scaled(slopes, weights, (1, 1, 1))
    once, first = (TargetShift.after(None, errors, slopes, weights, 0.1) for _ in range(2))
    twice = TargetShift.after(first, errors, slopes, weights, 0.1)
    assert twice.bands[0][0] is first.bands[0][0]
    for level in range(3):
        for one, two, other in zip(once.bands[level], twice.bands[level], others.bands[level], strict=True):
            of_once, of_twice = from_halves(one), from_halves(two)
            assert np.corrcoef(of_once.ravel(), other.ravel())[0, 1] < -0.9
            assert np.abs(of_once).max() <= 0.1 * 2 * 1.2 * np.sqrt(np.mean(other**2)) + 0.5
            assert np.allclose(of_twice, 1.8 * of_once, rtol=0.01, atol=1e-3)
    aimed = once.added_to(errors)
    assert np.allclose(aimed.bands[1][0] - errors.bands[1][0], from_halves(once.bands[1][0]), atol=1e-3)


@pytest.fixture(scope="module")
def coffee():
    import skimage.data

    return np.ascontiguousarray(skimage.data.coffee()[100:356, 100:356])


@pytest.mark.parametrize("depth", [8, pytest.param(16, marks=pytest.mark.slow)])
def test_a_file_of_a_size_looks_better_than_one_for_psnr(coffee, depth):
    """Measured, of 8 bits: 57.3 and 61.2."""
    image = Image(coffee if depth == 8 else coffee.astype(np.uint16) * 257)
    files = {tune: encode_image(image, EncoderConfig(bpp=0.3, effort=1, tune=tune)) for tune in ("psnr", "visual")}
    scores = {tune: ssimulacra2(image.samples, file.decoded.samples) for tune, file in files.items()}
    assert scores["visual"] > scores["psnr"] + 1
    assert files["visual"].report.psnr_db < files["psnr"].report.psnr_db
    for file in files.values():
        assert 0.9 * 0.3 < file.report.bpp <= 0.3
    assert files["visual"].report.ssimulacra2 == pytest.approx(scores["visual"])
    assert files["psnr"].report.ssimulacra2 is None


@pytest.mark.parametrize(
    ("tune", "channels", "luma"), [("visual", 3, Luma.REC_601), ("visual", 1, Luma.MEAN), ("psnr", 3, Luma.MEAN)]
)
def test_colours_for_the_eye_have_the_luma_that_is_seen(coffee, tune, channels, luma):
    """Of gray there is one plane, of squared errors an orthonormal basis."""
    data = dfmcodec.encode(coffee[:128, :128, :channels], bpp=0.4, effort=1, tune=tune).data
    assert container.read_header(data).architecture.luma is luma


@pytest.mark.parametrize(
    ("direction", "expected"), [((0.587, -0.299, 0), (0.8, 0.5)), ((-0.12, -0.13, 0.98), (0.5, 0.8))]
)
def test_red_green_errors_weigh_more_than_blue_yellow_ones(direction, expected):
    """The first chroma axis is that of the detail of the image."""
    detail = np.random.default_rng(0).uniform(-80, 80, (64, 64, 1))
    pixels = np.rint(128 + detail * direction).astype(np.uint8)
    basis = basis_of(pixels, Tune.VISUAL)
    weights = weights_of(pixels, basis=basis)
    luma, *chroma = (weights.of_pass(CodingPass(1, channel, 0, 0), (16, 16)) for channel in range(3))
    assert [float(np.median(other / luma)) for other in chroma] == pytest.approx(expected, abs=0.01)


def test_the_chroma_of_small_saturated_things_weighs_more():
    pixels = np.full((64, 64, 3), 128, np.uint8)
    pixels[:, :32] = 130, 124, 126
    pixels[16:24, 8:16] = 220, 40, 30
    weights = weights_of(pixels, 2)
    luma, *chroma = (weights.of_band(0, 0, (32, 32), channel) for channel in range(3))
    for other in chroma:
        ratio = other / luma
        assert ratio[8:12, 4:8] == pytest.approx(3 * ratio[28, 28], rel=0.01)
        assert ratio[20:, 20:] == pytest.approx(ratio[28, 28], rel=0.01)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_target_is_shifted_for_a_further_iteration_alone(coffee, channels):
    image = Image(np.ascontiguousarray(coffee[:128, :128, :channels]))
    effort = Effort(2, 3, learns_after=(), adapted_after=(), shifts=1)
    encoding = Encoding.of(image, effort, tune=Tune.VISUAL)
    iterations = Iterations(encoding)
    iterations.iterate(20 * 64)
    assert iterations.tiles[0].shift is None
    assert iterations.reconstruction is not None
    iterations.iterate(20 * 64)
    assert iterations.reconstruction is None  # beyond `shifts`
    shift = iterations.tiles[0].shift
    assert shift is not None
    assert all(np.any(band) for band in shift.bands[2])
    iterations.iterate(20 * 64)
    assert iterations.tiles[0].shift is shift


@pytest.mark.parametrize("shape", [(1, 1, 1), (7, 30, 3), (40, 9, 4), (24, 31, 2)])
def test_any_size_and_kind_keeps_its_target(shape):
    pixels = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    result = dfmcodec.encode(pixels, size=900, effort=1, tune="visual")
    assert len(result.data) <= 900
    assert (result.report.ssimulacra2 is None) == (min(shape[:2]) < 8)


@pytest.mark.parametrize("target", [{"psnr": 33}, {"quality": 60}])
def test_other_targets_hold(chelsea, target):
    result = encode_image(chelsea, EncoderConfig(**target, effort=1, tune="visual"))
    assert result.report.psnr_db >= target.get("psnr", 25)


def test_the_coordinate_codec_has_no_visual_tune():
    with pytest.raises(ConfigError, match="the wavelet and overfitted codec, not for coordinate"):
        EncoderConfig(tune="visual", model="coordinate")
    assert EncoderConfig(tune="psnr", model="coordinate").distortion_tune is Tune.PSNR


def test_an_unknown_tune_is_refused():
    with pytest.raises(ConfigError, match="unknown tune 'iq'; choose one of visual, psnr"):
        EncoderConfig(tune="iq")


def test_the_command_says_what_is_seen(tmp_path, chelsea):
    from dfmcodec.image.write_image import OUTPUT_FORMATS, image_to_bytes

    (tmp_path / "a.png").write_bytes(image_to_bytes(chelsea, OUTPUT_FORMATS["png"]))
    output = dfm("encode", tmp_path / "a.png", "--tune", "visual", "--effort", 1).output
    assert "SSIMULACRA2" in output
    assert "SSIMULACRA2" in dfm("compare", tmp_path / "a.png", tmp_path / "a.dfm").output
    assert "tune" in dfm("encode", tmp_path / "a.png", "--tune", "iq", code=2).output


def errors_of(pixels, deviation=3.0):
    noise = np.random.default_rng(0).normal(0, deviation, (3, *pixels.shape[:2]))
    return noise.astype(np.float32)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (37, 50), (64, 96)])
@pytest.mark.parametrize("channels", [1, 3])
def test_slopes_are_half_of_the_derivative_of_visible_errors(size, channels):
    pixels = np.random.default_rng(1).integers(0, 256, (*size, channels), dtype=np.uint8)
    visible = Distortion.of(pixels)
    errors, change = errors_of(pixels), 0.1 * errors_of(pixels)[::-1]
    difference = visible.total(errors + change) - visible.total(errors - change)
    assert difference == pytest.approx(4 * np.vdot(visible.slopes(errors), change), rel=1e-3)


def test_errors_are_less_visible_in_detail():
    pixels = np.full((64, 128, 3), 128, np.uint8)
    pixels[:, 64:] += np.random.default_rng(0).integers(0, 120, (64, 64, 1), dtype=np.uint8)  # detail of all levels
    visible, errors = Distortion.of(pixels), errors_of(pixels)
    left, right = (errors * (np.arange(128) // 64 == side) for side in (0, 1))
    assert visible.total(right) < 0.5 * visible.total(left)
    decoded = Image(np.clip(pixels + np.rint(left).astype(int).transpose(1, 2, 0), 0, 255).astype(np.uint8))
    assert visible.of_image(Image(pixels), decoded) == pytest.approx(visible.total(left), rel=0.05)


def test_pixels_count_less_where_luma_varies():
    rng = np.random.default_rng(0)
    colours = np.full((3, 60, 80), 0.5, dtype=np.float32)
    assert np.allclose(pixel_weights(colours), 1)
    colours[:, :, 40:] += rng.normal(0, 0.1, (60, 40)).astype(np.float32)
    weights = pixel_weights(colours)
    assert weights.shape == (60, 80)
    assert weights.mean() == pytest.approx(1, abs=1e-3)
    variance = np.var(255 * colours[0, :, 40:])
    ratio = weights[10:-10, 5:25].mean() / weights[10:-10, 55:75].mean()
    assert ratio == pytest.approx(((60 + variance) / 60) ** 0.55, rel=0.1)
    turned = pixel_weights(np.ascontiguousarray(colours[:, ::-1]))
    assert np.allclose(turned[::-1], weights, rtol=1e-4)
