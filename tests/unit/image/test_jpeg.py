"""Tests of JPEG files whose scans end early. Pillow decodes them without an error, partly gray."""

from __future__ import annotations

import io
import re

import numpy as np
import PIL.Image
import pytest
import skimage.data

from dfmcodec.errors import ImageError
from dfmcodec.image import jpeg
from dfmcodec.image.read_image import image_from_bytes

CAT = PIL.Image.fromarray(skimage.data.chelsea()[60:188, 130:290])
KINDS = {
    "baseline": {},
    "4:4:4": {"subsampling": 0},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_rows": 1},
    "progressive with restarts": {"progressive": True, "restart_marker_rows": 1},
}
END = b"\xff\xd9"


def file_of(kind, image=CAT):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90, **KINDS[kind])
    return buffer.getvalue()


def pixels_of(data):
    """Returns the samples of a file that is read without a notice."""
    return image_from_bytes(data, "file", notify=refuse_notice).pixels


def refuse_notice(notice):
    if "CMYK" not in notice:
        pytest.fail(notice)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_intact_files_are_read(kind, mode):
    data = file_of(kind, CAT.convert(mode))
    expected = np.asarray(PIL.Image.open(io.BytesIO(data)).convert("L" if mode == "L" else "RGB"))
    assert np.array_equal(pixels_of(data).squeeze(), expected)
    flat = file_of(kind, PIL.Image.new(mode, (64, 48), "gray"))  # as if a scan ended early
    assert np.ptp(pixels_of(flat)) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_scans_that_end_early_are_refused(kind):
    data = file_of(kind)
    middle = len(data) // 2
    for early in (data[:middle] + END, data[:-60] + END):
        with pytest.raises(ImageError, match="its compressed samples end early"):
            pixels_of(early)
    with pytest.raises(ImageError, match=r"its (restart markers|compressed samples) "):
        pixels_of(data[:middle] + data[middle + 400 :])
    for cut in (data[:middle], data[: -len(END)], data[:middle] + bytes(len(data) - middle)):
        with pytest.raises(ImageError, match="damaged or cut off"):
            pixels_of(cut)


@pytest.mark.parametrize("place", [0.3, 0.6])
def test_flipped_bit_that_makes_a_marker_is_detected(place):
    """The scan ends there, and the rest would be gray."""
    data = bytearray(file_of("baseline"))
    stuffed = [found.start() for found in re.finditer(rb"\xff\0", bytes(data))]
    data[stuffed[int(place * len(stuffed))] + 1] ^= 0x80
    with pytest.raises(ImageError, match="damaged or cut off"):
        pixels_of(bytes(data))


def test_too_many_compressed_samples_cause_a_notice():
    """As if a flipped bit had joined blocks: the last ones are not decoded."""
    data = file_of("baseline")
    notices = []
    image = image_from_bytes(data[:-2] + b"\x11" * 40 + END, "file", notify=notices.append)
    assert np.array_equal(image.pixels, pixels_of(data))
    assert ["has more compressed samples than pixels" in notice for notice in notices] == [True]


@pytest.mark.parametrize("side", range(1, 24))
def test_small_files_are_read(side):
    pixels_of(file_of("baseline", CAT.resize((side, side))))
    pixels_of(file_of("baseline", PIL.Image.new("RGB", (side, side), "gray")))


def test_bytes_after_the_image_and_fill_bytes_are_no_damage():
    data = file_of("baseline")
    expected = pixels_of(data)
    for intact in (data + b"trailer" * 99, data[:-2] + b"\xff\xff" + END, data[:-2] + bytes(9) + END):
        assert np.array_equal(pixels_of(intact), expected)


def test_layout_of_a_file():
    data = file_of("restarts")
    layout = jpeg.read_layout(b"xx" + data, 2)
    assert layout.end == 2 + len(data)
    assert len(layout.scan_ends) == CAT.height // 16  # a restart marker after each row of blocks but the last
    assert layout.segments[0].marker == 0xE0
    for cut in range(len(data) - 1):
        assert (found := jpeg.read_layout(data[:cut])) is None or found.end is None
    assert jpeg.read_layout(b"\xff\xd8\xff\xe1\0\1") == jpeg.Layout((), (), None)
