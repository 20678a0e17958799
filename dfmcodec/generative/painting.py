"""From codes to pictures: the decoder network and its Fourier machines, one definition for NumPy and JAX.

A decoder network (an MLP) maps a code z in R^D to all coefficients a_k, b_k of a machine of `dfmcodec.fourier`'s
layers,

    h_i(v) = sum_{k in K_i} a_k cos(2 pi k.v) + b_k sin(2 pi k.v)   (+ v where dimensions agree),

and tanh(h_d(...h_1(v(p)))) is the sample at position p. With the octaves (0,), v(p) = (x1, x2), the published machine;
with octaves (o, o', ..), v(p) holds 2^o x1, 2^o x2, 2^o' x1, ..: K = {0,1}^m of the first layer is then all sums of
these frequencies, and its features are the same for all pictures, so that it costs one matrix product for a whole
batch.

Arrays have positions last: machines of a batch are products of many small matrices with long rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from dfmcodec.errors import ConfigError
from dfmcodec.fourier import TAU, frequency_set
from dfmcodec.model import MAX_DEPTH, MAX_FREQUENCIES, MAX_WEIGHTS, MAX_WIDTH, POSITION_DIM, LayerShape

Array = Any  # numpy.ndarray or jax.Array
Float32 = npt.NDArray[np.float32]
Parameters = Mapping[str, Array]  # by name, see `network_shapes`
CosSin = Callable[[Array], tuple[Array, Array]]  # v -> cos 2 pi v, sin 2 pi v

MAX_SIDE = 256  # of training pictures
MAX_CODE_DIM = 4096
MAX_HIDDEN = 8192
_ENCODED = 256  # pictures at a time


@dataclass(frozen=True)
class GenerativeArchitecture:
    """All that rebuilds a generative model but its parameters.

    Args:
        height: Of the training pictures, in pixels.
        width: Of the training pictures.
        channels: 1 (gray) or 3 (RGB).
        code_dim: Length D of a code.
        hidden: Widths of the decoder network's (and the mirrored encoder's) hidden layers.
        depth: Fourier layers of a machine.
        machine_width: Dimension between them.
        order: Largest |k|_1 of the layers after the first.
        octaves: Exponents of the factors by which positions enter the first layer, whose K is full.

    Raises:
        ConfigError: A value is out of range.
    """

    height: int
    width: int
    channels: int
    code_dim: int
    hidden: tuple[int, ...]
    depth: int
    machine_width: int
    order: int
    octaves: tuple[int, ...] = (0,)

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
            msg = f"{self.channels} channels; a picture has 1 or 3"
            raise ConfigError(msg)
        known = all(isinstance(octave, int) and -4 <= octave <= 8 for octave in self.octaves)
        if not known or len(set(self.octaves)) < len(self.octaves):
            msg = f"octaves {self.octaves}; they are different whole numbers in -4..8"
            raise ConfigError(msg)
        largest = max(layer.frequency_count for layer in self.layers())
        if largest > MAX_FREQUENCIES or self.coefficient_count > MAX_WEIGHTS:
            msg = f"machines of {largest} frequencies a layer and {self.coefficient_count} coefficients are too large"
            raise ConfigError(msg)

    def layers(self) -> tuple[LayerShape, ...]:
        """Shapes of a machine's layers, first to last."""
        inputs = POSITION_DIM * len(self.octaves)
        dims = [inputs] + [self.machine_width] * (self.depth - 1) + [self.channels]
        orders = [inputs] + [self.order] * (self.depth - 1)
        return tuple(LayerShape(m, n, min(order, m)) for (m, n), order in zip(pairwise(dims), orders, strict=True))

    @property
    def coefficient_count(self) -> int:
        """Of one machine."""
        return sum(layer.weight_count for layer in self.layers())

    def decoder_sizes(self) -> tuple[int, ...]:
        """Widths of the decoder network, from the code to the coefficients."""
        return (self.code_dim, *self.hidden, self.coefficient_count)

    def encoder_sizes(self) -> tuple[int, ...]:
        """Widths of the encoder network, from the samples to the code."""
        return (self.height * self.width * self.channels, *reversed(self.hidden), self.code_dim)

    @property
    def decoder_parameter_count(self) -> int:
        return sum((m + 1) * n for m, n in pairwise(self.decoder_sizes()))


def network_shapes(prefix: str, sizes: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of an MLP's parameters: weights [inputs, outputs] and biases [outputs] of each layer."""
    shapes: dict[str, tuple[int, ...]] = {}
    for index, (inputs, outputs) in enumerate(pairwise(sizes)):
        shapes[f"{prefix}_w{index}"] = (inputs, outputs)
        shapes[f"{prefix}_b{index}"] = (outputs,)
    return shapes


def network(parameters: Parameters, prefix: str, x: Array, xp: ModuleType) -> Array:
    """An MLP with rectified hidden layers. float [B, inputs] -> float [B, outputs]."""
    last = sum(name.startswith(f"{prefix}_w") for name in parameters) - 1
    for index in range(last + 1):
        x = x @ parameters[f"{prefix}_w{index}"] + parameters[f"{prefix}_b{index}"]
        x = xp.maximum(x, 0) if index < last else x
    return x


def exact_cos_sin(v: Array) -> tuple[Array, Array]:
    """cos 2 pi v and sin 2 pi v of a NumPy array."""
    angles = v * np.float32(TAU)
    return np.cos(angles), np.sin(angles)


def positions(height: int, width: int, octaves: tuple[int, ...]) -> Float32:
    """First-layer inputs of the positions of all pixels, row by row: those of a picture's `height` x `width` pixels.

    x1 = column / width and x2 = row / height lie in [0,1), so any size shows the same picture.

    Returns:
        float32 [2 * len(octaves), height * width].
    """
    return inputs_at(np.arange(height) / height, np.arange(width) / width, octaves)


def inputs_at(
    x2: npt.NDArray[np.floating[Any]], x1: npt.NDArray[np.floating[Any]], octaves: tuple[int, ...]
) -> Float32:
    """First-layer inputs of a grid of positions, row by row.

    Args:
        x2: Vertical positions, float [R]; the picture spans [0, 1).
        x1: Horizontal positions, float [C].
        octaves: Exponents of the factors. Of several the last one's x2 is negative: then the sums of the inputs, as
            numbers in two's complement are, are frequencies of all directions.

    Returns:
        float32 [2 * len(octaves), R * C].
    """
    at = np.stack([np.tile(x1, len(x2)), np.repeat(x2, len(x1))]).astype(np.float64)
    factors = [np.array([[2.0**octave], [2.0**octave]]) for octave in octaves]
    if len(octaves) > 1:
        factors[-1][1] *= -1  # two's complement
    return np.concatenate([at * factor for factor in factors]).astype(np.float32)


def first_features(v: Array, architecture: GenerativeArchitecture, xp: ModuleType, cos_sin: CosSin) -> Array:
    """Features of the first layer, the same for all pictures. float [m, N] -> float [2 |K| - 1, N]."""
    return features(v, architecture.layers()[0].order, xp, cos_sin)


def pixel_inputs(architecture: GenerativeArchitecture) -> tuple[Float32, Float32]:
    """The first layer's features and inputs at all pixels of a picture of the model's size, as `paint` takes them."""
    v = positions(architecture.height, architecture.width, architecture.octaves)
    return first_features(v, architecture, np, exact_cos_sin), v


def features(v: Array, order: int, xp: ModuleType, cos_sin: CosSin) -> Array:
    """cos(2 pi k.v) for all k of K, then sin(2 pi k.v) for all but k = 0, in the order of `fourier.FrequencySet`.

    Args:
        v: float [.., m, N].
        order: Largest |k|_1.
        xp: numpy or jax.numpy.
        cos_sin: cos and sin of 2 pi v.

    Returns:
        float [.., 2 |K| - 1, N].
    """
    cos_v, sin_v = cos_sin(v)
    one = xp.ones_like(v[..., :1, :])
    frequencies = frequency_set(v.shape[-2], order)
    if frequencies.order == 1:
        return xp.concatenate([one, cos_v, sin_v], axis=-2)
    cos, sin = one, xp.zeros_like(one)
    if frequencies.is_full:
        for j in range(frequencies.dim):
            cos_j, sin_j = cos_v[..., j : j + 1, :], sin_v[..., j : j + 1, :]
            product = cos * cos_j - sin * sin_j, sin * cos_j + cos * sin_j
            cos, sin = (xp.concatenate(pair, axis=-2) for pair in ((cos, product[0]), (sin, product[1])))
    else:
        for parents, tops in frequencies.growth:
            cos_p, sin_p, cos_t, sin_t = (
                cos[..., parents, :],
                sin[..., parents, :],
                cos_v[..., tops, :],
                sin_v[..., tops, :],
            )
            product = cos_p * cos_t - sin_p * sin_t, sin_p * cos_t + cos_p * sin_t
            cos, sin = (xp.concatenate(pair, axis=-2) for pair in ((cos, product[0]), (sin, product[1])))
    return xp.concatenate([cos, sin[..., 1:, :]], axis=-2)


def paint(
    coefficients: Array, first: Array, v: Array, architecture: GenerativeArchitecture, xp: ModuleType, cos_sin: CosSin
) -> Array:
    """Samples of pictures, each by its own machine.

    Args:
        coefficients: float [B, coefficient_count], of each machine in the file order of `fourier.unpack`.
        first: `first_features` of the positions, float [2 |K_1| - 1, N].
        v: The positions as the first layer takes them, float [m, N].
        architecture: The model.
        xp: numpy or jax.numpy.
        cos_sin: cos and sin of 2 pi v.

    Returns:
        float [B, channels, N] in (-1, 1).
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
            h = y + v if layer.inputs == layer.outputs else y
        else:
            y = weights @ features(h, layer.order, xp, cos_sin)
            h = y + h if layer.inputs == layer.outputs else y
    return xp.tanh(h)


def encode_pictures(parameters: Parameters, pictures: npt.NDArray[np.uint8]) -> Float32:
    """The encoder's codes of uint8 [N, H, W, C], float32 [N, code_dim]."""
    parts = [pictures[start : start + _ENCODED] for start in range(0, len(pictures), _ENCODED)]
    codes: Float32 = np.concatenate([network(parameters, "encoder", encoder_input(part, np), np) for part in parts])
    return codes.astype(np.float32)


def encoder_input(pictures: Array, xp: ModuleType) -> Array:
    """What the encoder takes of integer samples [B, H, W, C] or [B, H * W, C]: float32 [B, H * W * C] in -1..1."""
    return (pictures.reshape(len(pictures), -1) / xp.float32(127.5) - 1).astype(xp.float32)
