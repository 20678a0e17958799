"""Floats in 16 bits, the higher half of those of a float32 (bfloat16): what is kept of a large
image takes half of the memory. NumPy converts its own float16 number by number, which took 7 % of
an encoding.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from dfmcodec._types import Float32

Halves = npt.NDArray[np.uint16]
_BITS = np.uint32(16)
_ROUNDING = np.uint32(1 << 15)


def to_halves(values: Float32) -> Halves:
    """Returns the nearest floats of 16 bits, good to 1/256 of the value; uint16 of the same shape."""
    bits = values.view(np.uint32) + _ROUNDING
    bits >>= _BITS
    return bits.astype(np.uint16)


def from_halves(halves: npt.NDArray[Any]) -> Float32:
    """Returns the values of floats of 16 bits; float32 of the same shape."""
    bits = halves.astype(np.uint32)
    bits <<= _BITS
    return bits.view(np.float32)
