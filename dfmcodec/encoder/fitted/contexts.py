"""The rate of latent grids as JAX sees it: the context networks of `entropy.grid_context` in float.

The networks are those of the decoder without their rounding, so that the bits of a symbol have a
derivative by symbols, which need not be whole, and by the weights. A symbol q takes -log2 of the
probability of q - 1/2 .. q + 1/2 under a Laplace distribution, in bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dfmcodec.encoder.fitted.neighbours import neighbourhoods
from dfmcodec.encoder.fitted.windows import Grids, samples_inside, window_samples
from dfmcodec.entropy.context import ACTIVATION_MAX, ACTIVATION_SHIFT, OUTPUT_SHIFT
from dfmcodec.entropy.grid_context import COARSER_FEATURES, COMPANDING, GridNetwork, feature_count
from dfmcodec.entropy.passes import PHASES
from dfmcodec.entropy.tables import MEAN_PARTS, SCALES_PER_OCTAVE
from dfmcodec.latents.grids import GRID_LEVELS
from dfmcodec.synthesis.fitted import HALO

CELL_HALO = HALO // 2
LMBDA_UNIT = 16.0  # lmbda codes for a feature of 1
_FEATURE_UNIT = 8.0  # of integer features, for a feature of 1: about a symbol of 1
_HIDDEN_UNIT = 16.0  # of integer activations, for an activation of 1
_NAT = SCALES_PER_OCTAVE / np.log(2)  # of integer scales, for a factor of e
_SMALLEST_PROBABILITY = 2.0**-20
_LARGEST_LOG_SCALE = 6.0
_ROUNDING = 0.5
_FIRST_STD = 0.3
_SECOND_STD = 0.02
_LAST_STD = 0.01
Phases = tuple[jax.Array, ...]


class ContextWeights(NamedTuple):
    """The weights of the context networks, float32, one array for each phase.

    They are those of `GridNetwork` in units that suit an optimiser, with a residual second layer,
    h_2 = relu(W2 h_1 + c2 + h_1); `from_integers` and `to_integers` convert them.

    Args:
        w1: [width, 2 features].
        c1: [width, levels].
        s1: [width].
        w2: [width, width].
        c2: [width].
        w3: [2, width].
        bypass: [2, 2 features].
        c3: [2, levels].
        s3: [2].
    """

    w1: Phases
    c1: Phases
    s1: Phases
    w2: Phases
    c2: Phases
    w3: Phases
    bypass: Phases
    c3: Phases
    s3: Phases

    @classmethod
    def start(cls, rng: np.random.Generator, width: int) -> ContextWeights:
        """Random weights that give nearly the same distribution to all symbols.

        Args:
            rng: The source of random numbers.
            width: The units of each of the two layers.
        """
        first = second = width

        def normal(rows: int, columns: int, std: float) -> jax.Array:
            return jnp.asarray(rng.normal(0, std, (rows, columns)), dtype=jnp.float32)

        counts = [feature_count(phase) for phase in range(len(PHASES))]
        return cls(
            tuple(normal(first, 2 * count, _FIRST_STD / np.sqrt(2 * count)) for count in counts),
            tuple(jnp.zeros((first, GRID_LEVELS)) for _ in counts),
            tuple(jnp.zeros(first) for _ in counts),
            tuple(normal(second, first, _SECOND_STD) for _ in counts),
            tuple(jnp.zeros(second) for _ in counts),
            tuple(normal(2, second, _LAST_STD) for _ in counts),
            tuple(jnp.zeros((2, 2 * count)) for count in counts),
            tuple(jnp.zeros((2, GRID_LEVELS)) for _ in counts),
            tuple(jnp.zeros(2) for _ in counts),
        )

    @classmethod
    def from_integers(cls, networks: Sequence[GridNetwork]) -> ContextWeights:
        """The float weights of integer networks."""
        parts = [_floats(network) for network in networks]
        return cls(*(tuple(jnp.asarray(part[name]) for part in parts) for name in cls._fields))

    def to_integers(self) -> tuple[GridNetwork, ...]:
        """The nearest integer networks, within the limits of `GridNetwork.check_exact`."""
        return tuple(self._network(phase) for phase in range(len(PHASES)))

    def _network(self, phase: int) -> GridNetwork:
        arrays = {}
        for name in self._fields:
            values = np.asarray(getattr(self, name)[phase], dtype=np.float64)
            if name == "w2":
                values = values + np.eye(*values.shape)  # the residual
            scaled = values * unit_of(name).reshape(-1, *[1] * (values.ndim - 1))
            arrays[name] = scaled.T if name in BY_LEVEL else scaled
        for name, shift in _ROUNDED.items():
            arrays[name] = arrays[name] + shift * _ROUNDING
        return GridNetwork(**{name: _limited(name, np.rint(array)) for name, array in arrays.items()})


def _limited(name: str, values: np.ndarray) -> np.ndarray:
    """Numbers of an array of `GridNetwork` within its limits, float32."""
    limit = GridNetwork.LIMITS[name]
    return np.asarray(np.clip(values, -limit, limit), dtype=np.float32)


BY_LEVEL = ("c1", "c3")  # [levels, units] in a GridNetwork
_ROUNDED = {"c1": ACTIVATION_SHIFT, "c2": ACTIVATION_SHIFT, "c3": OUTPUT_SHIFT}  # for floors that round
_FIRST = ACTIVATION_SHIFT * _HIDDEN_UNIT
_OUTPUTS = OUTPUT_SHIFT * np.array([_NAT, MEAN_PARTS])
_UNITS = {  # a float weight of 1 as a number of a GridNetwork; two numbers for the two outputs
    "w1": _FIRST / _FEATURE_UNIT,
    "c1": _FIRST,
    "s1": _FIRST / LMBDA_UNIT,
    "w2": float(ACTIVATION_SHIFT),
    "c2": _FIRST,
    "w3": _OUTPUTS / _HIDDEN_UNIT,
    "bypass": _OUTPUTS / _FEATURE_UNIT,
    "c3": _OUTPUTS,
    "s3": _OUTPUTS / LMBDA_UNIT,
}
assert tuple(_UNITS) == ContextWeights._fields == tuple(field.name for field in fields(GridNetwork))


def unit_of(name: str) -> np.ndarray:
    """A float weight of 1 as a number of `GridNetwork`: one for all, or one for each output."""
    return np.atleast_1d(np.asarray(_UNITS[name], dtype=np.float64))


def _floats(network: GridNetwork) -> dict[str, np.ndarray]:
    """The float weights of an integer network; the inverse of `ContextWeights._network`."""
    arrays = {}
    for name in _UNITS:
        values = np.asarray(getattr(network, name), dtype=np.float64) - _ROUNDED.get(name, 0) * _ROUNDING
        values = values.T if name in BY_LEVEL else values
        values = values / unit_of(name).reshape(-1, *[1] * (values.ndim - 1))
        arrays[name] = (values - np.eye(*values.shape) if name == "w2" else values).astype(np.float32)
    return arrays


def by_phase(grid: jax.Array) -> jax.Array:
    """Sorts the samples of a grid by their phase, [2 h, 2 w] -> [4, h, w]."""
    return jnp.stack([grid[row::2, column::2] for row, column in PHASES])


def companded(symbols: jax.Array) -> jax.Array:
    """Maps symbols of any value by the companding of `entropy.grid_context`, with their sign."""
    factor, slope = COMPANDING
    return jnp.sign(symbols) * (factor / _FEATURE_UNIT) * jnp.log2(1 + slope * jnp.abs(symbols))


def laplace_bits(symbols: jax.Array, mean: jax.Array, scale: jax.Array) -> jax.Array:
    """Computes the bits of symbols, of any value, under Laplace distributions; all of one shape."""
    distance = jnp.abs(symbols - mean)
    beyond = jnp.maximum(distance - 0.5, 0) / scale  # both ends on one side of the mean
    apart = 0.5 * jnp.exp(-beyond) * (1 - jnp.exp(-1 / scale))
    inner = jnp.minimum(distance, 0.5)  # the mean lies between the ends
    around = 1 - 0.5 * (jnp.exp((inner - 0.5) / scale) + jnp.exp((-inner - 0.5) / scale))
    probability = jnp.where(distance > 0.5, apart, around)
    return -jnp.log2(jnp.maximum(probability, _SMALLEST_PROBABILITY))


class _Symbols(NamedTuple):
    """The symbols of a window with what they see, M cells of all levels together.

    Args:
        features: Companded symbols in _FEATURE_UNIT, [features of the last phase, M].
        of_level: 1 in the row of a cell's level, else 0, [levels, M].
        values: [4, M].
        is_inside: Whether they are in the image, bool [4, M].
    """

    features: jax.Array
    of_level: jax.Array
    values: jax.Array
    is_inside: jax.Array


def _symbols(grids: Grids, corner: jax.Array, size: jax.Array) -> _Symbols:
    """Gathers the symbols of a window; symbols beyond the image are 0, as for a decoder."""
    levels = range(len(grids))
    inside = [samples_inside(corner, size, level) for level in levels]
    known = [jnp.where(is_inside, grid, 0.0) for grid, is_inside in zip(grids, inside, strict=True)]
    seen = [companded(grid) for grid in known]
    parts = [_level_symbols(known[level], seen[level : level + 3], inside[level], level) for level in levels]
    return _Symbols(*(jnp.concatenate(arrays, axis=1) for arrays in zip(*parts, strict=True)))


def _level_symbols(known: jax.Array, seen: Grids, is_inside: jax.Array, level: int) -> _Symbols:
    """The symbols of a level; `seen` are the companded grids of this level and the next two."""
    cells = window_samples(level) // 2
    inner = slice(CELL_HALO, CELL_HALO + cells)
    around = slice(CELL_HALO - 1, CELL_HALO + cells + 1)
    phases = by_phase(seen[0])
    earlier = neighbourhoods(phases[: len(PHASES) - 1, around, around])  # [9, 3, cells, cells]
    features = jnp.concatenate(
        [_coarser_features(seen[1:], cells), earlier.swapaxes(0, 1).reshape(-1, cells, cells)]
    ).reshape(feature_count(len(PHASES) - 1), -1)
    of_level = np.zeros((GRID_LEVELS, cells * cells), dtype=np.float32)
    of_level[level] = 1.0
    return _Symbols(
        features,
        jnp.asarray(of_level),
        by_phase(known)[:, inner, inner].reshape(len(PHASES), -1),
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
    if len(coarser) == 1:
        return jnp.concatenate([square, jnp.zeros((1, cells, cells))])
    inner = slice(HALO, HALO + max(cells // 2, 1))
    twice = jnp.repeat(jnp.repeat(coarser[1][inner, inner], 2, axis=0), 2, axis=1)[:cells, :cells]
    return jnp.concatenate([square, twice[None]])


def straight_through(values: jax.Array, rounded: jax.Array) -> jax.Array:
    """Rounded values with the derivative of the values themselves."""
    return values + jax.lax.stop_gradient(rounded - values)


def as_integers(weights: ContextWeights) -> ContextWeights:
    """The float weights of the nearest integer networks, with the derivative of the weights."""

    def rounded(name: str, values: jax.Array) -> jax.Array:
        limit = GridNetwork.LIMITS[name]
        units = jnp.asarray(unit_of(name), jnp.float32).reshape(-1, *[1] * (values.ndim - 1))
        residual = jnp.eye(values.shape[0]) if name == "w2" else jnp.zeros(())
        whole = jnp.clip(jnp.round((values + residual) * units), -limit, limit)
        return straight_through(values, whole / units - residual)

    return ContextWeights(*(tuple(rounded(name, w) for w in getattr(weights, name)) for name in weights._fields))


def _activation(sums: jax.Array, is_whole: bool) -> jax.Array:
    limited = jnp.clip(sums, 0.0, ACTIVATION_MAX / _HIDDEN_UNIT)
    if not is_whole:
        return limited
    return straight_through(limited, jnp.floor(limited * _HIDDEN_UNIT + _ROUNDING) * (1 / _HIDDEN_UNIT))


def symbol_bits(
    weights: ContextWeights,
    grids: Grids,
    corner: jax.Array,
    size: jax.Array,
    lmbda_code: jax.Array,
    is_whole: bool = False,
) -> jax.Array:
    """Computes the bits of the symbols of a window.

    Args:
        weights: The networks.
        grids: The symbols of the window, [n_l, n_l] each, see `Windows.cut`. They need not be
            whole.
        corner: The first row and column of the window, int32 [2].
        size: The height and width of the image in pixels, int32 [2].
        lmbda_code: See `latents.grids`, float32 [].
        is_whole: Whether activations and outputs are rounded, as those of integer networks are;
            their derivative is that without rounding.

    Returns:
        float32 [4, M]: one column for each 2x2 cell of a grid, from the finest grid on, and one row
        for each phase. Symbols beyond the image take no bits.
    """
    symbols = _symbols(grids, corner, size)
    magnitudes = jnp.abs(symbols.features)
    rate = lmbda_code * (1 / LMBDA_UNIT)
    outputs = []
    for phase in range(len(PHASES)):
        count = feature_count(phase)
        features = jnp.concatenate([symbols.features[:count], magnitudes[:count]])
        sums = weights.w1[phase] @ features + weights.c1[phase] @ symbols.of_level
        hidden = _activation(sums + (weights.s1[phase] * rate)[:, None], is_whole)
        hidden = _activation(weights.w2[phase] @ hidden + hidden + weights.c2[phase][:, None], is_whole)
        sums = weights.w3[phase] @ hidden + weights.bypass[phase] @ features
        outputs.append(sums + weights.c3[phase] @ symbols.of_level + (weights.s3[phase] * rate)[:, None])
    log_scales, means = jnp.stack(outputs, axis=1)
    if is_whole:
        log_scales = straight_through(log_scales, jnp.floor(log_scales * _NAT + _ROUNDING) * (1 / _NAT))
        means = straight_through(means, jnp.floor(means * MEAN_PARTS + _ROUNDING) * (1 / MEAN_PARTS))
    scales = jnp.exp(jnp.clip(log_scales, -_LARGEST_LOG_SCALE, _LARGEST_LOG_SCALE))
    bits = laplace_bits(symbols.values, means, scales)
    return jnp.where(symbols.is_inside, bits, 0.0)
