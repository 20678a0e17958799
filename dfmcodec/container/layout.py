"""The `.dfm` format, defined once: header fields and sections.

Headers are read and written by these rows and those of each codec (`codecs/*/header.py`).
docs/make_format.py writes the tables of docs/format.md and web/src/header_table.js from them. A
file consists of

    magic | fields | further fields | section table | sections | CRC-32
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NoReturn

from dfmcodec.container.contents import Architecture
from dfmcodec.errors import CorruptError, FormatError, LimitError, TruncatedError, UnsupportedVersionError
from dfmcodec.files.atomic import MAGIC
from dfmcodec.image import BIT_DEPTHS, MAX_SIDE
from dfmcodec.models import Model

VERSION = 1
CRC = struct.Struct("<I")  # the CRC-32 of everything before it; the last bytes of a file
MODELS = {model.code: model for model in sorted(Model, key=lambda model: model.code)}

Values = Mapping[str, int]  # the values of fields, by name

BYTE, WORD = range(1 << 8), range(1 << 32)


@dataclass(frozen=True)
class Field:
    """A field of the header."""

    name: str  # its key in the values of a header; with spaces in docs/format.md
    code: str  # "B", "H" or "I" of `struct`, little-endian and unsigned
    allowed: Sequence[int]  # the values that are valid in this version
    meaning: str = ""  # in docs/format.md
    refusal: type[FormatError] = CorruptError  # for other values: damage, a newer version, an impossible size
    less: int = 0  # is subtracted from a value before it is stored

    @property
    def size(self) -> int:
        """The size of the field in bytes."""
        return struct.calcsize(f"<{self.code}")

    def pack(self, value: int) -> bytes:
        return struct.pack(f"<{self.code}", value - self.less)

    def unpack(self, data: bytes, at: int) -> int:
        """Returns the value at an offset. Raises FormatError; see `refusal`."""
        require(data, at + self.size)
        value: int = struct.unpack_from(f"<{self.code}", data, at)[0] + self.less
        if value not in self.allowed:
            title = self.name.replace("_", " ")
            if self.refusal is UnsupportedVersionError:
                refuse_unknown(f"{title} {value} (byte {at})", data)
            msg = f"the header is invalid: {title} {value}; the file is damaged"
            raise self.refusal(msg)
        return value


_NAMES = ", ".join(f"{code}: {model.value}" for code, model in MODELS.items())
FIRST_FIELDS = (
    Field("version", "B", (VERSION,), "of the format", UnsupportedVersionError),
    Field("model", "B", tuple(MODELS), _NAMES, UnsupportedVersionError),
)
_IMAGE_FIELDS = (
    Field("channels", "B", (1, 3), "gray or RGB, called C"),
    Field("bit_depth", "B", BIT_DEPTHS, "the bits of a sample, called b", UnsupportedVersionError),
    Field("width", "H", range(1, MAX_SIDE + 1), "of the image in pixels, called W", LimitError),
    Field("height", "H", range(1, MAX_SIDE + 1), "of the image in pixels, called H", LimitError),
)
_SECTION_COUNT = Field("section_count", "B", range(1, 1 << 8), "the number of sections, called S")
WEIGHTS_ID = Field("weights_id", "I", WORD, 'see "Shipped weights"')

FIRST_SKIPPED = 128  # sections from this id on change no sample; unknown ones are skipped


class Section(IntEnum):
    """The sections, in the order of a file: those that a prefix needs first come first.

    Unknown ids that may be skipped become members when they are read.
    """

    CHECKS = 8, "shows where damage lies"
    ADAPTATION = 5, "adaptation of the context networks to this image"
    FILTER = 4, "a linear filter for this image"
    TEXTURE = 12, "noise in place of lost texture"
    RGB = 7, "empty, only with C = 1: the image is to be shown as R = G = B"
    METADATA = 2, "ICC profile, Exif block, XMP packet, code points of colours, significant bits, gain map"
    WEIGHTS = 1, "the weights of the network"
    NETWORKS = 11, "weight deltas of the networks for this image"
    LATENTS = 3, "the latents of all tiles"
    GRIDS = 10, "the symbols of all grids"
    ALPHA = 6, "the alpha channel"

    meaning: str  # in docs/format.md

    def __new__(cls, number: int, meaning: str = "") -> Section:
        member = int.__new__(cls, number)
        member._value_, member.meaning = number, meaning
        return member

    @classmethod
    def _missing_(cls, value: object) -> Section | None:
        if not isinstance(value, int) or not FIRST_SKIPPED <= value < 1 << 8:
            return None
        member = int.__new__(cls, value)
        member._name_, member._value_ = f"UNKNOWN {value}", value
        return member

    @property
    def title(self) -> str:
        """The name of the section in docs/format.md, in messages and in reports."""
        return self.name.lower()


COMMON_SECTIONS = (Section.METADATA, Section.ALPHA, Section.RGB, Section.CHECKS)  # for all codecs
SECTION_ENTRY = struct.Struct("<BI")  # an entry of the section table: id, length
STREAM_SECTION_BYTES = SECTION_ENTRY.size + 4  # overhead of a range-coded section: its table entry and the last word


@dataclass(frozen=True)
class HeaderForm:
    """The header fields and the sections of a codec's files."""

    model: Model
    main_section: Section  # every file has it
    network: tuple[Field, ...]  # after the fields of the image
    values: Callable[[Any], dict[str, int]]  # of `network` and `further`, for a quantised model
    architecture: Callable[[Values], Architecture]
    optional_sections: tuple[Section, ...] = ()  # that only files of this codec have
    further: tuple[Field, ...] = ()  # as many of them as `further_bytes` covers
    further_sizes: tuple[int, ...] = (0,)  # in bytes; a later version can add fields
    check_count: Callable[[Any], int] = lambda arch: 0  # the number of symbol checks

    @property
    def fields(self) -> tuple[Field, ...]:
        """The fields between `FIRST_FIELDS` and the further fields."""
        meaning = "the length of the model's further fields, called E"
        size = Field("further_bytes", "B", self.further_sizes, meaning, UnsupportedVersionError)
        return (*_IMAGE_FIELDS, *self.network, size, _SECTION_COUNT)

    @property
    def sections(self) -> tuple[Section, ...]:
        """The sections that files of this codec may have."""
        return (self.main_section, *self.optional_sections, *COMMON_SECTIONS)


def header_form(model: Model) -> HeaderForm:
    form: HeaderForm = model.record().header
    return form


def present_fields(values: Values) -> Iterator[Field]:
    """Yields the fields of a header in order. The values of earlier fields decide which follow."""
    yield from FIRST_FIELDS
    form = header_form(MODELS[values["model"]])
    yield from form.fields
    end = 0
    for field in form.further:
        end += field.size
        if end <= values["further_bytes"]:
            yield field


def write_fields(values: Values) -> bytes:
    """Returns the magic and all fields that are present."""
    return MAGIC + b"".join(field.pack(values[field.name]) for field in present_fields(values))


def read_fields(data: bytes) -> tuple[dict[str, int], int]:
    """Returns the values of a header's fields and the offset after them. Raises FormatError."""
    values: dict[str, int] = {}
    at = len(MAGIC)
    for field in present_fields(values):
        values[field.name] = field.unpack(data, at)
        at += field.size
    return values, at


def container_bytes(model: Model, is_tiled: bool = False) -> int:
    """Returns the size of header, section table and CRC-32 of a file with one section, in bytes."""
    further_bytes = header_form(model).further_sizes[-1 if is_tiled else 0]
    fields = present_fields({"model": model.code, "further_bytes": further_bytes})
    return len(MAGIC) + sum(field.size for field in fields) + SECTION_ENTRY.size + CRC.size


def require(data: bytes, size: int) -> None:
    """Raises TruncatedError if data ends before a given offset in the header."""
    if len(data) < size:
        msg = f"the file ends after {len(data)} bytes, inside its header; it is truncated; get a complete copy"
        raise TruncatedError(msg)


def refuse_unknown(what: str, data: bytes) -> NoReturn:
    """Raises UnsupportedVersionError for a feature that a newer version may have introduced."""
    is_complete = data[-CRC.size :] == CRC.pack(zlib.crc32(data[: -CRC.size]))
    advice = "update dfmcodec" if is_complete else "update dfmcodec, or get a complete copy: its CRC-32 does not match"
    msg = f"{what} is unknown to this program; {advice}"
    raise UnsupportedVersionError(msg)


def section_file_bytes(body_bytes: float) -> float:
    """Returns the number of bytes that a section adds to a file, from the size of its body."""
    return body_bytes + SECTION_ENTRY.size


def sections_file_bytes(sections: Mapping[Section, bytes]) -> int:
    """Returns the number of bytes that sections add to a file."""
    return sum(len(body) + SECTION_ENTRY.size for body in sections.values())
