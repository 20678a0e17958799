"""The `.dfm` container: QuantizedModel and Metadata <-> bytes. docs/format.md specifies every byte.

magic, version, picture and architecture fields, section table | sections | CRC-32
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

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
from dfmcodec.latents import TILE_GRID, Tiling, Window
from dfmcodec.model import (
    Architecture,
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
from dfmcodec.pyramid_coding import read_symbols, write_symbols

MAGIC = b"\x89DFM"
VERSION = 1

_HEADER = struct.Struct("<4sBBBBHHBBBBB")
_SECTION = struct.Struct("<BI")
_LATENT_FIELDS = struct.Struct("<BHBI")  # levels, step, chroma angle, prior
_TILE_FIELDS = struct.Struct("<BB")  # rows and columns of tiles, where there are several
_CRC = struct.Struct("<I")

SECTION_WEIGHTS = 1
SECTION_METADATA = 2
SECTION_LATENTS = 3
SECTION_FILTER = 4
SECTION_CORRECTIONS = 5
SECTION_ALPHA = 6
SECTION_RGB = 7
_SECTION_NAMES = {
    SECTION_WEIGHTS: "weights",
    SECTION_METADATA: "metadata",
    SECTION_LATENTS: "latents",
    SECTION_FILTER: "filter",
    SECTION_CORRECTIONS: "corrections",
    SECTION_ALPHA: "alpha",
    SECTION_RGB: "rgb",
}
_MODEL_CODES = {Model.COORDINATE: 0, Model.LATENT: 1}
_MAIN_SECTION = {Model.COORDINATE: SECTION_WEIGHTS, Model.LATENT: SECTION_LATENTS}
_MODELS = {code: model for model, code in _MODEL_CODES.items()}

MAX_METADATA_BYTES = 1 << 24

# What a file costs beside its sections: header, one section entry, checksum.
CONTAINER_BYTES = {
    Model.COORDINATE: _HEADER.size + _SECTION.size + _CRC.size,
    Model.LATENT: _HEADER.size + _LATENT_FIELDS.size + _SECTION.size + _CRC.size,
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

    def section_bytes(self) -> dict[str, int]:
        """Bytes of each part of the file, by name; they add up to the file's size."""
        parts = {_SECTION_NAMES[key]: length for key, (_, length) in self.sections.items()}
        return {"container": self.file_bytes - sum(parts.values()), **parts}


def write(model: QuantizedModel, beside: Mapping[int, bytes] | None = None) -> bytes:
    """Serialises a quantised model to the bytes of a `.dfm` file.

    Args:
        model: The model.
        beside: Further sections, as of `Beside.sections`.
    """
    arch = model.architecture
    sections = {_MAIN_SECTION[arch.model]: _write_main_section(model)}
    if isinstance(model, QuantizedLatents) and model.picture_filter is not None:
        sections[SECTION_FILTER] = write_filter(model.picture_filter)
    if isinstance(model, QuantizedLatents) and model.correction is not None:
        sections[SECTION_CORRECTIONS] = write_correction(model.correction)
    sections |= beside or {}
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
    table = fields + b"".join(_SECTION.pack(key, len(body)) for key, body in sections.items())
    content = header + table + b"".join(sections.values())
    return content + _CRC.pack(zlib.crc32(content))


def read(data: bytes, max_pixels: int = MAX_PIXELS) -> tuple[QuantizedModel, Beside]:
    """Reads back what `write` wrote: the model and what is beside it; see `read_window`."""
    model, beside, _ = read_window(data, None, max_pixels)
    return model, beside


def read_window(
    data: bytes, window: Window | None, max_pixels: int = MAX_PIXELS, finest_level: int = 0
) -> tuple[QuantizedModel, Beside, Window]:
    """Reads a file.

    Args:
        data: The file's bytes.
        window: What is wanted of the picture; None for all. Latents of tiles outside it are not decoded.
        max_pixels: Larger pictures are refused before any memory is spent on them.
        finest_level: Of latents; finer ones are not decoded, and the model is one of a picture 2^finest_level smaller.

    Returns:
        The model; what is beside it (opacity of the window alone); and the window that the model's samples are of:
        the whole tiles in which the wanted one lies.

    Raises:
        FormatError: The bytes are foreign, truncated, damaged, of a newer version or beyond the limits.
    """
    header = read_header(data, max_pixels)
    if len(data) < header.file_bytes:
        msg = f"the file has {len(data)} bytes of {header.file_bytes}; it is truncated, get a whole copy"
        raise TruncatedError(msg)
    if len(data) > header.file_bytes:
        msg = f"{len(data) - header.file_bytes} bytes follow the end of the file at {header.file_bytes}; it is damaged"
        raise CorruptError(msg)
    content, stored = data[: -_CRC.size], _CRC.unpack(data[-_CRC.size :])[0]
    if zlib.crc32(content) != stored:
        msg = "the checksum does not match; the file is damaged, get another copy"
        raise CorruptError(msg)
    bodies = {key: data[start : start + length] for key, (start, length) in header.sections.items()}
    alpha = None
    if SECTION_ALPHA in bodies:
        alpha = read_alpha(bodies[SECTION_ALPHA], header.height, header.width, header.bit_depth, window)
    beside = Beside(unpack_metadata(bodies.get(SECTION_METADATA)), alpha, SECTION_RGB in bodies)
    model, covered = _read_main_section(bodies, header, window, finest_level)
    return model, beside, covered


def _write_main_section(model: QuantizedModel) -> bytes:
    if isinstance(model, QuantizedNetwork):
        return write_weights(model)
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
    bodies: dict[int, bytes], header: Header, window: Window | None, finest_level: int
) -> tuple[QuantizedModel, Window]:
    arch = header.architecture
    body = bodies[_MAIN_SECTION[arch.model]]
    if isinstance(arch, CoordinateArchitecture):
        weights = read_weights(body, arch, header.height, header.width, header.bit_depth)
        return weights, Window(0, 0, header.height, header.width)
    tiling = tiling_of(arch, header.height, header.width)
    chosen = read_filter(bodies[SECTION_FILTER], arch.channels) if SECTION_FILTER in bodies else None
    context, correction = prior_of(arch.prior).context, None
    if SECTION_CORRECTIONS in bodies:
        correction = read_correction(bodies[SECTION_CORRECTIONS], context, tiling.tiles[0].geometry)
        context = correction.applied(context, tiling.tiles[0].geometry)
    symbols, samples, covered = read_symbols(tiling, header.step, context, body, window, finest_level)
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
    """Reads the header alone, from the whole file or a prefix of it of at least `header_bytes`.

    Raises:
        FormatError: As for `read`, but neither sections nor checksum are looked at.
    """
    if not data:
        msg = "the file is empty"
        raise TruncatedError(msg)
    if not (data.startswith(MAGIC) or MAGIC.startswith(data)):
        msg = f"not a .dfm file: it starts with {data[:4]!r}, not {MAGIC!r}"
        raise BadMagicError(msg)
    if len(data) > len(MAGIC) and data[len(MAGIC)] != VERSION:
        msg = f"format version {data[len(MAGIC)]}; this program reads version {VERSION}, update dfmcodec"
        raise UnsupportedVersionError(msg)
    _need(data, _HEADER.size)
    _, version, code, channels, bit_depth, width, height, depth, net_width, order, extension, count = (
        _HEADER.unpack_from(data)
    )
    model = _MODELS.get(code)
    fields = _LATENT_FIELDS.size if model is Model.LATENT else 0
    tiled = model is Model.LATENT and extension == fields + _TILE_FIELDS.size
    if model is None or bit_depth not in BIT_DEPTHS or (extension != fields and not tiled):
        msg = f"model {code} at {bit_depth} bits (+{extension} bytes) is not known to this program, update dfmcodec"
        raise UnsupportedVersionError(msg)
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
    sections, file_bytes = _read_section_table(data, _HEADER.size + extension, count, _MAIN_SECTION[model])
    return Header(version, height, width, bit_depth, architecture, step, chroma_angle, sections, file_bytes)


def _read_section_table(data: bytes, table: int, count: int, required: int) -> tuple[dict[int, tuple[int, int]], int]:
    start = table + count * _SECTION.size
    _need(data, start)
    sections: dict[int, tuple[int, int]] = {}
    for entry in range(count):
        key, length = _SECTION.unpack_from(data, table + entry * _SECTION.size)
        if key not in _SECTION_NAMES:
            msg = f"section {key} is not known to this program, update dfmcodec"
            raise UnsupportedVersionError(msg)
        if key in sections:
            msg = f"section {key} stands twice; the file is damaged"
            raise CorruptError(msg)
        sections[key] = (start, length)
        start += length
    if required not in sections:
        msg = f"the file has no {_SECTION_NAMES[required]} section; it is damaged"
        raise CorruptError(msg)
    return sections, start + _CRC.size


def _need(data: bytes, size: int) -> None:
    if len(data) < size:
        msg = f"the file ends after {len(data)} bytes, inside its header of {size}; it is truncated"
        raise TruncatedError(msg)


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
