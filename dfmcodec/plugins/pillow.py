"""`.dfm` files in Pillow, and in what reads images through it (imageio, scikit-image, Django, ...).

import dfmcodec.plugins.pillow

dfmcodec.plugins.pillow.register()
image = PIL.Image.open("photo.dfm")      # reads the header; decodes pixels when needed
image.draft(None, (320, 240))            # before loading: at least this size, in less time
image.save("small.dfm", rate=0.05)       # takes any option of `dfmcodec.encode`
"""

from __future__ import annotations

import os
from typing import IO, Any

from PIL import Image, ImageFile

from dfmcodec.bitstream.header import read_header
from dfmcodec.bitstream.layout import MAGIC, Section
from dfmcodec.bitstream.sections.metadata import unpack_metadata
from dfmcodec.files.metadata import pillow_info

FORMAT = "DFM"
MIME_TYPE = "image/x-dfm"


class DfmImageFile(ImageFile.ImageFile):
    """A `.dfm` file as a Pillow image, in mode L, LA, RGB or RGBA, or I;16 for 16-bit gray.

    Other 16-bit samples become 8-bit ones, as Pillow has no mode for them.
    """

    format = FORMAT
    format_description = "Deep Fourier Machine"

    def _open(self) -> None:
        assert self.fp is not None
        self._data: bytes | None = self.fp.read()
        assert self._data is not None
        try:
            self._header = read_header(self._data)
        except Exception as error:
            raise SyntaxError(str(error)) from error
        header = self._header
        self._size = header.width, header.height
        self._mode = _pillow_mode(header.channels, header.has_alpha, header.bit_depth)
        self._draft_size: tuple[int, int] | None = None
        if Section.METADATA in header.sections:
            start, length = header.sections[Section.METADATA]
            self.info.update(pillow_info(unpack_metadata(self._data[start : start + length])))

    def draft(self, mode: str | None, size: tuple[int, int] | None) -> tuple[str, tuple[int, int, float, float]] | None:
        """Asks for a smaller image, but at least of this size; the mode does not change.

        The sides are divided by 2, 4, .. 64, so that the finest decomposition levels need no
        decoding.
        """
        if size is None or self._data is None:
            return None
        width, height = self._header.width, self._header.height
        halvings = 0
        while halvings < 6 and (width >> halvings + 1) >= size[0] and (height >> halvings + 1) >= size[1]:
            halvings += 1
        if not halvings:
            return None
        self._size = self._draft_size = -(-width >> halvings), -(-height >> halvings)
        return self.mode, (0, 0, width / self._size[0], height / self._size[1])

    def load(self) -> Any:
        """Decodes the pixels, unless they are decoded."""
        if self._data is not None:
            from dfmcodec.decoder import decode_image
            from dfmcodec.files.write_image import to_pil

            try:
                decoded = decode_image(self._data, size=self._draft_size)
            except Exception as error:
                msg = f"damaged .dfm file: {error}"
                raise OSError(msg) from error
            self.im = to_pil(decoded).convert(self.mode).im
            self._data = None
            self.tile = []
            if getattr(self, "_exclusive_fp", False) and self.fp is not None:  # a file that Pillow opened itself
                self.fp.close()
                self.fp = None
        return super().load()

    def load_prepare(self) -> None:
        """Does nothing, as `load` makes the image."""


def _pillow_mode(channels: int, has_alpha: bool, bit_depth: int) -> str:
    if channels == 1:
        return "LA" if has_alpha else "L" if bit_depth == 8 else "I;16"
    return "RGBA" if has_alpha else "RGB"


def _accept(prefix: bytes) -> bool:
    return prefix.startswith(MAGIC)


def _save(pil_image: Image.Image, file: IO[bytes], filename: str | bytes | os.PathLike[str]) -> None:
    import dfmcodec

    options = dict(pil_image.encoderinfo)
    for name in ("exif", "icc_profile", "xmp"):
        if name in options:
            pil_image.info[name] = options.pop(name)
    file.write(dfmcodec.encode(pil_image, **options).data)


def register() -> None:
    """Registers `.dfm` files with Pillow. Further calls have no effect."""
    Image.register_open(FORMAT, DfmImageFile, _accept)
    Image.register_save(FORMAT, _save)
    Image.register_extension(FORMAT, ".dfm")
    Image.register_mime(FORMAT, MIME_TYPE)
