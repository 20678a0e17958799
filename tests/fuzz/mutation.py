"""Mutations of bytes without knowledge of the format."""

from __future__ import annotations

import numpy as np

EDGES = (0, 1, 2, 3, 4, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 2**24, 2**31 - 1, 2**31, 2**32 - 1)


def chance(rng: np.random.Generator, probability: float) -> bool:
    """True with a probability."""
    return bool(rng.random() < probability)


def below(rng: np.random.Generator, limit: int) -> int:
    """A number in 0..limit - 1."""
    return int(rng.integers(limit))


def scattered(rng: np.random.Generator, largest: int) -> int:
    """A number in 0..largest of any order of magnitude."""
    return min(largest, int(2 ** rng.uniform(0, np.log2(largest + 1))) - 1 + below(rng, 2))


def edge(rng: np.random.Generator, size: int) -> int:
    """A number of `size` bytes that programs compute wrongly with."""
    return EDGES[below(rng, len(EDGES))] % (1 << 8 * size)


def changed_bytes(data: bytes, rng: np.random.Generator, times: int | None = None) -> bytes:
    """Changed in one or a few places: bits, numbers, parts cut out, put in, swapped or repeated."""
    content = bytearray(data)
    for _ in range(times or 1 + scattered(rng, 8)):
        if not content:
            return rng.bytes(1 + below(rng, 8))
        start = below(rng, len(content))
        stop = min(len(content), start + 1 + scattered(rng, min(len(content), 1 << 10)))
        kind = below(rng, 9)
        if kind <= 1:
            content[start] ^= 1 << below(rng, 8)
        elif kind == 2:
            content[start] = (0, 1, 127, 128, 255, below(rng, 256))[below(rng, 6)]
        elif kind == 3:
            size = (2, 4)[below(rng, 2)]
            order = ("little", "big")[below(rng, 2)]
            content[start : start + size] = edge(rng, size).to_bytes(size, order)
        elif kind == 4:
            content[start:stop] = rng.bytes(stop - start)
        elif kind == 5:
            del content[start:stop]
        elif kind == 6:
            content[start:start] = content[start:stop] if chance(rng, 0.5) else rng.bytes(stop - start)
        elif kind == 7:
            other = below(rng, len(content))
            size = min(stop - start, len(content) - other)
            first, second = content[start : start + size], content[other : other + size]
            content[start : start + size], content[other : other + size] = second, first
        else:
            del content[max(1, start) :]
    return bytes(content)
