"""The decoder: bytes of a `.dfm` file -> Image.

`container` reads the model and the ancillary data. The renderer of the codec evaluates the model at
each pixel of a region, or at the positions of another size.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from math import isfinite

import numpy as np

from dfmcodec import container
from dfmcodec._types import Pixels, Units
from dfmcodec.codecs.record import codec_of
from dfmcodec.codecs.renderer import Decoded, Renderer
from dfmcodec.codecs.renderer import DecodeRequest as DecodeRequest
from dfmcodec.container.contents import QuantizedModel
from dfmcodec.errors import ConfigError, CorruptError
from dfmcodec.fourier.network import check_multiply_adds
from dfmcodec.image import MAX_SIDE, Image, resample, to_values
from dfmcodec.image.region import Region
from dfmcodec.threads import one_core_products

_ALL = DecodeRequest()
_OTHER = "the file does not decode to the image that the encoder computed; please report this"


def decode_image(data: bytes, request: DecodeRequest = _ALL) -> Image:
    """Decodes a `.dfm` file. Raises FormatError if the file cannot be read; ConfigError if the
    region is not within the image, or the size is invalid;
    InstallationError if the pretrained weights are damaged or missing.
    """
    return _decode(data, request, None)


def decode_written(data: bytes, samples: Units, region: Region, pixels: Pixels | None, request: DecodeRequest) -> Image:
    """Decodes a file that the encoder has just written, using the encoder's linear synthesis.

    All sections are read except for the latents of most tiles. The middle tile is decoded and must
    give the same samples and, if pixels are known, the same pixels.

    Args:
        data: The bytes of a file of a codec with a linear synthesis.
        samples: The linear synthesis of a region, int16 or int32 [C, h, w], units.
        region: The complete image; or, if pixels are known, the middle tile and its surroundings
            that
        affect it.
        pixels: The pixels of the complete image, [H, W, C]; None to compute them.
        request: The limit on the number of pixels.

    Raises:
        FormatError: The file cannot be read, or the tile has other samples.
    """
    header = container.read_header(data, request.max_pixels)
    complete = Region(0, 0, header.height, header.width)
    model, tile = container.read_model(data, complete.middle, request.max_pixels)
    of_tile = tile.relative_to(region)
    renderer = codec_of(header.architecture.model).renderer()
    if not np.array_equal(renderer.samples(model), samples[:, of_tile.rows, of_tile.columns]):
        raise CorruptError(_OTHER)
    decoded = Decoded(model, region, header.height, header.width, samples)
    if pixels is None:
        pixels = renderer.render(decoded, complete, request)
    elif not np.array_equal(renderer.render(decoded, tile, request), pixels[tile.rows, tile.columns]):
        raise CorruptError(_OTHER)
    return _as_image(pixels, container.read_ancillary(data, complete, request.max_pixels))


def decode_best_effort(data: bytes, request: DecodeRequest = _ALL) -> tuple[Image, list[str]]:
    """Decodes the intact parts of a truncated or damaged `.dfm` file. A prefix of a file gives a
    preview.

    Returns:
        The image; and a sentence for each missing or damaged part with its effect on the image. An
        intact file gives no sentences.

    Raises:
        FormatError: No part of the image can be decoded, or the file is not supported.
        DfmError: See `decode_image` for the others.
    """
    losses: list[str] = []
    return _decode(data, request, losses), losses


def _decode(data: bytes, request: DecodeRequest, losses: list[str] | None) -> Image:
    """Decodes a file; see `container.read_region` for `losses`."""
    header = container.read_header(data, request.max_pixels)
    renderer = codec_of(header.architecture.model).renderer()
    wanted = Region(0, 0, header.height, header.width) if request.region is None else request.region
    check_region(wanted, header.height, header.width)
    sampling = _sampling_of(wanted, request)
    with one_core_products() if renderer.uses_threads() else nullcontext():
        if sampling is None:
            return _decode_pixels(data, header, renderer, wanted, request, losses)
        return _decode_at(data, header, renderer, sampling, request, losses)


def _decode_pixels(
    data: bytes,
    header: container.Header,
    renderer: Renderer,
    wanted: Region,
    request: DecodeRequest,
    losses: list[str] | None,
) -> Image:
    """Decodes the pixels of a region."""
    _check_work(header, renderer, wanted.height * wanted.width, request)
    if losses is None and renderer.has_bands(header):

        def read(part: Region) -> Decoded:
            model, covered = container.read_model(data, part, request.max_pixels)
            return Decoded(model, covered, header.height, header.width)

        pixels = renderer.render_bands(read, wanted, header, request)
        return _as_image(pixels, container.read_ancillary(data, wanted, request.max_pixels))
    needed = None if request.region is None else renderer.seen_from(wanted, header)
    model, ancillary, covered = container.read_region(data, needed, request.max_pixels, losses=losses)
    pixels = renderer.render(Decoded(model, covered, header.height, header.width), wanted, request)
    if ancillary.alpha is not None and needed is not None:
        top, left = wanted.top - needed.top, wanted.left - needed.left
        alpha = ancillary.alpha[top : top + wanted.height, left : left + wanted.width]
        ancillary = replace(ancillary, alpha=np.ascontiguousarray(alpha))
    return _as_image(pixels, ancillary)


def _decode_at(
    data: bytes,
    header: container.Header,
    renderer: Renderer,
    sampling: resample.Sampling,
    request: DecodeRequest,
    losses: list[str] | None,
) -> Image:
    """Decodes a region at positions other than those of its pixels."""
    _check_work(header, renderer, sampling.height * sampling.width, request)
    level = renderer.level(sampling, header.architecture)
    seen = sampling.region.grown(sampling.margin(level), header.height, header.width)
    needed = seen if level else renderer.seen_from(seen, header)
    model, ancillary, covered = container.read_region(data, needed, request.max_pixels, level, losses)
    decoded = Decoded(model, covered, header.height, header.width)
    pixels = renderer.render_at(decoded, sampling, seen, level, request)
    if ancillary.alpha is not None:
        rows, columns = sampling.rows(), sampling.columns()
        alpha = ancillary.alpha[None].astype(np.float32)
        strips = resample.evaluate_strips(alpha, rows.from_sample(needed.top), columns.from_sample(needed.left))
        values = np.concatenate([to_values(strip[0], header.bit_depth) for strip in strips])
        ancillary = replace(ancillary, alpha=values)
    return _as_image(pixels, ancillary)


def _sampling_of(region: Region, request: DecodeRequest) -> resample.Sampling | None:
    """Returns the sampling of a region at another size; None for the region's own pixels. Raises
    ConfigError if scale and size are both given, or the result is invalid or has too many pixels.
    """
    scale, size = request.scale, request.size
    if scale is not None and size is not None:
        msg = "give a scale or a size, not both"
        raise ConfigError(msg)
    if scale is not None:
        if not (isfinite(scale) and scale > 0):
            msg = f"scale is {scale}; it must be a positive number"
            raise ConfigError(msg)
        sides = [max(1.0, scale * side) for side in (region.width, region.height)]
        if max(sides) >= MAX_SIDE + 0.5:
            given = f"scale {scale:g} gives {sides[0]:.10g}x{sides[1]:.10g}"
            msg = f"{given}, which is not a possible image size; sides of 1 to {MAX_SIDE} are possible"
            raise ConfigError(msg)
        size = round(sides[0]), round(sides[1])
    if size is None or size == (region.width, region.height):
        return None
    sampling = resample.Sampling(region, size[1], size[0])
    if size[0] * size[1] > request.max_pixels:
        msg = f"{size[0]}x{size[1]} is more than the limit of {request.max_pixels} pixels (max_pixels)"
        raise ConfigError(msg)
    return sampling


def _as_image(pixels: Pixels, ancillary: container.Ancillary) -> Image:
    """Returns the image of a model's pixels and the ancillary data."""
    if ancillary.gray_as_rgb and pixels.shape[2] == 1:
        pixels = np.repeat(pixels, 3, axis=2)
    return Image(pixels, ancillary.metadata, ancillary.alpha)


def check_region(region: Region, height: int, width: int) -> None:
    """Raises ConfigError for a region that is empty or not within the image."""
    if not (0 <= region.top < region.bottom <= height and 0 <= region.left < region.right <= width):
        size = f"{region.width}x{region.height} at ({region.left}, {region.top})"
        msg = f"the region {size} is not within the image of {width}x{height}"
        raise ConfigError(msg)


def _check_work(header: container.Header, renderer: Renderer, positions: int, request: DecodeRequest) -> None:
    """Raises LimitError for a network that takes more multiply-adds than the request allows."""
    each = renderer.multiply_adds(header.architecture)
    check_multiply_adds(each, positions, request.max_multiply_adds)


def render(model: QuantizedModel) -> Pixels:
    """Evaluates a quantised model of a complete image at each pixel, uint8 or uint16 [H, W, C]."""
    complete = Region(0, 0, model.height, model.width)
    decoded = Decoded(model, complete, model.height, model.width)
    return codec_of(model.architecture.model).renderer().render(decoded, complete, DecodeRequest())
