"""The `.dfm` format, defined once: the fields of the header, and the sections.

Reading, writing and the sizes of files follow from the two tables of this module, `FIELDS` and
`SECTIONS`. A test compares them with the tables of docs/format.md. A file consists of

    magic | the FIELDS that are present | section table | sections | CRC-32

`FIELDS` is visited in order. The fields before a field decide whether it is present (as in
`frame_header.h` of libjxl).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import NoReturn

from dfmcodec._types import Model
from dfmcodec.codecs.overfitted.grids import GRID_LEVELS, LMBDA_CODES
from dfmcodec.codecs.wavelet.colour import Luma
from dfmcodec.codecs.wavelet.geometry import MAX_LEVELS, MAX_TILES
from dfmcodec.codecs.wavelet.quantizer import MAX_STEP
from dfmcodec.errors import (
    CorruptError,
    FormatError,
    LimitError,
    TruncatedError,
    UnsupportedVersionError,
)
from dfmcodec.fourier.layer import MAX_WIDTH
from dfmcodec.fourier.network import MAX_DEPTH
from dfmcodec.image import BIT_DEPTHS, MAX_SIDE

MAGIC = b"\x89DFM"
VERSION = 1
CRC = struct.Struct("<I")  # the CRC-32 of everything before it; the last bytes of a file
MODEL_CODES = {Model.COORDINATE: 0, Model.WAVELET: 1, Model.GENERATIVE: 2, Model.OVERFITTED: 3}
MODELS = {code: model for model, code in MODEL_CODES.items()}

Values = Mapping[str, int]  # the values of fields, by name

LEB128 = "leb128"  # seven bits per byte, the lowest first; the highest bit is set in all bytes but the last
MAX_LEB128_BYTES = 4
_GRAY_AND_RGB = (1, 3)
_BYTE, _WORD = range(1 << 8), range(1 << 32)


def _always(_: Values) -> bool:
    return True


def _has_long_header(values: Values) -> bool:
    return values["model"] != MODEL_CODES[Model.GENERATIVE]


def _is_coordinate(values: Values) -> bool:
    return values["model"] == MODEL_CODES[Model.COORDINATE]


def _is_wavelet(values: Values) -> bool:
    return values["model"] == MODEL_CODES[Model.WAVELET]


def _is_tiled(values: Values) -> bool:
    return _is_wavelet(values) and values["further_bytes"] > further_bytes(Model.WAVELET, is_tiled=False)


def _is_overfitted(values: Values) -> bool:
    return values["model"] == MODEL_CODES[Model.OVERFITTED]


def _names_prior(values: Values) -> bool:
    return _is_wavelet(values) or _is_overfitted(values)


def _is_generative(values: Values) -> bool:
    return values["model"] == MODEL_CODES[Model.GENERATIVE]


@dataclass(frozen=True)
class Field:
    """A field of the header.

    Args:
        name: The key of the field in the values of a header. docs/format.md has the same name,
            with spaces.
        code: "B", "H" or "I" of `struct`, little-endian and unsigned, or `LEB128`.
        allowed: The values that the field may have in a file of this version.
        when: Indicates by the values of the fields before it whether the field is present.
        less: The number that is subtracted from a value to give the stored number.
        refusal: The error for any other value: damage, a newer program, or an image of no possible
            size.
    """

    name: str
    code: str
    allowed: Container[int]
    when: Callable[[Values], bool]
    less: int = 0
    refusal: type[FormatError] = CorruptError

    @property
    def size(self) -> int:
        """The size of the field in a file, in bytes; for `LEB128` the least size."""
        return 1 if self.code == LEB128 else struct.calcsize(f"<{self.code}")

    def pack(self, value: int) -> bytes:
        """The bytes of a value."""
        stored = value - self.less
        return _leb128(stored) if self.code == LEB128 else struct.pack(f"<{self.code}", stored)

    def unpack(self, data: bytes, at: int) -> tuple[int, int]:
        """The value at an offset, and the offset after it.

        Raises:
            TruncatedError: The data ends before the field does.
            FormatError: No file that this program reads may have the value; see `refusal`.
        """
        if self.code == LEB128:
            stored, after = _read_leb128(data, at)
        else:
            require(data, at + self.size)
            (stored,) = struct.unpack_from(f"<{self.code}", data, at)
            after = at + self.size
        value = stored + self.less
        if value not in self.allowed:
            title = self.name.replace("_", " ")
            if self.refusal is UnsupportedVersionError:
                refuse_unknown(f"{title} {value} (byte {at})", data)
            msg = f"the header is invalid: {title} {value}; the file is damaged"
            raise self.refusal(msg)
        return value, after


FIELDS = (
    Field("version", "B", (VERSION,), _always, refusal=UnsupportedVersionError),
    Field("model", "B", tuple(MODELS), _always, refusal=UnsupportedVersionError),
    Field("channels", "B", _GRAY_AND_RGB, _has_long_header),
    Field("bit_depth", "B", BIT_DEPTHS, _has_long_header, refusal=UnsupportedVersionError),
    Field("width", "H", range(1, MAX_SIDE + 1), _has_long_header, refusal=LimitError),
    Field("height", "H", range(1, MAX_SIDE + 1), _has_long_header, refusal=LimitError),
    Field("depth", "B", range(1, MAX_DEPTH + 1), _is_coordinate),
    Field("layer_width", "B", range(1, MAX_WIDTH + 1), _is_coordinate),
    Field("order", "B", range(1, MAX_WIDTH + 1), _is_coordinate),
    # In the wavelet and the overfitted codec these only describe the prior's machine: a reader
    # accepts any value.
    Field("depth", "B", _BYTE, _names_prior),
    Field("layer_width", "B", _BYTE, _names_prior),
    Field("order", "B", _BYTE, _is_overfitted),
    # Luma.MEAN in all wavelet files before there was another
    Field("luma", "B", tuple(Luma), _is_wavelet, refusal=UnsupportedVersionError),
    Field("further_bytes", "B", (0,), _is_coordinate, refusal=UnsupportedVersionError),
    Field("further_bytes", "B", (8, 10), _is_wavelet, refusal=UnsupportedVersionError),
    Field("further_bytes", "B", (6,), _is_overfitted, refusal=UnsupportedVersionError),
    Field("section_count", "B", range(1, 1 << 8), _has_long_header),
    Field("levels", "B", range(1, MAX_LEVELS + 1), _is_wavelet),
    Field("grids", "B", (GRID_LEVELS,), _is_overfitted),
    Field("lmbda_code", "B", LMBDA_CODES, _is_overfitted, less=LMBDA_CODES[0]),
    Field("q_step", "H", range(1, MAX_STEP + 1), _is_wavelet),
    Field("chroma_angle", "B", _BYTE, _is_wavelet),
    Field("weights_id", "I", _WORD, _names_prior),
    Field("tile_rows", "B", range(1, MAX_TILES + 1), _is_tiled),
    Field("tile_columns", "B", range(1, MAX_TILES + 1), _is_tiled),
    Field("generator_id", "I", _WORD, _is_generative),
    Field("width", "B", range(1, (1 << 8) + 1), _is_generative, less=1),
    Field("height", "B", range(1, (1 << 8) + 1), _is_generative, less=1),
    Field("kinds", "B", _BYTE, _is_generative),
    Field("code_bytes", LEB128, range(1 << 7 * MAX_LEB128_BYTES), _is_generative),
)
_FURTHER = {
    Model.WAVELET: ("levels", "q_step", "chroma_angle", "weights_id"),
    Model.OVERFITTED: ("grids", "lmbda_code", "weights_id"),
}
_FURTHER_OF_TILES = ("tile_rows", "tile_columns")


_FIRST_SKIPPED = 128  # sections from this id on change no sample, and are skipped where they are unknown


class Section(IntEnum):
    """The ids of sections; those that may be skipped are members as they come."""

    WEIGHTS = 1
    METADATA = 2
    LATENTS = 3
    FILTER = 4
    ADAPTATION = 5
    ALPHA = 6
    RGB = 7
    CHECKS = 8
    CODE = 9
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


@dataclass(frozen=True)
class SectionRule:
    """The files that may have a section, and those that must.

    Args:
        section: The section.
        models: The models whose files may have it.
        is_required: Whether every file of these models has it. It is then their main section.
    """

    section: Section
    models: tuple[Model, ...]
    is_required: bool = False


_ALL_MODELS = tuple(MODEL_CODES)
SECTIONS = (
    SectionRule(Section.WEIGHTS, (Model.COORDINATE,), is_required=True),
    SectionRule(Section.METADATA, _ALL_MODELS),
    SectionRule(Section.LATENTS, (Model.WAVELET,), is_required=True),
    SectionRule(Section.FILTER, (Model.WAVELET,)),
    SectionRule(Section.ADAPTATION, (Model.WAVELET,)),
    SectionRule(Section.ALPHA, _ALL_MODELS),
    SectionRule(Section.RGB, _ALL_MODELS),
    SectionRule(Section.CHECKS, _ALL_MODELS),
    SectionRule(Section.CODE, (Model.GENERATIVE,), is_required=True),
    SectionRule(Section.GRIDS, (Model.OVERFITTED,), is_required=True),
    SectionRule(Section.NETWORKS, (Model.OVERFITTED,)),
)
MAIN_SECTION = {rule.models[0]: rule.section for rule in SECTIONS if rule.is_required}
MODELS_OF_SECTION = {rule.section: rule.models for rule in SECTIONS}
SECTION_ENTRY = struct.Struct("<BI")  # an entry of the section table: id, length

# The order of writing. What is needed first comes first, so that a prefix of a file is useful.
SECTION_ORDER = (
    Section.CODE,
    Section.CHECKS,
    Section.ADAPTATION,
    Section.FILTER,
    Section.RGB,
    Section.METADATA,
    Section.WEIGHTS,
    Section.NETWORKS,
    Section.LATENTS,
    Section.GRIDS,
    Section.ALPHA,
)


def further_bytes(model: Model, is_tiled: bool) -> int:
    """The value of the field `further_bytes`: the size of a model's further fields, in bytes."""
    names = (*_FURTHER.get(model, ()), *(_FURTHER_OF_TILES if is_tiled else ()))
    return sum(field.size for field in FIELDS if field.name in names)


def write_fields(values: Values) -> bytes:
    """The magic and the fields of a header. `values` has every field that is present."""
    return MAGIC + b"".join(field.pack(values[field.name]) for field in FIELDS if field.when(values))


def read_fields(data: bytes) -> tuple[dict[str, int], int]:
    """The values of a header's fields, and the offset after them.

    Args:
        data: The file's bytes, or a prefix of them. The caller has checked the magic.

    Raises:
        FormatError: A field is cut off or has a value that is not allowed; see `Field.unpack`.
    """
    values: dict[str, int] = {}
    at = len(MAGIC)
    for field in FIELDS:
        if field.when(values):
            values[field.name], at = field.unpack(data, at)
    return values, at


def fields_bytes(model: Model, is_tiled: bool = False) -> int:
    """The size of magic and fields in bytes. For a code it holds if `code_bytes` is below 128."""
    values = {"model": MODEL_CODES[model], "further_bytes": further_bytes(model, is_tiled)}
    return len(MAGIC) + sum(field.size for field in FIELDS if field.when(values))


def container_bytes(model: Model, is_tiled: bool = False) -> int:
    """The size of header, section table and CRC-32 in a file of one section, in bytes."""
    table = 0 if model is Model.GENERATIVE else SECTION_ENTRY.size  # a code is not in the section table
    return fields_bytes(model, is_tiled) + table + CRC.size


def require(data: bytes, size: int) -> None:
    """Refuses data that is shorter than the part of the header that is to be read.

    Args:
        data: The file's bytes, or a prefix of them.
        size: The least length, in bytes.

    Raises:
        TruncatedError: The data is shorter.
    """
    if len(data) < size:
        msg = f"the file ends after {len(data)} bytes, inside its header; it is truncated, get a whole copy"
        raise TruncatedError(msg)


def refuse_unknown(what: str, data: bytes) -> NoReturn:
    """Refuses something that a newer program may have written.

    Args:
        what: The unknown thing and its place, for the message.
        data: The file's bytes. Their CRC-32 indicates whether damage is as likely a cause.

    Raises:
        UnsupportedVersionError: Always.
    """
    is_complete = data[-CRC.size :] == CRC.pack(zlib.crc32(data[: -CRC.size]))
    advice = "update dfmcodec" if is_complete else "update dfmcodec, or get a whole copy: its CRC-32 does not match"
    msg = f"{what} is unknown to this program; {advice}"
    raise UnsupportedVersionError(msg)


def leb128_bytes(value: int) -> int:
    """The size of a number in LEB128, in bytes."""
    return len(_leb128(value))


def _leb128(value: int) -> bytes:
    groups = []
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*groups, value])


def _read_leb128(data: bytes, at: int) -> tuple[int, int]:
    """The number that starts at an offset, and the offset after it: the inverse of `_leb128`."""
    value = 0
    for index in range(MAX_LEB128_BYTES):
        require(data, at + index + 1)
        value |= (data[at + index] & 0x7F) << 7 * index
        if data[at + index] < 0x80:
            return value, at + index + 1
    msg = f"the length of the code has more than {MAX_LEB128_BYTES} bytes; the file is damaged"
    raise CorruptError(msg)
