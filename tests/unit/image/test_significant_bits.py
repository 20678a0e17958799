"""Tests of 10, 12 and 14-bit samples scaled to 16 bits: reading, storing and writing."""

from __future__ import annotations

import io
import json

import numpy as np
import PIL.Image
import pytest
import tifffile
from click.testing import CliRunner

import dfmcodec
from dfmcodec.cli import main
from dfmcodec.codecs.decode import decode_image
from dfmcodec.errors import ImageError
from dfmcodec.image import Image, Metadata, peak_value, png, rescaled
from dfmcodec.image.read_image import image_from_bytes
from dfmcodec.image.write_image import OUTPUT_FORMATS, image_to_bytes


def values_of(bits, channels=3):
    return np.random.default_rng(bits).integers(0, 1 << bits, (9, 7, channels)).astype(np.uint16)


def netpbm(values, peak):
    kind = b"P5" if values.shape[2] == 1 else b"P6"
    return b"%s\n%d %d\n%d\n" % (kind, values.shape[1], values.shape[0], peak) + values.astype(">u2").tobytes()


def written(image, name):
    return image_to_bytes(image, OUTPUT_FORMATS[name])


@pytest.mark.parametrize("bits", range(1, 16))
def test_scaling_is_undone(bits):
    values = np.arange(1 << bits, dtype=np.uint16)
    filled = rescaled(values, peak_value(bits), 65535)
    assert filled[-1] == 65535
    assert np.array_equal(rescaled(filled, 65535, peak_value(bits)), values)


def avif(values, bits):
    codecs = pytest.importorskip("imagecodecs", reason="needs .venv/bin/pip install -e .[heif]")
    samples = values.squeeze().astype(np.uint16 if bits > 8 else np.uint8)
    return codecs.avif_encode(samples, level=100, bitspersample=bits, speed=10, codec="aom")


def heic(values, bits):
    """A lossless HEIC; libheif takes the bits from the upper end of 16."""
    heif = pytest.importorskip("pillow_heif", reason="needs .venv/bin/pip install -e .[heif]")
    height, width, channels = values.shape
    mode = {1: "L", 3: "RGB", 4: "RGBA"}[channels] + (";16" if bits > 8 else "")
    samples = (values << (16 - bits)).astype(np.uint16) if bits > 8 else values.astype(np.uint8)
    heif.options.SAVE_HDR_TO_12_BIT = bits == 12
    image = heif.from_bytes(mode=mode, size=(width, height), data=samples.tobytes())
    buffer = io.BytesIO()
    try:
        image.save(buffer, quality=-1, chroma=444, matrix_coefficients=0)
    finally:
        heif.options.SAVE_HDR_TO_12_BIT = False
    return buffer.getvalue()


@pytest.mark.parametrize("bits", [8, 10, 12])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("write", [avif, heic])
def test_avif_and_heic_are_read_at_full_depth(write, channels, bits):
    values = np.kron(values_of(bits, channels)[:4, :4], np.ones((16, 16, 1), np.uint16))
    notices = []
    image = image_from_bytes(write(values, bits), "file", notify=notices.append)
    assert notices == []
    assert image.metadata.significant_bits == (None if bits == 8 else bits)
    assert image.bit_depth == (8 if bits == 8 else 16)
    assert np.array_equal(rescaled(image.samples, peak_value(image.bit_depth), peak_value(bits)), values)


def test_a_deep_avif_without_its_reader_is_reported(monkeypatch):
    values = values_of(10)
    data = avif(values, 10)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    notices = []
    image = image_from_bytes(data, "file", notify=notices.append)
    reads = "pip install 'dfmcodec[heif]' reads all of them"
    assert notices == [f"file: it has 10 bits per sample, but Pillow's AVIF reader keeps 8; {reads}"]
    assert image.bit_depth == 8


def test_samples_of_another_size_than_the_header_are_refused(monkeypatch):
    data = avif(values_of(10), 10)
    monkeypatch.setattr("imagecodecs.avif_decode", lambda data: np.zeros((9, 8, 3), np.uint16))
    with pytest.raises(ImageError, match="its header states 7x9 pixels"):
        image_from_bytes(data, "file")


def netpbm_values(data):
    """Values and peak of a file of `written`, read without Pillow."""
    kind, size, peak, body = data.split(b"\n", 3)
    width, height = map(int, size.split())
    values = np.frombuffer(body, "u1" if int(peak) < 256 else ">u2")
    return values.reshape(height, width, {b"P5": 1, b"P6": 3}[kind]), int(peak)


@pytest.mark.parametrize("has_alpha", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("bits", [None, *range(1, 16)])
def test_every_output_of_16_bits_holds_the_samples(bits, channels, has_alpha):
    values = values_of(bits or 16, channels)
    pixels = values if bits is None else rescaled(values, peak_value(bits), 65535)
    alpha = values_of(16, 1)[:, :, 0] if has_alpha else None
    image = Image(pixels, Metadata(significant_bits=bits), alpha)
    again = image_from_bytes(written(image, "png"), "file")
    assert np.array_equal(again.samples, image.samples)
    assert again.metadata.significant_bits == bits
    if not (has_alpha and channels == 1):  # a TIFF that Pillow cannot read
        assert np.array_equal(image_from_bytes(written(image, "tiff"), "file").samples, image.samples)
    for name, read in (("tiff", tifffile.imread), ("npy", np.load)):
        assert np.array_equal(read(io.BytesIO(written(image, name))).reshape(image.samples.shape), image.samples)
    if has_alpha:
        return
    held, peak = netpbm_values(written(image, "ppm"))
    assert peak == peak_value(bits or 16)
    assert np.array_equal(held, values)
    again = image_from_bytes(written(image, "ppm"), "file")
    assert np.array_equal(again.pixels, pixels if peak > 255 else rescaled(values, peak, 255))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("bits", [9, 10, 12, 14, 15])
def test_a_netpbm_comes_back(bits, channels):
    file = netpbm(values_of(bits, channels), peak_value(bits))
    image = image_from_bytes(file, "file")
    assert image.metadata == Metadata(significant_bits=bits)
    assert written(image, "ppm") == file
    again = image_from_bytes(written(image, "png"), "file")
    assert again.metadata.significant_bits == bits
    assert np.array_equal(again.pixels, image.pixels)


@pytest.mark.parametrize("peak", [1000, 4096, 65535])
def test_other_peaks_fill_16_bits(peak):
    image = image_from_bytes(netpbm(np.minimum(values_of(12), peak), peak), "file")
    assert image.metadata.significant_bits is None
    assert written(image, "ppm").split(b"\n")[2] == b"65535"


def test_a_png_states_the_bits_of_each_channel():
    pixels = rescaled(values_of(10, 1), 1023, 65535)
    alpha = np.full(pixels.shape[:2], 77, dtype=np.uint16)
    file = written(Image(pixels + np.uint16(3), Metadata(significant_bits=10), alpha), "png")
    assert b"sBIT\x0a\x10" in file
    again = image_from_bytes(file, "file")
    assert np.array_equal(again.pixels, pixels)  # the nearest samples of 10 bits
    assert np.array_equal(again.alpha, alpha)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"\x0a\x0c\x0b", 12),
        (b"\x0a\x10", 10),
        (b"\x0a\x0a\x0a\x10", 10),
        (b"\x10\x0a\x0a", None),
        (b"\0\0\0", None),
        (b"", None),
        (b"\x0a\x0a\x0a\x0a\x0a", None),
    ],
)
def test_significant_bits_of_a_png_are_read(body, expected):
    assert png.significant_bits(io.BytesIO(png.SIGNATURE + png_chunk(b"sBIT", body))) == expected


def png_chunk(name, body):
    return len(body).to_bytes(4, "big") + name + body + bytes(4)


def test_bits_are_kept_in_a_file(tmp_path):
    (tmp_path / "a.pgm").write_bytes(netpbm(values_of(12, 1) // 9, 4095))  # all below 512
    runner = CliRunner()
    done = runner.invoke(main, ["encode", str(tmp_path / "a.pgm"), "--quality", "90", "--effort", "1"])
    assert done.exit_code == 0
    assert "samples reach" not in done.output  # they are relative to all 16 bits, which they fill
    shown = runner.invoke(main, ["info", str(tmp_path / "a.dfm")]).output
    assert "significant bits (12) 1 byte\n" in shown
    report = json.loads(runner.invoke(main, ["info", "--json", str(tmp_path / "a.dfm")]).output)
    assert (report["metadata_bytes"], report["significant_bits"]) == ({"bits": 1}, 12)
    runner.invoke(main, ["decode", str(tmp_path / "a.dfm"), "-o", str(tmp_path / "b.pgm")])
    assert (tmp_path / "b.pgm").read_bytes().split(b"\n")[2] == b"4095"


@pytest.mark.parametrize("bits", [0, -1, 16, 300])
def test_other_numbers_of_bits_are_refused(bits):
    with pytest.raises(ImageError, match=f"bits is {bits}"):
        Metadata(significant_bits=bits)


def test_bits_of_samples_of_8_bits_are_dropped():
    image = Image(np.zeros((3, 3, 1), dtype=np.uint8), Metadata(significant_bits=5))
    assert image.metadata.significant_bits is None
    deep = Image(np.full((3, 3, 1), 255, dtype=np.uint16), Metadata(significant_bits=10))
    assert deep.sample_max == 65535
    assert deep.in_8_bits().metadata.significant_bits is None
    data = dfmcodec.encode(deep, bpp=100, effort=1).data
    assert decode_image(data).metadata.significant_bits == 10
    with PIL.Image.open(io.BytesIO(written(deep, "tiff"))) as tiff:
        assert tiff.getpixel((0, 0)) == 255  # a TIFF holds what there is
