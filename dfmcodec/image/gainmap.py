"""Gain maps of JPEG files (Ultra HDR, ISO 21496-1, Apple), and lost parts of phones' files.

A gain map is a JPEG after the main image, with XMP or an ISO 21496-1 segment of its own.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from dfmcodec.image import tiff
from dfmcodec.image.jpeg import (
    APP1,
    APP2,
    APPLICATION,
    START,
    Layout,
    Segment,
    after_application_segments,
    read_layout,
    segments_with,
    write_segment,
)
from dfmcodec.image.open_image import open_image

_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_EXTENDED_XMP = b"http://ns.adobe.com/xmp/extension/\0"
_ISO = b"urn:iso:std:iso:ts:21496:-1\0"
_ISO_VERSION = bytes(4)  # minimum and writer's version 0: the main image has no more
_DESCRIBING = ((APP1, _XMP), (APP2, _ISO), (APP2, b"ICC_PROFILE\0"))  # segments of a gain map that are kept
_KEPT_MARKERS = (0xE0, 0xEE)  # of the application segments: JFIF and Adobe
_COMMENT = 0xFE
_ORIENTATION = 0x0112  # an Exif field
_XMP_OF_GAIN_MAPS = re.compile(rb"ns\.adobe\.com/hdr-gain-map/|ns\.apple\.com/HDRGainMap/|aux:hdrgainmap")
_ITEM = re.compile(rb"<[^<>]*\bItem:Semantic=[\"']GainMap[\"'][^<>]*>")
_ITEM_LENGTH = re.compile(rb"(\bItem:Length=[\"'])\d+")
_DEPTH = re.compile(rb"(?i)GDepth:|depthmap|dynamicdepth|AuxiliaryDataType(?:Depth|Disparity)|aux:(?:depth|disparity)")
_VIDEO = re.compile(rb"\0\0\0[\x08-\xff]ftyp|MotionPhoto_Data")
_MPF, _MPF_VERSION, _MPF_COUNT, _MPF_ENTRIES = b"MPF\0", 0xB000, 0xB001, 0xB002
_MPF_PRIMARY, _MPF_ENTRY_BYTES = 0x030000, 16
# Auxiliary images of HEIC and AVIF files by their names in the file.
_AUXILIARY = {
    "gain map": (b"aux:hdrgainmap", b"tmap", _ISO[:-1]),
    "depth map": (b"urn:mpeg:mpegB:cicp:systems:auxiliary:depth", b"urn:mpeg:hevc:2015:auxid:2\0", b"aux:disparity"),
    "mattes": (b"matte",),
}
_META_BYTES = 1 << 20  # maximum of the box that names the images
_MOST_BOXES = 1000
_MOST_PARTS = 16


class Parts(NamedTuple):
    """Parts of a file beside its main image: its gain map, and descriptions of what is lost."""

    gainmap: bytes | None = None
    lost: tuple[str, ...] = ()


def parts_of(file: BinaryIO, format_name: str | None) -> Parts:
    """Finds the parts of a JPEG, HEIC or AVIF file beside its main image."""
    file.seek(0)
    if format_name in ("JPEG", "MPO"):
        return _parts_of_jpeg(file.read())
    if format_name in ("HEIF", "AVIF"):
        return _parts_of_heif(file)
    return Parts()


def _parts_of_jpeg(data: bytes) -> Parts:
    layout = read_layout(data)
    if layout is None or layout.end is None:
        return Parts()
    video = _VIDEO.search(data, layout.end)
    gainmap, lost, at = None, dict[str, int](), layout.end
    for _ in range(_MOST_PARTS):
        at = data.find(START + b"\xff", at, video.start() if video else len(data))
        own = read_layout(data, at) if at >= 0 else None
        if own is None or own.end is None:
            break
        if gainmap is None and _is_gainmap(data, own):
            whole = data[at : own.end]
            gainmap = _without_other_metadata(whole, read_layout(whole) or own)
        else:
            name = "depth map" if _DEPTH.search(b"".join(_xmp_of(data, own))) else "further image"
            lost[name] = lost.get(name, 0) + 1
        at = own.end
    if extended := b"".join(segments_with(data, layout, APP1, _EXTENDED_XMP)):
        lost.setdefault("depth map" if _DEPTH.search(extended) else "extended XMP", 1)
    if video:
        lost["motion part"] = 1
    return Parts(gainmap, tuple(name if count == 1 else f"{count} {name}s" for name, count in lost.items()))


def _xmp_of(data: bytes, layout: Layout) -> list[bytes]:
    return segments_with(data, layout, APP1, _XMP)


def _is_gainmap(data: bytes, layout: Layout) -> bool:
    return bool(segments_with(data, layout, APP2, _ISO)) or any(map(_XMP_OF_GAIN_MAPS.search, _xmp_of(data, layout)))


def _without_other_metadata(data: bytes, layout: Layout) -> bytes:
    """Returns a gain map without Exif, comments, and what else may name a position."""
    parts, at = [], 0
    for segment in layout.segments:
        is_kept = segment.marker in _KEPT_MARKERS or _is_describing(data, segment)
        if segment.marker == _COMMENT or (segment.marker in APPLICATION and not is_kept):
            parts.append(data[at : segment.start])
            at = segment.end
    return b"".join(parts) + data[at:]


def _is_describing(data: bytes, segment: Segment) -> bool:
    body = data[segment.body : segment.end]
    is_known = any(segment.marker == own and body.startswith(prefix) for own, prefix in _DESCRIBING)
    return is_known and not (segment.marker == APP1 and b"gps" in body.lower())


def _parts_of_heif(file: BinaryIO) -> Parts:
    head, has_video = b"", False
    for name, at, size in _boxes(file):
        if name == b"meta":
            file.seek(at)
            head = file.read(min(size, _META_BYTES))
        has_video = has_video or name == b"mpvd"
    lost = [name for name, marks in _AUXILIARY.items() if any(mark in head for mark in marks)]
    return Parts(lost=(*lost, *(["motion part"] if has_video else [])))


def _boxes(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Yields name, offset and size of the outer boxes of a HEIC or AVIF file (ISO 14496-12)."""
    at = 0
    for _ in range(_MOST_BOXES):
        file.seek(at)
        head = file.read(16)
        if len(head) < 8:
            return
        size, name = struct.unpack_from(">I4s", head)
        size = int.from_bytes(head[8:], "big") if size == 1 else size
        yield name, at, size or _META_BYTES
        if size < 8:
            return
        at += size


def upright_gainmap(gainmap: bytes, orientation: int, max_pixels: int) -> bytes | None:
    """Rotates a gain map like its main image; returns None if it is too large or cannot be read.

    It is compressed again with its own quantisation tables.
    """
    if orientation == 1:
        return gainmap
    from PIL.ImageOps import exif_transpose

    layout = read_layout(gainmap)
    if layout is None:
        return None
    try:
        with open_image(io.BytesIO(gainmap), max_pixels, ("JPEG",)) as pil_image:
            buffer, tables = io.BytesIO(), getattr(pil_image, "quantization", None)
            pil_image.getexif()[_ORIENTATION] = orientation
            exif_transpose(pil_image).save(buffer, "JPEG", qtables=tables, subsampling=0)
    except Exception:  # plugins raise errors of any type
        return None
    data = buffer.getvalue()
    at = after_application_segments(data)
    own = b"".join(gainmap[s.start : s.end] for s in layout.segments if s.marker in (APP1, APP2))
    return data[:at] + own + data[at:]


def xmp_with_length(xmp: bytes, gainmap: bytes) -> bytes:
    """Returns XMP whose directory of images states the size of the gain map."""
    length = b"\\g<1>%d" % len(gainmap)
    return _ITEM.sub(lambda item: _ITEM_LENGTH.sub(length, item[0]), xmp)


def with_gainmap(jpeg: bytes, gainmap: bytes) -> bytes:
    """Appends a gain map to a JPEG file, with the segments by which readers find it."""
    layout = read_layout(gainmap)
    is_iso = layout is not None and bool(segments_with(gainmap, layout, APP2, _ISO))
    iso = write_segment(APP2, _ISO + _ISO_VERSION) if is_iso else b""
    at = after_application_segments(jpeg)
    head = jpeg[:at] + iso
    index_at = len(head) + 4 + len(_MPF)  # offsets in the index start here
    main_bytes = len(jpeg) + len(iso) + len(_index(0, 0, 0))
    index = _index(main_bytes, len(gainmap), main_bytes - index_at)
    return head + index + jpeg[at:] + gainmap


def _index(main_bytes: int, gainmap_bytes: int, offset: int) -> bytes:
    """Returns a segment of the Multi-Picture Format (CIPA DC-007) for main image and gain map."""
    entries = struct.pack("<IIIHH IIIHH", _MPF_PRIMARY, main_bytes, 0, 0, 0, 0, gainmap_bytes, offset, 0, 0)
    fields = {
        _MPF_VERSION: tiff.Field(tiff.UNDEFINED, b"0100"),
        _MPF_COUNT: tiff.long_field("<", len(entries) // _MPF_ENTRY_BYTES),
        _MPF_ENTRIES: tiff.Field(tiff.UNDEFINED, entries),
    }
    return write_segment(APP2, _MPF + tiff.write_tiff("<", fields, {}))
