"""Image files -> `Image`: every kind that Pillow opens, 8 or 16 bits, upright.

Nothing is dropped without a notice or an error.
"""

from __future__ import annotations

import importlib.util
import io
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dfmcodec._types import Notify, Pixels
from dfmcodec.errors import ConfigError, ImageError
from dfmcodec.files.atomic import read_file
from dfmcodec.files.deep_samples import (
    DEEP_GRAY_MODES,
    ImageSamples,
    deep_gray_samples,
    deep_samples,
    report_depth,
    split_alpha,
)
from dfmcodec.files.metadata import ORIENTATION_TAG, read_metadata, read_metadata_apart
from dfmcodec.image import MAX_PIXELS, Image, Metadata, check_image_size

if TYPE_CHECKING:
    from PIL.Image import Image as PilImage

# The extensions that a folder is searched for.
IMAGE_SUFFIXES = frozenset(
    ".png .jpg .jpeg .jpe .tif .tiff .bmp .ppm .pgm .pbm .pnm .webp .gif .jp2 .j2k .avif .heic .heif .jxl .tga".split()
)
# The modes of 8 bits, and the modes that they are expanded to.
_EXPANDED = {
    "1": "L",
    "L": "L",
    "LA": "LA",
    "La": "LA",
    "P": "RGB",
    "PA": "RGBA",
    "RGB": "RGB",
    "RGBX": "RGB",
    "RGBA": "RGBA",
    "RGBa": "RGBA",
    "YCbCr": "RGB",
    "HSV": "RGB",
}
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1")
_JXL_MAGIC = (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")
_SAMPLES_PER_PIXEL = 277  # a TIFF tag
_BANDS = {"RGB": "RGBX", "YCbCr": "YCC", "P": "P", "1": "1", **dict.fromkeys(DEEP_GRAY_MODES, "I"), "F": "F"}


def ignore(notice: str) -> None:
    """Drops a notice."""


def read_image(
    path: Path, max_pixels: int = MAX_PIXELS, strip: bool = False, page: int | None = None, notify: Notify = ignore
) -> Image:
    """Reads an image file, upright: gray or RGB of 8 or 16 bits, with alpha, ICC, Exif and XMP.

    Args:
        path: Any file that Pillow opens.
        max_pixels: Larger images are refused before their pixels are read.
        strip: Whether ICC, Exif and XMP are left out.
        page: The page of a file that has several, counted from 1. None takes the first, with a
            notice.
        notify: Receives a notice of each thing that is converted or left out.

    Raises:
        ImageError: The file is empty, is not an image, is too large, or is of a kind that would
            lose something.
        ConfigError: There is no such page.
        DfmError: The file cannot be read.
    """
    return image_from_bytes(read_file(path), str(path), max_pixels, strip, page, notify)


def image_from_bytes(
    data: bytes,
    name: str,
    max_pixels: int = MAX_PIXELS,
    strip: bool = False,
    page: int | None = None,
    notify: Notify = ignore,
) -> Image:
    """Reads an image from the bytes of a file.

    Args:
        data: The bytes.
        name: The name of the file in messages.
        max_pixels: As in `read_image`.
        strip: As in `read_image`.
        page: As in `read_image`.
        notify: As in `read_image`.

    Raises:
        ImageError: As in `read_image`.
        ConfigError: There is no such page.
    """
    import PIL.Image

    if not data:
        msg = f"{name} is empty; an image is needed"
        raise ImageError(msg)
    _register_plugin_for(data)
    notices: list[str] = []
    try:
        with warnings.catch_warnings(), _pillow_limit(max_pixels):
            warnings.simplefilter("ignore")  # Pillow warns of large images and odd metadata; notices say what matters
            with PIL.Image.open(io.BytesIO(data)) as pil_image:
                _select_page(pil_image, page, name, notices.append)
                check_image_size(pil_image.height, pil_image.width, max_pixels)
                _check_channels(pil_image, notices.append)
                report_depth(pil_image, data, notices.append)
                metadata = Metadata() if strip else read_metadata_apart(data, pil_image.tell())
                deep = deep_samples(pil_image, data)
                if deep is None:
                    pil_image.load()
                image = _finished(pil_image, deep, metadata, notices.append)
    except PIL.UnidentifiedImageError as error:
        msg = f"{name} is not an image that Pillow can read{_diagnosis(data)}"
        raise ImageError(msg) from error
    except PIL.Image.DecompressionBombError as error:
        msg = f"{name}: the image has more pixels than the limit of {max_pixels}; scale it down"
        raise ImageError(msg) from error
    except ImageError as error:
        msg = f"{name}: {error}"
        raise ImageError(msg) from error
    except ConfigError:
        raise
    except (OSError, ValueError, SyntaxError, EOFError, struct.error) as error:
        msg = f"{name} is damaged or cut off: {error}"
        raise ImageError(msg) from error
    for notice in notices:
        notify(f"{name}: {notice}")
    return image


@contextmanager
def _pillow_limit(max_pixels: int) -> Iterator[None]:
    """Lets Pillow open all images that are allowed: it refuses those of twice its own limit."""
    import PIL.Image

    before = PIL.Image.MAX_IMAGE_PIXELS
    PIL.Image.MAX_IMAGE_PIXELS = max(max_pixels, before or 0)
    try:
        yield
    finally:
        PIL.Image.MAX_IMAGE_PIXELS = before


def _check_channels(pil_image: PilImage, notify: Notify) -> None:
    """Refuses or reports the channels of a TIFF that Pillow would drop."""
    tags = getattr(pil_image, "tag_v2", None)
    if tags is None:
        return
    channels = int(tags.get(_SAMPLES_PER_PIXEL, 1))
    if channels > len(_BANDS.get(pil_image.mode, pil_image.mode)):
        msg = f"it has {channels} channels; at most RGB with alpha are possible, choose three first"
        raise ImageError(msg)
    if pil_image.mode == "RGBX" or (channels == 4 and pil_image.mode == "RGB"):
        notify("its fourth channel, of no stated meaning, is left out")


def from_pil(pil_image: PilImage, strip: bool = False, notify: Notify = ignore) -> Image:
    """Converts a Pillow image into an `Image`, turned upright by its Exif orientation.

    Raises:
        ImageError: The image has a mode that would lose something.
    """
    return _finished(pil_image, None, Metadata() if strip else read_metadata(pil_image), notify)


def to_image(
    source: Any,
    strip: bool = False,
    notify: Notify = ignore,
    page: int | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Image:
    """Converts what the Python API accepts as an image.

    Args:
        source: A path, the bytes of an image file, a Pillow image, an `Image`, or an array of uint8
            or uint16 of any byte order, [H, W] or [H, W, C] with C = 1 (gray), 2 (gray and alpha),
            3 (RGB) or 4 (RGB and alpha).
        strip: Whether ICC, Exif and XMP are left out.
        notify: Receives a notice of each thing that is converted or left out.
        page: The page of a file that has several, counted from 1. None takes the first, with a
            notice.
        max_pixels: Larger image files are refused before their pixels are read.

    Raises:
        ImageError: The source is none of these.
    """
    if isinstance(source, Image):
        return Image(source.pixels, alpha=source.alpha) if strip else source
    if hasattr(source, "getexif"):
        return from_pil(source, strip, notify)
    if isinstance(source, bytes):
        return image_from_bytes(source, "the image file", max_pixels, strip, page, notify)
    if isinstance(source, str) or hasattr(source, "__fspath__"):
        return read_image(Path(source), max_pixels, strip, page, notify)
    array = np.asarray(source)
    samples = split_alpha(array.astype(array.dtype.newbyteorder("="), copy=False))
    return Image(samples.pixels, alpha=samples.alpha)


def _register_plugin_for(data: bytes) -> None:
    """Registers Pillow's plugin for HEIC or JPEG XL where the file needs it and it is installed."""
    if data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS and importlib.util.find_spec("pillow_heif"):
        import pillow_heif

        pillow_heif.register_heif_opener()
    if data.startswith(_JXL_MAGIC) and importlib.util.find_spec("pillow_jxl"):
        importlib.import_module("pillow_jxl")


def _select_page(pil_image: PilImage, page: int | None, name: str, notify: Notify) -> None:
    count = int(getattr(pil_image, "n_frames", 1))
    if page is not None:
        if not 1 <= page <= count:
            msg = f"{name} has {count} page{'s' * (count > 1)}; there is no page {page}"
            raise ConfigError(msg)
        pil_image.seek(page - 1)
    elif count > 1:
        what = "frames" if getattr(pil_image, "is_animated", False) and pil_image.format != "TIFF" else "pages"
        notify(f"the first of {count} {what}; --page takes another")


def _finished(pil_image: PilImage, deep: ImageSamples | None, metadata: Metadata, notify: Notify) -> Image:
    """Makes an upright `Image` of the samples that Pillow has, or of given deep samples."""
    turned = pil_image.format == "TIFF"  # Pillow turns a TIFF when it loads the samples
    orientation = 1 if turned else pil_image.getexif().get(ORIENTATION_TAG, 1)
    if deep is None:
        samples, keeps_profile = _shallow_samples(pil_image, notify)
        if not keeps_profile:
            metadata = Metadata(None, metadata.exif, metadata.xmp)
    else:
        samples = deep
    pixels = np.ascontiguousarray(upright(samples.pixels, orientation))
    alpha = None if samples.alpha is None else np.ascontiguousarray(upright(samples.alpha, orientation))
    return Image(pixels, metadata, alpha)


def upright(samples: Pixels, orientation: int) -> Pixels:
    """Turns samples [H, W, ...] so that the Exif orientation 1..8 becomes 1."""
    turned = {
        2: lambda: samples[:, ::-1],
        3: lambda: samples[::-1, ::-1],
        4: lambda: samples[::-1],
        5: lambda: samples.swapaxes(0, 1),
        6: lambda: samples.swapaxes(0, 1)[:, ::-1],
        7: lambda: samples.swapaxes(0, 1)[::-1, ::-1],
        8: lambda: samples.swapaxes(0, 1)[::-1],
    }
    result: Pixels = turned.get(orientation, lambda: samples)()
    return result


def _shallow_samples(pil_image: PilImage, notify: Notify) -> tuple[ImageSamples, bool]:
    """Returns the samples that Pillow itself gives, and whether the ICC profile is still valid."""
    mode = pil_image.mode
    transparency = pil_image.info.get("transparency")
    if mode in DEEP_GRAY_MODES:
        return deep_gray_samples(pil_image, transparency), True
    if mode in ("CMYK", "LAB"):
        return split_alpha(np.asarray(_to_srgb(pil_image, notify))), False
    if mode == "F":
        msg = "it has floating-point samples (HDR); convert it to 16-bit integers first"
        raise ImageError(msg)
    if mode not in _EXPANDED:
        msg = f"images of mode {mode} are not supported; convert this one to gray or RGB first"
        raise ImageError(msg)
    expanded = _EXPANDED[mode]
    if transparency is not None and expanded in ("L", "RGB"):
        expanded = {"L": "LA", "RGB": "RGBA"}[expanded]
    samples = np.asarray(pil_image if mode == expanded else pil_image.convert(expanded))
    return split_alpha(samples), True


def _to_srgb(pil_image: PilImage, notify: Notify) -> PilImage:
    """Converts CMYK and Lab to sRGB, by the image's profile where it has one that works."""
    import PIL.ImageCms

    srgb = PIL.ImageCms.createProfile("sRGB")
    profile = pil_image.info.get("icc_profile")
    how = "as Pillow does"
    converted: PilImage | None = None
    try:
        if pil_image.mode == "LAB":
            source: Any = PIL.ImageCms.createProfile("LAB")
            converted, how = (
                PIL.ImageCms.profileToProfile(pil_image, source, srgb, outputMode="RGB"),
                "by its definition",
            )
        elif profile:
            source = PIL.ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted, how = PIL.ImageCms.profileToProfile(pil_image, source, srgb, outputMode="RGB"), "by its profile"
    except (PIL.ImageCms.PyCMSError, OSError):
        converted = None
    notify(f"{pil_image.mode} converted to sRGB {how}")
    return pil_image.convert("RGB") if converted is None else converted


def _diagnosis(data: bytes) -> str:
    """Returns the end of a message, which says what to do about some kinds of file."""
    if data.startswith(b"\x89DFM"):
        return "; to decode it, use `dfm decode`"
    if data.startswith((b"#?RADIANCE", b"\x76\x2f\x31\x01")):
        return ": it has floating-point samples (HDR); convert it to 16-bit integers first"
    if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return _tiff_diagnosis(data)
    return ""


def _tiff_diagnosis(data: bytes) -> str:
    try:
        import tifffile
    except ImportError:
        return "; convert it to a TIFF of integers of 8 or 16 bits first"
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            page = file.pages[0]
            channels, depth = int(getattr(page, "samplesperpixel", 1)), int(getattr(page, "bitspersample", 8))
            if "float" in str(getattr(page, "dtype", "")):
                return ": it has floating-point samples (HDR); convert it to 16-bit integers first"
    except Exception:  # whatever tifffile finds wrong, the file is not readable
        return "; it may be damaged"
    if channels > 4:
        return f": it has {channels} channels; at most RGB with alpha are possible, choose three first"
    return f": it is a TIFF of {channels} channels and {depth} bits; convert it to 8 or 16 bits first"
