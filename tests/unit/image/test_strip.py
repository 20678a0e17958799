"""Tests of removing metadata by kind."""

from __future__ import annotations

import io
import struct

import numpy as np
import PIL.Image
import pytest

from dfmcodec.errors import ConfigError
from dfmcodec.image import Image, Metadata
from dfmcodec.image.read_image import from_pil, image_from_bytes, to_image
from dfmcodec.image.strip import exif_without_gps, strip_kinds, stripped, xmp_without_gps
from dfmcodec.image.tiff import EXIF_PREFIX

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 10, 3)).astype(np.uint8)
GPS, EXIF, MAKER_NOTE = 0x8825, 0x8769, 0x927C
POSITION = (48.0, 12.0, 31.25)
XMP = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:exif="http://ns.adobe.com/exif/1.0/" exif:GPSLatitude="48,12.5N"
 exif:GPSAltitude='3/1' xmp:Rating="4"><dc:title>a cat</dc:title>
<exif:GPSLongitude>11,34.5E</exif:GPSLongitude><exif:GPSSpeed/></rdf:Description></rdf:RDF></x:xmpmeta>"""


def exif_with_position():
    exif = PIL.Image.Exif()
    exif[0x010E] = "a cat"
    exif[0x0112] = 6
    exif.get_ifd(EXIF)[0x829A] = 0.004
    exif.get_ifd(EXIF)[MAKER_NOTE] = b"a maker note"
    exif.get_ifd(GPS).update({1: "N", 2: POSITION, 29: "2026:11:30"})
    return exif.tobytes()


def reread(block):
    exif = PIL.Image.Exif()
    exif.load(block)
    return exif


def photo(**options):
    buffer = io.BytesIO()
    PIL.Image.fromarray(PIXELS).save(buffer, "JPEG", **options)
    return buffer.getvalue()


@pytest.mark.parametrize("prefix", [EXIF_PREFIX, b""])
def test_only_the_position_leaves_exif(prefix):
    block = prefix + exif_with_position().removeprefix(EXIF_PREFIX)
    kept = exif_without_gps(block)
    assert len(kept) == len(block)
    assert kept.startswith(prefix)
    exif = reread(kept)
    assert GPS not in exif
    assert (exif[0x010E], exif[0x0112]) == ("a cat", 6)
    assert exif.get_ifd(EXIF)[MAKER_NOTE] == b"a maker note"
    assert kept.index(b"a maker note") == block.index(b"a maker note")  # maker notes hold offsets
    seconds = struct.pack(">II", 125, 4)
    assert seconds in block
    assert seconds not in kept
    assert b"2026:11:30" not in kept


def test_exif_without_a_position_is_as_it_was():
    exif = PIL.Image.Exif()
    exif[0x010E] = "a cat"
    assert exif_without_gps(exif.tobytes()) == exif.tobytes()


def test_damaged_exif_is_left_out_completely():
    block, notices = exif_with_position(), []
    for end in range(14, len(block), 5):
        exif_without_gps(block[:end])  # whatever comes of it, it ends
    damaged = bytearray(block)
    at = block.index(struct.pack(">H", GPS)) + 8
    damaged[at : at + 4] = b"\x0f\xff\xff\xff"
    assert exif_without_gps(bytes(damaged)) is None
    kept = stripped(Metadata(exif=bytes(damaged), xmp=b"<x/>"), frozenset({"gps"}), notices.append)
    assert kept == Metadata(xmp=b"<x/>")
    assert notices == ["its Exif is left out, as the position cannot be removed from it alone"]


def test_only_the_position_leaves_xmp():
    kept = xmp_without_gps(XMP)
    assert b"GPS" not in kept
    assert b'xmp:Rating="4"><dc:title>a cat</dc:title>' in kept
    assert xmp_without_gps(kept) == kept


@pytest.mark.parametrize(
    "packet",
    [
        '<x exif:GPSLatitude="1"/>'.encode("utf-16"),
        b'<!DOCTYPE x [<!ENTITY a "1">]><x/>',
        b"<x><photo:gpsPosition>1</photo:gpsPosition></x>",
        b"<x><exif:GPSLatitude>1</x>",
    ],
)
def test_xmp_that_may_hide_a_position_is_left_out_completely(packet):
    notices = []
    assert stripped(Metadata(xmp=packet), frozenset({"gps"}), notices.append) == Metadata()
    assert notices == ["its XMP is left out, as the position cannot be removed from it alone"]


def test_hostile_metadata_takes_no_longer_than_its_bytes():
    spaces, tags = b" " * (1 << 20), b"<exif:GPSa>" * (1 << 16)
    assert xmp_without_gps(spaces) == spaces
    assert xmp_without_gps(tags) is None
    directory = struct.pack("<HHIII", GPS, 4, 1, 8, 0)[:12] * 4000
    block = b"II*\0\x08\0\0\0" + struct.pack("<H", 4000) + directory + struct.pack("<I", 8)
    assert exif_without_gps(block) is None


@pytest.mark.parametrize(
    ("strip", "kept"),
    [
        ((), {"icc", "exif", "xmp"}),
        ("exif", {"icc", "xmp"}),
        ("xmp", {"icc", "exif"}),
        ("icc", {"exif", "xmp"}),
        ("all", {"icc"}),
        ("all,icc", set()),
        (("exif", "xmp, icc"), set()),
        ("gps", {"icc", "exif", "xmp"}),
    ],
)
def test_kinds_of_all_sources(strip, kept):
    options = {"icc_profile": b"a profile", "exif": exif_with_position(), "xmp": XMP}
    data = photo(**options)
    with PIL.Image.open(io.BytesIO(data)) as pil_image:
        images = [image_from_bytes(data, "file", strip=strip), from_pil(pil_image, strip=strip)]
    for image in images:
        assert image.pixels.shape == (10, 12, 3)  # turned upright, whatever is left out
        assert set(image.metadata.present()) == kept
        if strip == "gps":
            assert GPS not in reread(image.metadata.exif)
            assert b"GPS" not in image.metadata.xmp
        again = to_image(Image(image.pixels, image.metadata), strip=strip)
        assert again.metadata == image.metadata


@pytest.mark.parametrize(
    ("strip", "is_noticed"), [("all", True), ("all,icc", False), ("exif,xmp", False), ("icc", False)]
)
def test_a_profile_that_stays_is_noticed(strip, is_noticed):
    notices = []
    kinds = strip_kinds(strip_kinds(strip))  # the command and the reader both resolve them
    stripped(Metadata(icc=b"a profile", exif=exif_with_position()), kinds, notices.append)
    assert [notice for notice in notices if "--strip all,icc" in notice] == notices
    assert len(notices) == is_noticed
    stripped(Metadata(exif=exif_with_position()), kinds, notices.append)
    assert len(notices) == is_noticed


@pytest.mark.parametrize("strip", ["thumbnail", "gps;xmp", "", True, ["exif", 3]])
def test_other_kinds_are_refused(strip):
    with pytest.raises(ConfigError, match=r"strip is .*; give one or more of gps, exif, xmp, icc, gainmap, all"):
        strip_kinds(strip)
