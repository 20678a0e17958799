"""A picture at other positions than its pixels: the band-limited function through its samples, evaluated anywhere.

Along an axis the samples s[k], at positions 0, 1, 2, .., are taken for those of a function without frequencies above
half a cycle a sample. That function is sum_k s[k] L(x - k) with L the sinc, here windowed (Lanczos; Duchon 1979), so
short. For smaller pictures the samples are the low-pass band of a coarser level, whose finer levels need no decoding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, floor, log2

import numpy as np
import numpy.typing as npt

from dfmcodec.errors import ConfigError
from dfmcodec.image import MAX_SIDE
from dfmcodec.latents import Window

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

LOBES = 4  # of the kernel on each side
_STRIP_ROWS = 256


@dataclass(frozen=True)
class Sampling:
    """Where a window of a picture is evaluated: at the middles of `height` x `width` equal parts of it.

    Args:
        window: Of the picture, pixels.
        height: Of what comes out.
        width: Of what comes out.

    Raises:
        ConfigError: A side is not possible.
    """

    window: Window
    height: int
    width: int

    def __post_init__(self) -> None:
        for side in (self.height, self.width):
            if not 1 <= side <= MAX_SIDE:
                msg = f"{self.width}x{self.height} is no size for a picture; sides of 1 to {MAX_SIDE} are possible"
                raise ConfigError(msg)

    @property
    def scale(self) -> float:
        """The larger of both axes' scales."""
        return max(self.height / self.window.height, self.width / self.window.width)

    def level(self, levels: int) -> int:
        """The coarsest level whose low-pass band, after so many halvings, still has the resolution that is wanted."""
        return min(levels, max(0, floor(log2(1 / self.scale) + 1e-9)))

    def rows(self) -> Float64:
        """Vertical positions in the picture, pixels."""
        return _middles(self.window.top, self.window.height, self.height)

    def columns(self) -> Float64:
        """Horizontal positions in the picture, pixels."""
        return _middles(self.window.left, self.window.width, self.width)


def _middles(start: int, length: int, count: int) -> Float64:
    """The middles of `count` equal parts of pixels start .. start + length, whose own middles are whole numbers."""
    return np.asarray(start + (np.arange(count) + 0.5) * (length / count) - 0.5, dtype=np.float64)


def needed_margin(level: int) -> int:
    """How many pixels around a window its evaluation sees."""
    return 2 * (LOBES + 1) << level


def evaluate(planes: Float32, rows: Float64, columns: Float64) -> Float32:
    """The function through samples, at a grid of positions.

    Args:
        planes: float32 [C, H, W]; the edges are repeated.
        rows: Positions, float64 [h]; 0 is the first row of samples.
        columns: Positions, float64 [w].

    Returns:
        float32 [C, h, w].
    """
    along_columns = _along_last(planes, columns)
    return np.ascontiguousarray(_along_last(along_columns.swapaxes(1, 2), rows).swapaxes(1, 2))


def evaluate_strips(planes: Float32, rows: Float64, columns: Float64) -> Iterator[Float32]:
    """As `evaluate`, in strips of rows, so that what is in between stays small."""
    margin = needed_margin(0) * max(1, ceil((rows[-1] - rows[0]) / max(1, len(rows) - 1)))
    for start in range(0, len(rows), _STRIP_ROWS):
        of_strip = rows[start : start + _STRIP_ROWS]
        first = max(0, floor(of_strip[0]) - margin)
        last = min(planes.shape[1], ceil(of_strip[-1]) + margin)
        yield evaluate(planes[:, first:last], of_strip - first, columns)


def _along_last(planes: Float32, positions: Float64) -> Float32:
    """Evaluation along the last axis; the kernel is as wide as the positions are apart, so that nothing is aliased."""
    spacing = max(1.0, float(positions[1] - positions[0]) if len(positions) > 1 else 1.0)
    reach = int(np.ceil(LOBES * spacing))
    first = np.floor(positions).astype(np.int64) - reach + 1
    offsets = np.arange(2 * reach)
    index = first[:, None] + offsets
    weights = _kernel((positions[:, None] - index) / spacing)
    weights /= weights.sum(axis=1, keepdims=True)
    index = np.clip(index, 0, planes.shape[-1] - 1)
    found = np.zeros((*planes.shape[:-1], len(positions)), dtype=np.float32)
    for offset in offsets:
        found += planes[..., index[:, offset]] * weights[:, offset].astype(np.float32)
    return found


def _kernel(x: Float64) -> Float64:
    return np.where(np.abs(x) < LOBES, np.sinc(x) * np.sinc(x / LOBES), 0.0)
