"""Smooth areas, where latents of the finest grids stay zero at first.

All grids of a fit start to move at once. In a smooth area the finest ones then take on what coarser
grids show with far fewer symbols: flat areas of 1 or -1 with sharp borders, which no later step
takes away. So where the image has no details that could pay for a symbol, latents of the two finest
grids are frozen at zero until the coarser ones have found their values. Images that are full of
details fit better without (docs/log/2026-11-overfitted.md, "Held latents, and networks that an
image needs").
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from dfmcodec._types import Bools, Float32

_LEVELS = 2  # grids that are frozen
_AROUND = 9  # samples along a side of what counts as around a latent
_LEAST_DETAIL = 2.0  # that a symbol may pay for: sqrt(squared error of a sample's pixels / lmbda)
SMOOTH_FRACTION = 0.5  # of an image; one that has more without details is smooth


def smooth_fraction(colours: Float32, lmbda: float) -> float:
    """The part of an image that has no details, in [0, 1].

    Args:
        colours: float32 [3, H, W] in [0, 1].
        lmbda: The Lagrange multiplier of bits.
    """
    return float(_without_details(colours, lmbda, levels=1)[0].mean())


def smooth_latents(colours: Float32, lmbda: float) -> list[Bools]:
    """Finds the latents that have no details around them.

    Args:
        colours: float32 [3, H, W] in [0, 1].
        lmbda: The Lagrange multiplier of bits.

    Returns:
        For the finest grids True where a latent is to be frozen, bool [h_l, w_l]; nothing for an
        image that is not smooth.
    """
    frozen = _without_details(colours, lmbda, _LEVELS)
    return frozen if frozen[0].mean() > SMOOTH_FRACTION else []


def _without_details(colours: Float32, lmbda: float, levels: int) -> list[Bools]:
    """Where no details are around a latent, for the given number of grids, bool [h_l, w_l]."""
    areas = []
    luma = colours.mean(axis=0)
    for level in range(levels):
        coarser = _halved(luma)
        detail = np.abs(luma - _doubled(coarser)[: luma.shape[0], : luma.shape[1]]) * np.sqrt(4**level / lmbda)
        areas.append(_largest_around(detail, _AROUND) <= _LEAST_DETAIL)
        luma = coarser
    return areas


def _halved(plane: Float32) -> Float32:
    """The means of cells of 2x2 samples, edges repeated: [m, n] -> [ceil(m / 2), ceil(n / 2)]."""
    rows, columns = plane.shape
    even = np.pad(plane, ((0, rows % 2), (0, columns % 2)), mode="edge")
    halves = even.reshape(even.shape[0] // 2, 2, even.shape[1] // 2, 2)
    return np.asarray(halves.mean(axis=(1, 3)), dtype=np.float32)


def _doubled(plane: Float32) -> Float32:
    """Samples between which lines are drawn: [2 m, 2 n]."""
    doubled = plane.repeat(2, axis=0).repeat(2, axis=1)
    for axis in (0, 1):
        doubled = _around(doubled, 3, axis).mean(axis=-1)
    return np.asarray(doubled, dtype=np.float32)


def _largest_around(plane: Float32, side: int) -> Float32:
    """The largest sample of each square around a sample, edges repeated."""
    for axis in (0, 1):
        plane = _around(plane, side, axis).max(axis=-1)
    return plane


def _around(plane: Float32, side: int, axis: int) -> Float32:
    """The samples around each one along an axis, edges repeated: [m, n, side]."""
    pads = [(side // 2, side // 2) if axis == along else (0, 0) for along in (0, 1)]
    return np.asarray(sliding_window_view(np.pad(plane, pads, mode="edge"), side, axis))
