"""Tests of writing metadata that is difficult for a format, and reading it back."""

from __future__ import annotations

import io

import numpy as np
import PIL.Image
import pytest
import tifffile

from dfmcodec.image import Image, Metadata
from dfmcodec.image.read_image import image_from_bytes
from dfmcodec.image.write_image import OUTPUT_FORMATS, image_to_bytes, left_out

RNG = np.random.default_rng(0)


def samples(channels, dtype):
    return RNG.integers(0, np.iinfo(dtype).max + 1, (40, 50, channels)).astype(dtype)


def exif_block(byte_order):
    exif = PIL.Image.Exif()
    exif.endian = byte_order
    exif[0x010E] = "a cat on a sofa"
    exif[0x8769] = {0x829A: 0.25, 37500: b"maker note"}
    exif[0x8825] = {1: "N", 2: (1.0, 2.0, 3.0)}
    return exif.tobytes()


def described(block):
    """The fields of an Exif block as Pillow reads them."""
    exif = PIL.Image.Exif()
    exif.load(block)
    inner = [exif.get_ifd(tag) for tag in (0x8769, 0x8825)]
    return [{tag: value for tag, value in exif.items() if tag not in (0x8769, 0x8825)}, *inner]


@pytest.mark.parametrize("byte_order", ["<", ">"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("has_alpha", [False, True])
def test_tiff_holds_samples_and_exif(byte_order, dtype, channels, has_alpha):
    alpha = samples(1, dtype)[:, :, 0] if has_alpha else None
    image = Image(samples(channels, dtype), Metadata(b"profile", exif_block(byte_order), b"<x/>"), alpha)
    output = OUTPUT_FORMATS["tiff"]
    data = image_to_bytes(image, output)
    assert left_out(image, output) == []
    assert np.array_equal(tifffile.imread(io.BytesIO(data)).reshape(image.samples.shape), image.samples)
    if (channels, has_alpha, dtype) == (1, True, np.uint16):
        return  # Pillow knows no such TIFF
    again = image_from_bytes(data, "file")
    assert np.array_equal(again.samples, image.samples)
    assert (again.metadata.icc, again.metadata.xmp) == (b"profile", b"<x/>")
    assert described(again.metadata.exif) == described(image.metadata.exif)


@pytest.mark.parametrize(
    "block",
    [
        b"Exif\0\0garbage!",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0II*\0\x08\0\0\0\1\0\x0e\1\2\0\xff\xff\xff\xff\0\0\0\0\0\0\0\0",
        b"Exif\0\0II*\0\x08\0\0\0\1\0\x69\x87\4\0\1\0\0\0\xff\xff\0\0\0\0\0\0",
    ],
)
def test_hostile_exif_is_left_out_of_a_tiff(block, capfd):
    image = Image(samples(3, np.uint8), Metadata(exif=block))
    output = OUTPUT_FORMATS["tiff"]
    data = image_to_bytes(image, output)
    assert left_out(image, output) == ["exif"]
    assert image_from_bytes(data, "file").metadata.exif is None
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["png", "tiff", "jpeg", "webp"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_profiles_of_megabytes_go_round(name, dtype):
    output = OUTPUT_FORMATS[name]
    if dtype == np.uint16 and not output.deep:
        return
    image = Image(samples(3, dtype), Metadata(icc=RNG.bytes(1_500_000)))
    assert image_from_bytes(image_to_bytes(image, output), "file").metadata == image.metadata
    assert left_out(image, output) == []


def test_metadata_too_large_for_a_jpeg_are_left_out():
    complete = Metadata(icc=bytes(255 * 65_519), exif=b"Exif\0\0" + bytes(65_527), xmp=bytes(65_504))
    larger = Metadata(*(value + b"\0" for value in (complete.icc, complete.exif, complete.xmp)))
    output, pixels = OUTPUT_FORMATS["jpeg"], samples(3, np.uint8)
    assert left_out(Image(pixels, complete), output) == []
    assert left_out(Image(pixels, larger), output) == ["icc", "exif", "xmp"]
    for metadata in (complete, larger):
        with PIL.Image.open(io.BytesIO(image_to_bytes(Image(pixels, metadata), output))) as pil_image:
            assert ("icc_profile" in pil_image.info) == (metadata is complete)
            assert ("exif" in pil_image.info) == (metadata is complete)
            assert ("xmp" in pil_image.info) == (metadata is complete)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 3), (5, 1, 3), (1, 9, 1), (901, 700, 3), (1201, 1000, 1)])
def test_png_of_any_number_of_strips(shape, dtype):
    """The last ones have two strips and more. Pillow reads 8 bits, the package's reader all."""
    samples = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)
    samples = np.cumsum(samples // 50, axis=0, dtype=dtype)
    data = image_to_bytes(Image(samples), OUTPUT_FORMATS["png"])
    assert np.array_equal(image_from_bytes(data, "a.png").pixels, samples)
    with PIL.Image.open(io.BytesIO(data)) as opened:
        opened.load()
        assert (opened.size, opened.format) == ((shape[1], shape[0]), "PNG")
        if dtype == np.uint8:
            assert np.array_equal(np.asarray(opened).reshape(shape), samples)
