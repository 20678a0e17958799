"""Tests of latents of smooth areas, and of images whose networks need few weight deltas."""

from __future__ import annotations

from math import log

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import skimage.data
import skimage.filters

from dfmcodec.codecs.overfitted.encode.fit import _SPREADS, Fit, FitSchedule, _with_rate
from dfmcodec.codecs.overfitted.encode.smooth import SMOOTH_FRACTION, smooth_fraction, smooth_latents
from dfmcodec.codecs.overfitted.grids import code_of_lmbda, grid_sizes
from research.training.start import start_networks

LMBDA = 5e-4
SIGNS = np.array([1.0, -1.0, 1.0], dtype=np.float32)


def colours(height: int = 150, width: int = 201) -> np.ndarray:
    """A photograph, float32 [3, H, W] in 0..1."""
    pixels = skimage.data.chelsea()[40 : 40 + height, 60 : 60 + width]
    return np.ascontiguousarray(pixels.transpose(2, 0, 1), dtype=np.float32) / 255


def blurred(image: np.ndarray) -> np.ndarray:
    return np.asarray(skimage.filters.gaussian(image, 4, channel_axis=0), dtype=np.float32)


def half_blurred() -> np.ndarray:
    """Blurred from column 60 on."""
    image = colours()
    return np.concatenate([image[:, :, :60], blurred(image)[:, :, 60:]], axis=2)


def test_smooth_areas_are_frozen_and_details_are_not() -> None:
    frozen = smooth_latents(half_blurred(), LMBDA)
    assert [of_level.shape for of_level in frozen] == grid_sizes(150, 201)[:2]
    blurred_parts, sharp_parts = [frozen[0][:, 70:], frozen[1][:, 40:]], [frozen[0][:, :55], frozen[1][:, :25]]
    assert [part.mean() > bound for part, bound in zip(blurred_parts, (0.99, 0.6), strict=True)] == [True, True]
    assert [part.mean() < bound for part, bound in zip(sharp_parts, (0.5, 0.1), strict=True)] == [True, True]


def test_a_lower_multiplier_holds_less() -> None:
    few, many = (smooth_latents(half_blurred(), lmbda) for lmbda in (LMBDA / 16, LMBDA * 16))
    assert few[0].mean() < many[0].mean()
    assert not (few[0] & ~many[0]).any()


def test_an_image_full_of_details_holds_none() -> None:
    assert smooth_latents(colours(), LMBDA / 16) == []


def test_latents_are_frozen_where_more_than_half_is_smooth() -> None:
    parts = {}
    for lmbda in LMBDA * 4.0 ** np.arange(-4, 3):
        part = smooth_fraction(half_blurred(), lmbda)
        frozen = smooth_latents(half_blurred(), lmbda)
        assert bool(frozen) == (part > SMOOTH_FRACTION), lmbda
        assert not frozen or part == frozen[0].mean()
        parts[lmbda] = part
    assert list(parts.values()) == sorted(parts.values())
    assert min(parts.values()) < SMOOTH_FRACTION < 0.9 < max(parts.values())


@pytest.mark.slow
def test_frozen_latents_are_zero_in_the_first_part_only() -> None:
    image, steps = half_blurred(), 10
    frozen = smooth_latents(image, LMBDA)
    schedule = FitSchedule(steps, frozen_fraction=0.4)
    fit = Fit(image, LMBDA, code_of_lmbda(LMBDA), start_networks(0, 8, 8), schedule, frozen=frozen)
    state = fit.start()
    for number in range(steps):
        state = fit.step(state, number)
        moved = [bool(grid[where].any()) for grid, where in zip(state.latents, frozen, strict=False)]
        assert moved == [number >= 4] * 2
        assert all(grid[~where].any() for grid, where in zip(state.latents, frozen, strict=False))
        assert all(grid.any() for grid in state.latents[2:])


@pytest.mark.parametrize("mean_change", [0.05, 0.7, 9.0])
def test_the_rate_cost_of_changes_follows_their_own_scale(mean_change: float) -> None:
    """Away from zero it is the derivative of -log2 of a Laplace density."""
    scales = jnp.array([0.5, 1.0, 2.0])
    start = jnp.ones(3)
    weights = start + mean_change * scales * SIGNS
    spread = float(np.clip(mean_change, *_SPREADS))

    def bits(values: jax.Array) -> jax.Array:
        return (jnp.abs(values - start) / (scales * spread)).sum() / log(2)

    expected = 3.0 * jax.grad(bits)(weights)
    found = _with_rate(jnp.float32(3), jnp.zeros(3), weights, start, scales)
    is_far = mean_change > _SPREADS[0]
    assert jnp.allclose(found, expected, rtol=0.06) if is_far else (jnp.abs(found) < jnp.abs(expected)).all()
    assert (jnp.sign(found) == SIGNS).all()
