"""Reads image files of all formats that Pillow opens, with 8 or 16 bits, in upright orientation.

Everything that is lost causes a notice or an error.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dfmcodec._types import Notify, Pixels
from dfmcodec.errors import ConfigError, DfmError, ImageError, is_lack_of_memory
from dfmcodec.files.atomic import MAGIC
from dfmcodec.files.names import printable
from dfmcodec.image import LARGEST_PIXELS, MAX_PIXELS, PEAK_CODE_VALUE, Image, Metadata, check_image_size, png, tiff
from dfmcodec.image.colour_description import Colours, described_colours
from dfmcodec.image.deep_samples import (
    DEEP_GRAY_MODES,
    ImageSamples,
    deep_gray_samples,
    deep_samples,
    rawmode_of,
    report_depth,
    significant_bits,
    split_alpha,
)
from dfmcodec.image.density import with_density
from dfmcodec.image.formats import traits_of
from dfmcodec.image.gainmap import Parts, parts_of, upright_gainmap
from dfmcodec.image.jpeg import check_scans
from dfmcodec.image.metadata import (
    fitting_metadata,
    is_exif,
    orientation_of,
    read_file_metadata,
    read_metadata,
    upright_metadata,
)
from dfmcodec.image.open_image import MAX_HELD_BYTES, load_samples, open_image, plugin_package
from dfmcodec.image.source import Source
from dfmcodec.image.strip import EVERYTHING, WITH_TEXTS, StripKinds, strip_kinds, stripped
from dfmcodec.image.texts import texts_of

if TYPE_CHECKING:
    from PIL.Image import Image as PilImage
    from PIL.ImageFile import ImageFile

# File extensions that are searched for in a folder.
IMAGE_SUFFIXES = frozenset(
    ".png .jpg .jpeg .jpe .tif .tiff .bmp .ppm .pgm .pbm .pnm .webp .gif .jp2 .j2k .avif .heic .heif .jxl .tga".split()
)
# 8-bit modes, and the modes to which they are converted.
_EXPANDED = {
    **dict.fromkeys(("1", "L"), "L"),
    **dict.fromkeys(("LA", "La"), "LA"),
    **dict.fromkeys(("P", "RGB", "RGBX", "YCbCr", "HSV"), "RGB"),
    **dict.fromkeys(("PA", "RGBA", "RGBa"), "RGBA"),
}
_SAMPLES_PER_PIXEL = 277  # a TIFF tag
_DESCRIBED = (258, _SAMPLES_PER_PIXEL, 339)  # BitsPerSample, SamplesPerPixel and SampleFormat
_FLOAT_FORMAT = 3  # a value of SampleFormat
_FLOATING_POINT = "it has floating-point samples (HDR); convert it to 16-bit integers first"
_TAR_MAGIC_AT, _TAR_MAGIC = 257, b"ustar"
_ZERO_BYTES = 512
_LONGEST_TEXT = 300  # maximum length of an error message of Pillow, in characters
# The pixels of the frames that --page decodes, in formats where a frame depends on earlier ones.
_MAX_PAGE_PIXELS = 1 << 32
_GRAY_PEAKS = {"1": 1, "L;2": 3, "L;4": 15, "L": 255}  # by raw mode; Pillow scales these samples to 255
_BANDS = {"RGB": "RGBX", "YCbCr": "YCC", "P": "P", "1": "1", **dict.fromkeys(DEEP_GRAY_MODES, "I"), "F": "F"}


def ignore(notice: str) -> None:
    """Ignores a notice."""


def read_image(
    path: Path, max_pixels: int = MAX_PIXELS, strip: StripKinds = (), page: int | None = None, notify: Notify = ignore
) -> Image:
    """Reads an image file in upright orientation: gray or RGB, in 8 or 16 bits.

    The formats are those of `formats.FORMATS`. The size of a file on disk is checked before its
    pixels are read; a pipe is read completely. Pages are counted from 1; None reads the first page,
    with a notice. `notify` receives a notice of each conversion or loss. Raises ImageError if the
    file is empty, not an image, too large or damaged, or reading it would lose something;
    ConfigError if the page does not exist; DfmError if the file cannot be read.
    """
    return image_from_source(Source.from_path(path), max_pixels, strip, page, notify)


def image_from_bytes(
    data: bytes,
    name: str,
    max_pixels: int = MAX_PIXELS,
    strip: StripKinds = (),
    page: int | None = None,
    notify: Notify = ignore,
) -> Image:
    """Reads an image from the bytes of a file. The name is for messages; see `read_image`."""
    return image_from_source(Source.from_bytes(data, name), max_pixels, strip, page, notify)


def image_from_source(
    source: Source,
    max_pixels: int = MAX_PIXELS,
    strip: StripKinds = (),
    page: int | None = None,
    notify: Notify = ignore,
) -> Image:
    """Reads an image; see `read_image`."""
    if not source.size_bytes:
        msg = f"{source.name} is empty; an image is needed"
        raise ImageError(msg)
    notices: list[str] = []
    with _boundary(source.name, source):
        image = _read(source, max_pixels, strip_kinds(strip), page, notices.append)
    for notice in notices:
        notify(f"{source.name}: {notice}")
    return image


@dataclass(frozen=True)
class _Extras:
    """Contents of a file beside the samples of its main image."""

    metadata: Metadata  # as in the file, not upright
    colours: Colours
    dpi: Any  # the density, as Pillow states it
    texts: Sequence[str]  # descriptions of texts, which are not kept
    parts: Parts


def _read(source: Source, max_pixels: int, strip: frozenset[str], page: int | None, notify: Notify) -> Image:
    """Reads an image. Notices and errors do not name the file.

    Loading the samples changes the properties of the Pillow image, so everything else is read
    first.
    """
    with source.open() as file, open_image(file, max_pixels) as pil_image:
        _choose_page(pil_image, source, page, max_pixels, notify)
        _check_channels(pil_image, notify)
        extras = _read_extras(pil_image, source, page, strip, notify)
        samples, keeps_profile = _read_samples(pil_image, source, page, extras.metadata.icc, max_pixels, notify)
        orientation = 1 if traits_of(pil_image.format).is_turned else orientation_of(extras.metadata)
        metadata = extras.metadata
        if samples.pixels.itemsize > 1:
            metadata = replace(metadata, significant_bits=significant_bits(pil_image, source))
        if extras.parts.gainmap is not None and "gainmap" not in strip:
            main_pixels = samples.pixels.shape[0] * samples.pixels.shape[1]
            metadata = replace(metadata, gainmap=upright_gainmap(extras.parts.gainmap, orientation, main_pixels))
            if metadata.gainmap is None:
                extras = replace(extras, parts=Parts(lost=("damaged gain map", *extras.parts.lost)))
        _notify_losses(extras, strip, notify)
        if pil_image.format != "TIFF" and "exif" not in strip:  # a TIFF stores the density in Exif fields
            metadata = with_density(metadata, extras.dpi, notify)
        return _upright_image(samples, stripped(metadata, strip, notify), keeps_profile, orientation, notify)


def _choose_page(pil_image: PilImage, source: Source, page: int | None, max_pixels: int, notify: Notify) -> None:
    """Moves the image to a page; without one, gives a notice if there are several."""
    if page is not None:
        go_to_page(pil_image, page, source)
        check_image_size(pil_image.height, pil_image.width, max_pixels)
    elif pil_image.format != "MPO" and _has_more_pages(source, max_pixels):
        what = "pages" if traits_of(pil_image.format).has_pages else "frames"
        notify(f"only the first of several {what} is read; dfm encode --page selects another")


def _read_extras(
    pil_image: PilImage, source: Source, page: int | None, strip: frozenset[str], notify: Notify
) -> _Extras:
    """Reads the contents beside the samples, which must not be loaded yet."""
    number = page or 1
    with source.open() as file:
        metadata = read_file_metadata(file, pil_image, number, ignore if strip >= EVERYTHING else notify)
        colours = described_colours(file, pil_image.format, number, metadata.icc is not None)
        dpi = png.density(file) if pil_image.format == "PNG" else pil_image.info.get("dpi")
        texts = texts_of(file, pil_image, number)
        has_parts = number == 1 and source.size_bytes <= MAX_HELD_BYTES
        parts = parts_of(file, pil_image.format) if has_parts else Parts()
    return _Extras(replace(metadata, cicp=colours.cicp), colours, dpi, texts, parts)


def _read_samples(
    pil_image: ImageFile, source: Source, page: int | None, profile: bytes | None, max_pixels: int, notify: Notify
) -> tuple[ImageSamples, bool]:
    """Returns the samples, and whether the ICC profile is still valid for them."""
    transparency = _transparency(pil_image)
    deep = deep_samples(pil_image, source, max_pixels)
    if deep is not None:
        return deep, True
    report_depth(pil_image, source, notify)
    load_samples(pil_image)
    traits = traits_of(pil_image.format)
    if traits.has_scans and page in (None, 1):
        check_scans(pil_image, source, max_pixels, notify)
    elif traits.hides_zeros and _ends_with_zeros(source):
        notify("its last bytes are zero, so it may be cut off; look at the decoded image")
    return _shallow_samples(pil_image, profile, transparency, notify)


def _notify_losses(extras: _Extras, strip: frozenset[str], notify: Notify) -> None:
    """Gives notices of the contents that are lost, unless they are dropped on request."""
    if extras.parts.lost:
        notify(f"its {' and '.join(extras.parts.lost)} {_is_or_are(extras.parts.lost)} left out")
    if extras.colours.lost is not None and "icc" not in strip:
        lost = f"its colour description {extras.colours.lost} is left out, so colours will look different"
        notify(f"{lost}; convert the image to sRGB or embed an ICC profile")
    if extras.texts and not strip >= WITH_TEXTS:
        notify(f"its {' and '.join(extras.texts)} {_is_or_are(extras.texts)} left out; only ICC, Exif and XMP are kept")


def _is_or_are(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 and not names[0][0].isdigit() else "are"


def _ends_with_zeros(source: Source) -> bool:
    """Indicates whether a file ends with more zero bytes than compressed samples have."""
    with source.open() as file:
        file.seek(max(0, source.size_bytes - _ZERO_BYTES))
        return file.read() == bytes(_ZERO_BYTES)


@contextmanager
def _boundary(name: str, source: Source | None = None) -> Iterator[None]:
    """Converts all errors from reading an untrusted image, which are of any type, to ImageError.

    Only lack of memory becomes MemoryError.
    """
    import PIL

    try:
        yield
    except ImageError as error:
        msg = f"{name}: {error}"
        raise ImageError(msg) from error
    except DfmError:
        raise
    except PIL.UnidentifiedImageError as error:
        msg = f"{name} is not an image that Pillow can read{_diagnosis(source, error) or ''}"
        raise ImageError(msg) from error
    except Exception as error:
        if is_lack_of_memory(error):
            raise MemoryError(str(error)) from error
        problem, text = type(error).__name__, " ".join(str(error).split())[:_LONGEST_TEXT]
        if text:
            problem += f": {text}"
        advice = _diagnosis(source, error) or "; it may be damaged or cut off"
        msg = f"{name} cannot be read ({printable(problem)}){advice}"
        raise ImageError(msg) from error


def _check_channels(pil_image: PilImage, notify: Notify) -> None:
    """Raises an error or gives a notice for channels of a TIFF that Pillow would drop."""
    tags = getattr(pil_image, "tag_v2", None)
    if tags is None:
        return
    channels = int(tags.get(_SAMPLES_PER_PIXEL, 1))
    if channels > len(_BANDS.get(pil_image.mode, pil_image.mode)):
        msg = f"it has {channels} channels; at most RGB with alpha are possible, choose three first"
        raise ImageError(msg)
    if pil_image.mode == "RGBX" or (channels == 4 and pil_image.mode == "RGB"):
        notify("its fourth channel, of no stated meaning, is left out")


def from_pil(
    pil_image: PilImage,
    strip: StripKinds = (),
    notify: Notify = ignore,
    page: int | None = None,
    max_pixels: int = LARGEST_PIXELS,
) -> Image:
    """Converts a Pillow image, at a page from 1 or the current one, to an upright `Image`.

    Options and errors are those of `read_image`. The Pillow image stays at this page.
    """
    with _boundary("the Pillow image"):
        if page is not None:
            go_to_page(pil_image, page)
        check_image_size(pil_image.height, pil_image.width, max_pixels)
        turned = traits_of(pil_image.format).is_turned
        transparency = _transparency(pil_image)
        pil_image = _without_texts(pil_image, notify)
        metadata = read_metadata(pil_image)
        kinds = strip_kinds(strip)
        if not turned and "exif" not in kinds:
            metadata = with_density(metadata, pil_image.info.get("dpi"), notify)
        metadata = stripped(metadata, kinds, notify)
        pil_image.load()
        orientation = 1 if turned else pil_image.getexif().get(tiff.ORIENTATION, 1)
        profile = pil_image.info.get("icc_profile")
        samples, keeps_profile = _shallow_samples(pil_image, profile, transparency, notify)
        return _upright_image(samples, metadata, keeps_profile, orientation, notify)


def _without_texts(pil_image: PilImage, notify: Notify) -> PilImage:
    """Removes texts of a PNG that Pillow stores like metadata or a transparent colour."""
    info = pil_image.info
    texts = [name for name in ("icc_profile", "exif", "xmp", "transparency") if isinstance(info.get(name), str)]
    if isinstance(info.get("exif"), bytes) and not is_exif(info["exif"]):
        notify("its Exif block is damaged, and is left out")
        texts.append("exif")
    if texts:
        pil_image = pil_image.copy()
        for name in texts:
            del pil_image.info[name]
    return pil_image


def to_image(
    source: Any, strip: StripKinds = (), notify: Notify = ignore, page: int | None = None, max_pixels: int | None = None
) -> Image:
    """Converts any image that the Python API accepts.

    The source is a path, the bytes of an image file, a Pillow image, an `Image`, or an array of
    uint8 or uint16 of any byte order, [H, W] or [H, W, C] with C = 1 (gray), 2 (gray and alpha), 3
    (RGB) or 4 (RGB and alpha). Other options are those of `read_image`. By default, only files have
    a pixel limit. Raises ImageError if the source has an unsupported type, or is too large, and
    ConfigError if the page does not exist.
    """
    kinds = strip_kinds(strip)
    file_limit, memory_limit = (MAX_PIXELS, LARGEST_PIXELS) if max_pixels is None else (max_pixels, max_pixels)
    if hasattr(source, "getexif"):
        return from_pil(source, strip, notify, page, memory_limit)
    if isinstance(source, bytes):
        return image_from_bytes(source, "the image file", file_limit, strip, page, notify)
    if isinstance(source, str) or hasattr(source, "__fspath__"):
        return read_image(Path(source), file_limit, strip, page, notify)
    if page is not None:
        msg = f"page is {page}, but only files and Pillow images have pages; leave it out"
        raise ConfigError(msg)
    image: Image = source
    if not isinstance(source, Image):
        samples = split_alpha(np.asarray(source))
        image = Image(samples.pixels, alpha=samples.alpha)
    check_image_size(image.height, image.width, memory_limit)
    metadata = fitting_metadata(stripped(image.metadata, kinds, notify), notify)
    return image if metadata == image.metadata else replace(image, metadata=metadata)


def _has_more_pages(source: Source, max_pixels: int) -> bool:
    """Indicates whether a file has more pages, as far as known without reading them all."""
    with source.open() as file, open_image(file, max_pixels) as pil_image:
        try:
            return bool(getattr(pil_image, "is_animated", False))
        except Exception:  # errors of the second page do not affect the first
            return False


def go_to_page(pil_image: PilImage, page: int, source: Source | None = None) -> None:
    """Moves an image to a page, from 1. `source` is its file; None for a Pillow image.

    Raises ImageError if reaching the page exceeds a limit, ConfigError if it does not exist.
    """
    if page < 1:
        msg = f"pages are counted from 1; there is no page {page}"
        raise ConfigError(msg)
    traits = traits_of(pil_image.format)
    if traits.is_sequential:
        pixels = page * pil_image.width * pil_image.height
        if pixels > _MAX_PAGE_PIXELS:
            msg = f"its frames up to {page} have {pixels} pixels, more than the limit of {_MAX_PAGE_PIXELS} for --page"
            raise ImageError(msg)
    if source is not None and pil_image.format == "TIFF":
        # Seeking reads all directories in between, so they are counted first.
        with source.open() as file:
            count = len(tiff.page_offsets(file, page))
        if page <= count:
            pil_image.seek(page - 1)
            return
    else:
        try:
            pil_image.seek(page - 1 + traits.first_seek)
            return
        except EOFError:
            count = int(getattr(pil_image, "n_frames", 1))
    name = "the Pillow image" if source is None else source.name
    msg = f"{name} has {count} page{'s' * (count > 1)}; there is no page {page}"
    raise ConfigError(msg)


def _upright_image(
    samples: ImageSamples, metadata: Metadata, keeps_profile: bool, orientation: int, notify: Notify
) -> Image:
    """Creates an image in upright orientation, with the metadata that a `.dfm` file can store."""
    if not keeps_profile:
        metadata = replace(metadata, icc=None, cicp=None)
    pixels = np.ascontiguousarray(upright(samples.pixels, orientation))
    alpha = None if samples.alpha is None else np.ascontiguousarray(upright(samples.alpha, orientation))
    return Image(pixels, fitting_metadata(upright_metadata(metadata), notify), alpha)


def upright(samples: Pixels, orientation: int) -> Pixels:
    """Rotates or mirrors samples [H, W, ...] so that the Exif orientation 1..8 becomes 1."""
    if orientation in (5, 6, 7, 8):
        samples = samples.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        samples = samples[:, ::-1]
    return samples[::-1] if orientation in (3, 4, 7, 8) else samples


def _transparency(pil_image: PilImage) -> Any:
    """Returns the fully transparent colour on the scale of the samples; None if there is none.

    Pillow scales the samples of a gray PNG with fewer than 8 bits, but not this colour, and
    discards the scale when it loads the samples.
    """
    colour = pil_image.info.get("transparency")
    if not isinstance(colour, int):
        return None if isinstance(colour, str) else colour  # text of a PNG
    tiles = getattr(pil_image, "tile", None)
    peak = _GRAY_PEAKS.get(rawmode_of(tiles[0])) if tiles else None
    return colour if peak is None else (colour & peak) * (PEAK_CODE_VALUE // peak)


def _shallow_samples(pil_image: PilImage, profile: Any, transparency: Any, notify: Notify) -> tuple[ImageSamples, bool]:
    """Returns the samples as Pillow decodes them, and whether the ICC profile is still valid."""
    mode = pil_image.mode
    if mode in DEEP_GRAY_MODES:
        return deep_gray_samples(pil_image, transparency), True
    if mode in ("CMYK", "LAB"):
        return split_alpha(np.asarray(_to_srgb(pil_image, profile, notify))), False
    if mode == "F":
        raise ImageError(_FLOATING_POINT)
    if mode not in _EXPANDED:
        msg = f"images of mode {mode} are not supported; convert this one to gray or RGB first"
        raise ImageError(msg)
    expanded = _EXPANDED[mode]
    if expanded == "L" and isinstance(transparency, int):
        gray = np.asarray(pil_image.convert("L"))
        return ImageSamples(gray[:, :, None], np.where(gray == transparency, 0, 255).astype(np.uint8)), True
    if transparency is not None and expanded in ("L", "RGB"):
        expanded += "A"
    samples = np.asarray(pil_image if mode == expanded else pil_image.convert(expanded))
    return split_alpha(samples), True


def _to_srgb(pil_image: PilImage, profile: Any, notify: Notify) -> PilImage:
    """Converts CMYK and Lab to sRGB, with the image's ICC profile if it is valid."""
    import PIL.ImageCms

    srgb = PIL.ImageCms.createProfile("sRGB")
    source: Any = None
    converted: PilImage | None = None
    with suppress(PIL.ImageCms.PyCMSError, OSError):
        if pil_image.mode == "LAB":
            source = PIL.ImageCms.createProfile("LAB")
        elif isinstance(profile, bytes) and profile:
            source = PIL.ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = source and PIL.ImageCms.profileToProfile(pil_image, source, srgb, outputMode="RGB")
    how = "by its definition" if pil_image.mode == "LAB" else "by its profile"
    notify(f"{pil_image.mode} converted to sRGB {how if converted else 'as Pillow does'}")
    return pil_image.convert("RGB") if converted is None else converted


def _diagnosis(source: Source | None, error: Exception) -> str:
    """Returns advice for the end of a message, for some kinds of file."""
    if source is None:
        return ""
    with source.open() as file:
        head = file.read(_TAR_MAGIC_AT + len(_TAR_MAGIC))
        if head.startswith(MAGIC):
            return "; to decode it, use `dfm decode`"
        if package := plugin_package(head):
            return f"; the package {package} can (pip install {package})"
        if head.startswith((b"#?RADIANCE", b"\x76\x2f\x31\x01")):
            return f": {_FLOATING_POINT}"
        if head.startswith((b"%!PS", b"%PDF")):
            return "; convert it to PNG first"
        if head.startswith(b"PAR1") or head[_TAR_MAGIC_AT:] == _TAR_MAGIC:
            kind, form = ("Parquet file", "parquet") if head.startswith(b"PAR1") else ("tar", "tar")
            return f"; it is a {kind}: `dfm corpus FILE.{form} -O FOLDER` encodes the images in it"
        layout = tiff.read_layout(file)
        fields = layout and tiff.read_fields(file, layout.first, wanted=_DESCRIBED)
    if not layout or not fields:
        return ""
    depth, channels, sample_format = (tiff.first_number(fields.get(tag), layout.byte_order, 1) for tag in _DESCRIBED)
    if sample_format == _FLOAT_FORMAT:
        return f": {_FLOATING_POINT}"
    if channels > 4:
        return f": it has {channels} channels; at most RGB with alpha are possible, choose three first"
    if isinstance(error, SyntaxError):  # Pillow raises SyntaxError for an unknown image
        return f": it is a TIFF of {channels} channels and {depth} bits that Pillow cannot read; convert it to PNG"
    return ""
