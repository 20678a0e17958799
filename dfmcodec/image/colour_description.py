"""Colours that no ICC profile describes: code points, which are kept, and what is lost."""

from __future__ import annotations

import re
import struct
from typing import BinaryIO, NamedTuple

from dfmcodec.image import are_code_points, png, tiff

_HEAD_BYTES = 1 << 20  # part of an AVIF or HEIC file that contains the colour description
# Values of ITU-T H.273.
_PRIMARIES = {4: "BT.470 M", 5: "BT.601, 625 lines", 6: "BT.601, 525 lines", 9: "BT.2020", 11: "DCI-P3", 12: "P3"}
_TRANSFERS = {4: "gamma 2.2", 5: "gamma 2.8", 8: "linear", 16: "PQ", 18: "HLG"}
# Primaries; transfer characteristics that are similar to sRGB, or unspecified.
_LIKE_SRGB = (1, 2), (1, 2, 6, 13, 14, 15)
_NCLX = re.compile(rb"colrnclx(....)", re.DOTALL)
_RGB, _FULL_RANGE = 0, 1  # matrix coefficients and range flag
# sRGB as PNG stores it: 100,000 times x and y of white, red, green and blue; and 1 / gamma.
_SRGB_CHROMATICITIES = (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
_SRGB_GAMMA = 45455
_TOLERANCE = 500, 1000  # for chromaticities and gamma
_TRANSFER_FUNCTION, _PRIMARY_CHROMATICITIES = 301, 319  # TIFF tags
_RATIONAL = 5


class Colours(NamedTuple):
    """Colour description of a file besides an ICC profile."""

    cicp: bytes | None = None  # as in `Metadata`; None also for those of sRGB, the default
    lost: str | None = None  # a description of colour information that is lost


def described_colours(file: BinaryIO, format_name: str | None, page: int, has_profile: bool) -> Colours:
    """Finds the colour description that takes precedence in a file, or in a page of a TIFF.

    An ICC profile, which is kept, takes precedence over all others except cICP of a PNG.
    """
    if format_name == "PNG":
        return _of_png(png.colour_chunks(file), has_profile)
    if has_profile:
        return Colours()
    if format_name == "TIFF":
        return Colours(lost=_of_tiff(file, page))
    if format_name in ("AVIF", "HEIF"):
        file.seek(0)
        nclx = _NCLX.search(file.read(_HEAD_BYTES))
        primaries, transfer = struct.unpack(">HH", nclx[1]) if nclx else (1, 1)
        if text := _named(primaries, transfer):
            # Matches the samples as Pillow decodes them.
            coded = bytes((min(primaries, 255), min(transfer, 255), _RGB, _FULL_RANGE))
            return Colours(coded) if are_code_points(coded) else Colours(lost=f"nclx ({text})")
    return Colours()


def colours_text(cicp: bytes) -> str:
    """Returns names of code points, such as "BT.2020, PQ"; empty for sRGB."""
    return _named(cicp[0], cicp[1])


def _named(primaries: int, transfer: int) -> str:
    like_srgb, near_srgb = _LIKE_SRGB
    parts = []
    if primaries not in like_srgb:
        parts.append(_PRIMARIES.get(primaries, f"primaries {primaries}"))
    if transfer not in near_srgb:
        parts.append(_TRANSFERS.get(transfer, f"transfer {transfer}"))
    return ", ".join(parts)


def _of_png(chunks: dict[bytes, bytes], has_profile: bool) -> Colours:
    """Returns the description of the PNG chunk with the highest precedence."""
    if len(coded := chunks.get(b"cICP", b"")) == 4:
        text = colours_text(coded)
        if not are_code_points(coded):
            return Colours(lost=f"cICP ({text})" if text else None)
        return Colours(coded if has_profile or text else None)
    if has_profile or b"sRGB" in chunks:
        return Colours()
    parts = []
    if len(gamma := chunks.get(b"gAMA", b"")) == 4:
        (value,) = struct.unpack(">I", gamma)
        if value and abs(value - _SRGB_GAMMA) > _TOLERANCE[1]:
            parts.append(f"gAMA (gamma {100_000 / value:.2g})")
    if len(chromaticities := chunks.get(b"cHRM", b"")) == 32 and not _is_srgb(struct.unpack(">8I", chromaticities)):
        parts.append("cHRM (other primaries than sRGB)")
    return Colours(lost=" and ".join(parts) or None)


def _of_tiff(file: BinaryIO, page: int) -> str | None:
    layout, offsets = tiff.read_layout(file), tiff.page_offsets(file, page)
    if layout is None or len(offsets) < page:
        return None
    fields = tiff.read_fields(file, offsets[page - 1], wanted=(_TRANSFER_FUNCTION, _PRIMARY_CHROMATICITIES)) or {}
    parts = ["TransferFunction"] if _TRANSFER_FUNCTION in fields else []
    chromaticities = fields.get(_PRIMARY_CHROMATICITIES)
    if chromaticities is not None and chromaticities.kind == _RATIONAL and len(chromaticities.data) == 48:
        numbers = struct.unpack(layout.byte_order + "12I", chromaticities.data)
        primaries = [100_000 * above / (below or 1) for above, below in zip(numbers[::2], numbers[1::2], strict=True)]
        if not _is_srgb((*_SRGB_CHROMATICITIES[:2], *primaries)):
            parts.append("PrimaryChromaticities (other than those of sRGB)")
    return " and ".join(parts) or None


def _is_srgb(chromaticities: tuple[float, ...]) -> bool:
    pairs = zip(chromaticities, _SRGB_CHROMATICITIES, strict=True)
    return all(abs(given - expected) <= _TOLERANCE[0] for given, expected in pairs)
