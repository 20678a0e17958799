"""A trained generative model, and its file: `.dfmg`.

    offset  bytes
    0       5      magic 89 44 46 4D 47 (\x89DFMG)
    5       1      format version, 1
    6       4      length n of the head
    10      n      head, msgpack: architecture, report, and the name and shape of each array
    10 + n         the arrays, float16, little-endian, one after another
    end - 4 4      CRC-32 of all bytes before it: the id of the model

A model is always used with the values of its file: trained parameters are rounded to float16 before
any measurement.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

import msgpack
import numpy as np

from dfmcodec._types import Float32, Float64, Pixels, UInt8
from dfmcodec.codecs.generative.density import CodeDensity
from dfmcodec.codecs.generative.network import (
    GenerativeArchitecture,
    checked_network,
    encode_images,
    exact_cos_sin,
    first_features,
    inputs_at,
    network_shapes,
    paint,
)
from dfmcodec.errors import BadMagicError, ConfigError, CorruptError, TruncatedError, UnsupportedVersionError
from dfmcodec.files.names import printable
from dfmcodec.image import samples_to_values

EXTENSION = ".dfmg"
MAGIC = b"\x89DFMG"
VERSION = 1
MAX_MODEL_BYTES = 1 << 28
MAX_COMPONENTS = 1 << 10
_MAX_HEAD_BYTES = 1 << 20  # unpacked, a head takes up to 70 times its size
_HEAD = struct.Struct("<5sBI")
_CRC = struct.Struct("<I")
_DENSITY = ("weights", "means", "axes", "deviations")
_BLOCK_POSITIONS = 1 << 16  # maximum positions of all images that are rendered at a time
_BLOCK_FLOATS = 1 << 24  # maximum intermediate values and coefficients of a block, which limits memory
_MAX_ENTRIES = 128  # of a map or list in the head, such as the list of arrays
_MAX_TEXT = 1024  # characters of a string in the head
_MAX_REPORT_DEPTH = 3  # of maps and lists in the report


@dataclass(frozen=True, eq=False)
class GenerativeModel:
    """A trained generative model."""

    architecture: GenerativeArchitecture
    parameters: Mapping[str, Float32]  # of the networks, float32, by the names of `network.network_shapes`
    density: CodeDensity  # of the training images' codes
    report: Mapping[str, Any] = field(default_factory=dict)  # of the training: recipe, seed, data, steps, seconds
    source: bytes | None = field(default=None, repr=False)  # the bytes of the model's file, if read

    @property
    def has_encoder(self) -> bool:
        """Indicates whether the model has an encoder network."""
        return "encoder_w0" in self.parameters

    @cached_property
    def file_bytes(self) -> bytes:
        """Returns the bytes of the model's file."""
        if self.source is not None:
            return self.source
        arrays = dict(sorted(self.parameters.items()))
        arrays |= {f"density_{name}": getattr(self.density, name) for name in _DENSITY}
        head = {
            "architecture": asdict(self.architecture),
            "report": dict(self.report),
            "arrays": [[name, list(array.shape)] for name, array in arrays.items()],
        }
        packed = msgpack.packb(head)
        body = b"".join(array.astype("<f2").tobytes() for array in arrays.values())
        content = _HEAD.pack(MAGIC, VERSION, len(packed)) + packed + body
        file: bytes = content + _CRC.pack(zlib.crc32(content))
        return file

    @property
    def id(self) -> int:
        """Returns the id by which files refer to the model: the CRC-32 of its own file."""
        return int(_CRC.unpack(self.file_bytes[-_CRC.size :])[0])

    def rounded(self) -> GenerativeModel:
        """Returns the model with the values of its file, rounded to float16."""
        return read_model(self.file_bytes)

    def coefficients(self, codes: Float32) -> Float32:
        """Computes the coefficients of codes, float32 [N, code_dim]: float32 [N,
        coefficient_count].

        Raises:
            CorruptError: See `network.checked_network`.
        """
        return checked_network(self.parameters_of("decoder"), "decoder", codes.astype(np.float32))

    def paint(self, codes: Float32, height: int | None = None, width: int | None = None) -> UInt8:
        """Renders the images of codes, float32 [N, code_dim]: uint8 [N, height, width, channels].

        The default size is that of the training images.
        """
        height, width = height or self.architecture.height, width or self.architecture.width
        return self.paint_at(codes, np.arange(height) / height, np.arange(width) / width)

    def paint_at(self, codes: Float32, x2: Float64, x1: Float64, bit_depth: int = 8) -> Pixels:
        """Renders the images of codes, float32 [N, code_dim], at a grid of vertical and horizontal
        positions, float64 [R] and [C]; the image spans [0, 1). Returns uint8 or uint16 [N, R, C,
        channels]. Raises CorruptError as in `network.checked_network`.
        """
        arch = self.architecture
        images = np.empty((len(codes), len(x2), len(x1), arch.channels), np.uint8 if bit_depth == 8 else np.uint16)
        together = max(1, _BLOCK_FLOATS // arch.coefficient_count)
        for start in range(0, len(codes), together):
            coefficients = self.coefficients(codes[start : start + together])
            self._paint_blocks(coefficients, x2, x1, bit_depth, images[start : start + together])
        return images

    def _paint_blocks(self, coefficients: Float32, x2: Float64, x1: Float64, bit_depth: int, images: Pixels) -> None:
        """Renders the images of coefficients into an array, in blocks that bound the memory."""
        arch = self.architecture
        positions = max(1, min(_BLOCK_POSITIONS, _BLOCK_FLOATS // arch.floats_per_position))
        columns = min(len(x1), positions)
        rows = min(len(x2), positions // columns)
        batch = positions // (rows * columns)
        for top, left in product(range(0, len(x2), rows), range(0, len(x1), columns)):
            block_x2, block_x1 = x2[top : top + rows], x1[left : left + columns]
            v = inputs_at(block_x2, block_x1, arch.octaves)
            first = first_features(v, arch, np, exact_cos_sin)
            for start in range(0, len(coefficients), batch):
                painted = paint(coefficients[start : start + batch], first, v, arch, np, exact_cos_sin)
                values = samples_to_values(painted, bit_depth)
                shaped = values.reshape(len(values), arch.channels, len(block_x2), len(block_x1))
                target = images[start : start + batch, top : top + rows, left : left + columns]
                target[...] = shaped.transpose(0, 2, 3, 1)

    def encode(self, images: UInt8) -> Float32:
        """Computes the codes of images, uint8 [N, H, W, C], with the encoder network: float32 [N,
        code_dim]. Raises ConfigError if the model has no encoder network.
        """
        if not self.has_encoder:
            msg = "the model has no encoder network, because it was trained with a table of codes"
            raise ConfigError(msg)
        return encode_images(self.parameters, images)

    def parameters_of(self, prefix: str) -> dict[str, Float32]:
        """Returns the parameters of one network, "decoder" or "encoder"."""
        return {name: value for name, value in self.parameters.items() if name.startswith(prefix)}


def read_model_file(path: Path) -> GenerativeModel:
    """Reads a `.dfmg` file. Raises DfmError if the file cannot be read, and FormatError if the file
    is not a generative model, is too large, damaged or truncated, or has a newer version. The
    message names the file.
    """
    from dfmcodec.files.atomic import read_at_most

    data = read_at_most(path, MAX_MODEL_BYTES)
    try:
        return read_model(data)
    except (BadMagicError, CorruptError, TruncatedError, UnsupportedVersionError) as error:
        msg = f"{path}: {error}"
        raise type(error)(msg) from error


def read_model(data: bytes) -> GenerativeModel:
    """Reads the bytes of a `.dfmg` file. Raises FormatError if the bytes are not a generative
    model, are damaged or truncated, or have a newer version.
    """
    start, end = _check_container(data)
    try:
        head = msgpack.unpackb(
            data[_HEAD.size : start],
            max_str_len=4 * _MAX_TEXT,
            max_bin_len=0,
            max_ext_len=0,
            max_array_len=_MAX_ENTRIES,
            max_map_len=_MAX_ENTRIES,
        )
        values = head["architecture"]
        values |= {"hidden": tuple(values["hidden"]), "octaves": tuple(values["octaves"])}
        architecture = GenerativeArchitecture(**values)
        arrays = _read_arrays(data, head["arrays"], start, end)
        density = CodeDensity(*(arrays.pop(f"density_{name}") for name in _DENSITY))
        _check_shapes(architecture, arrays, density)
        if not (isinstance(head["report"], dict) and _is_plain(head["report"], _MAX_REPORT_DEPTH)):
            msg = "the report is not a map of plain values"
            raise ValueError(msg)
        return GenerativeModel(architecture, arrays, density, head["report"], data)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, msgpack.UnpackException) as error:
        what = printable(str(error))
        msg = f"the generative model's head and arrays do not agree ({what}); it is damaged, get another copy"
        raise CorruptError(msg) from error


def _check_container(data: bytes) -> tuple[int, int]:
    """Checks a file except for head and arrays; returns where the arrays start and end."""
    if not data.startswith(MAGIC):
        msg = f"not a generative model (.dfmg): it starts with {data[:5]!r}, not {MAGIC!r}"
        raise BadMagicError(msg)
    if len(data) > len(MAGIC) and data[len(MAGIC)] != VERSION:
        version = data[len(MAGIC)]
        msg = f"the generative model has version {version}; this program reads version {VERSION}, update dfmcodec"
        raise UnsupportedVersionError(msg)
    if len(data) < _HEAD.size + _CRC.size:
        msg = f"the generative model has {len(data)} bytes; it is truncated, get an intact copy"
        raise TruncatedError(msg)
    if len(data) > MAX_MODEL_BYTES:
        msg = f"the generative model has {len(data)} bytes, more than the limit of {MAX_MODEL_BYTES}"
        raise CorruptError(msg)
    if zlib.crc32(data[: -_CRC.size]) != _CRC.unpack(data[-_CRC.size :])[0]:
        msg = "the generative model's checksum does not match; it is damaged or truncated, get another copy"
        raise CorruptError(msg)
    _, _, head_bytes = _HEAD.unpack_from(data)
    start, end = _HEAD.size + head_bytes, len(data) - _CRC.size
    if start > end or head_bytes > _MAX_HEAD_BYTES:
        msg = f"the generative model's head has {head_bytes} bytes; it is damaged, get another copy"
        raise CorruptError(msg)
    return start, end


def _read_arrays(data: bytes, listed: Any, start: int, end: int) -> dict[str, Float32]:
    """Reads the listed arrays of a `.dfmg` file, which fill the bytes from start to end, float32.
    Raises ValueError if the shapes do not match the bytes.
    """
    arrays = {}
    for name, shape in listed:
        size = int(np.prod([int(side) for side in shape], dtype=object)) * 2
        if not 0 <= size <= end - start or name in arrays:
            msg = f"array {name} of {shape}"
            raise ValueError(msg)
        array = np.frombuffer(data, "<f2", size // 2, start).astype(np.float32).reshape(shape)
        arrays[name], start = array, start + size
    if start != end:
        msg = f"{end - start} bytes too many"
        raise ValueError(msg)
    return arrays


def _is_plain(value: Any, depth: int) -> bool:
    """Indicates whether a value is a JSON value with a limited depth of nested maps and lists."""
    if isinstance(value, dict):
        return _is_plain([*value, *value.values()], depth)
    if isinstance(value, list):
        return depth > 0 and all(_is_plain(entry, depth - 1) for entry in value)
    return isinstance(value, int | float | None) or (isinstance(value, str) and len(value) <= _MAX_TEXT)


def _check_shapes(architecture: GenerativeArchitecture, arrays: Mapping[str, Float32], density: CodeDensity) -> None:
    """Raises ValueError for arrays that do not fit the architecture, and for invalid values."""
    expected = network_shapes("decoder", architecture.decoder_sizes())
    if "encoder_w0" in arrays:
        expected |= network_shapes("encoder", architecture.encoder_sizes())
    components, dim = len(density.weights), architecture.code_dim
    shapes = {name: array.shape for name, array in arrays.items()}
    density_shapes = [getattr(density, name).shape for name in _DENSITY]
    if shapes != expected or not 1 <= components <= MAX_COMPONENTS:
        msg = "the networks have another shape"
        raise ValueError(msg)
    if density_shapes != [(components,), (components, dim), (components, dim, dim), (components, dim)]:
        msg = "the density has another shape"
        raise ValueError(msg)
    if not all(np.isfinite(array).all() for array in [*arrays.values(), *(getattr(density, n) for n in _DENSITY)]):
        msg = "a value is NaN or infinite"
        raise ValueError(msg)
    if (density.weights < 0).any() or not density.weights.any() or (density.deviations <= 0).any():
        msg = "the density has invalid weights or deviations"
        raise ValueError(msg)
