"""Updates of the latents of a fit, in NumPy; see `dfmcodec.codecs.overfitted.encode.latents`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dfmcodec._types import Float32
from dfmcodec.codecs.overfitted.encode.latents import _EPSILON, _MEAN_BETA, _SQUARE_BETA, Latents
from dfmcodec.codecs.overfitted.encode.windows import Windows, grid_sides


def add(latents: Latents, windows: Windows, number: int, gradients: Float32) -> None:
    """Accumulates the gradients of a window for its latents; see `Windows.cut`."""
    add_back(windows, number, gradients, latents.waiting)


def move(latents: Latents, windows: Windows, number: int, rates: Sequence[float], step: int) -> None:
    """Updates a window's own latents.

    `rates` are the learning rates of the levels, in symbols; `step` counts previous updates.
    """
    biased_rates, square_bias = latents._biased(rates, step)
    for level, grids in enumerate(zip(*latents._arrays, strict=True)):
        values, means, squares, gradients = (grid[windows.own(number, level)] for grid in grids)
        means += (1 - _MEAN_BETA) * (gradients - means)
        squares += (1 - _SQUARE_BETA) * (gradients**2 - squares)
        values -= biased_rates[level] * means / (np.sqrt(squares * (1 / square_bias)) + _EPSILON)
        gradients[...] = 0


def add_back(windows: Windows, number: int, flat: Float32, grids: Sequence[Float32]) -> None:
    """Adds the values of a window to the grids, in place: the transpose of `cut`."""
    ends = np.cumsum([side * side for side in grid_sides()])[:-1]
    parts = [part.reshape(side, side) for part, side in zip(np.split(flat, ends), grid_sides(), strict=True)]
    for part, grid, place in zip(parts, grids, windows._places[number], strict=True):
        if isinstance(place[0], slice):
            grid[place] += part
            continue
        summed, found = part, []
        for axis, samples in enumerate(place):
            firsts = np.flatnonzero(np.diff(samples, prepend=-1))  # repeated samples count once
            summed = np.add.reduceat(summed, firsts, axis=axis)
            found.append(slice(samples[0], samples[-1] + 1))
        grid[tuple(found)] += summed
