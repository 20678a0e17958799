"""Windows: square parts of an image, each with the required samples of every latent grid.

Grid l of the pyramid has a sample for each 2^l x 2^l pixels: [ceil(H / 2^l), ceil(W / 2^l)]. A
window has WINDOW x WINDOW pixels, and of each grid its own samples and HALO more on all sides. Its
result depends on nothing else. Windows can therefore be computed one after the other: their arrays
stay in the processor's cache, and memory does not grow with the image. Beyond the image, the
samples at its edges are repeated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from dfmcodec._types import Float32
from dfmcodec.codecs.overfitted.grids import GRID_LEVELS, grid_sizes
from dfmcodec.codecs.overfitted.synthesis import HALO
from dfmcodec.image import Image, peak_value
from dfmcodec.image.region import CHANNELS
from dfmcodec.kernels.arguments import WindowPlace

WINDOW = 128  # pixels
Places = np.ndarray[Any, np.dtype[np.intp]]
Place = tuple[slice, slice] | tuple[Places, Places]  # rows and columns


def colours_of(image: Image) -> Float32:
    """Converts an image to colours in 0..1, float32 [3, H, W]. Gray gets three equal channels."""
    values = image.pixels.astype(np.float32) * np.float32(1 / peak_value(image.bit_depth))
    return np.ascontiguousarray(np.broadcast_to(values, (*values.shape[:2], CHANNELS)).transpose(2, 0, 1))


def window_samples(level: int) -> int:
    """Returns the number of samples of a grid along a side of a window, without the halo."""
    return WINDOW >> level


def grid_sides() -> list[int]:
    """Returns the samples along a side of a window's grids, halo included, from the finest on."""
    return [window_samples(level) + 2 * HALO for level in range(GRID_LEVELS)]


@dataclass(frozen=True)
class Windows:
    """The N windows of an image."""

    height: int  # of the image, in pixels
    width: int
    corners: np.ndarray[Any, np.dtype[np.int32]]  # the first row and column of each window, int32 [N, 2]

    @classmethod
    def of(cls, height: int, width: int) -> Windows:
        """Returns the windows that cover an image."""
        corners = [(top, left) for top in range(0, height, WINDOW) for left in range(0, width, WINDOW)]
        return cls(height, width, np.array(corners, dtype=np.int32))

    def pixels(self, values: Float32) -> Float32:
        """Cuts [C, H, W] into windows [N, C, WINDOW, WINDOW], with zeros beyond the image."""
        below, right = -self.height % WINDOW, -self.width % WINDOW
        padded = np.pad(values, ((0, 0), (0, below), (0, right)))
        return np.stack([padded[:, top : top + WINDOW, left : left + WINDOW] for top, left in self.corners])

    def joined(self, parts: Sequence[Float32]) -> Float32:
        """Joins windows of one plane, [WINDOW, WINDOW] each, to float32 [H, W]."""
        complete = np.empty((self.height, self.width), dtype=np.float32)
        for (top, left), part in zip(self.corners, parts, strict=True):
            place = complete[top : top + WINDOW, left : left + WINDOW]
            place[...] = part[: place.shape[0], : place.shape[1]]
        return complete

    def pixel_weights(self) -> Float32:
        """Returns 1 for pixels of the image and 0 beyond, float32 [N, WINDOW, WINDOW]."""
        return self.pixels(np.ones((1, self.height, self.width), dtype=np.float32))[:, 0]

    def cut(self, number: int, grids: Sequence[Any]) -> list[Float32]:
        """Cuts grids for a window, float32 [n_l, n_l] with n_l = WINDOW / 2^l + 2 HALO."""
        return [
            grid[place] if isinstance(place[0], slice) else grid[np.ix_(*place)]
            for grid, place in zip(grids, self._places[number], strict=True)
        ]

    def place(self, number: int) -> WindowPlace:
        """Returns the place of a window for kernels."""
        top, left = self.corners[number]
        return WindowPlace(int(top), int(left), self.height, self.width)

    def own(self, number: int, level: int) -> tuple[slice, slice]:
        """Returns a view of a window's own samples in a grid of the image, without the halo."""
        top, left = self.corners[number] >> level
        side = window_samples(level)
        return slice(top, top + side), slice(left, left + side)

    @cached_property
    def _places(self) -> list[list[Place]]:
        """Returns for each window and level the rows and columns of the grid, halo included:
        slices, or indices if samples at the edges of the image are repeated.
        """
        sizes = grid_sizes(self.height, self.width)
        return [[self._place(corner, level, size) for level, size in enumerate(sizes)] for corner in self.corners]

    @staticmethod
    def _place(corner: np.ndarray[Any, np.dtype[np.int32]], level: int, size: tuple[int, int]) -> Place:
        firsts = [int(first) - HALO for first in corner >> level]
        lasts = [first + window_samples(level) + 2 * HALO for first in firsts]
        if min(firsts) >= 0 and all(last <= count for last, count in zip(lasts, size, strict=True)):
            return slice(firsts[0], lasts[0]), slice(firsts[1], lasts[1])
        rows, columns = (
            np.clip(np.arange(first, last), 0, count - 1)
            for first, last, count in zip(firsts, lasts, size, strict=True)
        )
        return rows, columns
