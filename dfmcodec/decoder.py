"""bytes -> Image: entropy decoding, then every pixel by itself through the network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from dfmcodec import bitstream, fourier, synthesis
from dfmcodec.errors import ConfigError
from dfmcodec.image import MAX_PIXELS, Image, Pixels, samples_to_values
from dfmcodec.latents import Window
from dfmcodec.model import CoordinateArchitecture, QuantizedLatents, QuantizedModel, QuantizedNetwork
from dfmcodec.picture_filter import MAX_RADIUS
from dfmcodec.prior import prior_of
from dfmcodec.quantize import dequantize, step_per_weight

Float32 = npt.NDArray[np.float32]
BACKENDS = ("numpy", "jax")
_BLOCK = (32, fourier.BLOCK_PIXELS // 32)  # rows and columns of positions evaluated at a time


def decode_image(
    data: bytes, backend: str = "numpy", max_pixels: int = MAX_PIXELS, region: Window | None = None
) -> Image:
    """Decodes a `.dfm` file.

    Args:
        data: The file's bytes.
        backend: "numpy" or "jax".
        max_pixels: Larger pictures are refused before any memory is spent on them.
        region: What to decode; None for all. Pixel for pixel what is there in the whole picture, in less time and
            memory where the picture has several tiles.

    Raises:
        FormatError: The file is not readable.
        ConfigError: The backend is unknown, or the region is not within the picture.
    """
    check_backend(backend)
    needed = None
    if region is not None:
        header = bitstream.read_header(data, max_pixels)
        check_region(region, header.height, header.width)
        needed = region.grown(_margin_of(header), header.height, header.width)
    model, beside, covered = bitstream.read_window(data, needed, max_pixels)
    if region is None or needed is None:
        return as_image(render(model, backend), beside)
    if isinstance(model, QuantizedNetwork):
        pixels = _render_network(model, backend, region)
    else:
        samples = synthesis.Samples(model.samples, covered, header.height, header.width)
        pixels = _render_latents(model, samples, region, backend)
    if beside.alpha is not None:
        top, left = region.top - needed.top, region.left - needed.left
        alpha = beside.alpha[top : top + region.height, left : left + region.width]
        beside = replace(beside, alpha=np.ascontiguousarray(alpha))
    return as_image(pixels, beside)


def as_image(pixels: Pixels, beside: bitstream.Beside) -> Image:
    """A model's pixels with what the file holds beside it."""
    if beside.gray_as_rgb and pixels.shape[2] == 1:
        pixels = np.repeat(pixels, 3, axis=2)
    return Image(pixels, beside.metadata, beside.alpha)


def check_region(region: Window, height: int, width: int) -> None:
    """Refuses a region that is empty or not within the picture.

    Raises:
        ConfigError: What is wrong.
    """
    if not (0 <= region.top < region.bottom <= height and 0 <= region.left < region.right <= width):
        size = f"{region.width}x{region.height} at ({region.left}, {region.top})"
        msg = f"the region {size} is not within the picture of {width}x{height}"
        raise ConfigError(msg)


def _margin_of(header: bitstream.Header) -> int:
    """How many pixels around a region its pixels depend on."""
    if isinstance(header.architecture, CoordinateArchitecture):
        return 0
    reach = prior_of(header.architecture.prior).machine.reach
    return synthesis.needed_margin(reach, MAX_RADIUS)


def render(model: QuantizedModel, backend: str = "numpy") -> Pixels:
    """Evaluates a quantised model of a whole picture at every pixel. uint8 or uint16 [H, W, C]."""
    check_backend(backend)
    whole = Window(0, 0, model.height, model.width)
    if isinstance(model, QuantizedNetwork):
        return _render_network(model, backend, whole)
    return _render_latents(model, synthesis.Samples.whole(model.samples), whole, backend)


def _render_latents(model: QuantizedLatents, samples: synthesis.Samples, window: Window, backend: str) -> Pixels:
    machine = prior_of(model.architecture.prior).machine
    if backend == "jax":
        from dfmcodec.jax_backend import machine_evaluator

        evaluate = machine_evaluator(machine)
    else:
        evaluate = synthesis.evaluator(machine)
    return synthesis.synthesise(
        samples,
        window,
        model.step,
        model.chroma_angle,
        machine.reach,
        evaluate,
        model.picture_filter,
        model.bit_depth,
    )


def check_backend(backend: str) -> None:
    if backend not in BACKENDS:
        msg = f"unknown backend {backend!r}; choose one of {', '.join(BACKENDS)}"
        raise ConfigError(msg)


def _render_network(model: QuantizedNetwork, backend: str, window: Window) -> Pixels:
    arch = model.architecture
    weights = dequantize(model.symbols, step_per_weight(model.step_indices, arch.layer_sizes()))
    rows, columns = fourier.axis_positions(model.height), fourier.axis_positions(model.width)
    return render_weights(weights, arch, rows, columns, window, model.bit_depth, backend)


def render_weights(
    weights: Float32,
    architecture: CoordinateArchitecture,
    rows: Float32,
    columns: Float32,
    window: Window | None = None,
    bit_depth: int = 8,
    backend: str = "numpy",
) -> Pixels:
    """Evaluates a network at a grid of positions, in blocks that are the same whatever the window.

    Args:
        weights: float32 [weight_count].
        architecture: The network.
        rows: Vertical positions, float32 [H]; the picture spans [0, 1).
        columns: Horizontal positions, float32 [W].
        window: What is wanted of the grid; None for all.
        bit_depth: Of the pixels.
        backend: "numpy" or "jax".

    Returns:
        uint8 or uint16 [H, W, C] of the window.
    """
    evaluate = _evaluator(weights, architecture, backend)
    wanted = Window(0, 0, len(rows), len(columns)) if window is None else window
    pixels = np.empty((wanted.height, wanted.width, architecture.channels), np.uint8 if bit_depth == 8 else np.uint16)
    height, width = _BLOCK
    for top in range(wanted.top // height * height, wanted.bottom, height):
        y = rows[np.minimum(np.arange(top, top + height), len(rows) - 1)]
        for left in range(wanted.left // width * width, wanted.right, width):
            x = columns[np.minimum(np.arange(left, left + width), len(columns) - 1)]
            v = np.stack([np.tile(x, height), np.repeat(y, width)], axis=1)
            values = samples_to_values(evaluate(v), bit_depth).reshape(height, width, -1)
            block = Window(
                max(top, wanted.top),
                max(left, wanted.left),
                min(top + height, wanted.bottom),
                min(left + width, wanted.right),
            )
            pixels[
                block.top - wanted.top : block.bottom - wanted.top, block.left - wanted.left : block.right - wanted.left
            ] = values[block.top - top : block.bottom - top, block.left - left : block.right - left]
    return pixels


def _evaluator(flat: Float32, architecture: CoordinateArchitecture, backend: str) -> Callable[[Float32], Float32]:
    if backend == "numpy":
        weights = fourier.unpack(flat, architecture, np)

        def evaluate(v: Float32) -> Float32:
            samples: Float32 = fourier.machine(weights, v, architecture.order, np)
            return samples

        return evaluate
    from dfmcodec.jax_backend import evaluator

    return evaluator(flat, architecture)
