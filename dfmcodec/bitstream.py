"""The `.dfm` container: QuantizedModel and Metadata <-> bytes. docs/format.md specifies every byte.

magic, version, picture and architecture fields, section table | sections | CRC-32

Codes of generative models, of which files are tens of bytes, have a header of their own, as short as can be.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import msgpack

from dfmcodec.alpha import read_alpha, write_alpha
from dfmcodec.context_correction import read_correction, write_correction
from dfmcodec.errors import (
    BadMagicError,
    ConfigError,
    CorruptError,
    DfmError,
    LimitError,
    TruncatedError,
    UnsupportedVersionError,
)
from dfmcodec.image import BIT_DEPTHS, MAX_PIXELS, Metadata, Pixels, check_picture_size
from dfmcodec.integrity import CHECKS_PART, CRC, Condition, checks_bytes, examine, or_lost, write_checks
from dfmcodec.latents import TILE_GRID, Tiling, Window
from dfmcodec.model import (
    Architecture,
    CodeArchitecture,
    CodedPicture,
    CoordinateArchitecture,
    LatentArchitecture,
    Model,
    QuantizedLatents,
    QuantizedModel,
    QuantizedNetwork,
)
from dfmcodec.network_coding import read_weights, side_bytes, stream_bits, write_weights
from dfmcodec.picture_filter import read_filter, write_filter
from dfmcodec.prior import prior_of
from dfmcodec.pyramid_coding import read_symbols, read_tile, symbol_checks, write_symbols
from dfmcodec.salvage import Salvage

MAGIC = b"\x89DFM"
VERSION = 1

_PROLOGUE = struct.Struct("<4sBB")  # magic, version, model: of all headers
_HEADER = struct.Struct("<4sBBBBHHBBBBB")
_SECTION = struct.Struct("<BI")
_LATENT_FIELDS = struct.Struct("<BHBI")  # levels, step, chroma angle, prior
_CODE_HEADER = struct.Struct("<4sBBIBBB")  # .., generative model, width - 1, height - 1, kinds; then a length
_MAX_LENGTH_BYTES = 4  # of the code's length
_TILE_FIELDS = struct.Struct("<BB")  # rows and columns of tiles, where there are several

SECTION_WEIGHTS = 1
SECTION_METADATA = 2
SECTION_LATENTS = 3
SECTION_FILTER = 4
SECTION_CORRECTIONS = 5
SECTION_ALPHA = 6
SECTION_RGB = 7
SECTION_CHECKS = 8
SECTION_CODE = 9
_SECTION_NAMES = {
    SECTION_WEIGHTS: "weights",
    SECTION_METADATA: "metadata",
    SECTION_LATENTS: "latents",
    SECTION_FILTER: "filter",
    SECTION_CORRECTIONS: "corrections",
    SECTION_ALPHA: "alpha",
    SECTION_RGB: "rgb",
    SECTION_CHECKS: "checks",
    SECTION_CODE: "code",
}
# As they are written: what is needed first comes first, so that a prefix of a file is of use.
_ORDER = (
    SECTION_CODE,
    SECTION_CHECKS,
    SECTION_CORRECTIONS,
    SECTION_FILTER,
    SECTION_RGB,
    SECTION_METADATA,
    SECTION_WEIGHTS,
    SECTION_LATENTS,
    SECTION_ALPHA,
)
_EARLY_METADATA_PART = 1 / 8  # of the model; larger metadata goes to the end
_MODEL_CODES = {Model.COORDINATE: 0, Model.LATENT: 1, Model.GENERATIVE: 2}
_MAIN_SECTION = {
    Model.COORDINATE: SECTION_WEIGHTS,
    Model.LATENT: SECTION_LATENTS,
    Model.GENERATIVE: SECTION_CODE,
}
_MODELS = {code: model for model, code in _MODEL_CODES.items()}

MAX_METADATA_BYTES = 1 << 24

# What a file costs beside its sections: header, what tells the length of one section, checksum.
CONTAINER_BYTES = {
    Model.COORDINATE: _HEADER.size + _SECTION.size + CRC.size,
    Model.LATENT: _HEADER.size + _LATENT_FIELDS.size + _SECTION.size + CRC.size,
    Model.GENERATIVE: _CODE_HEADER.size + 1 + CRC.size,  # of codes below 128 bytes
}


@dataclass(frozen=True)
class Beside:
    """What a file holds of a picture beside the model of its colours.

    Args:
        metadata: What travels along.
        alpha: Opacity, uint8 or uint16 [H, W]; None for none.
        gray_as_rgb: Whether the picture is gray but was, and is to be, RGB.
    """

    metadata: Metadata = field(default_factory=Metadata)
    alpha: Pixels | None = None
    gray_as_rgb: bool = False

    def sections(self) -> dict[int, bytes]:
        """As sections of a file.

        Raises:
            ConfigError: The metadata is larger than the format allows.
        """
        sections = {}
        if self.metadata:
            sections[SECTION_METADATA] = pack_metadata(self.metadata)
        if self.alpha is not None:
            sections[SECTION_ALPHA] = write_alpha(self.alpha)
        if self.gray_as_rgb:
            sections[SECTION_RGB] = b""
        return sections


@dataclass(frozen=True)
class Header:
    """What `read_header` knows without decoding anything.

    Args:
        version: Format version.
        height: Height of the picture in pixels.
        width: Width of the picture in pixels.
        bit_depth: Bits per sample, 8 or 16.
        architecture: The network.
        step: Quantisation step of latents in 1/64 levels; 0 for other models.
        chroma_angle: Of the colour basis of latents; 0 for other models.
        sections: Section id -> (offset, length) in the file.
        file_bytes: Length of the file as the header declares it.
    """

    version: int
    height: int
    width: int
    bit_depth: int
    architecture: Architecture
    step: int
    chroma_angle: int
    sections: dict[int, tuple[int, int]]
    file_bytes: int

    @property
    def raw_bytes(self) -> int:
        """Size of the uncompressed samples, opacity among them."""
        return self.height * self.width * (self.channels + self.has_alpha) * self.bit_depth // 8

    @property
    def channels(self) -> int:
        """Of the decoded picture without opacity, 1 or 3."""
        return 3 if SECTION_RGB in self.sections else self.architecture.channels

    @property
    def has_alpha(self) -> bool:
        return SECTION_ALPHA in self.sections

    @property
    def symbol_check_count(self) -> int:
        """How many checks of symbols a checks section has."""
        arch = self.architecture
        return arch.tile_rows * arch.tile_columns * (arch.levels + 1) if isinstance(arch, LatentArchitecture) else 0

    def name_of(self, key: int) -> str:
        """Of a section."""
        return _SECTION_NAMES[key]

    def section_bytes(self) -> dict[str, int]:
        """Bytes of each part of the file, by name; they add up to the file's size."""
        parts = {_SECTION_NAMES[key]: length for key, (_, length) in self.sections.items()}
        return {"container": self.file_bytes - sum(parts.values()), **parts}


def write(model: QuantizedModel, beside: Mapping[int, bytes] | None = None, checked: bool = True) -> bytes:
    """Serialises a quantised model to the bytes of a `.dfm` file.

    Args:
        model: The model.
        beside: Further sections, as of `Beside.sections`.
        checked: Whether the file gets checks, if they are at most `CHECKS_PART` of it.
    """
    main = _MAIN_SECTION[model.architecture.model]
    sections = {main: _write_main_section(model)}
    if isinstance(model, QuantizedLatents) and model.picture_filter is not None:
        sections[SECTION_FILTER] = write_filter(model.picture_filter)
    if isinstance(model, QuantizedLatents) and model.correction is not None:
        sections[SECTION_CORRECTIONS] = write_correction(model.correction)
    sections |= beside or {}
    order = list(_ORDER)
    if len(sections.get(SECTION_METADATA, b"")) > _EARLY_METADATA_PART * len(sections[main]):
        order.remove(SECTION_METADATA)
        order.append(SECTION_METADATA)
    sections = _ordered(sections, order)
    head = _head(model, sections)
    if checked:
        of_symbols = _symbol_checks(model)
        placeholder = bytes(checks_bytes(len(sections), len(of_symbols)))
        added = sections_file_bytes({SECTION_CHECKS: placeholder})
        if added <= CHECKS_PART * (len(head) + sum(map(len, sections.values())) + CRC.size + added):
            head = _head(model, _ordered({SECTION_CHECKS: placeholder, **sections}, order))
            checks = write_checks(head, list(sections.values()), of_symbols)
            sections = _ordered({SECTION_CHECKS: checks, **sections}, order)
    content = head + b"".join(sections.values())
    return content + CRC.pack(zlib.crc32(content))


def _ordered(sections: Mapping[int, bytes], order: Sequence[int]) -> dict[int, bytes]:
    return {key: sections[key] for key in order if key in sections}


def _head(model: QuantizedModel, sections: Mapping[int, bytes]) -> bytes:
    """What comes before the first section."""
    if isinstance(model, CodedPicture):
        return _code_head(model, sections)
    arch = model.architecture
    fields = b""
    if isinstance(model, QuantizedLatents) and isinstance(arch, LatentArchitecture):
        fields = _LATENT_FIELDS.pack(arch.levels, model.step, model.chroma_angle, arch.prior)
        if (arch.tile_rows, arch.tile_columns) != (1, 1):
            fields += _TILE_FIELDS.pack(arch.tile_rows, arch.tile_columns)
    header = _HEADER.pack(
        MAGIC,
        VERSION,
        _MODEL_CODES[arch.model],
        arch.channels,
        model.bit_depth,
        model.width,
        model.height,
        arch.depth,
        arch.width,
        arch.order,
        len(fields),
        len(sections),
    )
    return header + fields + _table(sections)


def _code_head(picture: CodedPicture, sections: Mapping[int, bytes]) -> bytes:
    """The same of a code, which comes first of the sections and is not in their table."""
    arch = picture.architecture
    others = {key: body for key, body in sections.items() if key != SECTION_CODE}
    kinds = (arch.channels == 3) | (picture.bit_depth == 16) << 1 | len(others) << 2
    header = _CODE_HEADER.pack(
        MAGIC,
        VERSION,
        _MODEL_CODES[Model.GENERATIVE],
        arch.generator,
        picture.width - 1,
        picture.height - 1,
        kinds,
    )
    return header + _length_bytes(len(picture.body)) + _table(others)


def _table(sections: Mapping[int, bytes]) -> bytes:
    return b"".join(_SECTION.pack(key, len(body)) for key, body in sections.items())


def _length_bytes(length: int) -> bytes:
    """Seven bits a byte, the lowest first, the highest bit set in all but the last (LEB128)."""
    found = []
    while length > 0x7F:
        found.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes([*found, length])


def _symbol_checks(model: QuantizedModel) -> list[int]:
    if not isinstance(model, QuantizedLatents):
        return []
    checks, start = [], 0
    for tile in tiling_of(model.architecture, model.height, model.width).tiles:
        count = tile.geometry.symbol_count()
        checks += symbol_checks(model.symbols[start : start + count], tile.geometry)
        start += count
    return checks


def read(data: bytes, max_pixels: int = MAX_PIXELS) -> tuple[QuantizedModel, Beside]:
    """Reads back what `write` wrote: the model and what is beside it; see `read_window`."""
    model, beside, _ = read_window(data, None, max_pixels)
    return model, beside


def read_window(
    data: bytes,
    window: Window | None,
    max_pixels: int = MAX_PIXELS,
    finest_level: int = 0,
    losses: list[str] | None = None,
) -> tuple[QuantizedModel, Beside, Window]:
    """Reads a file.

    Args:
        data: The file's bytes.
        window: What is wanted of the picture; None for all. Latents of tiles outside it are not decoded.
        max_pixels: Larger pictures are refused before any memory is spent on them.
        finest_level: Of latents; finer ones are not decoded, and the model is one of a picture 2^finest_level smaller.
        losses: None demands a whole file. A list gets what is missing or damaged, in words, and what is whole is read.

    Returns:
        The model; what is beside it (opacity of the window alone); and the window that the model's samples are of:
        the whole tiles in which the wanted one lies.

    Raises:
        FormatError: The bytes are foreign, truncated, damaged, of a newer version or beyond the limits. With `losses`:
            what no picture can do without is.
    """
    header = read_header(data, max_pixels)
    condition = condition_of(data, header)
    if losses is None:
        condition.refuse_damage()
    else:
        condition.refuse_damaged_header()
        losses += [*condition.of_file, *condition.problems_of(SECTION_CHECKS)]
    alpha, metadata = None, Metadata()
    if SECTION_ALPHA in header.sections:
        with or_lost(losses, "the picture is opaque"):
            body = condition.section(SECTION_ALPHA)
            alpha = read_alpha(body, header.height, header.width, header.bit_depth, window)
    if SECTION_METADATA in header.sections:
        with or_lost(losses, "the picture has none"):
            metadata = unpack_metadata(condition.section(SECTION_METADATA))
    model, covered = _read_main_section(condition, window, finest_level, losses)
    return model, Beside(metadata, alpha, SECTION_RGB in header.sections), covered


def condition_of(data: bytes, header: Header) -> Condition:
    """Whether a file is whole, and what is wrong with it, without decoding it."""
    return examine(data, header, SECTION_CHECKS)


def _write_main_section(model: QuantizedModel) -> bytes:
    if isinstance(model, QuantizedNetwork):
        return write_weights(model)
    if isinstance(model, CodedPicture):
        return model.body
    arch = model.architecture
    if model.body is not None:
        return model.body
    tiling = tiling_of(arch, model.height, model.width)
    context = prior_of(arch.prior).context
    if model.correction is not None:
        context = model.correction.applied(context, tiling.tiles[0].geometry)
    return write_symbols(tiling, model.step, context, model.symbols)


def tiling_of(arch: LatentArchitecture, height: int, width: int) -> Tiling:
    """How a picture of a latent model is cut."""
    return Tiling(height, width, arch.channels, arch.levels, arch.tile_rows, arch.tile_columns)


def _read_main_section(
    condition: Condition, window: Window | None, finest_level: int, losses: list[str] | None
) -> tuple[QuantizedModel, Window]:
    header = condition.header
    arch = header.architecture
    whole = Window(0, 0, header.height, header.width)
    if isinstance(arch, CoordinateArchitecture):
        body = condition.section(SECTION_WEIGHTS)
        return read_weights(body, arch, header.height, header.width, header.bit_depth), whole
    if isinstance(arch, CodeArchitecture):
        body = condition.section(SECTION_CODE)
        return CodedPicture(arch, header.height, header.width, body, header.bit_depth), whole
    tiling = tiling_of(arch, header.height, header.width)
    chosen, correction, context = None, None, prior_of(arch.prior).context
    if SECTION_FILTER in header.sections:
        with or_lost(losses, "the picture goes without this filter"):
            chosen = read_filter(condition.section(SECTION_FILTER), arch.channels)
    if SECTION_CORRECTIONS in header.sections:
        correction = read_correction(condition.section(SECTION_CORRECTIONS), context, tiling.tiles[0].geometry)
        context = correction.applied(context, tiling.tiles[0].geometry)
    body, missing = condition.present(SECTION_LATENTS), condition.missing_bytes(SECTION_LATENTS)
    checks = None if condition.checks is None else condition.checks.symbols
    salvage = Salvage(len(tiling.tiles), arch.channels, "missing" if missing else "damaged")
    read = read_tile if losses is None else salvage.read_tile
    symbols, samples, covered = read_symbols(
        tiling, header.step, context, body, window, finest_level, missing, checks, read
    )
    if losses is not None:
        losses += condition.problems_of(SECTION_LATENTS) + salvage.losses()
    model = QuantizedLatents(
        arch,
        samples.shape[1],
        samples.shape[2],
        header.step,
        header.chroma_angle,
        symbols,
        samples,
        chosen,
        correction,
        header.bit_depth,
    )
    return model, covered


def read_header(data: bytes, max_pixels: int = MAX_PIXELS) -> Header:
    """Reads the header alone, from the whole file or a prefix of it in which the header is whole.

    Raises:
        FormatError: As for `read`, but neither sections nor checksum are looked at.
    """
    if not data:
        msg = "the file is empty"
        raise TruncatedError(msg)
    if not (data.startswith(MAGIC) or MAGIC.startswith(data)):
        msg = f"not a .dfm file: its first bytes are {data[:4]!r}, not {MAGIC!r}; name a file that dfm encode wrote"
        raise BadMagicError(msg)
    if len(data) > len(MAGIC) and data[len(MAGIC)] != VERSION:
        msg = (
            f"format version {data[len(MAGIC)]} (byte {len(MAGIC)}); this program reads version {VERSION}, "
            "update dfmcodec"
        )
        raise UnsupportedVersionError(msg)
    _need(data, _PROLOGUE.size)
    if _MODELS.get(data[_PROLOGUE.size - 1]) is Model.GENERATIVE:
        return _read_code_header(data, max_pixels)
    _need(data, _HEADER.size)
    _, version, code, channels, bit_depth, width, height, depth, net_width, order, extension, count = (
        _HEADER.unpack_from(data)
    )
    model = _MODELS.get(code)
    fields = _LATENT_FIELDS.size if model is Model.LATENT else 0
    tiled = model is Model.LATENT and extension == fields + _TILE_FIELDS.size
    if model is None or bit_depth not in BIT_DEPTHS or (extension != fields and not tiled):
        _refuse_unknown(f"model {code} at {bit_depth} bits (+{extension} bytes)", data)
    _need(data, _HEADER.size + extension)
    step = chroma_angle = 0
    try:
        check_picture_size(height, width, max_pixels)
        if model is Model.LATENT:
            levels, step, chroma_angle, prior = _LATENT_FIELDS.unpack_from(data, _HEADER.size)
            tiles = _TILE_FIELDS.unpack_from(data, _HEADER.size + fields) if tiled else (1, 1)
            for side, number in zip((height, width), tiles, strict=True):
                if number > max(1, side // TILE_GRID):
                    msg = f"{number} tiles along {side} pixels"
                    raise ConfigError(msg)
            architecture: Architecture = LatentArchitecture(channels, levels, depth, net_width, order, prior, *tiles)
            if not step:
                msg = "a step of 0"
                raise ConfigError(msg)
        else:
            architecture = CoordinateArchitecture(channels, depth, net_width, order)
    except DfmError as error:
        kind = CorruptError if isinstance(error, ConfigError) else LimitError
        msg = f"the header is not acceptable: {error}"
        raise kind(msg) from error
    sections, file_bytes = _read_section_table(data, _HEADER.size + extension, count)
    required = _MAIN_SECTION[model]
    if required not in sections:
        msg = f"the file has no {_SECTION_NAMES[required]} section; it is damaged"
        raise CorruptError(msg)
    return Header(version, height, width, bit_depth, architecture, step, chroma_angle, sections, file_bytes)


def _read_code_header(data: bytes, max_pixels: int) -> Header:
    """The header of a code."""
    _need(data, _CODE_HEADER.size)
    _, version, _, generator, width_less_1, height_less_1, kinds = _CODE_HEADER.unpack_from(data)
    height, width = height_less_1 + 1, width_less_1 + 1
    try:
        check_picture_size(height, width, max_pixels)
    except DfmError as error:
        msg = f"the header is not acceptable: {error}"
        raise LimitError(msg) from error
    length, table = _read_length(data, _CODE_HEADER.size)
    architecture = CodeArchitecture(3 if kinds & 1 else 1, generator)
    sections, file_bytes = _read_section_table(data, table, kinds >> 2, length)
    return Header(version, height, width, 16 if kinds & 2 else 8, architecture, 0, 0, sections, file_bytes)


def _read_length(data: bytes, at: int) -> tuple[int, int]:
    """Inverse of `_length_bytes`: the length, and where what follows it starts."""
    length = 0
    for index in range(_MAX_LENGTH_BYTES):
        _need(data, at + index + 1)
        length |= (data[at + index] & 0x7F) << 7 * index
        if data[at + index] < 0x80:
            return length, at + index + 1
    msg = f"the length of the code has more than {_MAX_LENGTH_BYTES} bytes; the file is damaged"
    raise CorruptError(msg)


def _read_section_table(
    data: bytes, table: int, count: int, code_bytes: int | None = None
) -> tuple[dict[int, tuple[int, int]], int]:
    """Where sections are, and where the file ends; a code of so many bytes comes before those of the table."""
    start = table + count * _SECTION.size
    _need(data, start)
    sections: dict[int, tuple[int, int]] = {}
    if code_bytes is not None:
        sections[SECTION_CODE] = (start, code_bytes)
        start += code_bytes
    for entry in range(count):
        key, length = _SECTION.unpack_from(data, table + entry * _SECTION.size)
        if key not in _SECTION_NAMES:
            _refuse_unknown(f"section {key}", data)
        if key in sections:
            msg = f"section {key} stands twice; the file is damaged"
            raise CorruptError(msg)
        sections[key] = (start, length)
        start += length
    return sections, start + CRC.size


def _refuse_unknown(what: str, data: bytes) -> NoReturn:
    is_whole = data[-CRC.size :] == CRC.pack(zlib.crc32(data[: -CRC.size]))
    advice = "update dfmcodec" if is_whole else "update dfmcodec, or get a whole copy: its CRC-32 does not match"
    msg = f"{what} is not known to this program; {advice}"
    raise UnsupportedVersionError(msg)


def _need(data: bytes, size: int) -> None:
    if len(data) < size:
        msg = f"the file ends after {len(data)} bytes, inside its header of {size}; it is truncated, get a whole copy"
        raise TruncatedError(msg)


def checks_file_bytes(sections: int, tiling: Tiling | None) -> int:
    """What checks add to a file of so many other sections, one of them the latents of a tiling if there is one."""
    of_symbols = len(tiling.tiles) * (tiling.levels + 1) if tiling is not None else 0
    return _SECTION.size + checks_bytes(sections, of_symbols)


def sections_file_bytes(sections: Mapping[int, bytes]) -> int:
    """What sections add to a file."""
    return sum(len(body) + _SECTION.size for body in sections.values())


def network_file_bytes(architecture: CoordinateArchitecture) -> int:
    """Size of a coordinate network's file beside its range-coded stream and what is beside the model."""
    return CONTAINER_BYTES[Model.COORDINATE] + side_bytes(architecture)


def latent_file_bytes(tiling: Tiling) -> int:
    """Size of a latent model's file beside its symbols' range-coded streams, filter and what is beside the model."""
    tiles = len(tiling.tiles)
    tables = tiles * tiling.colours
    return CONTAINER_BYTES[Model.LATENT] + tables + (tiles * 4 + _TILE_FIELDS.size if tiles > 1 else 0)


def code_file_bytes(picture: CodedPicture) -> int:
    """Size of a code's file without what is beside the model."""
    return _CODE_HEADER.size + len(_length_bytes(len(picture.body))) + len(picture.body) + CRC.size


def section_file_bytes(body_bytes: float) -> float:
    """What a section adds to a file."""
    return body_bytes + _SECTION.size


def estimate_network_bytes(model: QuantizedNetwork) -> float:
    """Size of a coordinate network's file from the tables' costs, without coding: off by the last word at most."""
    return network_file_bytes(model.architecture) + stream_bits(model) / 8


def pack_metadata(metadata: Metadata) -> bytes:
    """The metadata section: a msgpack map of name -> bytes."""
    packed: bytes = msgpack.packb(metadata.present(), use_bin_type=True)
    if len(packed) > MAX_METADATA_BYTES:
        msg = f"{len(packed)} bytes of metadata, more than {MAX_METADATA_BYTES}; use --strip to drop it"
        raise ConfigError(msg)
    return packed


def unpack_metadata(body: bytes | None) -> Metadata:
    """Inverse of `pack_metadata`.

    Raises:
        CorruptError: The section is not such a map.
        LimitError: The section is too large.
    """
    if body is None:
        return Metadata()
    if len(body) > MAX_METADATA_BYTES:
        msg = f"{len(body)} bytes of metadata, more than the limit of {MAX_METADATA_BYTES}"
        raise LimitError(msg)
    try:
        entries: Any = msgpack.unpackb(body, raw=False, strict_map_key=True)
        if not isinstance(entries, dict) or not all(isinstance(value, bytes) for value in entries.values()):
            raise TypeError
        return Metadata(**entries)
    except (ValueError, TypeError, msgpack.exceptions.UnpackException) as error:
        msg = "the metadata section is not readable; the file is damaged"
        raise CorruptError(msg) from error
