"""Thumbnails for file managers."""

from __future__ import annotations

from dfmcodec.codecs.decode import DecodeRequest, decode_image
from dfmcodec.codecs.record import codec_of
from dfmcodec.container.header import Header, read_header
from dfmcodec.image import LARGEST_PIXELS, MAX_PIXELS, Image, Metadata, to_code_values
from dfmcodec.image.region import Region
from dfmcodec.image.resample import Sampling
from dfmcodec.image.write_image import OUTPUT_FORMATS, image_to_bytes


def thumbnail(data: bytes, longest_side: int) -> bytes:
    """Returns an 8-bit PNG that fits into a square, with the image's ICC profile and alpha.

    Raises FormatError if more than `MAX_PIXELS` samples per channel had to be decoded.
    """
    header = read_header(data, LARGEST_PIXELS)
    size = fitted_size(header.width, header.height, longest_side)
    image = decode_image(data, DecodeRequest(max_pixels=_max_pixels(header, size), size=size))
    alpha = None if image.alpha is None else to_code_values(image.alpha)
    small = Image(to_code_values(image.pixels), Metadata(icc=image.metadata.icc, cicp=image.metadata.cicp), alpha)
    return image_to_bytes(small, OUTPUT_FORMATS["png"])


def _max_pixels(header: Header, size: tuple[int, int]) -> int:
    """Returns the most pixels with at most `MAX_PIXELS` decoded samples per channel.

    Only the wavelet codec can skip the finest decomposition levels.
    """
    if header.has_alpha:
        return MAX_PIXELS
    arch, (width, height) = header.architecture, size
    sampling = Sampling(Region(0, 0, header.height, header.width), height, width)
    return MAX_PIXELS << 2 * codec_of(arch.model).renderer().level(sampling, arch)


def fitted_size(width: int, height: int, longest_side: int) -> tuple[int, int]:
    """Returns the largest (width, height) of the same aspect ratio within a square."""
    scale = min(1.0, longest_side / max(width, height))
    return max(1, round(scale * width)), max(1, round(scale * height))
