"""The `.dfm` format, defined once: header fields and sections.

Reading, writing and file sizes all follow from `HeaderForm`. Each codec has one, with its fields
and sections. A test compares them with the tables of docs/format.md. A file consists of

    magic | the fields that are present | section table | sections | CRC-32

`FIRST_FIELDS` identify the codec; the codec's own fields follow. Earlier fields decide whether a
field is present (as in `frame_header.h` of libjxl).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NoReturn

from dfmcodec.container.contents import Architecture, QuantizedModel
from dfmcodec.errors import CorruptError, FormatError, LimitError, TruncatedError, UnsupportedVersionError
from dfmcodec.files.atomic import MAGIC
from dfmcodec.image import BIT_DEPTHS, MAX_SIDE
from dfmcodec.models import Model

VERSION = 1
CRC = struct.Struct("<I")  # the CRC-32 of everything before it; the last bytes of a file
MODELS = {model.code: model for model in sorted(Model, key=lambda model: model.code)}

Values = Mapping[str, int]  # the values of fields, by name

BYTE, WORD = range(1 << 8), range(1 << 32)
_GRAY_AND_RGB = (1, 3)


def _always(_: Values) -> bool:
    return True


@dataclass(frozen=True)
class Field:
    """A field of the header."""

    name: str  # its key in the values of a header; with spaces in docs/format.md
    code: str  # "B", "H" or "I" of `struct`, little-endian and unsigned
    allowed: Sequence[int]  # the values that are valid in this version
    when: Callable[[Values], bool] = _always  # whether it is present, given the values of earlier fields
    less: int = 0  # is subtracted from a value before it is stored
    refusal: type[FormatError] = CorruptError  # for other values: damage, a newer version, an impossible size

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


FIRST_FIELDS = (
    Field("version", "B", (VERSION,), refusal=UnsupportedVersionError),
    Field("model", "B", tuple(MODELS), refusal=UnsupportedVersionError),
)
_IMAGE_FIELDS = (
    Field("channels", "B", _GRAY_AND_RGB),
    Field("bit_depth", "B", BIT_DEPTHS, refusal=UnsupportedVersionError),
    Field("width", "H", range(1, MAX_SIDE + 1), refusal=LimitError),
    Field("height", "H", range(1, MAX_SIDE + 1), refusal=LimitError),
)
_SECTION_COUNT = Field("section_count", "B", range(1, 1 << 8))
WEIGHTS_ID = Field("weights_id", "I", WORD)


def long_header(network: tuple[Field, ...], further: tuple[Field, ...] = ()) -> tuple[Field, ...]:
    """Returns the fields of a codec whose header describes the image and a network.

    `further_bytes` stores the size of `further`, so that a later version can add fields.
    """
    least = sum(field.size for field in further if field.when is _always)
    sizes = sorted({least, sum(field.size for field in further)})
    size = Field("further_bytes", "B", tuple(sizes), refusal=UnsupportedVersionError)
    return (*_IMAGE_FIELDS, *network, size, _SECTION_COUNT, *further)


def image_values(model: QuantizedModel, section_count: int) -> dict[str, int]:
    """Returns the values of the fields of `long_header` that describe the image."""
    return {"channels": model.architecture.channels, "bit_depth": model.bit_depth, "section_count": section_count}


_FIRST_SKIPPED = 128  # sections from this id on change no sample; unknown ones are skipped


class Section(IntEnum):
    """The ids of sections. Unknown ids that may be skipped become members when they are read."""

    WEIGHTS = 1
    METADATA = 2
    LATENTS = 3
    FILTER = 4
    ADAPTATION = 5
    ALPHA = 6
    RGB = 7
    CHECKS = 8
    GRIDS = 10
    NETWORKS = 11

    @classmethod
    def _missing_(cls, value: object) -> Section | None:
        if not isinstance(value, int) or not _FIRST_SKIPPED <= value < 1 << 8:
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


def is_own(section: Section) -> bool:
    """Indicates whether a section belongs to certain codecs only."""
    return section < _FIRST_SKIPPED and section not in COMMON_SECTIONS


@dataclass(frozen=True)
class HeaderForm:
    """The header fields and the sections of a codec's files."""

    model: Model
    fields: tuple[Field, ...]  # after `FIRST_FIELDS`, in order
    values: Callable[[Any, int], dict[str, int]]  # of these fields, for a model and the sections in the table
    architecture: Callable[[Values], Architecture]
    main_section: Section  # every file has it
    early_sections: tuple[Section, ...] = ()  # optional, written before the metadata
    late_sections: tuple[Section, ...] = ()  # optional, written between the metadata and the main section
    check_count: Callable[[Any], int] = lambda arch: 0  # the number of symbol checks

    @property
    def optional_sections(self) -> tuple[Section, ...]:
        """The optional sections that only files of this codec have."""
        return (*self.early_sections, *self.late_sections)

    @property
    def section_order(self) -> tuple[Section, ...]:
        """The order of the sections in a file: those that a prefix needs first come first."""
        of_image = (Section.RGB, Section.METADATA)
        return (
            *(Section.CHECKS, *self.early_sections, *of_image),
            *(*self.late_sections, self.main_section, Section.ALPHA),
        )

    def present(self, values: Values) -> tuple[Field, ...]:
        """Returns the fields that are present in a header, `FIRST_FIELDS` included."""
        return (*FIRST_FIELDS, *(field for field in self.fields if field.when(values)))


def header_form(model: Model) -> HeaderForm:
    form: HeaderForm = model.record().header
    return form


def further_bytes(model: Model, is_tiled: bool = False) -> int:
    """Returns the size of a codec's further fields, in bytes."""
    sizes = [size for field in header_form(model).fields if field.name == "further_bytes" for size in field.allowed]
    return sizes[-1 if is_tiled else 0] if sizes else 0


def write_fields(values: Values) -> bytes:
    """Returns the magic and all fields that are present."""
    present = header_form(MODELS[values["model"]]).present(values)
    return MAGIC + b"".join(field.pack(values[field.name]) for field in present)


def read_fields(data: bytes) -> tuple[dict[str, int], int]:
    """Returns the values of a header's fields and the offset after them. Raises FormatError."""
    values: dict[str, int] = {}
    at = len(MAGIC)
    for field in FIRST_FIELDS:
        values[field.name] = field.unpack(data, at)
        at += field.size
    for field in header_form(MODELS[values["model"]]).fields:
        if field.when(values):
            values[field.name] = field.unpack(data, at)
            at += field.size
    return values, at


def fields_bytes(model: Model, is_tiled: bool = False) -> int:
    """Returns the size of magic and fields in bytes."""
    values = {"model": model.code, "further_bytes": further_bytes(model, is_tiled)}
    return len(MAGIC) + sum(field.size for field in header_form(model).present(values))


def container_bytes(model: Model, is_tiled: bool = False) -> int:
    """Returns the size of header, section table and CRC-32 of a file with one section, in bytes."""
    return fields_bytes(model, is_tiled) + SECTION_ENTRY.size + CRC.size


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
