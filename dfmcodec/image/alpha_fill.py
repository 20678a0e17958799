"""Replaces samples of fully transparent pixels by smooth values, which take the fewest bits."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dfmcodec._types import Float32, Pixels
from dfmcodec.image import to_values


def fill_invisible(pixels: Pixels, visible: npt.NDArray[np.bool_]) -> Pixels:
    """Fills invisible pixels from the visible ones around them, using successively coarser grids.

    This is pull-push (Gortler et al., "The Lumigraph", 1996, section 3.4). `pixels` is uint8 or
    uint16 [H, W, C], `visible` bool [H, W]. An image without visible pixels becomes mid-gray.
    """
    total = np.where(visible[:, :, None], pixels, 0).astype(np.float32)
    filled = _pull_push(total, visible.astype(np.float32)[:, :, None], float(np.iinfo(pixels.dtype).max // 2))
    values = to_values(filled, 8 * pixels.itemsize)
    return np.where(visible[:, :, None], pixels, values)


def _pull_push(total: Float32, weight: Float32, fallback: float) -> Float32:
    """Returns filled values, float32 [H, W, C], of weighted sums of values and sums of weights."""
    if weight.all() or weight.shape[:2] == (1, 1):
        return np.where(weight > 0, total / np.maximum(weight, 1e-6), np.float32(fallback)).astype(np.float32)
    coarse_weight = _sums(weight)
    scale = (1 / np.maximum(coarse_weight, 1)).astype(np.float32)  # one visible pixel makes the cell visible
    coarse = _pull_push(_sums(total) * scale, coarse_weight * scale, fallback)
    height, width = weight.shape[:2]
    spread = coarse.repeat(2, axis=0).repeat(2, axis=1)[:height, :width]
    filled: Float32 = total + (1 - weight) * spread
    return filled


def _sums(values: Float32) -> Float32:
    """Returns sums of 2x2 cells, float32 [ceil(H/2), ceil(W/2), C]; zeros lie beyond the edge."""
    height, width, channels = values.shape
    padded = np.pad(values, ((0, height % 2), (0, width % 2), (0, 0)))
    sums: Float32 = padded.reshape(-(-height // 2), 2, -(-width // 2), 2, channels).sum(axis=(1, 3))
    return sums
