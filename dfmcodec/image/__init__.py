"""Images in memory: pixels, alpha and metadata, and the scales of samples.

A code value is a gray level on the 8-bit scale, 0..255, at any bit depth. The codecs work in code
values.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from dfmcodec._types import Float32, Pixels
from dfmcodec.errors import ConfigError, ImageError

MAX_SIDE = 65_535
LARGEST_PIXELS = MAX_SIDE**2  # limited only by the sides
MAX_PIXELS = 89_478_485  # Pillow's default limit, 0.25 Gi / 3
PEAK_CODE_VALUE = 255  # maximum code value
BIT_DEPTHS = (8, 16)
_SENSOR_BIT_DEPTHS = (8, 10, 12, 14)  # ranges that cameras, microscopes and scanners use
MAX_METADATA_BYTES = 1 << 24  # of a file, including the names of the entries
MAX_SIGNIFICANT_BITS = 15  # of samples that were scaled to 16 bits
CODE_POINT_BYTES = 4
# Defined values of ITU-T H.273.
_COLOUR_PRIMARIES = frozenset((1, 2, *range(4, 13), 22))
_TRANSFER_CHARACTERISTICS = frozenset((1, 2, *range(4, 19)))
_RGB_MATRIX = 0
_RANGE_FLAGS = (0, 1)


@dataclass(frozen=True)
class Metadata:
    r"""Metadata that is stored unchanged.

    Args:
        icc: The ICC profile as raw bytes, or None.
        exif: The Exif block as raw bytes, a TIFF stream with an optional prefix `Exif\0\0`; or
            None.
        xmp: The XMP packet as raw bytes, or None.
        cicp: The code points of the colours (ITU-T H.273), as in the PNG chunk cICP, or None. One
            byte each for colour primaries, transfer characteristics, matrix coefficients (0,
            because samples are RGB) and the full range flag. They take precedence over the ICC
            profile.
        significant_bits: The number of significant bits per sample, 1..15, if samples with fewer
            bits were scaled to 16 bits, as in the PNG chunk sBIT. None if all bits are significant.
        gainmap: The gain map (ISO 21496-1, Ultra HDR) as a JPEG file, upright; or None.

    Raises:
        ImageError: The code points are invalid (see `are_code_points`), or the number of bits is
            out of range.
    """

    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    cicp: bytes | None = None
    significant_bits: int | None = None
    gainmap: bytes | None = None

    def __post_init__(self) -> None:
        if self.cicp and not are_code_points(self.cicp):
            msg = f"cicp is {list(self.cicp)}; it must be 4 values of ITU-T H.273, with 0 for the third, the matrix"
            raise ImageError(msg)
        bits = self.significant_bits
        if bits is not None and not 1 <= bits <= MAX_SIGNIFICANT_BITS:
            msg = f"significant_bits is {bits}; it must be 1 to {MAX_SIGNIFICANT_BITS}, or None for all bits"
            raise ImageError(msg)

    def __bool__(self) -> bool:
        return bool(self.present())

    def present(self) -> dict[str, bytes]:
        """Returns the entries that are present, by their keys in docs/format.md, in order."""
        bits = None if self.significant_bits is None else bytes([self.significant_bits])
        colours = {"icc": self.icc, "exif": self.exif, "xmp": self.xmp, "cicp": self.cicp}
        entries = {**colours, "bits": bits, "gainmap": self.gainmap}
        return {name: value for name, value in entries.items() if value}


def are_code_points(cicp: bytes) -> bool:
    """Indicates whether bytes are defined code points of RGB samples (ITU-T H.273)."""
    if len(cicp) != CODE_POINT_BYTES:
        return False
    primaries, transfer, matrix, full_range = cicp
    are_defined = primaries in _COLOUR_PRIMARIES and transfer in _TRANSFER_CHARACTERISTICS
    return are_defined and matrix == _RGB_MATRIX and full_range in _RANGE_FLAGS


@dataclass(frozen=True, eq=False)
class Image:
    """Image in upright orientation.

    Args:
        pixels: uint8 or uint16 [H, W, C] with C = 1 (gray) or 3 (RGB).
        metadata: The metadata. Significant bits are kept only for 16-bit samples.
        alpha: The alpha samples, [H, W] of the same type as `pixels`; the peak value is opaque.
            None without alpha.

    Raises:
        ImageError: An array has a wrong shape or type.
    """

    pixels: Pixels
    metadata: Metadata = field(default_factory=Metadata)
    alpha: Pixels | None = None

    def __post_init__(self) -> None:
        for name in ("pixels", "alpha"):
            array: Any = getattr(self, name)
            if isinstance(array, np.ndarray) and array.dtype.kind == "u":  # any byte order
                native = array.astype(array.dtype.newbyteorder("="), copy=False)
                object.__setattr__(self, name, native)
        pixels: Any = self.pixels
        if not isinstance(pixels, np.ndarray) or pixels.dtype not in (np.uint8, np.uint16):
            kind = getattr(pixels, "dtype", type(pixels).__name__)
            msg = f"pixels must be a uint8 or uint16 array, found {kind}; scale the image to 0..65535 first"
            raise ImageError(msg)
        if pixels.ndim != 3 or pixels.shape[2] not in (1, 3):
            msg = f"pixels must be [H, W, 1] or [H, W, 3], found shape {list(pixels.shape)}"
            raise ImageError(msg)
        if pixels.dtype == np.uint8 and self.metadata.significant_bits is not None:
            object.__setattr__(self, "metadata", replace(self.metadata, significant_bits=None))
        # Already in memory, so without a pixel limit.
        check_image_size(pixels.shape[0], pixels.shape[1], LARGEST_PIXELS)
        if self.alpha is not None and (self.alpha.shape != pixels.shape[:2] or self.alpha.dtype != pixels.dtype):
            msg = f"alpha must be {pixels.dtype} {list(pixels.shape[:2])}, found {self.alpha.dtype} {self.alpha.shape}"
            raise ImageError(msg)

    @property
    def height(self) -> int:
        """Returns the height in pixels."""
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        """Returns the width in pixels."""
        return int(self.pixels.shape[1])

    @property
    def channels(self) -> int:
        """Returns the number of channels without alpha, 1 or 3."""
        return int(self.pixels.shape[2])

    @property
    def samples(self) -> Pixels:
        """Returns the pixels, with alpha as the last channel if present, [H, W, C]."""
        return self.pixels if self.alpha is None else np.dstack([self.pixels, self.alpha])

    @property
    def raw_bytes(self) -> int:
        """Returns the size of the uncompressed samples in bytes, including alpha."""
        return self.pixels.nbytes + (0 if self.alpha is None else self.alpha.nbytes)

    @property
    def bit_depth(self) -> int:
        """Returns the number of bits per sample, 8 or 16."""
        return 8 * self.pixels.itemsize

    @cached_property
    def visible(self) -> npt.NDArray[np.bool_] | None:
        """Returns a mask [H, W] of the pixels that are not fully transparent; None for all."""
        return None if self.alpha is None or self.alpha.all() else self.alpha > 0

    @property
    def is_opaque(self) -> bool:
        """Indicates whether all pixels are fully opaque."""
        return self.alpha is None or bool((self.alpha == peak_value(self.bit_depth)).all())

    @cached_property
    def is_gray(self) -> bool:
        """Indicates whether all pixels have R = G = B."""
        first = self.pixels[:, :, :1]
        return self.channels == 1 or bool((self.pixels[:, :, 1:] == first).all())

    @cached_property
    def largest_sample(self) -> int:
        """Returns the largest sample value, without alpha."""
        return int(self.pixels.max())

    @property
    def sample_max(self) -> int:
        """Returns the peak value of the range that the samples use.

        For 16 bits it is the smallest range of 8, 10, 12, 14 or 16 bits that holds all samples. It
        is the full range if all samples are 0 or were scaled to 16 bits. For 8 bits it is 255.
        """
        may_be_part = self.bit_depth > BIT_DEPTHS[0] and self.largest_sample and self.metadata.significant_bits is None
        parts = _SENSOR_BIT_DEPTHS if may_be_part else ()
        peaks = [peak_value(bits) for bits in (*parts, self.bit_depth)]
        return next(peak for peak in peaks if self.largest_sample <= peak)

    def range_notice(self, figures: str) -> str | None:
        """Returns a notice that figures are relative to `sample_max`; None for the full range."""
        sample_max, peak = self.sample_max, peak_value(self.bit_depth)
        if sample_max == peak:
            return None
        return (
            f"its {self.bit_depth}-bit samples reach {self.largest_sample}, so {figures} are relative to "
            f"{sample_max} ({sample_max.bit_length()} bits); sample_max={peak} in Python selects the full range"
        )

    def in_8_bits(self) -> Image:
        """Returns an image with the same sample values in 8 bits. All samples must be at most 255.

        Raises:
            ImageError: The alpha channel uses more than 8 bits.
        """
        if self.bit_depth == BIT_DEPTHS[0]:
            return self
        pixels = self.pixels.astype(np.uint8)
        if self.alpha is None:
            return Image(pixels, self.metadata)
        if (self.alpha % values_per_code_value(self.bit_depth)).any():
            msg = "the image's alpha needs 16 bits, but its samples would become 8-bit ones; drop the alpha"
            raise ImageError(msg)
        return Image(pixels, self.metadata, to_code_values(self.alpha))

    @property
    def pixel_count(self) -> int:
        """Returns the number of pixels."""
        return self.height * self.width

    def plain(self) -> Image:
        """Returns the image in 8 bits and without alpha, as every codec supports it.

        16-bit samples are scaled so that `sample_max` becomes 255.
        """
        pixels = self.pixels
        if self.bit_depth > BIT_DEPTHS[0]:
            pixels = rescaled(pixels, self.sample_max, PEAK_CODE_VALUE).astype(np.uint8)
        return Image(np.ascontiguousarray(pixels), self.metadata)

    def plain_notice(self) -> str | None:
        """Describes the changes made by `plain`, such as "without its alpha"; None for none."""
        changes = [f"in 8 bits ({self.sample_max} becomes {PEAK_CODE_VALUE})"] if self.bit_depth > BIT_DEPTHS[0] else []
        if self.alpha is not None:
            changes.append("without its alpha")
        return ", ".join(changes) or None


def check_image_size(height: int, width: int, max_pixels: int = MAX_PIXELS) -> None:
    """Raises ImageError, before memory is allocated, for a side or an area out of range."""
    if height < 1 or width < 1:
        msg = f"the image is {width}x{height}; both sides must be at least 1"
        raise ImageError(msg)
    if height > MAX_SIDE or width > MAX_SIDE:
        msg = f"the image is {width}x{height}; a side may have at most {MAX_SIDE} pixels, so cut it into tiles"
        raise ImageError(msg)
    if height * width > max_pixels:
        msg = f"the image is {width}x{height}, more than the limit of {max_pixels} pixels (max_pixels)"
        raise ImageError(msg)


def peak_value(bit_depth: int) -> int:
    return (1 << bit_depth) - 1


def values_per_code_value(bit_depth: int) -> int:
    """Returns the ratio of a sample value to a code value: 1 at 8 bits, 257 at 16."""
    return peak_value(bit_depth) // PEAK_CODE_VALUE


def to_code_values(samples: Pixels) -> Pixels:
    """Returns the code values nearest to sample values, uint8."""
    step = values_per_code_value(8 * samples.itemsize)
    return ((samples.astype(np.uint32) + step // 2) // step).astype(np.uint8)


def rescaled(values: Pixels, peak: int, new_peak: int) -> Pixels:
    """Scales values from 0..peak to 0..new_peak (at most 65,535), rounded to nearest, uint16."""
    return ((values.astype(np.uint32) * new_peak + peak // 2) // peak).astype(np.uint16)


def to_values(values: Float32, bit_depth: int) -> Pixels:
    """Rounds to the nearest sample values in place, and returns them as uint8 or uint16."""
    np.rint(values, out=values)
    np.clip(values, 0, peak_value(bit_depth), out=values)
    return values.astype(np.uint8 if bit_depth == BIT_DEPTHS[0] else np.uint16)


def samples_to_values(samples: Float32, bit_depth: int) -> Pixels:
    """Maps samples in [-1, 1] to the nearest sample values, uint8 or uint16."""
    return to_values((samples + np.float32(1)) * np.float32(peak_value(bit_depth) / 2), bit_depth)


def check_channels(channels: int) -> None:
    """Raises a ConfigError unless `channels` is 1 or 3."""
    if channels not in (1, 3):
        msg = f"{channels} channels; only 1 (gray) and 3 (RGB) are coded"
        raise ConfigError(msg)
