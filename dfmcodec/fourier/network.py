"""Deep Fourier Machine: the network from positions to samples.

It composes Fourier layers; see `fourier.layer`, also for the publication. The first layer takes a
position in [0,1)^2, and a tanh follows the last layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from dfmcodec._types import Array
from dfmcodec.errors import ConfigError, LimitError
from dfmcodec.fourier.layer import MAX_FREQUENCIES, MAX_WIDTH, LayerShape, Weights, fourier_sum
from dfmcodec.image import check_channels
from dfmcodec.models import Model

POSITION_DIM = 2  # x1, x2
MAX_DEPTH = 64
MAX_WEIGHTS = 1 << 22
BLOCK_PIXELS = 2048  # positions evaluated at a time, to keep their features in the cache
MAX_MULTIPLY_ADDS = 1 << 37  # of the layers at all positions of an image; see docs/format.md, "Refusals and limits"
_BLOCK_ROWS, _BLOCK_COLUMNS = 32, BLOCK_PIXELS // 32  # maximum size of a block
_BLOCK_FLOATS = 1 << 23  # maximum number of intermediate values in a block


@dataclass(frozen=True)
class CoordinateArchitecture:
    """Architecture of the published network: x in [0,1)^2 -> `depth` Fourier layers of `width` ->
    `channels`. Raises ConfigError if a value exceeds the range of the file format.
    """

    channels: int  # the number of outputs of the last layer, 1 (gray) or 3 (RGB)
    depth: int  # the number of Fourier layers, at least 1
    width: int  # the dimension between layers
    order: int  # the largest |k|_1; from the number of inputs of a layer on, its set is {0,1}^m
    model: ClassVar[Model] = Model.COORDINATE

    def __post_init__(self) -> None:
        for name, low, high in (("depth", 1, MAX_DEPTH), ("width", 1, MAX_WIDTH), ("order", 1, MAX_WIDTH)):
            value = getattr(self, name)
            if not low <= value <= high:
                msg = f"{name} {value} is outside {low}..{high}"
                raise ConfigError(msg)
        check_channels(self.channels)
        largest = max(layer.frequency_count for layer in self.layers())
        if largest > MAX_FREQUENCIES:
            msg = (
                f"width {self.width} with order {self.order} needs {largest} frequencies a layer, "
                f"more than {MAX_FREQUENCIES}; lower the width or the order"
            )
            raise ConfigError(msg)
        if self.weight_count > MAX_WEIGHTS:
            msg = f"the network has {self.weight_count} weights, more than {MAX_WEIGHTS}"
            raise ConfigError(msg)

    def layers(self) -> tuple[LayerShape, ...]:
        """Returns the shapes of the layers, first to last."""
        dims = [POSITION_DIM] + [self.width] * (self.depth - 1) + [self.channels]
        return tuple(LayerShape(m, n, min(self.order, m)) for m, n in pairwise(dims))

    def layer_sizes(self) -> tuple[int, ...]:
        """Returns the number of weights of each layer, in file order."""
        return tuple(layer.weight_count for layer in self.layers())

    @property
    def weight_count(self) -> int:
        """Returns the number of weights in all layers."""
        return sum(layer.weight_count for layer in self.layers())

    @property
    def multiply_adds(self) -> int:
        """Returns the multiply-adds per position, which limit the decoding time."""
        return sum(layer.multiply_adds for layer in self.layers())

    @property
    def floats_per_position(self) -> int:
        """Returns the largest number of intermediate values per position in any layer."""
        return max(layer.floats_per_position for layer in self.layers())

    def as_dict(self) -> dict[str, Any]:
        """Returns plain values for reports."""
        return {
            "model": self.model.value,
            "channels": self.channels,
            "depth": self.depth,
            "width": self.width,
            "order": self.order,
            "weights": self.weight_count,
        }


def deep_fourier_machine(
    weights: Sequence[Weights], v: Array, order: int, xp: ModuleType, layer_sum: Any = fourier_sum
) -> Array:
    """Evaluates the composed layers, with weights (a, b) from first to last, and the tanh:
    positions in [0, 1), float [N, 2], -> samples in (-1, 1), float [N, channels]. Layers with equal
    input and output dimensions have a residual connection. The largest |k|_1 in every layer is
    `order`. `layer_sum` evaluates `fourier_sum`; the encoder passes a version with a custom
    derivative.
    """
    for a, b in weights:
        y = layer_sum(v, a, b, order, xp)
        v = y + v if v.shape[1] == y.shape[1] else y
    return xp.tanh(v)


def block_positions(architecture: CoordinateArchitecture) -> int:
    """Returns the number of positions to evaluate at a time, 1..BLOCK_PIXELS; it limits memory."""
    return max(1, min(BLOCK_PIXELS, _BLOCK_FLOATS // architecture.floats_per_position))


def block_shape(architecture: CoordinateArchitecture, height: int, width: int) -> tuple[int, int]:
    """Returns the rows and columns of the blocks in which a grid of positions is evaluated."""
    most = block_positions(architecture)
    columns = min(_BLOCK_COLUMNS, most, width)
    return min(_BLOCK_ROWS, max(1, most // columns), height), columns


def check_multiply_adds(each: int, positions: int, limit: int) -> None:
    """Raises an error for a network that takes too long, before it is evaluated. Raises LimitError
    if the multiply-adds of each position exceed the limit for all positions.
    """
    if each * positions > limit:
        msg = (
            f"the network takes {each} multiply-adds at each of {positions} positions, more than the limit of {limit} "
            "in all; decode a region or a smaller size, or raise the limit (max_multiply_adds) if you trust the file"
        )
        raise LimitError(msg)


def axis_positions(side: int) -> npt.NDArray[np.float32]:
    """Returns the positions of pixels along an axis, index / side, float32 [side] in [0, 1)."""
    return (np.arange(side, dtype=np.float64) / side).astype(np.float32)


def unpack(flat: Array, architecture: CoordinateArchitecture, xp: ModuleType) -> list[Weights]:
    """Splits weights in file order, float [weight_count], into (a, b) of each layer. A row of zeros
    is inserted for b_0.

    Each layer has a [|K|, n], then b without its idle row for k = 0, [|K| - 1, n], both row by row
    in the order of `layer.FrequencySet`.
    """
    weights: list[Weights] = []
    start = 0
    for layer in architecture.layers():
        a, start = _take(flat, start, layer, layer.frequency_count)
        b, start = _take(flat, start, layer, layer.frequency_count - 1)
        weights.append((a, xp.concatenate([xp.zeros_like(a[:1]), b], axis=0)))
    return weights


def _take(flat: Array, start: int, layer: LayerShape, rows: int) -> tuple[Array, int]:
    """Returns the next `rows` rows of a layer's weights, and the position after them."""
    stop = start + rows * layer.outputs
    return flat[start:stop].reshape(rows, layer.outputs), stop
