"""Captions, comments and other texts of image files. `.dfm` files do not store them."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, BinaryIO

from dfmcodec.files.names import printable
from dfmcodec.image import png, tiff

if TYPE_CHECKING:
    from PIL.Image import Image as PilImage

_IPTC_TAG, _IPTC_RESOURCE = 33723, 0x0404  # TIFF tag; identifier in the Photoshop segment of a JPEG
_IPTC_MARKER, _APPLICATION_RECORD, _LONG_DATASET = 0x1C, 2, 1 << 15
_IPTC_TRIVIAL = (0, 55, 60, 62, 63, 65, 70)  # data sets: version, dates and times, the program
_IPTC = "IPTC (captions, credits)"
# Texts that programs write automatically: comments that name the program, and keywords of a PNG.
# Contents of Exif and XMP are read elsewhere.
_PROGRAM_COMMENTS = re.compile(
    rb"\s*($|created (with|by openjpeg|by kakadu)|creator: |file written by |lavc|lead technologies|applemark"
    rb"|intel\(r\)|(optimi[sz]ed|compressed) by )",
    re.IGNORECASE,
)
_TRIVIAL_KEYWORDS = re.compile(
    r"(software|creation ?time|xml:com\.adobe\.xmp|raw profile type (exif|icc|icm)|signature|)$"
    r"|(date|exif|icc|jpeg|png|tiff|thumb:):",
    re.IGNORECASE,
)
_IPTC_KEYWORDS = ("Raw profile type iptc", "Raw profile type 8bim")  # ImageMagick
_MAX_KEYWORDS = 3  # maximum number of keywords in a message


def texts_of(file: BinaryIO, pil_image: PilImage, page: int) -> list[str]:
    """Describes the texts of a file, or a page of a TIFF, that encoding loses.

    Texts that only name a program or a date do not count.
    """
    if pil_image.format == "PNG":
        return _of_png(png.texts(file))
    texts = [_IPTC] if _has_content(_iptc(file, pil_image, page)) else []
    comment: Any = pil_image.info.get("comment")  # JPEG, JPEG 2000 and GIF
    if isinstance(comment, bytes) and not _PROGRAM_COMMENTS.match(comment.strip(b"\0")):
        texts.append("comment")
    return texts


def _of_png(texts: Iterable[tuple[str, bytes]]) -> list[str]:
    keywords = dict.fromkeys(
        keyword
        for keyword, rest in texts
        if not _TRIVIAL_KEYWORDS.match(keyword)
        and not (keyword == "Comment" and _PROGRAM_COMMENTS.match(rest.rpartition(b"\0")[2]))
    )
    names = [printable(keyword) for keyword in keywords if keyword not in _IPTC_KEYWORDS]
    descriptions = [_IPTC] if len(names) < len(keywords) else []
    if names:
        more = f" and {len(names) - _MAX_KEYWORDS} more" if len(names) > _MAX_KEYWORDS else ""
        descriptions.append(f"PNG text ({', '.join(names[:_MAX_KEYWORDS])}{more})")
    return descriptions


def _iptc(file: BinaryIO, pil_image: PilImage, page: int) -> bytes:
    """Returns the IPTC data of a TIFF or JPEG; empty if there is none."""
    if pil_image.format == "TIFF":
        offsets = tiff.page_offsets(file, page)
        fields = tiff.read_fields(file, offsets[page - 1], wanted=(_IPTC_TAG,)) if page <= len(offsets) else None
        return fields[_IPTC_TAG].data if fields else b""
    resources: Any = pil_image.info.get("photoshop")
    iptc = resources.get(_IPTC_RESOURCE) if isinstance(resources, dict) else None
    return iptc if isinstance(iptc, bytes) else b""


def _has_content(iptc: bytes) -> bool:
    """Indicates whether IPTC data (IIM 4.2) contains more than version, dates and program."""
    at = 0
    while at + 5 <= len(iptc) and iptc[at] == _IPTC_MARKER:
        record, dataset, size = struct.unpack_from(">BBH", iptc, at + 1)
        if record == _APPLICATION_RECORD and size and (dataset not in _IPTC_TRIVIAL or size >= _LONG_DATASET):
            return True
        at += 5 + size
    return False
