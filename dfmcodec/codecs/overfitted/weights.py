"""The prior of the overfitted codec: where its networks start, and how likely changes of them are.

Each image has networks of its own. A file holds what they differ from those of the prior by, as
integers: changes of the whole synthesis and of the whole context network. The prior has a step
and a Laplace table for every weight.
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
from dfmcodec.codecs.registry import Model
from dfmcodec.entropy.tables import LAPLACE_COUNT, SCALES_PER_OCTAVE
from dfmcodec.errors import ConfigError, DfmError
from dfmcodec.weights.registry import Arrays, checksum, shipped_arrays

CONTEXT_DELTAS = ("w1", "c1", "w2", "c2", "w3", "bypass", "c3")
MACHINE_CHANGES = SynthesisNetwork._fields
DELTA_NAMES = (*MACHINE_CHANGES, *CONTEXT_DELTAS)
EXPONENTS = range(-8, 8)  # of the step of each kind of change


@dataclass(frozen=True)
class WeightDeltas:
    """What the networks of an image differ from those of the prior by.

    Args:
        exponents: For each name of `DELTA_NAMES`, the exponent of 2 that its steps are multiplied
            by.
        symbols: The changes in these steps, int32 [weights], in the order of
            `OverfittedWeights.split`.

    Raises:
        ConfigError: An exponent is outside `EXPONENTS`, or there is not one for each name.
    """

    exponents: tuple[int, ...]
    symbols: Symbols

    def __post_init__(self) -> None:
        if len(self.exponents) != len(DELTA_NAMES) or not all(e in EXPONENTS for e in self.exponents):
            msg = f"the exponents {self.exponents} of changes are not {len(DELTA_NAMES)} in {EXPONENTS}"
            raise ConfigError(msg)


@dataclass(frozen=True)
class OverfittedWeights:
    """A trained prior of the overfitted codec.

    Args:
        network: The context network.
        machine: The synthesis.
        steps: The step of each weight that may change, float32 [weights]; integers for those
            of the context network.
        tables: The index of the Laplace table of each change in steps, uint8 [weights].
        checksum: The weights id.
    """

    network: GridNetwork
    machine: SynthesisNetwork
    steps: Float32
    tables: npt.NDArray[np.uint8]
    checksum: int

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> OverfittedWeights:
        """Makes a prior of its arrays.

        Raises:
            DfmError: Its context network does not give the same symbols on all hosts, or steps and
                tables do not fit its weights.
        """
        weights = {name: arrays[f"context_{name}"].astype(np.float32) for name in CONTEXT_DELTAS}
        network = GridNetwork(**weights)
        network.check_shapes()
        network.check_exact()
        machine = SynthesisNetwork(*(arrays[f"machine_{name}"].astype(np.float32) for name in SynthesisNetwork._fields))
        steps, tables = arrays["change_steps"].astype(np.float32), arrays["change_tables"].astype(np.uint8)
        prior = cls(network, machine, steps, tables, checksum(arrays))
        if not len(prior.steps) == len(prior.tables) == prior.weight_count:
            msg = f"the prior of the overfitted codec needs {prior.weight_count} steps and tables"
            raise DfmError(msg)
        return prior

    @cached_property
    def shapes(self) -> tuple[tuple[str, tuple[int, ...]], ...]:
        """Name and shape of each array that may change, in the order of the networks section."""
        machine = [(name, array.shape) for name, array in self.machine._asdict().items()]
        contexts = [(name, getattr(self.network, name).shape) for name in CONTEXT_DELTAS]
        return (*machine, *contexts)

    @property
    def weight_count(self) -> int:
        """The number of weights that may change."""
        return sum(int(np.prod(shape)) for _, shape in self.shapes)

    @property
    def width(self) -> int:
        """The dimension that the machine lifts vectors to."""
        return int(self.machine.lift.shape[0])

    def kinds(self) -> npt.NDArray[np.intp]:
        """The index into `DELTA_NAMES` of each weight, intp [weights]."""
        sizes = [int(np.prod(shape)) for _, shape in self.shapes]
        return np.repeat(np.arange(len(sizes), dtype=np.intp), sizes)

    def split(self, flat: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
        """Cuts the changes of all weights into arrays of the shapes of `shapes`."""
        ends = np.cumsum([int(np.prod(shape)) for _, shape in self.shapes])[:-1]
        return [part.reshape(shape) for part, (_, shape) in zip(np.split(flat, ends), self.shapes, strict=True)]

    def step_sizes(self, exponents: tuple[int, ...]) -> Float32:
        """The step of each weight's change; at least 1 for those of context networks."""
        kinds = self.kinds()
        steps = self.steps * np.exp2(np.array(exponents, dtype=np.float32))[kinds]
        is_context = kinds >= len(MACHINE_CHANGES)
        return np.where(is_context, np.maximum(np.rint(steps), 1), steps).astype(np.float32)

    def table_indices(self, exponents: tuple[int, ...]) -> npt.NDArray[np.intp]:
        """The Laplace table of each change: an octave further for each halving of the step."""
        finer = -SCALES_PER_OCTAVE * np.array(exponents)[self.kinds()]
        indices: npt.NDArray[np.intp] = np.clip(self.tables.astype(np.intp) + finer, 0, LAPLACE_COUNT - 1)
        return indices

    def networks_of(self, deltas: WeightDeltas | None) -> tuple[GridNetwork, SynthesisNetwork]:
        """The networks of an image."""
        if deltas is None:
            return self.network, self.machine
        arrays = self.split(deltas.symbols.astype(np.float32) * self.step_sizes(deltas.exponents))
        count = len(MACHINE_CHANGES)
        machine = SynthesisNetwork(*(w + change for w, change in zip(self.machine, arrays[:count], strict=True)))
        return self.network.changed(dict(zip(CONTEXT_DELTAS, arrays[count:], strict=True))), machine


@lru_cache(maxsize=4)
def overfitted_weights_of(weights_id: int) -> OverfittedWeights:
    """The prior that an overfitted file names.

    Raises:
        UnsupportedVersionError: This program does not have the prior.
        InstallationError: The prior is damaged or missing in this installation.
    """
    return OverfittedWeights.from_arrays(shipped_arrays(Model.OVERFITTED, weights_id))
