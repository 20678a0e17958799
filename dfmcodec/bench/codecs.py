"""The codecs that dfm is measured against, each behind one interface that a user can add to.

A file given to `dfm bench --codecs-from FILE.py` holds a list `CODECS` of further ones:

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
import shutil
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from dfmcodec.errors import ConfigError
from dfmcodec.image import Pixels

BENCH_EXTRA = "pip install 'dfmcodec[bench]'"


class Codec(ABC):
    """An image codec with one knob, whose files grow with it.

    Attributes:
        name: As `--vs` and the data call it.
        label: As tables and plots call it.
        settings: The knob's values, from the smallest files to the largest.
        forms: Ways to use the codec between which the better picture decides, such as chroma subsampling.
    """

    name: ClassVar[str]
    label: ClassVar[str]
    settings: ClassVar[tuple[float, ...]]
    forms: ClassVar[tuple[str, ...]] = ("",)

    @abstractmethod
    def encode(self, pixels: Pixels, form: str, setting: float) -> bytes:
        """The file of a picture uint8 [H, W, C], C = 1 or 3."""

    @abstractmethod
    def decode(self, data: bytes) -> Pixels:
        """A file's picture, uint8 [H, W, 3], or [H, W, 1] where the codec keeps gray."""

    @abstractmethod
    def options(self) -> dict[str, Any]:
        """All that is set beside form and knob, for the record."""

    @abstractmethod
    def version(self) -> str:
        """Library and version, for the record."""

    def missing(self) -> str | None:
        """What has to be installed before the codec can be used; None where nothing has."""
        return None


class _PillowCodec(Codec):
    """A codec of Pillow whose knob is `quality`."""

    format_name: ClassVar[str]
    feature: ClassVar[str]  # as PIL.features calls it
    save_options: ClassVar[Mapping[str, Any]]

    def encode(self, pixels: Pixels, form: str, setting: float) -> bytes:
        import PIL.Image

        buffer = io.BytesIO()
        gray = pixels.shape[2] == 1
        picture = PIL.Image.fromarray(pixels[:, :, 0] if gray else pixels)
        chosen = {"subsampling": form} if form else {}
        picture.save(buffer, self.format_name, **self.save_options, **self.knob(setting), **chosen)
        return buffer.getvalue()

    def decode(self, data: bytes) -> Pixels:
        import PIL.Image

        with PIL.Image.open(io.BytesIO(data)) as opened:
            picture = opened if opened.mode == "L" else opened.convert("RGB")
            pixels = np.asarray(picture)
        return pixels.reshape(*pixels.shape[:2], -1)

    def knob(self, setting: float) -> dict[str, Any]:
        return {"quality": setting}

    def options(self) -> dict[str, Any]:
        return dict(self.save_options)

    def version(self) -> str:
        import PIL
        import PIL.features

        return f"Pillow {PIL.__version__}, {self.feature} {PIL.features.version(self.feature)}"

    def missing(self) -> str | None:
        import PIL.features

        return None if self.feature in PIL.features.get_supported() else f"a Pillow built with {self.feature}"


class Jpeg(_PillowCodec):
    """JPEG by libjpeg-turbo, the better of full and halved chroma, Huffman tables optimised."""

    name, label = "jpeg", "JPEG"
    format_name, feature = "JPEG", "libjpeg_turbo"
    settings = tuple(range(1, 101))
    forms = ("4:4:4", "4:2:0")
    save_options: ClassVar[Mapping[str, Any]] = {"optimize": True}


class Webp(_PillowCodec):
    """WebP by libwebp at its slowest."""

    name, label = "webp", "WebP"
    format_name, feature = "WEBP", "webp"
    settings = (*(part / 100 for part in range(100)), *(part / 4 for part in range(4, 401)))
    save_options: ClassVar[Mapping[str, Any]] = {"method": 6}


class Avif(_PillowCodec):
    """AVIF by libavif, full chroma (halved chroma is worse in PSNR over RGB at every size tried)."""

    name, label = "avif", "AVIF"
    format_name, feature = "AVIF", "avif"
    settings = tuple(range(101))
    save_options: ClassVar[Mapping[str, Any]] = {"subsampling": "4:4:4", "speed": 4}


class Jpeg2000(_PillowCodec):
    """JPEG 2000 by OpenJPEG, irreversible wavelet and colours; its knob is the ratio of compression."""

    name, label = "jpeg2000", "JPEG 2000"
    format_name, feature = "JPEG2000", "jpg_2000"
    settings = tuple(float(f"{ratio:.5g}") for ratio in np.geomspace(2000, 1, 1000))
    save_options: ClassVar[Mapping[str, Any]] = {
        "irreversible": True,
        "mct": 1,
        "quality_mode": "rates",
        "no_jp2": True,
    }

    def knob(self, setting: float) -> dict[str, Any]:
        return {"quality_layers": [setting]}


class Heic(_PillowCodec):
    """HEIC by libheif and x265, full chroma."""

    name, label = "heic", "HEIC"
    format_name, feature = "HEIF", "heif"
    settings = tuple(range(101))
    save_options: ClassVar[Mapping[str, Any]] = {"chroma": 444}

    def encode(self, pixels: Pixels, form: str, setting: float) -> bytes:
        self._register()
        return super().encode(pixels, form, setting)

    def decode(self, data: bytes) -> Pixels:
        self._register()
        return super().decode(data)

    def version(self) -> str:
        import pillow_heif

        return f"pillow_heif {pillow_heif.__version__}, libheif {pillow_heif.libheif_version()}"

    def missing(self) -> str | None:
        return None if importlib.util.find_spec("pillow_heif") else f"pillow-heif; {BENCH_EXTRA}"

    @staticmethod
    def _register() -> None:
        import pillow_heif

        pillow_heif.register_heif_opener()


class JpegXl(Codec):
    """JPEG XL by libjxl, effort 7; its knob is the Butteraugli distance. It does not aim at PSNR."""

    name, label = "jxl", "JPEG XL"
    settings = tuple(float(f"{distance:.4g}") for distance in np.geomspace(25, 0.05, 400))
    _OPTIONS: ClassVar[Mapping[str, Any]] = {"effort": 7}

    def encode(self, pixels: Pixels, form: str, setting: float) -> bytes:
        import imagecodecs

        picture = pixels[:, :, 0] if pixels.shape[2] == 1 else pixels
        return bytes(imagecodecs.jpegxl_encode(picture, distance=setting, **self._OPTIONS))

    def decode(self, data: bytes) -> Pixels:
        import imagecodecs

        pixels = np.asarray(imagecodecs.jpegxl_decode(data))
        return pixels.reshape(*pixels.shape[:2], -1)

    def options(self) -> dict[str, Any]:
        return dict(self._OPTIONS)

    def version(self) -> str:
        import imagecodecs

        return f"imagecodecs {imagecodecs.__version__}, {imagecodecs.jpegxl_version()}"

    def missing(self) -> str | None:
        return None if importlib.util.find_spec("imagecodecs") else f"imagecodecs; {BENCH_EXTRA}"


class Jpegli(Codec):
    """JPEG by jpegli's commands `cjpegli` and `djpegli`, the better of full and halved chroma."""

    name, label = "jpegli", "jpegli"
    settings = tuple(range(1, 101))
    forms = ("444", "420")

    def encode(self, pixels: Pixels, form: str, setting: float) -> bytes:
        options = [f"--quality={setting:g}", f"--chroma_subsampling={form}"]
        return _piped("cjpegli", _netpbm_of(pixels), ".ppm", ".jpg", options)

    def decode(self, data: bytes) -> Pixels:
        return _pixels_of_netpbm(_piped("djpegli", data, ".jpg", ".ppm", []))

    def options(self) -> dict[str, Any]:
        return {}

    def version(self) -> str:
        done = subprocess.run(["cjpegli", "--version"], capture_output=True, text=True, check=False)
        return (done.stdout or done.stderr).strip().splitlines()[0]

    def missing(self) -> str | None:
        found = all(shutil.which(command) for command in ("cjpegli", "djpegli"))
        return None if found else "the commands cjpegli and djpegli on the PATH"


def _piped(command: str, data: bytes, suffix_in: str, suffix_out: str, options: list[str]) -> bytes:
    """What a command makes of a file's bytes."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, f"in{suffix_in}"), Path(folder, f"out{suffix_out}")
        source.write_bytes(data)
        subprocess.run([command, str(source), str(target), *options], check=True, capture_output=True)
        return target.read_bytes()


def _netpbm_of(pixels: Pixels) -> bytes:
    import PIL.Image

    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(buffer, "PPM")
    return buffer.getvalue()


def _pixels_of_netpbm(data: bytes) -> Pixels:
    import PIL.Image

    with PIL.Image.open(io.BytesIO(data)) as opened:
        pixels = np.asarray(opened)
    return pixels.reshape(*pixels.shape[:2], -1)


ANCHORS: tuple[Codec, ...] = (Jpeg(), Webp(), Avif(), JpegXl(), Jpeg2000(), Jpegli(), Heic())


def select(names: list[str], added: tuple[Codec, ...] = ()) -> list[Codec]:
    """Codecs by name, in the order of the names.

    Raises:
        ConfigError: A name is not known, or given twice.
    """
    known = {codec.name: codec for codec in (*ANCHORS, *added)}
    for name in names:
        if name not in known:
            msg = f"unknown codec {name!r}; choose of {', '.join(known)}"
            raise ConfigError(msg)
        if names.count(name) > 1:
            msg = f"codec {name} is named twice"
            raise ConfigError(msg)
    return [known[name] for name in names]


def codecs_from(path: Path) -> tuple[Codec, ...]:
    """The list `CODECS` of a Python file.

    Raises:
        ConfigError: It cannot be run or holds no such list.
    """
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
        msg = f"CODECS of {path} holds {wrong[0]!r}, which is no dfmcodec.bench.Codec"
        raise ConfigError(msg)
    return codecs


def library_versions() -> dict[str, str]:
    """Of the libraries that take part in a measurement."""
    found = {}
    for name in ("dfmcodec", "jax", "numpy", "constriction", "pillow", "scikit-image", "scipy", "imagecodecs"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
