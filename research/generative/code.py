"""The quantised code of an image, and its file (see README.md, "Files").

A code is quantised under one component of the density of codes, as multiples of one step along the
principal axes of that component. The deviation of each axis chooses its Laplace table. The tables
are chosen by integers, so symbols decode the same on every host.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dfmcodec._types import Float32, Symbols
from dfmcodec.entropy import LAPLACE_COUNT, Run, SymbolDecoder, SymbolEncoder, laplace
from dfmcodec.errors import BadMagicError, CorruptError, UnsupportedVersionError
from research.generative.density import CodeDensity
from research.generative.model import GenerativeModel

MAGIC = b"\x89DFC"
VERSION = 1
_HEAD = struct.Struct("<4sBI")  # magic, version, id of the model
_CRC = struct.Struct("<I")
STEPS_PER_OCTAVE = 4
UNIT_STEP = 128  # the index of a step size of 1
LAST_STEP = 255
_SHORT_COMPONENTS = 256  # maximum number of components whose index takes one byte instead of two
_WORD = 4  # bytes in a word of the range coder
_UNIT_TABLE = 15  # Laplace index of a deviation of one step size; its mean magnitude is 0.84, that of a Gaussian 0.80
# An axis has scale index n = -64..64 if its deviation is between 2^((n - 1/2) / 4) and 2^((n + 1/2)
# / 4).
_SCALES = np.arange(-64, 65)
_BOUNDS = 2.0 ** ((_SCALES[1:] - 0.5) / STEPS_PER_OCTAVE)


@dataclass(frozen=True)
class CodeSymbols:
    """A quantised code."""

    component: int  # of the density
    step_index: int  # 0..255, for a step size of 2^((step_index - 128) / 4)
    symbols: Symbols  # the multiples of the step size along the axes of the component, int32 [D]

    @property
    def step(self) -> float:
        """Returns the quantisation step size."""
        return float(2.0 ** ((self.step_index - UNIT_STEP) / STEPS_PER_OCTAVE))

    def dequantize(self, density: CodeDensity) -> Float32:
        """Returns the code, float32 [D]."""
        along = self.symbols.astype(np.float64) * self.step
        code = density.means[self.component] + density.axes[self.component].astype(np.float64) @ along
        rounded: Float32 = code.astype(np.float32)
        return rounded


def scale_indices(deviations: Float32) -> npt.NDArray[np.int64]:
    """Returns 4 log2 of each axis's deviation, float32 [D], rounded: int64 [D] in -64..64."""
    return np.searchsorted(_BOUNDS, deviations.astype(np.float64), side="right") - 64


def table_indices(density: CodeDensity, component: int, step_index: int) -> npt.NDArray[np.int64]:
    """Returns the Laplace index of each axis of a component, int64 [D]."""
    step_scale = step_index - UNIT_STEP
    indices: npt.NDArray[np.int64] = np.clip(
        _UNIT_TABLE + scale_indices(density.deviations[component]) - step_scale, 0, LAPLACE_COUNT - 1
    )
    return indices


def write_code(code: CodeSymbols, density: CodeDensity) -> bytes:
    """Returns the shortest bytes of a code. A decoder reads zeros after their end, so bytes at the
    end are omitted as long as the rest decodes to the same symbols.
    """
    encoder = SymbolEncoder()
    encoder.encode_runs(code.symbols, _runs(density, code.component, code.step_index))
    words = np.frombuffer(encoder.to_bytes(), "<u4").astype(">u4").tobytes()  # most significant byte first
    side = code.component.to_bytes(_component_bytes(density), "little") + bytes([code.step_index])
    for length in range(len(words)):
        for added in (0, 1):  # the prefix itself, or the next larger number of this length
            number = int.from_bytes(words[:length], "big") + added
            if number >> 8 * length:
                continue
            body = side + number.to_bytes(length, "big")
            if _decodes_to(body, code, density):
                return body
    return side + words


def _decodes_to(body: bytes, code: CodeSymbols, density: CodeDensity) -> bool:
    try:
        return bool(np.array_equal(read_code(body, density).symbols, code.symbols))
    except CorruptError:
        return False


def read_code(body: bytes, density: CodeDensity) -> CodeSymbols:
    """Decodes the bytes of a code: the inverse of `write_code`. Raises CorruptError if they are not
    valid.
    """
    component_bytes = _component_bytes(density)
    if len(body) <= component_bytes:
        msg = f"the code has {len(body)} bytes, fewer than {component_bytes + 1}; the file is damaged"
        raise CorruptError(msg)
    component, step_index = int.from_bytes(body[:component_bytes], "little"), body[component_bytes]
    if component >= len(density.weights):
        msg = f"the code has component {component}, but the model has {len(density.weights)}; the file is damaged"
        raise CorruptError(msg)
    stream = body[component_bytes + 1 :]
    words = np.frombuffer(stream + bytes(-len(stream) % _WORD), ">u4").astype("<u4")
    symbols = SymbolDecoder(words.tobytes()).decode_runs(_runs(density, component, step_index))
    return CodeSymbols(component, step_index, symbols)


def file_of_code(code: CodeSymbols, model: GenerativeModel) -> bytes:
    """Returns the file of a code under a model."""
    content = _HEAD.pack(MAGIC, VERSION, model.id) + write_code(code, model.density)
    return content + _CRC.pack(zlib.crc32(content))


def code_of_file(data: bytes, model: GenerativeModel) -> Float32:
    """Returns the code of a file, float32 [D]. Raises FormatError if the file is not one of a code
    under this model, or is damaged.
    """
    if not data.startswith(MAGIC):
        msg = f"not the file of a code: it starts with {data[:4]!r}, not {MAGIC!r}"
        raise BadMagicError(msg)
    content, checksum = data[: -_CRC.size], data[-_CRC.size :]
    if len(content) < _HEAD.size or checksum != _CRC.pack(zlib.crc32(content)):
        msg = "the checksum of the code's file does not match; the file is damaged or truncated"
        raise CorruptError(msg)
    _, version, wanted = _HEAD.unpack_from(content)
    if version != VERSION:
        msg = f"the code's file has version {version}; this program reads version {VERSION}"
        raise UnsupportedVersionError(msg)
    if wanted != model.id:
        msg = f"the file is a code under the model {wanted:08x}, but the given one is {model.id:08x}"
        raise CorruptError(msg)
    return read_code(content[_HEAD.size :], model.density).dequantize(model.density)


def _component_bytes(density: CodeDensity) -> int:
    """Returns the size of a component's number in bytes."""
    return 1 if len(density.weights) <= _SHORT_COMPONENTS else 2


def _runs(density: CodeDensity, component: int, step_index: int) -> list[Run]:
    """Returns the tables of the axes in order, as runs of equal tables."""
    indices = table_indices(density, component, step_index)
    starts = np.flatnonzero(np.diff(indices, prepend=-1))
    counts = np.diff(starts, append=len(indices))
    return [(laplace(int(indices[start])), int(count)) for start, count in zip(starts, counts, strict=True)]
