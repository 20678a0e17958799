"""Tests of opening untrusted images: allowed formats and sizes, and unchanged global state."""

from __future__ import annotations

import io
import struct
import subprocess
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import PIL.features
import PIL.Image
import pytest
import tifffile

from dfmcodec.errors import ImageError
from dfmcodec.image import open_image as opening
from dfmcodec.image.formats import FORMATS
from dfmcodec.image.open_image import MAX_HEADER_READS, load_samples, open_image
from dfmcodec.image.read_image import image_from_bytes, read_image

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 10, 3)).astype(np.uint8)
IMAGE = PIL.Image.fromarray(PIXELS)
POSTSCRIPT = b"""%!PS-Adobe-3.0 EPSF-3.0
%%BoundingBox: 0 0 16 16
%%EndComments
%%Page: 1 1
0 0 16 16 rectfill
showpage
%%EOF
"""


def file_of(format_name, image=IMAGE, **options):
    buffer = io.BytesIO()
    image.save(buffer, format_name, **options)
    return buffer.getvalue()


def test_no_program_is_started(monkeypatch):
    def refuse(*args, **options):
        pytest.fail(f"{args} was started")

    for name in ("Popen", "run", "call", "check_call", "check_output"):
        monkeypatch.setattr(subprocess, name, refuse)
    with pytest.raises(ImageError, match="is not an image that Pillow can read; convert it to PNG first"):
        image_from_bytes(POSTSCRIPT, "postscript.png")
    with pytest.raises(PIL.UnidentifiedImageError):
        open_image(io.BytesIO(POSTSCRIPT))


def test_only_the_stated_formats_are_opened():
    assert not {"EPS", "WMF", "FPX", "MIC", "IM", "IPTC", "BUFR", "GRIB", "HDF5", "DFM"} & set(FORMATS)
    for name in ("ICO", "PCX", "SGI"):
        with pytest.raises(ImageError, match="is not an image that Pillow can read"):
            image_from_bytes(file_of(name), "x")
    with pytest.raises(ImageError, match="is not an image"):
        image_from_bytes(file_of("SPIDER", IMAGE.convert("F")), "x")
    with pytest.raises(PIL.UnidentifiedImageError):
        open_image(io.BytesIO(file_of("PNG")), formats=("WEBP",))


@pytest.mark.parametrize("name", ["BMP", "DIB", "JPEG2000", "PPM", "QOI", "TGA", "TIFF", "WEBP"])
def test_formats_of_the_list_are_read(name):
    options = {"WEBP": {"lossless": True}, "JPEG2000": {"irreversible": False}}
    image = image_from_bytes(file_of(name, **options.get(name, {})), "x")
    assert np.array_equal(image.pixels, PIXELS)


def test_images_above_the_limit_of_the_process(monkeypatch):
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 20)  # Pillow refuses more than 40
    for name in ("PNG", "TIFF", "BMP"):
        assert np.array_equal(image_from_bytes(file_of(name), "x").pixels, PIXELS)
    deep = PIL.Image.fromarray(np.arange(120, dtype=np.uint16).reshape(12, 10))
    assert image_from_bytes(file_of("TIFF", deep), "x").bit_depth == 16
    assert PIL.Image.MAX_IMAGE_PIXELS == 20


def webp_of(width, height, kind=b"VP8L"):
    """A WebP file of a few bytes that declares a size."""
    body = {
        b"VP8L": b"\x2f" + (width - 1 | height - 1 << 14).to_bytes(4, "little") + b"\0",
        b"VP8 ": b"\x30\1\0\x9d\1\x2a" + struct.pack("<HH", width, height),
        b"VP8X": bytes(4) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little"),
    }[kind]
    chunk = kind + len(body).to_bytes(4, "little") + body
    return b"RIFF" + (4 + len(chunk)).to_bytes(4, "little") + b"WEBP" + chunk


def test_sizes_are_refused_before_a_plugin_is_asked(monkeypatch):
    def refuse(*args):
        pytest.fail("a plugin was asked")

    PIL.Image.init()
    png = bytearray(file_of("PNG"))
    png[16:24] = (40_000).to_bytes(4, "big") * 2
    webps = [(webp_of(16_000, 9_000, kind), "16000x9000") for kind in (b"VP8L", b"VP8 ", b"VP8X")]
    for data, size in (*webps, (bytes(png), "40000x40000")):
        for name in ("PNG", "WEBP"):
            monkeypatch.setitem(PIL.Image.OPEN, name, (refuse, PIL.Image.OPEN[name][1]))
        with pytest.raises(ImageError, match=f"the image is {size}, more than the limit of 89478485 pixels"):
            open_image(io.BytesIO(data))


def test_threads_leave_the_process_as_it_is():
    """Threads read under different limits while others watch what belongs to the process."""
    files = [file_of("PNG"), file_of("TIFF"), file_of("WEBP", lossless=True), file_of("GIF"), file_of("QOI")]
    before = PIL.Image.MAX_IMAGE_PIXELS, list(warnings.filters), warnings.showwarning
    seen = []

    def read(number):
        limit = (119, 120, 1 << 20, 1 << 31)[number % 4]
        try:
            image_from_bytes(files[number % len(files)], "x", limit)
            was_read = True
        except ImageError:
            was_read = False
        assert was_read == (limit >= 120)
        seen.append((PIL.Image.MAX_IMAGE_PIXELS, list(warnings.filters), warnings.showwarning))

    with ThreadPoolExecutor(16) as threads:
        list(threads.map(read, range(400)))
    assert seen == [before] * 400


def test_headers_without_an_end_are_left():
    reads = 0

    class Endless(io.RawIOBase):
        """A JPEG whose first marker never comes."""

        def seek(self, offset, whence=0):
            self.at = 1 << 40 if whence == 2 else offset
            return self.at

        def read(self, size=-1):
            nonlocal reads
            reads += 1
            self.at += size
            return (b"\xff\xd8\xff" + bytes(29))[:size] if self.at == size else bytes(size)

    with pytest.raises(ImageError, match="its header has no end"):
        open_image(Endless())
    assert reads < 2 * MAX_HEADER_READS


def test_large_files_that_are_no_image_are_not_read(tmp_path, monkeypatch):
    """Files of 16 GiB, all holes: reading one would take more memory than the test has."""
    png = file_of("PNG")
    for head, message in (
        (b"", "is not an image"),
        (b"II*\0\x08\0\0\0", "cannot be read"),
        (b"BM", "cannot be read"),
        (webp_of(10, 12)[:30], "it has more than 1024 MiB, the limit for WEBP files"),
        (png[:33], "it has more than 1024 MiB, the limit for PNG files"),
        (png[:16] + b"\0\1\0\0" * 2 + png[24:33], "a side may have at most 65535 pixels"),
    ):
        path = tmp_path / "large"
        with path.open("wb") as file:
            file.write(head)
            file.truncate(16 << 30)
        with pytest.raises(ImageError, match=message):
            read_image(path)


def test_samples_are_loaded_as_pillow_loads_them():
    for orientation in (None, 1, 6):
        exif = PIL.Image.Exif()
        if orientation:
            exif[0x0112] = orientation
        data = file_of("TIFF", exif=exif)
        with open_image(io.BytesIO(data)) as ours, PIL.Image.open(io.BytesIO(data)) as theirs:
            load_samples(ours)
            assert np.array_equal(np.asarray(ours), np.asarray(theirs))
            assert ours.size == theirs.size


def test_heif_is_registered_where_it_is_needed(monkeypatch):
    heif = pytest.importorskip("pillow_heif")
    heif.register_heif_opener()
    data = file_of("HEIF", quality=90)
    assert image_from_bytes(data, "x").pixels.shape == PIXELS.shape
    monkeypatch.delitem(PIL.Image.OPEN, "HEIF")
    assert image_from_bytes(data, "x").pixels.shape == PIXELS.shape


def test_the_list_names_what_pillow_has():
    PIL.Image.init()
    assert set(FORMATS) - set(PIL.Image.OPEN) <= {"HEIF", "JXL", "AVIF", "WEBP", "JPEG2000"}
    assert opening.SIGNATURE_BYTES == 16
    assert PIL.features.check("jpg")


def test_a_tiff_with_tiles_much_larger_than_its_image_is_refused():
    """Its plugin takes memory for a complete tile: 2 kB took 537 MB."""
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, np.array(IMAGE), tile=(16, 16), compression="zlib", photometric="rgb")
    complete = buffer.getvalue()
    load_samples(open_image(io.BytesIO(complete)))
    at = complete.index(struct.pack("<H", 323))  # TileLength
    larger = complete[:at] + struct.pack("<HHII", 323, 4, 1, 1 << 18) + complete[at + 12 :]
    with pytest.raises(OSError, match="decoder error"):  # too few samples for its tile
        load_samples(open_image(io.BytesIO(larger)))
    hostile = complete[:at] + struct.pack("<HHII", 323, 4, 1, (1 << 18) + 16) + complete[at + 12 :]
    with pytest.raises(ImageError, match="its tiles have 16x262160 pixels, more than 4194304 and more than twice"):
        load_samples(open_image(io.BytesIO(hostile)))
