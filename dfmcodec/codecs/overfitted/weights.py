"""The pretrained weights of the overfitted codec, and the tables of weight deltas.

Each image has its own networks. A file stores their differences from the pretrained weights as
integers: weight deltas of the complete synthesis network and of the complete context network. The
pretrained weights include a step size and a Laplace table for every weight.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from dfmcodec._types import Float32, Symbols
from dfmcodec.codecs.overfitted.context import GridNetwork
from dfmcodec.codecs.overfitted.synthesis import SynthesisNetwork
from dfmcodec.entropy.tables import LAPLACE_COUNT, SCALES_PER_OCTAVE
from dfmcodec.errors import DfmError
from dfmcodec.models import Model
from dfmcodec.weights.registry import Arrays, checksum, shipped_arrays

CONTEXT_DELTAS = tuple(GridNetwork.LIMITS)
SYNTHESIS_DELTAS = SynthesisNetwork._fields
DELTA_NAMES = (*SYNTHESIS_DELTAS, *CONTEXT_DELTAS)
EXPONENTS = range(-8, 8)  # for the step sizes of each kind of delta


@dataclass(frozen=True)
class WeightDeltas:
    """The weight deltas of the networks of an image from the pretrained weights."""

    exponents: tuple[int, ...]  # of 2, by which the step sizes of each of `DELTA_NAMES` are multiplied
    symbols: Symbols  # in these step sizes, int32 [weights], in the order of `OverfittedWeights.split`


@dataclass(frozen=True)
class OverfittedWeights:
    """Pretrained weights of the overfitted codec."""

    network: GridNetwork
    synthesis: SynthesisNetwork
    steps: Float32  # the step size of each weight delta, float32 [weights]; integers for the context network
    tables: npt.NDArray[np.uint8]  # the Laplace table of each weight delta in step sizes, uint8 [weights]
    checksum: int  # the weights id

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> OverfittedWeights:
        """Creates pretrained weights from their arrays. Raises DfmError if the context network is
        not exact on all hosts, or the step sizes and tables do not match its weights.
        """
        weights = {name: arrays[f"context_{name}"].astype(np.float32) for name in CONTEXT_DELTAS}
        network = GridNetwork(**weights)
        network.check_shapes()
        network.check_exact()
        synthesis = SynthesisNetwork(
            *(arrays[f"machine_{name}"].astype(np.float32) for name in SynthesisNetwork._fields)
        )
        steps, tables = arrays["change_steps"].astype(np.float32), arrays["change_tables"].astype(np.uint8)
        pretrained = cls(network, synthesis, steps, tables, checksum(arrays))
        if not len(pretrained.steps) == len(pretrained.tables) == pretrained.weight_count:
            msg = f"the weights of the overfitted codec need {pretrained.weight_count} step sizes and tables"
            raise DfmError(msg)
        return pretrained

    @cached_property
    def shapes(self) -> tuple[tuple[str, tuple[int, ...]], ...]:
        """Returns the name and shape of each array with deltas, in the section's order."""
        synthesis = [(name, array.shape) for name, array in self.synthesis._asdict().items()]
        contexts = [(name, getattr(self.network, name).shape) for name in CONTEXT_DELTAS]
        return (*synthesis, *contexts)

    @property
    def weight_count(self) -> int:
        """Returns the number of weights that have deltas."""
        return sum(int(np.prod(shape)) for _, shape in self.shapes)

    @property
    def width(self) -> int:
        """Returns the dimension to which the synthesis network lifts vectors."""
        return int(self.synthesis.lift.shape[0])

    def kinds(self) -> npt.NDArray[np.intp]:
        """Returns the index into `DELTA_NAMES` of each weight, intp [weights]."""
        sizes = [int(np.prod(shape)) for _, shape in self.shapes]
        return np.repeat(np.arange(len(sizes), dtype=np.intp), sizes)

    def split(self, flat: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
        """Splits the deltas of all weights into arrays of the shapes of `shapes`."""
        ends = np.cumsum([int(np.prod(shape)) for _, shape in self.shapes])[:-1]
        return [part.reshape(shape) for part, (_, shape) in zip(np.split(flat, ends), self.shapes, strict=True)]

    def step_sizes(self, exponents: tuple[int, ...]) -> Float32:
        """Returns the step size of each weight delta; at least 1 for the context network."""
        kinds = self.kinds()
        steps = self.steps * np.exp2(np.array(exponents, dtype=np.float32))[kinds]
        is_context = kinds >= len(SYNTHESIS_DELTAS)
        return np.where(is_context, np.maximum(np.rint(steps), 1), steps).astype(np.float32)

    def table_indices(self, exponents: tuple[int, ...]) -> npt.NDArray[np.intp]:
        """Returns the Laplace table of each delta; half the step size moves it by an octave."""
        finer = -SCALES_PER_OCTAVE * np.array(exponents)[self.kinds()]
        indices: npt.NDArray[np.intp] = np.clip(self.tables.astype(np.intp) + finer, 0, LAPLACE_COUNT - 1)
        return indices

    def networks_of(self, deltas: WeightDeltas | None) -> tuple[GridNetwork, SynthesisNetwork]:
        """Returns the networks of an image."""
        if deltas is None:
            return self.network, self.synthesis
        arrays = self.split(deltas.symbols.astype(np.float32) * self.step_sizes(deltas.exponents))
        count = len(SYNTHESIS_DELTAS)
        synthesis = SynthesisNetwork(*(w + change for w, change in zip(self.synthesis, arrays[:count], strict=True)))
        return self.network.changed(dict(zip(CONTEXT_DELTAS, arrays[count:], strict=True))), synthesis


@lru_cache(maxsize=4)
def overfitted_weights_of(weights_id: int) -> OverfittedWeights:
    """Returns the pretrained weights that an overfitted file refers to. Raises
    UnsupportedVersionError if this version of the program does not contain the weights, and
    InstallationError if the file of the weights is damaged or missing in this installation.
    """
    return OverfittedWeights.from_arrays(shipped_arrays(Model.OVERFITTED, weights_id))
