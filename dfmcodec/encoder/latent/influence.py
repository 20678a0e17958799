"""The cost of a symbol's value as context of other symbols."""

from __future__ import annotations

from itertools import chain

import numpy as np

from dfmcodec._types import Float32
from dfmcodec.entropy.neighbourhood import inside, plane_size, symbol_views
from dfmcodec.entropy.passes import PHASES, CodingPass, Rows
from dfmcodec.latents.geometry import ORIENTATIONS, Geometry


class Influence:
    """The cost of every symbol's value as context of other symbols, to first order.

    A symbol of a tile has two slopes, in bits: by its companded value with sign, and by its
    companded magnitude. They are gathered during an iteration, from the derivative of each coding
    pass's bits by its features.

    Args:
        geometry: The sizes of the tile's bands.
    """

    def __init__(self, geometry: Geometry) -> None:
        self._planes = [
            [
                [
                    np.zeros((2, *plane_size(geometry.low_sizes[level + 1])), dtype=np.float32)
                    for _ in range(ORIENTATIONS)
                ]
                for _ in range(geometry.channels)
            ]
            for level in range(geometry.levels)
        ]

    def add(self, coding_pass: CodingPass, rows: Rows, columns: int, features_gradient: Float32) -> None:
        """Adds derivatives by the symbol features of some rows, float32 [K', N], to the slopes of
        those symbols.
        """
        gradient = features_gradient.reshape(-1, len(rows), columns)
        has_coarser = coding_pass.level + 1 < len(self._planes)
        views = [view for view in symbol_views(coding_pass, has_coarser) if view.available]
        signed, magnitudes = np.split(gradient, 2)
        row = 0
        for view in views:
            plane = self._planes[coding_pass.level + view.coarser][view.channel][view.orientation]
            for window in view.windows(rows, columns):
                plane[0][window] += signed[row]
                plane[1][window] += magnitudes[row]
                row += 1

    def scaled(self, factor: float) -> Influence:
        """Multiplies all slopes by a factor, in place, and returns this object."""
        for channels in self._planes:
            for plane in chain.from_iterable(channels):
                plane *= np.float32(factor)
        return self

    def slopes(self, coding_pass: CodingPass, shape: tuple[int, int]) -> tuple[Float32, Float32]:
        """The two slopes of each symbol of a pass, each float32 [N]."""
        signed, magnitude = self._planes[coding_pass.level][coding_pass.channel][coding_pass.orientation]
        phase = PHASES[coding_pass.phase]
        return inside(signed, shape, phase).ravel(), inside(magnitude, shape, phase).ravel()
