"""Tests of the Fourier layer against a direct float64 evaluation of its formula."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from dfmcodec.fourier.layer import FrequencySet, fourier_sum, frequency_set
from dfmcodec.fourier.network import CoordinateArchitecture, axis_positions, deep_fourier_machine, unpack


def direct_sum(v, a, b, vectors):
    """sum_k a_k cos(2 pi k.v) + b_k sin(2 pi k.v), term by term in float64."""
    v = np.asarray(v, dtype=np.float64)
    total = np.zeros((len(v), a.shape[1]))
    for k, a_k, b_k in zip(vectors, a, b, strict=True):
        phase = 2 * np.pi * (v @ np.asarray(k, dtype=np.float64))
        total += np.cos(phase)[:, None] * a_k + np.sin(phase)[:, None] * b_k
    return total


def expected_vectors(dim, order):
    """The frequencies as the format orders them, from its text and not from the code."""
    vectors = [tuple(reversed(bits)) for bits in itertools.product((0, 1), repeat=dim)]
    vectors = [k for k in vectors if sum(k) <= order]
    return vectors if order >= dim else sorted(vectors, key=sum)


@pytest.mark.parametrize(
    ("library", "width", "order_below_full"),
    [
        *(("numpy", width, below) for width in range(2, 11) for below in (0, 1, 2)),
        *(
            pytest.param("jax", width, below, marks=() if width in (2, 6) else pytest.mark.slow)
            for width in range(2, 11)
            for below in (0, 1, 2)
        ),
    ],
)
def test_layer_is_the_formula(width, order_below_full, library):
    order = max(1, width - order_below_full)
    rng = np.random.default_rng(width)
    vectors = expected_vectors(width, order)
    assert np.array_equal(frequency_set(width, order).vectors, np.array(vectors, dtype=np.float32))
    for outputs in (3, width):
        v = rng.normal(0, 0.7, (37, width)).astype(np.float32)
        a, b = rng.normal(0, 1, (2, len(vectors), outputs)).astype(np.float32)
        want = direct_sum(v, a, b, vectors)
        if library == "numpy":
            got = fourier_sum(v, a, b, order, np)
        else:
            jnp = pytest.importorskip("jax.numpy")
            got = np.asarray(fourier_sum(jnp.asarray(v), jnp.asarray(a), jnp.asarray(b), order, jnp))
        assert got.dtype == np.float32
        scale = np.sqrt(2 * len(vectors))  # standard deviation of the sum
        assert np.abs(got - want).max() < 2e-5 * scale


@pytest.mark.slow
@pytest.mark.parametrize(
    ("width", "order"),
    [(6, 2), *(pytest.param(*sizes, marks=pytest.mark.slow) for sizes in ((2, 2), (5, 5), (8, 8), (4, 1)))],
)
def test_own_derivative_is_the_derivative(width, order):
    jax = pytest.importorskip("jax")
    from dfmcodec.codecs.coordinate.encode.gradient import differentiable_sum

    rng = np.random.default_rng(1)
    count = len(frequency_set(width, order).rows)
    v = jax.numpy.asarray(rng.normal(0, 0.5, (16, width)), jax.numpy.float32)
    a, b = jax.numpy.asarray(rng.normal(0, 1, (2, count, 3)), jax.numpy.float32)
    weight = jax.numpy.asarray(rng.normal(0, 1, (16, 3)), jax.numpy.float32)

    def gradient(layer_sum):
        return jax.grad(lambda *x: (weight * layer_sum(*x, order, jax.numpy)).sum(), argnums=(0, 1, 2))(v, a, b)

    for own, automatic in zip(gradient(differentiable_sum), gradient(fourier_sum), strict=True):
        assert np.abs(own - automatic).max() < 1e-4 * np.abs(automatic).max()


def test_network_is_residual_where_dimensions_agree():
    arch = CoordinateArchitecture(3, depth=4, width=5, order=5)
    rng = np.random.default_rng(0)
    flat = rng.normal(0, 0.05, arch.weight_count).astype(np.float32)
    weights = unpack(flat, arch, np)
    v = rng.random((50, 2)).astype(np.float32)
    want = v.astype(np.float64)
    for (a, b), layer in zip(weights, arch.layers(), strict=True):
        y = direct_sum(want, a, b, expected_vectors(layer.inputs, layer.order))
        want = y + want if layer.inputs == layer.outputs else y
    assert [layer.inputs == layer.outputs for layer in arch.layers()] == [False, True, True, False]
    assert np.abs(deep_fourier_machine(weights, v, arch.order, np) - np.tanh(want)).max() < 1e-5


def test_positions_span_the_unit_interval():
    positions = axis_positions(4)
    assert positions.dtype == np.float32
    assert np.array_equal(positions, [0, 0.25, 0.5, 0.75])
    assert axis_positions(65535)[-1] < 1


def test_full_set_splits_and_truncated_does_not():
    assert FrequencySet(8, 8).split == 4
    assert FrequencySet(8, 2).split == 0
    assert len(FrequencySet(32, 2).rows) == 1 + 32 + 32 * 31 // 2


def test_published_weight_count():
    """The publication's 11.7 % of a 200x200 crop: 3,504 float weights."""
    arch = CoordinateArchitecture(3, depth=6, width=6, order=6)
    assert sum(2 * layer.frequency_count * layer.outputs for layer in arch.layers()) == 3504
    assert arch.weight_count == 3504 - 5 * 6 - 3
