"""Functions and exactness checks of the integer context networks of several codecs."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np

from dfmcodec._types import Float32, Int32
from dfmcodec.errors import DfmError

ACTIVATION_SHIFT = 64
MAX_FEATURE = 127
MAX_EXACT = 1 << 24  # float32 represents all integers up to this one
SQUARE = tuple((y, x) for y in (-1, 0, 1) for x in (-1, 0, 1))


def companded(numbers: Int32, table: Float32) -> Float32:
    """Maps magnitudes by a table, whose last entry is for all larger ones, and keeps the signs;
    float32 of the same shape.
    """
    magnitudes = table[np.minimum(np.abs(numbers), len(table) - 1)]
    return np.copysign(magnitudes, numbers, dtype=np.float32)


def activation(sums: Any, largest: int, xp: ModuleType = np) -> Any:
    """Computes activations from the sums of a layer: integers in 0..`largest`. `xp` is numpy or
    jax.numpy.
    """
    return xp.clip(xp.floor(sums * np.float32(1 / ACTIVATION_SHIFT)), 0, largest)


def check_integers(name: str, numbers: Float32) -> None:
    """Raises DfmError if an array of a context network contains numbers that are not integers."""
    if not np.array_equal(numbers, np.rint(numbers)):  # also detects NaN, which is not equal to itself
        msg = f"{name} of a context network has numbers that are not integers; the pretrained weights are damaged"
        raise DfmError(msg)


def check_sums(bounds: Sequence[float]) -> None:
    """Raises DfmError if sums in a context network may not be exact in float32, because a bound
    exceeds MAX_EXACT.
    """
    for layer, bound in enumerate(bounds, start=1):
        if bound > MAX_EXACT:
            msg = (
                f"sums of layer {layer} of a context network may reach {bound:.0f}; "
                f"beyond {MAX_EXACT} they are not the same on all hosts"
            )
            raise DfmError(msg)
