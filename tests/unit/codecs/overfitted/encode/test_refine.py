"""Tests of the final refinement of the networks of the overfitted codec, by single quantiser
steps.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from common import with_kernels
from overfitted_parts import laplace_grids

from dfmcodec.codecs.decode import render
from dfmcodec.codecs.overfitted.contents import OverfittedArchitecture, QuantizedGrids
from dfmcodec.codecs.overfitted.encode.fit import Fit, FitSchedule, FitState
from dfmcodec.codecs.overfitted.encode.networks import Networks
from dfmcodec.codecs.overfitted.encode.quantize import (
    Rounding,
    flat_deltas,
    flat_gradient,
    from_flat,
    pretrained_networks,
)
from dfmcodec.codecs.overfitted.encode.refine import refined
from dfmcodec.codecs.overfitted.grids import code_of_lmbda
from dfmcodec.codecs.overfitted.sections.networks import delta_bits
from dfmcodec.codecs.overfitted.weights import DELTA_NAMES, OverfittedWeights, overfitted_weights_of
from dfmcodec.weights.registry import OVERFITTED_SMALL

LMBDA, TRIALS = 2e-3, 20
SearchResult = tuple[Fit, FitState, Rounding]


@pytest.fixture(scope="module")
def weights() -> OverfittedWeights:
    return overfitted_weights_of(OVERFITTED_SMALL.id)


@pytest.fixture(scope="module", params=[(40, 150), (56, 64)], ids=["windows", "a window"])
def found(request: pytest.FixtureRequest, weights: OverfittedWeights) -> SearchResult:
    """An image that pretrained networks give with known symbols, and other networks: a twentieth
    of the weights are a coarse step away.
    """
    rounding = Rounding(weights, (2,) * len(DELTA_NAMES))
    grids = laplace_grids(*request.param, scale=1.0)
    arch = OverfittedArchitecture(3, len(grids), 1, weights.width, 1, weights.checksum)
    pixels = render(QuantizedGrids(arch, *request.param, code_of_lmbda(LMBDA), grids))
    colours = np.ascontiguousarray(pixels.transpose(2, 0, 1), dtype=np.float32) / 255
    start = pretrained_networks(weights)
    fit = Fit(colours, LMBDA, code_of_lmbda(LMBDA), start, FitSchedule.of(1))
    rng = np.random.default_rng(0)
    steps = rng.choice([-1, 0, 1], weights.weight_count, p=[0.025, 0.95, 0.025])
    deltas = (steps * weights.step_sizes(rounding.exponents)).astype(np.float32)
    networks = Networks(*jax.tree.map(jnp.add, start, from_flat(deltas, start)))
    state = fit.start([grid.astype(np.float32) for grid in grids])._replace(networks=networks)
    return fit, state, rounding


def never() -> bool:
    return False


def cost_of(found: SearchResult, networks: Networks) -> float:
    """The cost of a file with networks as they would be written, in bits."""
    fit, state, rounding = found
    measured = fit.measured(state._replace(networks=rounding(networks)))
    of_networks, _ = delta_bits(rounding.weights, rounding.deltas(networks))
    return measured.mse * fit.pixel_count / LMBDA + measured.bits + of_networks


def refined_networks(found: SearchResult, trials: int, should_stop=never) -> Networks:
    fit, state, rounding = found
    return refined(fit, state, rounding, trials, should_stop)


@pytest.mark.slow
def test_single_steps_lower_the_cost(found: SearchResult) -> None:
    """By more the more trials there are, and the networks are such as a file holds."""
    _, state, rounding = found
    costs = [cost_of(found, refined_networks(found, trials)) for trials in (0, TRIALS // 4, TRIALS)]
    assert costs[0] == pytest.approx(cost_of(found, state.networks), rel=1e-6)
    assert costs[2] < costs[1] < costs[0]
    networks = refined_networks(found, TRIALS)
    moved = rounding.deltas(networks).symbols - rounding.deltas(state.networks).symbols
    assert 0 < np.count_nonzero(moved) <= TRIALS
    for one, again in zip(jax.tree.leaves(networks), jax.tree.leaves(rounding(networks)), strict=True):
        assert np.allclose(one, again, atol=1e-6)


@with_kernels
def test_trials_are_chosen_well(found: SearchResult) -> None:
    """Most of the first ones lower the cost, of thousands of steps that could be tried."""
    _, state, rounding = found
    networks = refined_networks(found, TRIALS)
    moved = rounding.deltas(networks).symbols - rounding.deltas(state.networks).symbols
    assert TRIALS / 5 < np.count_nonzero(moved) <= TRIALS


def test_a_search_can_be_stopped(found: SearchResult) -> None:
    """Before its first trial, or after some."""
    _, state, rounding = found
    as_rounded = rounding.deltas(state.networks).symbols
    assert np.array_equal(rounding.deltas(refined_networks(found, TRIALS, lambda: True)).symbols, as_rounded)
    calls = iter(range(100))
    stopped = refined_networks(found, TRIALS, lambda: next(calls) >= 10)
    same = refined_networks(found, 10)
    assert np.array_equal(rounding.deltas(stopped).symbols, rounding.deltas(same).symbols)


def test_a_flat_gradient_is_that_by_flat_changes(weights: OverfittedWeights) -> None:
    """g(networks) = sum of a * networks changes by the flat gradient times flat changes."""
    start = pretrained_networks(weights)
    rng = np.random.default_rng(0)
    a, d = (jax.tree.map(lambda w: jnp.asarray(rng.normal(size=w.shape), jnp.float32), start) for _ in range(2))
    change = sum(float((x * y).sum()) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(d), strict=True))
    moved = Networks(*jax.tree.map(jnp.add, start, d))
    by_flat = float(flat_gradient(a).astype(np.float64) @ flat_deltas(moved, start))
    assert by_flat == pytest.approx(change, rel=1e-3)
    assert flat_gradient(a).shape == (weights.weight_count,)
