"""Colours where nobody sees them: whatever codes best, so smooth, and going on from what is visible."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dfmcodec.image import Pixels, to_values

Float32 = npt.NDArray[np.float32]


def fill_invisible(pixels: Pixels, visible: npt.NDArray[np.bool_]) -> Pixels:
    """Replaces the pixels that are not visible by means of visible ones around, from ever coarser grids (pull, push).

    Source: Gortler et al., "The Lumigraph", 1996, section 3.4. A picture with nothing visible becomes mid-gray.

    Args:
        pixels: uint8 or uint16 [H, W, C].
        visible: bool [H, W].
    """
    total = np.where(visible[:, :, None], pixels, 0).astype(np.float32)
    filled = _pull_push(total, visible.astype(np.float32)[:, :, None], float(np.iinfo(pixels.dtype).max // 2))
    values = to_values(filled, 8 * pixels.itemsize)
    return np.where(visible[:, :, None], pixels, values)


def _pull_push(total: Float32, weight: Float32, nothing: float) -> Float32:
    """Values [H, W, C] from sums of weighted values and weights in 0..1, [H, W, 1]."""
    if weight.all() or weight.shape[:2] == (1, 1):
        return np.where(weight > 0, total / np.maximum(weight, 1e-6), np.float32(nothing)).astype(np.float32)
    coarse_weight = _sums(weight)
    scale = (1 / np.maximum(coarse_weight, 1)).astype(np.float32)  # one visible pixel makes a cell visible
    coarse = _pull_push(_sums(total) * scale, coarse_weight * scale, nothing)
    height, width = weight.shape[:2]
    spread = coarse.repeat(2, axis=0).repeat(2, axis=1)[:height, :width]
    found: Float32 = total + (1 - weight) * spread
    return found


def _sums(values: Float32) -> Float32:
    """Sums of cells of 2x2; those beyond the edge count nothing."""
    height, width, channels = values.shape
    padded = np.pad(values, ((0, height % 2), (0, width % 2), (0, 0)))
    found: Float32 = padded.reshape(-(-height // 2), 2, -(-width // 2), 2, channels).sum(axis=(1, 3))
    return found
