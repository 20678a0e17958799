"""The decoder network and its Deep Fourier Machines, which map codes to images, for
NumPy and JAX.

The decoder network, a multilayer perceptron, maps a code z in R^D to all coefficients a_k, b_k of a
coordinate network of Fourier layers (`fourier.layer`),

    h_i(v) = sum_{k in K_i} a_k cos(2 pi k.v) + b_k sin(2 pi k.v)   (+ v where dimensions agree),

and tanh(h_d(...h_1(v(p)))) is the sample at position p. With the octaves (0,), v(p) = (x1, x2),
which is the coordinate network. With octaves (o, o', ..), v(p) holds 2^o x1, 2^o x2, 2^o' x1, ..
The set K = {0,1}^m of the first layer then holds all sums of these frequencies. The features of the
first layer are the same for all images, so the layer costs one matrix product for a complete batch.

Arrays have positions last, because the coordinate networks of a batch are products of many small
matrices with long rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from dfmcodec._types import Array, Float32
from dfmcodec.entropy.tables import MAX_SYMBOL
from dfmcodec.errors import ConfigError, CorruptError
from dfmcodec.fourier.layer import (
    FLOATS_PER_PHASE_FACTOR,
    MAX_FREQUENCIES,
    MAX_WIDTH,
    TAU,
    LayerShape,
    complex_product,
    frequency_set,
)
from dfmcodec.fourier.network import MAX_DEPTH, MAX_WEIGHTS, POSITION_DIM

Parameters = Mapping[str, Array]  # by name; see `network_shapes`
CosSin = Callable[[Array], tuple[Array, Array]]  # v -> cos(2 pi v), sin(2 pi v)
MAX_SIDE = 256  # maximum side of the training images, in pixels
MAX_CODE_DIM = 4096
MAX_HIDDEN = 8192
MAX_MAGNITUDE = MAX_SYMBOL  # of the values of a network, and of the weights of a coordinate network
_BATCH_IMAGES = 256  # maximum images that are encoded at a time


@dataclass(frozen=True)
class GenerativeArchitecture:
    """The architecture of a generative model: all that rebuilds it except for its parameters.
    Raises ConfigError if a value is out of range.
    """

    height: int  # of the training images, in pixels
    width: int  # of the training images, in pixels
    channels: int  # 1 (gray) or 3 (RGB)
    code_dim: int  # the length D of a code
    hidden: tuple[int, ...]  # the widths of the hidden layers of the decoder network; reversed in the encoder
    depth: int  # the number of Fourier layers of a coordinate network
    machine_width: int  # the dimension between these layers
    order: int  # the maximum |k|_1 of the layers after the first
    octaves: tuple[int, ...] = (0,)  # the exponents of the factors of positions; the first layer has the set {0,1}^m

    def __post_init__(self) -> None:
        limits = {
            "height": (self.height, 1, MAX_SIDE),
            "width": (self.width, 1, MAX_SIDE),
            "code dimension": (self.code_dim, 1, MAX_CODE_DIM),
            "depth": (self.depth, 1, MAX_DEPTH),
            "machine width": (self.machine_width, 1, MAX_WIDTH),
            "order": (self.order, 1, MAX_WIDTH),
            "number of octaves": (len(self.octaves), 1, 8),
            "number of hidden layers": (len(self.hidden), 0, 16),
        } | {f"hidden width {i}": (width, 1, MAX_HIDDEN) for i, width in enumerate(self.hidden)}
        for name, (value, low, high) in limits.items():
            if type(value) is not int or not low <= value <= high:
                msg = f"{name} {value} is outside {low}..{high}"
                raise ConfigError(msg)
        if type(self.channels) is not int or self.channels not in (1, 3):
            msg = f"{self.channels} channels; an image has 1 or 3"
            raise ConfigError(msg)
        in_range = all(isinstance(octave, int) and -4 <= octave <= 8 for octave in self.octaves)
        if not in_range or len(set(self.octaves)) < len(self.octaves):
            msg = f"octaves {self.octaves}; they must be different integers in -4..8"
            raise ConfigError(msg)
        largest = max(layer.frequency_count for layer in self.layers())
        if largest > MAX_FREQUENCIES or self.coefficient_count > MAX_WEIGHTS:
            size = f"{largest} frequencies in a layer and {self.coefficient_count} coefficients"
            msg = f"coordinate networks of {size} are too large"
            raise ConfigError(msg)

    def layers(self) -> tuple[LayerShape, ...]:
        """Returns the shapes of a coordinate network's Fourier layers, first to last."""
        inputs = POSITION_DIM * len(self.octaves)
        dims = [inputs] + [self.machine_width] * (self.depth - 1) + [self.channels]
        orders = [inputs] + [self.order] * (self.depth - 1)
        return tuple(LayerShape(m, n, min(order, m)) for (m, n), order in zip(pairwise(dims), orders, strict=True))

    @property
    def coefficient_count(self) -> int:
        """Returns the number of coefficients of one coordinate network."""
        return sum(layer.weight_count for layer in self.layers())

    @property
    def floats_per_position(self) -> int:
        """Returns the maximum number of intermediate values of a layer at a position."""
        return FLOATS_PER_PHASE_FACTOR * max(layer.frequency_count for layer in self.layers())

    def decoder_sizes(self) -> tuple[int, ...]:
        """Returns the widths of the decoder network, from the code to the coefficients."""
        return (self.code_dim, *self.hidden, self.coefficient_count)

    def encoder_sizes(self) -> tuple[int, ...]:
        """Returns the widths of the encoder network, from the samples to the code."""
        return (self.height * self.width * self.channels, *reversed(self.hidden), self.code_dim)


def network_shapes(prefix: str, sizes: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """Returns the names and shapes of a network's parameters: weights `<prefix>_w<i>` [inputs,
    outputs] and biases `<prefix>_b<i>` [outputs] of each layer.

    `prefix` is "decoder" or "encoder"; `sizes` are the widths, from the inputs to the outputs.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for index, (inputs, outputs) in enumerate(pairwise(sizes)):
        shapes[f"{prefix}_w{index}"] = (inputs, outputs)
        shapes[f"{prefix}_b{index}"] = (outputs,)
    return shapes


def network(parameters: Parameters, prefix: str, x: Array, xp: ModuleType) -> Array:
    """Evaluates a multilayer perceptron with rectified hidden layers: float [B, inputs] -> [B,
    outputs]. `prefix` is as in `network_shapes`, and `xp` is numpy or jax.numpy.
    """
    *_, outputs = _layer_sums(parameters, prefix, x, xp)
    return outputs


def _layer_sums(parameters: Parameters, prefix: str, x: Array, xp: ModuleType) -> Iterator[Array]:
    """Returns the sums of each layer of `network`, before they are rectified."""
    for index in range(sum(name.startswith(f"{prefix}_w") for name in parameters)):
        x = xp.maximum(x, 0) if index else x
        x = x @ parameters[f"{prefix}_w{index}"] + parameters[f"{prefix}_b{index}"][None]
        yield x


def checked_network(parameters: Parameters, prefix: str, x: Float32) -> Float32:
    """Evaluates `network` in NumPy, for parameters from outside. Raises CorruptError if a value is
    NaN or beyond `MAX_MAGNITUDE`, so hosts could give other results.
    """
    outputs = x
    with np.errstate(over="ignore", invalid="ignore"):
        for outputs in _layer_sums(parameters, prefix, x, np):
            if not np.abs(outputs).max(initial=0) <= MAX_MAGNITUDE:
                msg = (
                    f"the {prefix} network of the generative model gives numbers beyond {MAX_MAGNITUDE}; the model or "
                    "the code is damaged"
                )
                raise CorruptError(msg)
    return outputs


def exact_cos_sin(v: Array) -> tuple[Array, Array]:
    """Computes cos(2 pi v) and sin(2 pi v) of a NumPy array."""
    angles = v * np.float32(TAU)
    return np.cos(angles), np.sin(angles)


def positions(height: int, width: int, octaves: tuple[int, ...]) -> Float32:
    """Returns the inputs of the first layer at all pixels of an image, row by row; see `inputs_at`.

    x1 = column / width and x2 = row / height are in [0, 1), so any size shows the same image.
    """
    return inputs_at(np.arange(height) / height, np.arange(width) / width, octaves)


def inputs_at(
    x2: npt.NDArray[np.floating[Any]], x1: npt.NDArray[np.floating[Any]], octaves: tuple[int, ...]
) -> Float32:
    """Returns the inputs of the first layer at a grid of vertical and horizontal positions, float
    [R] and [C], row by row: float32 [2 * len(octaves), R * C]. The image spans [0, 1).

    With several octaves, x2 is negated for the last one. As in two's complement, the sums of the
    inputs are then frequencies of all directions.
    """
    at = np.stack([np.tile(x1, len(x2)), np.repeat(x2, len(x1))]).astype(np.float64)
    factors = [np.array([[2.0**octave], [2.0**octave]]) for octave in octaves]
    if len(octaves) > 1:
        factors[-1][1] *= -1  # two's complement
    return np.concatenate([at * factor for factor in factors]).astype(np.float32)


def first_features(v: Array, architecture: GenerativeArchitecture, xp: ModuleType, cos_sin: CosSin) -> Array:
    """Computes the features of the first layer, [2 |K| - 1, N], which all images share."""
    return features(v, architecture.layers()[0].order, xp, cos_sin)


def pixel_inputs(architecture: GenerativeArchitecture) -> tuple[Float32, Float32]:
    """Returns the first layer's features and inputs at all pixels of the model's images."""
    v = positions(architecture.height, architecture.width, architecture.octaves)
    return first_features(v, architecture, np, exact_cos_sin), v


def features(v: Array, order: int, xp: ModuleType, cos_sin: CosSin) -> Array:
    """Computes cos(2 pi k.v) for all k of K, then sin(2 pi k.v) for all but k = 0, float [.., 2 |K|
    - 1, N], for the inputs of a layer, float [.., m, N]. K has |k|_1 up to `order`, ordered as in
    `fourier.layer.FrequencySet`. `cos_sin` returns cos(2 pi v) and sin(2 pi v).
    """
    cos_v, sin_v = cos_sin(v)
    frequencies = frequency_set(v.shape[-2], order)
    if frequencies.order == 1:
        return xp.concatenate([xp.ones_like(v[..., :1, :]), cos_v, sin_v], axis=-2)
    cos, sin = xp.ones_like(cos_v[..., :1, :]), xp.zeros_like(cos_v[..., :1, :])
    if frequencies.is_full:
        for j in range(frequencies.dim):
            product = complex_product(cos, sin, cos_v[..., j : j + 1, :], sin_v[..., j : j + 1, :])
            cos, sin = (xp.concatenate(pair, axis=-2) for pair in zip((cos, sin), product, strict=True))
        return xp.concatenate([cos, sin[..., 1:, :]], axis=-2)
    stages = [(cos, sin)]
    for parents, tops in frequencies.growth:
        cos, sin = (part[..., parents, :] for part in stages[-1])
        stages.append(complex_product(cos, sin, cos_v[..., tops, :], sin_v[..., tops, :]))
    cos, sin = (xp.concatenate(parts, axis=-2) for parts in zip(*stages, strict=True))
    return xp.concatenate([cos, sin[..., 1:, :]], axis=-2)


def paint(
    coefficients: Array, first: Array, v: Array, architecture: GenerativeArchitecture, xp: ModuleType, cos_sin: CosSin
) -> Array:
    """Renders images, float [B, channels, N] in (-1, 1), each with its own coordinate network,
    whose coefficients, float [B, coefficient_count], are in the file order of
    `fourier.network.unpack`. The first layer has `first` features, float [2 |K_1| - 1, N], and
    inputs v, float [m, N]. See `features` for `cos_sin`.
    """
    batch, start = len(coefficients), 0
    h: Array = None
    for index, layer in enumerate(architecture.layers()):
        rows = 2 * layer.frequency_count - 1
        weights = coefficients[:, start : start + layer.weight_count].reshape(batch, rows, layer.outputs)
        weights = xp.swapaxes(weights, 1, 2)
        start += layer.weight_count
        if index == 0:
            y = (weights.reshape(batch * layer.outputs, rows) @ first).reshape(batch, layer.outputs, -1)
            h = y + v[None] if layer.inputs == layer.outputs else y
        else:
            y = weights @ features(h, layer.order, xp, cos_sin)
            h = y + h if layer.inputs == layer.outputs else y
    return xp.tanh(h)


def encode_images(parameters: Parameters, images: npt.NDArray[np.uint8]) -> Float32:
    """Computes the codes of images, uint8 [N, H, W, C], with the encoder network, float32 [N,
    code_dim]. Raises CorruptError as in `checked_network`.
    """
    batches = [images[start : start + _BATCH_IMAGES] for start in range(0, len(images), _BATCH_IMAGES)]
    codes: Float32 = np.concatenate(
        [checked_network(parameters, "encoder", encoder_input(batch, np)) for batch in batches]
    )
    return codes.astype(np.float32)


def encoder_input(images: Array, xp: ModuleType) -> Array:
    """Returns the encoder network's inputs for uint8 images: float32 [B, H * W * C] in [-1, 1]."""
    return images.reshape(len(images), -1).astype(xp.float32) / xp.float32(127.5) - xp.float32(1)
