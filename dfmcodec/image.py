"""Pictures in memory: pixels with their metadata, and the scaling between levels and samples."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from dfmcodec.errors import ImageError

Pixels = npt.NDArray[np.uint8]
Float32 = npt.NDArray[np.float32]

MAX_SIDE = 65_535
MAX_PIXELS = 89_478_485  # Pillow's own default limit, 0.25 Gi / 3
PEAK_LEVEL = 255  # of 8-bit samples


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
    """A picture: pixels uint8 [H, W, C] with C = 1 (gray) or 3 (RGB), and its metadata.

    Raises:
        ImageError: The array is not such a picture.
    """

    pixels: Pixels
    metadata: Metadata = field(default_factory=Metadata)

    def __post_init__(self) -> None:
        pixels: Any = self.pixels
        if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8:
            found = getattr(pixels, "dtype", type(pixels).__name__)
            msg = f"pixels must be a uint8 array, found {found}; scale the picture to 8 bits first"
            raise ImageError(msg)
        if pixels.ndim != 3 or pixels.shape[2] not in (1, 3):
            msg = f"pixels must be [H, W, 1] or [H, W, 3], found shape {list(pixels.shape)}"
            raise ImageError(msg)
        check_picture_size(pixels.shape[0], pixels.shape[1])

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
    def raw_bytes(self) -> int:
        """Size of the uncompressed samples: W * H * C * depth / 8."""
        return self.pixels.size

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


def samples_to_levels(samples: Float32) -> Pixels:
    """Maps samples in [-1, 1] to the nearest levels 0..255."""
    levels = np.rint((samples + np.float32(1)) * np.float32(PEAK_LEVEL / 2))
    pixels: Pixels = np.clip(levels, 0, PEAK_LEVEL).astype(np.uint8)
    return pixels
