"""The `.dfm` container: QuantizedModel and Metadata <-> bytes. docs/format.md specifies every byte.

magic, version, picture and architecture fields, section table | sections | CRC-32
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgpack
import numpy as np
import numpy.typing as npt

from dfmcodec.entropy import (
    LAPLACE_COUNT,
    SymbolDecoder,
    SymbolEncoder,
    best_laplace_index,
    laplace_cost_bits,
)
from dfmcodec.errors import (
    BadMagicError,
    ConfigError,
    CorruptError,
    DfmError,
    LimitError,
    TruncatedError,
    UnsupportedVersionError,
)
from dfmcodec.fourier import ones_per_weight
from dfmcodec.image import MAX_PIXELS, Metadata, check_picture_size
from dfmcodec.model import Architecture, Model, QuantizedModel

MAGIC = b"\x89DFM"
VERSION = 1
BIT_DEPTH = 8

_HEADER = struct.Struct("<4sBBBBHHBBBBB")
_SECTION = struct.Struct("<BI")
_CRC = struct.Struct("<I")

SECTION_WEIGHTS = 1
SECTION_METADATA = 2
_SECTION_NAMES = {SECTION_WEIGHTS: "weights", SECTION_METADATA: "metadata"}
_MODEL_CODES = {Model.COORDINATE: 0}
_MODELS = {code: model for model, code in _MODEL_CODES.items()}

MAX_METADATA_BYTES = 1 << 24

# What a file costs beside its sections: header, one section entry, checksum.
CONTAINER_BYTES = _HEADER.size + _SECTION.size + _CRC.size


@dataclass(frozen=True)
class Header:
    """What `read_header` knows without decoding anything.

    Args:
        version: Format version.
        height: Height of the picture in pixels.
        width: Width of the picture in pixels.
        bit_depth: Bits per sample.
        architecture: The network.
        sections: Section id -> (offset, length) in the file.
        file_bytes: Length of the file as the header declares it.
    """

    version: int
    height: int
    width: int
    bit_depth: int
    architecture: Architecture
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
    sections = {SECTION_WEIGHTS: _write_weights(model)}
    if metadata:
        sections[SECTION_METADATA] = pack_metadata(metadata)
    arch = model.architecture
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
        0,
        len(sections),
    )
    table = b"".join(_SECTION.pack(key, len(body)) for key, body in sections.items())
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
    model = _read_weights(bodies[SECTION_WEIGHTS], header)
    return model, unpack_metadata(bodies.get(SECTION_METADATA))


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
    if code not in _MODELS or bit_depth != BIT_DEPTH or extension:
        msg = f"model {code} at {bit_depth} bits is not known to this program, update dfmcodec"
        raise UnsupportedVersionError(msg)
    try:
        check_picture_size(height, width, max_pixels)
        architecture = Architecture(_MODELS[code], channels, depth, net_width, order)
    except DfmError as error:
        kind = CorruptError if isinstance(error, ConfigError) else LimitError
        msg = f"the header is not acceptable: {error}"
        raise kind(msg) from error
    sections, file_bytes = _read_section_table(data, count)
    return Header(version, height, width, bit_depth, architecture, sections, file_bytes)


def _read_section_table(data: bytes, count: int) -> tuple[dict[int, tuple[int, int]], int]:
    start = _HEADER.size + count * _SECTION.size
    _need(data, start)
    sections: dict[int, tuple[int, int]] = {}
    for entry in range(count):
        key, length = _SECTION.unpack_from(data, _HEADER.size + entry * _SECTION.size)
        if key not in _SECTION_NAMES:
            msg = f"section {key} is not known to this program, update dfmcodec"
            raise UnsupportedVersionError(msg)
        if key in sections:
            msg = f"section {key} stands twice; the file is damaged"
            raise CorruptError(msg)
        sections[key] = (start, length)
        start += length
    if SECTION_WEIGHTS not in sections:
        msg = "the file has no weights section; it is damaged"
        raise CorruptError(msg)
    return sections, start + _CRC.size


def _need(data: bytes, size: int) -> None:
    if len(data) < size:
        msg = f"the file ends after {len(data)} bytes, inside its header of {size}; it is truncated"
        raise TruncatedError(msg)


def coding_groups(architecture: Architecture) -> Iterator[tuple[slice, list[npt.NDArray[np.int64]]]]:
    """The weights that share a probability table: in each layer those of equal |k|_1.

    Yields:
        For each layer its slice of the symbols, and for each |k|_1 = 0..order the positions in that slice.
    """
    start = 0
    for layer in architecture.layers():
        ones = ones_per_weight(layer)
        groups = [np.flatnonzero(ones == level) for level in range(layer.order + 1)]
        yield slice(start, start + layer.weight_count), groups
        start += layer.weight_count


def side_bytes(architecture: Architecture) -> int:
    """Bytes of the weights section before its range-coded stream."""
    return sum(1 + layer.order + 1 for layer in architecture.layers())


def estimate_bytes(model: QuantizedModel, metadata_bytes: int = 0) -> float:
    """Size of the file from the tables' costs, without coding: off by the coder's last word at most."""
    bits = 0.0
    for part, groups in coding_groups(model.architecture):
        for group in groups:
            symbols = model.symbols[part][group]
            bits += float(laplace_cost_bits(symbols, best_laplace_index(symbols)).sum())
    return empty_file_bytes(model.architecture, metadata_bytes) + bits / 8


def metadata_section_bytes(metadata_bytes: int) -> int:
    """What a metadata section of so many packed bytes (0: none) adds to a file."""
    return metadata_bytes + _SECTION.size if metadata_bytes else 0


def empty_file_bytes(architecture: Architecture, metadata_bytes: int = 0) -> int:
    """Size of a file beside its range-coded stream."""
    return CONTAINER_BYTES + metadata_section_bytes(metadata_bytes) + side_bytes(architecture)


def _write_weights(model: QuantizedModel) -> bytes:
    side = bytearray()
    encoder = SymbolEncoder()
    for step_index, (part, groups) in zip(model.step_indices, coding_groups(model.architecture), strict=True):
        side.append(step_index)
        for group in groups:
            symbols = model.symbols[part][group]
            index = best_laplace_index(symbols)
            side.append(index)
            encoder.encode_laplace(symbols, index)
    return bytes(side) + encoder.to_bytes()


def _read_weights(body: bytes, header: Header) -> QuantizedModel:
    arch = header.architecture
    size = side_bytes(arch)
    if len(body) < size:
        msg = f"the weights section has {len(body)} bytes, fewer than the {size} of its tables; the file is damaged"
        raise CorruptError(msg)
    side = iter(body[:size])
    decoder = SymbolDecoder(body[size:])
    symbols = np.zeros(arch.weight_count, dtype=np.int32)
    steps = []
    for part, groups in coding_groups(arch):
        steps.append(next(side))
        layer = symbols[part]
        for group in groups:
            index = next(side)
            if index >= LAPLACE_COUNT:
                msg = f"probability table {index} does not exist; the file is damaged"
                raise CorruptError(msg)
            layer[group] = decoder.decode_laplace(group.size, index)
    return QuantizedModel(arch, header.height, header.width, symbols, tuple(steps))


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
