"""The functions of `import dfmcodec`: encode, decode, read a header. Each imports what it needs
when it is called.

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

from dfmcodec.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import PIL.Image

    import dfmcodec.image
    from dfmcodec._types import Pixels
    from dfmcodec.codecs.generative.model import GenerativeModel
    from dfmcodec.container.header import Header
    from dfmcodec.image.region import Region
    from dfmcodec.report import EncodeResult
    from dfmcodec.search.config import EncoderConfig
    from dfmcodec.search.job import Progress

BytesLike = bytes | bytearray | memoryview
# The members in quotes are imported by type checkers alone, so that `import dfmcodec` stays light.
FileLike = Union[str, "os.PathLike[str]", BytesLike, BinaryIO]
ImageLike = Union[FileLike, "dfmcodec.image.Image", "PIL.Image.Image", "npt.NDArray[Any]"]
GeneratorLike = Union[str, "os.PathLike[str]", "GenerativeModel"]


class EncodeOptions(TypedDict, total=False):
    """The options of `encode`: the fields of `EncoderConfig`, and what is not part of the settings.

    Args:
        rate: Largest size of the file as a fraction of the raw samples' bytes, at most 1.
        bpp: Largest size of the file in bits per pixel.
        size: Largest size of the file in bytes.
        psnr: Least PSNR of the decoded image in dB.
        lossless: Whether the decoded image has to be exactly the same (of 16 bits only by chance).
        ssimulacra2: Least SSIMULACRA2 of the decoded image. Most files exceed it by less than 0.5,
            those of smooth images by more (wavelet codec, tune "visual").
        quality: 0..100; 75 where no target is given (coordinate codec: rate 0.18). With the tune
            "visual", up to 92 about the SSIMULACRA2 of the decoded image. Wavelet and overfitted
            models, as the next.
        lmbda: Lagrange multiplier of MSE in [0, 1] + lmbda * bpp.
        model: "auto", "wavelet", "overfitted" or "coordinate"; see `EncoderConfig`.
        effort: 1 (fastest) to 9; wavelet and overfitted codecs.
        recipe: "default" or "published"; coordinate codec, as depth, width and order.
        depth: Number of Fourier layers.
        width: Dimension between layers.
        order: Largest |k|_1.
        steps: Gradient steps; overfitted codec, too.
        time_limit_s: Seconds after which the fit ends; every model.
        seed: Seed of the initial weights and the batches of the coordinate codec, and of the noise
            of a fit of the overfitted codec.
        sample_max: The largest value that samples may have, to which psnr, quality, lmbda and the
            reported PSNR are relative; of 16 bits and at most 255, they are encoded as 8 bits. None
            for the smallest range of 8, 10, 12, 14 or 16 bits that holds all of them, with a
            warning where that is not the whole range.
        tune: "visual" for what looks best, or "psnr" for the least squared error;
            None for "visual", but for "psnr" with the targets psnr, lossless and lmbda, other
            models, and images with a side below 113 pixels or that use a part of 16 bits.
        strip: Kinds of metadata that are left out: "gps", "exif", "xmp", "icc", or "all" for Exif
            and XMP; one or several.
        page: Page of a file or Pillow image of several, from 1. None takes the first of a file, and
            of a Pillow image the one at which it stands. Arrays have no pages.
        max_pixels: Larger images are refused, files and Pillow images before their pixels are read.
            None is 89,478,485 for files, and no limit for what is in memory.
        generator: A generative model or the path of its `.dfmg` file; the image becomes a code.
        on_progress: Called many times during the fit.
        should_stop: Asked many times during the fit; True ends it, and the best so far is returned.
    """

    rate: float | None
    bpp: float | None
    size: int | None
    psnr: float | None
    lossless: bool
    ssimulacra2: float | None
    quality: float | None
    lmbda: float | None
    model: str
    effort: int
    recipe: str
    depth: int | None
    width: int | None
    order: int | None
    steps: int | None
    time_limit_s: float | None
    seed: int
    sample_max: int | None
    tune: str | None
    strip: str | Iterable[str]
    page: int | None
    max_pixels: int | None
    generator: GeneratorLike | None
    on_progress: Callable[[Progress], None]
    should_stop: Callable[[], bool]


_FOR_TEXT = 'the file was opened for text; open it with mode "rb"'
_READING = ("strip", "page", "max_pixels")
_RUNNING = ("on_progress", "should_stop")


def encode(image: ImageLike, config: EncoderConfig | None = None, **options: Unpack[EncodeOptions]) -> EncodeResult:
    """Encodes an image.

    Args:
        image: A path, the bytes of an image file (bytes, bytearray or memoryview), a binary file, a
            Pillow image, a `dfmcodec.Image`, or an array of uint8 or uint16 of any byte order:
            [H, W] or [H, W, C] with C = 1 (gray), 2 (gray and alpha), 3 (RGB) or 4 (RGB and alpha).
            A file is read from its position on, or from its start if it stands at its end. A `.dfm`
            file is decoded and encoded again. There is a warning of this, and of what has to be
            converted.
        config: All settings in one object, instead of those among the options.
        **options: See `EncodeOptions`: `rate=0.18`, `psnr=38`, `effort=7`, ...

    Returns:
        The file (`.data`, `.save(path)`), its figures (`.report`) and the decoded image
        (`.decoded`).

    Raises:
        ImageError: The image cannot be encoded. For an array of another type, such as bool, int64
            or float32, the message names the expression that converts it.
        FormatError: The prior is not a readable `.dfmg` file, or the image is a `.dfm` file that
            cannot be decoded.
        ConfigError: An option is unknown or makes no sense.
        TargetUnreachableError: The size or quality target cannot be met.
        DivergedError: The fit diverged again and again.
        InstallationError: A part of the program is damaged.
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
    generator = _generator(cast("GeneratorLike | None", given.pop("generator", None)))
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
    decoded = _image_of_dfm(source, reading.get("max_pixels"), reading.get("page"), warn, generator)
    if decoded is not None:
        source = decoded
        reading.pop("page", None)
    if not (isinstance(source, bytes | str | os.PathLike | Image) or hasattr(source, "getexif")):
        source = image_array(source)
    upright = to_image(source, notify=warn, **cast("dict[str, Any]", reading))
    return encode_image(
        upright,
        config,
        generator=generator,
        notify=lambda notice: warn(f"{name}: {notice}"),
        **cast("dict[str, Any]", running),
    )


class Decoded:
    """A decoded image, and what of it was missing.

    Everything that takes arrays takes this, and gets `pixels`: `np.asarray(decoded)`, `decoded[:,
    :, 0]`, `.shape`.

    Args:
        image: The image: colours, alpha and metadata apart.
        losses: What is missing or damaged and what that means, in words; empty for a whole file.
    """

    def __init__(self, image: dfmcodec.image.Image, losses: tuple[str, ...] = ()) -> None:
        self.image = image
        self.losses = losses
        self.pixels: Pixels = image.samples  # uint8 or uint16 [H, W, C], C = 1, 2, 3 or 4, alpha last

    @property
    def metadata(self) -> dfmcodec.image.Metadata:
        """ICC profile, Exif block and XMP packet."""
        return self.image.metadata

    @property
    def shape(self) -> tuple[int, ...]:
        """(height, width, channels), alpha counted."""
        return self.pixels.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """uint8 or uint16."""
        return self.pixels.dtype

    @property
    def ndim(self) -> int:
        """3."""
        return self.pixels.ndim

    @property
    def size(self) -> int:
        """The number of samples, alpha counted."""
        return self.pixels.size

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: Any) -> Any:
        return self.pixels[index]

    def squeeze(self) -> Pixels:
        """The pixels; gray without alpha as [H, W]."""
        return self.pixels[:, :, 0] if self.pixels.shape[2] == 1 else self.pixels

    def to_pil(self) -> PIL.Image.Image:
        """The image as a Pillow image with its metadata: L, LA, RGB, RGBA, or I;16 for gray of 16
        bits.

        Pillow has no 16-bit colours; they become 8-bit ones.
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
        return f"<Decoded {width}x{height} {kind}, {8 * self.pixels.itemsize} bits{lost}>"

    def _repr_png_(self) -> bytes:
        """For notebooks."""
        from dfmcodec.image.write_image import OUTPUT_FORMATS, image_to_bytes

        return image_to_bytes(self.image, OUTPUT_FORMATS["png"])


def decode(
    source: FileLike,
    *,
    region: Region | Sequence[int] | None = None,
    scale: float | None = None,
    size: tuple[int, int] | None = None,
    max_pixels: int | None = None,
    max_multiply_adds: int | None = None,
    backend: str = "numpy",
    generator: GeneratorLike | None = None,
    best_effort: bool = False,
    strip: str | Iterable[str] = (),
) -> Decoded:
    """Decodes a `.dfm` file.

    Args:
        source: The file's bytes (bytes, bytearray or memoryview), its path, or a binary file, which
            is read from its position on, or from its start if it stands at its end.
        region: The part of the image to decode, as a `Region` or (left, top, width, height) in
            pixels; None for all.
        scale: Evaluates the image at positions 1 / scale pixels apart.
        size: (width, height) of the result, instead of a scale.
        max_pixels: Larger images are refused before memory is spent on them; None for the default
            limit.
        max_multiply_adds: Networks of the coordinate and generative models that take more at all
            pixels are refused likewise; None for the default limit.
        backend: "numpy" or "jax".
        generator: The generative model or its `.dfmg` file, where the image is a code of one.
        best_effort: Decode what is there of a truncated or damaged file, and say what is lost; so a
            prefix of a file gives a preview.
        strip: Kinds of metadata that are left out, as for `encode`.

    Returns:
        The image, with `pixels` uint8 or uint16 [H, W, C]: C = 1 gray, 2 gray and alpha, 3 RGB, 4
        RGB and alpha.

    Raises:
        FormatError: The file is not readable; with `best_effort`, nothing of the image can be made
            out.
        MissingModelError: The image is a code of another generative model, or of one that was not
            given.
        ConfigError: The region is not within the image, or the size or the backend is not possible.
        InstallationError: A part of the program is damaged.
    """
    from dfmcodec.codecs import decode as decoder
    from dfmcodec.fourier.network import MAX_MULTIPLY_ADDS
    from dfmcodec.image import MAX_PIXELS
    from dfmcodec.image.strip import strip_kinds, stripped

    kinds, part = strip_kinds(strip), _as_region(region)
    if size is not None:
        width, height = _whole_numbers(size, "size", "width", "height")
        size = width, height
    limit = MAX_PIXELS if max_pixels is None else max_pixels
    most = MAX_MULTIPLY_ADDS if max_multiply_adds is None else max_multiply_adds
    data = _bytes(source)
    request = decoder.DecodeRequest(backend, limit, part, scale, size, _generator(generator), most)
    image, losses = (
        decoder.decode_best_effort(data, request) if best_effort else (decoder.decode_image(data, request), [])
    )
    metadata = stripped(image.metadata, kinds, lambda notice: warnings.warn(f"the file: {notice}", stacklevel=4))
    return Decoded(replace(image, metadata=metadata), tuple(losses))


def decode_pixels(source: FileLike) -> Pixels:
    """The pixels of a `.dfm` file as a plain array: `decode(source).pixels`."""
    return decode(source).pixels


def decode_best_effort(
    source: FileLike, backend: str = "numpy", generator: GeneratorLike | None = None
) -> tuple[Pixels, list[str]]:
    """The pixels of what is there of a `.dfm` file, and what is lost: `decode(source,
    best_effort=True)` as a pair.
    """
    decoded = decode(source, backend=backend, generator=generator, best_effort=True)
    return decoded.pixels, list(decoded.losses)


def read_info(source: FileLike) -> Header:
    """Reads the header of a `.dfm` file of any size, decoding nothing.

    Raises:
        FormatError: The file is not readable.
    """
    from dfmcodec.container.header import read_header
    from dfmcodec.image import LARGEST_PIXELS

    return read_header(_bytes(source), LARGEST_PIXELS)


def _as_region(region: Region | Sequence[int] | None) -> Region | None:
    """The region of (left, top, width, height)."""
    from dfmcodec.image.region import Region

    if region is None or isinstance(region, Region):
        return region
    left, top, width, height = _whole_numbers(region, "region", "left", "top", "width", "height")
    return Region(top, left, top + height, left + width)


def _whole_numbers(given: Sequence[int], what: str, *names: str) -> tuple[int, ...]:
    """The numbers that an argument consists of.

    Raises:
        ConfigError: It is not as many integers as there are names.
    """
    try:
        numbers = tuple(map(index, given))
    except TypeError:
        numbers = ()
    if len(numbers) != len(names):
        msg = f"{what} is {given!r}; it has to be ({', '.join(names)}) in pixels, all integers"
        raise ConfigError(msg)
    return numbers


def _generator(given: GeneratorLike | None) -> GenerativeModel | None:
    """The generative model of a path."""
    if given is None:
        return None
    from dfmcodec.codecs.generative.model import GenerativeModel, read_model_file

    return given if isinstance(given, GenerativeModel) else read_model_file(Path(given))


def _image_of_dfm(
    source: Any, max_pixels: Any, page: Any, notify: Callable[[str], None], generator: GenerativeModel | None
) -> dfmcodec.image.Image | None:
    """What a `.dfm` file decodes to, by its bytes or path; None for all other sources."""
    from dfmcodec.codecs.source import image_of_dfm
    from dfmcodec.files.atomic import is_stream
    from dfmcodec.image import MAX_PIXELS
    from dfmcodec.image.source import Source

    if isinstance(source, bytes):
        file = Source.from_bytes(source, "the image file")
    elif isinstance(source, str | os.PathLike) and not is_stream(Path(source)):  # which is read only once
        file = Source.from_path(Path(source))
    else:
        return None
    return image_of_dfm(file, MAX_PIXELS if max_pixels is None else max_pixels, page, notify, generator)


def _bytes(source: FileLike) -> bytes:
    """The bytes of what can be read."""
    from dfmcodec.files.atomic import read_file

    opened = _opened(source)
    if isinstance(opened, bytes):
        return opened
    if not isinstance(opened, str | os.PathLike):
        msg = f"a path, bytes or a binary file is needed, found {type(source).__name__}"
        raise ConfigError(msg)
    return read_file(Path(opened))


def _opened(source: Any) -> Any:
    """The bytes of bytes-like objects and binary files; everything else as it is.

    Raises:
        ConfigError: The file was opened for text.
    """
    if isinstance(source, bytearray | memoryview):
        return bytes(source)
    if isinstance(source, TextIOBase):  # before its bytes are taken for text
        raise ConfigError(_FOR_TEXT)
    if hasattr(source, "read") and not hasattr(source, "getexif"):  # Pillow images have no read, but to be sure
        data = source.read()
        if not isinstance(data, bytes):
            raise ConfigError(_FOR_TEXT)
        if not data and hasattr(source, "seekable") and source.seekable() and source.tell():  # just written
            source.seek(0)
            return source.read()
        return data
    return source
