"""Images at positions other than those of their pixels, and so at other resolutions.

Along an axis, the samples s[k] at positions 0, 1, 2, .. are taken as those of a function without
frequencies above half a cycle per sample. That function is sum_k s[k] L(x - k), with the sinc as L,
which is windowed here (Lanczos; Duchon 1979) so that it is short. For smaller images the samples
are the low-pass band after a coarser decomposition level, so the finer levels need no decoding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, floor, log2
from types import ModuleType

import numpy as np

from dfmcodec._types import Array, Float32, Float64
from dfmcodec.errors import ConfigError
from dfmcodec.image import MAX_SIDE
from dfmcodec.latents.geometry import Region

LOBES = 4  # lobes of the kernel on each side
_STRIP_ROWS = 256


@dataclass(frozen=True)
class Sampling:
    """Where a region of an image is evaluated: the middles of `height` x `width` equal parts.

    Args:
        region: The region of the image, in pixels.
        height: The height of the result in pixels.
        width: The width of the result in pixels.

    Raises:
        ConfigError: The height or width is outside 1..MAX_SIDE.
    """

    region: Region
    height: int
    width: int

    def __post_init__(self) -> None:
        for side in (self.height, self.width):
            if not 1 <= side <= MAX_SIDE:
                msg = f"{self.width}x{self.height} is no size for an image; sides of 1 to {MAX_SIDE} are possible"
                raise ConfigError(msg)

    @property
    def scale(self) -> float:
        """The larger of the scales of the two axes."""
        return max(self.height / self.region.height, self.width / self.region.width)

    def level(self, levels: int) -> int:
        """Returns how often the image can be halved and still have the resolution that is needed.

        Args:
            levels: The number of decomposition levels, the most that is returned.
        """
        return min(levels, max(0, floor(log2(1 / self.scale) + 1e-9)))

    def rows(self) -> Float64:
        """Returns the vertical positions in the image in pixels, float64 [height]."""
        return _middles(self.region.top, self.region.height, self.height)

    def columns(self) -> Float64:
        """Returns the horizontal positions in the image in pixels, float64 [width]."""
        return _middles(self.region.left, self.region.width, self.width)


def _middles(start: int, length: int, count: int) -> Float64:
    """Returns the middles of `count` equal parts of `length` pixels from `start`.

    The middles of pixels are whole numbers.
    """
    return np.asarray(start + (np.arange(count) + 0.5) * (length / count) - 0.5, dtype=np.float64)


def needed_margin(level: int) -> int:
    """Returns the number of pixels around a region that its evaluation at a level sees."""
    return 2 * (LOBES + 1) << level


def evaluate(planes: Float32, rows: Float64, columns: Float64) -> Float32:
    """Evaluates the function through samples at a grid of positions.

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
    """Does the same as `evaluate` in strips of rows, so that intermediate arrays stay small.

    Yields:
        The next rows, float32 [C, r, w].
    """
    margin = needed_margin(0) * max(1, ceil((rows[-1] - rows[0]) / max(1, len(rows) - 1)))
    for start in range(0, len(rows), _STRIP_ROWS):
        strip = rows[start : start + _STRIP_ROWS]
        first = max(0, floor(strip[0]) - margin)
        last = min(planes.shape[1], ceil(strip[-1]) + margin)
        yield evaluate(planes[:, first:last], strip - first, columns)


def _along_last(planes: Float32, positions: Float64) -> Float32:
    """Evaluates along the last axis.

    The kernel is as wide as the positions are apart, so that nothing is aliased.
    """
    spacing = max(1.0, float(positions[1] - positions[0]) if len(positions) > 1 else 1.0)
    reach = int(np.ceil(LOBES * spacing))
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
    """The Lanczos kernel: a sinc, windowed by another that ends after so many lobes. float [..]."""
    return xp.where(xp.abs(x) < lobes, xp.sinc(x) * xp.sinc(x / lobes), 0.0)
