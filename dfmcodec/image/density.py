"""Resolution of an image file in pixels per inch, which is kept in Exif."""

from __future__ import annotations

import io
import struct
from dataclasses import replace
from fractions import Fraction
from typing import Any

from dfmcodec._types import Notify
from dfmcodec.image import Metadata, tiff

Density = tuple[float, float]  # horizontal, vertical
_X, _Y, _UNIT = 282, 283, 296  # tags
_RATIONAL = 5
_INCH, _CENTIMETRE = 2, 3  # units
_CM_PER_INCH = 2.54
_LARGEST_DENOMINATOR = 10_000
_SCREEN_DPI = (72, 96)  # default values of programs, which mean that the resolution is unknown
_LARGEST = 1e5


def with_density(metadata: Metadata, dpi: Any, notify: Notify) -> Metadata:
    """Returns the metadata with the resolution, in a new Exif block if there is none.

    An existing Exif block is not changed, because maker notes contain offsets; a notice says what
    is lost. Anything but a pair of numbers counts as none. Values typical of screens are ignored.
    """
    density = _checked(dpi)
    if density is None or all(round(number) in _SCREEN_DPI for number in density):
        return metadata
    if metadata.exif is None:
        return replace(metadata, exif=_exif_of(density))
    stated = density_of(metadata.exif)
    if stated is None or any(round(a) != round(b) for a, b in zip(stated, density, strict=True)):
        why = "has none; write them into the Exif to keep them" if stated is None else f"states {_text(stated)}"
        notify(f"its {_text(density)} dpi are not kept: its Exif, which is kept unchanged, {why}")
    return metadata


def density_of(exif: bytes | None) -> Density | None:
    """Returns the resolution stated in an Exif block; None if it states none."""
    file = io.BytesIO((exif or b"").removeprefix(tiff.EXIF_PREFIX))
    layout = tiff.read_layout(file)
    fields = layout and tiff.read_fields(file, layout.first, wanted=(_X, _Y, _UNIT))
    if not layout or not fields or any(tag not in fields or len(fields[tag].data) != 8 for tag in (_X, _Y)):
        return None
    unit = tiff.first_number(fields.get(_UNIT), layout.byte_order, _INCH)
    if unit not in (_INCH, _CENTIMETRE) or any(fields[tag].kind != _RATIONAL for tag in (_X, _Y)):
        return None
    x, y = (struct.unpack(layout.byte_order + "2I", fields[tag].data) for tag in (_X, _Y))
    scale = _CM_PER_INCH if unit == _CENTIMETRE else 1.0
    return _checked((scale * x[0] / (x[1] or 1), scale * y[0] / (y[1] or 1)))


def _checked(dpi: Any) -> Density | None:
    """Returns a pair of numbers that can be a resolution; None for anything else."""
    if not isinstance(dpi, tuple) or len(dpi) != 2:
        return None
    try:
        horizontal, vertical = float(dpi[0]), float(dpi[1])
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    is_usual = all(1 < number < _LARGEST for number in (horizontal, vertical))
    return (horizontal, vertical) if is_usual else None


def _exif_of(density: Density) -> bytes:
    """Returns a short Exif block with a resolution; inches are the default unit."""
    x, y = (Fraction(number).limit_denominator(_LARGEST_DENOMINATOR) for number in density)
    numbers = [x] if x == y else [x, y]
    at = struct.calcsize("<2sHIH HHII HHII I")  # offset of the numbers, after the only directory
    at_y = at + 8 * (len(numbers) - 1)
    directory = struct.pack("<H HHII HHII I", 2, _X, _RATIONAL, 1, at, _Y, _RATIONAL, 1, at_y, 0)
    rationals = (struct.pack("<2I", number.numerator, number.denominator) for number in numbers)
    return tiff.EXIF_PREFIX + struct.pack("<2sHI", b"II", 42, 8) + directory + b"".join(rationals)


def _text(density: Density) -> str:
    horizontal, vertical = (f"{number:.0f}" for number in density)
    return horizontal if horizontal == vertical else f"{horizontal}x{vertical}"
