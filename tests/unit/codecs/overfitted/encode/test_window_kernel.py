"""Tests of the window loss in the kernels: equal to that of JAX with every instruction set, and
without accesses outside arrays.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import skimage
from common import by, without_kernels
from oracles.window_loss import LossByJax
from overfitted_parts import BY_JAX

from dfmcodec.codecs.overfitted.encode.by_jax.synthesis import window_colours
from dfmcodec.codecs.overfitted.encode.latents import Latents
from dfmcodec.codecs.overfitted.encode.networks import Networks
from dfmcodec.codecs.overfitted.encode.window_kernel import LossByKernel
from dfmcodec.codecs.overfitted.encode.window_loss import ImageTerms, Softness, WindowPixels
from dfmcodec.codecs.overfitted.encode.windows import WINDOW, Windows
from dfmcodec.codecs.overfitted.grids import grid_sizes
from dfmcodec.codecs.overfitted.synthesis import synthesise_grids
from dfmcodec.image.region import Region
from dfmcodec.kernels import compiled
from research.training.start import start_networks

pytestmark = pytest.mark.skipif(compiled is None, reason="no kernels were built, or not for this processor")
INSTRUCTION_SETS = [] if compiled is None else compiled.instruction_sets()
SIZES = [(250, 300), (128, 128), (129, 5)]  # windows with neighbours on all sides, on none, and narrow ones
SOFT = Softness(np.float32(0.3), np.float32(0), np.uint32(7))


@pytest.fixture(autouse=True, scope="module")
def _compiled_soon() -> Iterator[None]:
    """XLA compiles the loss of JAX in half of the time where it optimises little."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


def some_networks() -> Networks:
    """All weights matter, and a part of the units is at either end of its range."""
    rng = np.random.default_rng(0)
    start = start_networks(0, *BY_JAX)
    return jax.tree.map(lambda array: array + jnp.asarray(rng.normal(0, 0.2, array.shape), jnp.float32), start)


def some_image(height: int, width: int) -> tuple[ImageTerms, Windows, list[WindowPixels], tuple[np.ndarray, ...]]:
    colours = skimage.data.chelsea()[:height, :width].astype(np.float32).transpose(2, 0, 1) / np.float32(255)
    windows = Windows.of(height, width)
    parts = windows.pixels(np.ascontiguousarray(colours)), windows.pixel_weights(), windows.corners
    rng = np.random.default_rng(3)
    latents = tuple(rng.normal(0, 2, size).astype(np.float32) for size in grid_sizes(height, width))
    size = np.array([height, width], np.int32)
    terms = ImageTerms(size, np.float32(4e-3), np.float32(1.7), np.float32(255))
    return terms, windows, [WindowPixels(*part) for part in zip(*parts, strict=True)], latents


def gradient(loss: Any, weights: Any, image: Any, latents: Any, softness: Softness, window: int) -> Any:
    [of_window] = loss.gradients(weights, image, latents, {window: softness})
    return of_window


def costs(loss: Any, weights: Any, image: Any, grids: Any, window: int) -> Any:
    [of_window] = loss.costs(weights, image, grids, [window])
    return of_window


def assert_close(found: Any, expected: Any, tolerance: float = 1e-4) -> None:
    """Of the largest number; measured for all instruction sets: 3.5e-6."""
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert np.shape(one) == np.shape(other)
        assert np.abs(np.asarray(one) - other).max() <= tolerance * np.abs(np.asarray(other)).max()


@pytest.mark.slow
@pytest.mark.parametrize("size", [pytest.param(SIZES[0], marks=pytest.mark.slow), *SIZES[1:]])
def test_gradients_and_costs_are_those_of_jax(size):
    image, windows, pixels, latents = some_image(*size)
    networks = some_networks()
    by_jax = LossByJax(windows, pixels)
    for window in range(len(pixels)):
        expected, expected_grad_latents = gradient(by_jax, networks, image, latents, SOFT, window)
        complete = [np.rint(grid) for grid in latents]
        expected_errors, expected_bits = costs(by_jax, networks, image, complete, window)
        assert expected_bits.sum() > 10
        assert expected_errors.sum() > 1
        for instruction_set in INSTRUCTION_SETS:
            loss = LossByKernel(windows, pixels)
            with by(instruction_set):
                found, grad_latents = gradient(loss, loss.weights(networks), image, latents, SOFT, window)
                errors, bits = costs(loss, loss.weights(networks), image, complete, window)
            assert_close(loss.total([found]), expected)
            assert_close(grad_latents, expected_grad_latents)
            assert_close(bits, expected_bits)
            assert np.mean(np.abs(errors - expected_errors) > 1e-5) < 1e-3  # a code value more or less


@pytest.mark.slow
@pytest.mark.parametrize("peak", [pytest.param(255, marks=pytest.mark.slow), 65535])
def test_errors_are_those_of_colours_as_values_of_samples(peak):
    """Which JAX and each instruction set round alike, to values of 8 or of 16 bits."""
    image, windows, pixels, latents = some_image(128, 128)
    image = image._replace(peak=np.float32(peak))
    networks = some_networks()
    complete = [np.rint(grid) for grid in latents]
    by_jax, loss = LossByJax(windows, pixels), LossByKernel(windows, pixels)
    colours = np.asarray(window_colours(networks.synthesis, [grid * image.step for grid in windows.cut(0, complete)]))
    values = np.rint(np.clip(colours, 0, 1).astype(np.float64) * peak) / peak
    expected = ((values - pixels[0].colours) ** 2).sum(axis=0)
    found = [costs(by_jax, networks, image, complete, 0)[0]]
    for instruction_set in INSTRUCTION_SETS:
        with by(instruction_set):
            found.append(costs(loss, loss.weights(networks), image, complete, 0)[0])
    for errors in found:
        assert np.abs(errors - expected).mean() < 1e-5  # few are a value more or less


def test_colours_are_those_of_the_decoder():
    """With every instruction set, at the edges of the image too, in code values of the image."""
    image, windows, pixels, latents = some_image(130, 140)
    networks = some_networks()
    grids = [np.rint(grid) for grid in latents]
    symbols, region = [grid.astype(np.int32) for grid in grids], Region(0, 0, 130, 140)
    expected = np.clip(synthesise_grids(networks.synthesis, symbols, float(image.step), region), 0, 1) * 255
    loss = LossByKernel(windows, pixels)
    for instruction_set in INSTRUCTION_SETS:
        with by(instruction_set):
            parts = loss.colours(loss.weights(networks), image, grids)
        found = np.stack([windows.joined(planes) for planes in zip(*parts, strict=True)]) * 255
        assert np.abs(found - np.rint(found)).max() < 1e-4
        assert np.abs(found - expected).max() < 0.51


@pytest.mark.slow
def test_colours_and_gradients_by_a_shifted_target_are_those_of_jax():
    image, windows, pixels, latents = some_image(*SIZES[0])
    networks = some_networks()
    target = np.random.default_rng(5).random((3, *SIZES[0])).astype(np.float32)
    loss, by_jax = (of(windows, pixels).aimed_at(target) for of in (LossByKernel, LossByJax))
    grids = [np.rint(grid) for grid in latents]
    found, expected = (
        [windows.joined(planes) for planes in zip(*parts, strict=True)]
        for parts in (loss.colours(loss.weights(networks), image, grids), by_jax.colours(networks, image, grids))
    )
    assert np.mean(np.abs(np.subtract(found, expected)) > 1e-5) < 1e-3  # a code value more or less
    grad_weights, grad_latents = gradient(loss, loss.weights(networks), image, latents, SOFT, 3)
    expected_grad_weights, expected_grad_latents = gradient(by_jax, networks, image, latents, SOFT, 3)
    assert_close(loss.total([grad_weights]), expected_grad_weights)
    assert_close(grad_latents, expected_grad_latents)


def test_a_loss_aimed_at_other_colours_is_that_of_an_image_of_them():
    image, windows, pixels, latents = some_image(130, 140)
    networks, grids = some_networks(), [np.rint(grid) for grid in latents]
    colours = np.random.default_rng(5).random((3, 130, 140)).astype(np.float32)
    parts = windows.pixels(colours), windows.pixel_weights(), windows.corners
    expected = LossByKernel(windows, [WindowPixels(*part) for part in zip(*parts, strict=True)])
    found = LossByKernel(windows, pixels).aimed_at(colours)
    weights = found.weights(networks)
    for of_loss in (costs, partial(gradient, softness=SOFT)):
        one, other = (of_loss(loss, weights, image, grids, window=1) for loss in (found, expected))
        assert np.array_equal(one[1], other[1])
    assert np.array_equal(costs(found, weights, image, grids, 1)[0], costs(expected, weights, image, grids, 1)[0])


def test_latents_move_as_with_numpy():
    image, windows, pixels, latents = some_image(*SIZES[0])
    loss = LossByKernel(windows, pixels)
    weights = loss.weights(some_networks())
    gradients = [gradient(loss, weights, image, latents, SOFT, window)[1] for window in range(len(pixels))]
    moved = []
    for is_compiled in (True, False):
        state = Latents.start(latents)

        def steps(state: Latents = state) -> None:
            for step in range(2):
                for window, grad_latents in enumerate(gradients):
                    state.add(windows, window, grad_latents)
                for window in range(len(gradients)):
                    state.move(windows, window, [0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8], step)

        if is_compiled:
            steps()
        else:
            with without_kernels():
                steps()
        moved.append(state)
    for one, other in zip(moved[0].values, moved[1].values, strict=True):
        assert np.abs(one - other).max() < 1e-4
        assert not np.array_equal(other, latents[0][: other.shape[0], : other.shape[1]])
    assert not any(grid.any() for grid in moved[0].waiting)


@pytest.mark.parametrize("instruction_set", compiled.instruction_sets() if compiled else [])
def test_results_do_not_depend_on_workspace_contents(instruction_set):
    """Not even NaN, which bytes of 255 are."""
    image, windows, pixels, latents = some_image(130, 140)
    loss = LossByKernel(windows, pixels)
    weights = loss.weights(some_networks())
    window = loss._fit_window(weights, image, latents, 0)
    with by(instruction_set):
        results = []
        for left in (0, 255):
            workspace = np.full(compiled.window_workspace(), left, np.uint8)
            found = np.empty_like(weights.flat), np.empty(60000, np.float32)
            costs = np.empty((WINDOW, WINDOW), np.float32), np.empty(40000, np.float32)
            for array in (*found, *costs):
                array.fill(0)
            both = {"window": window, "workspace": workspace}
            compiled.window_gradient(
                **both, temperature=0.3, noise=0.2, seed=1, grad_weights=found[0], grad_latents=found[1]
            )
            workspace.fill(left)
            compiled.window_costs(**both, errors=costs[0], bits=costs[1])
            workspace.fill(left)
            decoded = np.zeros((3, WINDOW, WINDOW), np.float32)
            compiled.window_colours(**both, decoded=decoded)
            results.append((*found, *costs, decoded))
    for one, other in zip(*results, strict=True):
        assert np.isfinite(one).all()
        assert np.array_equal(one, other)
