"""Opens untrusted image files with Pillow.

`PIL.Image.open` tries every format that it knows. Some plugins start other programs, and the size
limit is global. `open_image` calls the plugins of `formats.FORMATS` only, with its own size limit.
"""

from __future__ import annotations

import importlib.util
import io
import struct
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from dfmcodec.errors import ImageError
from dfmcodec.files.atomic import MAGIC
from dfmcodec.image import MAX_METADATA_BYTES, MAX_PIXELS, check_image_size, png, tiff
from dfmcodec.image.formats import FORMATS, traits_of

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

MAX_HELD_BYTES = 1 << 30  # maximum size of a file that must be held in memory
MAX_HEADER_READS = 200_000  # before a plugin reports the size; usual files need a few hundred
MAX_EXIF_BYTES = MAX_METADATA_BYTES  # of all segments of a JPEG; the plugin joins them in quadratic time
SIGNATURE_BYTES = 16  # enough for Pillow's plugins to recognise a format
_SIZE_BYTES = 32  # enough to find the size of a PNG or WebP image

_TILE_SIDE_TAGS = (0x0142, 0x0143)  # TIFF tags
MAX_TILE_PIXELS = 1 << 22  # of a TIFF, unless the image itself is larger
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1")
_JXL_MAGIC = (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")
_HEIF_PACKAGE, _JXL_PACKAGE = "pillow-heif", "pillow-jxl-plugin"


def open_image(file: BinaryIO, max_pixels: int = MAX_PIXELS, formats: Iterable[str] = FORMATS) -> ImageFile:
    """Opens an image. Only the header is read, as far as the format allows.

    The file must be seekable, and remains open with the image. Larger images than `max_pixels` are
    refused, if possible before memory is allocated. `formats` are Pillow's names.

    Raises:
        ImageError: The image is too large.
        PIL.UnidentifiedImageError: The file is not an image of these formats.
        Exception: The plugin cannot read the file. Plugins raise errors of many types.
    """
    import PIL

    file.seek(0)
    head = file.read(_SIZE_BYTES)
    _check_declared_size(head, max_pixels)
    failure: Exception | None = None
    for name, factory, has_signature in _candidates(head, formats):
        limited = _LimitedFile(_prepared(file, name))
        limited.seek(0)
        try:
            pil_image = cast("ImageFile", factory(limited, ""))
        except ImageError:
            raise
        except (SyntaxError, IndexError, TypeError, KeyError, EOFError, struct.error) as error:
            failure = error if has_signature and failure is None else failure  # the file may match another format
            continue
        check_image_size(pil_image.height, pil_image.width, max_pixels)
        limited.reads_left = None
        return pil_image
    if failure is not None:
        raise failure
    raise PIL.UnidentifiedImageError


def load_samples(pil_image: ImageFile) -> None:
    """Loads the samples. Raises ImageError for tiles of a TIFF much larger than the image."""
    if pil_image.format == "TIFF" and pil_image.tile:
        _check_tiles(pil_image)
        _prepare_tiff(pil_image)
    pil_image.load()


def _check_tiles(pil_image: Any) -> None:
    """Refuses a TIFF with tiles much larger than the image, because tiles are decoded entirely."""
    sides = [pil_image.tag_v2.get(tag) for tag in _TILE_SIDE_TAGS]
    width, height = (side if isinstance(side, int) else 0 for side in sides)
    if width * height > max(MAX_TILE_PIXELS, 2 * pil_image.width * pil_image.height):
        msg = f"its tiles have {width}x{height} pixels, more than {MAX_TILE_PIXELS} and more than twice its image"
        raise ImageError(msg)


def _prepare_tiff(pil_image: Any) -> None:
    """Sets attributes that the TIFF plugin would otherwise take from global state or from the file.

    It allocates the image, because the plugin would check the global size limit, and provides only
    the orientation as Exif, because the plugin would read all of the file's Exif.
    """
    import PIL.Image

    size = getattr(pil_image, "_tile_size", pil_image.size)  # size before rotation
    pil_image.im = PIL.Image.new(pil_image.mode, size, None).im
    orientation = pil_image.tag_v2.get(tiff.ORIENTATION)
    is_known = isinstance(orientation, int) and 1 <= orientation <= 8
    fields = {tiff.ORIENTATION: tiff.short_field("<", orientation)} if is_known else {}
    pil_image.info["exif"] = tiff.write_tiff("<", fields, {})
    if not isinstance(pil_image.info.get("xmp"), bytes):
        pil_image.info.pop("xmp", None)


def may_be_image(head: bytes) -> bool:
    """Indicates whether a file may be a supported image or a `.dfm` file, from its first bytes."""
    if head.startswith(MAGIC):
        return True
    for _, factory, has_signature in _candidates(head, FORMATS):
        if has_signature:
            return True
        try:
            factory(io.BytesIO(head), "")
        except Exception:  # plugins raise errors of any type for bytes of another format
            continue
        return True
    return False


def _candidates(head: bytes, formats: Iterable[str]) -> Iterator[tuple[str, Any, bool]]:
    """Yields the formats that match the first bytes: name, factory, whether a signature matched."""
    import PIL.Image

    _register_plugin_for(head)
    signature = head[:SIGNATURE_BYTES].ljust(SIGNATURE_BYTES, b"\0")
    tried: set[str] = set()
    for register in (PIL.Image.preinit, PIL.Image.init):  # same order as in Pillow: common plugins first
        register()
        for name in formats:
            if name in tried or name not in PIL.Image.OPEN:
                continue
            if register is PIL.Image.preinit and PIL.Image.OPEN[name][1] is None:
                continue
            tried.add(name)
            factory, accept = PIL.Image.OPEN[name]
            if accept is None or accept(signature) is True:
                yield name, factory, accept is not None


def plugin_package(head: bytes) -> str | None:
    """Returns the package with Pillow's plugin for a HEIC or JPEG XL file; None for other files."""
    if head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS:
        return _HEIF_PACKAGE
    return _JXL_PACKAGE if head.startswith(_JXL_MAGIC) else None


def _register_plugin_for(head: bytes) -> None:
    """Registers Pillow's plugin for HEIC or JPEG XL if the file needs it and it is installed."""
    import PIL.Image

    package = plugin_package(head)
    if package == _HEIF_PACKAGE and "HEIF" not in PIL.Image.OPEN and importlib.util.find_spec("pillow_heif"):
        import pillow_heif

        pillow_heif.register_heif_opener()
    if package == _JXL_PACKAGE and "JXL" not in PIL.Image.OPEN and importlib.util.find_spec("pillow_jxl"):
        importlib.import_module("pillow_jxl")


def _prepared(file: BinaryIO, name: str) -> BinaryIO:
    """Returns the file in the form that the plugin needs, after inexpensive checks."""
    if traits_of(name).is_held and file.seek(0, io.SEEK_END) > MAX_HELD_BYTES:
        msg = f"it has more than {MAX_HELD_BYTES >> 20} MiB, the limit for {name} files"
        raise ImageError(msg)
    if name == "PNG":
        return png.without_metadata(file)
    if name == "TIFF":
        tiff.page_offsets(file, 1)  # refuses a directory with too many entries
    return file


def _check_declared_size(head: bytes, max_pixels: int) -> None:
    """Refuses a PNG or WebP file that declares too many pixels, before a plugin reads it."""
    size = png.declared_size(head) or _webp_size(head)
    if size is not None:
        check_image_size(size[1], size[0], max_pixels)


def _webp_size(head: bytes) -> tuple[int, int] | None:
    """Returns (width, height) of a WebP file (RFC 9649), whose decoder allocates memory at once."""
    kind = head[12:16]
    if head[:4] != b"RIFF" or head[8:12] != b"WEBP" or len(head) < (25 if kind == b"VP8L" else 30):
        return None
    if kind == b"VP8X":
        return int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1
    if kind == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack_from("<HH", head, 26)
    return width & 0x3FFF, height & 0x3FFF


class _LimitedFile:
    """Limits reads before the header is known, and the bytes of Exif, of a binary file.

    Some plugins skip unknown content byte by byte to the end of the file.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.reads_left: int | None = MAX_HEADER_READS
        self._exif_bytes_left = MAX_EXIF_BYTES

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def _count(self) -> None:
        if self.reads_left is not None:
            self.reads_left -= 1
            if self.reads_left < 0:
                msg = "its header has no end; the file may be damaged"
                raise ImageError(msg)

    def read(self, size: int = -1) -> bytes:
        self._count()
        data = self._file.read(size)
        if data.startswith(tiff.EXIF_PREFIX):  # segment of a JPEG
            self._exif_bytes_left -= len(data)
            if self._exif_bytes_left < 0:
                msg = f"its Exif has more than {MAX_EXIF_BYTES} bytes; remove it first"
                raise ImageError(msg)
        return data
