"""Context-dependency costs: the cost of a symbol's value as context of other symbols."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dfmcodec._types import Float32, Int8
from dfmcodec.codecs.wavelet.compact import Halves, from_bytes, from_halves, in_one_block, to_bytes, to_halves
from dfmcodec.codecs.wavelet.geometry import ORIENTATIONS, Geometry
from dfmcodec.codecs.wavelet.neighbourhood import inside, inside_phase, phases_size, plane_size
from dfmcodec.codecs.wavelet.passes import PHASES, CodingPass, level_passes, pass_shape


@dataclass(frozen=True)
class DependencyCosts:
    """The context-dependency costs of a tile's symbols, to first order.

    Each symbol has two slopes in bits: with respect to its signed companded value, and to its
    companded magnitude. They are stored in 16 bits, as those of all tiles stay in memory; those of
    a large image in 8 bits; slopes beyond 1 bit hardly occur.
    """

    by_pass: Mapping[CodingPass, Halves | Int8]  # the two slopes of each symbol of a coding pass, [2, N]

    def halves(self, coding_pass: CodingPass) -> Halves:
        """Returns the two slopes of each symbol of a pass as 16-bit floats, uint16 [2, N]."""
        stored = self.by_pass[coding_pass]
        return to_halves(from_bytes(stored)) if stored.dtype == np.int8 else stored.astype(np.uint16, copy=False)

    def slopes(self, coding_pass: CodingPass) -> Float32:
        """Returns the two slopes of each symbol of a pass, float32 [2, N]."""
        return from_halves(self.halves(coding_pass))


class GatheredCosts:
    """`DependencyCosts` during an iteration, accumulated from the derivatives of each coding pass's
    bits with respect to its features.

    Contributions from passes of the symbol's own level and of the finer level are kept apart, in
    the layout that these passes read (`CausalContext.planes`).
    """

    def __init__(self, geometry: Geometry) -> None:
        self._geometry = geometry
        bands = 2, geometry.channels, ORIENTATIONS
        low_sizes = geometry.low_sizes[1:]
        phases = [(*bands, 2, 2, *phases_size(size)) for size in low_sizes]
        planes = [(*bands, *plane_size(size)) for size in low_sizes[1:]]
        self._by_level: list[Any] = [np.zeros(shape, dtype=np.float32) for shape in phases]
        self._by_finer: list[Any] = [np.zeros(shape, dtype=np.float32) for shape in planes]
        self._none = np.zeros((2, 0), dtype=np.float32)

    def slopes_seen(self, coding_pass: CodingPass) -> tuple[Float32, Float32]:
        """Returns the slopes with respect to the context of a pass: of its level, float32 [2, C,
        orientations, 2, 2, rows, columns], and of the coarser level, float32 [2, C, orientations,
        rows, columns].
        """
        has_coarser = coding_pass.level < len(self._by_finer)
        by_coarser = self._by_finer[coding_pass.level] if has_coarser else self._none
        return self._by_level[coding_pass.level], by_coarser

    def scaled(self, factor: float, is_large: bool = False) -> DependencyCosts:
        """Returns the costs multiplied by a factor; in 8 bits if the image is large."""
        levels = range(self._geometry.levels)
        passes = (coding_pass for level in levels for coding_pass in level_passes(self._geometry, level))
        compact = to_bytes if is_large else to_halves
        costs = {each: compact(self._slopes(each) * np.float32(factor)) for each in passes}
        return DependencyCosts(in_one_block(costs))

    def _slopes(self, coding_pass: CodingPass) -> Float32:
        """Returns the two slopes of each symbol of a pass, float32 [2, N]."""
        level, phase = coding_pass.level, PHASES[coding_pass.phase]
        shape = pass_shape(self._geometry, coding_pass)
        slopes = np.empty((2, *shape), dtype=np.float32)
        for kind, kind_slopes in enumerate(slopes):
            band = kind, coding_pass.channel, coding_pass.orientation
            kind_slopes[:] = inside_phase(self._by_level[level][band], shape, phase)
            if level > 0:
                kind_slopes += inside(self._by_finer[level - 1][band], shape, phase)
        return slopes.reshape(2, -1)
