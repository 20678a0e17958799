"""The fit of the fitted model: its rate, its synthesis, its optimiser, and what steps gain."""

from __future__ import annotations

from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import skimage.data

from dfmcodec.encoder.fitted.contexts import ContextWeights, laplace_bits, symbol_bits
from dfmcodec.encoder.fitted.fit import Fit, Networks, adam, cosine_schedule
from dfmcodec.encoder.fitted.machine import (
    TAPS,
    MachineWeights,
    cosine_less_one_and_sine,
    upsampling_matrix,
    window_colours,
)
from dfmcodec.encoder.fitted.neighbours import neighbourhoods
from dfmcodec.encoder.fitted.soap import soap
from dfmcodec.encoder.fitted.windows import LEVELS, WINDOW, Windows, grid_sizes
from dfmcodec.entropy.passes import PHASES

LMBDA = 1e-3


def photograph(height: int, width: int) -> np.ndarray:
    return np.ascontiguousarray(skimage.data.chelsea()[40 : 40 + height, 120 : 120 + width])


def random_grids(height: int, width: int, seed: int = 0) -> list[jax.Array]:
    rng = np.random.default_rng(seed)
    return [jnp.asarray(rng.integers(-2, 3, size), jnp.float32) for size in grid_sizes(height, width)]


def one_window(height: int, width: int, seed: int = 0) -> list[jax.Array]:
    return [grid[0] for grid in Windows.of(height, width).cut(random_grids(height, width, seed))]


# Rate


def test_laplace_probabilities_sum_to_one() -> None:
    symbols = jnp.arange(-60.0, 61.0)
    for mean, scale in product((0.0, 0.4, -2.3), (0.5, 3.0)):
        # Probabilities below 2^-16 count as 2^-16, 121 of them at most.
        assert float((2 ** -laplace_bits(symbols, jnp.float32(mean), jnp.float32(scale))).sum()) == pytest.approx(
            1, abs=121 * 2**-16
        )


def test_bits_depend_on_symbols_that_are_decoded_before() -> None:
    """A changed symbol changes its own bits, those of later phases of its grid, and those of the
    two finer grids.
    """
    size = (WINDOW, WINDOW)
    rng = np.random.default_rng(1)
    weights = jax.tree.map(
        lambda array: jnp.asarray(rng.normal(0, 0.1, array.shape), jnp.float32), ContextWeights.start(rng, 8)
    )
    corner = jnp.zeros(2, jnp.int32)
    grids = random_grids(*size)
    windows = Windows.of(*size)
    bits = jax.jit(lambda grids: symbol_bits(weights, [grid[0] for grid in windows.cut(grids)], corner, size))
    before = np.asarray(bits(grids))
    first_cell = np.cumsum([0, *((WINDOW >> level) ** 2 // 4 for level in range(LEVELS))])
    for level, phase in product((0, 2, 3), range(len(PHASES))):
        row, column = (6 + offset for offset in PHASES[phase])
        changed = list(grids)
        changed[level] = grids[level].at[row, column].add(1.0)
        differs = np.asarray(bits(changed)) != before
        own = first_cell[level] + 3 * (WINDOW >> level) // 2 + 3
        assert differs[phase, own]
        of_grid = differs[:, first_cell[level] : first_cell[level + 1]]
        assert of_grid[phase].sum() == 1
        assert not of_grid[:phase].any()
        assert of_grid[phase + 1 :].any() == (phase < 3)
        assert not differs[:, first_cell[level + 1] :].any()
        finer = [differs[:, first_cell[other] : first_cell[other + 1]].any() for other in range(level)]
        assert finer == [other >= level - 2 for other in range(level)]


def test_symbols_beyond_the_image_take_no_bits_and_change_none() -> None:
    height, width = 70, 101
    rng = np.random.default_rng(2)
    weights = ContextWeights.start(rng, 8)
    corner = jnp.zeros(2, jnp.int32)
    grids = one_window(height, width)
    bits = symbol_bits(weights, grids, corner, (height, width))
    counts = [(bits[phase] > 0).sum() for phase in range(4)]
    expected = sum(h * w for h, w in grid_sizes(height, width))
    assert sum(int(count) for count in counts) == expected
    elsewhere = [grid.at[:, -1].set(9.0).at[-1].set(9.0) for grid in grids]  # halo beyond the image
    assert np.array_equal(bits, symbol_bits(weights, elsewhere, corner, (height, width)))


# Synthesis


def test_polynomials_are_cosine_and_sine() -> None:
    turns = jnp.linspace(-3, 3, 20_001)
    cosine, sine = cosine_less_one_and_sine(turns)
    assert np.abs(cosine + 1 - np.cos(2 * np.pi * np.asarray(turns, np.float64))).max() < 2e-6
    assert np.abs(sine - np.sin(2 * np.pi * np.asarray(turns, np.float64))).max() < 2e-6
    slope = jax.grad(lambda t: cosine_less_one_and_sine(t)[1])(jnp.float32(0.1))
    assert float(slope) == pytest.approx(2 * np.pi * np.cos(0.2 * np.pi), rel=1e-4)


def test_upsampling_is_a_sum_of_shifted_samples() -> None:
    taps, row = np.array([0.1, 0.2, 0.6, -0.1]), np.random.default_rng(3).normal(size=9)
    doubled = np.asarray(upsampling_matrix(jnp.asarray(taps, jnp.float32), 9) @ jnp.asarray(row, jnp.float32))
    for i in range(9 - TAPS):
        assert doubled[2 * i] == pytest.approx(taps @ row[i : i + 4], rel=1e-5, abs=1e-6)
        assert doubled[2 * i + 1] == pytest.approx(taps[::-1] @ row[i + 1 : i + 5], rel=1e-5, abs=1e-6)


def test_neighbourhoods_and_their_gradient() -> None:
    planes = jnp.asarray(np.random.default_rng(4).normal(size=(2, 6, 7)), jnp.float32)
    gathered = neighbourhoods(planes)
    assert gathered.shape == (9, 2, 4, 5)
    assert np.array_equal(gathered[5], planes[:, 1:5, 2:7])
    weights = jnp.asarray(np.random.default_rng(5).normal(size=gathered.shape), jnp.float32)
    by_hand = jax.grad(lambda x: (neighbourhoods(x) * weights).sum())(planes)
    shifted = jax.grad(
        lambda x: sum((x[:, y : y + 4, z : z + 5] * weights[3 * y + z]).sum() for y in range(3) for z in range(3))
    )(planes)
    assert np.allclose(by_hand, shifted, atol=1e-6)


@pytest.mark.parametrize("activation", ["fourier", "relu"])
def test_windows_join_without_a_seam(activation: str) -> None:
    """Pixels do not depend on where windows are cut: an image that is moved by half a window gives
    the same pixels, away from its edges.
    """
    rng = np.random.default_rng(6)
    weights = MachineWeights.start(rng, 8, activation)  # type: ignore[arg-type]
    weights = jax.tree.map(lambda array: array + jnp.asarray(rng.normal(0, 0.05, array.shape), jnp.float32), weights)
    height, width = 4 * WINDOW, WINDOW
    grids = random_grids(height, width)
    moved = [grid[(WINDOW // 2) >> level :] for level, grid in enumerate(grids)]

    def colours(grids: list[jax.Array], height: int) -> np.ndarray:
        windows = Windows.of(height, width)
        cut = windows.cut(grids)
        parts = [window_colours(weights, [grid[n] for grid in cut]) for n in range(len(windows.corners))]
        return np.concatenate([np.asarray(part) for part in parts], axis=1)

    whole = colours(grids, height)[:, WINDOW // 2 :]
    shifted = colours(moved, height - WINDOW // 2)[:, : height - WINDOW // 2]
    below = 320  # rows that see the new upper edge through the filters of the coarsest grids
    assert np.allclose(shifted[:, below:], whole[:, below:], atol=1e-5)


# Optimiser and fit


def test_soap_is_ahead_of_adam_on_a_rotated_valley() -> None:
    """A quadratic in 12x12 weights whose steep and flat directions are no axes."""
    rng = np.random.default_rng(7)
    left, right = (np.linalg.qr(rng.normal(size=(12, 12)))[0] for _ in range(2))
    scale = np.outer(np.logspace(0, -2, 12), np.logspace(0, -2, 12))
    goal = jnp.asarray(rng.normal(size=(12, 12)), jnp.float32)
    u, v, s = (jnp.asarray(array, jnp.float32) for array in (left, right, scale))

    def loss(w: jax.Array) -> jax.Array:
        return ((s * (u.T @ (w - goal) @ v)) ** 2).sum()

    def reached(optimizer: optax.GradientTransformation) -> float:
        def step(carry: tuple, _: None) -> tuple:
            w, state = carry
            changes, state = optimizer.update(jax.grad(loss)(w), state, w)
            return (optax.apply_updates(w, changes), state), None

        start = jnp.zeros((12, 12))
        (w, _), _ = jax.lax.scan(step, (start, optimizer.init(start)), None, length=300)
        return float(loss(w))

    schedule = cosine_schedule(3e-2, 300)
    assert reached(soap(schedule)) < 0.5 * reached(adam(schedule, 0.95, 0.95))


def test_a_fit_of_a_photograph() -> None:
    """Of a size that no grid divides. After 60 steps a third of the start's cost is gone; a second
    fit is the same.
    """
    fit = Fit(photograph(100, 143), LMBDA, 60)
    networks = Networks.start(0, 8, 8)

    def costs() -> list[float]:
        return [measured.cost(LMBDA) for _, measured in fit.run(networks, lambda step: step in (1, 60))]

    first, last = costs()
    assert last < 0.66 * first
    assert costs() == [first, last]
