"""Files <-> Image: reading pictures through Pillow, and writes that leave the old file or the new one."""

from __future__ import annotations

import io
import os
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dfmcodec.errors import DfmError, ImageError, OutputError
from dfmcodec.image import MAX_PIXELS, Image, Metadata, check_picture_size

if TYPE_CHECKING:
    from PIL.Image import Image as PilImage

EXTENSION = ".dfm"
OUTPUT_FORMATS = {
    ".png": "PNG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".ppm": "PPM",
    ".pgm": "PPM",
    ".bmp": "BMP",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
}
_ORIENTATION_TAG = 0x0112
# Modes that become gray or RGB without losing anything. The others are refused, never cut down silently.
_LOSSLESS_MODES = {"L": "L", "RGB": "RGB", "1": "L"}


def read_file(path: Path) -> bytes:
    """The bytes of a file.

    Raises:
        DfmError: It cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        msg = f"cannot read {path}: {error.strerror or error}"
        raise DfmError(msg) from error


def read_image(path: Path, max_pixels: int = MAX_PIXELS, strip: bool = False) -> Image:
    """Reads a picture file: 8-bit gray or RGB, upright, with its ICC, Exif and XMP.

    Args:
        path: Any file that Pillow opens.
        max_pixels: Larger pictures are refused before their pixels are read.
        strip: Leave ICC, Exif and XMP behind.

    Raises:
        ImageError: It is not a picture, is empty, too large, or of a kind that would lose something.
        DfmError: It cannot be read.
    """
    import PIL.Image

    data = read_file(path)
    if not data:
        msg = f"{path} is empty; a picture is needed"
        raise ImageError(msg)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PIL.Image.DecompressionBombWarning)
            with PIL.Image.open(io.BytesIO(data)) as picture:
                check_picture_size(picture.height, picture.width, max_pixels)
                picture.load()
                return from_pil(picture, strip)
    except PIL.UnidentifiedImageError as error:
        hint = "; to decode it, use `dfm decode`" if data.startswith(b"\x89DFM") else ""
        msg = f"{path} is not a picture that Pillow can read{hint}"
        raise ImageError(msg) from error
    except PIL.Image.DecompressionBombError as error:
        msg = f"{path}: the picture has more pixels than the limit of {max_pixels}; scale it down"
        raise ImageError(msg) from error
    except ImageError as error:
        msg = f"{path}: {error}"
        raise ImageError(msg) from error
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        msg = f"{path} is damaged or cut off: {error}"
        raise ImageError(msg) from error


def from_pil(picture: PilImage, strip: bool = False) -> Image:
    """A Pillow picture as `Image`, turned upright by its Exif orientation.

    Raises:
        ImageError: Its mode would lose something (transparency, 16 bits, CMYK, ...).
    """
    import PIL.ImageOps

    mode = picture.mode
    if mode == "P" and "transparency" not in picture.info:
        picture, mode = picture.convert("RGB"), "RGB"
    if mode not in _LOSSLESS_MODES or "transparency" in picture.info:
        kind = "transparency" if mode in ("LA", "PA", "RGBA", "La", "RGBa", "P") else f"mode {mode}"
        msg = f"pictures with {kind} are not supported yet; convert it to 8-bit gray or RGB first"
        raise ImageError(msg)
    upright = PIL.ImageOps.exif_transpose(picture)
    metadata = Metadata() if strip else _metadata_of(upright)
    pixels = np.array(upright.convert(_LOSSLESS_MODES[mode]), dtype=np.uint8)
    return Image(np.ascontiguousarray(pixels.reshape(*pixels.shape[:2], -1)), metadata)


def _metadata_of(picture: PilImage) -> Metadata:
    exif = picture.getexif()
    exif.pop(_ORIENTATION_TAG, None)
    xmp = picture.info.get("xmp") or picture.info.get("XML:com.adobe.xmp")
    if isinstance(xmp, str):
        xmp = xmp.encode()
    return Metadata(picture.info.get("icc_profile") or None, exif.tobytes() if len(exif) else None, xmp or None)


def to_image(source: Any, strip: bool = False) -> Image:
    """Takes what the Python API accepts as a picture.

    Args:
        source: A path, a Pillow picture, a uint8 array [H, W], [H, W, 1] or [H, W, 3], or an Image.
        strip: Leave ICC, Exif and XMP behind.

    Raises:
        ImageError: It is none of these.
    """
    if isinstance(source, Image):
        return Image(source.pixels) if strip else source
    if isinstance(source, str | os.PathLike):
        return read_image(Path(source), strip=strip)
    if hasattr(source, "getexif"):
        return from_pil(source, strip)
    pixels = np.asarray(source)
    return Image(np.ascontiguousarray(pixels[:, :, None] if pixels.ndim == 2 else pixels))


def check_output_format(path: Path) -> str:
    """Pillow's name of the format that an output path asks for.

    Raises:
        OutputError: The extension is not known.
    """
    try:
        return OUTPUT_FORMATS[path.suffix.lower()]
    except KeyError:
        known = " ".join(sorted(OUTPUT_FORMATS))
        msg = f"cannot tell the picture format of {path.name!r} by its extension; use one of {known}"
        raise OutputError(msg) from None


def image_to_bytes(image: Image, format_name: str) -> bytes:
    """The picture as a file of a Pillow format, with its metadata where the format carries it."""
    import PIL.Image

    pixels = image.pixels[:, :, 0] if image.channels == 1 else image.pixels
    options: dict[str, Any] = {}
    if image.metadata.icc:
        options["icc_profile"] = image.metadata.icc
    if image.metadata.exif:
        options["exif"] = image.metadata.exif
    if image.metadata.xmp and format_name in ("JPEG", "WEBP"):
        options["xmp"] = image.metadata.xmp
    if image.metadata.xmp and format_name == "PNG":
        from PIL.PngImagePlugin import PngInfo

        options["pnginfo"] = PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", image.metadata.xmp.decode("utf-8", "replace"))
    if format_name == "JPEG":
        options |= {"quality": 95, "subsampling": 0}
    if format_name == "WEBP":
        options |= {"lossless": True}
    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels).save(buffer, format_name, **options)
    return buffer.getvalue()


def check_writable(path: Path, force: bool) -> None:
    """Refuses, before any work, an output that exists (without `force`) or that cannot be written.

    Raises:
        OutputError: What is in the way.
    """
    folder = path.parent
    if path.is_dir():
        msg = f"{path} is a folder; name a file"
    elif path.exists() and not force:
        msg = f"{path} exists; use -f to replace it or -o to name another file"
    elif not folder.is_dir():
        msg = f"the folder {folder} does not exist; make it first"
    elif not os.access(folder, os.W_OK | os.X_OK):
        msg = f"no permission to write in {folder}"
    else:
        return
    raise OutputError(msg)


def write_atomic(path: Path, data: bytes) -> None:
    """Writes a file so that at any moment either the old or the whole new one is there.

    Raises:
        OutputError: It cannot be written; an existing file is as it was.
    """
    temporary: str | None = None
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException as error:
        if temporary is not None and os.path.exists(temporary):
            os.unlink(temporary)
        if isinstance(error, OSError):
            msg = f"cannot write {path}: {error.strerror or error}"
            raise OutputError(msg) from error
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
