"""The latent grids of the overfitted codec: a pyramid of one-channel grids of symbols.

Grid l has a sample for each 2^l x 2^l pixels, [ceil(H / 2^l), ceil(W / 2^l)]. The step size of its
symbols follows from the Lagrange multiplier of the loss MSE + lmbda * bpp. A file stores it as a
small integer, the lmbda code: lmbda = 10^-3 * 2^(code / 4).
"""

from __future__ import annotations

from math import exp2, log2

GRID_LEVELS = 7
LMBDA_CODES = range(-24, 33)
_CODES_PER_OCTAVE = 4
MIDDLE_LMBDA = 1e-3


def grid_sizes(height: int, width: int, levels: int = GRID_LEVELS) -> list[tuple[int, int]]:
    """Returns the (rows, columns) of the grids of an image, from the finest to the coarsest."""
    return [(-(-height // (1 << level)), -(-width // (1 << level))) for level in range(levels)]


def lmbda_of_code(code: int) -> float:
    """Returns the Lagrange multiplier of a code."""
    return MIDDLE_LMBDA * exp2(code / _CODES_PER_OCTAVE)


def code_of_lmbda(lmbda: float) -> int:
    """Returns the code of the nearest Lagrange multiplier that has one."""
    code = round(_CODES_PER_OCTAVE * log2(lmbda / MIDDLE_LMBDA))
    return min(max(code, LMBDA_CODES[0]), LMBDA_CODES[-1])


def symbol_step(code: int) -> float:
    """Returns the step size of symbols, 1 at the middle Lagrange multiplier. It is proportional to
    the root of the multiplier, as that of the best uniform quantiser at high rates.
    """
    return exp2(code / (2 * _CODES_PER_OCTAVE))
