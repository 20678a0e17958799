"""Grids of images, and interpolations between codes."""

from __future__ import annotations

import numpy as np

from dfmcodec._types import Float32, UInt8

_GRAY = 128


def grid(images: UInt8, columns: int) -> UInt8:
    """Joins images, uint8 [N, H, W, C], in rows, one grey pixel apart: uint8 [H', W', C]."""
    count, height, width, channels = images.shape
    joined = np.full((*grid_size(count, height, width, columns), channels), _GRAY, np.uint8)
    for index, image in enumerate(images):
        top, left = index // columns * (height + 1), index % columns * (width + 1)
        joined[top : top + height, left : left + width] = image
    return joined


def grid_size(count: int, height: int, width: int, columns: int) -> tuple[int, int]:
    """Returns the height and width of a grid of images in rows of `columns`."""
    rows = -(-count // columns)
    return rows * (height + 1) - 1, columns * (width + 1) - 1


def pairs(above: UInt8, below: UInt8, columns: int) -> UInt8:
    """Joins pairs of images, uint8 [N, H, W, C]: under each row of one set, one of the other."""
    rows = []
    for start in range(0, len(above), columns):
        for images in (above, below):
            row = images[start : start + columns]
            missing = [(0, columns - len(row)), (0, 0), (0, 0), (0, 0)]
            rows.append(np.pad(row, missing, constant_values=_GRAY) if start else row)
    return grid(np.concatenate(rows), min(columns, len(above)))


def between_ends(ends: Float32, number: int) -> Float32:
    """Returns `number` equidistant codes on each line between two codes, ends included: float32 [N,
    2, D] -> [N * number, D], line after line.
    """
    parts = np.linspace(0, 1, number, dtype=np.float32)[None, :, None]
    codes: Float32 = ((1 - parts) * ends[:, :1] + parts * ends[:, 1:]).reshape(-1, ends.shape[2])
    return codes
