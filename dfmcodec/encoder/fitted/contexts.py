"""The rate of latent grids: a small network gives the distribution of each symbol from symbols that
are decoded before it.

Grids are coded from the coarsest to the finest, each in four passes over the phases of its 2x2
cells (`entropy.passes`). A symbol of phase p sees

    - the symbols of phases before p in the 3x3 cells around its own,
    - the 3x3 symbols around it in the next coarser grid, and the mean of their magnitudes,
    - the symbol there in the grid after that.

The symbols of all levels go through one network for each phase, h_1 = relu(W f),
h_2 = relu(V h_1 + c + h_1), (mean, log scale) = U h_2 + B f. Phases differ in W and B alone. One
feature for each level tells the level: 1 for that of the symbol, 0 for the others. A symbol q then
takes -log2 of the probability of q - 1/2 .. q + 1/2 under the Laplace distribution of that mean and
scale, in bits. The residual layer and the linear bypass are those of Cool-chic (Leguay et al. 2023,
"Low-complexity overfitted neural image codec"; Kim et al. 2024, "C3").
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dfmcodec.encoder.fitted.neighbours import neighbourhoods
from dfmcodec.encoder.fitted.windows import HALO, LEVELS, Grids, samples_inside, window_samples
from dfmcodec.entropy.neighbourhood import SQUARE
from dfmcodec.entropy.passes import PHASES

CELL_HALO = HALO // 2
COARSER_FEATURES = len(SQUARE) + 2
_COMMON_FEATURES = COARSER_FEATURES + LEVELS
_FIRST_STD = 0.2 / np.sqrt(20)
_SECOND_STD = 0.02
_LAST_STD = 0.01
_SMALLEST_PROBABILITY = 2.0**-16
_LOG_SCALE_START = -1.0
_LARGEST_LOG_SCALE = 5.0


class ContextWeights(NamedTuple):
    """The weights of the context networks, float32.

    Args:
        first: [width, features] for each phase.
        second: [width, width].
        constants: [width].
        last: [2, width].
        bypass: [2, features] for each phase.
    """

    first: tuple[jax.Array, ...]
    second: jax.Array
    constants: jax.Array
    last: jax.Array
    bypass: tuple[jax.Array, ...]

    @classmethod
    def start(cls, rng: np.random.Generator, width: int) -> ContextWeights:
        """Random weights that give the same distribution to all symbols, nearly."""

        def normal(rows: int, columns: int, std: float) -> np.ndarray:
            return rng.normal(0, std, (rows, columns)).astype(np.float32)

        first = [normal(width, feature_count(phase), _FIRST_STD) for phase in range(len(PHASES))]
        for weights in first:
            weights[:, COARSER_FEATURES:_COMMON_FEATURES] = 0
        return cls(
            tuple(map(jnp.asarray, first)),
            jnp.asarray(normal(width, width, _SECOND_STD)),
            jnp.zeros(width),
            jnp.asarray(normal(2, width, _LAST_STD)),
            tuple(jnp.zeros((2, feature_count(phase))) for phase in range(len(PHASES))),
        )


def feature_count(phase: int) -> int:
    """Counts the features of a symbol of a phase."""
    return _COMMON_FEATURES + len(SQUARE) * phase


def by_phase(grid: jax.Array) -> jax.Array:
    """Sorts the samples of a grid by their phase, [2 h, 2 w] -> [4, h, w]."""
    return jnp.stack([grid[row::2, column::2] for row, column in PHASES])


def laplace_bits(symbols: jax.Array, mean: jax.Array, scale: jax.Array) -> jax.Array:
    """Computes the bits of symbols, of any value, under Laplace distributions; all of one shape."""

    def cumulative(distance: jax.Array) -> jax.Array:
        tail = 0.5 * jnp.exp(-jnp.abs(distance))
        return jnp.where(distance < 0, tail, 1 - tail)

    offsets = symbols - mean
    probability = cumulative((offsets + 0.5) / scale) - cumulative((offsets - 0.5) / scale)
    return -jnp.log2(jnp.maximum(probability, _SMALLEST_PROBABILITY))


class _Symbols(NamedTuple):
    """The symbols of a window with their features, M cells of all levels together.

    Args:
        features: [features of the last phase, M].
        values: [4, M].
        is_inside: Whether they are in the image, bool [4, M].
    """

    features: jax.Array
    values: jax.Array
    is_inside: jax.Array


def _symbols(grids: Grids, corner: jax.Array, size: tuple[int, int]) -> _Symbols:
    """Gathers the symbols of a window; symbols beyond the image are 0, as for a decoder."""
    inside = [samples_inside(corner, size, level) for level in range(LEVELS)]
    known = [jnp.where(is_inside, grid, 0.0) for grid, is_inside in zip(grids, inside, strict=True)]
    levels = [_level_symbols(known, inside[level], level) for level in range(LEVELS)]
    return _Symbols(*(jnp.concatenate(parts, axis=1) for parts in zip(*levels, strict=True)))


def _level_symbols(known: Grids, is_inside: jax.Array, level: int) -> _Symbols:
    cells = window_samples(level) // 2
    inner = slice(CELL_HALO, CELL_HALO + cells)
    around = slice(CELL_HALO - 1, CELL_HALO + cells + 1)
    phases = by_phase(known[level])
    earlier = neighbourhoods(phases[: len(PHASES) - 1, around, around])  # [9, 3, cells, cells]
    coarser = _coarser_features(known[level + 1 : level + 3], cells)
    of_level = jnp.zeros((LEVELS, cells, cells)).at[level].set(1.0)
    features = jnp.concatenate([coarser, of_level, earlier.swapaxes(0, 1).reshape(-1, cells, cells)])
    return _Symbols(
        features.reshape(len(features), -1),
        phases[:, inner, inner].reshape(len(PHASES), -1),
        by_phase(is_inside)[:, inner, inner].reshape(len(PHASES), -1),
    )


def _coarser_features(coarser: Grids, cells: int) -> jax.Array:
    """What cells see of the next two grids, [COARSER_FEATURES, cells, cells]; 0 of grids that do
    not exist.
    """
    if not coarser:
        return jnp.zeros((COARSER_FEATURES, cells, cells))
    around = slice(HALO - 1, HALO + cells + 1)
    square = neighbourhoods(coarser[0][None, around, around])[:, 0]
    magnitude = jnp.abs(square).mean(axis=0, keepdims=True)
    if len(coarser) == 1:
        return jnp.concatenate([square, magnitude, jnp.zeros((1, cells, cells))])
    inner = slice(HALO, HALO + max(cells // 2, 1))
    twice = jnp.repeat(jnp.repeat(coarser[1][inner, inner], 2, axis=0), 2, axis=1)[:cells, :cells]
    return jnp.concatenate([square, magnitude, twice[None]])


def symbol_bits(weights: ContextWeights, grids: Grids, corner: jax.Array, size: tuple[int, int]) -> jax.Array:
    """Computes the bits of the symbols of a window.

    Args:
        weights: The networks.
        grids: The symbols of the window, [n_l, n_l] each, see `Windows.cut`. They need not be
            whole.
        corner: The first row and column of the window, int32 [2].
        size: The height and width of the image in pixels.

    Returns:
        float32 [4, M]: one column for each 2x2 cell of a grid, from the finest grid on, and one row
        for each phase. Symbols beyond the image take no bits.
    """
    symbols = _symbols(grids, corner, size)
    outputs = []
    for phase in range(len(PHASES)):
        features = symbols.features[: feature_count(phase)]
        hidden = jax.nn.relu(weights.first[phase] @ features)
        hidden = jax.nn.relu(weights.second @ hidden + weights.constants[:, None] + hidden)
        outputs.append(weights.last @ hidden + weights.bypass[phase] @ features)
    means, log_scales = jnp.stack(outputs, axis=1)
    scales = jnp.exp(jnp.clip(log_scales + _LOG_SCALE_START, -_LARGEST_LOG_SCALE, _LARGEST_LOG_SCALE))
    return jnp.where(symbols.is_inside, laplace_bits(symbols.values, means, scales), 0.0)
