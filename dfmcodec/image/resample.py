"""Resampling: evaluates images at positions between pixels and at other resolutions.

Along an axis, the samples s[k] at positions 0, 1, 2, .. are interpreted as samples of a function
without frequencies above half a cycle per sample. This function is sum_k s[k] L(x - k), where L is
a sinc, windowed to be short (Lanczos; Duchon 1979). For smaller images the samples are the low-pass
band of a coarser decomposition level, so the finer levels are not decoded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, floor, log2
from types import ModuleType
from typing import NamedTuple

import numpy as np

from dfmcodec._types import Array, Float32, Float64
from dfmcodec.errors import ConfigError
from dfmcodec.image import MAX_SIDE
from dfmcodec.image.region import Region

LOBES = 4  # of the kernel, on each side
_STRIP_ROWS = 256


@dataclass(frozen=True)
class Sampling:
    """Sampling grid over a region: the centres of `height` x `width` equal cells.

    Raises ConfigError for a height or width outside 1..MAX_SIDE.
    """

    region: Region
    height: int
    width: int

    def __post_init__(self) -> None:
        for side in (self.height, self.width):
            if not 1 <= side <= MAX_SIDE:
                msg = f"{self.width}x{self.height} is not a possible image size; sides of 1 to {MAX_SIDE} are possible"
                raise ConfigError(msg)

    @property
    def scale(self) -> float:
        """Returns the larger scale of the two axes."""
        return max(self.height / self.region.height, self.width / self.region.width)

    def level(self, levels: int) -> int:
        """Returns the decomposition level of the lowest sufficient resolution, at most `levels`."""
        return min(levels, max(0, floor(log2(1 / self.scale) + 1e-9)))

    def rows(self) -> Axis:
        return _centres(self.region.top, self.region.height, self.height)

    def columns(self) -> Axis:
        return _centres(self.region.left, self.region.width, self.width)

    def margin(self, level: int) -> int:
        """Returns the number of pixels around the region that the evaluation at a level needs."""
        return max(axis.from_sample(0, level).margin for axis in (self.rows(), self.columns())) << level


def _centres(start: int, length: int, count: int) -> Axis:
    """Returns the centres of `count` equal cells from `start`; centres of pixels are integers."""
    positions = start + (np.arange(count, dtype=np.float64) + 0.5) * (length / count) - 0.5
    return Axis(positions, length / count)


class Axis(NamedTuple):
    """Sampling positions along an axis."""

    positions: Float64  # [N]; 0 is the first sample
    spacing: float  # the distance between positions in samples: the size of a cell, even of a single position

    def from_sample(self, first: int, level: int = 0) -> Axis:
        """Returns the same positions relative to samples 2^level pixels apart from `first` on."""
        return Axis((self.positions - first) / (1 << level), self.spacing / (1 << level))

    @property
    def margin(self) -> int:
        """Returns the samples on each side that a value depends on, or one more."""
        return ceil((LOBES + 1) * max(1.0, self.spacing))


def evaluate(planes: Float32, rows: Axis, columns: Axis) -> Float32:
    """Evaluates the function on a grid: float32 [C, H, W] with replicated edges -> [C, h, w]."""
    along_columns = _along_last(planes, columns)
    return np.ascontiguousarray(_along_last(along_columns.swapaxes(1, 2), rows).swapaxes(1, 2))


def evaluate_strips(planes: Float32, rows: Axis, columns: Axis) -> Iterator[Float32]:
    """Evaluates like `evaluate`, but yields strips of rows, with small intermediate arrays."""
    for start in range(0, len(rows.positions), _STRIP_ROWS):
        strip = rows._replace(positions=rows.positions[start : start + _STRIP_ROWS])
        first = max(0, floor(strip.positions[0]) - rows.margin)
        last = min(planes.shape[1], ceil(strip.positions[-1]) + rows.margin)
        yield evaluate(planes[:, first:last], strip.from_sample(first), columns)


def _along_last(planes: Float32, axis: Axis) -> Float32:
    """Evaluates along the last axis. Wide spacing widens the kernel, to avoid aliasing."""
    positions, spacing = axis.positions, max(1.0, axis.spacing)
    reach = ceil(LOBES * spacing)
    first = np.floor(positions).astype(np.int64) - reach + 1
    offsets = np.arange(2 * reach)
    index = first[:, None] + offsets
    weights = lanczos((positions[:, None] - index) / spacing, LOBES, np)
    weights /= weights.sum(axis=1, keepdims=True)
    index = np.clip(index, 0, planes.shape[-1] - 1)
    values = np.zeros((*planes.shape[:-1], len(positions)), dtype=np.float32)
    for offset in offsets:
        values += planes[..., index[:, offset]] * weights[:, offset].astype(np.float32)
    return values


def lanczos(x: Array, lobes: int, xp: ModuleType) -> Array:
    """Returns the Lanczos kernel, a sinc windowed by a wider sinc with a number of lobes."""
    return xp.where(xp.abs(x) < lobes, xp.sinc(x) * xp.sinc(x / lobes), 0.0)
