"""Smooth areas, in which latents of the finest grids stay zero at first.

All grids of a fit start to move at once. In a smooth area, the finest grids then represent what
coarser grids can represent with far fewer symbols: flat areas of 1 or -1 with sharp borders, which
no later step removes. Therefore, latents of the two finest grids are frozen at zero, where the
image has no details that could be worth a symbol, until the coarser grids have converged. Images
full of details are better without frozen latents (docs/measurements.md, "Frozen latents").
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from dfmcodec._types import Bools, Float32
from dfmcodec.perception import halved

_LEVELS = 2  # number of grids that are frozen
_AROUND = 9  # side of the neighbourhood of a latent, in samples
_LEAST_DETAIL = 2.0  # minimum detail that is worth a symbol: sqrt(squared error of a sample's pixels / lmbda)
SMOOTH_FRACTION = 0.5  # fraction of an image without details above which the image is smooth


def smooth_fraction(colours: Float32, lmbda: float) -> float:
    """Returns the fraction of colours, float32 [3, H, W] in [0, 1], that has no details."""
    return float(_without_details(colours, lmbda, levels=1)[0].mean())


def smooth_latents(colours: Float32, lmbda: float) -> list[Bools]:
    """Finds the latents without details in their neighbourhood, for colours, float32 [3, H, W] in
    [0, 1].

    Returns:
        For each of the finest grids, True where a latent is to be frozen, bool [h_l, w_l]; an empty
        sequence for an image that is not smooth.
    """
    frozen = _without_details(colours, lmbda, _LEVELS)
    return frozen if frozen[0].mean() > SMOOTH_FRACTION else []


def _without_details(colours: Float32, lmbda: float, levels: int) -> list[Bools]:
    """Indicates which latents of some grids have no details around them, bool [h_l, w_l]."""
    areas = []
    luma = colours.mean(axis=0)
    for level in range(levels):
        coarser = halved(luma)
        detail = np.abs(luma - _doubled(coarser)[: luma.shape[0], : luma.shape[1]]) * np.sqrt(4**level / lmbda)
        areas.append(_largest_around(detail, _AROUND) <= _LEAST_DETAIL)
        luma = coarser
    return areas


def _doubled(plane: Float32) -> Float32:
    """Upsamples a plane by linear interpolation: [2 m, 2 n]."""
    doubled = plane.repeat(2, axis=0).repeat(2, axis=1)
    for axis in (0, 1):
        doubled = _around(doubled, 3, axis).mean(axis=-1)
    return np.asarray(doubled, dtype=np.float32)


def _largest_around(plane: Float32, side: int) -> Float32:
    """Returns the maximum of the square around each sample, edges repeated."""
    for axis in (0, 1):
        plane = _around(plane, side, axis).max(axis=-1)
    return plane


def _around(plane: Float32, side: int, axis: int) -> Float32:
    """Returns the samples around each sample along an axis, edges repeated: [m, n, side]."""
    pads = [(side // 2, side // 2) if axis == along else (0, 0) for along in (0, 1)]
    return np.asarray(sliding_window_view(np.pad(plane, pads, mode="edge"), side, axis))
