"""Pillow plugin for `.dfm` files, also for packages that read images through Pillow (imageio,
scikit-image, Django, ...).

import dfmcodec.pillow                   # registers `.dfm` files, as `register` does

image = PIL.Image.open("photo.dfm")      # reads the header; decodes pixels when needed
image.draft(None, (320, 240))            # before loading: at least this size, in less time
image.save("small.dfm", rate=0.05)       # takes any option of `dfmcodec.encode`
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import IO, Any

import numpy as np
from PIL import Image, ImageFile

from dfmcodec.container.header import read_header
from dfmcodec.container.integrity import FileState, examine
from dfmcodec.container.layout import Section
from dfmcodec.container.metadata import unpack_metadata
from dfmcodec.errors import (
    DfmError,
    FormatError,
    ImageError,
    InstallationError,
    TargetUnreachableError,
    is_lack_of_memory,
)
from dfmcodec.files.atomic import MAGIC, MEDIA_TYPE
from dfmcodec.image import LARGEST_PIXELS, peak_value
from dfmcodec.image.metadata import is_exif, pillow_info, prefixed, read_metadata

FORMAT = "DFM"
_METADATA = ("exif", "icc_profile", "xmp")  # options of `save`, by their names in `info`
_EMPTY_EXIF_BYTES = len(Image.Exif().tobytes())


class DfmImageFile(ImageFile.ImageFile):
    """`.dfm` file as a Pillow image, in mode L, LA, RGB or RGBA, or I;16 for 16-bit gray.

    Other 16-bit samples are reduced to 8 bits, because Pillow has no mode for them.

    Opening a file reads all its bytes. A file that Pillow opened by name is then closed, so that
    any number of images can be open. The maximum number of pixels is Pillow's
    `PIL.Image.MAX_IMAGE_PIXELS`.

    Attributes:
        losses: Descriptions of missing or damaged parts, after a load with
            `PIL.ImageFile.LOAD_TRUNCATED_IMAGES`; empty for an intact file.
    """

    format = FORMAT
    format_description = "Deep Fourier Machine"

    # Class attributes, for unpickled images without a file.
    losses: tuple[str, ...] = ()
    _state: FileState | None = None  # None after decoding the pixels
    _draft_size: tuple[int, int] | None = None

    def _open(self) -> None:
        assert self.fp is not None
        data = self.fp.read()
        with _converted_errors(SyntaxError):
            header = read_header(data, LARGEST_PIXELS)  # Pillow checks the size against its own limit
            state = examine(data, header)
            state.refuse_damaged_header()
        self._size = header.width, header.height
        self._mode = _pillow_mode(header.channels, header.has_alpha, header.bit_depth)
        is_checked = not state.problems or state.checks is not None or ImageFile.LOAD_TRUNCATED_IMAGES
        if Section.METADATA in header.sections and is_checked:
            with suppress(FormatError):  # `load` and `verify` raise errors for damaged metadata
                self.info.update(pillow_info(unpack_metadata(state.section(Section.METADATA))))
        self._state = state
        if self.filename:  # opened by Pillow
            self.fp.close()
            self.fp = None

    def draft(self, mode: str | None, size: tuple[int, int] | None) -> tuple[str, tuple[int, int, float, float]] | None:
        """Requests a smaller image of at least this size. The mode does not change.

        The sides are divided by 2, 4, .. 64, so that the finest decomposition levels are not
        decoded.
        """
        if size is None or self._state is None:
            return None
        width, height = self._state.header.width, self._state.header.height
        halvings = 0
        while halvings < 6 and (width >> halvings + 1) >= size[0] and (height >> halvings + 1) >= size[1]:
            halvings += 1
        if not halvings:
            return None
        self._size = self._draft_size = -(-width >> halvings), -(-height >> halvings)
        return self.mode, (0, 0, width / self._size[0], height / self._size[1])

    def verify(self) -> None:
        """Checks the file against its checksums, without decoding pixels. Raises OSError, with the
        location, if the file is truncated or damaged, and RuntimeError if the pixels were decoded
        before.
        """
        if self._state is None:
            msg = "call verify directly after open"
            raise RuntimeError(msg)
        try:
            with _converted_errors(OSError):
                self._state.refuse_damage()
        finally:
            self.fp = None

    def load(self) -> Any:
        """Decodes the pixels if they are not decoded yet.

        With `PIL.ImageFile.LOAD_TRUNCATED_IMAGES`, decodes the intact parts of a truncated or
        damaged file and describes the others in `losses`. Raises OSError if the file is truncated
        or damaged, or cannot be decoded for another reason, and InstallationError if a file of the
        installation is damaged or cannot be loaded.
        """
        if self._state is not None:
            with _converted_errors(OSError, "cannot decode the .dfm file: "):
                self.im = self._decoded(self._state).im
            self._state = None
        return super().load()

    def _decoded(self, state: FileState) -> Image.Image:
        """Decodes the image, or the smaller one requested by `draft`, in the mode of `self`."""
        from dfmcodec.codecs.decode import DecodeRequest, decode_best_effort, decode_image
        from dfmcodec.image.write_image import to_pil

        # The number of pixels above which Pillow refuses an image.
        limit = LARGEST_PIXELS if Image.MAX_IMAGE_PIXELS is None else 2 * Image.MAX_IMAGE_PIXELS
        request = DecodeRequest(max_pixels=limit, size=self._draft_size)
        if not ImageFile.LOAD_TRUNCATED_IMAGES:
            return to_pil(decode_image(state.data, request))
        image, losses = decode_best_effort(state.data, request)
        self.losses = tuple(losses)
        if state.header.has_alpha and image.alpha is None:
            opaque = np.full(image.pixels.shape[:2], peak_value(image.bit_depth), image.pixels.dtype)
            image = replace(image, alpha=opaque)
        return to_pil(image)

    def load_prepare(self) -> None:
        """Does nothing, because `load` creates the image."""

    def close(self) -> None:
        """Closes the image and releases the bytes of its file."""
        self._state = None
        super().close()


class SaveError(DfmError, OSError):
    """Error of saving a `.dfm` file, in the form in which Pillow's own plugins report it."""


class SaveImageError(ImageError, SaveError):
    """The image cannot be encoded."""


class SaveTargetError(TargetUnreachableError, SaveError):
    """The size or quality target cannot be met."""


@contextmanager
def _converted_errors(kind: type[OSError | SyntaxError], beginning: str = "") -> Iterator[None]:
    """Converts errors about an image to the type that programs expect from a plugin of Pillow.

    InstallationError and MemoryError are raised as such.
    """
    try:
        yield
    except (InstallationError, OSError):
        raise
    except DfmError as error:
        raise kind(f"{beginning}{error}") from error  # noqa: EM102
    except Exception as error:
        if is_lack_of_memory(error):
            raise MemoryError(str(error)) from error
        if isinstance(error, ImportError):
            msg = f"cannot load a part of the program: {error}; install dfmcodec again"
            raise InstallationError(msg) from error
        raise kind(f"{beginning}{type(error).__name__}: {error}") from error  # noqa: EM102


def _pillow_mode(channels: int, has_alpha: bool, bit_depth: int) -> str:
    if channels == 1:
        return "LA" if has_alpha else "L" if bit_depth == 8 else "I;16"
    return "RGBA" if has_alpha else "RGB"


def _save(pil_image: Image.Image, file: IO[bytes], filename: str | bytes | os.PathLike[str]) -> None:
    """Writes an image as a `.dfm` file. Unknown options cause a warning, as Pillow specifies.

    Raises OSError if the image cannot be encoded or written (also a `DfmError`), ValueError for an
    invalid option (also a `ConfigError`), InstallationError for a damaged installation.
    """
    import dfmcodec

    known = {"config", *dfmcodec.EncodeOptions.__annotations__}
    options: dict[str, Any] = {name: value for name, value in pil_image.encoderinfo.items() if name in known}
    if unknown := sorted(pil_image.encoderinfo.keys() - known - {*_METADATA}):
        takes = f"it takes {', '.join(_METADATA)} and those of dfmcodec.EncodeOptions"
        warnings.warn(f"saving a .dfm file ignores the options {', '.join(unknown)}; {takes}", stacklevel=3)
    metadata = {name: pil_image.encoderinfo[name] for name in _METADATA if name in pil_image.encoderinfo}
    try:
        if (page := options.pop("page", None)) is not None:  # a copy has only one page
            from dfmcodec.image.read_image import go_to_page

            go_to_page(pil_image, page)
        data = dfmcodec.encode(_with_metadata(pil_image, metadata) if metadata else pil_image, **options).data
    except (OSError, ValueError, InstallationError):
        raise
    except ImageError as error:
        raise SaveImageError(str(error)) from error
    except TargetUnreachableError as error:
        raise SaveTargetError(str(error)) from error
    except DfmError as error:
        raise SaveError(str(error)) from error
    file.write(data)


def _with_metadata(pil_image: Image.Image, metadata: dict[str, Any]) -> Image.Image:
    """Copies an image with other metadata. None and empty values remove the image's own."""
    changed = pil_image.copy()
    if pil_image.format == "TIFF" and "exif" not in metadata:  # its Exif is in tags, which a copy lacks
        changed.info["exif"] = read_metadata(pil_image).exif
    changed.info.update(metadata)
    if "exif" in metadata:
        changed.info["exif"] = _exif_bytes(metadata["exif"])
        changed.info.pop("Raw profile type exif", None)
    if "xmp" in metadata:
        changed.info.pop("XML:com.adobe.xmp", None)
    for name in _METADATA:
        if not changed.info.get(name):
            changed.info.pop(name, None)
    return changed


def _exif_bytes(exif: Any) -> bytes | None:
    """Returns the Exif block given to `save`; None if it is empty. Raises ValueError."""
    if isinstance(exif, Image.Exif):
        block = exif.tobytes()
        return block if len(block) > _EMPTY_EXIF_BYTES else None
    if not exif:
        return None
    block = bytes(exif) if isinstance(exif, bytes | bytearray | memoryview) else b""
    if not is_exif(block):
        msg = "exif is not an Exif block; give a PIL.Image.Exif or the bytes of its tobytes()"
        raise ValueError(msg)
    return prefixed(block)


def register() -> None:
    """Registers `.dfm` files with Pillow, as `import dfmcodec.pillow` does.

    Further calls have no effect.
    """
    Image.register_open(FORMAT, DfmImageFile, lambda prefix: prefix.startswith(MAGIC))
    Image.register_save(FORMAT, _save)
    Image.register_extension(FORMAT, ".dfm")
    Image.register_mime(FORMAT, MEDIA_TYPE)
