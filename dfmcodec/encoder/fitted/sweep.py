"""The last choice of symbols: each of the finest grid is tried one up and one down.

The fit leaves symbols where soft rounding let them settle. About one in a hundred costs more than
it is worth, as context of others too. A sweep tries many at once that do not reach each other: a
symbol changes the colours of 5x5 pixels, through the residual stages, and the bits of the symbols
that see it, 3 rows below and 3 columns aside. So what each of them changes is the sum over a cell.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np

from dfmcodec._types import Float32
from dfmcodec.entropy.grid_context import CAUSAL
from dfmcodec.synthesis.fitted import STAGES

_ABOVE, _BELOW = STAGES, max(STAGES, *(-y for y, _ in CAUSAL))  # rows of a cell beside its symbol's
_ASIDE = max(STAGES, *(abs(x) for _, x in CAUSAL))
_ROWS, _COLUMNS = _ABOVE + 1 + _BELOW, 2 * _ASIDE + 1
_LEAST_GAIN = 0.02  # bits


def sweep(grid: Float32, costs: Callable[[Float32], Float32], should_stop: Callable[[], bool]) -> None:
    """Moves symbols of the finest grid by 1 where that lowers the cost.

    Args:
        grid: The symbols, whole numbers, float32 [H, W], changed in place.
        costs: The cost of each pixel with given symbols, float32 [H, W].
        should_stop: Asked before each trial; True ends the sweep there.
    """
    now = _padded(costs(grid))
    for top, left in product(range(_ROWS), range(_COLUMNS)):
        symbols = grid[top::_ROWS, left::_COLUMNS]
        cells = _Cells(top, left, symbols.shape)
        for change in (-1, 1):
            if should_stop():
                return
            symbols += change
            tried = _padded(costs(grid))
            is_better = cells.sums(tried - now) < -_LEAST_GAIN
            symbols[~is_better] -= change
            cells.copy(is_better, tried, now)


def _padded(costs: Float32) -> Float32:
    """Costs with zeros around them, so that all cells are whole."""
    return np.pad(costs, ((_ABOVE, _ROWS), (_ASIDE, _COLUMNS)))


class _Cells:
    """The cells around every _ROWS-th and _COLUMNS-th symbol.

    Args:
        top: The row of the first symbol.
        left: Its column.
        counts: The number of symbols down and across.
    """

    def __init__(self, top: int, left: int, counts: tuple[int, ...]) -> None:
        self._counts = counts
        rows, columns = counts
        self._place = slice(top, top + _ROWS * rows), slice(left, left + _COLUMNS * columns)

    def sums(self, costs: Float32) -> Float32:
        """The sums of padded costs over each cell, float32 [rows, columns]."""
        rows, columns = self._counts
        parts = costs[self._place].reshape(rows, _ROWS, columns, _COLUMNS)
        return np.asarray(parts.sum(axis=(1, 3)))

    def copy(self, chosen: np.ndarray, source: Float32, target: Float32) -> None:
        """Copies the padded costs of chosen cells, bool [rows, columns]."""
        pixels = chosen.repeat(_ROWS, axis=0).repeat(_COLUMNS, axis=1)
        target[self._place][pixels] = source[self._place][pixels]
