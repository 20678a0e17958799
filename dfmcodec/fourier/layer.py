"""Fourier layer and its set of frequencies, with one definition for NumPy and JAX.

A layer maps v in R^m to R^n by

    h(v) = sum_{k in K} a_k cos(2 pi k.v) + b_k sin(2 pi k.v)   (+ v when m = n)

where K = {0,1}^m, or those k in it with |k|_1 <= order. The layer is equation 4.5 and the
composition equation 4.6 of a thesis on Deep Fourier Machines (title page not at hand), with losses
4.7 and 4.8 and algorithms 1 to 3. The composition is in `fourier.network`.

The phase factors e^{2 pi i k.v} are products of the m numbers e^{2 pi i v_j}, so a layer computes
cos and sin at most m times. Let k_A and k_B be the two halves of the coordinates of k. A full K is
the product of the sets of k_A and k_B. With c_k = a_k - i b_k,

    h(v) = Re sum_{k_A} e_{k_A} ( sum_{k_B} e_{k_B} c_{(k_A, k_B)} ),

where the inner sum is one real matrix product, and the outer sum takes 2 * 2^{m/2} multiply-adds. A
truncated K cannot be split; it is the case K_A = {0}.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import comb, pi
from types import ModuleType

import numpy as np
import numpy.typing as npt

from dfmcodec._types import Array

TAU = 2 * pi
MAX_WIDTH = 64
MAX_FREQUENCIES = 1 << 16
PHASE_FACTOR_MULTIPLY_ADDS = 64  # time of e^{2 pi i k.v}, which moves through memory several times
FLOATS_PER_PHASE_FACTOR = 6  # cosine, sine, the products that form them, and copies
Weights = tuple[Array, Array]  # a [|K|, n] and b [|K|, n] of one layer; b[0] has no effect


@dataclass(frozen=True)
class LayerShape:
    """Shape of a Fourier layer R^m -> R^n over the frequencies |k|_1 <= order of {0,1}^m."""

    inputs: int  # m
    outputs: int  # n
    order: int  # the largest |k|_1

    @property
    def frequency_count(self) -> int:
        """Returns the size |K| of the frequency set."""
        return sum(comb(self.inputs, ones) for ones in range(self.order + 1))

    @property
    def weight_count(self) -> int:
        """Returns the number of weights a_k and b_k without b_0, which multiplies sin(0)."""
        return (2 * self.frequency_count - 1) * self.outputs

    @property
    def phase_factor_count(self) -> int:
        """Returns the number of computed phase factors e^{2 pi i k.v}; of both halves, if full."""
        if self.order < self.inputs:
            return self.frequency_count
        half = self.inputs // 2
        return (1 << half) + (1 << self.inputs - half)

    @property
    def multiply_adds(self) -> int:
        """Returns the multiply-adds of the layer per position, which limit the decoding time."""
        return self.weight_count + PHASE_FACTOR_MULTIPLY_ADDS * self.phase_factor_count

    @property
    def floats_per_position(self) -> int:
        """Returns the intermediate values per position: phase factors and inner sums."""
        inner = 0 if self.order < self.inputs else 2 * self.outputs << self.inputs // 2
        return inner + FLOATS_PER_PHASE_FACTOR * self.phase_factor_count


@dataclass(frozen=True)
class FrequencySet:
    """Frequencies K of a layer with `dim` inputs: all of {0,1}^dim with |k|_1 <= order.

    The rows of a full set are in the order of the binary value sum_j k_j 2^j. So row r_A + 2^{|A|}
    r_B combines rows r_A and r_B of the sets of the two halves. The rows of a truncated set are
    sorted by |k|_1, then by binary value. Row 0 is always k = 0.
    """

    dim: int  # the number of inputs m, at most 64
    order: int  # the largest |k|_1

    @property
    def is_full(self) -> bool:
        """Indicates whether K is the full set {0,1}^dim."""
        return self.order >= self.dim

    @property
    def split(self) -> int:
        """Returns the number of coordinates in half A; 0 if K is truncated."""
        return self.dim // 2 if self.is_full else 0

    @cached_property
    def rows(self) -> npt.NDArray[np.uint64]:
        """Returns the binary values of the frequencies in row order, uint64 [|K|]."""
        values = np.arange(1 << self.dim, dtype=np.uint64) if self.dim <= 20 else self._truncated_values()
        ones = _count_ones(values)
        values, ones = values[ones <= self.order], ones[ones <= self.order]
        return values if self.is_full else values[np.lexsort((values, ones))]

    def _truncated_values(self) -> npt.NDArray[np.uint64]:
        newest = {0}
        values = {0}
        for _ in range(self.order):
            newest = {value | 1 << bit for value in newest for bit in range(self.dim) if not value >> bit & 1}
            values |= newest
        return np.array(sorted(values), dtype=np.uint64)

    @cached_property
    def vectors(self) -> npt.NDArray[np.float32]:
        """Returns the frequencies as vectors of zeros and ones, float32 [|K|, dim]."""
        return ((self.rows[:, None] >> np.arange(self.dim, dtype=np.uint64)) & np.uint64(1)).astype(np.float32)

    @cached_property
    def growth(self) -> tuple[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]], ...]:
        """Returns how the rows of a truncated set are computed from earlier rows, for each |k|_1 =
        1..order.

        Each entry is (parents, coordinates). A row is the product of row `parent` of the previous
        entry and e^{2 pi i v_coordinate}. The entry before the first contains k = 0.
        """
        ones = _count_ones(self.rows)
        stages, before = [], {0: 0}
        for count in range(1, self.order + 1):
            values = [int(value) for value in self.rows[ones == count]]
            tops = np.array([value.bit_length() - 1 for value in values], dtype=np.int64)
            parents = np.array([before[value ^ (1 << value.bit_length() - 1)] for value in values])
            stages.append((parents, tops))
            before = {value: row for row, value in enumerate(values)}
        return tuple(stages)


def _count_ones(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    bits = ((values >> np.uint64(bit)) & np.uint64(1) for bit in range(64))
    return sum(bits, start=np.zeros_like(values))


@lru_cache(maxsize=64)
def frequency_set(dim: int, order: int) -> FrequencySet:
    """Returns the cached frequency set of a layer."""
    return FrequencySet(dim, min(order, dim))


def phase_factors(v: Array, frequencies: FrequencySet, xp: ModuleType) -> tuple[Array, Array]:
    """Computes cos and sin of 2 pi k.v for all k: [N, dim] -> two arrays [N, |K|], in row order."""
    cos_v, sin_v = xp.cos(TAU * v), xp.sin(TAU * v)
    cos, sin = xp.ones_like(cos_v[:, :1]), xp.zeros_like(cos_v[:, :1])
    if frequencies.is_full:
        for j in range(frequencies.dim):
            product = complex_product(cos, sin, cos_v[:, j : j + 1], sin_v[:, j : j + 1])
            cos, sin = (xp.concatenate(pair, axis=1) for pair in zip((cos, sin), product, strict=True))
        return cos, sin
    stages = [(cos, sin)]
    for parents, tops in frequencies.growth:
        cos, sin = (part[:, parents] for part in stages[-1])
        stages.append(complex_product(cos, sin, cos_v[:, tops], sin_v[:, tops]))
    cos, sin = (xp.concatenate(parts, axis=1) for parts in zip(*stages, strict=True))
    return cos, sin


def complex_product(cos_1: Array, sin_1: Array, cos_2: Array, sin_2: Array) -> tuple[Array, Array]:
    """Returns the real and imaginary parts of (cos_1 + i sin_1) (cos_2 + i sin_2)."""
    return cos_1 * cos_2 - sin_1 * sin_2, sin_1 * cos_2 + cos_1 * sin_2


def split_phase_factors(v: Array, frequencies: FrequencySet, xp: ModuleType) -> tuple[Array, Array]:
    """Computes [cos | sin] of the two halves of coordinates: [N, 2 |K_A|] and [N, 2 |K_B|]."""
    split, order = frequencies.split, frequencies.order
    if split == 0:
        half_a = xp.concatenate([xp.ones_like(v[:, :1]), xp.zeros_like(v[:, :1])], axis=1)
    else:
        half_a = xp.concatenate(phase_factors(v[:, :split], frequency_set(split, order), xp), axis=1)
    rest = frequency_set(frequencies.dim - split, order)
    return half_a, xp.concatenate(phase_factors(v[:, split:], rest, xp), axis=1)


def contraction_matrix(a: Array, b: Array, frequencies: FrequencySet, xp: ModuleType) -> Array:
    """Returns the real matrix M of the inner sum, [2 |K_B|, 2 |K_A| n], for a and b, [|K|, n] each.

    [cos_B | sin_B] @ M = [Re | Im'] of sum_B e_B c, by k_A and output.
    """
    size_a = 1 << frequencies.split
    a, b = a.reshape(-1, size_a * a.shape[1]), b.reshape(-1, size_a * b.shape[1])
    return xp.concatenate([xp.concatenate([a, b], axis=1), xp.concatenate([b, -a], axis=1)], axis=0)


def fourier_sum(v: Array, a: Array, b: Array, order: int, xp: ModuleType) -> Array:
    """Computes sum_{k in K} a_k cos(2 pi k.v) + b_k sin(2 pi k.v), float [N, n], the layer without
    the residual, for v, float [N, m], and a and b, float [|K|, n]; row 0 of b has no effect. The
    largest |k|_1 is `order`, and `xp` is numpy or jax.numpy.
    """
    frequencies = frequency_set(v.shape[1], order)
    if frequencies.order == 1 and not frequencies.is_full:  # k = 0 and the unit vectors: no products needed
        angles = v * xp.float32(TAU)
        return xp.cos(angles) @ a[1:] + xp.sin(angles) @ b[1:] + a[:1]
    half_a, half_b = split_phase_factors(v, frequencies, xp)
    if frequencies.split == 0:
        return half_b @ xp.concatenate([a, b], axis=0)
    inner = half_b @ contraction_matrix(a, b, frequencies, xp)
    return outer_sum(half_a, inner.reshape(v.shape[0], half_a.shape[1], a.shape[1]), xp)


def outer_sum(half_a: Array, inner: Array, xp: ModuleType) -> Array:
    """Computes the outer sum over k_A: [N, 2 |K_A|] and [N, 2 |K_A|, n] -> [N, n]."""
    if xp is np:
        return np.matmul(half_a[:, None, :], inner)[:, 0, :]
    return (half_a[:, :, None] * inner).sum(axis=1)


def ones_per_weight(layer: LayerShape) -> npt.NDArray[np.int64]:
    """Returns |k|_1 of each weight of a layer, in file order, int64 [layer.weight_count]."""
    ones = _count_ones(frequency_set(layer.inputs, layer.order).rows).astype(np.int64)
    return np.repeat(np.concatenate([ones, ones[1:]]), layer.outputs)
