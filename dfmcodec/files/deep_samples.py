"""Samples of more than 8 bits, which Pillow alone would reduce to 8, and notices of lost depth."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dfmcodec._types import Notify, Pixels
from dfmcodec.errors import ImageError
from dfmcodec.files.open_image import load_samples, open_image
from dfmcodec.files.source import Source

if TYPE_CHECKING:
    from PIL.Image import Image as PilImage
    from PIL.ImageFile import ImageFile


class ImageSamples(NamedTuple):
    """The samples of an image: pixels, uint8 or uint16 [H, W, C], and alpha [H, W] or None."""

    pixels: Pixels
    alpha: Pixels | None


def split_alpha(samples: npt.NDArray[Any]) -> ImageSamples:
    """Splits samples [H, W] or [H, W, C] into pixels and alpha, the last of 2 or 4 channels."""
    if samples.ndim == 2:
        samples = samples[:, :, None]
    if samples.ndim == 3 and samples.shape[2] in (2, 4):
        return ImageSamples(np.ascontiguousarray(samples[:, :, :-1]), np.ascontiguousarray(samples[:, :, -1]))
    return ImageSamples(np.ascontiguousarray(samples), None)


DEEP_GRAY_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I")
_OTHER_ORDER = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
_PEAK = 65_535  # of 16 bits
_HEAD_BYTES = 1 << 20  # in which a file says its depth


def deep_gray_samples(pil_image: PilImage, transparency: Any) -> ImageSamples:
    """Returns the samples of a Pillow image of a deep gray mode, as uint16.

    Args:
        pil_image: The image, in one of `DEEP_GRAY_MODES`.
        transparency: The gray value that is fully transparent; anything but an integer for none.

    Raises:
        ImageError: A value is outside 0..65535.
    """
    values = np.asarray(pil_image)
    if values.min() < 0 or values.max() > _PEAK:
        msg = f"it has integers in {values.min()}..{values.max()}; convert it to 16 bits first"
        raise ImageError(msg)
    gray = values.astype(np.uint16)
    alpha = np.where(gray == transparency, 0, _PEAK).astype(np.uint16) if isinstance(transparency, int) else None
    return ImageSamples(gray[:, :, None], alpha)


def deep_samples(pil_image: ImageFile, source: Source, max_pixels: int) -> ImageSamples | None:
    """Returns 16-bit samples of which Pillow alone would keep the high bytes.

    Args:
        pil_image: The open image, whose samples are not loaded yet.
        source: Its file.
        max_pixels: The limit that the image was opened with.

    Returns:
        The samples; None where the image has no such samples.
    """
    if pil_image.format == "PPM":
        return _deep_netpbm(pil_image, source)
    rawmodes = {_rawmode(tile) for tile in pil_image.tile}
    if not rawmodes or not all(re.search(r";16[BLN]$", mode) for mode in rawmodes):
        return None
    if pil_image.mode in DEEP_GRAY_MODES:
        return None  # Pillow keeps these
    if any(mode.startswith("LA") for mode in rawmodes):
        return _deep_gray_alpha(pil_image)
    page = pil_image.tell()
    transparency = pil_image.info.get("transparency")
    high, low = (_raw_bytes(source, page, max_pixels, other) for other in (False, True))
    samples = split_alpha(high.astype(np.uint16) << 8 | low)
    if samples.alpha is None and isinstance(transparency, tuple):  # the transparent colour of a PNG
        clear = (samples.pixels == np.array(transparency, dtype=np.uint16)).all(axis=2)
        return ImageSamples(samples.pixels, np.where(clear, 0, _PEAK).astype(np.uint16))
    return samples


def _rawmode(tile: Any) -> str:
    """Returns the raw mode of a tile, which is the first of its arguments where it has one."""
    first = tile[3][0] if isinstance(tile[3], tuple) and tile[3] else tile[3]
    return first if isinstance(first, str) else ""


def _raw_bytes(source: Source, page: int, max_pixels: int, other_order: bool) -> npt.NDArray[np.uint8]:
    """Returns the high bytes of all samples, or the low bytes, which the other byte order gives."""
    with source.open() as file, open_image(file, max_pixels) as pil_image:
        pil_image.seek(page)
        if other_order:
            pil_image.tile = [tile._replace(args=_in_other_order(tile[3])) for tile in pil_image.tile]
        load_samples(pil_image)
        return np.asarray(pil_image)


def _in_other_order(args: Any) -> Any:
    if isinstance(args, str):
        return args[:-1] + _OTHER_ORDER[args[-1]]
    return (_in_other_order(args[0]), *args[1:])


def _deep_gray_alpha(pil_image: PilImage) -> ImageSamples:
    """Returns 16-bit gray with alpha, whose four bytes a pixel are read as R, G, B and A."""
    changed: Any = pil_image
    changed._mode = "RGBA"
    changed.tile = [tile._replace(args="RGBA") for tile in changed.tile]
    both = np.ascontiguousarray(np.asarray(pil_image)).view(">u2").astype(np.uint16)
    return ImageSamples(both[:, :, :1], both[:, :, 1])


def _deep_netpbm(pil_image: ImageFile, source: Source) -> ImageSamples | None:
    """Returns a PGM or PPM whose peak is above 255, scaled to 0..65535; None for any other file."""
    with source.open() as file:
        head = file.read(_HEAD_BYTES)
        header = re.match(
            rb"P([56])\s+(?:#[^\n]*\n\s*)*(\d+)\s+(?:#[^\n]*\n\s*)*(\d+)\s+(?:#[^\n]*\n\s*)*(\d+)\s", head
        )
        if header is None or int(header[4]) <= 255:
            return None
        channels, peak = (1 if header[1] == b"5" else 3), int(header[4])
        count = pil_image.width * pil_image.height * channels
        file.seek(header.end())
        body = file.read(2 * count)
    if len(body) < 2 * count:
        msg = "the file ends within its samples"
        raise EOFError(msg)
    values = np.frombuffer(body, ">u2").astype(np.float64)
    scaled = np.rint(np.minimum(values, peak) * (_PEAK / peak)).astype(np.uint16)
    return ImageSamples(scaled.reshape(pil_image.height, pil_image.width, channels), None)


def report_depth(pil_image: PilImage, source: Source, notify: Notify) -> None:
    """Gives a notice where Pillow's decoder of a format reduces samples to 8 bits."""
    bits = 8
    with source.open() as file:
        head = file.read(_HEAD_BYTES)
    if pil_image.format == "AVIF" and (at := head.find(b"av1C")) >= 0:
        flags = head[at + 6] if at + 6 < len(head) else 0
        bits = 8 if not flags & 0x40 else 12 if flags & 0x20 else 10
    elif pil_image.format in ("HEIF", "HEIC"):
        bits = int(pil_image.info.get("bit_depth", 8))
    elif pil_image.format == "JPEG2000" and (at := head.find(b"\xff\x4f\xff\x51")) >= 0 and pil_image.mode != "I;16":
        bits = (head[at + 42] & 0x7F) + 1 if at + 42 < len(head) else 8
    if bits > 8:
        notify(f"it has {bits} bits a sample, of which Pillow's {pil_image.format} reader gives 8")
