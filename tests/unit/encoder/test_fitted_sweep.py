"""The sweep of the fitted model: the last choice of the symbols of the finest grid."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.data

from dfmcodec.encoder.fitted.fit import Fit, Recipe
from dfmcodec.encoder.fitted.networks import Networks
from dfmcodec.encoder.fitted.quantize import prior_networks
from dfmcodec.encoder.fitted.sweep import Reach, sweep
from dfmcodec.prior.fitted import fitted_prior_of

SIZES = [(1, 1), (5, 40), (23, 31)]


def never() -> bool:
    return False


@pytest.mark.parametrize("size", SIZES)
def test_symbols_come_to_a_minimum_that_is_one_away(size: tuple[int, int]) -> None:
    """Each symbol has a best value of its own, and symbols that are one away come to it."""
    rng = np.random.default_rng(0)
    best = rng.integers(-3, 4, size).astype(np.float32)
    away = rng.integers(-1, 2, size).astype(np.float32)
    grid = best + away
    sweep(grid, lambda symbols: (symbols - best) ** 2, never)
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
    sweep(grid, costs, never)
    assert costs(grid).sum() <= before
    inner = grid[5:-5, 5:-5]
    assert not inner.any()  # 1 saves 1 and costs 3
    if min(size) <= 3:
        assert grid.all()  # nothing is beside them


def test_a_gain_of_nothing_changes_nothing() -> None:
    grid = np.arange(12, dtype=np.float32).reshape(3, 4)
    before = grid.copy()
    sweep(grid, np.zeros_like, never)
    assert np.array_equal(grid, before)


def test_a_sweep_can_be_stopped() -> None:
    """What is found so far stays, and is no worse."""
    best = np.ones((12, 14), dtype=np.float32)
    grid = np.zeros_like(best)
    trials = iter(range(100))
    sweep(grid, lambda symbols: (symbols - best) ** 2, lambda: next(trials) >= 3)
    assert grid.sum() == 2 * 2  # the cells of the first two trials


@pytest.fixture(scope="module")
def fit() -> Fit:
    colours = skimage.data.chelsea()[60:188, 130:290].transpose(2, 0, 1).astype(np.float32) / 255
    return Fit(np.ascontiguousarray(colours), 1e-3, 0, prior_networks(fitted_prior_of(0x5CABBE89)), Recipe.of(40))


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


def test_a_sweep_of_a_coarser_grid_lowers_the_loss(fit: Fit) -> None:
    """By what the costs of its cells say, which are those of all pixels."""
    state = fit.start()
    for number in range(20):
        state = fit.step(state, number)
    grids = [np.rint(grid) for grid in state.latents]
    seen: list[float] = []

    def costs(_: np.ndarray) -> np.ndarray:
        found = fit.costs(state.networks, grids)
        seen.append(float(found.sum()))
        return found

    before, unswept = costs(grids[1]).sum(), grids[1].copy()
    sweep(grids[1], costs, never, 1)
    assert (grids[1] != unswept).any()
    assert costs(grids[1]).sum() < min(0.999 * before, min(seen) + 1)


def test_a_sweep_lowers_the_loss_of_a_fit_by_what_it_finds() -> None:
    """The costs pixel by pixel are those of the fit, also after changes of many cells at once."""
    colours = skimage.data.chelsea()[60:180, 130:300].transpose(2, 0, 1).astype(np.float32) / 255
    fit = Fit(np.ascontiguousarray(colours), 1e-3, 0, Networks.start(0, 8, 8), Recipe.of(40))
    state = fit.start()
    for number in range(40):
        state = fit.step(state, number)
    grids = [np.rint(grid) for grid in state.latents]

    def costs(finest: np.ndarray) -> np.ndarray:
        return fit.costs(state.networks, [finest, *grids[1:]])

    def loss(finest: np.ndarray) -> float:
        measured = fit.measured(state._replace(moving_latents=latents_of([finest, *grids[1:]])))
        return measured.mse * fit.pixel_count / fit.lmbda + measured.bits

    def latents_of(values: list[np.ndarray]) -> object:
        return type(state.moving_latents).start(values)

    before = loss(grids[0])
    assert costs(grids[0]).sum() == pytest.approx(before, rel=1e-4)
    seen: list[float] = []

    def watched(finest: np.ndarray) -> np.ndarray:
        found = costs(finest)
        seen.append(float(found.sum()))
        return found

    after = grids[0].copy()
    sweep(after, watched, never)
    reach = Reach.of(0)
    assert len(seen) == 1 + 2 * reach.rows * reach.columns
    assert (after != grids[0]).any()
    assert np.abs(after - grids[0]).max() <= 2
    assert loss(after) < 0.99 * before
    assert loss(after) < min(seen) + 1
    assert all(np.isfinite(grid).all() for grid in [after, *grids])
