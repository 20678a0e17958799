"""Removes metadata on request, by kind."""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from dfmcodec._types import Notify
from dfmcodec.errors import ConfigError
from dfmcodec.image import Metadata, tiff
from dfmcodec.image.metadata import exif_fields

# By the name that users give.
_MEANINGS = {
    **{kind: (kind,) for kind in ("gps", "exif", "xmp", "icc", "gainmap")},
    "all": ("exif", "xmp", "gainmap", "all"),
}
StripKinds = str | Iterable[str]  # see `strip_kinds`
EVERYTHING = frozenset(("exif", "xmp", "icc"))
WITH_TEXTS = frozenset(("exif", "xmp"))  # if these are removed, no notice about lost texts is needed
_ENTRIES = EVERYTHING | {"gainmap"}
_GPS_TAG = 0x8825
_VALUE = rb"\"[^\"]*\"|'[^']*'"
_XMP_GPS = (  # XMP properties as attributes, empty elements and elements; searched in linear time
    re.compile(rb"\s[\w.-]+:GPS\w*\s*=\s*(?:" + _VALUE + rb")"),
    re.compile(rb"<[\w.-]+:GPS\w*(?:\s[^<>]*)?/>"),
    re.compile(rb"<([\w.-]+:GPS\w*)(?:\s[^<>]*)?>[^<]*</\1\s*>"),
)
_DIRECTORIES = 2  # of Exif: main image and thumbnail


def strip_kinds(given: StripKinds) -> frozenset[str]:
    """Parses kinds of metadata to remove: "gps", "exif", "xmp", "icc", "gainmap", or "all".

    "gps" is the position in Exif and XMP, "icc" includes code points, "all" is Exif, XMP and gain
    map. Kinds may be separated by commas. "all" excludes "icc", because the ICC profile defines the
    colours. Raises ConfigError if a kind is unknown.
    """
    texts: Any = given if isinstance(given, Iterable) and not isinstance(given, str) else [given]
    names = [name.strip() for text in texts for name in str(text).split(",")]
    unknown = [name for name in names if name not in _MEANINGS]
    if unknown:
        msg = f"strip is {unknown[0]!r}; give one or more of {', '.join(_MEANINGS)}, such as gps,xmp"
        raise ConfigError(msg)
    return frozenset(kind for name in names for kind in _MEANINGS[name])


def stripped(metadata: Metadata, kinds: frozenset[str], notify: Notify) -> Metadata:
    """Returns the metadata without some kinds, a result of `strip_kinds`.

    A notice says if Exif or XMP is removed entirely because the position cannot be removed alone.
    """
    rest = replace(metadata, **{kind: None for kind in kinds & _ENTRIES})
    if "icc" in kinds:
        rest = replace(rest, cicp=None)
    elif "all" in kinds and rest.icc:
        notify("its ICC profile is kept, as it says what the colours are; --strip all,icc leaves it out too")
    if "gps" not in kinds:
        return rest
    exif = rest.exif and exif_without_gps(rest.exif)
    xmp = rest.xmp and xmp_without_gps(rest.xmp)
    for name, before, after in (("Exif", rest.exif, exif), ("XMP", rest.xmp, xmp)):
        if before and after is None:
            notify(f"its {name} is left out, as the position cannot be removed from it alone")
    return replace(rest, exif=exif, xmp=xmp)


def exif_without_gps(exif: bytes) -> bytes | None:
    """Removes the position from an Exif block; returns None if it is not well formed.

    The GPS directory is set to 0. The rest keeps its offset, because maker notes contain offsets.
    """
    prefix = tiff.EXIF_PREFIX if exif.startswith(tiff.EXIF_PREFIX) else b""
    block = bytearray(exif.removeprefix(prefix))
    layout = tiff.read_layout(io.BytesIO(block))
    if layout is None or layout.is_big:
        return None
    try:
        offset = layout.first
        for _ in range(_DIRECTORIES):
            offset = _without_gps_entry(block, layout.byte_order, offset) if offset else 0
    except (struct.error, ValueError):
        return None
    return None if exif_fields(bytes(block)) is None else prefix + bytes(block)


def _without_gps_entry(block: bytearray, order: tiff.ByteOrder, offset: int) -> int:
    """Removes the GPS entry from a directory and returns the offset of the next directory.

    Raises struct.error or ValueError if the directory is not well formed.
    """
    (count,) = struct.unpack_from(order + "H", block, offset)
    end = offset + 2 + 12 * count
    entries = {at: struct.unpack_from(order + "HHII", block, at) for at in range(offset + 2, end, 12)}
    positions = [(at, inner) for at, (tag, _, _, inner) in entries.items() if tag == _GPS_TAG]
    if len(positions) > 1:
        msg = "two positions"
        raise ValueError(msg)
    for at, inner in positions:
        _clear_directory(block, order, inner)
        following = block[at + 12 : end + 4]
        block[at : at + len(following) + 12] = following + bytes(12)
        end -= 12
        struct.pack_into(order + "H", block, offset, count - 1)
    return 0 if end + 4 > len(block) else int(struct.unpack_from(order + "I", block, end)[0])


def _clear_directory(block: bytearray, order: tiff.ByteOrder, offset: int) -> None:
    """Sets a directory and its values to 0. Raises ValueError if it is not well formed."""
    if tiff.read_fields(io.BytesIO(block), offset) is None:
        msg = "no directory"
        raise ValueError(msg)
    (count,) = struct.unpack_from(order + "H", block, offset)
    for at in range(offset + 2, offset + 2 + 12 * count, 12):
        _, kind, values, value_offset = struct.unpack_from(order + "HHII", block, at)
        size = tiff.KIND_BYTES.get(kind, 0) * values
        if size > 4:
            block[value_offset : value_offset + size] = bytes(size)
    size = 2 + 12 * count
    block[offset : offset + size] = bytes(size)


def xmp_without_gps(xmp: bytes) -> bytes | None:
    """Removes properties of the position from an XMP packet; None if others may be left."""
    try:
        xmp.decode("utf-8")
    except UnicodeDecodeError:
        return None
    for pattern in _XMP_GPS:
        xmp = pattern.sub(b"", xmp)
    may_hide_it = b"\0" in xmp or b"<!ENTITY" in xmp or b"gps" in xmp.lower()
    return None if may_hide_it else xmp
