"""Tests that small sections that declare large sizes are refused before memory is allocated."""

from __future__ import annotations

import io
import struct
import tracemalloc

import msgpack
import numpy as np
import PIL.Image
import PIL.WebPImagePlugin
import pytest

from dfmcodec.container.alpha import read_alpha, write_alpha
from dfmcodec.container.metadata import unpack_metadata
from dfmcodec.errors import CorruptError, LimitError
from dfmcodec.image import Metadata

SIDE = 32
ALPHA = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE)).astype(np.uint8)


def section_of(webp: bytes) -> bytes:
    return struct.pack("<BI", 1, len(webp)) + webp


def webp_of(image: PIL.Image.Image, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", **options)
    return buffer.getvalue()


def lossless_head(width: int, height: int) -> bytes:
    """The first bytes of a lossless WebP file of any size, which claims to be whole."""
    chunk = struct.pack("<4sIBI", b"VP8L", 6, 0x2F, (width - 1) | (height - 1) << 14) + b"\0\0"
    return struct.pack("<4sI4s", b"RIFF", 4 + len(chunk), b"WEBP") + chunk[:-1]


RGB = PIL.Image.fromarray(np.dstack([ALPHA] * 3))
COMPLETE = webp_of(RGB, lossless=True)


@pytest.mark.parametrize(
    "webp",
    [
        lossless_head(16383, 16383),
        lossless_head(12000, 8000),
        lossless_head(SIDE, SIDE + 1),
        webp_of(RGB, quality=90),
        webp_of(PIL.Image.fromarray(np.dstack([ALPHA] * 4)), lossless=True, exact=True),
        COMPLETE + b"\0\0",
        struct.pack("<4sI", b"RIFF", len(COMPLETE) - 6) + COMPLETE[8:] + b"\0\0",
        COMPLETE[:20],
        b"",
    ],
    ids=["bomb", "warning", "size", "lossy", "alpha", "after", "after within RIFF", "cut", "empty"],
)
def test_a_tile_that_is_not_lossless_webp_of_its_size_is_refused_before_it_is_unpacked(webp, monkeypatch):
    monkeypatch.setattr(PIL.WebPImagePlugin, "WebPImageFile", lambda _: pytest.fail("it is unpacked"))
    with pytest.raises(CorruptError, match="invalid tile"):
        read_alpha(section_of(webp), SIDE, SIDE, 8)


def test_a_damaged_tile_of_the_right_size_is_refused():
    with pytest.raises(CorruptError, match="cannot be read"):
        read_alpha(section_of(COMPLETE[:26] + bytes(len(COMPLETE) - 26)), SIDE, SIDE, 8)


@pytest.mark.parametrize("bits", [8, 16])
def test_a_tile_of_a_value_beyond_the_depth_of_the_image_is_refused(bits):
    assert (read_alpha(struct.pack("<BI", 0, (1 << bits) - 1), SIDE, SIDE, bits) == (1 << bits) - 1).all()
    with pytest.raises(CorruptError, match="invalid tile"):
        read_alpha(struct.pack("<BI", 0, 1 << bits), SIDE, SIDE, bits)


def test_a_limit_of_the_process_for_pillow_is_reported(monkeypatch):
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", SIDE * SIDE - 1)
    assert np.array_equal(read_alpha(write_alpha(ALPHA), SIDE, SIDE, 8), ALPHA)

    def refused(_: object) -> None:  # not all versions of Pillow ask for the limit there
        msg = "exceeds the limit"
        raise PIL.Image.DecompressionBombError(msg)

    monkeypatch.setattr(PIL.WebPImagePlugin, "WebPImageFile", refused)
    with pytest.raises(LimitError, match="MAX_IMAGE_PIXELS"):
        read_alpha(write_alpha(ALPHA), SIDE, SIDE, 8)


def nested(depth: int) -> dict:
    return {"icc": b""} if depth == 0 else {name: nested(depth - 1) for name in ("icc", "exif", "xmp")}


@pytest.mark.parametrize(
    "packed",
    [
        b"\x81\xa3icc\xdd" + struct.pack(">I", 1 << 20) + b"\x80" * (1 << 20),
        msgpack.packb({"icc": [b""]}),
        msgpack.packb({"icc": []}),
        msgpack.packb({"icc": {}}),
        msgpack.packb(nested(8)),
        msgpack.packb({"icc": msgpack.ExtType(1, b"profile")}),
        msgpack.packb({"icc": "text"}),
        msgpack.packb({"other": "text"}),
        msgpack.packb({b"icc": b""}),
        msgpack.packb({"cicp": b"\x09\x10"}),
        msgpack.packb({"bits": b""}),
        msgpack.packb({"bits": b"\0"}),
        msgpack.packb({"bits": b"\x10"}),
        msgpack.packb({"bits": b"\x0a\x0a"}),
        msgpack.packb({f"entry {number}": b"" for number in range(65)}),
        b"\x82" + 2 * (msgpack.packb("icc") + msgpack.packb(b"x")),
        msgpack.packb(b"icc"),
        msgpack.packb({}) + b"\0",
        b"",
    ],
)
def test_metadata_of_another_form_are_refused_in_little_memory(packed):
    tracemalloc.start()
    try:
        with pytest.raises(CorruptError, match="metadata section"):
            unpack_metadata(packed)
        assert tracemalloc.get_traced_memory()[1] < len(packed) + (1 << 18)
    finally:
        tracemalloc.stop()


def test_metadata_of_the_right_form_are_read():
    assert unpack_metadata(msgpack.packb({"xmp": b"<x/>", "icc": b""})) == Metadata(xmp=b"<x/>", icc=b"")
    assert unpack_metadata(b"\xdf\0\0\0\0") == Metadata()
    later = {f"entry {number}": b"of a later version" for number in range(63)}
    assert unpack_metadata(msgpack.packb({**later, "cicp": b"\1\1\0\1"})) == Metadata(cicp=b"\1\1\0\1")
    assert unpack_metadata(msgpack.packb({"bits": b"\x0f"})) == Metadata(significant_bits=15)
