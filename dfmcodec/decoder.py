"""The decoder: the bytes of a `.dfm` file -> Image.

`bitstream` decodes the model and the ancillary data. This module then evaluates the model: at every
pixel of a region, or at the positions of another size.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dfmcodec import bitstream
from dfmcodec._types import Float32, Int32, Pixels
from dfmcodec.bitstream.contents import (
    CodeArchitecture,
    CodedImage,
    FittedArchitecture,
    LatentArchitecture,
    QuantizedGrids,
    QuantizedLatents,
    QuantizedNetwork,
)
from dfmcodec.errors import ConfigError, require
from dfmcodec.fourier.network import (
    MAX_MULTIPLY_ADDS,
    CoordinateArchitecture,
    axis_positions,
    block_shape,
    check_multiply_adds,
    deep_fourier_machine,
    unpack,
)
from dfmcodec.fourier.quantize import dequantize, step_per_weight
from dfmcodec.image import MAX_PIXELS, MAX_SIDE, Image, peak_value, samples_to_values, to_values
from dfmcodec.kernels import compiled
from dfmcodec.latents.colour import planes_to_pixels
from dfmcodec.latents.geometry import Region
from dfmcodec.latents.grids import symbol_step
from dfmcodec.prior import prior_of
from dfmcodec.prior.fitted import fitted_prior_of
from dfmcodec.synthesis import resample
from dfmcodec.synthesis.filter import MAX_RADIUS
from dfmcodec.synthesis.fitted import synthesise_grids
from dfmcodec.synthesis.machine import DeepFourierMachine, Evaluate
from dfmcodec.synthesis.reconstruct import Samples, corrected, seen_from, synthesise
from dfmcodec.threads import one_core_products

if TYPE_CHECKING:
    from dfmcodec.generative.model import GenerativeModel

BACKENDS = ("numpy", "jax")
_LARGEST_COLOUR = np.float32(1 << 16)  # damaged or hostile files alone have larger ones, or NaN


@dataclass(frozen=True)
class DecodeRequest:
    """What to decode of a file, and how; see `decode_image` for the values.

    Args:
        backend: "numpy" or "jax".
        max_pixels: The largest number of pixels of the image and of the result.
        region: The region to decode; None for the whole image.
        scale: The scale of the result; None for 1 or a given size.
        size: The (width, height) of the result in pixels; None for a given scale.
        generator: The generative model of a code; None if there is none.
        max_multiply_adds: The largest number of multiply-adds of the image's own network.
    """

    backend: str = "numpy"
    max_pixels: int = MAX_PIXELS
    region: Region | None = None
    scale: float | None = None
    size: tuple[int, int] | None = None
    generator: GenerativeModel | None = None
    max_multiply_adds: int = MAX_MULTIPLY_ADDS


def decode_image(
    data: bytes,
    backend: str = "numpy",
    max_pixels: int = MAX_PIXELS,
    region: Region | None = None,
    scale: float | None = None,
    size: tuple[int, int] | None = None,
    generator: GenerativeModel | None = None,
    max_multiply_adds: int = MAX_MULTIPLY_ADDS,
) -> Image:
    """Decodes a `.dfm` file.

    Args:
        data: The file's bytes.
        backend: "numpy" or "jax".
        max_pixels: The largest number of pixels that the image and the result may have. Larger
            images are refused before any memory is spent on them.
        region: The region to decode; None for the whole image. Its pixels are those of the whole
            image. It takes less time and memory if the image has several tiles.
        scale: Evaluates the model at positions that are 1 / scale pixels apart; see
            `synthesis.resample`. A small scale takes less time, because fine decomposition levels
            are not decoded.
        size: The (width, height) of the result in pixels, instead of a scale.
        generator: The generative model, if the image is a code under one.
        max_multiply_adds: The largest number of multiply-adds that the network of a coordinate
            model or a code may take at all positions. A larger one is refused before any memory is
            spent on it. Other models take a fixed number for each pixel.

    Returns:
        The image, with its metadata and alpha.

    Raises:
        FormatError: The file cannot be read.
        MissingModelError: The image is a code under a generative model that is not the given one.
        ConfigError: The backend is unknown, the region is not within the image, or the size is not
            possible.
        InstallationError: A prior is damaged or missing.
    """
    request = DecodeRequest(backend, max_pixels, region, scale, size, generator, max_multiply_adds)
    return _decode(data, request, None)


def decode_best_effort(
    data: bytes,
    backend: str = "numpy",
    max_pixels: int = MAX_PIXELS,
    region: Region | None = None,
    scale: float | None = None,
    size: tuple[int, int] | None = None,
    generator: GenerativeModel | None = None,
    max_multiply_adds: int = MAX_MULTIPLY_ADDS,
) -> tuple[Image, list[str]]:
    """Decodes what is left of a truncated or damaged `.dfm` file.

    A prefix of a file gives a preview.

    The arguments are those of `decode_image`.

    Returns:
        The image; and a sentence for each part that is missing or damaged, with what that means for
        the image: none for a whole file.

    Raises:
        FormatError: Nothing of the image can be decoded, or this program does not read such files.
        MissingModelError: See `decode_image`.
        ConfigError: See `decode_image`.
        InstallationError: See `decode_image`.
    """
    losses: list[str] = []
    request = DecodeRequest(backend, max_pixels, region, scale, size, generator, max_multiply_adds)
    image = _decode(data, request, losses)
    return image, losses


def _decode(data: bytes, request: DecodeRequest, losses: list[str] | None) -> Image:
    """Decodes a file; see `bitstream.read_region` for `losses`."""
    check_backend(request.backend)
    header = bitstream.read_header(data, request.max_pixels)
    arch = header.architecture
    is_spread = isinstance(arch, FittedArchitecture) or (isinstance(arch, LatentArchitecture) and compiled is None)
    with one_core_products() if is_spread else nullcontext():  # threads of our own have products of NumPy
        return _decode_header(data, header, request, losses)


def _decode_header(data: bytes, header: bitstream.Header, request: DecodeRequest, losses: list[str] | None) -> Image:
    """Decodes a file whose header is known."""
    wanted = Region(0, 0, header.height, header.width) if request.region is None else request.region
    check_region(wanted, header.height, header.width)
    sampling = _sampling_of(wanted, request)
    if sampling is not None:
        return _decode_at(data, header, sampling, request, losses)
    is_code = isinstance(header.architecture, CodeArchitecture)
    evaluated = Region(0, 0, header.height, header.width) if is_code else wanted
    _check_work(header, evaluated.height * evaluated.width, request)
    needed = None if request.region is None else _seen_from(wanted, header)
    model, ancillary, covered = bitstream.read_region(data, needed, request.max_pixels, losses=losses)
    if isinstance(model, QuantizedNetwork):
        pixels = _render_network(model, request.backend, wanted)
    elif isinstance(model, CodedImage):
        # All of it, which is small: products with fewer columns may round differently, and a
        # network may enlarge that to the whole range of samples.
        whole = _render_code(model, np.arange(model.height), np.arange(model.width), request.generator)
        pixels = np.ascontiguousarray(whole[wanted.rows, wanted.columns])
    elif isinstance(model, QuantizedGrids):
        pixels = _render_grids(model, wanted, request.backend)
    else:
        samples = Samples(_synthesis_of(model), covered, header.height, header.width)
        pixels = _render_latents(model, samples, wanted, request.backend)
    if ancillary.alpha is not None and needed is not None:
        top, left = wanted.top - needed.top, wanted.left - needed.left
        alpha = ancillary.alpha[top : top + wanted.height, left : left + wanted.width]
        ancillary = replace(ancillary, alpha=np.ascontiguousarray(alpha))
    return _as_image(pixels, ancillary)


def _sampling_of(region: Region, request: DecodeRequest) -> resample.Sampling | None:
    """The positions of another size of a region; None for its own pixels.

    Raises:
        ConfigError: Scale and size are both given, the scale is not positive, or the result has
            too many pixels.
    """
    scale, size = request.scale, request.size
    if scale is not None and size is not None:
        msg = "give a scale or a size, not both"
        raise ConfigError(msg)
    if scale is not None:
        if not (isfinite(scale) and scale > 0):
            msg = f"scale is {scale}; it must be a positive number"
            raise ConfigError(msg)
        sides = (min(scale * side, MAX_SIDE + 1) for side in (region.width, region.height))  # `Sampling` refuses more
        width, height = (max(1, round(side)) for side in sides)
        size = width, height
    if size is None or size == (region.width, region.height):
        return None
    sampling = resample.Sampling(region, size[1], size[0])
    if size[0] * size[1] > request.max_pixels:
        msg = f"{size[0]}x{size[1]} is more than the limit of {request.max_pixels} pixels (max_pixels)"
        raise ConfigError(msg)
    return sampling


def _decode_at(
    data: bytes,
    header: bitstream.Header,
    sampling: resample.Sampling,
    request: DecodeRequest,
    losses: list[str] | None,
) -> Image:
    """Decodes a region at other positions than those of its pixels."""
    _check_work(header, sampling.height * sampling.width, request)
    arch, height, width = header.architecture, header.height, header.width
    level = sampling.level(arch.levels) if isinstance(arch, LatentArchitecture) else 0
    seen = sampling.region.grown(sampling.margin(level), height, width)
    needed = seen if level else _seen_from(seen, header)
    model, ancillary, covered = bitstream.read_region(data, needed, request.max_pixels, level, losses)
    rows, columns = sampling.rows(), sampling.columns()
    if isinstance(model, QuantizedNetwork):
        at = (rows.positions / height).astype(np.float32), (columns.positions / width).astype(np.float32)
        pixels = render_weights(_weights_of(model), model.architecture, *at, None, model.bit_depth, request.backend)
    elif isinstance(model, CodedImage):
        pixels = _render_code(model, rows.positions, columns.positions, request.generator)
    elif isinstance(model, QuantizedGrids):
        planes = _grid_colours(model, seen, request.backend)
        strips = resample.evaluate_strips(planes, rows.from_sample(seen.top), columns.from_sample(seen.left))
        pixels = np.concatenate([_colours_to_pixels(strip, model) for strip in strips])
    else:
        if level:
            planes = _synthesis_of(model).astype(np.float32)
            at_rows, at_columns = rows.from_sample(covered.top, level), columns.from_sample(covered.left, level)
        else:
            samples = Samples(_synthesis_of(model), covered, height, width)
            planes = _corrected_planes(model, samples, seen, request.backend)
            at_rows, at_columns = rows.from_sample(seen.top), columns.from_sample(seen.left)
        basis = model.basis
        strips = (strip.transpose(1, 2, 0) for strip in resample.evaluate_strips(planes, at_rows, at_columns))
        pixels = np.concatenate([planes_to_pixels(strip, basis, model.bit_depth) for strip in strips])
    if ancillary.alpha is not None:
        alpha = ancillary.alpha[None].astype(np.float32)
        alpha_strips = resample.evaluate_strips(alpha, rows.from_sample(needed.top), columns.from_sample(needed.left))
        values = np.concatenate([to_values(strip[0], header.bit_depth) for strip in alpha_strips])
        ancillary = replace(ancillary, alpha=values)
    return _as_image(pixels, ancillary)


def _as_image(pixels: Pixels, ancillary: bitstream.Ancillary) -> Image:
    """An image of a model's pixels and the ancillary data."""
    if ancillary.gray_as_rgb and pixels.shape[2] == 1:
        pixels = np.repeat(pixels, 3, axis=2)
    return Image(pixels, ancillary.metadata, ancillary.alpha)


def _synthesis_of(model: QuantizedLatents) -> Int32:
    """The linear synthesis of latents that were read."""
    assert model.samples is not None
    return model.samples


def _corrected_planes(model: QuantizedLatents, samples: Samples, region: Region, backend: str) -> Float32:
    """The planes of a region in units, corrected by image filter and machine, float32 [C, H, W]."""
    planes = np.empty((model.architecture.channels, region.height, region.width), dtype=np.float32)
    machine, evaluate = _machine_of(model, backend)
    for block, block_planes in corrected(samples, region, model.q_step, machine, evaluate, model.image_filter):
        within = block.relative_to(region)
        planes[:, within.rows, within.columns] = block_planes
    return planes


def check_region(region: Region, height: int, width: int) -> None:
    """Refuses a region that is empty or not within the image.

    Args:
        region: The region.
        height: The height of the image, in pixels.
        width: The width of the image, in pixels.

    Raises:
        ConfigError: The region is empty or not within the image.
    """
    if not (0 <= region.top < region.bottom <= height and 0 <= region.left < region.right <= width):
        size = f"{region.width}x{region.height} at ({region.left}, {region.top})"
        msg = f"the region {size} is not within the image of {width}x{height}"
        raise ConfigError(msg)


def _check_work(header: bitstream.Header, positions: int, request: DecodeRequest) -> None:
    """Refuses a network of the file's own that takes too long; see `DecodeRequest`.

    Raises:
        LimitError: The network takes more multiply-adds than the request allows.
    """
    arch = header.architecture
    if isinstance(arch, CodeArchitecture) and request.generator is not None:
        check_multiply_adds(request.generator.architecture.multiply_adds, positions, request.max_multiply_adds)
    if isinstance(arch, CoordinateArchitecture):
        check_multiply_adds(arch.multiply_adds, positions, request.max_multiply_adds)


def _seen_from(region: Region, header: bitstream.Header) -> Region:
    """The region of the latents' samples that the pixels of a region depend on."""
    if not isinstance(header.architecture, LatentArchitecture):
        return region
    reach = prior_of(header.architecture.prior_id).machine.reach
    return seen_from(region, header.height, header.width, reach, MAX_RADIUS)


def _render_code(
    model: CodedImage, rows: npt.NDArray[Any], columns: npt.NDArray[Any], generator: GenerativeModel | None
) -> Pixels:
    """Renders a code at rows and columns of its image.

    Args:
        model: The code.
        rows: The rows in pixels, float or int [H].
        columns: The columns in pixels, float or int [W].
        generator: The generative model that the user gave; None for none.

    Returns:
        uint8 or uint16 [H, W, C].

    Raises:
        MissingModelError: The generator is not the one that the file names.
        CorruptError: The code is not valid.
    """
    from dfmcodec.generative.code_section import decode_code

    code, own_generator = decode_code(model, generator)
    images = own_generator.paint_at(code[None], rows / model.height, columns / model.width, model.bit_depth)
    pixels: Pixels = images[0]
    return pixels


def render(model: QuantizedNetwork | QuantizedLatents | QuantizedGrids, backend: str = "numpy") -> Pixels:
    """Evaluates a quantised model of a whole image at every pixel.

    Args:
        model: The model.
        backend: "numpy" or "jax".

    Returns:
        uint8 or uint16 [H, W, C].

    Raises:
        ConfigError: The backend is unknown.
    """
    check_backend(backend)
    whole = Region(0, 0, model.height, model.width)
    if isinstance(model, QuantizedNetwork):
        return _render_network(model, backend, whole)
    if isinstance(model, QuantizedGrids):
        return _render_grids(model, whole, backend)
    return _render_latents(model, Samples.whole(_synthesis_of(model)), whole, backend)


def _render_grids(model: QuantizedGrids, region: Region, backend: str) -> Pixels:
    return _colours_to_pixels(_grid_colours(model, region, backend), model)


def _grid_colours(model: QuantizedGrids, region: Region, backend: str) -> Float32:
    """The colours of a region by the machine of the image, float32 [3, H, W]; 0 is black and 1 is
    white. They are finite, and within +-`_LARGEST_COLOUR`.
    """
    _, machine = fitted_prior_of(model.architecture.prior_id).networks_of(model.changes)
    evaluate = None
    if backend == "jax":
        from dfmcodec.synthesis.jax_backend import jax_strip_synthesis

        evaluate = jax_strip_synthesis()
    with np.errstate(over="ignore", invalid="ignore"):
        colours = synthesise_grids(machine, model.grids, symbol_step(model.lmbda_code), region, evaluate)
    np.nan_to_num(colours, copy=False)
    return np.clip(colours, -_LARGEST_COLOUR, _LARGEST_COLOUR, out=colours)


def _colours_to_pixels(colours: Float32, model: QuantizedGrids) -> Pixels:
    """Rounds colours [3, H, W] to pixels [H, W, C]; gray is their mean."""
    values = colours.mean(axis=0, keepdims=True) if model.architecture.channels == 1 else colours
    return to_values(values.transpose(1, 2, 0) * np.float32(peak_value(model.bit_depth)), model.bit_depth)


def _machine_of(model: QuantizedLatents, backend: str) -> tuple[DeepFourierMachine, Evaluate | None]:
    """The Deep Fourier Machine of the prior, and what evaluates it; see `machine_change`."""
    machine = prior_of(model.architecture.prior_id).machine
    if backend == "numpy":
        return machine, None
    from dfmcodec.synthesis.jax_backend import jax_evaluator

    return machine, jax_evaluator(machine)


def _render_latents(model: QuantizedLatents, samples: Samples, region: Region, backend: str) -> Pixels:
    machine, evaluate = _machine_of(model, backend)
    return synthesise(
        samples,
        region,
        model.q_step,
        model.basis,
        machine,
        evaluate,
        model.image_filter,
        model.bit_depth,
    )


def check_backend(backend: str) -> None:
    """Refuses a backend that is unknown or not installed.

    Raises:
        ConfigError: The backend is not one of `BACKENDS`.
        MissingPackageError: It is "jax", and JAX is not installed.
    """
    if backend not in BACKENDS:
        msg = f"unknown backend {backend!r}; choose one of {', '.join(BACKENDS)}"
        raise ConfigError(msg)
    if backend == "jax":
        require("the backend jax", "jax", otherwise="or decode without it, by NumPy")


def _render_network(model: QuantizedNetwork, backend: str, region: Region) -> Pixels:
    rows, columns = axis_positions(model.height), axis_positions(model.width)
    return render_weights(_weights_of(model), model.architecture, rows, columns, region, model.bit_depth, backend)


def _weights_of(model: QuantizedNetwork) -> Float32:
    steps = step_per_weight(model.step_indices, model.architecture.layer_sizes())
    weights: Float32 = dequantize(model.symbols, steps)
    return weights


def render_weights(
    weights: Float32,
    architecture: CoordinateArchitecture,
    rows: Float32,
    columns: Float32,
    region: Region | None = None,
    bit_depth: int = 8,
    backend: str = "numpy",
) -> Pixels:
    """Evaluates a coordinate network at a grid of positions.

    The blocks of the evaluation do not depend on the region, so neither do the pixels.

    Args:
        weights: The weights in file order, float32 [weight_count].
        architecture: The architecture of the network.
        rows: The vertical positions, float32 [H]; the image spans [0, 1).
        columns: The horizontal positions, float32 [W].
        region: The rows and columns of the grid to evaluate; None for the whole grid.
        bit_depth: The bits per sample of the result, 8 or 16.
        backend: "numpy" or "jax".

    Returns:
        uint8 or uint16 [H, W, C] of the region.
    """
    evaluate = _evaluator(weights, architecture, backend)
    wanted = Region(0, 0, len(rows), len(columns)) if region is None else region
    pixels = np.empty((wanted.height, wanted.width, architecture.channels), np.uint8 if bit_depth == 8 else np.uint16)
    height, width = block_shape(architecture, len(rows), len(columns))
    for top in range(wanted.top // height * height, wanted.bottom, height):
        y = rows[np.minimum(np.arange(top, top + height), len(rows) - 1)]
        for left in range(wanted.left // width * width, wanted.right, width):
            x = columns[np.minimum(np.arange(left, left + width), len(columns) - 1)]
            v = np.stack([np.tile(x, height), np.repeat(y, width)], axis=1)
            values = samples_to_values(evaluate(v), bit_depth).reshape(height, width, -1)
            block = Region(top, left, top + height, left + width).common(wanted)
            target, source = block.relative_to(wanted), block.relative_to(Region(top, left, 0, 0))
            pixels[target.rows, target.columns] = values[source.rows, source.columns]
    return pixels


def _evaluator(flat: Float32, architecture: CoordinateArchitecture, backend: str) -> Callable[[Float32], Float32]:
    """The function from positions, float32 [N, 2], to samples in (-1, 1), float32 [N, C]."""
    if backend == "numpy":
        weights = unpack(flat, architecture, np)

        def evaluate(v: Float32) -> Float32:
            samples: Float32 = deep_fourier_machine(weights, v, architecture.order, np)
            return samples

        return evaluate
    from dfmcodec.fourier.jax_backend import network_evaluator

    return network_evaluator(flat, architecture)
