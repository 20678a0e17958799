"""Small images of files for file managers."""

from __future__ import annotations

from dfmcodec.bitstream.header import read_header
from dfmcodec.decoder import decode_image
from dfmcodec.files.write_image import OUTPUT_FORMATS, image_to_bytes
from dfmcodec.image import Image, Metadata, to_code_values


def thumbnail(data: bytes, longest_side: int) -> bytes:
    """A PNG of 8 bits a sample that fits into a square, with the image's profile and alpha.

    Args:
        data: The file's bytes.
        longest_side: The side of the square in pixels. A smaller image keeps its size.

    Raises:
        FormatError: The file cannot be read.
    """
    header = read_header(data)
    image = decode_image(data, size=fitted_size(header.width, header.height, longest_side))
    alpha = None if image.alpha is None else to_code_values(image.alpha)
    small = Image(to_code_values(image.pixels), Metadata(icc=image.metadata.icc), alpha)
    return image_to_bytes(small, OUTPUT_FORMATS["png"])


def fitted_size(width: int, height: int, longest_side: int) -> tuple[int, int]:
    """The largest size (width, height) of the same shape within a square, but no larger than the
    image's own.
    """
    scale = min(1.0, longest_side / max(width, height))
    return max(1, round(scale * width)), max(1, round(scale * height))
