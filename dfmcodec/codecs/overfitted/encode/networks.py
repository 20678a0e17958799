"""The networks that are fitted to an image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from dfmcodec._types import Float32
from dfmcodec.codecs.overfitted.encode.contexts import ContextWeights
from dfmcodec.codecs.overfitted.synthesis import SynthesisNetwork

_STACKED = ("filters", "stages", "stage_constants")  # arrays of the synthesis with one item per layer


class Networks(NamedTuple):
    """The networks of an image."""

    synthesis: SynthesisNetwork
    contexts: ContextWeights

    @classmethod
    def of(cls, synthesis: SynthesisNetwork, contexts: ContextWeights) -> Networks:
        """Creates networks from a synthesis with arrays of any type and a context network."""
        return cls(SynthesisNetwork(*(np.asarray(array, dtype=np.float32) for array in synthesis)), contexts)

    @property
    def arrays(self) -> list[Float32]:
        """Returns the weights, array by array, in the order of the fields."""
        return [*self.synthesis, *self.contexts]

    def with_arrays(self, arrays: Sequence[Float32]) -> Networks:
        """Returns networks with other weights, in the order of `arrays`."""
        count = len(self.synthesis)
        return Networks(SynthesisNetwork(*arrays[:count]), ContextWeights(*arrays[count:]))

    def mapped(self, function: Callable[..., Float32], *others: Networks) -> Networks:
        """Applies a function to each array and the corresponding arrays of other networks."""
        rows = zip(*(networks.arrays for networks in (self, *others)), strict=True)
        return self.with_arrays([function(*row) for row in rows])

    @property
    def in_parts(self) -> list[Float32]:
        """Returns the weights as vectors and matrices for an optimiser; stacks are split."""
        parts: list[Float32] = []
        for name, array in zip(_NAMES, self.arrays, strict=True):
            parts.extend(array if name in _STACKED else [array])
        return parts

    def of_parts(self, parts: Sequence[Float32]) -> Networks:
        """Returns networks with the weights of `parts`: the inverse of `in_parts`."""
        following = iter(parts)
        arrays = [
            np.stack([next(following) for _ in array]) if name in _STACKED else next(following)
            for name, array in zip(_NAMES, self.arrays, strict=True)
        ]
        return self.with_arrays(arrays)

    @property
    def flat(self) -> Float32:
        """Returns all weights in the order of the fields, float32 [weights]."""
        return np.concatenate([array.ravel() for array in self.arrays])

    def from_flat(self, weights: Float32) -> Networks:
        """Returns networks of the same shapes with other weights, in the order of `flat`."""
        ends = np.cumsum([array.size for array in self.arrays])[:-1]
        pieces = zip(np.split(weights, ends), self.arrays, strict=True)
        return self.with_arrays([piece.reshape(array.shape) for piece, array in pieces])


_NAMES = (*SynthesisNetwork._fields, *(f"context_{name}" for name in ContextWeights._fields))
