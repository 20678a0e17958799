"""Compact storage of the data that is kept of a large image.

16-bit floats are the upper half of a float32 (bfloat16). NumPy converts its own float16 one number
at a time, which took 7 % of an encoding.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from dfmcodec._types import Float32, Int8

Halves = npt.NDArray[np.uint16]
_BITS = np.uint32(16)
_ROUNDING = np.uint32(1 << 15)
_LARGEST_ROOT = np.float32(127)
Key = TypeVar("Key", bound=Hashable)


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


def to_bytes(values: Float32) -> Int8:
    """Returns the signed square roots of numbers up to 1 in 127 steps, int8 of the same shape. A
    number v is kept within sqrt(v) / 127 + 1 / 254^2. Larger numbers are clipped.
    """
    roots = np.sqrt(np.abs(values))
    roots *= _LARGEST_ROOT
    np.rint(roots, out=roots)
    np.minimum(roots, _LARGEST_ROOT, out=roots)
    return np.copysign(roots, values, out=roots).astype(np.int8)


def from_bytes(roots: npt.NDArray[Any]) -> Float32:
    """Returns the numbers of `to_bytes`, float32 of the same shape."""
    values = roots.astype(np.float32)
    values *= np.abs(values)
    values *= 1 / _LARGEST_ROOT**2
    return values


def in_one_block(arrays: Mapping[Key, npt.NDArray[Any]]) -> dict[Key, npt.NDArray[Any]]:
    """Returns copies of arrays of one type in one block of memory. Thousands of small blocks, which
    lie between freed arrays, would waste a page each.
    """
    if not arrays:
        return {}
    block = np.concatenate([array.ravel() for array in arrays.values()])
    parts = np.split(block, np.cumsum([array.size for array in arrays.values()])[:-1])
    return {key: part.reshape(array.shape) for (key, array), part in zip(arrays.items(), parts, strict=True)}
