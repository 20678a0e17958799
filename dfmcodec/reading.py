"""Picture files -> Image: every kind that Pillow opens, 8 or 16 bits, upright, nothing dropped without a word."""

from __future__ import annotations

import importlib
import importlib.util
import io
import re
import struct
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dfmcodec.errors import ConfigError, ImageError
from dfmcodec.image import MAX_PIXELS, Image, Metadata, Pixels, check_picture_size
from dfmcodec.io import read_file

if TYPE_CHECKING:
    from PIL.Image import Image as PilImage

Notify = Callable[[str], None]  # is told what is converted or left out

# What a folder is searched for.
PICTURE_SUFFIXES = frozenset(
    ".png .jpg .jpeg .jpe .tif .tiff .bmp .ppm .pgm .pbm .pnm .webp .gif .jp2 .j2k .avif .heic .heif .jxl .tga".split()
)
ORIENTATION_TAG = 0x0112
_EXIF_IFD, _GPS_IFD = 0x8769, 0x8825
# Tags by which a TIFF file tells of its own layout, from .. to; they are not the picture's Exif.
_TIFF_LAYOUT = (
    *((254, 259), (262, 263), (266, 266), (273, 273), (277, 281), (284, 284), (288, 293), (297, 301), (317, 325)),
    *((330, 332), (338, 347), (512, 521), (529, 532), (700, 700), (33723, 33723), (34377, 34377), (34675, 34675)),
)
_XMP_ORIENTATION = re.compile(rb"(tiff:Orientation(?:=[\"']|>))\d")
# Modes of 8 bits: what they are expanded to.
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
_DEEP_GRAY = ("I;16", "I;16L", "I;16B", "I;16N", "I")
_OTHER_ORDER = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
_SAMPLES_PER_PIXEL = 277  # a tag of TIFF
_BANDS = {"RGB": "RGBX", "YCbCr": "YCC", "P": "P", "1": "1", **dict.fromkeys(_DEEP_GRAY, "I"), "F": "F"}
_PEAK = 65_535  # of 16 bits


class _Samples(NamedTuple):
    """A picture's samples: uint8 or uint16 [H, W, C], and its opacity [H, W]."""

    colours: Pixels
    alpha: Pixels | None


def ignore(notice: str) -> None:
    """For those who do not want to know."""


def read_image(
    path: Path, max_pixels: int = MAX_PIXELS, strip: bool = False, page: int | None = None, notify: Notify = ignore
) -> Image:
    """Reads a picture file: gray or RGB of 8 or 16 bits, opacity, upright, with its ICC, Exif and XMP.

    Args:
        path: Any file that Pillow opens.
        max_pixels: Larger pictures are refused before their pixels are read.
        strip: Leave ICC, Exif and XMP behind.
        page: Of a file of several, from 1; the first with a notice if None.
        notify: Is told what is converted or left out.

    Raises:
        ImageError: It is not a picture, is empty, too large, or of a kind that would lose something.
        ConfigError: There is no such page.
        DfmError: It cannot be read.
    """
    return image_of(read_file(path), str(path), max_pixels, strip, page, notify)


def image_of(
    data: bytes,
    name: str,
    max_pixels: int = MAX_PIXELS,
    strip: bool = False,
    page: int | None = None,
    notify: Notify = ignore,
) -> Image:
    """The picture in a file's bytes; as `read_image`, with a name for messages."""
    import PIL.Image

    if not data:
        msg = f"{name} is empty; a picture is needed"
        raise ImageError(msg)
    _register_plugin_for(data)
    notices: list[str] = []
    try:
        with warnings.catch_warnings(), _pillow_limit(max_pixels):
            warnings.simplefilter("ignore")  # of Pillow: large pictures, odd metadata; what matters is said here
            with PIL.Image.open(io.BytesIO(data)) as picture:
                _select_page(picture, page, name, notices.append)
                check_picture_size(picture.height, picture.width, max_pixels)
                _check_channels(picture, notices.append)
                _tell_depth(picture, data, notices.append)
                metadata = Metadata() if strip else _metadata_apart(data, picture.tell())
                deep = _deep_samples(picture, data)
                if deep is None:
                    picture.load()
                image = _finished(picture, deep, metadata, notices.append)
    except PIL.UnidentifiedImageError as error:
        msg = f"{name} is not a picture that Pillow can read{_diagnosis(data)}"
        raise ImageError(msg) from error
    except PIL.Image.DecompressionBombError as error:
        msg = f"{name}: the picture has more pixels than the limit of {max_pixels}; scale it down"
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
    """Lets Pillow open what is allowed: it refuses twice its own limit."""
    import PIL.Image

    before = PIL.Image.MAX_IMAGE_PIXELS
    PIL.Image.MAX_IMAGE_PIXELS = max(max_pixels, before or 0)
    try:
        yield
    finally:
        PIL.Image.MAX_IMAGE_PIXELS = before


def _check_channels(picture: PilImage, notify: Notify) -> None:
    """Of a TIFF, of whose channels Pillow takes those that it knows."""
    tags = getattr(picture, "tag_v2", None)
    if tags is None:
        return
    channels = int(tags.get(_SAMPLES_PER_PIXEL, 1))
    if channels > len(_BANDS.get(picture.mode, picture.mode)):
        msg = f"it has {channels} channels; at most RGB with opacity are possible, choose three first"
        raise ImageError(msg)
    if picture.mode == "RGBX" or (channels == 4 and picture.mode == "RGB"):
        notify("its fourth channel, of no stated meaning, is left out")


def from_pil(picture: PilImage, strip: bool = False, notify: Notify = ignore) -> Image:
    """A Pillow picture as `Image`, turned upright by its Exif orientation.

    Raises:
        ImageError: Its mode would lose something.
    """
    return _finished(picture, None, Metadata() if strip else _metadata_of(picture), notify)


def to_image(source: Any, strip: bool = False, notify: Notify = ignore) -> Image:
    """Takes what the Python API accepts as a picture.

    Args:
        source: A path; a Pillow picture; a uint8 or uint16 array [H, W] or [H, W, C], C = 1 (gray), 2 (and opacity),
            3 (RGB) or 4 (and opacity); or an Image.
        strip: Leave ICC, Exif and XMP behind.
        notify: Is told what is converted or left out.

    Raises:
        ImageError: It is none of these.
    """
    if isinstance(source, Image):
        return Image(source.pixels, alpha=source.alpha) if strip else source
    if hasattr(source, "getexif"):
        return from_pil(source, strip, notify)
    if isinstance(source, str) or hasattr(source, "__fspath__"):
        return read_image(Path(source), strip=strip, notify=notify)
    samples = _split(np.asarray(source))
    return Image(samples.colours, alpha=samples.alpha)


def _split(samples: npt.NDArray[Any]) -> _Samples:
    """Samples [H, W] or [H, W, C] as colours and opacity, which is the last of two or four channels."""
    if samples.ndim == 2:
        samples = samples[:, :, None]
    if samples.ndim == 3 and samples.shape[2] in (2, 4):
        return _Samples(np.ascontiguousarray(samples[:, :, :-1]), np.ascontiguousarray(samples[:, :, -1]))
    return _Samples(np.ascontiguousarray(samples), None)


def _register_plugin_for(data: bytes) -> None:
    """Pillow's plugin for HEIC or JPEG XL, where the file is one and the plugin is installed."""
    if data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS and importlib.util.find_spec("pillow_heif"):
        import pillow_heif

        pillow_heif.register_heif_opener()
    if data.startswith(_JXL_MAGIC) and importlib.util.find_spec("pillow_jxl"):
        importlib.import_module("pillow_jxl")


def _select_page(picture: PilImage, page: int | None, name: str, notify: Notify) -> None:
    count = int(getattr(picture, "n_frames", 1))
    if page is not None:
        if not 1 <= page <= count:
            msg = f"{name} has {count} page{'s' * (count > 1)}; there is no page {page}"
            raise ConfigError(msg)
        picture.seek(page - 1)
    elif count > 1:
        what = "frames" if getattr(picture, "is_animated", False) and picture.format != "TIFF" else "pages"
        notify(f"the first of {count} {what}; --page takes another")


def _finished(picture: PilImage, deep: _Samples | None, metadata: Metadata, notify: Notify) -> Image:
    """A picture upright, of samples that Pillow has or that are given."""
    turned = picture.format == "TIFF"  # by Pillow, when it loads the samples
    orientation = 1 if turned else picture.getexif().get(ORIENTATION_TAG, 1)
    if deep is None:
        samples, keeps_profile = _shallow_samples(picture, notify)
        if not keeps_profile:
            metadata = Metadata(None, metadata.exif, metadata.xmp)
    else:
        samples = deep
    colours = np.ascontiguousarray(upright(samples.colours, orientation))
    alpha = None if samples.alpha is None else np.ascontiguousarray(upright(samples.alpha, orientation))
    return Image(colours, metadata, alpha)


def upright(samples: Pixels, orientation: int) -> Pixels:
    """Samples [H, W, ...] turned so that the Exif orientation 1..8 becomes 1."""
    turned = {
        2: lambda: samples[:, ::-1],
        3: lambda: samples[::-1, ::-1],
        4: lambda: samples[::-1],
        5: lambda: samples.swapaxes(0, 1),
        6: lambda: samples.swapaxes(0, 1)[:, ::-1],
        7: lambda: samples.swapaxes(0, 1)[::-1, ::-1],
        8: lambda: samples.swapaxes(0, 1)[::-1],
    }
    found: Pixels = turned.get(orientation, lambda: samples)()
    return found


def _shallow_samples(picture: PilImage, notify: Notify) -> tuple[_Samples, bool]:
    """What Pillow itself gives, and whether the picture's profile still holds."""
    mode = picture.mode
    transparency = picture.info.get("transparency")
    if mode in _DEEP_GRAY:
        return _deep_gray(picture, transparency), True
    if mode in ("CMYK", "LAB"):
        return _split(np.asarray(_to_srgb(picture, notify))), False
    if mode == "F":
        msg = "it has floating-point samples (HDR); convert it to 16-bit integers first"
        raise ImageError(msg)
    if mode not in _EXPANDED:
        msg = f"pictures of mode {mode} are not supported; convert it to gray or RGB first"
        raise ImageError(msg)
    expanded = _EXPANDED[mode]
    if transparency is not None and expanded in ("L", "RGB"):
        expanded = {"L": "LA", "RGB": "RGBA"}[expanded]
    samples = np.asarray(picture if mode == expanded else picture.convert(expanded))
    return _split(samples), True


def _deep_gray(picture: PilImage, transparency: Any) -> _Samples:
    values = np.asarray(picture)
    if values.min() < 0 or values.max() > _PEAK:
        msg = f"it has integers in {values.min()}..{values.max()}; convert it to 16 bits first"
        raise ImageError(msg)
    gray = values.astype(np.uint16)
    alpha = np.where(gray == transparency, 0, _PEAK).astype(np.uint16) if isinstance(transparency, int) else None
    return _Samples(gray[:, :, None], alpha)


def _to_srgb(picture: PilImage, notify: Notify) -> PilImage:
    """CMYK and Lab as sRGB: by the picture's profile where it has one that works."""
    import PIL.ImageCms

    srgb = PIL.ImageCms.createProfile("sRGB")
    profile = picture.info.get("icc_profile")
    how = "as Pillow does"
    converted: PilImage | None = None
    try:
        if picture.mode == "LAB":
            source: Any = PIL.ImageCms.createProfile("LAB")
            converted, how = PIL.ImageCms.profileToProfile(picture, source, srgb, outputMode="RGB"), "by its definition"
        elif profile:
            source = PIL.ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted, how = PIL.ImageCms.profileToProfile(picture, source, srgb, outputMode="RGB"), "by its profile"
    except (PIL.ImageCms.PyCMSError, OSError):
        converted = None
    notify(f"{picture.mode} converted to sRGB {how}")
    return picture.convert("RGB") if converted is None else converted


def _deep_samples(picture: PilImage, data: bytes) -> _Samples | None:
    """16-bit colours, of which Pillow alone would keep the high bytes; None where the picture has none."""
    if picture.format == "PPM":
        return _deep_netpbm(picture, data)
    rawmodes = {_rawmode(tile) for tile in getattr(picture, "tile", ())}
    if not rawmodes or not all(isinstance(mode, str) and re.search(r";16[BLN]$", mode) for mode in rawmodes):
        return None
    if picture.mode in _DEEP_GRAY:
        return None  # Pillow keeps these
    if any(mode.startswith("LA") for mode in rawmodes):
        return _deep_gray_alpha(picture)
    page = picture.tell()
    transparency = picture.info.get("transparency")
    high, low = (_raw_bytes(data, page, other) for other in (False, True))
    samples = _split(high.astype(np.uint16) << 8 | low)
    if samples.alpha is None and isinstance(transparency, tuple):  # one colour of a PNG
        clear = (samples.colours == np.array(transparency, dtype=np.uint16)).all(axis=2)
        return _Samples(samples.colours, np.where(clear, 0, _PEAK).astype(np.uint16))
    return samples


def _rawmode(tile: Any) -> Any:
    return tile[3] if isinstance(tile[3], str) else tile[3][0]


def _raw_bytes(data: bytes, page: int, other_order: bool) -> npt.NDArray[np.uint8]:
    """The high bytes of all samples, or, read as if their bytes were in the other order, the low ones."""
    import PIL.Image

    with PIL.Image.open(io.BytesIO(data)) as picture:
        picture.seek(page)
        if other_order:
            picture.tile = [tile._replace(args=_in_other_order(tile[3])) for tile in picture.tile]
        return np.asarray(picture)


def _in_other_order(args: Any) -> Any:
    if isinstance(args, str):
        return args[:-1] + _OTHER_ORDER[args[-1]]
    return (_in_other_order(args[0]), *args[1:])


def _deep_gray_alpha(picture: PilImage) -> _Samples:
    """16-bit gray with opacity, whose four bytes a pixel are taken as if they were R, G, B and A."""
    changed: Any = picture
    changed._mode = "RGBA"
    changed.tile = [tile._replace(args="RGBA") for tile in changed.tile]
    both = np.ascontiguousarray(np.asarray(picture)).view(">u2").astype(np.uint16)
    return _Samples(both[:, :, :1], both[:, :, 1])


def _deep_netpbm(picture: PilImage, data: bytes) -> _Samples | None:
    """PGM and PPM of more than 255 values, scaled to 65,535; None for others."""
    header = re.match(rb"P([56])\s+(?:#[^\n]*\n\s*)*(\d+)\s+(?:#[^\n]*\n\s*)*(\d+)\s+(?:#[^\n]*\n\s*)*(\d+)\s", data)
    if header is None or int(header[4]) <= 255:
        return None
    channels, peak = (1 if header[1] == b"5" else 3), int(header[4])
    count = picture.width * picture.height * channels
    body = data[header.end() : header.end() + 2 * count]
    if len(body) < 2 * count:
        msg = "the file ends within its samples"
        raise EOFError(msg)
    values = np.frombuffer(body, ">u2").astype(np.float64)
    scaled = np.rint(np.minimum(values, peak) * (_PEAK / peak)).astype(np.uint16)
    return _Samples(scaled.reshape(picture.height, picture.width, channels), None)


def _tell_depth(picture: PilImage, data: bytes, notify: Notify) -> None:
    """Says it where Pillow's decoder of a format gives 8 bits of more."""
    bits = 8
    if picture.format == "AVIF" and (at := data.find(b"av1C")) >= 0:
        flags = data[at + 6] if at + 6 < len(data) else 0
        bits = 8 if not flags & 0x40 else 12 if flags & 0x20 else 10
    elif picture.format in ("HEIF", "HEIC"):
        bits = int(picture.info.get("bit_depth", 8))
    elif picture.format == "JPEG2000" and (at := data.find(b"\xff\x4f\xff\x51")) >= 0 and picture.mode != "I;16":
        bits = (data[at + 42] & 0x7F) + 1 if at + 42 < len(data) else 8
    if bits > 8:
        notify(f"{bits} bits a sample, of which Pillow's {picture.format} reader gives 8")


def _diagnosis(data: bytes) -> str:
    """What to do about some files that people have, as the end of a message."""
    if data.startswith(b"\x89DFM"):
        return "; to decode it, use `dfm decode`"
    if data.startswith((b"#?RADIANCE", b"\x76\x2f\x31\x01")):
        return ": it has floating-point samples (HDR); convert it to 16-bit integers first"
    if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return _tiff_diagnosis(data)
    return ""


def _tiff_diagnosis(data: bytes) -> str:
    import tifffile

    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            page = file.pages[0]
            channels, depth = int(getattr(page, "samplesperpixel", 1)), int(getattr(page, "bitspersample", 8))
            if "float" in str(getattr(page, "dtype", "")):
                return ": it has floating-point samples (HDR); convert it to 16-bit integers first"
    except Exception:  # whatever tifffile finds wrong, the file is not readable
        return "; it may be damaged"
    if channels > 4:
        return f": it has {channels} channels; at most RGB with opacity are possible, choose three first"
    return f": a TIFF of {channels} channels and {depth} bits; convert it to 8 or 16 bits first"


def _metadata_apart(data: bytes, page: int) -> Metadata:
    """Of a file opened for this alone: reading Exif changes what Pillow does when it loads, and the other way round."""
    import PIL.Image

    with PIL.Image.open(io.BytesIO(data)) as picture:
        if page:
            picture.seek(page)
        return _metadata_of(picture)


def _metadata_of(picture: PilImage) -> Metadata:
    xmp = picture.info.get("xmp") or picture.info.get("XML:com.adobe.xmp")
    if isinstance(xmp, str):
        xmp = xmp.encode()
    if xmp:
        xmp = _XMP_ORIENTATION.sub(rb"\g<1>1", bytes(xmp))
    return Metadata(picture.info.get("icc_profile") or None, _exif_of(picture), xmp or None)


def _exif_of(picture: PilImage) -> bytes | None:
    """The Exif block as it is in the file, but for the orientation, which becomes 1."""
    raw = picture.info.get("exif")
    if isinstance(raw, bytes) and raw:
        block = raw if raw.startswith(b"Exif\0\0") else b"Exif\0\0" + raw
        with_reset = exif_with_orientation_1(block)
        if with_reset is not None:
            return with_reset
    exif = picture.getexif()
    for tag in (_EXIF_IFD, _GPS_IFD):
        exif.get_ifd(tag)
    layout = _TIFF_LAYOUT if picture.format == "TIFF" else ()
    for tag in [tag for tag in exif if tag == ORIENTATION_TAG or any(low <= tag <= high for low, high in layout)]:
        del exif[tag]
    return exif.tobytes() if len(exif) else None


def exif_with_orientation_1(block: bytes) -> bytes | None:
    """An Exif block whose orientation, if it has one, is 1, all else as it was; None where it is not well formed."""
    start = len(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(block[start : start + 2])
    try:
        if order is None:
            return None
        (first,) = struct.unpack_from(order + "I", block, start + 4)
        (count,) = struct.unpack_from(order + "H", block, start + first)
        for entry in range(count):
            at = start + first + 2 + 12 * entry
            tag, kind, _ = struct.unpack_from(order + "HHI", block, at)
            if tag == ORIENTATION_TAG:
                value = struct.pack(order + ("I" if kind == 4 else "HH"), *([1] if kind == 4 else [1, 0]))
                return block[: at + 8] + value + block[at + 12 :]
    except struct.error:
        return None
    return block
