"""Tests of samples that use a part of the 16-bit range: quality is relative to this part."""

from __future__ import annotations

import warnings
from math import log10

import numpy as np
import pytest

import dfmcodec
from dfmcodec.codecs.encode import encode_image
from dfmcodec.errors import ConfigError, ImageError, TargetUnreachableError
from dfmcodec.image import Image, Metadata
from dfmcodec.perception import psnr_of_mse
from dfmcodec.search.config import EncoderConfig
from dfmcodec.search.job import Job
from dfmcodec.search.quality import lmbda_of_quality
from dfmcodec.search.target import LmbdaTarget, PsnrTarget, ScoreTarget, SizeTarget, asked_target

ROWS, COLUMNS = np.mgrid[:48, :64]
WAVES = 0.5 + 0.4 * np.sin(COLUMNS / 9) * np.cos(ROWS / 7) + 0.02 * ((ROWS * 7 + COLUMNS * 3) % 5)


def image_of(bits: int) -> Image:
    """An image of 16 bits a sample whose values are those of fewer bits."""
    return Image(np.rint(WAVES * ((1 << bits) - 1)).astype(np.uint16)[:, :, None])


def encoded(image, **settings):
    notices = []
    result = encode_image(image, EncoderConfig(effort=1, **settings), notify=notices.append)
    return result, notices


def relative_psnr(image, result, peak):
    error = image.pixels.astype(np.float64) - result.decoded.pixels
    return psnr_of_mse(float(np.mean(error**2)), peak)


@pytest.mark.parametrize(
    ("largest", "expected"),
    [(0, 65535), (1, 255), (255, 255), (256, 1023), (1023, 1023), (1024, 4095), (4096, 16383), (16384, 65535)],
)
def test_the_smallest_range_that_holds_all_samples(largest, expected):
    pixels = np.zeros((4, 5, 3), np.uint16)
    pixels[2, 3, 1] = largest
    assert Image(pixels).sample_max == expected
    assert Image(pixels.astype(np.uint8)).sample_max == 255


@pytest.mark.parametrize(("bits", "sample_max"), [(10, 1023), (12, 4095), (14, 16383)])
def test_quality_is_relative_to_the_range_of_the_samples(bits, sample_max):
    image = image_of(bits)
    result, notices = encoded(image)
    largest = int(image.pixels.max())
    assert notices == [
        f"its 16-bit samples reach {largest}, so quality and PSNR are relative to {sample_max} ({bits} bits); "
        "sample_max=65535 in Python selects the full range"
    ]
    assert result.report.config.sample_max == sample_max
    assert result.report.psnr_db == pytest.approx(relative_psnr(image, result, sample_max))
    assert result.decoded.bit_depth == 16
    complete, no_notices = encoded(image, sample_max=65535)
    assert no_notices == []
    assert complete.report.psnr_db == pytest.approx(relative_psnr(image, complete, 65535))
    assert len(complete.data) < len(result.data)


def test_a_stated_range_is_that_of_the_detected_one():
    image = image_of(12)
    stated, notices = encoded(image, sample_max=4095)
    assert notices == []
    assert stated.data == encoded(image)[0].data


def test_a_psnr_is_met_relative_to_the_range():
    image = image_of(12)
    result, _ = encoded(image, psnr=44)
    assert relative_psnr(image, result, 4095) >= 44


def test_targets_are_converted_in_one_place():
    shift = 20 * log10(65535 / 4095)
    deep, image = Image(np.zeros((120, 120, 1), np.uint16)), Image(np.zeros((120, 120, 1), np.uint8))

    def target(image, **settings):
        config = EncoderConfig(**settings, sample_max=4095)
        return Job.of(image, config, asked_target(config, image)).target

    assert target(deep, psnr=40) == PsnrTarget(40 + shift)
    assert target(image, psnr=40) == PsnrTarget(40)
    for settings, lmbda in (({"quality": 60}, lmbda_of_quality(60)), ({"lmbda": 1e-3}, 1e-3)):
        assert target(deep, **settings, tune="psnr").lmbda == pytest.approx(lmbda * (4095 / 65535) ** 2)
    assert target(deep, size=900) == SizeTarget.of(900)
    assert isinstance(target(deep), LmbdaTarget)
    assert target(image) == ScoreTarget(75.0, is_least=False)


def test_8_bits_in_16_are_refused_unless_it_is_said_what_they_mean():
    image = image_of(8)
    for target in ({}, {"size": 2000}, {"psnr": 30}):
        with pytest.raises(ImageError) as caught:
            encoded(image, **target)
        assert str(caught.value) == (
            f"the image's samples reach only {image.largest_sample} of 65535: 8 bits stored in 16; convert the image "
            "to 8 bits, or encode it in Python with sample_max=255 (8 bits of the same values) or "
            "sample_max=65535 (as it is, nearly black)"
        )
    result, notices = encoded(image, sample_max=255, psnr=200)
    assert notices == ["its 16-bit samples become 8-bit ones of the same values (sample_max=255)"]
    assert np.array_equal(result.decoded.pixels, image.pixels)
    assert result.decoded.bit_depth == 8
    complete, notices = encoded(image, sample_max=65535)
    assert (complete.decoded.bit_depth, notices) == (16, [])


@pytest.mark.parametrize(("bits", "sample_max"), [(8, 255), (10, 1023), (12, 4095), (14, 16383), (16, 65535)])
def test_the_image_in_8_bits_is_that_of_the_range_that_its_samples_use(bits, sample_max):
    image = image_of(bits)
    alpha = np.full((48, 64), 9, np.uint16)
    metadata = Metadata(icc=b"a profile")
    plain = Image(image.pixels, metadata, alpha).plain()
    assert np.array_equal(plain.pixels, np.rint(image.pixels * (255 / sample_max)).astype(np.uint8))
    assert (plain.metadata, plain.alpha) == (metadata, None)
    assert Image(image.pixels, alpha=alpha).plain_notice() == f"in 8 bits ({sample_max} becomes 255), without its alpha"
    assert image.plain_notice() == f"in 8 bits ({sample_max} becomes 255)"
    assert plain.plain_notice() is None
    assert Image(plain.pixels, alpha=alpha.astype(np.uint8)).plain_notice() == "without its alpha"


def test_alpha_of_samples_that_become_8_bits():
    image, alpha = image_of(8), np.full((48, 64), 65535, np.uint16)
    alpha[:9] = 0x8080
    decoded = encoded(Image(image.pixels, alpha=alpha), sample_max=255)[0].decoded
    assert np.array_equal(decoded.alpha, alpha >> 8)
    alpha[0, 0] = 0x8081
    with pytest.raises(ImageError, match=r"the image.s alpha needs 16 bits"):
        encoded(Image(image.pixels, alpha=alpha), sample_max=255)


def test_samples_above_the_stated_range_are_refused():
    with pytest.raises(ImageError, match=r"the image's samples reach \d+, above sample_max=1023"):
        encoded(image_of(12), sample_max=1023)


def test_a_range_beyond_the_bit_depth_is_that_of_the_bit_depth():
    image = Image((WAVES * 255).astype(np.uint8)[:, :, None])
    assert encoded(image, sample_max=4095)[0].data == encoded(image)[0].data


def test_unreachable_targets_name_the_reachable_one():
    with pytest.raises(TargetUnreachableError, match=r"or .* is the finest") as caught:
        encoded(image_of(12), quality=100)
    finest = int(str(caught.value).split("--quality ")[1].split()[0])
    encoded(image_of(12), quality=finest)
    with pytest.raises(
        TargetUnreachableError, match=r"^90\.00 dB is out of reach: the best .* can reach is \d\d\.\d\d"
    ):
        encoded(image_of(12), psnr=90)
    with pytest.raises(
        TargetUnreachableError, match=r"; decoding rounds samples of 16 bits to multiples of 4, several times$"
    ):
        encoded(image_of(16), psnr=150)


@pytest.mark.parametrize("sample_max", [0, 65536, -1, 4095.0, True])
def test_ranges_that_make_no_sense_are_refused(sample_max):
    with pytest.raises(ConfigError, match="sample_max is"):
        EncoderConfig(sample_max=sample_max)


def test_python_warns_and_takes_the_option():
    array = image_of(12).pixels
    with pytest.warns(UserWarning, match=r"^the image: its 16-bit samples reach \d+, so quality"):
        dfmcodec.encode(array, effort=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert dfmcodec.encode(array, effort=1, sample_max=4095).report.config.sample_max == 4095
