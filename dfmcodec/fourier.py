"""The Fourier layer and the Deep Fourier Machine, one definition for NumPy and JAX.

A layer maps v in R^m to R^n by

    h(v) = sum_{k in K} a_k cos(2 pi k.v) + b_k sin(2 pi k.v)   (+ v when m = n)

with K = {0,1}^m, or those k of it with |k|_1 <= order. The machine composes layers, the first one applied
to a position in [0,1)^2, and ends in a tanh.

The phase factors e^{2 pi i k.v} are products of the m numbers e^{2 pi i v_j}, so no layer calls cos and sin
more than m times. A full K is the product of the sets over two halves of the coordinates,
k = (k_A, k_B): with c_k = a_k - i b_k,

    h(v) = Re sum_{k_A} e_{k_A} ( sum_{k_B} e_{k_B} c_{(k_A, k_B)} ),

the inner sum one real matrix product, the outer one 2 * 2^{m/2} multiply-adds. A truncated K does not split;
it is the case K_A = {0}.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import pi
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from dfmcodec.model import CoordinateArchitecture, LayerShape

TAU = 2 * pi
BLOCK_PIXELS = 2048  # positions evaluated at a time: their features stay in the processor's cache

Array = Any  # numpy.ndarray or jax.Array
Weights = tuple[Array, Array]  # a [|K|, n] and b [|K|, n] of one layer; b[0] has no effect


@dataclass(frozen=True)
class FrequencySet:
    """The frequencies K of a layer with `dim` inputs: all of {0,1}^dim with |k|_1 <= order.

    Rows of a full set are ordered by the binary value sum_j k_j 2^j, so that row r = r_A + 2^{|A|} r_B;
    rows of a truncated set by (|k|_1, binary value). Row 0 is always k = 0.
    """

    dim: int
    order: int

    @property
    def is_full(self) -> bool:
        return self.order >= self.dim

    @property
    def split(self) -> int:
        """Number of coordinates in half A; 0 where K is truncated."""
        return self.dim // 2 if self.is_full else 0

    @cached_property
    def rows(self) -> npt.NDArray[np.uint64]:
        """Binary values of the frequencies, in row order. uint64 [|K|]: a layer may have 64 inputs."""
        values = np.arange(1 << self.dim, dtype=np.uint64) if self.dim <= 20 else self._truncated_values()
        ones = _count_ones(values)
        values, ones = values[ones <= self.order], ones[ones <= self.order]
        return values if self.is_full else values[np.lexsort((values, ones))]

    def _truncated_values(self) -> npt.NDArray[np.uint64]:
        level = {0}
        values = {0}
        for _ in range(self.order):
            level = {value | 1 << bit for value in level for bit in range(self.dim) if not value >> bit & 1}
            values |= level
        return np.array(sorted(values), dtype=np.uint64)

    @cached_property
    def vectors(self) -> npt.NDArray[np.float32]:
        """The frequencies as 0/1 vectors, float32 [|K|, dim]."""
        return ((self.rows[:, None] >> np.arange(self.dim, dtype=np.uint64)) & np.uint64(1)).astype(np.float32)

    @cached_property
    def growth(self) -> tuple[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]], ...]:
        """How the rows of a truncated set follow from earlier ones, one step for each |k|_1 = 1..order.

        Each step is (parents, coordinates): the new row is row `parent` times e^{2 pi i v_coordinate}.
        """
        row_of = {int(value): row for row, value in enumerate(self.rows)}
        ones = _count_ones(self.rows)
        steps = []
        for level in range(1, self.order + 1):
            values = [int(value) for value in self.rows[ones == level]]
            tops = np.array([value.bit_length() - 1 for value in values], dtype=np.int64)
            parents = np.array([row_of[value ^ (1 << value.bit_length() - 1)] for value in values])
            steps.append((parents, tops))
        return tuple(steps)


def _count_ones(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    bits = ((values >> np.uint64(bit)) & np.uint64(1) for bit in range(64))
    return sum(bits, start=np.zeros_like(values))


@lru_cache(maxsize=64)
def frequency_set(dim: int, order: int) -> FrequencySet:
    """The (cached) frequency set of a layer."""
    return FrequencySet(dim, min(order, dim))


def phase_factors(v: Array, frequencies: FrequencySet, xp: ModuleType) -> tuple[Array, Array]:
    """cos and sin of 2 pi k.v for all k of `frequencies`, by products.

    Args:
        v: float [N, dim].
        frequencies: The set K.
        xp: numpy or jax.numpy.

    Returns:
        Two arrays float [N, |K|] in row order.
    """
    cos_v, sin_v = xp.cos(TAU * v), xp.sin(TAU * v)
    cos, sin = xp.ones_like(v[:, :1]), xp.zeros_like(v[:, :1])
    if frequencies.is_full:
        for j in range(frequencies.dim):
            cos, sin = _append_product(cos, sin, cos, sin, cos_v[:, j : j + 1], sin_v[:, j : j + 1], xp)
    else:
        for parents, tops in frequencies.growth:
            factors = cos_v[:, tops], sin_v[:, tops]
            cos, sin = _append_product(cos, sin, cos[:, parents], sin[:, parents], *factors, xp)
    return cos, sin


def _append_product(
    cos: Array, sin: Array, cos_1: Array, sin_1: Array, cos_2: Array, sin_2: Array, xp: ModuleType
) -> tuple[Array, Array]:
    product = cos_1 * cos_2 - sin_1 * sin_2, sin_1 * cos_2 + cos_1 * sin_2
    return xp.concatenate([cos, product[0]], axis=1), xp.concatenate([sin, product[1]], axis=1)


def split_phase_factors(v: Array, frequencies: FrequencySet, xp: ModuleType) -> tuple[Array, Array]:
    """[cos | sin] of the two halves, float [N, 2 |K_A|] and [N, 2 |K_B|]."""
    split, order = frequencies.split, frequencies.order
    if split == 0:
        half_a = xp.concatenate([xp.ones_like(v[:, :1]), xp.zeros_like(v[:, :1])], axis=1)
    else:
        half_a = xp.concatenate(phase_factors(v[:, :split], frequency_set(split, order), xp), axis=1)
    rest = frequency_set(frequencies.dim - split, order)
    return half_a, xp.concatenate(phase_factors(v[:, split:], rest, xp), axis=1)


def contraction_matrix(a: Array, b: Array, frequencies: FrequencySet, xp: ModuleType) -> Array:
    """The real matrix M of the inner sum: [cos_B | sin_B] @ M = [Re | Im'] of sum_B e_B c, by k_A and output.

    Returns:
        float [2 |K_B|, 2 |K_A| n].
    """
    size_a = 1 << frequencies.split
    a, b = a.reshape(-1, size_a * a.shape[1]), b.reshape(-1, size_a * b.shape[1])
    return xp.concatenate([xp.concatenate([a, b], axis=1), xp.concatenate([b, -a], axis=1)], axis=0)


def fourier_sum(v: Array, a: Array, b: Array, order: int, xp: ModuleType) -> Array:
    """sum_{k in K} a_k cos(2 pi k.v) + b_k sin(2 pi k.v), the layer without its residual.

    Args:
        v: float [N, m].
        a: float [|K|, n].
        b: float [|K|, n]; row 0 has no effect.
        order: Largest |k|_1.
        xp: numpy or jax.numpy.

    Returns:
        float [N, n].
    """
    frequencies = frequency_set(v.shape[1], order)
    if frequencies.order == 1 and not frequencies.is_full:  # k = 0 and the unit vectors: nothing to multiply
        angles = v * xp.float32(TAU)
        return xp.cos(angles) @ a[1:] + xp.sin(angles) @ b[1:] + a[:1]
    half_a, half_b = split_phase_factors(v, frequencies, xp)
    if frequencies.split == 0:
        return half_b @ xp.concatenate([a, b], axis=0)
    inner = half_b @ contraction_matrix(a, b, frequencies, xp)
    return outer_sum(half_a, inner.reshape(v.shape[0], half_a.shape[1], a.shape[1]), xp)


def outer_sum(half_a: Array, inner: Array, xp: ModuleType) -> Array:
    """The sum over k_A: float [N, 2 |K_A|] with [N, 2 |K_A|, n] -> [N, n]."""
    if xp is np:
        return np.matmul(half_a[:, None, :], inner)[:, 0, :]
    return (half_a[:, :, None] * inner).sum(axis=1)


def machine(weights: Sequence[Weights], v: Array, order: int, xp: ModuleType, layer_sum: Any = fourier_sum) -> Array:
    """The Deep Fourier Machine: tanh of the composed layers, residual where dimensions agree.

    Args:
        weights: (a, b) of each layer, first to last.
        v: Positions, float [N, 2] in [0, 1).
        order: Largest |k|_1 in every layer.
        xp: numpy or jax.numpy.
        layer_sum: Evaluation of `fourier_sum`; the encoder gives one with its own derivative.

    Returns:
        Samples in (-1, 1), float [N, channels].
    """
    for a, b in weights:
        y = layer_sum(v, a, b, order, xp)
        v = y + v if v.shape[1] == y.shape[1] else y
    return xp.tanh(v)


def axis_positions(side: int) -> npt.NDArray[np.float32]:
    """Positions of pixels along an axis: x1 = column / W, x2 = row / H, in [0,1). float32 [side]."""
    return (np.arange(side, dtype=np.float64) / side).astype(np.float32)


def unpack(flat: Array, architecture: CoordinateArchitecture, xp: ModuleType) -> list[Weights]:
    """Splits the weights in file order into (a, b) of each layer; b gets its idle row 0.

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


def ones_per_weight(layer: LayerShape) -> npt.NDArray[np.int64]:
    """|k|_1 of each weight of a layer, in file order. int64 [layer.weight_count]."""
    ones = frequency_set(layer.inputs, layer.order).vectors.sum(axis=1).astype(np.int64)
    return np.repeat(np.concatenate([ones, ones[1:]]), layer.outputs)


def _take(flat: Array, start: int, layer: LayerShape, rows: int) -> tuple[Array, int]:
    stop = start + rows * layer.outputs
    return flat[start:stop].reshape(rows, layer.outputs), stop
