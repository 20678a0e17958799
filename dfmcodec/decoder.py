"""bytes -> Image: entropy decoding, then every pixel by itself through the network."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from dfmcodec import bitstream, fourier, synthesis
from dfmcodec.errors import ConfigError
from dfmcodec.image import MAX_PIXELS, Image, Pixels, samples_to_levels
from dfmcodec.model import CoordinateArchitecture, QuantizedModel, QuantizedNetwork
from dfmcodec.picture_filter import filter_correction
from dfmcodec.prior import prior_of
from dfmcodec.quantize import dequantize, step_per_weight

Float32 = npt.NDArray[np.float32]
BACKENDS = ("numpy", "jax")


def decode_image(data: bytes, backend: str = "numpy", max_pixels: int = MAX_PIXELS) -> Image:
    """Decodes a whole `.dfm` file.

    Args:
        data: The file's bytes.
        backend: "numpy" or "jax".
        max_pixels: Larger pictures are refused before any memory is spent on them.

    Raises:
        FormatError: The file is not readable.
        ConfigError: The backend is unknown.
    """
    model, metadata = bitstream.read(data, max_pixels)
    return Image(render(model, backend), metadata)


def render(model: QuantizedModel, backend: str = "numpy") -> Pixels:
    """Evaluates a quantised model at every pixel. uint8 [H, W, C]."""
    _check_backend(backend)
    if isinstance(model, QuantizedNetwork):
        return _render_network(model, backend)
    machine = prior_of(model.architecture.prior).machine
    if backend == "jax":
        from dfmcodec.jax_backend import machine_evaluator

        evaluate = machine_evaluator(machine)
    else:
        evaluate = synthesis.evaluator(machine)
    added = None if model.picture_filter is None else filter_correction(model.samples, model.picture_filter)
    return synthesis.synthesise(model.samples, model.step, model.chroma_angle, machine.reach, evaluate, added)


def _check_backend(backend: str) -> None:
    if backend not in BACKENDS:
        msg = f"unknown backend {backend!r}; choose one of {', '.join(BACKENDS)}"
        raise ConfigError(msg)


def _render_network(model: QuantizedNetwork, backend: str) -> Pixels:
    arch = model.architecture
    weights = dequantize(model.symbols, step_per_weight(model.step_indices, arch.layer_sizes()))
    return render_weights(weights, arch, model.height, model.width, backend)


def render_weights(
    weights: Float32, architecture: CoordinateArchitecture, height: int, width: int, backend: str = "numpy"
) -> Pixels:
    """Evaluates a network of float32 weights [weight_count] at every pixel. uint8 [H, W, C]."""
    evaluate = _evaluator(weights, architecture, backend)
    pixels = np.empty((height * width, architecture.channels), dtype=np.uint8)
    block_rows = max(1, 65_536 // width)
    for row in range(0, height, block_rows):
        v = fourier.positions(height, width, row, min(row + block_rows, height))
        for start in range(0, len(v), fourier.BLOCK_PIXELS):
            first = row * width + start
            block = v[start : start + fourier.BLOCK_PIXELS]
            pixels[first : first + len(block)] = samples_to_levels(evaluate(block))
    return pixels.reshape(height, width, architecture.channels)


def _evaluator(flat: Float32, architecture: CoordinateArchitecture, backend: str) -> Callable[[Float32], Float32]:
    if backend == "numpy":
        weights = fourier.unpack(flat, architecture, np)

        def evaluate(v: Float32) -> Float32:
            samples: Float32 = fourier.machine(weights, v, architecture.order, np)
            return samples

        return evaluate
    from dfmcodec.jax_backend import evaluator

    return evaluator(flat, architecture)
