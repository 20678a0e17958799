"""Uniform quantisation of weights with step sizes from a fixed list of powers of 2^(1/8)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from dfmcodec._types import Float64, Symbols
from dfmcodec.entropy.tables import MAX_SYMBOL
from dfmcodec.errors import ConfigError

STEP_COUNT = 256
STEPS_PER_OCTAVE = 8
# 2^(-i/8) for i = 0..7, as literals so that every host has the same doubles.
_FRACTIONS = (
    1.0,
    0.9170040432046712,
    0.8408964152537145,
    0.7711054127039704,
    0.7071067811865476,
    0.6484197773255048,
    0.5946035575013605,
    0.5452538663326288,
)


def step_size(index: int) -> float:
    """Returns the step size of an index: 2^(-index / 8), from 1 down to 2^-31.875. Raises
    ConfigError if the index is not in 0..255.
    """
    if not 0 <= index < STEP_COUNT:
        msg = f"step index {index} is outside 0..{STEP_COUNT - 1}"
        raise ConfigError(msg)
    return float(np.ldexp(_FRACTIONS[index % STEPS_PER_OCTAVE], -(index // STEPS_PER_OCTAVE)))


def step_per_weight(step_indices: Sequence[int], sizes: Sequence[int]) -> Float64:
    """Returns the step size of each weight, from the index and size of each group, float64."""
    return np.repeat([step_size(index) for index in step_indices], sizes)


def quantize(weights: npt.ArrayLike, steps: Float64) -> Symbols:
    """Returns the nearest symbols, int32 of the same shape, clipped to +-MAX_SYMBOL."""
    symbols = np.rint(np.asarray(weights, dtype=np.float64) / steps)
    return np.clip(symbols, -MAX_SYMBOL, MAX_SYMBOL).astype(np.int32)


def dequantize(symbols: Symbols, steps: Float64) -> npt.NDArray[np.float32]:
    """Returns the weights of symbols: symbol * step in float64, rounded once to float32."""
    return (symbols * steps).astype(np.float32)
