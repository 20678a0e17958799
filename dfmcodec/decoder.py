"""bytes -> Image: entropy decoding, then every pixel by itself through the network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dfmcodec import bitstream, fourier, scaling, synthesis
from dfmcodec.errors import ConfigError
from dfmcodec.image import MAX_PIXELS, Image, Pixels, samples_to_values, to_values
from dfmcodec.latents import Window, colour_basis
from dfmcodec.model import (
    CodedPicture,
    CoordinateArchitecture,
    LatentArchitecture,
    QuantizedLatents,
    QuantizedNetwork,
)
from dfmcodec.picture_filter import MAX_RADIUS
from dfmcodec.prior import prior_of
from dfmcodec.quantize import dequantize, step_per_weight
from dfmcodec.synthesis import Samples

if TYPE_CHECKING:
    from dfmcodec.generative.model import GenerativeModel

Float32 = npt.NDArray[np.float32]
BACKENDS = ("numpy", "jax")
_BLOCK = (32, fourier.BLOCK_PIXELS // 32)  # rows and columns of positions evaluated at a time


def decode_image(
    data: bytes,
    backend: str = "numpy",
    max_pixels: int = MAX_PIXELS,
    region: Window | None = None,
    scale: float | None = None,
    size: tuple[int, int] | None = None,
    generator: GenerativeModel | None = None,
) -> Image:
    """Decodes a `.dfm` file.

    Args:
        data: The file's bytes.
        backend: "numpy" or "jax".
        max_pixels: Larger pictures are refused before any memory is spent on them.
        region: What to decode; None for all. Pixel for pixel what is there in the whole picture, in less time and
            memory where the picture has several tiles.
        scale: Evaluates the network at positions that are 1 / scale pixels apart; see `scaling`. Small pictures take
            less time, as fine levels are not decoded.
        size: (width, height) of what comes out, instead of a scale.
        generator: The generative model, where the picture is a code of one.

    Raises:
        FormatError: The file is not readable.
        MissingModelError: The picture is a code of a generative model that is not the given one.
        ConfigError: The backend is unknown, the region is not within the picture, or the size is not possible.
        InstallationError: A prior is damaged or missing.
    """
    return _decode(data, backend, max_pixels, region, scale, size, generator, None)


def decode_best_effort(
    data: bytes,
    backend: str = "numpy",
    max_pixels: int = MAX_PIXELS,
    region: Window | None = None,
    scale: float | None = None,
    size: tuple[int, int] | None = None,
    generator: GenerativeModel | None = None,
) -> tuple[Image, list[str]]:
    """Decodes what is there of a `.dfm` file that is cut off or damaged; so a prefix of a file gives a preview.

    Args as of `decode_image`.

    Returns:
        The picture; and what is missing or damaged and what that means for it, in words: empty for a whole file.

    Raises:
        FormatError: Nothing of the picture can be made out, or the file is none that this program reads.
        ConfigError: As of `decode_image`.
    """
    losses: list[str] = []
    image = _decode(data, backend, max_pixels, region, scale, size, generator, losses)
    return image, losses


def _decode(
    data: bytes,
    backend: str,
    max_pixels: int,
    region: Window | None,
    scale: float | None,
    size: tuple[int, int] | None,
    generator: GenerativeModel | None,
    losses: list[str] | None,
) -> Image:
    """Decodes a file; `losses` as of `bitstream.read_window`."""
    check_backend(backend)
    header = bitstream.read_header(data, max_pixels)
    window = Window(0, 0, header.height, header.width) if region is None else region
    check_region(window, header.height, header.width)
    sampling = _sampling_of(window, scale, size, max_pixels)
    if sampling is not None:
        return _decode_at(data, header, sampling, max_pixels, backend, generator, losses)
    needed = None if region is None else _seen_from(window, header)
    model, beside, covered = bitstream.read_window(data, needed, max_pixels, losses=losses)
    if isinstance(model, QuantizedNetwork):
        pixels = _render_network(model, backend, window)
    elif isinstance(model, CodedPicture):
        rows, columns = np.arange(window.top, window.bottom), np.arange(window.left, window.right)
        pixels = _paint_code(model, rows, columns, generator)
    else:
        pixels = _render_latents(model, Samples(model.samples, covered, header.height, header.width), window, backend)
    if beside.alpha is not None and needed is not None:
        top, left = window.top - needed.top, window.left - needed.left
        alpha = beside.alpha[top : top + window.height, left : left + window.width]
        beside = replace(beside, alpha=np.ascontiguousarray(alpha))
    return _as_image(pixels, beside)


def _sampling_of(
    window: Window, scale: float | None, size: tuple[int, int] | None, max_pixels: int
) -> scaling.Sampling | None:
    """None where pixels are wanted as they are."""
    if scale is not None and size is not None:
        msg = "give a scale or a size, not both"
        raise ConfigError(msg)
    if scale is not None:
        if not (isfinite(scale) and scale > 0):
            msg = f"scale is {scale}; it must be a positive number"
            raise ConfigError(msg)
        size = max(1, round(scale * window.width)), max(1, round(scale * window.height))
    if size is None or size == (window.width, window.height):
        return None
    sampling = scaling.Sampling(window, size[1], size[0])
    if size[0] * size[1] > max_pixels:
        msg = f"{size[0]}x{size[1]} is more than the limit of {max_pixels} pixels"
        raise ConfigError(msg)
    return sampling


def _decode_at(
    data: bytes,
    header: bitstream.Header,
    sampling: scaling.Sampling,
    max_pixels: int,
    backend: str,
    generator: GenerativeModel | None,
    losses: list[str] | None,
) -> Image:
    """A window of the picture at other positions than its pixels."""
    arch, height, width = header.architecture, header.height, header.width
    level = sampling.level(arch.levels) if isinstance(arch, LatentArchitecture) else 0
    seen = sampling.window.grown(scaling.needed_margin(level), height, width)
    needed = seen if level else _seen_from(seen, header)
    model, beside, covered = bitstream.read_window(data, needed, max_pixels, level, losses)
    rows, columns = sampling.rows(), sampling.columns()
    if isinstance(model, QuantizedNetwork):
        at = (rows / height).astype(np.float32), (columns / width).astype(np.float32)
        pixels = render_weights(_weights_of(model), model.architecture, *at, None, model.bit_depth, backend)
    elif isinstance(model, CodedPicture):
        pixels = _paint_code(model, rows, columns, generator)
    else:
        if level:
            planes = model.samples.astype(np.float32)
            at_rows, at_columns = (rows - covered.top) / (1 << level), (columns - covered.left) / (1 << level)
        else:
            planes = np.empty((model.architecture.channels, seen.height, seen.width), dtype=np.float32)
            samples = Samples(model.samples, covered, height, width)
            machine, evaluate = _machine_of(model, backend)
            for part, found in synthesis.corrected(
                samples, seen, model.step, machine.reach, evaluate, model.picture_filter
            ):
                within = part.relative_to(seen)
                planes[:, within.rows, within.columns] = found
            at_rows, at_columns = rows - seen.top, columns - seen.left
        basis = colour_basis(model.chroma_angle)
        strips = (strip.transpose(1, 2, 0) for strip in scaling.evaluate_strips(planes, at_rows, at_columns))
        pixels = np.concatenate([synthesis.planes_to_values(strip, basis, model.bit_depth) for strip in strips])
    if beside.alpha is not None:
        opacity = beside.alpha[None].astype(np.float32)
        parts = scaling.evaluate_strips(opacity, rows - needed.top, columns - needed.left)
        beside = replace(beside, alpha=np.concatenate([to_values(part[0], header.bit_depth) for part in parts]))
    return _as_image(pixels, beside)


def _as_image(pixels: Pixels, beside: bitstream.Beside) -> Image:
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


def _seen_from(window: Window, header: bitstream.Header) -> Window:
    """What the pixels of a window depend on."""
    if not isinstance(header.architecture, LatentArchitecture):
        return window
    reach = prior_of(header.architecture.prior).machine.reach
    return synthesis.seen_from(window, header.height, header.width, reach, MAX_RADIUS)


def _paint_code(
    model: CodedPicture, rows: npt.NDArray[Any], columns: npt.NDArray[Any], generator: GenerativeModel | None
) -> Pixels:
    """A code at positions in pixels of its picture."""
    from dfmcodec.generative.codec import decode_code

    code, painter = decode_code(model, generator)
    painted = painter.paint_at(code[None], rows / model.height, columns / model.width, model.bit_depth)
    pixels: Pixels = painted[0]
    return pixels


def render(model: QuantizedNetwork | QuantizedLatents, backend: str = "numpy") -> Pixels:
    """Evaluates a quantised model of a whole picture at every pixel. uint8 or uint16 [H, W, C]."""
    check_backend(backend)
    whole = Window(0, 0, model.height, model.width)
    if isinstance(model, QuantizedNetwork):
        return _render_network(model, backend, whole)
    return _render_latents(model, Samples.whole(model.samples), whole, backend)


def _machine_of(model: QuantizedLatents, backend: str) -> tuple[synthesis.Machine, synthesis.Evaluate]:
    """The prior's machine, and its evaluation."""
    machine = prior_of(model.architecture.prior).machine
    if backend == "numpy":
        return machine, synthesis.evaluator(machine)
    from dfmcodec.jax_backend import machine_evaluator

    return machine, machine_evaluator(machine)


def _render_latents(model: QuantizedLatents, samples: Samples, window: Window, backend: str) -> Pixels:
    machine, evaluate = _machine_of(model, backend)
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
    rows, columns = fourier.axis_positions(model.height), fourier.axis_positions(model.width)
    return render_weights(_weights_of(model), model.architecture, rows, columns, window, model.bit_depth, backend)


def _weights_of(model: QuantizedNetwork) -> Float32:
    steps = step_per_weight(model.step_indices, model.architecture.layer_sizes())
    weights: Float32 = dequantize(model.symbols, steps)
    return weights


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
            block = Window(top, left, top + height, left + width).common(wanted)
            within, of_block = block.relative_to(wanted), block.relative_to(Window(top, left, 0, 0))
            pixels[within.rows, within.columns] = values[of_block.rows, of_block.columns]
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
