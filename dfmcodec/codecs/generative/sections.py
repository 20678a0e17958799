"""The code section: the quantised code of an image (docs/format.md, "Code section").

A code is quantised under one component of the density of codes, as multiples of one step along the
principal axes of that component. The deviation of each axis chooses its Laplace table. The tables
are chosen by integers, so symbols decode the same on every host.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from dfmcodec._types import Float32, Symbols
from dfmcodec.codecs.generative.contents import CodedImage
from dfmcodec.codecs.generative.density import CodeDensity
from dfmcodec.container.layout import container_bytes, leb128_bytes
from dfmcodec.entropy import LAPLACE_COUNT, Run, SymbolDecoder, SymbolEncoder, laplace
from dfmcodec.errors import CorruptError, MissingModelError
from dfmcodec.models import Model

if TYPE_CHECKING:
    from dfmcodec.codecs.generative.model import GenerativeModel

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
    """Returns the shortest code section. A decoder reads zeros after the end of the section, so
    bytes at the end are omitted as long as it still decodes to the same symbols.
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
    """Decodes the code section: the inverse of `write_code`. Raises CorruptError if the section is
    not valid.
    """
    component_bytes = _component_bytes(density)
    if len(body) <= component_bytes:
        msg = f"the code section has {len(body)} bytes, fewer than {component_bytes + 1}; the file is damaged"
        raise CorruptError(msg)
    component, step_index = int.from_bytes(body[:component_bytes], "little"), body[component_bytes]
    if component >= len(density.weights):
        msg = f"the code has component {component}, but the model has {len(density.weights)}; the file is damaged"
        raise CorruptError(msg)
    stream = body[component_bytes + 1 :]
    words = np.frombuffer(stream + bytes(-len(stream) % _WORD), ">u4").astype("<u4")
    symbols = SymbolDecoder(words.tobytes()).decode_runs(_runs(density, component, step_index))
    return CodeSymbols(component, step_index, symbols)


def decode_code(image: CodedImage, generator: GenerativeModel | None) -> tuple[Float32, GenerativeModel]:
    """Returns the code of an image, float32 [D], and its generator. Raises MissingModelError if the
    generator is missing or differs from the one that the file names, and CorruptError if the image
    does not fit the generator, or its code is not valid.
    """
    wanted = image.architecture.generator_id
    if generator is None:
        msg = f"the image is a code under the generative model {wanted:08x}; give that model's file with --generator"
        raise MissingModelError(msg)
    if generator.id != wanted:
        msg = f"the image is a code under the generative model {wanted:08x}, but the given one is {generator.id:08x}"
        raise MissingModelError(msg)
    arch = generator.architecture
    if (image.height, image.width, image.architecture.channels) != (arch.height, arch.width, arch.channels):
        msg = "the image does not have the size and channels of the model's images; the file is damaged"
        raise CorruptError(msg)
    return read_code(image.body, generator.density).dequantize(generator.density), generator


def code_file_bytes(image: CodedImage) -> int:
    """Returns the size of a code's file without ancillary data."""
    body = len(image.body)
    return container_bytes(Model.GENERATIVE) - 1 + leb128_bytes(body) + body


def _component_bytes(density: CodeDensity) -> int:
    """Returns the size of a component's number in the section, in bytes."""
    return 1 if len(density.weights) <= _SHORT_COMPONENTS else 2


def _runs(density: CodeDensity, component: int, step_index: int) -> list[Run]:
    """Returns the tables of the axes in order, as runs of equal tables."""
    indices = table_indices(density, component, step_index)
    starts = np.flatnonzero(np.diff(indices, prepend=-1))
    counts = np.diff(starts, append=len(indices))
    return [(laplace(int(indices[start])), int(count)) for start, count in zip(starts, counts, strict=True)]
