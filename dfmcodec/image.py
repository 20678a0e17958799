"""Pictures in memory: pixels with transparency and metadata, and the scaling between levels and samples."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from dfmcodec.errors import ImageError

Pixels = npt.NDArray[np.unsignedinteger[Any]]  # uint8 or uint16
Float32 = npt.NDArray[np.float32]

MAX_SIDE = 65_535
MAX_PIXELS = 89_478_485  # Pillow's own default limit, 0.25 Gi / 3
PEAK_LEVEL = 255  # of 8-bit samples; models work in these levels whatever the depth
BIT_DEPTHS = (8, 16)


@dataclass(frozen=True)
class Metadata:
    """What travels with the pixels unchanged: ICC profile, Exif block, XMP packet (raw bytes or None)."""

    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None

    def __bool__(self) -> bool:
        return bool(self.icc or self.exif or self.xmp)

    def present(self) -> dict[str, bytes]:
        """The entries that are there, by name, in a fixed order."""
        entries = {"icc": self.icc, "exif": self.exif, "xmp": self.xmp}
        return {name: value for name, value in entries.items() if value}


@dataclass(frozen=True)
class Image:
    """A picture, upright.

    Args:
        pixels: uint8 or uint16 [H, W, C] with C = 1 (gray) or 3 (RGB).
        metadata: What travels along.
        alpha: Opacity, [H, W] of the pixels' type, the peak for opaque; None where the picture has none.

    Raises:
        ImageError: The array is not such a picture.
    """

    pixels: Pixels
    metadata: Metadata = field(default_factory=Metadata)
    alpha: Pixels | None = None

    def __post_init__(self) -> None:
        pixels: Any = self.pixels
        if not isinstance(pixels, np.ndarray) or pixels.dtype not in (np.uint8, np.uint16):
            found = getattr(pixels, "dtype", type(pixels).__name__)
            msg = f"pixels must be a uint8 or uint16 array, found {found}; scale the picture to 0..65535 first"
            raise ImageError(msg)
        if pixels.ndim != 3 or pixels.shape[2] not in (1, 3):
            msg = f"pixels must be [H, W, 1] or [H, W, 3], found shape {list(pixels.shape)}"
            raise ImageError(msg)
        check_picture_size(pixels.shape[0], pixels.shape[1], MAX_SIDE**2)  # it is in memory already
        if self.alpha is not None and (self.alpha.shape != pixels.shape[:2] or self.alpha.dtype != pixels.dtype):
            msg = f"alpha must be {pixels.dtype} {list(pixels.shape[:2])}, found {self.alpha.dtype} {self.alpha.shape}"
            raise ImageError(msg)

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def channels(self) -> int:
        return int(self.pixels.shape[2])

    @property
    def samples(self) -> Pixels:
        """Pixels and, where there is one, opacity as a last channel, [H, W, C]."""
        return self.pixels if self.alpha is None else np.dstack([self.pixels, self.alpha])

    @property
    def raw_bytes(self) -> int:
        """Size of the uncompressed samples, opacity among them: W * H * C * depth / 8."""
        return self.pixels.nbytes + (0 if self.alpha is None else self.alpha.nbytes)

    @property
    def bit_depth(self) -> int:
        """Bits of a sample, 8 or 16."""
        return 8 * self.pixels.itemsize

    @cached_property
    def visible(self) -> npt.NDArray[np.bool_] | None:
        """Where the picture is not fully transparent, [H, W]; None for everywhere."""
        return None if self.alpha is None or self.alpha.all() else self.alpha > 0

    @cached_property
    def is_gray(self) -> bool:
        """Whether all pixels have R = G = B."""
        first = self.pixels[:, :, :1]
        return self.channels == 1 or bool((self.pixels[:, :, 1:] == first).all())

    @property
    def pixel_count(self) -> int:
        return self.height * self.width


def check_picture_size(height: int, width: int, max_pixels: int = MAX_PIXELS) -> None:
    """Refuses sizes that no picture has or that would cost more memory than `max_pixels` allows."""
    if height < 1 or width < 1:
        msg = f"the picture is {width}x{height}; both sides must be at least 1"
        raise ImageError(msg)
    if height > MAX_SIDE or width > MAX_SIDE:
        msg = f"the picture is {width}x{height}; a side may have at most {MAX_SIDE} pixels"
        raise ImageError(msg)
    if height * width > max_pixels:
        msg = f"the picture is {width}x{height}, more than the limit of {max_pixels} pixels; scale it down"
        raise ImageError(msg)


def peak_value(bit_depth: int) -> int:
    """The largest value of a sample."""
    return (1 << bit_depth) - 1


def values_per_level(bit_depth: int) -> int:
    """How many values of a sample are one of the 255 levels: 1 at 8 bits, 257 at 16."""
    return peak_value(bit_depth) // PEAK_LEVEL


def to_values(values: Float32, bit_depth: int) -> Pixels:
    """Rounds to the nearest values that a sample may have; uint8 or uint16. The array is used up."""
    np.rint(values, out=values)
    np.clip(values, 0, peak_value(bit_depth), out=values)
    return values.astype(np.uint8 if bit_depth == BIT_DEPTHS[0] else np.uint16)


def samples_to_values(samples: Float32, bit_depth: int) -> Pixels:
    """Maps samples in [-1, 1] to the nearest values of a sample."""
    return to_values((samples + np.float32(1)) * np.float32(peak_value(bit_depth) / 2), bit_depth)
