"""The samples of fully transparent pixels, which nobody sees.

They become smooth continuations of the visible ones, because smooth samples take the fewest bits.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dfmcodec._types import Float32, Pixels
from dfmcodec.image import to_values


def fill_invisible(pixels: Pixels, visible: npt.NDArray[np.bool_]) -> Pixels:
    """Replaces invisible pixels by means of the visible ones around them, from ever coarser grids.

    This is pull-push (Gortler et al., "The Lumigraph", 1996, section 3.4). An image without visible
    pixels becomes mid-grey.

    Args:
        pixels: uint8 or uint16 [H, W, C].
        visible: The pixels to keep, bool [H, W].

    Returns:
        The pixels with the invisible ones replaced, in the same type and shape.
    """
    total = np.where(visible[:, :, None], pixels, 0).astype(np.float32)
    filled = _pull_push(total, visible.astype(np.float32)[:, :, None], float(np.iinfo(pixels.dtype).max // 2))
    values = to_values(filled, 8 * pixels.itemsize)
    return np.where(visible[:, :, None], pixels, values)


def _pull_push(total: Float32, weight: Float32, nothing: float) -> Float32:
    """The filled values, float32 [H, W, C].

    Args:
        total: Sums of weighted values, float32 [H, W, C].
        weight: The sums of the weights, in [0, 1], float32 [H, W, 1].
        nothing: The value if all weights are 0.
    """
    if weight.all() or weight.shape[:2] == (1, 1):
        return np.where(weight > 0, total / np.maximum(weight, 1e-6), np.float32(nothing)).astype(np.float32)
    coarse_weight = _sums(weight)
    scale = (1 / np.maximum(coarse_weight, 1)).astype(np.float32)  # one visible pixel makes a cell visible
    coarse = _pull_push(_sums(total) * scale, coarse_weight * scale, nothing)
    height, width = weight.shape[:2]
    spread = coarse.repeat(2, axis=0).repeat(2, axis=1)[:height, :width]
    filled: Float32 = total + (1 - weight) * spread
    return filled


def _sums(values: Float32) -> Float32:
    """The sums of cells of 2x2 values, float32 [ceil(H/2), ceil(W/2), C], with zeros beyond the
    edge.
    """
    height, width, channels = values.shape
    padded = np.pad(values, ((0, height % 2), (0, width % 2), (0, 0)))
    sums: Float32 = padded.reshape(-(-height // 2), 2, -(-width // 2), 2, channels).sum(axis=(1, 3))
    return sums
