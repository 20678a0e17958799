"""The rate of latent grids: bits of symbols under the floating-point context network.

A symbol q costs -log2 of the probability of [q - 1/2, q + 1/2] under a Laplace distribution.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dfmcodec.codecs.overfitted.context import ACTIVATION_MAX, CAUSAL, COARSER, COMPANDING, FEATURES
from dfmcodec.codecs.overfitted.encode.by_jax.planes import gathered, upsampled_planes
from dfmcodec.codecs.overfitted.encode.contexts import FEATURE_UNIT, HIDDEN_UNIT, ContextWeights
from dfmcodec.codecs.overfitted.encode.windows import window_samples
from dfmcodec.codecs.overfitted.grids import GRID_LEVELS
from dfmcodec.codecs.overfitted.synthesis import HALO
from dfmcodec.entropy.context_networks import SQUARE

Grids = list[jax.Array]  # of a window, [n_l, n_l] for each level
_SMALLEST_PROBABILITY = 2.0**-20
_LARGEST_LOG_SCALE = 6.0
_BILINEAR = np.array([0, 0.25, 0.75, 0], dtype=np.float32)


def samples_inside(corner: jax.Array, size: jax.Array, level: int) -> jax.Array:
    """Indicates which samples of a window's grid, halo included, are in the image, bool [n_l, n_l].

    `corner` is the first row and column, `size` the height and width of the image, both int32 [2].
    """
    offsets = jnp.arange(-HALO, window_samples(level) + HALO)
    is_inside = [
        ((corner[axis] >> level) + offsets >= 0) & ((corner[axis] >> level) + offsets < -(-size[axis] // (1 << level)))
        for axis in (0, 1)
    ]
    return is_inside[0][:, None] & is_inside[1][None]


def companded(symbols: jax.Array) -> jax.Array:
    """Compands symbols of any value as `codecs.overfitted.context` does; keeps their signs."""
    lines = [slope * jnp.abs(symbols) + constant for slope, constant in COMPANDING]
    return jnp.sign(symbols) * reduce(jnp.minimum, lines) * (1 / FEATURE_UNIT)


def laplace_bits(symbols: jax.Array, mean: jax.Array, scale: jax.Array) -> jax.Array:
    """Returns the bits of symbols of any value under Laplace distributions, all of one shape."""
    distance = jnp.abs(symbols - mean)
    beyond = jnp.maximum(distance - 0.5, 0) / scale  # both ends on one side of the mean
    apart = 0.5 * jnp.exp(-beyond) * (1 - jnp.exp(-1 / scale))
    inner = jnp.minimum(distance, 0.5)  # the mean lies between the ends
    around = 1 - 0.5 * (jnp.exp((inner - 0.5) / scale) + jnp.exp((-inner - 0.5) / scale))
    probability = jnp.where(distance > 0.5, apart, around)
    return -jnp.log2(jnp.maximum(probability, _SMALLEST_PROBABILITY))


class _Symbols(NamedTuple):
    """The symbols of a window and their features: M symbols of all levels."""

    features: jax.Array  # companded symbols in FEATURE_UNIT, [FEATURES, M]
    of_level: jax.Array  # 1 in the row of a symbol's level, else 0, [levels, M]
    values: jax.Array  # [M]
    is_inside: jax.Array  # whether a symbol is in the image, bool [M]


def _symbols(grids: Grids, corner: jax.Array, size: jax.Array) -> _Symbols:
    """Gathers the symbols of a window. Symbols beyond the image are 0, as in the decoder."""
    levels = range(len(grids))
    inside = [samples_inside(corner, size, level) for level in levels]
    known = [jnp.where(is_inside, grid, 0.0) for grid, is_inside in zip(grids, inside, strict=True)]
    values = [companded(grid) for grid in known]
    planes = _coarser_planes(values, inside)
    parts = [_level_symbols(known[level], values[level:], planes[level], inside[level], level) for level in levels]
    return _Symbols(*(jnp.concatenate(arrays, axis=-1) for arrays in zip(*parts, strict=True)))


def _coarser_planes(grids: Grids, inside: Sequence[jax.Array]) -> list[jax.Array]:
    """Interpolates the coarser grids of each grid to it, like `upsampled` but without rounding."""
    planes = [jnp.zeros((0, *grids[-1].shape))]
    for finer in range(len(grids) - 2, -1, -1):
        joined = jnp.concatenate([grids[finer + 1][None], planes[0]])
        planes.insert(0, jnp.where(inside[finer], upsampled_planes(_BILINEAR, joined), 0.0))
    return planes


def _level_symbols(known: jax.Array, grids: Grids, planes: jax.Array, is_inside: jax.Array, level: int) -> _Symbols:
    """Returns the symbols of a level, from the companded grids of this level and the coarser ones,
    and the coarser ones interpolated to this level.
    """
    count = window_samples(level)
    inner = slice(HALO, HALO + count)
    own = gathered(grids[0][None], CAUSAL, HALO)[:, 0]
    none = jnp.zeros((COARSER - len(planes), count, count))
    features = jnp.concatenate([own, _cell_features(grids, count), planes[:, inner, inner], none])
    of_level = np.zeros((GRID_LEVELS, count * count), dtype=np.float32)
    of_level[level] = 1.0
    return _Symbols(
        features.reshape(FEATURES, -1),
        jnp.asarray(of_level),
        known[inner, inner].reshape(-1),
        is_inside[inner, inner].reshape(-1),
    )


def _cell_features(grids: Grids, count: int) -> jax.Array:
    """Returns the 3x3 coarser symbols around each symbol's cell, [9, count, count]; 0 if none."""
    if len(grids) == 1:
        return jnp.zeros((len(SQUARE), count, count))
    gathered_cells = gathered(grids[1][None], SQUARE, HALO)[:, 0]
    return jnp.repeat(jnp.repeat(gathered_cells, 2, axis=1), 2, axis=2)


def _activation(sums: jax.Array) -> jax.Array:
    return jnp.clip(sums, 0.0, ACTIVATION_MAX / HIDDEN_UNIT)


def symbol_bits(weights: ContextWeights, grids: Grids, corner: jax.Array, size: jax.Array) -> jax.Array:
    """Returns the bits of the symbols of a window, float32 [M], grid by grid from the finest.
    Symbols, [n_l, n_l] each (see `Windows.cut`), need not be integers; those beyond the image cost
    no bits. `corner` is the first row and column of the window, and `size` the height and width of
    the image in pixels, int32 [2].
    """
    symbols = _symbols(grids, corner, size)
    hidden = _activation(weights.w1 @ symbols.features + weights.c1 @ symbols.of_level)
    hidden = _activation(weights.w2 @ hidden + hidden + weights.c2[:, None])
    outputs = weights.w3 @ hidden + weights.bypass @ symbols.features + weights.c3 @ symbols.of_level
    scales = jnp.exp(jnp.clip(outputs[0], -_LARGEST_LOG_SCALE, _LARGEST_LOG_SCALE))
    return jnp.where(symbols.is_inside, laplace_bits(symbols.values, outputs[1], scales), 0.0)
