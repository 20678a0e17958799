"""Captions, comments and other texts of an image file, which `.dfm` files do not hold."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, BinaryIO

from dfmcodec.files.names import printable
from dfmcodec.image import png, tiff

if TYPE_CHECKING:
    from PIL.Image import Image as PilImage

_IPTC_TAG, _IPTC_RESOURCE = 33723, 0x0404  # of TIFF; of Photoshop's segment of a JPEG
_IPTC_MARKER, _APPLICATION_RECORD, _LONG_DATASET = 0x1C, 2, 1 << 15
_IPTC_TRIVIAL = (0, 55, 60, 62, 63, 65, 70)  # data sets: version, dates and times, the program
_IPTC = "IPTC (captions, credits)"
# What programs write by themselves: comments that name them, and keywords of a PNG. What Exif and
# XMP hold is read elsewhere.
_OF_PROGRAMS = re.compile(
    rb"\s*($|created (with|by openjpeg|by kakadu)|creator: |file written by |lavc|lead technologies|applemark"
    rb"|intel\(r\)|(optimi[sz]ed|compressed) by )",
    re.IGNORECASE,
)
_TRIVIAL_KEYWORDS = re.compile(
    r"(software|creation ?time|xml:com\.adobe\.xmp|raw profile type (exif|icc|icm)|signature|)$"
    r"|(date|exif|icc|jpeg|png|tiff|thumb:):",
    re.IGNORECASE,
)
_IPTC_KEYWORDS = ("Raw profile type iptc", "Raw profile type 8bim")  # of ImageMagick
_MOST_KEYWORDS = 3  # that are named


def texts_of(file: BinaryIO, pil_image: PilImage, page: int) -> list[str]:
    """Names the texts that are lost with a file, in words.

    Args:
        file: The file.
        pil_image: The image that Pillow opened of it, at the page.
        page: The page of a TIFF, from 1.

    Returns:
        What there is, but for what only names a program or a date.
    """
    if pil_image.format == "PNG":
        return _of_png(png.texts(file))
    found = [_IPTC] if _says_something(_iptc(file, pil_image, page)) else []
    comment: Any = pil_image.info.get("comment")  # of JPEG, JPEG 2000 and GIF
    if isinstance(comment, bytes) and not _OF_PROGRAMS.match(comment.strip(b"\0")):
        found.append("comment")
    return found


def _of_png(texts: Iterable[tuple[str, bytes]]) -> list[str]:
    keywords = dict.fromkeys(
        keyword
        for keyword, rest in texts
        if not _TRIVIAL_KEYWORDS.match(keyword)
        and not (keyword == "Comment" and _OF_PROGRAMS.match(rest.rpartition(b"\0")[2]))
    )
    names = [printable(keyword) for keyword in keywords if keyword not in _IPTC_KEYWORDS]
    found = [_IPTC] if len(names) < len(keywords) else []
    if names:
        more = f" and {len(names) - _MOST_KEYWORDS} more" if len(names) > _MOST_KEYWORDS else ""
        found.append(f"PNG text ({', '.join(names[:_MOST_KEYWORDS])}{more})")
    return found


def _iptc(file: BinaryIO, pil_image: PilImage, page: int) -> bytes:
    """The IPTC of a TIFF or JPEG; empty without one."""
    if pil_image.format == "TIFF":
        offsets = tiff.page_offsets(file, page)
        fields = tiff.read_fields(file, offsets[page - 1], wanted=(_IPTC_TAG,)) if page <= len(offsets) else None
        return fields[_IPTC_TAG].data if fields else b""
    resources: Any = pil_image.info.get("photoshop")
    found = resources.get(_IPTC_RESOURCE) if isinstance(resources, dict) else None
    return found if isinstance(found, bytes) else b""


def _says_something(iptc: bytes) -> bool:
    """Whether IPTC (IIM 4.2) says more than its version, dates and program."""
    at = 0
    while at + 5 <= len(iptc) and iptc[at] == _IPTC_MARKER:
        record, dataset, size = struct.unpack_from(">BBH", iptc, at + 1)
        if record == _APPLICATION_RECORD and size and (dataset not in _IPTC_TRIVIAL or size >= _LONG_DATASET):
            return True
        at += 5 + size
    return False
