"""The renderer: the interface that the decoder of a codec provides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dfmcodec._types import Int32, Pixels, Units
from dfmcodec.container.header import Header
from dfmcodec.fourier.network import MAX_MULTIPLY_ADDS
from dfmcodec.image import MAX_PIXELS
from dfmcodec.image.region import Region
from dfmcodec.image.resample import Sampling


@dataclass(frozen=True)
class DecodeRequest:
    """The part of a file to decode, and the way to decode it.

    Args:
        max_pixels: The largest number of pixels that the image and the result may have. Larger
            images are refused before memory is allocated for them.
        region: The region to decode; None for the complete image. Its pixels equal those of the
            complete image. Decoding a region takes less time and memory if the image has several
            tiles.
        scale: The ratio of the size of the result to that of the region: the model is evaluated at
            positions 1 / scale pixels apart; see `image.resample`. A small scale takes less time,
            because fine decomposition levels are not decoded. None for 1 or a given size.
        size: The (width, height) of the result in pixels, instead of a scale.
        max_multiply_adds: The largest number of multiply-adds that the network of a coordinate
            codec may take at all positions. A larger one is refused before memory is allocated for
            it. Other codecs take a fixed number per pixel.
        texture: Whether noise replaces lost texture, if the file has a texture.
    """

    max_pixels: int = MAX_PIXELS
    region: Region | None = None
    scale: float | None = None
    size: tuple[int, int] | None = None
    max_multiply_adds: int = MAX_MULTIPLY_ADDS
    texture: bool = True


@dataclass(frozen=True)
class Decoded:
    """A quantised model that was read from a file, for a region."""

    model: Any
    covered: Region  # the region of the image that the model's samples cover
    height: int  # of the image, in pixels
    width: int
    samples: Units | None = None  # of this region; None for those of the model


class Renderer:
    """The evaluation of a codec's models."""

    def uses_threads(self) -> bool:
        """Indicates whether the renderer's threads compute matrix products with NumPy."""
        return False

    def multiply_adds(self, architecture: Any) -> int:
        """Returns the multiply-adds per position of a network in the file; else 0."""
        return 0

    def seen_from(self, region: Region, header: Header) -> Region:
        """Returns the region of the model's samples that the pixels of a region depend on."""
        return region

    def has_bands(self, header: Header) -> bool:
        """Indicates whether an image can be read band by band; see `render_bands`."""
        return False

    def render_bands(
        self, read: Callable[[Region], Decoded], region: Region, header: Header, request: DecodeRequest
    ) -> Pixels:
        """Evaluates like `render`, with the samples of one band in memory at a time."""
        raise NotImplementedError

    def samples(self, model: Any) -> Int32:
        """Returns the linear synthesis of a model, int32 [C, h, w]."""
        raise NotImplementedError

    def level(self, sampling: Sampling, architecture: Any) -> int:
        """Returns the finest decomposition level that a sampling needs; 0 for all levels."""
        return 0

    def render(self, decoded: Decoded, region: Region, request: DecodeRequest) -> Pixels:
        """Evaluates a model at the pixels of a region, uint8 or uint16 [H, W, C]."""
        raise NotImplementedError

    def render_at(
        self, decoded: Decoded, sampling: Sampling, seen: Region, level: int, request: DecodeRequest
    ) -> Pixels:
        """Evaluates a model at other positions, uint8 or uint16 [H, W, C].

        `seen` are the pixels that the positions depend on, and `level` the finest one that was
        read.
        """
        raise NotImplementedError
