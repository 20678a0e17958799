"""Checks whether image files are complete."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

from dfmcodec.errors import ImageError, is_lack_of_memory
from dfmcodec.files.atomic import open_file
from dfmcodec.image import png
from dfmcodec.image.open_image import load_samples, open_image

_NPY_MAGIC = b"\x93NUMPY"


def is_intact(path: Path, max_pixels: int) -> bool:
    """Indicates whether an image file is complete and readable. Raises ImageError if it is not an
    image, or one of a kind that is not supported, and DfmError if the file cannot be read.

    In PNG files, the CRC-32 of all chunks are compared. Images in other formats are decoded.
    """
    with open_file(path) as file:
        head = file.read(len(png.SIGNATURE))
        if head == png.SIGNATURE:
            return _is_intact_png(file)
        if head.startswith(_NPY_MAGIC):
            return _is_intact_npy(path)
        try:
            image = open_image(file, max_pixels)
        except Exception as error:
            if isinstance(error, ImageError) or is_lack_of_memory(error):
                raise
            if _ends_early(file):
                return False
            msg = "not an image of a known format"
            raise ImageError(msg) from error
        with image:
            try:
                load_samples(image)
            except Exception as error:  # plugins raise errors of any type
                if isinstance(error, ImageError) or is_lack_of_memory(error):
                    raise
                return False
    return True


def _is_intact_png(file: BinaryIO) -> bool:
    """Indicates whether all chunks after the signature are intact, up to the last one."""
    name = b""
    while name != b"IEND":
        size = int.from_bytes(file.read(4))
        chunk = file.read(4 + size)
        crc = file.read(4)
        if len(chunk) < 4 + size or int.from_bytes(crc) != zlib.crc32(chunk) or len(crc) < 4:
            return False
        name = chunk[:4]
    return True


def _ends_early(file: BinaryIO) -> bool:
    """Indicates whether a JPEG lacks its end, or a WebP file is shorter than it states."""
    file.seek(0)
    data = file.read()
    if data.startswith(b"\xff\xd8"):
        return b"\xff\xd9" not in data
    return data[:4] == b"RIFF" and data[8:12] == b"WEBP" and int.from_bytes(data[4:8], "little") + 8 > len(data)


def _is_intact_npy(path: Path) -> bool:
    try:
        np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError):
        return False
    return True
