"""16-bit floats: the upper half of a float32 (bfloat16). They halve the memory for data that is
kept of a large image. NumPy converts its own float16 one number at a time, which took 7 % of an
encoding.
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
    """Returns the nearest 16-bit floats, within 1/256 of the value; uint16 of the same shape."""
    bits = values.view(np.uint32) + _ROUNDING
    bits >>= _BITS
    return bits.astype(np.uint16)


def from_halves(halves: npt.NDArray[Any]) -> Float32:
    """Returns the values of 16-bit floats; float32 of the same shape."""
    bits = halves.astype(np.uint32)
    bits <<= _BITS
    return bits.view(np.float32)
