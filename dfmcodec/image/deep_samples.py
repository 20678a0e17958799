"""Reads samples with more than 8 bits, which Pillow would reduce to 8, and reports lost depth.

Samples of AVIF and HEIC are read by imagecodecs and pillow-heif, the extra `heif`.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dfmcodec._types import Notify, Pixels
from dfmcodec.errors import ImageError
from dfmcodec.image import PEAK_CODE_VALUE, peak_value, png, rescaled
from dfmcodec.image.open_image import load_samples, open_image
from dfmcodec.image.source import Source

if TYPE_CHECKING:
    from PIL.Image import Image as PilImage
    from PIL.ImageFile import ImageFile


class ImageSamples(NamedTuple):
    """Samples of an image: pixels, uint8 or uint16 [H, W, C], and alpha, [H, W] or None."""

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
_PEAK = 65_535  # 16 bits
_HEAD_BYTES = 1 << 20  # part of a file that contains the bit depth
_NETPBM_HEADER = re.compile(rb"P([56])\s+(?:#[^\n]*\n\s*)*(\d+)\s+(?:#[^\n]*\n\s*)*(\d+)\s+(?:#[^\n]*\n\s*)*(\d+)\s")
_DEEP = re.compile(r";16[BLN]$")  # Pillow's raw modes with 16 bits per sample
_DEEP_COLOURS = re.compile(r"(?:RGB[XAa]?|[RGBAa]);16[BLN]")  # reading with the opposite byte order gives the low bytes
_BITS_PER_SAMPLE, _PHOTOMETRIC, _PLANAR_CONFIGURATION = 258, 262, 284  # TIFF tags
_WHITE_IS_ZERO, _SEPARATE_PLANES = 0, 2  # values of PhotometricInterpretation and PlanarConfiguration
_AV1_CONFIGURATION = re.compile(rb"av1C..(.)", re.DOTALL)  # of the image, its alpha and its gain map
_HIGH_BIT_DEPTH, _TWELVE_BIT = 0x40, 0x20  # flags of it


def deep_gray_samples(pil_image: PilImage, transparency: Any) -> ImageSamples:
    """Returns the samples of a Pillow image in one of `DEEP_GRAY_MODES`, as uint16.

    An integer transparency is the fully transparent gray. Raises ImageError outside 0..65535.
    """
    values = np.asarray(pil_image)
    if values.min() < 0 or values.max() > _PEAK:
        msg = f"it has integers in {values.min()}..{values.max()}; convert it to 16 bits first"
        raise ImageError(msg)
    gray = values.astype(np.uint16)
    alpha = np.where(gray == transparency, 0, _PEAK).astype(np.uint16) if isinstance(transparency, int) else None
    return ImageSamples(gray[:, :, None], alpha)


def deep_samples(pil_image: ImageFile, source: Source, max_pixels: int) -> ImageSamples | None:
    """Returns 16-bit samples that Pillow would reduce to 8 bits; None if there are none.

    The samples are not loaded yet. Those of AVIF and HEIC are scaled to 16 bits; without the
    package that reads them, None is returned. Raises ImageError for a TIFF that Pillow would
    misread.
    """
    if pil_image.format == "PPM":
        return _deep_netpbm(pil_image, source)
    if pil_image.format == "AVIF":
        return _deep_avif(pil_image, source)
    if pil_image.format == "HEIF":
        return _deep_heif(pil_image, source)
    if pil_image.mode in DEEP_GRAY_MODES:  # Pillow keeps 16 bits in these modes
        return _inverted(pil_image) if _tag(pil_image, _PHOTOMETRIC) == _WHITE_IS_ZERO else None
    rawmodes = _deep_rawmodes(pil_image)
    if any(mode.startswith("LA") for mode in rawmodes):
        return _deep_gray_alpha(pil_image)
    if not rawmodes or not all(map(_DEEP_COLOURS.fullmatch, rawmodes)):
        return None
    page = pil_image.tell()
    transparency = pil_image.info.get("transparency")
    is_premultiplied = any("a" in mode for mode in rawmodes)
    rawmodes = [mode.replace("a", "A") for mode in rawmodes]  # Pillow would divide each byte by alpha
    high = _raw_bytes(source, page, max_pixels, rawmodes)
    low = _raw_bytes(source, page, max_pixels, [mode[:-1] + _OTHER_ORDER[mode[-1]] for mode in rawmodes])
    samples = split_alpha(high.astype(np.uint16) << 8 | low)
    if is_premultiplied and samples.alpha is not None:
        return ImageSamples(_divided(samples.pixels, samples.alpha), samples.alpha)
    if samples.alpha is None and isinstance(transparency, tuple):  # transparent colour of a PNG
        clear = (samples.pixels == np.array(transparency, dtype=np.uint16)).all(axis=2)
        return ImageSamples(samples.pixels, np.where(clear, 0, _PEAK).astype(np.uint16))
    return samples


def rawmode_of(tile: Any) -> str:
    """Returns the raw mode of a tile, the first of its arguments."""
    first = tile[3][0] if isinstance(tile[3], tuple) and tile[3] else tile[3]
    return first if isinstance(first, str) else ""


def _tag(pil_image: PilImage, tag: int) -> Any:
    """Returns the value of a TIFF tag; None if it is absent or the image is not a TIFF."""
    return getattr(pil_image, "tag_v2", {}).get(tag)


def _deep_rawmodes(pil_image: Any) -> list[str]:
    """Returns the raw modes of the tiles if they have 16 bits.

    Pillow states 8-bit raw modes for separate 16-bit planes, which would give wrong samples.
    """
    rawmodes = [rawmode_of(tile) for tile in pil_image.tile]
    if _tag(pil_image, _PLANAR_CONFIGURATION) == _SEPARATE_PLANES and 16 in (_tag(pil_image, _BITS_PER_SAMPLE) or ()):
        if pil_image.tile[0][0] == "libtiff":  # with libtiff, Pillow reads the high bytes with any raw mode
            return []
        order = "L" if pil_image.tag_v2.prefix == b"II" else "B"
        rawmodes = [f"{mode};16{order}" for mode in rawmodes]
        if not all(map(_DEEP_COLOURS.fullmatch, rawmodes)):
            msg = "its samples of 16 bits are in separate planes, which Pillow cannot read; convert it to PNG"
            raise ImageError(msg)
    return rawmodes if all(map(_DEEP.search, rawmodes)) else []


def _raw_bytes(source: Source, page: int, max_pixels: int, rawmodes: list[str]) -> npt.NDArray[np.uint8]:
    """Returns 8-bit samples of the tiles, decoded with other raw modes."""
    with source.open() as file, open_image(file, max_pixels) as pil_image:
        pil_image.seek(page)
        tiles = zip(pil_image.tile, rawmodes, strict=True)
        pil_image.tile = [tile._replace(args=_with_rawmode(tile[3], mode)) for tile, mode in tiles]
        load_samples(pil_image)
        return np.asarray(pil_image)


def _with_rawmode(args: Any, rawmode: str) -> Any:
    return rawmode if isinstance(args, str) else (rawmode, *args[1:])


def _divided(pixels: Pixels, alpha: Pixels) -> Pixels:
    """Divides premultiplied 16-bit samples by alpha. Samples with alpha 0 become 0."""
    divisors = np.maximum(alpha, 1).astype(np.uint32)[:, :, None]
    colours = (pixels.astype(np.uint32) * _PEAK + divisors // 2) // divisors
    return np.where(alpha[:, :, None] > 0, np.minimum(colours, _PEAK), 0).astype(np.uint16)


def _inverted(pil_image: ImageFile) -> ImageSamples:
    """Returns gray with white as 0, which Pillow does not invert at 16 bits."""
    load_samples(pil_image)
    return ImageSamples(_PEAK - deep_gray_samples(pil_image, None).pixels, None)


def _deep_gray_alpha(pil_image: PilImage) -> ImageSamples:
    """Returns 16-bit gray with alpha. Its four bytes per pixel are read as R, G, B and A."""
    changed: Any = pil_image
    changed._mode = "RGBA"
    changed.tile = [tile._replace(args="RGBA") for tile in changed.tile]
    both = np.ascontiguousarray(np.asarray(pil_image)).view(">u2").astype(np.uint16)
    return ImageSamples(both[:, :, :1], both[:, :, 1])


def _deep_netpbm(pil_image: ImageFile, source: Source) -> ImageSamples | None:
    """Returns the samples of a PGM or PPM with a peak above 255, scaled to 0..65535, or None."""
    with source.open() as file:
        header = _NETPBM_HEADER.match(file.read(_HEAD_BYTES))
        if header is None or int(header[4]) <= PEAK_CODE_VALUE:
            return None
        channels, peak = (1 if header[1] == b"5" else 3), int(header[4])
        count = pil_image.width * pil_image.height * channels
        file.seek(header.end())
        body = file.read(2 * count)
    if len(body) < 2 * count:
        msg = "the file ends within its samples"
        raise EOFError(msg)
    scaled = rescaled(np.minimum(np.frombuffer(body, ">u2"), peak), peak, _PEAK)
    return ImageSamples(scaled.reshape(pil_image.height, pil_image.width, channels), None)


def _deep_avif(pil_image: ImageFile, source: Source) -> ImageSamples | None:
    """Returns the samples of an AVIF image with 10 or 12 bits.

    Sequences are left to Pillow: imagecodecs 2026.3.6 writes beyond its output when it decodes one
    image of several.
    """
    bits = _avif_bits(source)
    if bits == 8 or not _is_still(pil_image) or not importlib.util.find_spec("imagecodecs"):
        return None
    import imagecodecs

    with source.open() as file:
        samples = np.asarray(imagecodecs.avif_decode(file.read()))
    return _scaled_from(samples, bits, pil_image) if samples.itemsize > 1 else None  # only its alpha has more bits


def _deep_heif(pil_image: ImageFile, source: Source) -> ImageSamples | None:
    """Returns the samples of a page of a HEIC file with more than 8 bits."""
    bits = _heif_bits(pil_image)
    if bits == 8:
        return None
    import pillow_heif

    with source.open() as file:
        images = pillow_heif.open_heif(file, convert_hdr_to_8bit=False, hdr_to_16bit=False)
        return _scaled_from(np.asarray(images[pil_image.tell()]), bits, pil_image)


def _scaled_from(samples: npt.NDArray[Any], bits: int, pil_image: ImageFile) -> ImageSamples:
    """Scales samples of fewer bits to 16 bits. Raises ValueError if the header has another size."""
    if samples.shape[:2] != (pil_image.height, pil_image.width):
        msg = f"its header states {pil_image.width}x{pil_image.height} pixels, its samples have another size"
        raise ValueError(msg)
    return split_alpha(rescaled(np.minimum(samples, peak_value(bits)), peak_value(bits), _PEAK))


def _is_still(pil_image: ImageFile) -> bool:
    return bool(getattr(pil_image, "n_frames", 1) == 1)


def _avif_bits(source: Source) -> int:
    """Returns the largest bit depth of the images in an AVIF file."""
    with source.open() as file:
        flags = [match[1][0] for match in _AV1_CONFIGURATION.finditer(file.read(_HEAD_BYTES))]
    return max((8 if not flag & _HIGH_BIT_DEPTH else 12 if flag & _TWELVE_BIT else 10 for flag in flags), default=8)


def _heif_bits(pil_image: ImageFile) -> int:
    return min(16, int(pil_image.info.get("bit_depth", 8)))


def significant_bits(pil_image: ImageFile, source: Source) -> int | None:
    """Returns the number of significant bits of 16-bit samples, 1..15; None if all are."""
    if pil_image.format in ("AVIF", "HEIF"):
        bits = _avif_bits(source) if pil_image.format == "AVIF" else _heif_bits(pil_image)
        return bits if bits < 16 else None
    with source.open() as file:
        if pil_image.format == "PNG":
            return png.significant_bits(file)
        header = _NETPBM_HEADER.match(file.read(_HEAD_BYTES)) if pil_image.format == "PPM" else None
    bits = int(header[4]).bit_length() if header else 16
    return bits if header and bits < 16 and int(header[4]) == peak_value(bits) else None


def report_depth(pil_image: ImageFile, source: Source, notify: Notify) -> None:
    """Gives a notice if Pillow's decoder reduces the samples, not loaded yet, to 8 bits."""
    bits, advice = 8, ""
    with source.open() as file:
        head = file.read(_HEAD_BYTES)
    if pil_image.format == "AVIF":
        bits = _avif_bits(source)
        if _is_still(pil_image) and not importlib.util.find_spec("imagecodecs"):
            advice = "; pip install 'dfmcodec[heif]' reads all of them"
    elif pil_image.format == "JPEG2000" and (at := head.find(b"\xff\x4f\xff\x51")) >= 0 and pil_image.mode != "I;16":
        bits = (head[at + 42] & 0x7F) + 1 if at + 42 < len(head) else 8
    elif pil_image.format in ("PPM", "TIFF") and pil_image.mode not in DEEP_GRAY_MODES:
        bits = max(map(_declared_bits, pil_image.tile), default=8)
    if bits > 8:
        notify(f"it has {bits} bits per sample, but Pillow's {pil_image.format} reader keeps 8{advice}")


def _declared_bits(tile: Any) -> int:
    """Returns the bits per sample of a tile, from its raw mode or the peak of a PPM."""
    if tile[0].startswith("ppm") and isinstance(tile[3], tuple):
        return int(tile[3][-1]).bit_length()
    return 16 if _DEEP.search(rawmode_of(tile)) else 8
