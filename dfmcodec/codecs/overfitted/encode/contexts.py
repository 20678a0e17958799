"""The context network of `codecs.overfitted.context` in floating point, for fits.

It is the network of the decoder without rounding. The bits of a symbol are therefore differentiable
with respect to the weights and to symbols, which need not be integers.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from dfmcodec.codecs.overfitted.context import OUTPUT_SHIFTS, GridNetwork
from dfmcodec.entropy.context_networks import ACTIVATION_SHIFT
from dfmcodec.entropy.tables import MEANS_PER_SYMBOL, SCALES_PER_OCTAVE

FEATURE_UNIT = 8.0  # integer features per feature of 1, about a symbol of 1
HIDDEN_UNIT = 32.0  # integer activations per activation of 1
_NAT = SCALES_PER_OCTAVE / np.log(2)  # integer scales per factor of e


class ContextWeights(NamedTuple):
    """The weights of the context network, float32.

    They correspond to those of `GridNetwork` in units that suit an optimiser, with a residual
    second layer, h_2 = relu(W2 h_1 + c2 + h_1). `from_integers` and `to_integers` convert them.
    """

    w1: Any  # [width, FEATURES]
    c1: Any  # [width, levels]
    w2: Any  # [width, width]
    c2: Any  # [width]
    w3: Any  # [2, width]
    bypass: Any  # [2, FEATURES]
    c3: Any  # [2, levels]

    @classmethod
    def from_integers(cls, network: GridNetwork) -> ContextWeights:
        """Returns the float weights of an integer network: the inverse of `to_integers`."""
        arrays = {}
        for name in _UNITS:
            values = np.asarray(getattr(network, name), dtype=np.float64) - _HALF_STEPS.get(name, 0)
            values = in_floats(name, values)
            residual = np.eye(*values.shape) if name == "w2" else 0
            arrays[name] = (values - residual).astype(np.float32)
        return cls(**arrays)

    def to_integers(self) -> GridNetwork:
        """Returns the nearest integer network within the limits of `GridNetwork.check_exact`."""
        arrays = {}
        for name in self._fields:
            values = np.asarray(getattr(self, name), dtype=np.float64)
            if name == "w2":
                values = values + np.eye(*values.shape)  # the residual connection
            integers = np.rint(in_integers(name, values) + _HALF_STEPS.get(name, 0))
            limit = GridNetwork.LIMITS[name]
            arrays[name] = np.clip(integers, -limit, limit).astype(np.float32)
        return GridNetwork(**arrays)


# Added to constants so that floor rounds to nearest: half of the integer by which it divides.
_HALF_STEPS: dict[str, Any] = {"c1": ACTIVATION_SHIFT / 2, "c2": ACTIVATION_SHIFT / 2, "c3": OUTPUT_SHIFTS / 2}
BY_LEVEL = ("c1", "c3")  # [levels, units] in a GridNetwork
_FIRST = ACTIVATION_SHIFT * HIDDEN_UNIT
_OUTPUTS = OUTPUT_SHIFTS * np.array([_NAT, MEANS_PER_SYMBOL])
_UNITS = {  # values in a GridNetwork for a floating-point weight of 1; two values for the two outputs
    "w1": _FIRST / FEATURE_UNIT,
    "c1": _FIRST,
    "w2": float(ACTIVATION_SHIFT),
    "c2": _FIRST,
    "w3": _OUTPUTS / HIDDEN_UNIT,
    "bypass": _OUTPUTS / FEATURE_UNIT,
    "c3": _OUTPUTS,
}
assert tuple(_UNITS) == ContextWeights._fields == tuple(GridNetwork.LIMITS)


def unit_of(name: str, like: np.ndarray | None = None) -> np.ndarray:
    """Returns the value in a `GridNetwork` for a weight of 1: one for all, or for each output.

    With an array of weights, it has the type of this array and can be multiplied by it.
    """
    unit = np.atleast_1d(np.asarray(_UNITS[name], dtype=np.float64))
    return unit if like is None else unit.astype(like.dtype).reshape(-1, *[1] * (like.ndim - 1))


def in_integers(name: str, values: np.ndarray, power: float = 1.0) -> np.ndarray:
    """Converts an array of `ContextWeights` to the units, or a power of them, of `GridNetwork`."""
    scaled = values * unit_of(name, values) ** power
    return scaled.T if name in BY_LEVEL else scaled


def in_floats(name: str, values: np.ndarray) -> np.ndarray:
    """Converts an array of `GridNetwork` to the units of `ContextWeights`."""
    values = values.T if name in BY_LEVEL else values
    return np.asarray(values / unit_of(name, values))
