"""The Deep Fourier Machine as a network from positions to samples.

It composes Fourier layers (`fourier.layer`). The first one takes a position in [0,1)^2, and a tanh
follows the last one. The layer is equation 4.5, the composition equation 4.6 of a thesis on Deep
Fourier Machines (title page not at hand), losses 4.7 and 4.8, algorithms 1 to 3.

The module holds the architecture of the coordinate codec, the composition itself, the positions of
pixels, and the order of the weights in a file.
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
from dfmcodec.codecs.registry import Model
from dfmcodec.errors import ConfigError, LimitError
from dfmcodec.fourier.layer import MAX_FREQUENCIES, MAX_WIDTH, LayerShape, Weights, fourier_sum
from dfmcodec.image import check_channels

POSITION_DIM = 2  # x1, x2
MAX_DEPTH = 64
MAX_WEIGHTS = 1 << 22
BLOCK_PIXELS = 2048  # positions evaluated at a time, so that their features stay in the processor's cache
MAX_MULTIPLY_ADDS = 1 << 37  # of the layers at all positions of an image; see docs/format.md, "Refusals and limits"
_BLOCK_ROWS, _BLOCK_COLUMNS = 32, BLOCK_PIXELS // 32  # of a block at most
_BLOCK_FLOATS = 1 << 23  # of intermediate numbers in a block


@dataclass(frozen=True)
class CoordinateArchitecture:
    """The published network: x in [0,1)^2 -> `depth` Fourier layers of `width` -> `channels`.

    Args:
        channels: The number of outputs of the last layer, 1 (gray) or 3 (RGB).
        depth: The number of Fourier layers, at least 1.
        width: The dimension between layers.
        order: The largest |k|_1. An order that is not less than a layer's input dimension gives the
            published full set {0,1}^m.

    Raises:
        ConfigError: A value is outside the range of the file format.
    """

    channels: int
    depth: int
    width: int
    order: int
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
        """The number of weights of all layers."""
        return sum(layer.weight_count for layer in self.layers())

    @property
    def multiply_adds(self) -> int:
        """The multiply-adds at a position, by which the time to decode is limited."""
        return sum(layer.multiply_adds for layer in self.layers())

    @property
    def floats_per_position(self) -> int:
        """The largest number of intermediate numbers at a position."""
        return max(layer.floats_per_position for layer in self.layers())

    @property
    def float_bytes(self) -> int:
        """The size of the weights as float32, as the publication counts it (b_0 included)."""
        return 4 * sum(2 * layer.frequency_count * layer.outputs for layer in self.layers())

    @property
    def macs_per_pixel(self) -> int:
        """The multiply-adds of the layers' sums over k, without those of the phase factors."""
        return self.weight_count

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
    """Evaluates the composed layers and the tanh, with a residual where dimensions agree.

    Args:
        weights: (a, b) of each layer, first to last.
        v: Positions in [0, 1), float [N, 2].
        order: The largest |k|_1 in every layer.
        xp: numpy or jax.numpy.
        layer_sum: Evaluates `fourier_sum`; the encoder gives a version with a derivative of its
            own.

    Returns:
        Samples in (-1, 1), float [N, channels].
    """
    for a, b in weights:
        y = layer_sum(v, a, b, order, xp)
        v = y + v if v.shape[1] == y.shape[1] else y
    return xp.tanh(v)


def block_positions(architecture: CoordinateArchitecture) -> int:
    """The number of positions to evaluate at a time, so that memory does not grow with the network.

    Returns:
        1..BLOCK_PIXELS.
    """
    return max(1, min(BLOCK_PIXELS, _BLOCK_FLOATS // architecture.floats_per_position))


def block_shape(architecture: CoordinateArchitecture, height: int, width: int) -> tuple[int, int]:
    """The rows and columns of the blocks in which a grid of positions is evaluated.

    Args:
        architecture: The network.
        height: The rows of the grid.
        width: The columns of the grid. No block is larger than the grid.
    """
    most = block_positions(architecture)
    columns = min(_BLOCK_COLUMNS, most, width)
    return min(_BLOCK_ROWS, max(1, most // columns), height), columns


def check_multiply_adds(each: int, positions: int, limit: int) -> None:
    """Refuses a network that takes too long, before memory or time is spent on it.

    Args:
        each: The multiply-adds of the network at a position.
        positions: The number of positions at which it is to be evaluated.
        limit: The largest number of multiply-adds at all of them.

    Raises:
        LimitError: The network takes more.
    """
    if each * positions > limit:
        msg = (
            f"the network takes {each} multiply-adds at each of {positions} positions, more than the limit of {limit} "
            "in all; decode a region or a smaller size, or raise the limit (max_multiply_adds) if you trust the file"
        )
        raise LimitError(msg)


def axis_positions(side: int) -> npt.NDArray[np.float32]:
    """Returns the positions of pixels along an axis, float32 [side] in [0, 1).

    They are x1 = column / W and x2 = row / H.
    """
    return (np.arange(side, dtype=np.float64) / side).astype(np.float32)


def unpack(flat: Array, architecture: CoordinateArchitecture, xp: ModuleType) -> list[Weights]:
    """Splits weights in file order into (a, b) of each layer; b gets its idle row 0.

    Args:
        flat: float [weight_count].
        architecture: The network.
        xp: numpy or jax.numpy.
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
