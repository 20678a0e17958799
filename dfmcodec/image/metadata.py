"""ICC profile, Exif block and XMP packet of image files, with the orientation set to upright.

The files are untrusted: values must be bytes in the standard places, and Exif must be well formed.
"""

from __future__ import annotations

import io
import re
import struct
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from dfmcodec._types import Notify
from dfmcodec.image import MAX_METADATA_BYTES, Metadata, png, tiff

if TYPE_CHECKING:
    from PIL.Image import Image as PilImage

_INNER_DIRECTORIES = (0x8769, 0x8825)  # Exif, GPS
_INTEROPERABILITY = 0xA005  # directory inside the Exif directory
_XMP_TAG, _ICC_TAG = 700, 34675
_ICC_HEADER_BYTES, _MOST_ICC_TAGS = 128, 100
_DESCRIPTION_LENGTH = 80  # maximum number of characters shown of a profile's description
# Tags of the layout of a TIFF file, as ranges (first, last). They are not Exif.
_TIFF_LAYOUT = (
    *((254, 259), (262, 263), (266, 266), (273, 273), (277, 281), (284, 284), (288, 293), (297, 301), (317, 325)),
    *((330, 332), (338, 347), (512, 521), (529, 532), (700, 700), (33723, 33723), (34377, 34377), (34675, 34675)),
)
TIFF_LAYOUT_TAGS = frozenset(tag for first, last in _TIFF_LAYOUT for tag in range(first, last + 1))
_KINDS = {_ICC_TAG: (tiff.BYTE, tiff.UNDEFINED), _XMP_TAG: (tiff.BYTE, tiff.ASCII, tiff.UNDEFINED)}
_DAMAGED_OR_LARGE = f"is damaged or has more than {MAX_METADATA_BYTES} bytes, and is left out"
_MAP_BYTES, _ENTRY_BYTES = 1, 6  # overhead of metadata in a `.dfm` file besides names and values, at most
_ENTRY_NAMES = {"icc": "ICC profile", "exif": "Exif block", "xmp": "XMP packet", "gainmap": "gain map"}
_XMP_ORIENTATION = re.compile(rb"(tiff:Orientation(?:=[\"']|>))(\d)")
_XMP_MOTION = re.compile(rb"(:(?:MotionPhoto|MicroVideo)(?:=[\"']|>))1\b")  # states that a video follows the image


class ExifFields(NamedTuple):
    """Exif fields as `tiff.write_tiff` takes them, and the Exif and GPS directories."""

    byte_order: tiff.ByteOrder
    fields: dict[int, tiff.Field]
    inner: dict[int, dict[int, tiff.Field]]


def pillow_info(metadata: Metadata) -> dict[str, bytes]:
    """Returns the metadata as entries of a Pillow image's `info`."""
    names = {"icc": "icc_profile", "exif": "exif", "xmp": "xmp", "cicp": "cicp"}
    return {names[name]: value for name, value in metadata.present().items() if name in names}


def read_metadata(pil_image: PilImage) -> Metadata:
    """Reads the metadata of an open Pillow image, upright. Raises any error for unreadable Exif."""
    metadata = _from_info(pil_image)
    if metadata.exif and is_exif(metadata.exif):
        return upright_metadata(metadata)
    exif = pil_image.getexif()
    for tag in _INNER_DIRECTORIES:
        exif.get_ifd(tag)
    layout = TIFF_LAYOUT_TAGS if pil_image.format == "TIFF" else frozenset[int]()
    for tag in [tag for tag in exif if tag == tiff.ORIENTATION or tag in layout]:
        del exif[tag]
    return upright_metadata(Metadata(metadata.icc, exif.tobytes() if len(exif) else None, metadata.xmp))


def read_file_metadata(file: BinaryIO, pil_image: PilImage, page: int, notify: Notify) -> Metadata:
    """Reads the metadata of an image file unchanged, including the orientation.

    The image is at the page, from 1. Damaged entries are dropped with a notice.
    """
    if pil_image.format == "PNG":
        metadata = png.read_metadata(file, MAX_METADATA_BYTES, notify)
    elif pil_image.format == "TIFF":
        metadata = _from_tiff(file, page, notify)
    else:
        metadata = _from_info(pil_image)
    if metadata.exif is None or is_exif(metadata.exif):
        return metadata
    notify("its Exif block is damaged, and is left out")
    return Metadata(metadata.icc, None, metadata.xmp)


def orientation_of(metadata: Metadata) -> int:
    """Returns the orientation 1..8 from Exif or, if there is none, from XMP; 1 without either."""
    if metadata.exif:
        file = io.BytesIO(metadata.exif.removeprefix(tiff.EXIF_PREFIX))
        layout = tiff.read_layout(file)
        fields = layout and tiff.read_fields(file, layout.first, wanted=(tiff.ORIENTATION,))
        if layout and fields:
            return tiff.first_number(fields.get(tiff.ORIENTATION), layout.byte_order, 1)
    match = _XMP_ORIENTATION.search(metadata.xmp or b"")
    return int(match[2]) if match else 1


def upright_metadata(metadata: Metadata) -> Metadata:
    """Returns the metadata of the image that is stored: upright, and without a motion part."""
    exif = exif_with_orientation_1(prefixed(metadata.exif)) if metadata.exif else None
    xmp = _XMP_MOTION.sub(rb"\g<1>0", _XMP_ORIENTATION.sub(rb"\g<1>1", metadata.xmp)) if metadata.xmp else None
    return replace(metadata, exif=exif, xmp=xmp)


def fitting_metadata(metadata: Metadata, notify: Notify) -> Metadata:
    """Returns the metadata that fits in a `.dfm` file, keeping small entries first."""
    bytes_left = MAX_METADATA_BYTES - _MAP_BYTES
    for name, value in sorted(metadata.present().items(), key=lambda entry: len(entry[1])):
        size = _ENTRY_BYTES + len(name) + len(value)
        if size > bytes_left:
            metadata = replace(metadata, **{name: None})
            limit = f"a .dfm file has at most {MAX_METADATA_BYTES} bytes of metadata"
            notify(f"its {_ENTRY_NAMES[name]} of {len(value)} bytes is left out; {limit}")
        else:
            bytes_left -= size
    return metadata


def exif_fields(exif: bytes) -> ExifFields | None:
    """Returns the fields of an Exif block beside those of a TIFF's layout; None if damaged."""
    return _exif_fields(io.BytesIO(exif.removeprefix(tiff.EXIF_PREFIX)), None)


def _exif_fields(file: BinaryIO, offset: int | None) -> ExifFields | None:
    """Reads the fields of the directory at an offset; None reads the first directory."""
    layout = tiff.read_layout(file)
    fields = layout and tiff.read_fields(file, layout.first if offset is None else offset, TIFF_LAYOUT_TAGS)
    if not layout or fields is None:
        return None
    inner = {}
    for tag in _INNER_DIRECTORIES:
        if tag in fields:
            inside = tiff.read_fields(file, tiff.first_number(fields.pop(tag), layout.byte_order), (_INTEROPERABILITY,))
            if inside is None:
                return None
            inner[tag] = inside
    return ExifFields(layout.byte_order, fields, inner)


def is_exif(exif: bytes) -> bool:
    """Indicates whether an Exif block, with or without the six-byte prefix, is well formed."""
    return exif_with_orientation_1(prefixed(exif)) is not None


def prefixed(exif: bytes) -> bytes:
    return exif if exif.startswith(tiff.EXIF_PREFIX) else tiff.EXIF_PREFIX + exif


def _from_info(pil_image: PilImage) -> Metadata:
    """Returns the metadata in the `info` of a Pillow image, accepting only bytes."""
    entries = {name: value for name, value in pil_image.info.items() if isinstance(value, bytes) and value}
    packet = pil_image.info.get(png.XMP_KEYWORD.decode())  # XMP of a PNG, even if a text has the key "xmp"
    xmp = packet.encode() if isinstance(packet, str) and packet else None
    return Metadata(entries.get("icc_profile"), entries.get("exif"), entries.get("xmp", xmp))


def _from_tiff(file: BinaryIO, page: int, notify: Notify) -> Metadata:
    """Reads the metadata of a page of a TIFF file. Its own fields serve as Exif."""
    offsets = tiff.page_offsets(file, page)
    offset = offsets[page - 1] if page <= len(offsets) else None
    entries: dict[int, bytes] = {}
    for tag, name in ((_ICC_TAG, "ICC profile"), (_XMP_TAG, "XMP packet")):
        fields = None if offset is None else tiff.read_fields(file, offset, wanted=(tag,))
        field = None if fields is None else fields.get(tag)
        if field is not None and field.kind in _KINDS[tag]:
            entries[tag] = field.data
        elif field is not None or fields is None:
            notify(f"its {name} {_DAMAGED_OR_LARGE}")
    exif = None if offset is None else _exif_fields(file, offset)
    if exif is None:
        notify(f"its Exif {_DAMAGED_OR_LARGE}")
        return Metadata(entries.get(_ICC_TAG), None, entries.get(_XMP_TAG))
    exif.fields.pop(tiff.ORIENTATION, None)  # Pillow rotates TIFF images
    block = tiff.EXIF_PREFIX + tiff.write_tiff(*exif) if exif.fields or exif.inner else None
    return Metadata(entries.get(_ICC_TAG), block, entries.get(_XMP_TAG))


def icc_description(profile: bytes) -> str:
    """Returns the description of an ICC profile (ICC.1:2022, 7.3 and 9.2.41), or ""."""
    with suppress(struct.error):
        (count,) = struct.unpack_from(">I", profile, _ICC_HEADER_BYTES)
        for entry in range(min(count, _MOST_ICC_TAGS)):
            name, offset, size = struct.unpack_from(">4sII", profile, _ICC_HEADER_BYTES + 4 + 12 * entry)
            if name == b"desc":
                return _icc_text(profile[offset : offset + size]).partition("\0")[0].strip()[:_DESCRIPTION_LENGTH]
    return ""


def _icc_text(tag: bytes) -> str:
    """Returns the text of a tag: version 4 in its first language, or version 2."""
    if tag.startswith(b"mluc"):
        length, offset = struct.unpack_from(">II", tag, 20)
        return tag[offset : offset + length].decode("utf-16-be", "replace")
    (length,) = struct.unpack_from(">I", tag, 8)
    return tag[12 : 12 + length].decode("ascii", "replace") if tag.startswith(b"desc") else ""


def exif_with_orientation_1(block: bytes) -> bytes | None:
    """Sets the orientation of a prefixed Exif block to 1 if it has one; None if not well formed."""
    start = len(tiff.EXIF_PREFIX)
    order = {b"II": "<", b"MM": ">"}.get(block[start : start + 2])
    try:
        if order is None:
            return None
        (first,) = struct.unpack_from(order + "I", block, start + 4)
        (count,) = struct.unpack_from(order + "H", block, start + first)
        for entry in range(count):
            at = start + first + 2 + 12 * entry
            tag, kind, _ = struct.unpack_from(order + "HHI", block, at)
            if tag == tiff.ORIENTATION:
                value = struct.pack(order + ("I" if kind == 4 else "HH"), *([1] if kind == 4 else [1, 0]))
                return block[: at + 8] + value + block[at + 12 :]
    except struct.error:
        return None
    return block
