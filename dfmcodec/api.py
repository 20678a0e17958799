"""The Python API. Each function imports what it needs when called.

>>> import numpy as np
>>> import dfmcodec
>>> image = np.zeros((32, 48, 3), np.uint8)
>>> result = dfmcodec.encode(image, bpp=1.0, effort=1)
>>> decoded = dfmcodec.decode(result.data)
>>> decoded.pixels.shape
(32, 48, 3)
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from io import TextIOBase
from operator import index
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypedDict, Union, Unpack, cast

from dfmcodec.errors import ConfigError, MissingFileError
from dfmcodec.files.names import fault_of_path

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import PIL.Image

    import dfmcodec.image
    from dfmcodec._types import Pixels
    from dfmcodec.container.header import Header
    from dfmcodec.image.region import Region
    from dfmcodec.report import EncodeResult
    from dfmcodec.search.config import EncoderConfig
    from dfmcodec.search.job import Progress

BytesLike = bytes | bytearray | memoryview
# Only type checkers import the types in quotes, so that `import dfmcodec` stays light.
FileLike = Union[str, "os.PathLike[str]", BytesLike, BinaryIO]
ImageLike = Union[FileLike, "dfmcodec.image.Image", "PIL.Image.Image", "npt.NDArray[Any]"]


class EncodeOptions(TypedDict, total=False):
    """Options of `encode`: the fields of `EncoderConfig`, which describes them, and these for
    reading the image and running.

    Args:
        strip: Kinds of metadata to remove, one or several: "gps", "exif", "xmp", "icc", "gainmap",
            or "all" for Exif, XMP and gain map.
        page: Page to encode, counted from 1, of a file or Pillow image with several pages. None
            chooses the first page of a file, and the current page of a Pillow image. Arrays have no
            pages.
        max_pixels: Maximum number of pixels. Larger images are refused, before their pixels are
            read if possible. None is 89,478,485 for files; images in memory then have no limit.
        on_progress: Callback that receives the progress, many times during encoding.
        should_stop: Callback that is polled during the fit. If it returns True, the fit ends with
            the best result so far.
    """

    rate: float | None
    bpp: float | None
    size: int | None
    psnr: float | None
    ssimulacra2: float | None
    quality: float | None
    lmbda: float | None
    model: str
    effort: int
    recipe: str
    depth: int | None
    layer_width: int | None
    order: int | None
    training_steps: int | None
    time_limit_s: float | None
    seed: int
    sample_max: int | None
    tune: str | None
    texture: float | None
    strip: str | Iterable[str]
    page: int | None
    max_pixels: int | None
    on_progress: Callable[[Progress], None]
    should_stop: Callable[[], bool]


_FOR_TEXT = 'the file is open in text mode; open it with mode "rb"'
_READING = ("strip", "page", "max_pixels")
_RUNNING = ("on_progress", "should_stop")


def encode(image: ImageLike, config: EncoderConfig | None = None, **options: Unpack[EncodeOptions]) -> EncodeResult:
    """Encodes an image.

    Args:
        image: A path, the bytes of an image file (bytes, bytearray or memoryview), a binary file, a
            Pillow image, a `dfmcodec.Image`, or an array of uint8 or uint16 of any byte order: [H,
            W] or [H, W, C] with C = 1 (gray), 2 (gray and alpha), 3 (RGB) or 4 (RGB and alpha). A
            binary file is read from its current position, or from its start if the position is at
            the end. A `.dfm` file is decoded and encoded again, with a warning. Conversions also
            cause warnings.
        config: All settings in one object, instead of the corresponding options.
        **options: Options, such as `rate=0.18`, `psnr=38`, `effort=7`; see `EncodeOptions`.

    Returns:
        The file (`.data`, `.save(path)`), its measurements (`.report`) and the decoded image
        (`.decoded`).

    Raises:
        ImageError: The image cannot be encoded. For an array of an unsupported type, such as bool,
            int64 or float32, the message gives the expression that converts it.
        FormatError: The image is a `.dfm` file that cannot be decoded.
        ConfigError: An option is unknown or invalid.
        TargetUnreachableError: The size or quality target cannot be met.
        DivergedError: The fit diverged repeatedly.
        InstallationError: A file of the installation is damaged or missing.
    """
    from dfmcodec.codecs.encode import encode_image
    from dfmcodec.files.arrays import image_array
    from dfmcodec.image import Image
    from dfmcodec.image.read_image import to_image
    from dfmcodec.search.config import EncoderConfig

    unknown = [name for name in options if name not in EncodeOptions.__annotations__]
    if unknown:
        msg = f"unknown option {unknown[0]!r}; dfmcodec.EncodeOptions lists the options of encode"
        raise ConfigError(msg)
    given = dict(options)
    reading = {name: given.pop(name) for name in _READING if name in given}
    running = {name: given.pop(name) for name in _RUNNING if name in given}
    if config is not None and given:
        msg = f"give either a config or single settings ({', '.join(given)}), not both"
        raise ConfigError(msg)
    try:
        config = config or EncoderConfig(**cast("dict[str, Any]", given))
    except TypeError as error:
        msg = f"an option has a value of the wrong type: {error}"
        raise ConfigError(msg) from error

    def warn(notice: str) -> None:
        warnings.warn(notice, stacklevel=3)

    source = _opened(image)
    name = os.fspath(source) if isinstance(source, str | os.PathLike) else "the image"
    decoded = _image_of_dfm(source, reading.get("max_pixels"), reading.get("page"), warn)
    if decoded is not None:
        source = decoded
        reading.pop("page", None)
    if not (isinstance(source, bytes | str | os.PathLike | Image) or hasattr(source, "getexif")):
        source = image_array(source)
    upright = to_image(source, notify=warn, **cast("dict[str, Any]", reading))
    return encode_image(
        upright,
        config,
        notify=lambda notice: warn(f"{name}: {notice}"),
        **cast("dict[str, Any]", running),
    )


class DecodeResult:
    """Decoded image, with a list of its missing or damaged parts.

    Functions that accept arrays accept this object and receive `pixels`: `np.asarray(decoded)`,
    `decoded[:, :, 0]`, `.shape`.

    Args:
        image: The image, with separate colours, alpha and metadata.
        losses: Descriptions of missing or damaged parts and their effects; empty for an intact
            file.

    Attributes:
        pixels: The pixels, uint8 or uint16 [H, W, C]: C = 1 (gray), 2 (gray and alpha), 3 (RGB) or
            4 (RGB and alpha).
    """

    def __init__(self, image: dfmcodec.image.Image, losses: tuple[str, ...] = ()) -> None:
        self.image = image
        self.losses = losses
        self.pixels: Pixels = image.samples

    @property
    def metadata(self) -> dfmcodec.image.Metadata:
        """Returns the metadata: ICC profile, Exif block and XMP packet."""
        return self.image.metadata

    @property
    def shape(self) -> tuple[int, ...]:
        """Returns (height, width, channels), alpha included."""
        return self.pixels.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Returns the type of the samples, uint8 or uint16."""
        return self.pixels.dtype

    @property
    def ndim(self) -> int:
        """Returns the number of dimensions, 3."""
        return self.pixels.ndim

    @property
    def size(self) -> int:
        """Returns the number of samples, alpha included."""
        return self.pixels.size

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: Any) -> Any:
        return self.pixels[index]

    def squeeze(self) -> Pixels:
        """Returns the pixels; gray without alpha has the shape [H, W]."""
        return self.pixels[:, :, 0] if self.pixels.shape[2] == 1 else self.pixels

    def to_pil(self) -> PIL.Image.Image:
        """Returns a Pillow image with the metadata: L, LA, RGB, RGBA, or I;16 for 16-bit gray.

        16-bit colours are reduced to 8 bits, because Pillow has no mode for them.
        """
        from dfmcodec.image.write_image import to_pil

        return to_pil(self.image)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        import numpy as np

        if copy is False and dtype is not None and np.dtype(dtype) != self.pixels.dtype:
            msg = f"a copy is needed to make {np.dtype(dtype)} of {self.pixels.dtype}"
            raise ValueError(msg)
        return np.array(self.pixels, dtype=dtype, copy=True) if copy else np.asarray(self.pixels, dtype=dtype)

    def __repr__(self) -> str:
        height, width, channels = self.pixels.shape
        kind = {1: "gray", 2: "gray with alpha", 3: "RGB", 4: "RGB with alpha"}[channels]
        lost = f", {len(self.losses)} losses" if self.losses else ""
        return f"<DecodeResult {width}x{height} {kind}, {8 * self.pixels.itemsize} bits{lost}>"

    def _repr_png_(self) -> bytes:
        """Returns the image as a PNG, for notebooks."""
        from dfmcodec.image.write_image import OUTPUT_FORMATS, image_to_bytes

        return image_to_bytes(self.image, OUTPUT_FORMATS["png"])


def decode(
    source: FileLike,
    *,
    region: Region | Sequence[int] | None = None,
    scale: float | None = None,
    resize: tuple[int, int] | None = None,
    max_pixels: int | None = None,
    max_multiply_adds: int | None = None,
    best_effort: bool = False,
    texture: bool = True,
    strip: str | Iterable[str] = (),
) -> DecodeResult:
    """Decodes a `.dfm` file.

    Args:
        source: The bytes of the file (bytes, bytearray or memoryview), its path, or a binary file.
            A binary file is read from its current position, or from its start if the position is at
            the end.
        region: The region to decode, as a `Region` or (left, top, width, height) in pixels; None
            for the entire image.
        scale: Scale of the result: pixels are evaluated at distances of 1 / scale.
        resize: (width, height) of the result in pixels, instead of a scale.
        max_pixels: Maximum number of pixels. Larger images are refused before memory is allocated.
            None for the default limit.
        max_multiply_adds: Maximum number of multiply-adds for all pixels. Larger networks of the
            coordinate codec are refused before memory is allocated. None for the default limit.
        best_effort: Whether to decode the intact parts of a truncated or damaged file and list the
            losses. A prefix of a file then gives a preview.
        texture: Whether noise replaces lost texture, if the file has a texture.
        strip: Kinds of metadata to remove, as for `encode`.

    Returns:
        The image, with `pixels` uint8 or uint16 [H, W, C]: C = 1 (gray), 2 (gray and alpha), 3
        (RGB) or 4 (RGB and alpha).

    Raises:
        FormatError: The file is not readable, or, with `best_effort`, contains no decodable part.
        ConfigError: The region is not within the image, or the size is invalid.
        InstallationError: A file of the installation is damaged or missing.
    """
    from dfmcodec.codecs import decode as decoder
    from dfmcodec.fourier.network import MAX_MULTIPLY_ADDS
    from dfmcodec.image import MAX_PIXELS
    from dfmcodec.image.strip import strip_kinds, stripped

    kinds, part = strip_kinds(strip), _as_region(region)
    if resize is not None:
        width, height = _integers(resize, "resize", "width", "height")
        resize = width, height
    limit = MAX_PIXELS if max_pixels is None else max_pixels
    most = MAX_MULTIPLY_ADDS if max_multiply_adds is None else max_multiply_adds
    data = _bytes(source)
    request = decoder.DecodeRequest(limit, part, scale, resize, most, texture)
    image, losses = (
        decoder.decode_best_effort(data, request) if best_effort else (decoder.decode_image(data, request), [])
    )
    metadata = stripped(image.metadata, kinds, lambda notice: warnings.warn(f"the file: {notice}", stacklevel=4))
    return DecodeResult(replace(image, metadata=metadata), tuple(losses))


def read_info(source: FileLike) -> Header:
    """Reads the header of a `.dfm` file of any size, without decoding the image.

    Raises:
        FormatError: The file is not readable.
    """
    from dfmcodec.container.header import read_header
    from dfmcodec.image import LARGEST_PIXELS

    return read_header(_bytes(source), LARGEST_PIXELS)


def _as_region(region: Region | Sequence[int] | None) -> Region | None:
    """Converts (left, top, width, height) to a region."""
    from dfmcodec.image.region import Region

    if region is None or isinstance(region, Region):
        return region
    left, top, width, height = _integers(region, "region", "left", "top", "width", "height")
    return Region(top, left, top + height, left + width)


def _integers(given: Sequence[int], what: str, *names: str) -> tuple[int, ...]:
    """Returns the integers of an argument, one for each name, or raises ConfigError."""
    try:
        numbers = tuple(map(index, given))
    except TypeError:
        numbers = ()
    if len(numbers) != len(names):
        msg = f"{what} is {given!r}; it has to be ({', '.join(names)}) in pixels, all integers"
        raise ConfigError(msg)
    return numbers


def _image_of_dfm(
    source: Any, max_pixels: Any, page: Any, notify: Callable[[str], None]
) -> dfmcodec.image.Image | None:
    """Decodes a `.dfm` file, given as bytes or path; returns None for all other sources."""
    from dfmcodec.codecs.source import image_of_dfm
    from dfmcodec.files.atomic import is_stream
    from dfmcodec.image import MAX_PIXELS
    from dfmcodec.image.source import Source

    if isinstance(source, bytes):
        file = Source.from_bytes(source, "the image file")
    elif isinstance(source, str | os.PathLike) and not is_stream(Path(source)):  # can be read only once
        file = Source.from_path(Path(source))
    else:
        return None
    return image_of_dfm(file, MAX_PIXELS if max_pixels is None else max_pixels, page, notify)


def _bytes(source: FileLike) -> bytes:
    """Reads all bytes of a source."""
    from dfmcodec.files.atomic import read_file

    opened = _opened(source)
    if isinstance(opened, bytes):
        return opened
    if not isinstance(opened, str | os.PathLike):
        msg = f"a path, bytes or a binary file is needed, found {type(source).__name__}"
        raise ConfigError(msg)
    return read_file(Path(opened))


def _opened(source: Any) -> Any:
    """Reads bytes-like objects and binary files; returns the rest unchanged. Refuses text files."""
    if isinstance(source, bytearray | memoryview):
        return bytes(source)
    if isinstance(source, TextIOBase):  # reading it could fail to decode bytes as text
        raise ConfigError(_FOR_TEXT)
    if hasattr(source, "read") and not hasattr(source, "getexif"):  # Pillow images have no read; this keeps it so
        data = source.read()
        if not isinstance(data, bytes):
            raise ConfigError(_FOR_TEXT)
        is_seekable = hasattr(source, "seekable") and source.seekable()
        if not data and is_seekable and source.tell():  # at its end, after writing
            source.seek(0)
            return source.read()
        return data
    return _checked(source) if isinstance(source, str | os.PathLike) else source


def _checked(path: str | os.PathLike[str]) -> str | os.PathLike[str]:
    """Returns a path of an input. Raises MissingFileError for a name that no file has."""
    fault = fault_of_path(os.fspath(path), "read")
    if fault is not None:
        raise MissingFileError(fault)
    return path
