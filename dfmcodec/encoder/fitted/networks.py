"""The networks that are fitted to an image."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dfmcodec._types import Float32
from dfmcodec.encoder.fitted.contexts import ContextWeights
from dfmcodec.encoder.fitted.machine import FINE_CHROMA, NEARLY_LINEAR, LayerStart, start_machine
from dfmcodec.synthesis.fitted import FittedMachine

_STACKED = ("filters", "stages", "stage_constants")  # arrays of the synthesis with a part for each layer


class Networks(NamedTuple):
    """The networks of an image.

    Args:
        machine: The synthesis.
        contexts: The context network.
    """

    machine: FittedMachine
    contexts: ContextWeights

    @classmethod
    def start(
        cls,
        seed: int,
        width: int = 32,
        context_width: int = 24,
        axes: str = FINE_CHROMA,
        layer: LayerStart = NEARLY_LINEAR,
    ) -> Networks:
        """Random networks.

        Args:
            seed: Of the random numbers.
            width: The dimension that the synthesis lifts vectors to.
            context_width: The units of a layer of the context networks.
            axes: The axes of the grids' colours; see `start_machine`.
            layer: The deviations of the Fourier layer.
        """
        rng = np.random.default_rng(seed)
        return cls(start_machine(rng, width, axes, layer), ContextWeights.start(rng, context_width))

    @classmethod
    def of(cls, machine: FittedMachine, contexts: ContextWeights) -> Networks:
        """Those of a synthesis of any arrays and of context networks."""
        return cls(jax.tree.map(jnp.asarray, machine), contexts)

    @property
    def weight_count(self) -> int:
        """The number of weights of synthesis and contexts."""
        return sum(int(array.size) for array in jax.tree.leaves(self))

    @property
    def in_parts(self) -> Parts:
        """The weights as an optimiser is to see them."""
        machine = {
            name: tuple(weights) if name in _STACKED else weights for name, weights in self.machine._asdict().items()
        }
        return Parts(machine, self.contexts)

    @classmethod
    def of_parts(cls, parts: Parts) -> Networks:
        """The networks of what `in_parts` gives."""
        stacked = {name: jnp.stack(parts.machine[name]) for name in _STACKED}
        return cls(FittedMachine(**{**parts.machine, **stacked}), parts.contexts)

    @property
    def flat(self) -> Float32:
        """All weights in the order of the fields, float32 [weights]."""
        return np.concatenate([np.asarray(array).ravel() for array in jax.tree.leaves(self)])

    def from_flat(self, weights: Float32) -> Networks:
        """Networks of these shapes with other weights, in the order of `flat`."""
        arrays, tree = jax.tree.flatten(self)
        ends = np.cumsum([array.size for array in arrays])[:-1]
        pieces = zip(np.split(weights, ends), arrays, strict=True)
        networks: Networks = jax.tree.unflatten(tree, [piece.reshape(array.shape) for piece, array in pieces])
        return networks


class Parts(NamedTuple):
    """The weights of an image's networks as an optimiser is to see them: vectors and matrices.

    Args:
        machine: The arrays of the synthesis by name; those of several filters or stages in parts.
        contexts: Those of the context network.
    """

    machine: dict[str, Any]
    contexts: ContextWeights
