"""A trained generative model, and its file: `.dfmg`.

    offset  bytes
    0       5      magic 89 44 46 4D 47 (\\x89DFMG)
    5       1      format version, 1
    6       4      length n of the head
    10      n      head, msgpack: architecture, report, and the name and shape of each array
    10 + n         the arrays, float16, little-endian, one after another
    end - 4 4      CRC-32 of all before it: the model's id

A model is used as its file has it: what is trained is rounded to float16 before anything is measured.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import numpy.typing as npt

from dfmcodec.errors import BadMagicError, ConfigError, CorruptError, TruncatedError, UnsupportedVersionError
from dfmcodec.generative.density import CodeDensity
from dfmcodec.generative.painting import (
    Float32,
    GenerativeArchitecture,
    encode_pictures,
    exact_cos_sin,
    first_features,
    inputs_at,
    network,
    network_shapes,
    paint,
)
from dfmcodec.image import Pixels, samples_to_values

EXTENSION = ".dfmg"
MAGIC = b"\x89DFMG"
VERSION = 1
MAX_MODEL_BYTES = 1 << 28
MAX_COMPONENTS = 1 << 10
_MAX_HEAD_BYTES = 1 << 20  # what it is unpacked to takes up to 70 times as many
_HEAD = struct.Struct("<5sBI")
_CRC = struct.Struct("<I")
_DENSITY = ("weights", "means", "axes", "deviations")
_PAINTED_POSITIONS = 1 << 16  # of all pictures that are painted at a time: bounds memory

UInt8 = npt.NDArray[np.uint8]
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class GenerativeModel:
    """A trained model.

    Args:
        architecture: Its shape.
        parameters: Of the decoder, and of the encoder where there is one, by the names of `painting.network_shapes`.
        density: Of the training pictures' codes.
        report: How it was trained: recipe, seed, data, steps, seconds.
        source: The file that it was read from, if it was.
    """

    architecture: GenerativeArchitecture
    parameters: Mapping[str, Float32]
    density: CodeDensity
    report: Mapping[str, Any] = field(default_factory=dict)
    source: bytes | None = field(default=None, repr=False, compare=False)

    @property
    def has_encoder(self) -> bool:
        return "encoder_w0" in self.parameters

    @cached_property
    def file_bytes(self) -> bytes:
        """The model's file."""
        if self.source is not None:
            return self.source
        arrays = self._arrays()
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
        """What files that were coded under it name it by."""
        return int(_CRC.unpack(self.file_bytes[-_CRC.size :])[0])

    def rounded(self) -> GenerativeModel:
        """The model as its file has it."""
        return read_model(self.file_bytes)

    def _arrays(self) -> dict[str, Float32]:
        found = dict(sorted(self.parameters.items()))
        return found | {f"density_{name}": getattr(self.density, name) for name in _DENSITY}

    def coefficients(self, codes: Float32) -> Float32:
        """Of the machines that paint codes float32 [N, code_dim]: float32 [N, coefficient_count]."""
        found: Float32 = network(self.parameters_of("decoder"), "decoder", codes.astype(np.float32), np)
        return found

    def paint(self, codes: Float32, height: int | None = None, width: int | None = None) -> UInt8:
        """Paints codes.

        Args:
            codes: float32 [N, code_dim].
            height: Of the pictures; the training pictures' if None.
            width: The same.

        Returns:
            uint8 [N, height, width, channels].
        """
        height, width = height or self.architecture.height, width or self.architecture.width
        return self.paint_at(codes, np.arange(height) / height, np.arange(width) / width)

    def paint_at(self, codes: Float32, x2: Float64, x1: Float64, bit_depth: int = 8) -> Pixels:
        """Paints codes at a grid of positions.

        Args:
            codes: float32 [N, code_dim].
            x2: Vertical positions, float [R]; the picture spans [0, 1).
            x1: Horizontal positions, float [C].
            bit_depth: Of the samples.

        Returns:
            uint8 or uint16 [N, R, C, channels].
        """
        arch = self.architecture
        pictures = np.empty((len(codes), len(x2), len(x1), arch.channels), np.uint8 if bit_depth == 8 else np.uint16)
        rows = max(1, min(len(x2), _PAINTED_POSITIONS // len(x1)))
        batch = max(1, _PAINTED_POSITIONS // (rows * len(x1)))
        for top in range(0, len(x2), rows):
            v = inputs_at(x2[top : top + rows], x1, arch.octaves)
            first = first_features(v, arch, np, exact_cos_sin)
            for start in range(0, len(codes), batch):
                coefficients = self.coefficients(codes[start : start + batch])
                values = samples_to_values(paint(coefficients, first, v, arch, np, exact_cos_sin), bit_depth)
                shaped = values.reshape(len(values), arch.channels, -1, len(x1)).transpose(0, 2, 3, 1)
                pictures[start : start + batch, top : top + rows] = shaped
        return pictures

    def encode(self, pictures: UInt8) -> Float32:
        """The encoder's codes of uint8 [N, H, W, C], float32 [N, code_dim].

        Raises:
            ConfigError: The model has no encoder.
        """
        if not self.has_encoder:
            msg = "the model was trained with a table of codes and has no encoder"
            raise ConfigError(msg)
        return encode_pictures(self.parameters, pictures)

    def parameters_of(self, prefix: str) -> dict[str, Float32]:
        """Of one network, "decoder" or "encoder"."""
        return {name: value for name, value in self.parameters.items() if name.startswith(prefix)}


def read_model_file(path: Path) -> GenerativeModel:
    """Reads a `.dfmg` file.

    Raises:
        DfmError: It cannot be read.
        FormatError: It is not one, or damaged, or of a newer version; the message names the file.
    """
    from dfmcodec.io import read_file

    data = read_file(path)
    try:
        return read_model(data)
    except (BadMagicError, CorruptError, TruncatedError, UnsupportedVersionError) as error:
        msg = f"{path}: {error}"
        raise type(error)(msg) from error


def read_model(data: bytes) -> GenerativeModel:
    """Reads the bytes of a `.dfmg` file.

    Raises:
        FormatError: It is not one, or damaged, or of a newer version.
    """
    if not data.startswith(MAGIC):
        msg = f"not a generative model (.dfmg): it starts with {data[:5]!r}, not {MAGIC!r}"
        raise BadMagicError(msg)
    if len(data) > len(MAGIC) and data[len(MAGIC)] != VERSION:
        msg = f"a generative model of version {data[len(MAGIC)]}; this program reads version {VERSION}, update dfmcodec"
        raise UnsupportedVersionError(msg)
    if len(data) < _HEAD.size + _CRC.size:
        msg = f"the generative model has {len(data)} bytes; it is truncated, get a whole copy"
        raise TruncatedError(msg)
    if len(data) > MAX_MODEL_BYTES:
        msg = f"a generative model of {len(data)} bytes; at most {MAX_MODEL_BYTES} are read"
        raise CorruptError(msg)
    if zlib.crc32(data[: -_CRC.size]) != _CRC.unpack(data[-_CRC.size :])[0]:
        msg = "the generative model's checksum does not match; it is damaged or truncated, get another copy"
        raise CorruptError(msg)
    _, _, head_bytes = _HEAD.unpack_from(data)
    start, end = _HEAD.size + head_bytes, len(data) - _CRC.size
    if start > end or head_bytes > _MAX_HEAD_BYTES:
        msg = f"the generative model's head has {head_bytes} bytes; it is damaged, get another copy"
        raise CorruptError(msg)
    try:
        head = msgpack.unpackb(data[_HEAD.size : start], max_str_len=1 << 16)
        values = head["architecture"]
        values |= {"hidden": tuple(values["hidden"]), "octaves": tuple(values["octaves"])}
        architecture = GenerativeArchitecture(**values)
        arrays = {}
        for name, shape in head["arrays"]:
            size = int(np.prod([int(side) for side in shape], dtype=object)) * 2
            if not 0 <= size <= end - start:
                msg = f"array {name} of {shape}"
                raise ValueError(msg)
            array = np.frombuffer(data, "<f2", size // 2, start).astype(np.float32).reshape(shape)
            arrays[name], start = array, start + size
        if start != end:
            msg = f"{end - start} bytes too many"
            raise ValueError(msg)
        density = CodeDensity(*(arrays.pop(f"density_{name}") for name in _DENSITY))
        _check_shapes(architecture, arrays, density)
        return GenerativeModel(architecture, arrays, density, head["report"], data)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, msgpack.UnpackException) as error:
        msg = f"the generative model's head and arrays do not agree ({error}); it is damaged, get another copy"
        raise CorruptError(msg) from error


def _check_shapes(architecture: GenerativeArchitecture, arrays: Mapping[str, Float32], density: CodeDensity) -> None:
    expected = network_shapes("decoder", architecture.decoder_sizes())
    if "encoder_w0" in arrays:
        expected |= network_shapes("encoder", architecture.encoder_sizes())
    components, dim = len(density.weights), architecture.code_dim
    shapes = {name: array.shape for name, array in arrays.items()}
    of_density = [getattr(density, name).shape for name in _DENSITY]
    if shapes != expected or not 1 <= components <= MAX_COMPONENTS:
        msg = "its networks are of another shape"
        raise ValueError(msg)
    if of_density != [(components,), (components, dim), (components, dim, dim), (components, dim)]:
        msg = "its density is of another shape"
        raise ValueError(msg)
    if not all(np.isfinite(array).all() for array in [*arrays.values(), *(getattr(density, n) for n in _DENSITY)]):
        msg = "a value is not finite"
        raise ValueError(msg)
    if (density.weights < 0).any() or not density.weights.any() or (density.deviations <= 0).any():
        msg = "its density is none"
        raise ValueError(msg)
