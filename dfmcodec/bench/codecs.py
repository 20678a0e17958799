"""Codecs with which dfm is compared, with a common interface.

To add codecs, pass a Python file with a list `CODECS` to `dfm bench --codecs-from FILE.py`:

    class Mine(Codec):
        name = "mine"
        settings = tuple(range(1, 64))

        def encode(self, pixels, form, setting): ...
        def decode(self, data): ...
        def options(self): ...
        def version(self): ...

    CODECS = [Mine()]
"""

from __future__ import annotations

import importlib.util
import io
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from dfmcodec._types import Pixels
from dfmcodec.errors import ConfigError
from dfmcodec.files.atomic import read_file

if TYPE_CHECKING:
    from PIL.Image import Image as PilImage

BENCH_EXTRA = "pip install 'dfmcodec[bench]'"


class Codec(ABC):
    """Image codec with one setting that determines the file size."""

    name: ClassVar[str]  # in `--vs` and in the data
    label: ClassVar[str]  # in tables and plots
    tuned_for: ClassVar[str] = ""  # the metric for which its files are optimised; "" if unknown
    settings: ClassVar[tuple[float, ...]]  # from the smallest files to the largest
    save_options: ClassVar[Mapping[str, Any]] = {}  # other than form and setting
    forms: ClassVar[tuple[str, ...]] = ("",)  # such as chroma subsampling; for each image the best one counts

    @abstractmethod
    def encode(self, pixels: Pixels, form: str, setting: float) -> bytes:
        """Encodes an image, uint8 [H, W, C] with C = 1 or 3."""

    @abstractmethod
    def decode(self, data: bytes) -> Pixels:
        """Decodes a file to uint8 [H, W, 3], or to [H, W, 1] if the codec supports gray images."""

    def options(self) -> dict[str, Any]:
        """Returns all options other than form and setting, for the report."""
        return dict(self.save_options)

    @abstractmethod
    def version(self) -> str:
        """Returns library and version, for the report."""

    def missing(self) -> str | None:
        """Returns what has to be installed to use the codec; None if nothing is missing."""
        return None


class _PillowCodec(Codec):
    """Codec of Pillow. The setting is `quality` unless a subclass overrides it."""

    format_name: ClassVar[str]
    feature: ClassVar[str]  # name in PIL.features

    def encode(self, pixels: Pixels, form: str, setting: float) -> bytes:
        form_options = {"subsampling": form} if form else {}
        return save_pixels(pixels, self.format_name, **self.options(), **self.setting_options(setting), **form_options)

    def decode(self, data: bytes) -> Pixels:
        return _open_pixels(data, self.format_name)

    def setting_options(self, setting: float) -> dict[str, Any]:
        """Returns the options of Pillow for a setting."""
        return {"quality": setting}

    def version(self) -> str:
        import PIL
        import PIL.features

        return f"Pillow {PIL.__version__}, {self.feature} {PIL.features.version(self.feature)}"

    def missing(self) -> str | None:
        import PIL.features

        return None if self.feature in PIL.features.get_supported() else f"a Pillow built with {self.feature}"


class Jpeg(_PillowCodec):
    """JPEG with libjpeg-turbo: the better of full and halved chroma, optimised Huffman tables."""

    name, label = "jpeg", "JPEG"
    format_name, feature = "JPEG", "libjpeg_turbo"
    settings = tuple(range(1, 101))
    forms = ("4:4:4", "4:2:0")
    save_options: ClassVar[Mapping[str, Any]] = {"optimize": True}


class Webp(_PillowCodec):
    """WebP with libwebp and its slowest method."""

    name, label = "webp", "WebP"
    format_name, feature = "WEBP", "webp"
    settings = (*(hundredths / 100 for hundredths in range(100)), *(quarters / 4 for quarters in range(4, 401)))
    save_options: ClassVar = {"method": 6}


class Avif(_PillowCodec):
    """AVIF with libavif at its default speed, tuned for visual quality, with full chroma. Halved
    chroma had a lower PSNR over RGB at every size tested. Before libaom 3.12, which has no such
    tune, it is tuned for SSIM.
    """

    name, label, tuned_for = "avif", "AVIF", "visual quality (tune=iq, where libaom has it)"
    format_name, feature = "AVIF", "avif"
    settings = tuple(range(101))
    save_options: ClassVar = {"subsampling": "4:4:4", "speed": 6, "advanced": {"tune": "iq"}}

    def options(self) -> dict[str, Any]:
        options = super().options()
        if options["advanced"] == {"tune": "iq"} and not _has_tune_iq():
            del options["advanced"]
        return options


@cache
def _has_tune_iq() -> bool:
    """Indicates whether Pillow's AVIF has the tune for visual quality."""
    try:
        save_pixels(np.zeros((8, 8, 3), np.uint8), "AVIF", advanced={"tune": "iq"})
    except (ValueError, OSError):
        return False
    return True


class AvifSpeed4(Avif):
    """AVIF at a slower speed."""

    name, label = "avif:speed4", "AVIF speed 4"
    save_options: ClassVar = {**Avif.save_options, "speed": 4}


class AvifForPsnr(Avif):
    """AVIF tuned for PSNR."""

    name, label, tuned_for = "avif:psnr", "AVIF tune=psnr", "PSNR"
    save_options: ClassVar = {**Avif.save_options, "advanced": {"tune": "psnr"}}


class Jpeg2000(_PillowCodec):
    """JPEG 2000 with OpenJPEG, irreversible. The setting is the compression ratio."""

    name, label, tuned_for = "jpeg2000", "JPEG 2000", "PSNR"
    format_name, feature = "JPEG2000", "jpg_2000"
    settings = tuple(float(f"{ratio:.5g}") for ratio in np.geomspace(2000, 1, 1000))
    save_options: ClassVar = {"irreversible": True, "mct": 1, "quality_mode": "rates", "no_jp2": True}

    def setting_options(self, setting: float) -> dict[str, Any]:
        return {"quality_layers": [setting]}


class JpegXl(Codec):
    """JPEG XL with libjxl at effort 7. The setting is the Butteraugli distance."""

    name, label, tuned_for = "jxl", "JPEG XL", "visual quality (Butteraugli)"
    settings = tuple(float(f"{distance:.4g}") for distance in np.geomspace(25, 0.05, 400))
    save_options: ClassVar = {"effort": 7}

    def encode(self, pixels: Pixels, form: str, setting: float) -> bytes:
        import imagecodecs

        samples = pixels[:, :, 0] if pixels.shape[2] == 1 else pixels
        return bytes(imagecodecs.jpegxl_encode(samples, distance=setting, **self.save_options))

    def decode(self, data: bytes) -> Pixels:
        import imagecodecs

        return _with_channels(np.asarray(imagecodecs.jpegxl_decode(data)))

    def version(self) -> str:
        import imagecodecs

        return f"imagecodecs {imagecodecs.__version__}, {imagecodecs.jpegxl_version()}"

    def missing(self) -> str | None:
        return None if importlib.util.find_spec("imagecodecs") else f"imagecodecs; {BENCH_EXTRA}"


def to_pil_image(pixels: Pixels) -> PilImage:
    """Converts pixels, uint8 [H, W, C] with C = 1 or 3, to a Pillow image."""
    import PIL.Image

    return PIL.Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


def save_pixels(pixels: Pixels, format_name: str, **options: Any) -> bytes:
    """Returns pixels as a file of a format of Pillow."""
    buffer = io.BytesIO()
    to_pil_image(pixels).save(buffer, format_name, **options)
    return buffer.getvalue()


def _open_pixels(data: bytes, format_name: str) -> Pixels:
    import PIL.Image

    with PIL.Image.open(io.BytesIO(data), formats=[format_name]) as opened:
        return _with_channels(np.asarray(opened if opened.mode == "L" else opened.convert("RGB")))


def _with_channels(samples: Pixels) -> Pixels:
    return samples.reshape(*samples.shape[:2], -1)


ANCHORS: tuple[Codec, ...] = (
    Jpeg(),
    Webp(),
    Avif(),
    JpegXl(),
    Jpeg2000(),
    AvifSpeed4(),
    AvifForPsnr(),
)


def select(names: Sequence[str], added: tuple[Codec, ...] = ()) -> list[Codec]:
    """Returns the codecs with the given names, of `ANCHORS` and of added ones, in this order.
    Raises ConfigError if a name is unknown or given twice.
    """
    known = {codec.name: codec for codec in (*ANCHORS, *added)}
    for name in names:
        if name not in known:
            msg = f"unknown codec {name!r}; choose from {', '.join(known)}"
            raise ConfigError(msg)
        if names.count(name) > 1:
            msg = f"codec {name} is named twice"
            raise ConfigError(msg)
    return [known[name] for name in names]


def read_codecs(path: Path) -> tuple[Codec, ...]:
    """Runs a Python file and returns its list `CODECS`. Raises DfmError if the file cannot be read,
    and ConfigError if the file raises an error or has no such list.
    """
    read_file(path)  # gives a better error message than the import
    spec = importlib.util.spec_from_file_location(f"dfmcodec_bench_{path.stem}", path)
    try:
        if spec is None or spec.loader is None:
            msg = "not a Python file"
            raise ImportError(msg)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        codecs = tuple(module.CODECS)
    except Exception as error:
        msg = f"cannot take codecs from {path}: {error}"
        raise ConfigError(msg) from error
    wrong = [codec for codec in codecs if not isinstance(codec, Codec)]
    if wrong:
        msg = f"CODECS in {path} holds {wrong[0]!r}, which is not a dfmcodec.bench.Codec"
        raise ConfigError(msg)
    return codecs


_MEASURING = ("dfmcodec", "jax", "numpy", "pillow", "scipy", "imagecodecs")


def library_versions() -> dict[str, str]:
    """Returns the versions of the libraries that affect a measurement, by name."""
    versions = {}
    for name in _MEASURING:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions
