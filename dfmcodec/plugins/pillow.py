"""`.dfm` files in Pillow, and so in what reads pictures through it (imageio, scikit-image, Django, ...).

import dfmcodec.plugins.pillow

dfmcodec.plugins.pillow.register()
picture = PIL.Image.open("photo.dfm")      # reads the header; the pixels when they are needed
picture.draft(None, (320, 240))            # before that: a smaller picture, in less time
picture.save("small.dfm", rate=0.05)       # any option of `dfmcodec.encode`
"""

from __future__ import annotations

import os
from typing import IO, TYPE_CHECKING, Any

from PIL import Image, ImageFile

from dfmcodec.bitstream import MAGIC, SECTION_METADATA, read_header, unpack_metadata

if TYPE_CHECKING:
    import dfmcodec.image

FORMAT = "DFM"
MIME_TYPE = "image/x-dfm"


class DfmImageFile(ImageFile.ImageFile):
    """A `.dfm` file as a Pillow picture: RGB, RGBA, L or LA; I;16 for 16-bit gray. 16-bit colours become 8-bit ones."""

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
        self._mode = self._mode_of(header.channels, header.has_alpha, header.bit_depth)
        self._at: tuple[int, int] | None = None
        if SECTION_METADATA in header.sections:
            start, length = header.sections[SECTION_METADATA]
            self._take_metadata(self._data[start : start + length])

    @staticmethod
    def _mode_of(channels: int, has_alpha: bool, bit_depth: int) -> str:
        if channels == 1:
            return "LA" if has_alpha else "L" if bit_depth == 8 else "I;16"
        return "RGBA" if has_alpha else "RGB"

    def _take_metadata(self, body: bytes) -> None:
        metadata = unpack_metadata(body)
        names = {"icc_profile": metadata.icc, "exif": metadata.exif, "xmp": metadata.xmp}
        self.info.update({name: value for name, value in names.items() if value})

    def draft(self, mode: str | None, size: tuple[int, int] | None) -> tuple[str, tuple[int, int, float, float]] | None:
        """Makes the picture that will be loaded smaller, but not smaller than `size`; its mode stays.

        Sides are divided by 2, 4, .. 64, so that fine levels need no decoding.
        """
        if size is None or self._data is None:
            return None
        width, height = self._header.width, self._header.height
        halvings = 0
        while halvings < 6 and (width >> halvings + 1) >= size[0] and (height >> halvings + 1) >= size[1]:
            halvings += 1
        if not halvings:
            return None
        self._size = self._at = -(-width >> halvings), -(-height >> halvings)
        return self.mode, (0, 0, width / self._size[0], height / self._size[1])

    def load(self) -> Any:
        """Decodes the pixels, once."""
        if self._data is not None:
            from dfmcodec.decoder import decode_image

            try:
                decoded = decode_image(self._data, size=self._at)
            except Exception as error:
                msg = f"damaged .dfm file: {error}"
                raise OSError(msg) from error
            self.im = _to_pil(decoded).convert(self.mode).im
            self._data = None
            self.tile = []
        return super().load()

    def load_prepare(self) -> None:
        """Nothing: `load` makes the picture."""


def _to_pil(image: dfmcodec.image.Image) -> Image.Image:
    import numpy as np

    pixels = image.samples
    if image.bit_depth > 8 and pixels.shape[2] > 1:
        pixels = np.rint(pixels / 257).astype(np.uint8)  # Pillow has no deeper colours
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


def _accept(prefix: bytes) -> bool:
    return prefix.startswith(MAGIC)


def _save(picture: Image.Image, file: IO[bytes], filename: str | bytes | os.PathLike[str]) -> None:
    import dfmcodec

    options = dict(picture.encoderinfo)
    for name in ("exif", "icc_profile", "xmp"):
        if name in options:
            picture.info[name] = options.pop(name)
    file.write(dfmcodec.encode(picture, **options).data)


def register() -> None:
    """Tells Pillow of `.dfm` files; once is enough, more does no harm."""
    Image.register_open(FORMAT, DfmImageFile, _accept)
    Image.register_save(FORMAT, _save)
    Image.register_extension(FORMAT, ".dfm")
    Image.register_mime(FORMAT, MIME_TYPE)
