"""The latent grids of the overfitted codec: a pyramid of one-channel grids of symbols.

Grid l has a sample for each 2^l x 2^l pixels, [ceil(H / 2^l), ceil(W / 2^l)]. The step of its
symbols follows from the Lagrange multiplier of the loss MSE + lmbda * bpp, which a file holds as
a small integer, the lmbda code:
lmbda = 10^-3 * 2^(code / 4).
"""

from __future__ import annotations

from math import exp2, log2

GRID_LEVELS = 7
LMBDA_CODES = range(-24, 33)
_CODES_PER_OCTAVE = 4
MIDDLE_LMBDA = 1e-3


def grid_sizes(height: int, width: int, levels: int = GRID_LEVELS) -> list[tuple[int, int]]:
    """The (rows, columns) of the grids of an image, from the finest on."""
    return [(-(-height // (1 << level)), -(-width // (1 << level))) for level in range(levels)]


def lmbda_of_code(code: int) -> float:
    """The Lagrange multiplier that a code stands for."""
    return MIDDLE_LMBDA * exp2(code / _CODES_PER_OCTAVE)


def code_of_lmbda(lmbda: float) -> int:
    """The code of the nearest Lagrange multiplier that has one."""
    code = round(_CODES_PER_OCTAVE * log2(lmbda / MIDDLE_LMBDA))
    return min(max(code, LMBDA_CODES[0]), LMBDA_CODES[-1])


def symbol_step(code: int) -> float:
    """The step of symbols, 1 at the middle Lagrange multiplier. It follows the square root of the
    multiplier, as the best uniform quantiser does at high rates.
    """
    return exp2(code / (2 * _CODES_PER_OCTAVE))
