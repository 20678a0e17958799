"""Tests of the fit of the overfitted codec: rate, synthesis, optimiser, and gains of training
steps.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from itertools import product
from typing import Any
from unittest.mock import patch

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import skimage.data
from common import with_kernels
from oracles.latents import add_back
from oracles.window_loss import LossByJax
from overfitted_parts import (
    BY_JAX,
    HIDDEN,
    TableCosts,
    installed,
    laplace_grids,
    random_network,
    some_weights,
    weight_arrays,
)

from dfmcodec import container
from dfmcodec.codecs.decode import decode_image
from dfmcodec.codecs.overfitted.contents import OverfittedArchitecture, QuantizedGrids
from dfmcodec.codecs.overfitted.context import (
    CAUSAL,
    COMPANDED,
    FEATURES,
    GridContext,
    GridNetwork,
    wavefronts,
)
from dfmcodec.codecs.overfitted.encode import fit as fitting
from dfmcodec.codecs.overfitted.encode.by_jax import contexts as rate
from dfmcodec.codecs.overfitted.encode.by_jax.contexts import Grids, laplace_bits, symbol_bits
from dfmcodec.codecs.overfitted.encode.by_jax.planes import (
    Offsets,
    gathered,
    neighbourhoods,
    upsampled_planes,
    upsampling_matrix,
)
from dfmcodec.codecs.overfitted.encode.by_jax.synthesis import cosine_less_one_and_sine, window_colours
from dfmcodec.codecs.overfitted.encode.by_jax.window_loss import soft_round
from dfmcodec.codecs.overfitted.encode.contexts import BY_LEVEL, ContextWeights, unit_of
from dfmcodec.codecs.overfitted.encode.fit import Fit, FitSchedule, FitState
from dfmcodec.codecs.overfitted.encode.latents import Latents
from dfmcodec.codecs.overfitted.encode.networks import Networks
from dfmcodec.codecs.overfitted.encode.quantize import (
    Rounding,
    choose_rounding,
    decoder_networks,
    flat_deltas,
    pretrained_networks,
    rounded,
)
from dfmcodec.codecs.overfitted.encode.soap import SoapState, soap_step
from dfmcodec.codecs.overfitted.encode.windows import WINDOW, Windows
from dfmcodec.codecs.overfitted.grids import GRID_LEVELS, grid_sizes, lmbda_of_code
from dfmcodec.codecs.overfitted.sections.grids import write_grids
from dfmcodec.codecs.overfitted.sections.networks import delta_bits
from dfmcodec.codecs.overfitted.synthesis import HALO, TAPS, SynthesisNetwork, synthesise_grids, upsampled
from dfmcodec.codecs.overfitted.traversal import traverse_grids
from dfmcodec.codecs.overfitted.weights import CONTEXT_DELTAS, DELTA_NAMES, EXPONENTS, OverfittedWeights, WeightDeltas
from dfmcodec.entropy.context_networks import SQUARE, companded
from dfmcodec.image.region import CHANNELS, Region
from dfmcodec.perception import psnr
from research.training.start import start_contexts, start_networks, start_synthesis

CORNER = jnp.zeros(2, jnp.int32)
CODE = -4  # of the multiplier of most tests


def photograph(height: int, width: int) -> np.ndarray:
    return np.ascontiguousarray(skimage.data.chelsea()[40 : 40 + height, 120 : 120 + width])


def random_grids(height: int, width: int, seed: int = 0) -> Grids:
    rng = np.random.default_rng(seed)
    return [jnp.asarray(rng.integers(-2, 3, size), jnp.float32) for size in grid_sizes(height, width)]


def one_window(grids: Grids, height: int, width: int) -> Grids:
    return [jnp.asarray(grid) for grid in Windows.of(height, width).cut(0, grids)]


def size_of(height: int, width: int) -> jax.Array:
    return jnp.array([height, width], jnp.int32)


_bits = jax.jit(symbol_bits)
_features = jax.jit(lambda *window: rate._symbols(*window).features)


def bits_of(weights: ContextWeights, window: Grids, size: tuple[int, int]) -> np.ndarray:
    """The bits of the first window of an image."""
    return np.asarray(_bits(weights, window, CORNER, size_of(*size)))


def of_levels(values: np.ndarray) -> list[np.ndarray]:
    """The values of all symbols of a window, [M], as planes of each grid."""
    sides = [WINDOW >> level for level in range(GRID_LEVELS)]
    assert values.shape == (sum(side * side for side in sides),)
    parts = np.split(values, np.cumsum([side * side for side in sides])[:-1])
    return [part.reshape(side, side) for part, side in zip(parts, sides, strict=True)]


def perturbed(tree: SynthesisNetwork | ContextWeights, std: float, seed: int) -> SynthesisNetwork | ContextWeights:
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda array: array + jnp.asarray(rng.normal(0, std, array.shape), jnp.float32), tree)


def some_synthesis(seed: int = 0, width: int = 8) -> SynthesisNetwork:
    """Neither linear nor symmetric."""
    synthesis = perturbed(start_synthesis(np.random.default_rng(seed), width), 0.05, seed)
    assert isinstance(synthesis, SynthesisNetwork)
    return synthesis


LMBDA = lmbda_of_code(CODE)
SIZE = (100, 121)  # which no grid divides
STEPS = 30


def some_fit(steps: int, widths: tuple[int, int] = (8, 8)) -> tuple[Fit, FitState]:
    """A fit of a small photograph from random networks, and its state before the first step."""
    colours = (photograph(*SIZE) / np.float32(255)).astype(np.float32).transpose(2, 0, 1)
    fit = Fit(colours, LMBDA, CODE, start_networks(0, *widths), FitSchedule.of(steps))
    return fit, fit.start()


def after(fit: Fit, state: FitState, steps: int, moves_networks: bool = True) -> FitState:
    for number in range(steps):
        state = fit.step(state, number, moves_networks)
    return state


@lru_cache(maxsize=1)
def overfitted_photograph() -> tuple[Fit, FitState]:
    """The fit after its steps."""
    fit, start = some_fit(STEPS)
    return fit, after(fit, start, STEPS)


def laplace_state(fit: Fit) -> FitState:
    """A state with symbols from a Laplace distribution and the networks that the fit starts
    from: the same whatever computes it.
    """
    return fit.start([grid.astype(np.float32) for grid in laplace_grids(fit.height, fit.width, scale=1.0)])


def weights_of_networks(networks: Networks) -> OverfittedWeights:
    """Pretrained weights whose fits start from given networks."""
    synthesis = {name: np.asarray(weights) for name, weights in networks.synthesis._asdict().items()}
    return OverfittedWeights.from_arrays(weight_arrays(networks.contexts.to_integers(), synthesis, 2.0**-8))


@pytest.fixture(scope="module")
def small_weights() -> OverfittedWeights:
    return some_weights()


# Rate


def test_laplace_probabilities_sum_to_one() -> None:
    symbols = jnp.arange(-60.0, 61.0)
    for mean, scale in product((0.0, 0.4, -2.3), (0.25, 0.5, 3.0)):
        # Probabilities below 2^-20 count as 2^-20, 121 of them at most.
        bits = laplace_bits(symbols, jnp.float32(mean), jnp.float32(scale))
        assert float((2**-bits).sum()) == pytest.approx(1, abs=121 * 2**-20 + 1e-5)


def companding_unit() -> int:
    """A float feature of 1 as an integer of the decoder."""
    unit = float(COMPANDED[1] / rate.companded(jnp.float32(1)))
    assert unit == pytest.approx(round(unit), abs=1e-4)
    return round(unit)


def test_encoder_and_decoder_compand_alike() -> None:
    """All integer symbols; between two of them the encoder is between."""
    symbols = np.arange(-1500, 1501, dtype=np.int32)
    found = np.asarray(rate.companded(jnp.asarray(symbols, jnp.float32)))
    assert np.array_equal(companding_unit() * found, companded(symbols, COMPANDED))
    halves = np.asarray(rate.companded(jnp.asarray(symbols[:-1] + 0.5, jnp.float32)))
    assert np.allclose(halves, (found[:-1] + found[1:]) / 2, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    "size",
    [(WINDOW + 15, 2 * WINDOW + 3), (WINDOW + 1, 33), (5, WINDOW + 7), (1, 1)],
)
def test_windows_have_the_features_of_the_decoder(size: tuple[int, int]) -> None:
    """Of all symbols, at the edges of the image and of windows alike. Those that are interpolated
    may differ by half a unit for each upsampling, which the decoder rounds.
    """
    rng = np.random.default_rng(12)
    scales = 1.5 * 2.0 ** np.arange(GRID_LEVELS)  # coarser grids have larger symbols, as photographs'
    sizes = grid_sizes(*size)
    grids = [np.rint(rng.laplace(0, scale, shape)).astype(np.int32) for scale, shape in zip(scales, sizes, strict=True)]
    symbols = [grid.astype(np.float32) for grid in grids]
    windows = Windows.of(*size)
    found = [np.full((FEATURES, *shape), np.nan, np.float32) for shape in sizes]
    for number, corner in enumerate(windows.corners):
        features = np.asarray(_features(windows.cut(number, symbols), jnp.asarray(corner), size_of(*size)))
        for level, parts in enumerate(zip(*map(of_levels, features), strict=True)):
            own = found[level][:, *windows.own(number, level)]
            own[...] = np.stack(parts)[:, : own.shape[1], : own.shape[2]]
    exact = len(CAUSAL) + len(SQUARE)
    bounds = np.concatenate([np.zeros(exact), 0.5 * np.arange(1, GRID_LEVELS)]) + 1e-3
    for level, grid in enumerate(grids):
        context = GridContext(random_network(), level, np.zeros_like(grid), grids[level + 1 :])
        for front in wavefronts(level, grid.shape):
            rows = np.array(front.rows)
            of_window = companding_unit() * found[level][:, rows, front.number - 2 * rows].T
            assert (np.abs(of_window - context.features(front)) <= bounds).all()
            context.accept(front, front.of_grid(grid))


# Integer networks


def test_integers_come_back() -> None:
    for seed in range(3):
        network = random_network(seed)
        limits = GridNetwork.LIMITS.items()
        largest = replace(network, **{name: np.full_like(getattr(network, name), limit) for name, limit in limits})
        for given in (network, largest):
            found = ContextWeights.from_integers(given).to_integers()
            for name in GridNetwork.LIMITS:
                one, other = getattr(found, name), getattr(given, name)
                assert one.dtype == np.float32
                assert np.array_equal(one, other), name


def test_integers_are_the_nearest_within_limits() -> None:
    weights = start_contexts(np.random.default_rng(4), HIDDEN)
    network = weights.to_integers()
    network.check_shapes()
    network.check_exact()
    again = ContextWeights.from_integers(network)
    for name, new, old in zip(ContextWeights._fields, again, weights, strict=True):
        assert np.abs(new - old).max() <= 0.5001 / unit_of(name).min(), name
    beyond = weights._replace(w1=1000 * weights.w1, c3=weights.c3 + 1e9).to_integers()
    beyond.check_exact()
    assert np.abs(beyond.w1).max() == GridNetwork.LIMITS["w1"]
    assert beyond.c3.min() == GridNetwork.LIMITS["c3"]


@with_kernels
def test_the_rate_of_symbols_is_the_size_of_their_grids() -> None:
    """Near what the range coder writes, and near what the tables of the decoder say of each grid;
    without the rounding of activations. (Measured: 0.08 % with what a coder adds in the end, and
    0.3 bits or 0.03 % of a grid.)
    """
    fit, _ = some_fit(STEPS)
    state = laplace_state(fit)
    symbols = list(state.latents)
    network = state.networks.contexts.to_integers()
    grids = tuple(grid.astype(np.int32) for grid in symbols)
    written = 8 * len(write_grids(grids, network))
    window = one_window(symbols, *SIZE)
    bits = bits_of(ContextWeights.from_integers(network), window, SIZE)
    assert bits.sum() == pytest.approx(written, rel=0.01)
    costs = TableCosts(grids, network)
    traverse_grids(grid_sizes(*SIZE), network, costs)
    for found, wanted in zip(of_levels(bits), costs.bits, strict=True):
        assert found.sum() == pytest.approx(wanted, rel=0.003, abs=3)
    assert fit.measured(state).bits == pytest.approx(written, rel=0.01)


# Synthesis


def test_polynomials_are_cosine_and_sine() -> None:
    turns = jnp.linspace(-3, 3, 20_001)
    cosine, sine = cosine_less_one_and_sine(turns)
    assert np.abs(cosine + 1 - np.cos(2 * np.pi * np.asarray(turns, np.float64))).max() < 2e-6
    assert np.abs(sine - np.sin(2 * np.pi * np.asarray(turns, np.float64))).max() < 2e-6
    slope = jax.grad(lambda t: cosine_less_one_and_sine(t)[1])(jnp.float32(0.1))
    assert float(slope) == pytest.approx(2 * np.pi * np.cos(0.2 * np.pi), rel=1e-4)
    slope = jax.grad(lambda t: cosine_less_one_and_sine(t)[0])(jnp.float32(0.1))
    assert float(slope) == pytest.approx(-2 * np.pi * np.sin(0.2 * np.pi), rel=1e-4)


def test_upsampling_is_a_sum_of_shifted_samples() -> None:
    taps, row = np.array([0.1, 0.2, 0.6, -0.1]), np.random.default_rng(3).normal(size=9)
    matrix = upsampling_matrix(jnp.asarray(taps, jnp.float32), 9)
    by_matrix = np.asarray(matrix @ jnp.asarray(row, jnp.float32))
    for i in range(9 - TAPS):
        assert by_matrix[2 * i] == pytest.approx(taps @ row[i : i + 4], rel=1e-5, abs=1e-6)
        assert by_matrix[2 * i + 1] == pytest.approx(taps[::-1] @ row[i + 1 : i + 5], rel=1e-5, abs=1e-6)
    planes = np.random.default_rng(4).normal(size=(2, 9, 9)).astype(np.float32)
    both = upsampled_planes(jnp.asarray(taps, jnp.float32), jnp.asarray(planes))
    assert np.allclose(both, upsampled(planes, taps.astype(np.float32), np), atol=1e-5)


@pytest.mark.parametrize(
    ("offsets", "margin"),
    [(SQUARE, 1), (CAUSAL, 4), *(pytest.param(*few, marks=pytest.mark.slow) for few in ((CAUSAL, 3), (((0, 0),), 2)))],
)
def test_neighbours_and_their_gradient(offsets: Offsets, margin: int) -> None:
    shape = 6, 7
    planes = np.random.default_rng(4).normal(size=(2, *(side + 2 * margin for side in shape)))
    planes = jnp.asarray(planes, jnp.float32)

    def shifted(planes: jax.Array) -> jax.Array:
        tops = [(margin + y, margin + x) for y, x in offsets]
        return jnp.stack([planes[:, top : top + shape[0], left : left + shape[1]] for top, left in tops])

    found = gathered(planes, offsets, margin)
    assert np.array_equal(found, shifted(planes))
    weights = jnp.asarray(np.random.default_rng(5).normal(size=found.shape), jnp.float32)
    by_gather, by_hand = (
        jax.grad(lambda x, gather=gather: (gather(x) * weights).sum())(planes)
        for gather in (lambda x: gathered(x, offsets, margin), shifted)
    )
    assert np.allclose(by_gather, by_hand, atol=1e-6)
    assert offsets != SQUARE or np.array_equal(neighbourhoods(planes), found)


def test_windows_cover_an_image_once() -> None:
    """Their pixels are those of the image, and zeros beyond; their samples repeat its edges."""
    height, width = WINDOW + 2, 90
    windows = Windows.of(height, width)
    values = np.random.default_rng(7).normal(size=(CHANNELS, height, width)).astype(np.float32)
    parts = windows.pixels(values)
    assert parts.shape == (2, CHANNELS, WINDOW, WINDOW)
    joined = np.concatenate(list(parts), axis=1)
    assert np.array_equal(joined[:, :height, :width], values)
    pixel_weights = np.concatenate(list(windows.pixel_weights()))
    assert pixel_weights[:height, :width].all()
    assert pixel_weights.sum() == height * width
    assert not (joined * (1 - pixel_weights)).any()
    grids = random_grids(height, width)
    owners = [np.zeros(grid.shape) for grid in grids]
    for number, corner in enumerate(windows.corners):
        for level, (grid, window) in enumerate(zip(grids, windows.cut(number, grids), strict=True)):
            owners[level][windows.own(number, level)] += 1
            side = (WINDOW >> level) + 2 * HALO
            assert window.shape == (side, side)
            rows, columns = (
                np.clip(np.arange(first - HALO, first - HALO + side), 0, count - 1)
                for first, count in zip(corner >> level, grid.shape, strict=True)
            )
            assert np.array_equal(window, np.asarray(grid)[np.ix_(rows, columns)])
    assert all((owner == 1).all() for owner in owners)


def test_adding_back_is_the_transpose_of_cutting() -> None:
    """<cut(x), y> = <x, add_back(y)>, also for the samples at an edge that windows repeat."""
    height, width = WINDOW + 2, 90
    windows, grids, rng = Windows.of(height, width), random_grids(height, width), np.random.default_rng(8)
    for number in range(2):
        cut = windows.cut(number, grids)
        parts = [rng.normal(size=part.shape).astype(np.float32) for part in cut]
        totals = [np.zeros(grid.shape, np.float32) for grid in grids]
        add_back(windows, number, np.concatenate([part.ravel() for part in parts]), totals)
        for grid, total, window, part in zip(grids, totals, cut, parts, strict=True):
            assert (np.asarray(grid) * total).sum() == pytest.approx(
                (np.asarray(window) * part).sum(), rel=1e-3, abs=1e-2
            )


def test_latents_move_by_all_waiting_gradients() -> None:
    """By what their own window and others have left; those of other windows stay."""
    size = (40, WINDOW + 30)
    windows = Windows.of(*size)
    start = [np.asarray(grid) for grid in random_grids(*size)]
    latents = Latents.start(start)
    ones = np.ones(sum(part.size for part in windows.cut(0, start)), np.float32)
    for number in range(2):
        latents.add(windows, number, ones)
    moved = latents.copy()
    rates = [0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]  # of the levels
    moved.move(windows, 0, rates, 0)
    for level, (old, new, waiting) in enumerate(zip(start, moved.values, moved.waiting, strict=True)):
        rows, columns = windows.own(0, level)
        assert np.allclose(new[rows, columns], old[rows, columns] - rates[level], atol=1e-5)  # Adam's first step
        assert np.array_equal(new[:, columns.stop :], old[:, columns.stop :])
        assert not waiting[rows, columns].any()
        assert waiting[:, columns.stop :].all()
        assert np.array_equal(latents.values[level], old)
    twice = moved.copy()
    twice.move(windows, 0, rates, 1)  # the mean goes on without a gradient
    assert (twice.values[0][windows.own(0, 0)] < moved.values[0][windows.own(0, 0)]).all()


@pytest.mark.parametrize(
    "size", [(33, WINDOW + 1), *(pytest.param(size, marks=pytest.mark.slow) for size in ((WINDOW, WINDOW), (150, 101)))]
)
def test_windows_join_without_a_seam(size: tuple[int, int]) -> None:
    """To the image that a decoder shows, which knows no windows."""
    synthesis = some_synthesis()
    step = 0.1
    windows = Windows.of(*size)
    grids = random_grids(*size)
    colours = jax.jit(lambda grids: window_colours(synthesis, grids))
    joined = np.zeros((CHANNELS, *(-(-side // WINDOW) * WINDOW for side in size)), dtype=np.float32)
    for number, (top, left) in enumerate(windows.corners):
        part = np.asarray(colours(windows.cut(number, [grid * step for grid in grids])))
        joined[:, top : top + WINDOW, left : left + WINDOW] = part
    complete = [np.asarray(grid).astype(np.int32) for grid in grids]
    decoded = synthesise_grids(SynthesisNetwork(*map(np.asarray, synthesis)), complete, step, Region(0, 0, *size))
    assert np.ptp(decoded) > 0.5
    assert np.abs(joined[:, : size[0], : size[1]] - decoded).max() < 1e-4


# Integers of networks


def with_deltas(pretrained: OverfittedWeights, start: Networks, deltas: np.ndarray) -> Networks:
    """Networks that differ from a start by given changes: the inverse of `flat_deltas`."""
    arrays = pretrained.split(deltas)
    synthesis = SynthesisNetwork(*(w + jnp.asarray(c) for w, c in zip(start.synthesis, arrays, strict=False)))
    layers = {}
    for name, array in zip(CONTEXT_DELTAS, arrays[len(synthesis) :], strict=True):
        weights = getattr(start.contexts, name)
        units = unit_of(name).astype(np.float32).reshape(-1, *[1] * (weights.ndim - 1))
        layers[name] = weights + jnp.asarray((array.T if name in BY_LEVEL else array) / units)
    return Networks(synthesis, start.contexts._replace(**layers))


def moved_networks(weights: OverfittedWeights, std: float) -> tuple[Networks, Networks]:
    """Networks whose changes in steps have a standard deviation, and the pretrained ones."""
    start = pretrained_networks(weights)
    steps = np.random.default_rng(10).normal(0, std, weights.weight_count)
    return with_deltas(weights, start, (steps * weights.steps).astype(np.float32)), start


def test_changes_and_networks_are_inverse(small_weights: OverfittedWeights) -> None:
    start = pretrained_networks(small_weights)
    deltas = (np.random.default_rng(11).normal(0, 3, small_weights.weight_count) * small_weights.steps).astype(
        np.float32
    )
    networks = with_deltas(small_weights, start, deltas)
    found = flat_deltas(networks, start)
    assert found.dtype == np.float32
    assert np.allclose(found, deltas, rtol=1e-3, atol=2e-3)
    again = with_deltas(small_weights, start, found)
    for one, other in zip(jax.tree.leaves(again), jax.tree.leaves(networks), strict=True):
        assert np.allclose(one, other, atol=1e-5)
    assert not flat_deltas(start, start).any()


@pytest.mark.parametrize("exponent", [-5, 0, 2])
def test_rounded_networks_are_those_of_the_decoder(small_weights: OverfittedWeights, exponent: int) -> None:
    """The fit goes on under the networks that the file's reader has."""
    networks, start = moved_networks(small_weights, 1.5)
    exponents = (exponent,) * len(DELTA_NAMES)
    deltas = rounded(small_weights, flat_deltas(networks, start), exponents)
    fitted = decoder_networks(small_weights, deltas)
    network, synthesis = small_weights.networks_of(deltas)
    for name, found, wanted in zip(SynthesisNetwork._fields, fitted.synthesis, synthesis, strict=True):
        assert np.allclose(found, wanted, atol=1e-6), name
    found = fitted.contexts.to_integers()
    for name in GridNetwork.LIMITS:
        assert np.array_equal(getattr(found, name), getattr(network, name)), name


def test_networks_beyond_the_limits_are_those_of_the_decoder(small_weights: OverfittedWeights) -> None:
    """A fit may push a last layer beyond what `GridNetwork` allows."""
    start = pretrained_networks(small_weights)
    beyond = start._replace(contexts=start.contexts._replace(w3=start.contexts.w3 + 100.0))
    deltas = rounded(small_weights, flat_deltas(beyond, start), (-3,) * len(DELTA_NAMES))
    fitted = decoder_networks(small_weights, deltas)
    network, _ = small_weights.networks_of(deltas)
    assert (network.w3 == GridNetwork.LIMITS["w3"]).all()
    assert np.allclose(fitted.contexts.w3, ContextWeights.from_integers(network).w3, atol=1e-5)


def test_small_changes_become_zero(small_weights: OverfittedWeights) -> None:
    """Up to 0.6 of a step; others are rounded with the same threshold."""
    exponents = tuple(EXPONENTS[kind] for kind in range(len(DELTA_NAMES)))
    parts = np.resize([0.0, 0.55, -0.55, 0.65, -0.65, 1.55, -1.65, 7.0], small_weights.weight_count)
    steps = small_weights.step_sizes(exponents)
    deltas = rounded(small_weights, (parts * steps).astype(np.float32), exponents)
    assert deltas.exponents == exponents
    assert deltas.symbols.dtype == np.int32
    assert deltas.symbols.tolist() == np.resize([0, 0, 0, 1, -1, 1, -2, 7], small_weights.weight_count).tolist()


def test_steps_are_chosen_by_cost_and_bits(small_weights: OverfittedWeights) -> None:
    """Where weights do not count, nothing is written of them; where they count much, the finest
    steps are kept; in between, both together cost less than with either.
    """
    networks, start = moved_networks(small_weights, 4.0)
    goal = flat_deltas(networks, start)

    def quantised(bit_cost: float) -> tuple[WeightDeltas, float, float]:
        def cost(tried: Networks) -> float:
            return bit_cost * float((((flat_deltas(tried, start) - goal) / small_weights.steps) ** 2).sum())

        deltas = choose_rounding(small_weights, networks, cost).deltas(networks)
        return deltas, cost(decoder_networks(small_weights, deltas)), delta_bits(small_weights, deltas)[0]

    none, _, no_bits = quantised(0.0)
    assert np.abs(none.symbols).sum() < 0.2 * small_weights.weight_count
    some, some_cost, some_bits = quantised(1.0)
    fine, fine_cost, fine_bits = quantised(1e4)
    assert no_bits < some_bits < fine_bits
    assert max(fine.exponents) <= 0
    assert sum(fine.exponents) < sum(some.exponents) < sum(none.exponents)
    assert some_cost + some_bits < fine_cost / 1e4 + fine_bits
    nothing = float(((goal / small_weights.steps) ** 2).sum())
    assert some_cost + some_bits < nothing


# Optimiser and fit


def valley(seed: int = 7) -> tuple[np.ndarray, Any]:
    """Where a walk starts in a quadratic of 12x12 weights whose steep and flat directions are no
    axes, and its gradient.
    """
    rng = np.random.default_rng(seed)
    u, v = (np.linalg.qr(rng.normal(size=(12, 12)))[0].astype(np.float32) for _ in range(2))
    squares = (np.outer(np.logspace(0, -2, 12), np.logspace(0, -2, 12)) ** 2).astype(np.float32)
    goal = rng.normal(size=(12, 12)).astype(np.float32)
    return np.zeros((12, 12), dtype=np.float32), lambda w: u @ (2 * squares * (u.T @ (w - goal) @ v)) @ v.T


def test_soap_is_ahead_of_adam_on_a_rotated_valley() -> None:
    start, gradient = valley()

    def reached(as_matrix: bool) -> float:
        """The size of the gradient in the end; vectors get Adam."""
        w = start if as_matrix else start.ravel()
        state = SoapState.start([w])
        for number in range(300):
            (step,), state = soap_step([gradient(w.reshape(12, 12)).reshape(w.shape)], state)
            w = w + np.float32(1.5e-2 * (1 + np.cos(np.pi * number / 300))) * step
        return float(np.linalg.norm(gradient(w.reshape(12, 12))))

    assert reached(as_matrix=True) < 0.5 * reached(as_matrix=False)  # measured: 0.13


def test_soft_rounding() -> None:
    """Nearly rounding at a low temperature and nearly nothing at a high one; integers stay."""
    x = jnp.linspace(-2.4, 2.4, 49)
    assert np.abs(soft_round(x, jnp.float32(0.01)) - np.round(x))[np.abs(x % 1 - 0.5) > 0.06].max() < 1e-3
    assert np.allclose(soft_round(x, jnp.float32(20.0)), x, atol=1e-3)
    complete = jnp.arange(-3.0, 4.0)
    for temperature in (0.05, 0.3, 1.0):
        assert np.allclose(soft_round(complete, jnp.float32(temperature)), complete, atol=1e-6)
        assert (np.diff(soft_round(x, jnp.float32(temperature))) >= 0).all()


def cost_of(fit: Fit, state: FitState) -> float:
    """The loss of a decoder, in bits."""
    measured = fit.measured(state)
    return measured.mse * fit.pixel_count / fit.lmbda + measured.bits


@with_kernels
def test_a_fit_lowers_the_cost() -> None:
    """And a second fit is the same."""
    fit, fitted = overfitted_photograph()
    again, start = some_fit(STEPS)
    assert cost_of(fit, fitted) < 0.5 * cost_of(again, start)  # measured: 0.041
    second = after(again, start, STEPS)
    pairs = [(second.networks, fitted.networks), (second.latents, fitted.latents)]
    for one, other in zip(*map(jax.tree.leaves, zip(*pairs, strict=True)), strict=True):
        assert np.array_equal(one, other)


@pytest.mark.slow
def test_jax_measures_as_kernels_do_and_lowers_the_cost() -> None:
    fit, start = some_fit(STEPS, BY_JAX)
    states = start, laplace_state(fit)
    expected = [cost_of(fit, state) for state in states]
    with patch.object(fitting, "loss_of_windows", LossByJax):
        by_jax, start = some_fit(STEPS, BY_JAX)
        found = [cost_of(by_jax, state) for state in states]
        fitted = cost_of(by_jax, after(by_jax, start, 3))
    assert found == pytest.approx(expected, rel=1e-4)
    assert fitted < found[0]


def test_fit_continues_with_fixed_networks() -> None:
    """Networks stay those that are written, and the cost falls still."""
    fit, fitted = overfitted_photograph()
    start = fit.start()._replace(networks=fitted.networks)
    alone = after(fit, start, 10, moves_networks=False)
    for one, other in zip(jax.tree.leaves(alone.networks), jax.tree.leaves(fitted.networks), strict=True):
        assert np.array_equal(one, other)
    assert cost_of(fit, alone) < cost_of(fit, start)


def test_fit_continues_with_rounded_networks() -> None:
    """The gradient is that of the rounded ones, which lowers their cost; to round them again
    changes nothing.
    """
    fit, fitted = overfitted_photograph()
    weights = weights_of_networks(fitted.networks)
    rounding = Rounding(weights, (4,) * len(DELTA_NAMES))
    moved, _ = moved_networks(weights, 16.0)
    state = start = fit.start(fitted.latents)._replace(networks=moved)
    for number in range(10):
        state = fit.step(state, number, rounding=rounding)
    before, after_steps = (cost_of(fit, at._replace(networks=rounding(at.networks))) for at in (start, state))
    assert after_steps < before
    again = rounding(rounding(state.networks))
    for one, other in zip(jax.tree.leaves(again), jax.tree.leaves(rounding(state.networks)), strict=True):
        assert np.allclose(one, other, atol=1e-5)


def test_the_rate_cost_of_a_change_is_that_of_its_bits() -> None:
    """Its derivative is that of the bits under a Laplace distribution around the start, and smooth
    near it. (These changes are so large that the image's own scale is the widest there is.)
    """
    scale = 0.1
    weights = jnp.array([-3.0, -1.0, 0.98, 0.999, 1.0, 1.001, 1.02, 1.5, 9.0])
    start, scales = jnp.full_like(weights, 1.0), jnp.full_like(weights, scale)
    found = np.asarray(fitting._with_rate(jnp.float32(7.0), jnp.full_like(weights, 0.25), weights, start, scales))
    per_bit = 7 / (np.log(2) * scale * fitting._SPREADS[1])
    assert np.allclose(found[[0, 1, -2, -1]] - 0.25, per_bit * np.array([-1, -1, 1, 1]), rtol=0.03)
    assert found[4] == 0.25
    assert (np.diff(found) > -1e-4).all()
    assert np.abs(found[[3, 5]] - 0.25).max() < 0.02 * per_bit


def test_measured_figures_equal_those_of_the_file() -> None:
    """Of a file with the changes of all networks from others, near 32 dB."""
    grids = laplace_grids(*SIZE, scale=1.0)
    weights = weights_of_networks(start_networks(1, 8, 8))
    start = pretrained_networks(weights)
    goal = start_networks(0, 8, 8)
    deltas = rounded(weights, flat_deltas(goal, start), (EXPONENTS[0],) * len(DELTA_NAMES))
    arch = OverfittedArchitecture(3, GRID_LEVELS, 1, weights.width, 1, weights.checksum)
    model = QuantizedGrids(arch, *SIZE, CODE, grids, deltas)
    with installed(weights):
        data = container.write(model)
        decoded = decode_image(data).pixels
    noisy = np.clip(decoded + np.random.default_rng(1).normal(0, 6, decoded.shape), 0, 255).astype(np.uint8)
    colours = np.ascontiguousarray(noisy.transpose(2, 0, 1), dtype=np.float32) / 255
    fit = Fit(colours, LMBDA, CODE, decoder_networks(weights, deltas), FitSchedule.of(STEPS))
    measured = fit.measured(laplace_state(fit))
    assert measured.psnr_db == pytest.approx(psnr(noisy, decoded), abs=0.02)
    assert measured.psnr_db == pytest.approx(20 * np.log10(255 / 6), abs=1)  # clipped samples have less noise
    grid_bytes = container.read_header(data).section_bytes()["grids"]
    assert measured.bits == pytest.approx(8 * grid_bytes, rel=0.01)
