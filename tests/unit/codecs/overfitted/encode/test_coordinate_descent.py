"""Tests of coordinate descent on the symbols of the finest grid."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.data
from common import with_kernels
from overfitted_parts import laplace_grids

from dfmcodec.codecs.overfitted.encode.coordinate_descent import Reach, descend
from dfmcodec.codecs.overfitted.encode.fit import Fit, FitSchedule
from dfmcodec.codecs.overfitted.encode.quantize import pretrained_networks
from dfmcodec.codecs.overfitted.weights import overfitted_weights_of
from dfmcodec.weights.registry import OVERFITTED_LARGE
from research.training.start import start_networks

SIZES = [(1, 1), (5, 40), (23, 31)]


def never() -> bool:
    return False


@pytest.mark.parametrize("size", SIZES)
def test_descent_reaches_a_minimum_one_step_away(size: tuple[int, int]) -> None:
    """Each symbol has a best value of its own, and symbols that are one away come to it."""
    rng = np.random.default_rng(0)
    best = rng.integers(-3, 4, size).astype(np.float32)
    away = rng.integers(-1, 2, size).astype(np.float32)
    grid = best + away
    descend(grid, lambda symbols: (symbols - best) ** 2, never)
    assert np.array_equal(grid, best)


@pytest.mark.parametrize("size", SIZES)
def test_costs_beside_a_symbol_count(size: tuple[int, int]) -> None:
    """As those of the pixels that it reaches: here 2 above and 3 below, and 3 to both sides."""

    def costs(symbols: np.ndarray) -> np.ndarray:
        """A symbol would like to be 1 where it is, and costs more in the corners of its cell."""
        padded = np.pad(np.abs(symbols), 3)
        height, width = symbols.shape
        corners = padded[0:height, 0:width] + padded[5 : 5 + height, 6 : 6 + width]
        return (symbols - 1) ** 2 + 1.5 * corners

    grid = np.zeros(size, dtype=np.float32)
    before = costs(grid).sum()
    descend(grid, costs, never)
    assert costs(grid).sum() <= before
    inner = grid[5:-5, 5:-5]
    assert not inner.any()  # 1 saves 1 and costs 3
    if min(size) <= 3:
        assert grid.all()  # nothing is beside them


def test_descent_without_gain_changes_nothing() -> None:
    grid = np.arange(12, dtype=np.float32).reshape(3, 4)
    before = grid.copy()
    descend(grid, np.zeros_like, never)
    assert np.array_equal(grid, before)


def test_a_descent_can_be_stopped() -> None:
    """What is found so far stays, and is no worse."""
    best = np.ones((12, 14), dtype=np.float32)
    grid = np.zeros_like(best)
    trials = iter(range(100))
    descend(grid, lambda symbols: (symbols - best) ** 2, lambda: next(trials) >= 3)
    assert grid.sum() == 2 * 2  # the cells of the first two trials


def colours_of_photograph(height: int, width: int) -> np.ndarray:
    pixels = skimage.data.chelsea()[60 : 60 + height, 130 : 130 + width]
    return np.ascontiguousarray(pixels.transpose(2, 0, 1), dtype=np.float32) / 255


@pytest.fixture(scope="module")
def fit() -> Fit:
    start = pretrained_networks(overfitted_weights_of(OVERFITTED_LARGE.id))
    return Fit(colours_of_photograph(128, 160), 1e-3, 0, start, FitSchedule.of(40))


@with_kernels
@pytest.mark.parametrize("level", range(4))
def test_a_symbol_changes_costs_within_its_reach_alone(fit: Fit, level: int) -> None:
    """A large change, so that outermost taps show, if not small ones times small ones."""
    rng = np.random.default_rng(level)
    state, reach = fit.start(), Reach.of(level)
    networks = state.networks
    grids = [rng.integers(-2, 3, grid.shape).astype(np.float32) for grid in state.latents]
    row, column = 8 >> level, 10 >> level
    row, column = row + reach.above, column + reach.aside
    before = fit.costs(networks, grids)
    grids[level][row, column] += 200
    rows, columns = np.nonzero(fit.costs(networks, grids) != before)
    assert rows.min() >> level >= row - reach.above
    assert rows.max() >> level <= row + reach.below
    assert columns.min() >> level >= column - reach.aside
    assert columns.max() >> level <= column + reach.aside
    if level < 2:
        assert rows.min() >> level == row - reach.above
        assert columns.min() >> level == column - reach.aside


@pytest.mark.parametrize("level", [0, 1])
def test_descent_lowers_the_loss_by_the_predicted_gain(level: int) -> None:
    """By the least gain for each symbol that moves, also after changes of many cells at once, in an
    image of two windows. (Sums of cells are good to a thousandth of a bit.)
    """
    size = 40, 150
    fit = Fit(colours_of_photograph(*size), 1e-3, 0, start_networks(0, 8, 8), FitSchedule.of(40))
    grids = [grid.astype(np.float32) for grid in laplace_grids(*size, scale=1.0)]
    state = fit.start(grids)
    seen: list[float] = []

    def costs(_: np.ndarray) -> np.ndarray:
        found = fit.costs(state.networks, grids)
        seen.append(float(found.sum(dtype=np.float64)))
        return found

    reach, unswept = Reach.of(level), grids[level].copy()
    descend(grids[level], costs, never, level)
    assert len(seen) == 1 + 2 * reach.rows * reach.columns
    assert seen[0] == pytest.approx(fit.cost(fit.measured(state)), rel=1e-5)
    moved = np.abs(grids[level] - unswept)
    assert moved.max() == 1
    costs(grids[level])
    assert seen[-1] < seen[0] - 0.019 * np.count_nonzero(moved)
    assert all(
        np.array_equal(one, other) for one, other in zip(grids, state.latents, strict=True) if one is not grids[level]
    )
