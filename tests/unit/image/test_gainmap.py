"""Tests of files as phones write them: gain maps are kept and restored, other parts are named."""

from __future__ import annotations

import io
import re
import struct

import numpy as np
import PIL.Image
import PIL.MpoImagePlugin
import pytest
import skimage.data
from click.testing import CliRunner

import dfmcodec
from dfmcodec.cli import main
from dfmcodec.codecs.decode import decode_image
from dfmcodec.codecs.encode import encode_image
from dfmcodec.image import gainmap, jpeg
from dfmcodec.image.metadata import orientation_of
from dfmcodec.image.read_image import image_from_bytes, upright
from dfmcodec.image.write_image import OUTPUT_FORMATS, image_to_bytes, left_out
from dfmcodec.search.config import EncoderConfig

CAT = np.ascontiguousarray(skimage.data.chelsea()[60:124, 130:226])
MAP = np.add.outer(np.arange(32) * 4, np.arange(48) * 2).astype(np.uint8)  # half the size, no symmetry
XMP, EXTENDED = b"http://ns.adobe.com/xap/1.0/\0", b"http://ns.adobe.com/xmp/extension/\0"
ISO = b"urn:iso:std:iso:ts:21496:-1\0"
HDRGM = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" '
    b'hdrgm:Version="1.0" hdrgm:GainMapMax="2.3"/></x:xmpmeta>'
)
APPLE = (
    b'<rdf:Description xmlns:HDRGainMap="http://ns.apple.com/HDRGainMap/1.0/" HDRGainMap:HDRGainMapVersion="65536"/>'
)
DIRECTORY = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description hdrgm:Version="1.0" GCamera:MotionPhoto="1">'
    b'<Container:Item Item:Semantic="Primary" Item:Mime="image/jpeg"/>'
    b'<Container:Item Item:Semantic="GainMap" Item:Mime="image/jpeg" Item:Length="%d"/></rdf:Description></x:xmpmeta>'
)
VIDEO = struct.pack(">I4s4sI", 24, b"ftyp", b"mp42", 0) + b"isommp42" + bytes(range(256)) * 8


def jpeg_of(pixels, *segments, **options):
    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels).save(buffer, "JPEG", quality=95, subsampling=0, **options)
    data = buffer.getvalue()
    at = jpeg.after_application_segments(data)
    return data[:at] + b"".join(jpeg.write_segment(*each) for each in segments) + data[at:]


def map_of(*segments):
    return jpeg_of(MAP, *segments)


ULTRA_HDR, ISO_MAP = map_of((jpeg.APP1, XMP + HDRGM)), map_of((jpeg.APP2, ISO + bytes(4) + b"parameters"))
DEPTH_MAP = jpeg_of(MAP, (jpeg.APP1, XMP + b"<x apple:AuxiliaryImageType='urn:com:apple:photo:2017:aux:depth'/>"))


def photograph(*after, xmp=None, orientation=1):
    """Returns the JPEG of a phone: Exif, ICC profile, list of images, and parts after the image."""
    exif = PIL.Image.Exif()
    exif[0x010F], exif[0x0112], exif[0x8825] = "maker", orientation, {1: "N"}
    given = {"exif": exif, "icc_profile": b"Display P3", **({"xmp": xmp} if xmp else {})}
    main = jpeg_of(CAT, (jpeg.APP2, list_of_images(0, after)), **given)
    return main.replace(list_of_images(0, after), list_of_images(len(main), after)) + b"".join(after)


def list_of_images(main_bytes, after):
    """Returns an MPF segment (CIPA DC-007); offsets are relative to its byte order mark."""
    images = [part for part in after if part.startswith(b"\xff\xd8")]
    count, at = 1 + len(images), main_bytes
    entries = struct.pack(">IIIHH", 0x030000, main_bytes, 0, 0, 0)
    for part in after:
        if part in images:
            entries += struct.pack(">IIIHH", 0, len(part), at, 0, 0)
        at += len(part)
    fields = [(0xB000, 7, 4, b"0100"), (0xB001, 4, 1, struct.pack(">I", count))]
    fields.append((0xB002, 7, len(entries), struct.pack(">I", 50)))
    directory = b"".join(struct.pack(">HHI4s", *each) for each in fields)
    return b"MPF\0MM\0*\0\0\0\x08\0\3" + directory + bytes(4) + entries


def read(data, **options):
    notices = []
    return image_from_bytes(data, "file", notify=notices.append, **options), notices


@pytest.mark.parametrize("own_map", [ULTRA_HDR, ISO_MAP, map_of((jpeg.APP1, XMP + APPLE))])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_gain_maps_are_kept_and_restored(own_map, orientation):
    xmp = DIRECTORY % len(own_map)
    image, notices = read(photograph(own_map, xmp=xmp, orientation=orientation))
    assert notices == []
    assert (image.metadata.gainmap == own_map) == (orientation == 1)
    decoded = decode_image(encode_image(image, EncoderConfig(quality=30, effort=1)).data)
    assert decoded.metadata == image.metadata

    data = image_to_bytes(decoded, OUTPUT_FORMATS["jpeg"])
    again, notices = read(data)
    assert notices == []
    assert again.metadata.gainmap == image.metadata.gainmap
    assert again.metadata.icc == b"Display P3"
    assert orientation_of(again.metadata) == 1
    with PIL.MpoImagePlugin.MpoImageFile(io.BytesIO(data)) as pil_image:  # by the list of images
        assert pil_image.n_frames == 2
        pil_image.seek(1)
        turned = upright(MAP, orientation)
        assert np.abs(np.asarray(pil_image).astype(int) - turned).mean() < 1
    stated = re.search(rb'"GainMap".*?Item:Length="(\d+)"', again.metadata.xmp)[1]
    assert data.endswith(image.metadata.gainmap)
    assert int(stated) == len(image.metadata.gainmap)  # as readers of Ultra HDR find it, from the end
    assert b'MotionPhoto="0"' in again.metadata.xmp
    layout = jpeg.read_layout(data)
    assert bool(jpeg.segments_with(data, layout, jpeg.APP2, ISO)) == (own_map is ISO_MAP)
    own = jpeg.read_layout(image.metadata.gainmap)
    kinds = [(s.marker, image.metadata.gainmap[s.body : s.body + 9]) for s in own.segments]
    assert len(kinds) == len(set(kinds)) or orientation == 1  # no segment twice


def test_other_metadata_of_a_gain_map_are_left_out():
    hidden = b"GPS 48.1N 11.5E"
    own_map = map_of(
        (jpeg.APP1, XMP + HDRGM),
        (jpeg.APP1, b"Exif\0\0" + hidden),
        (jpeg.APP1, XMP + hidden),
        (0xED, b"Photoshop 3.0\0" + hidden),
        (0xFE, hidden),
    )
    kept = read(photograph(own_map))[0].metadata.gainmap
    assert kept == ULTRA_HDR
    turned = read(photograph(own_map, orientation=6))[0].metadata.gainmap
    assert hidden not in turned
    assert HDRGM in turned


@pytest.mark.parametrize(
    ("after", "notice"),
    [
        ((), None),
        ((ULTRA_HDR, VIDEO), "motion part is"),
        ((VIDEO,), "motion part is"),
        ((b"MotionPhoto_Data" + VIDEO,), "motion part is"),
        ((DEPTH_MAP,), "depth map is"),
        ((ULTRA_HDR, DEPTH_MAP, VIDEO), "depth map and motion part are"),
        ((jpeg_of(MAP),), "further image is"),
        ((jpeg_of(MAP), ISO_MAP, jpeg_of(MAP)), "2 further images are"),
        ((ULTRA_HDR, ULTRA_HDR), "further image is"),
        ((ULTRA_HDR[:-2],), None),  # cut off
        ((b"trailer of the camera",), None),
    ],
)
def test_lost_parts_are_named_in_one_line(after, notice):
    image, notices = read(photograph(*after))
    assert notices == ([f"file: its {notice} left out"] if notice else [])
    assert (image.metadata.gainmap is not None) == (ULTRA_HDR in after or ISO_MAP in after)


@pytest.mark.parametrize(("data", "name"), [(b"GDepth:Data='x'", "depth map"), (b"<notes/>", "extended XMP")])
def test_extended_xmp_is_left_out(data, name):
    extended = jpeg_of(CAT, (jpeg.APP1, EXTENDED + bytes(40) + data))
    assert read(extended)[1] == [f"file: its {name} is left out"]


def test_a_damaged_gain_map_is_left_out():
    damaged = ULTRA_HDR.replace(b"\xff\xc0", b"\xff\xc7")  # a frame that nobody reads
    image, notices = read(photograph(damaged, orientation=6))
    assert notices == ["file: its damaged gain map is left out"]
    assert image.metadata.gainmap is None


@pytest.mark.parametrize("kinds", ["gainmap", "all", "gainmap,gps"])
def test_gain_maps_can_be_stripped(kinds):
    image, notices = read(photograph(ULTRA_HDR), strip=kinds)
    assert image.metadata.gainmap is None
    assert not any("gain map" in notice for notice in notices)
    assert read(photograph(ULTRA_HDR), strip="gps,exif,xmp,icc")[0].metadata.gainmap == ULTRA_HDR


def test_other_formats_and_regions_have_no_gain_map(tmp_path):
    image = read(photograph(ULTRA_HDR))[0]
    assert [name for name in OUTPUT_FORMATS if "gainmap" not in left_out(image, OUTPUT_FORMATS[name])] == ["jpeg"]
    file = tmp_path / "a.dfm"
    file.write_bytes(encode_image(image, EncoderConfig(quality=30, effort=1)).data)
    run = CliRunner().invoke(main, ["decode", str(file), "-o", str(tmp_path / "a.jpg")])
    assert run.exit_code == 0
    assert "left out" not in run.stderr
    assert (tmp_path / "a.jpg").read_bytes().endswith(ULTRA_HDR)
    run = CliRunner().invoke(main, ["decode", str(file), "-o", str(tmp_path / "b.jpg"), "--region", "0,0,32,32"])
    assert "its gain map is left out" in run.stderr
    assert not (tmp_path / "b.jpg").read_bytes().endswith(ULTRA_HDR)
    run = CliRunner().invoke(main, ["decode", str(file), "-o", str(tmp_path / "c.png")])
    assert "left out gainmap" in run.stderr
    assert f"gain map {len(ULTRA_HDR):,} bytes" in CliRunner().invoke(main, ["info", str(file)]).stdout.replace(
        "\n", " "
    )


def box(name, body):
    return struct.pack(">I4s", 8 + len(body), name) + body


@pytest.mark.parametrize(
    ("meta", "after", "lost"),
    [
        (b"", b"", ()),
        (b"urn:com:apple:photo:2020:aux:hdrgainmap\0", b"", ("gain map",)),
        (b"infe\2\0\0\0\0\3\0\0tmap\0", b"", ("gain map",)),
        (
            b"urn:mpeg:hevc:2015:auxid:2\0 urn:com:apple:photo:2018:aux:portraiteffectsmatte\0",
            b"",
            ("depth map", "mattes"),
        ),
        (b"", box(b"mpvd", VIDEO), ("motion part",)),
    ],
)
@pytest.mark.parametrize("name", ["HEIF", "AVIF"])
def test_auxiliary_images_are_named(meta, after, lost, name):
    data = box(b"ftyp", b"heic\0\0\0\0") + box(b"meta", bytes(4) + meta) + box(b"mdat", b"tmap" * 9) + after
    assert gainmap.parts_of(io.BytesIO(data), name).lost == lost
    for cut in range(len(data)):
        gainmap.parts_of(io.BytesIO(data[:cut]), name)


def test_a_pillow_image_has_only_its_own_metadata():
    """Pillow gives no access to the other parts."""
    with PIL.Image.open(io.BytesIO(photograph(ULTRA_HDR, xmp=DIRECTORY % 9))) as pil_image:
        decoded = decode_image(dfmcodec.encode(pil_image, quality=30, effort=1).data)
    assert decoded.metadata.gainmap is None
