"""The `.dfm` container: QuantizedModel and Metadata <-> bytes. docs/format.md specifies every byte.

magic, version, picture and architecture fields, section table | sections | CRC-32
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Any

import msgpack

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
from dfmcodec.image import MAX_PIXELS, Metadata, check_picture_size
from dfmcodec.latents import Geometry
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
BIT_DEPTH = 8

_HEADER = struct.Struct("<4sBBBBHHBBBBB")
_SECTION = struct.Struct("<BI")
_LATENT_FIELDS = struct.Struct("<BHBI")  # levels, step, chroma angle, prior
_CRC = struct.Struct("<I")

SECTION_WEIGHTS = 1
SECTION_METADATA = 2
SECTION_LATENTS = 3
SECTION_FILTER = 4
SECTION_CORRECTIONS = 5
_SECTION_NAMES = {
    SECTION_WEIGHTS: "weights",
    SECTION_METADATA: "metadata",
    SECTION_LATENTS: "latents",
    SECTION_FILTER: "filter",
    SECTION_CORRECTIONS: "corrections",
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
class Header:
    """What `read_header` knows without decoding anything.

    Args:
        version: Format version.
        height: Height of the picture in pixels.
        width: Width of the picture in pixels.
        bit_depth: Bits per sample.
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
        return self.height * self.width * self.architecture.channels * self.bit_depth // 8

    def section_bytes(self) -> dict[str, int]:
        """Bytes of each part of the file, by name; they add up to the file's size."""
        parts = {_SECTION_NAMES[key]: length for key, (_, length) in self.sections.items()}
        return {"container": self.file_bytes - sum(parts.values()), **parts}


def write(model: QuantizedModel, metadata: Metadata | None = None) -> bytes:
    """Serialises a quantised model and the picture's metadata to the bytes of a `.dfm` file.

    Raises:
        ConfigError: The metadata is larger than the format allows.
    """
    arch = model.architecture
    sections = {_MAIN_SECTION[arch.model]: _write_main_section(model)}
    if isinstance(model, QuantizedLatents) and model.picture_filter is not None:
        sections[SECTION_FILTER] = write_filter(model.picture_filter)
    if isinstance(model, QuantizedLatents) and model.correction is not None:
        sections[SECTION_CORRECTIONS] = write_correction(model.correction)
    if metadata:
        sections[SECTION_METADATA] = pack_metadata(metadata)
    fields = b""
    if isinstance(model, QuantizedLatents) and isinstance(arch, LatentArchitecture):
        fields = _LATENT_FIELDS.pack(arch.levels, model.step, model.chroma_angle, arch.prior)
    header = _HEADER.pack(
        MAGIC,
        VERSION,
        _MODEL_CODES[arch.model],
        arch.channels,
        BIT_DEPTH,
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


def read(data: bytes, max_pixels: int = MAX_PIXELS) -> tuple[QuantizedModel, Metadata]:
    """Reads back what `write` wrote.

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
    return _read_main_section(bodies, header), unpack_metadata(bodies.get(SECTION_METADATA))


def _write_main_section(model: QuantizedModel) -> bytes:
    if isinstance(model, QuantizedNetwork):
        return write_weights(model)
    arch = model.architecture
    geometry = Geometry(model.height, model.width, arch.channels, arch.levels)
    context = prior_of(arch.prior).context
    if model.correction is not None:
        context = model.correction.applied(context, geometry)
    return write_symbols(geometry, model.step, context, model.symbols)


def _read_main_section(bodies: dict[int, bytes], header: Header) -> QuantizedModel:
    arch = header.architecture
    body = bodies[_MAIN_SECTION[arch.model]]
    if isinstance(arch, CoordinateArchitecture):
        return read_weights(body, arch, header.height, header.width)
    geometry = Geometry(header.height, header.width, arch.channels, arch.levels)
    chosen = read_filter(bodies[SECTION_FILTER], arch.channels) if SECTION_FILTER in bodies else None
    context, correction = prior_of(arch.prior).context, None
    if SECTION_CORRECTIONS in bodies:
        correction = read_correction(bodies[SECTION_CORRECTIONS], context, geometry)
        context = correction.applied(context, geometry)
    symbols, samples = read_symbols(geometry, header.step, context, body)
    return QuantizedLatents(
        arch, header.height, header.width, header.step, header.chroma_angle, symbols, samples, chosen, correction
    )


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
    expected = _LATENT_FIELDS.size if model is Model.LATENT else 0
    if model is None or bit_depth != BIT_DEPTH or extension != expected:
        msg = f"model {code} at {bit_depth} bits (+{extension} bytes) is not known to this program, update dfmcodec"
        raise UnsupportedVersionError(msg)
    _need(data, _HEADER.size + expected)
    step = chroma_angle = 0
    try:
        check_picture_size(height, width, max_pixels)
        if model is Model.LATENT:
            levels, step, chroma_angle, prior = _LATENT_FIELDS.unpack_from(data, _HEADER.size)
            architecture: Architecture = LatentArchitecture(channels, levels, depth, net_width, order, prior)
            if not step:
                msg = "a step of 0"
                raise ConfigError(msg)
        else:
            architecture = CoordinateArchitecture(channels, depth, net_width, order)
    except DfmError as error:
        kind = CorruptError if isinstance(error, ConfigError) else LimitError
        msg = f"the header is not acceptable: {error}"
        raise kind(msg) from error
    sections, file_bytes = _read_section_table(data, _HEADER.size + expected, count, _MAIN_SECTION[model])
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


def metadata_section_bytes(metadata_bytes: int) -> int:
    """What a metadata section of so many packed bytes (0: none) adds to a file."""
    return metadata_bytes + _SECTION.size if metadata_bytes else 0


def network_file_bytes(architecture: CoordinateArchitecture, metadata_bytes: int = 0) -> int:
    """Size of a coordinate network's file beside its range-coded stream."""
    container = CONTAINER_BYTES[Model.COORDINATE]
    return container + metadata_section_bytes(metadata_bytes) + side_bytes(architecture)


def latent_file_bytes(channels: int, metadata_bytes: int = 0) -> int:
    """Size of a latent model's file beside its symbols' range-coded stream, without a filter."""
    return CONTAINER_BYTES[Model.LATENT] + metadata_section_bytes(metadata_bytes) + channels


def section_file_bytes(body_bytes: float) -> float:
    """What a section adds to a file."""
    return body_bytes + _SECTION.size


def estimate_network_bytes(model: QuantizedNetwork, metadata_bytes: int = 0) -> float:
    """Size of a coordinate network's file from the tables' costs, without coding: off by the last word at most."""
    return network_file_bytes(model.architecture, metadata_bytes) + stream_bits(model) / 8


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
