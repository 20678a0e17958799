"""Coordinate descent, the final choice of symbols: it tries each symbol of a grid plus and minus 1.

Soft rounding does not choose the best symbols: about one in a hundred costs more than it gains,
including its effect on the contexts of others. A descent tries many symbols at once that do not
affect each other. A symbol of the finest grid changes the colours of 5x5 pixels, through the
residual stages, and the bits of the symbols that use it as context, up to 3 rows below and 3
columns aside. A symbol of a coarser grid changes more colours, through the upsampling filters.
These pixels surround all finer symbols that use it as context. The effect of a symbol is therefore
the change of the sum over a cell.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np

from dfmcodec._types import Float32
from dfmcodec.codecs.overfitted.context import CAUSAL
from dfmcodec.codecs.overfitted.synthesis import STAGES, TAPS

_CAUSAL_BELOW, _CAUSAL_ASIDE = max(-y for y, _ in CAUSAL), max(abs(x) for _, x in CAUSAL)
_LEAST_GAIN = 0.02  # minimum gain in bits


def descend(
    grid: Float32, costs: Callable[[Float32], Float32], should_stop: Callable[[], bool], level: int = 0
) -> None:
    """Changes symbols of a grid (integers, float32 [h_l, w_l], in place) by 1 where that lowers the
    cost. `costs` returns the cost of each pixel for given symbols, float32 [H, W]. `should_stop` is
    called before each trial. Level 0 is the finest.
    """
    reach = Reach.of(level)
    now = reach.padded(costs(grid))
    for top, left in product(range(reach.rows), range(reach.columns)):
        symbols = grid[top :: reach.rows, left :: reach.columns]
        if not symbols.size:
            continue
        cells = _Cells(reach, top, left, symbols.shape)
        for change in (-1, 1):
            if should_stop():
                return
            symbols += change
            tried = reach.padded(costs(grid))
            is_better = cells.sums(tried - now) < -_LEAST_GAIN
            symbols[~is_better] -= change
            cells.copy(is_better, tried, now)


@dataclass(frozen=True)
class Reach:
    """The neighbourhood of a symbol, in symbols, in which the costs of pixels may depend on it."""

    above: int
    below: int
    aside: int  # columns on each side
    level: int

    @classmethod
    def of(cls, level: int) -> Reach:
        """Returns the reach for a level. Each upsampling changes TAPS samples before a sample, so
        all upsamplings change TAPS (2^level - 1) pixels, and the stages add STAGES.
        """
        pixels = TAPS * ((1 << level) - 1) + STAGES
        symbols = -(-pixels >> level)
        return cls(symbols, max(symbols, _CAUSAL_BELOW), max(symbols, _CAUSAL_ASIDE), level)

    @property
    def rows(self) -> int:
        """Returns the number of rows of a cell."""
        return self.above + 1 + self.below

    @property
    def columns(self) -> int:
        """Returns the number of columns of a cell."""
        return 2 * self.aside + 1

    def padded(self, costs: Float32) -> Float32:
        """Pads the costs of pixels with zeros, so that all cells are complete."""
        pads = ((self.above, self.rows + 1), (self.aside, self.columns + 1))
        return np.pad(costs, tuple((before << self.level, after << self.level) for before, after in pads))


class _Cells:
    """Cells around symbols of a grid that are `reach.rows` and `reach.columns` apart."""

    def __init__(self, reach: Reach, top: int, left: int, counts: tuple[int, ...]) -> None:
        rows, columns = counts
        self._height, self._width = reach.rows << reach.level, reach.columns << reach.level  # in pixels
        self._counts = counts
        top, left = top << reach.level, left << reach.level
        self._place = slice(top, top + self._height * rows), slice(left, left + self._width * columns)

    def sums(self, costs: Float32) -> Float32:
        """Returns the sums of padded costs over each cell, float32 [rows, columns]."""
        rows, columns = self._counts
        parts = costs[self._place].reshape(rows, self._height, columns, self._width)
        return np.asarray(parts.sum(axis=(1, 3)))

    def copy(self, chosen: np.ndarray, source: Float32, target: Float32) -> None:
        """Copies the padded costs of chosen cells, bool [rows, columns]."""
        pixels = chosen.repeat(self._height, axis=0).repeat(self._width, axis=1)
        target[self._place][pixels] = source[self._place][pixels]
