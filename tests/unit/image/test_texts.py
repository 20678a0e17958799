"""Tests of notices about captions, comments and texts, which are not kept."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import PIL.Image
import pytest
import tifffile

from dfmcodec.image.read_image import image_from_bytes

PIXELS = np.zeros((6, 5, 3), np.uint8)
KEPT = "left out; only ICC, Exif and XMP are kept"
CAPTION = b"\x1c\x02\x00\x00\x02\x00\x04\x1c\x02\x78\x00\x05a cat"
DATES = b"\x1c\x01\x5a\x00\x03\x1b%G\x1c\x02\x00\x00\x02\x00\x04\x1c\x02\x37\x00\x0820261130\x1c\x02\x41\x00\x04GIMP"


def file_of(format_name, **options):
    buffer = io.BytesIO()
    PIL.Image.fromarray(PIXELS).save(buffer, format_name, **options)
    return buffer.getvalue()


def notices_of(data, **options):
    notices = []
    image_from_bytes(data, "file", notify=notices.append, **options)
    return [notice.removeprefix("file: its ") for notice in notices]


def jpeg_with_iptc(iptc, **options):
    body = b"Photoshop 3.0\0" + b"8BIM\x04\x04\0\0" + struct.pack(">I", len(iptc)) + iptc + b"\0" * (len(iptc) % 2)
    data = file_of("JPEG", **options)
    return data[:2] + b"\xff\xed" + struct.pack(">H", 2 + len(body)) + body + data[2:]


def png_with(*texts):
    base = file_of("PNG")
    chunks = [
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in texts
    ]
    return base[:33] + b"".join(chunks) + base[33:]


def tiff_with_iptc(iptc):
    buffer = io.BytesIO()
    tag = (33723, 7, len(iptc), iptc, True)
    tifffile.imwrite(buffer, PIXELS, photometric="rgb", metadata=None, extratags=[tag])
    return buffer.getvalue()


@pytest.mark.parametrize("file_with", [jpeg_with_iptc, tiff_with_iptc])
def test_iptc_gets_a_notice(file_with):
    assert notices_of(file_with(CAPTION)) == [f"IPTC (captions, credits) is {KEPT}"]
    assert notices_of(file_with(CAPTION), strip="all") == []
    assert notices_of(file_with(CAPTION), strip="gps") == [f"IPTC (captions, credits) is {KEPT}"]
    for nothing in (DATES, b"\x1c", b"\x1c\x02\x78\x00\x00", b"\0\0\0\0\0\0"):
        assert notices_of(file_with(nothing)) == []
    assert notices_of(file_with(DATES + CAPTION[7:])) == [f"IPTC (captions, credits) is {KEPT}"]


@pytest.mark.parametrize("format_name", ["JPEG", "GIF", "JPEG2000"])
def test_comments_get_a_notice(format_name):
    assert notices_of(file_of(format_name, comment="a cat")) == [f"comment is {KEPT}"]
    assert notices_of(file_of(format_name)) == []
    for program in ("Created with GIMP", "CREATOR: gd-jpeg v1.0 (using IJG JPEG v62), quality = 75", "Lavc58.54.100"):
        assert notices_of(file_of(format_name, comment=program)) == []


def test_several_left_out_entries_give_one_notice():
    assert notices_of(jpeg_with_iptc(CAPTION, comment="a cat")) == [f"IPTC (captions, credits) and comment are {KEPT}"]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (
            [(b"tEXt", b"Author\0a"), (b"zTXt", b"Title\0\0x"), (b"iTXt", b"Author\0\0\0\0\0a")],
            "PNG text (Author, Title)",
        ),
        ([(b"tEXt", bytes([letter]) + b"\0x") for letter in b"abcde"], "PNG text (a, b, c and 2 more)"),
        ([(b"tEXt", b"Comment\0a cat")], "PNG text (Comment)"),
        ([(b"tEXt", b"a\x1b[1m\0x")], "PNG text (a\\x1b[1m)"),
        ([(b"zTXt", b"Raw profile type iptc\0\0x")], "IPTC (captions, credits)"),
        ([(b"tEXt", b"Software\0a"), (b"tEXt", b"Creation Time\0now"), (b"tEXt", b"date:create\0now")], None),
        ([(b"tEXt", b"Comment\0Created with GIMP"), (b"iTXt", b"Comment\0\0\0\0\0Created with GIMP")], None),
        ([(b"tEXt", b"exif:Make\0x"), (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0<x/>"), (b"tEXt", b"")], None),
    ],
)
def test_texts_of_a_png_get_a_notice(texts, expected):
    assert notices_of(png_with(*texts)) == ([] if expected is None else [f"{expected} is {KEPT}"])
    assert notices_of(png_with(*texts), strip=("exif", "xmp")) == []
