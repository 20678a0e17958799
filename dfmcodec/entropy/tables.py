"""Fixed integer probability tables for symbols with a discretised Laplace distribution.

Table `index` is for a Laplace distribution of scale 2^((index - 16) / 4) symbols. Up to index
`LAST_DIRECT` (scale 8) a symbol is coded directly with its table. Above that, the lowest `shift`
bits are coded as plain bits, and the rest with the direct table of the remaining scale. A table
covers the symbols -RADIUS..RADIUS and one escape.

The frequencies are computed with integers only. Let t = e^{-1/(2 scale)}. It is given as a constant
for the four scales of one octave, and squared or rooted from these in integer arithmetic. The
discretised Laplace distribution is

    P(0) = 1 - t,    P(+-q) = t^(2q-1) (1 - t^2) / 2,    P(escape) = t^(2 RADIUS + 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import isqrt

import numpy as np
import numpy.typing as npt

from dfmcodec._types import Symbols

MAX_SYMBOL = 1 << 23  # maximum magnitude; limits escapes
PRECISION_BITS = 24
RADIUS = 64
ESCAPE = 2 * RADIUS + 1  # index of the escape; symbol q has index q + RADIUS
TABLE_SIZE = 2 * RADIUS + 2
LAPLACE_COUNT = 112
SCALES_PER_OCTAVE = 4
UNIT_SCALE_INDEX = 16  # table of scale 1
LAST_DIRECT = 28  # table of scale 8
MEANS_PER_SYMBOL = 16  # means are multiples of 1/16 symbol
MEANS = MEANS_PER_SYMBOL // 2 + 1  # means of a table are at most half a symbol from an integer
_FIXED_BITS = 60
# round(2^60 e^{-1/(2 s)}) for the scales s = 2^(0/4), 2^(1/4), 2^(2/4), 2^(3/4)
_DECAY_OF_OCTAVE = (699_282_240_786_072_831, 757_183_956_407_387_681, 809_568_223_467_044_053, 856_412_934_495_134_408)


def _decay(index: int) -> int:
    """Computes t of a direct table in units of 2^-60."""
    octave, part = divmod(index - UNIT_SCALE_INDEX, SCALES_PER_OCTAVE)
    decay = _DECAY_OF_OCTAVE[part]
    for _ in range(octave):  # doubles the scale: t -> sqrt(t)
        decay = isqrt(decay << _FIXED_BITS)
    for _ in range(-octave):  # halves the scale: t -> t^2
        decay = decay * decay >> _FIXED_BITS
    return decay


@lru_cache(maxsize=LAST_DIRECT + 1)
def laplace_table(index: int) -> npt.NDArray[np.int64]:
    """Computes the frequencies of the symbols -RADIUS..RADIUS and of the escape under a direct
    table, 0..LAST_DIRECT: int64 [TABLE_SIZE], each at least 1, with the sum 2^24.
    """
    decay, one = _decay(index), 1 << _FIXED_BITS
    square = decay * decay >> _FIXED_BITS
    free = (1 << PRECISION_BITS) - TABLE_SIZE  # each entry has at least 1
    side = []
    power = decay
    for _ in range(RADIUS):
        side.append((power * (one - square) >> _FIXED_BITS + 1) * free >> _FIXED_BITS)
        power = power * square >> _FIXED_BITS
    escape = power * free >> _FIXED_BITS
    centre = free - 2 * sum(side) - escape
    return np.array([*side[::-1], centre, *side, escape], dtype=np.int64) + 1


@lru_cache(maxsize=(LAST_DIRECT + 1) * MEANS)
def shifted_laplace_table(index: int, mean: int) -> npt.NDArray[np.int64]:
    """Computes the frequencies for a Laplace distribution whose mean is not an integer.

    With t as above and the mean m in symbols,

        P(0) = 1 - t^(1 + 2m) / 2 - t^(1 - 2m) / 2,    P(q) = t^(2|q| - 1 - 2m) (1 - t^2) / 2

    for q > 0; for q < 0, m is replaced by -m. Returns int64 [TABLE_SIZE], each at least 1, with the
    sum 2^24. `index` is a direct table, 0..LAST_DIRECT. `mean` is the mean in units of
    1/MEANS_PER_SYMBOL symbols, 0..MEANS - 1.
    """
    decay, one = _decay(index), 1 << _FIXED_BITS
    square = decay * decay >> _FIXED_BITS
    root, towards = decay, one
    for _ in range(MEANS_PER_SYMBOL.bit_length() - 2):
        root = isqrt(root << _FIXED_BITS)  # finally t^(2 / MEANS_PER_SYMBOL)
    for _ in range(mean):
        towards = towards * root >> _FIXED_BITS  # t^(2m)
    free = (1 << PRECISION_BITS) - TABLE_SIZE
    sides, escape = [], 0
    for first in (decay * towards >> _FIXED_BITS, (decay << _FIXED_BITS) // towards):
        side, power = [], first
        for _ in range(RADIUS):
            side.append((power * (one - square) >> _FIXED_BITS + 1) * free >> _FIXED_BITS)
            power = power * square >> _FIXED_BITS
        escape += (power >> 1) * free >> _FIXED_BITS
        sides.append(side)
    below, above = sides
    centre = free - sum(below) - sum(above) - escape
    return np.array([*below[::-1], centre, *above, escape], dtype=np.int64) + 1


@dataclass(frozen=True, eq=False)
class Table:
    """Probability table for the symbols -RADIUS..RADIUS and the escape."""

    frequencies: npt.NDArray[np.int64]  # int64 [TABLE_SIZE], each at least 1, with the sum 2^24
    shift: int = 0  # the number of low bits of a symbol that are coded as plain bits. The table is for the high part

    @cached_property
    def entry_bits(self) -> npt.NDArray[np.float64]:
        """Returns the bits of each entry, float64 [TABLE_SIZE]."""
        return PRECISION_BITS - np.log2(self.frequencies)

    def cost_bits(self, symbols: Symbols) -> npt.NDArray[np.float64]:
        """Returns the bits needed to code each symbol, float64 of the shape of `symbols`."""
        high, _ = split_symbols(symbols, self.shift)
        excess = np.abs(high) - RADIUS
        position = np.where(excess > 0, ESCAPE, high + RADIUS)
        cost = self.entry_bits[position] + self.shift
        if (excess > 0).any():
            cost = cost + np.where(excess > 0, escape_bits(excess), 0)
        return cost


@lru_cache(maxsize=LAPLACE_COUNT)
def laplace(index: int) -> Table:
    """Returns the table of a Laplace index, 0..LAPLACE_COUNT - 1."""
    shift = max(0, -(-(index - LAST_DIRECT) // SCALES_PER_OCTAVE))
    return Table(laplace_table(index - SCALES_PER_OCTAVE * shift), shift)


def split_symbols(symbols: Symbols, shift: Symbols | int) -> tuple[Symbols, Symbols]:
    """Splits symbols into a high part, coded with a table, and a low part of `shift` bits.

    With half = 2^(shift - 1), or 0 if `shift` is 0, symbol = (high << shift) + low - half.
    """
    one = np.int32(1)
    shifted = symbols + ((one << shift) >> 1)
    return shifted >> shift, shifted & ((one << shift) - 1)


def join_symbols(high: Symbols, low: Symbols | int, shift: Symbols | int) -> Symbols:
    """Inverts `split_symbols`."""
    joined: Symbols = (high << shift) + low - ((np.int32(1) << shift) >> 1)
    return joined


def escape_bits(excess: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
    """Returns the number of bits after an escape: the length of `excess`, its lower digits, and the
    sign.
    """
    return 5 + bit_length(excess) - 1 + 1


def bit_length(values: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
    """Returns the number of binary digits of positive integers below 2^31."""
    return np.frexp(np.maximum(values, 1).astype(np.float64))[1].astype(np.int64)


def best_laplace_index(symbols: Symbols) -> int:
    """Returns the index of the Laplace table that codes the symbols with the fewest bits."""
    if symbols.size == 0:
        return 0
    mean = max(float(np.abs(symbols).mean()), 2**-6)
    guess = round(UNIT_SCALE_INDEX + SCALES_PER_OCTAVE * float(np.log2(mean)))
    guess = min(max(guess, 0), LAPLACE_COUNT - 1)
    nearby = range(max(0, guess - 4), min(LAPLACE_COUNT, guess + 5))
    return min(nearby, key=lambda index: float(laplace(index).cost_bits(symbols).sum()))
