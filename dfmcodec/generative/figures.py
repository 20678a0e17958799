"""Pictures of many pictures: grids, and what a model paints beside what it should."""

from __future__ import annotations

import numpy as np

from dfmcodec.generative.data import UInt8
from dfmcodec.generative.painting import Float32

_GRAY = 128


def grid(pictures: UInt8, columns: int) -> UInt8:
    """Pictures [N, H, W, C] in rows of `columns`, one pixel of grey between: [H', W', C]."""
    count, height, width, channels = pictures.shape
    rows = -(-count // columns)
    found = np.full((rows * (height + 1) - 1, columns * (width + 1) - 1, channels), _GRAY, np.uint8)
    for index, picture in enumerate(pictures):
        top, left = index // columns * (height + 1), index % columns * (width + 1)
        found[top : top + height, left : left + width] = picture
    return found


def pairs(above: UInt8, below: UInt8, columns: int) -> UInt8:
    """As `grid`, under each row of pictures one of what belongs to them; both [N, H, W, C]."""
    rows = []
    for start in range(0, len(above), columns):
        for pictures in (above, below):
            row = pictures[start : start + columns]
            missing = [(0, columns - len(row)), (0, 0), (0, 0), (0, 0)]
            rows.append(np.pad(row, missing, constant_values=_GRAY) if start else row)
    return grid(np.concatenate(rows), min(columns, len(above)))


def between_ends(ends: Float32, number: int) -> Float32:
    """Codes on the lines between codes.

    Args:
        ends: Pairs of codes, float32 [N, 2, D].
        number: Of each line's codes, its ends among them.

    Returns:
        float32 [N * number, D], line after line.
    """
    parts = np.linspace(0, 1, number, dtype=np.float32)[None, :, None]
    codes: Float32 = ((1 - parts) * ends[:, :1] + parts * ends[:, 1:]).reshape(-1, ends.shape[2])
    return codes
