"""Quantised codes of a generative model <-> the bytes of a file's code section (docs/format.md, "Code section").

A code z is coded under one component of the model's density, as multiples of one step along its principal axes; each
axis has the Laplace table of its deviation. All that chooses a table is a whole number, so symbols decode the same on
every machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from dfmcodec.entropy import LAPLACE_COUNT, Run, SymbolDecoder, SymbolEncoder, laplace
from dfmcodec.errors import CorruptError, MissingModelError
from dfmcodec.generative.density import CodeDensity
from dfmcodec.generative.painting import Float32
from dfmcodec.model import CodedPicture, Symbols

if TYPE_CHECKING:
    from dfmcodec.generative.model import GenerativeModel

STEPS_PER_OCTAVE = 4
UNIT_STEP = 128  # the index of a step of 1
LAST_STEP = 255
_SHORT_COMPONENTS = 256  # at most so many have numbers of one byte, more of two
_WORD = 4
_UNIT_TABLE = 15  # Laplace index for a deviation of one step: of mean magnitude 0.84 deviations, a Gaussian's is 0.80

# Deviations between which an axis has scale index n: 2^((n - 1/2) / 4) .. 2^((n + 1/2) / 4), n = -64..64
_SCALES = np.arange(-64, 65)
_BOUNDS = 2.0 ** ((_SCALES[1:] - 0.5) / STEPS_PER_OCTAVE)


@dataclass(frozen=True)
class CodeSymbols:
    """A code as integers.

    Args:
        component: Of the density.
        step_index: The step is 2^((step_index - 128) / 4).
        symbols: Multiples of the step along the component's axes, int32 [D].
    """

    component: int
    step_index: int
    symbols: Symbols

    @property
    def step(self) -> float:
        return float(2.0 ** ((self.step_index - UNIT_STEP) / STEPS_PER_OCTAVE))

    def dequantize(self, density: CodeDensity) -> Float32:
        """The code, float32 [D]."""
        along = self.symbols.astype(np.float64) * self.step
        code = density.means[self.component] + density.axes[self.component].astype(np.float64) @ along
        found: Float32 = code.astype(np.float32)
        return found


def scale_indices(deviations: Float32) -> npt.NDArray[np.int64]:
    """The scale index of each axis: 4 log2 of its deviation, rounded. int64, -64..64."""
    return np.searchsorted(_BOUNDS, deviations.astype(np.float64), side="right") - 64


def table_indices(density: CodeDensity, component: int, step_index: int) -> npt.NDArray[np.int64]:
    """The Laplace index of each axis. int64 [D]."""
    of_step = step_index - UNIT_STEP
    indices: npt.NDArray[np.int64] = np.clip(
        _UNIT_TABLE + scale_indices(density.deviations[component]) - of_step, 0, LAPLACE_COUNT - 1
    )
    return indices


def write_code(code: CodeSymbols, density: CodeDensity) -> bytes:
    """The code section, cut as short as it can be: where zeros, which a decoder reads on, give the same symbols."""
    encoder = SymbolEncoder()
    encoder.encode_runs(code.symbols, _runs(density, code.component, code.step_index))
    words = np.frombuffer(encoder.to_bytes(), "<u4").astype(">u4").tobytes()  # the first byte weighs most
    side = code.component.to_bytes(_component_bytes(density), "little") + bytes([code.step_index])
    for length in range(len(words)):
        for last in (0, 1):  # as it is, or the next larger number of so many bytes
            number = int.from_bytes(words[:length], "big") + last
            if number >> 8 * length:
                continue
            body = side + number.to_bytes(length, "big")
            if _gives(body, code, density):
                return body
    return side + words


def _gives(body: bytes, code: CodeSymbols, density: CodeDensity) -> bool:
    try:
        return bool(np.array_equal(read_code(body, density).symbols, code.symbols))
    except CorruptError:
        return False


def read_code(body: bytes, density: CodeDensity) -> CodeSymbols:
    """Inverse of `write_code`.

    Raises:
        CorruptError: The section is not one.
    """
    of_component = _component_bytes(density)
    if len(body) <= of_component:
        msg = f"the code section has {len(body)} bytes, fewer than {of_component + 1}; the file is damaged"
        raise CorruptError(msg)
    component, step_index = int.from_bytes(body[:of_component], "little"), body[of_component]
    if component >= len(density.weights):
        msg = f"the code is of component {component}, but the model has {len(density.weights)}; the file is damaged"
        raise CorruptError(msg)
    stream = body[of_component + 1 :]
    words = np.frombuffer(stream + bytes(-len(stream) % _WORD), ">u4").astype("<u4")
    symbols = SymbolDecoder(words.tobytes()).decode_runs(_runs(density, component, step_index))
    return CodeSymbols(component, step_index, symbols)


def decode_code(picture: CodedPicture, generator: GenerativeModel | None) -> tuple[Float32, GenerativeModel]:
    """The code of a file, float32 [D], and the model, which is the file's.

    Raises:
        MissingModelError: The model is not there or another.
        CorruptError: The code is not one of the model.
    """
    wanted = picture.architecture.generator
    if generator is None:
        msg = f"the picture is a code of the generative model {wanted:08x}; give that model's file with --prior"
        raise MissingModelError(msg)
    if generator.id != wanted:
        msg = f"the picture is a code of the generative model {wanted:08x}, but the given one is {generator.id:08x}"
        raise MissingModelError(msg)
    arch = generator.architecture
    if (picture.height, picture.width, picture.architecture.channels) != (arch.height, arch.width, arch.channels):
        msg = "the picture's size is not that of the model's pictures; the file is damaged"
        raise CorruptError(msg)
    return read_code(picture.body, generator.density).dequantize(generator.density), generator


def _component_bytes(density: CodeDensity) -> int:
    return 1 if len(density.weights) <= _SHORT_COMPONENTS else 2


def _runs(density: CodeDensity, component: int, step_index: int) -> list[Run]:
    indices = table_indices(density, component, step_index)
    starts = np.flatnonzero(np.diff(indices, prepend=-1))
    counts = np.diff(starts, append=len(indices))
    return [(laplace(int(indices[start])), int(count)) for start, count in zip(starts, counts, strict=True)]
