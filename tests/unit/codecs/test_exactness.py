"""Tests that context networks give the same integers for any order of their sums."""

from __future__ import annotations

from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import common
import numpy as np
import pytest
from overfitted_parts import random_network

import dfmcodec
from dfmcodec import container
from dfmcodec.codecs.overfitted.contents import QuantizedGrids
from dfmcodec.codecs.overfitted.context import FEATURES, GridNetwork, LevelNetwork
from dfmcodec.codecs.overfitted.grids import GRID_LEVELS
from dfmcodec.codecs.overfitted.weights import CONTEXT_DELTAS
from dfmcodec.codecs.wavelet import read_write
from dfmcodec.codecs.wavelet.adaptation import ContextAdaptation
from dfmcodec.codecs.wavelet.contents import QuantizedLatents
from dfmcodec.codecs.wavelet.context import MAX_LOG_STEP, MAX_WEIGHT
from dfmcodec.codecs.wavelet.geometry import Geometry
from dfmcodec.codecs.wavelet.neighbourhood import context_size
from dfmcodec.codecs.wavelet.passes import CodingPass
from dfmcodec.codecs.wavelet.quantizer import MAX_STEP, log_step
from dfmcodec.codecs.wavelet.weights import WaveletWeights, shipped, weights_of
from dfmcodec.entropy.context_networks import MAX_EXACT
from dfmcodec.errors import DfmError
from dfmcodec.files.arrays import read_arrays
from dfmcodec.weights.registry import REGISTRY, WAVELET

FOLDER = Path(dfmcodec.__file__).parent / "weights"
GOLDEN = sorted(common.GOLDEN.glob("*.dfm"))
LARGEST_BYTES = 1000  # of the files that all orders are tried on, as they take longer
ORDERS = ("permuted", "backwards", "in_parts", "one_by_one")


class Shuffled(np.ndarray):
    """Weights whose products sum over the inner dimension in another order."""

    order = "permuted"

    def __matmul__(self, inputs):
        weights, inputs = np.asarray(self), np.asarray(inputs)
        count = weights.shape[1]
        order_of_sum = np.random.default_rng(count).permutation(count)
        if self.order == "backwards":
            order_of_sum = np.arange(count)[::-1]
        weights, inputs = np.ascontiguousarray(weights[:, order_of_sum]), np.ascontiguousarray(inputs[order_of_sum])
        if self.order == "in_parts":
            parts = [weights[:, part::5] @ inputs[part::5] for part in range(5)]
            return (parts[3] + parts[0]) + (parts[4] + (parts[2] + parts[1]))
        if self.order == "one_by_one":
            sums = np.zeros((len(weights), *inputs.shape[1:]), dtype=np.float32)
            for weight, row in zip(weights.T, inputs, strict=True):
                sums += np.multiply.outer(weight, row)
            return sums
        return weights @ inputs


class ShuffledFeatures(Shuffled):
    """Features whose products do so too, and those of what is computed of them."""

    def __matmul__(self, weights):
        return super().__matmul__(weights).view(type(self))


def shuffled(network, order):
    kind = type(order, (Shuffled,), {"order": order})
    return replace(network, **{name: getattr(network, name).view(kind) for name in ("w1", "w2", "w3")})


def shuffled_features(features, order):
    return features.view(type(order, (ShuffledFeatures,), {"order": order}))


def shipped_arrays():
    return read_arrays(FOLDER / WAVELET.file_name)


def test_sums_of_the_shipped_weights_are_exact():
    for network in shipped().context.networks:
        network.check_exact()
        assert max(network.largest_sums()) < 0.1 * MAX_EXACT


def test_the_registry_lists_all_weights():
    assert sorted(row.file_name for row in REGISTRY) == sorted(path.name for path in FOLDER.glob("*.npz"))


def test_log_steps_are_bounded():
    assert max(abs(log_step(q_step)) for q_step in range(1, MAX_STEP + 1)) == MAX_LOG_STEP


def scaled(factor, name):
    return lambda arrays: arrays | {name: arrays[name].astype(np.int64) * factor}


def with_entry(name, value):
    def change(arrays):
        changed = arrays[name].astype(np.float64)
        changed.flat[5] = value
        return arrays | {name: changed}

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (scaled(1000, "context_w1_0"), "w1 of a pretrained context network has weights beyond 127"),
        (scaled(5000, "context_c1_1"), "sums of layer 1 .* may reach"),
        (scaled(3000, "context_s1_3"), "sums of layer 1"),
        (with_entry("context_c2_2", 2.0**24), "sums of layer 2"),
        (with_entry("context_c3_0", -(2.0**24)), "sums of layer 3"),
        (with_entry("context_s3_0", 2.0**18), "sums of layer 3"),
        (with_entry("context_w2_0", 128), "weights beyond 127"),
        (with_entry("context_w3_3", 0.5), "w3 .* not integers"),
        (with_entry("context_c1_3", np.nan), "not integers"),
        (with_entry("context_s1_0", np.inf), "sums of layer 1"),
        (scaled(1000, "correction_lift_factors"), "factors of a pretrained correction network exceed 32 bits"),
        (with_entry("correction_factors_3", 2.0**30), "exceed 32 bits"),
        (with_entry("correction_bypass_factors", -(2.0**30)), "exceed 32 bits"),
        (with_entry("correction_weights_1", -128), "correction network has weights beyond 127"),
        (with_entry("correction_bypass", 128), "weights beyond 127"),
        (with_entry("context_frequencies", 0), "table"),
        (lambda arrays: arrays | {"context_frequencies": arrays["context_frequencies"] + 1}, "table"),
    ],
)
def test_weights_that_are_not_exact_are_refused(change, message):
    with pytest.raises(DfmError, match=message) as found:
        WaveletWeights.from_arrays(change(shipped_arrays()))
    assert "\n" not in str(found.value)


def test_damaged_weights_are_refused(tmp_path, monkeypatch):
    name = WAVELET.file_name
    monkeypatch.setattr("dfmcodec.weights.registry.files", lambda _: tmp_path)
    uncached = weights_of.__wrapped__
    complete = (FOLDER / name).read_bytes()
    for data in (complete[: len(complete) // 2], b"", complete[:5000] + bytes(100) + complete[5100:]):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(DfmError, match="damaged in this installation"):
            uncached(WAVELET.id)
    np.savez(tmp_path / name, **scaled(2, "context_c1_1")(shipped_arrays()))
    with pytest.raises(DfmError, match="damaged in this installation"):
        uncached(WAVELET.id)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("corrected", [False, True])
def test_orders_of_summation_give_the_same_integers(order, corrected):
    """Random features and the worst there are, as the shipped networks and with the largest
    adaptation.
    """
    rng = np.random.default_rng(0)
    context, geometry = shipped().context, Geometry(64, 64, 3, 6)
    if corrected:
        none = ContextAdaptation.none(context, geometry)
        signs = rng.choice([-1, 1], none.maps.shape)
        largest = ContextAdaptation((1000 * signs).astype(np.int32), np.full_like(none.constants, 1 << 14))
        context = largest.applied(context, geometry)
        assert all(np.abs(network.w3).min() == MAX_WEIGHT for network in context.networks)
    for phase, network in enumerate(context.networks):
        count = context_size(phase)
        worst = 127 * np.sign(network.w1.T)  # each column brings a row of w1 to its largest sum
        features = np.hstack([rng.integers(-127, 128, (count, 300)), worst, -worst]).astype(np.float32)
        for coding_pass, step_feature in (
            (CodingPass(0, 0, 0, phase), -72),
            (CodingPass(5, 2, 2, phase), 55),
        ):
            arguments = features, np.arange(count), coding_pass, step_feature, np
            found = shuffled(network, order).outputs(*arguments)
            assert np.array_equal(found, network.outputs(*arguments))


def largest(network, rng):
    """A network with all numbers at their limits, as changes of an image may bring them to."""
    signs = {name: rng.choice([-1, 1], getattr(network, name).shape) for name in CONTEXT_DELTAS}
    changed = network.changed({name: (sign << 20).astype(np.float32) for name, sign in signs.items()})
    assert all(np.abs(getattr(changed, name)).min() == limit for name, limit in GridNetwork.LIMITS.items())
    return changed


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("changed", [False, True])
def test_orders_of_summation_give_the_same_integers_in_grids(order, changed):
    """Likewise for the context of grids, also with the largest numbers of any file."""
    rng = np.random.default_rng(0)
    network = largest(random_network(), rng) if changed else random_network()
    worst = 127 * np.sign(np.concatenate([network.w1, network.bypass]))
    features = np.concatenate([rng.integers(-127, 128, (300, FEATURES)), worst, -worst]).astype(np.float32)
    for level in (0, GRID_LEVELS - 1):
        for_level = LevelNetwork(network, level)
        found = for_level.outputs(shuffled_features(features, order))
        assert isinstance(found, ShuffledFeatures)
        assert np.array_equal(found, for_level.outputs(features))


def test_sums_beyond_the_bound_depend_on_the_order():
    """The test above can fail: these weights are far beyond what is accepted."""
    network = shipped().context.networks[3]
    large = replace(network, w1=network.w1 * 12345)
    with pytest.raises(DfmError):
        large.check_exact()
    features = np.random.default_rng(0).integers(-127, 128, (context_size(3), 300)).astype(np.float32)
    sums = [np.asarray(shuffled(large, order).w1 @ features) for order in ORDERS]
    assert any(not np.array_equal(sums[0], other) for other in sums[1:])
    large, rows = random_network().w1.T * np.float32(12345), features.T[:, :FEATURES].copy()
    sums = [np.asarray(shuffled_features(rows, order) @ large) for order in ORDERS]
    assert any(not np.array_equal(sums[0], other) for other in sums[1:])


@cache
def decoded(path):
    """Symbols of a file, and what they synthesise to, where they do; None for grids, whose network
    has a test of its own.
    """
    model, _ = container.read(path.read_bytes())
    if isinstance(model, QuantizedGrids):
        return None, None
    return model.symbols, model.samples if isinstance(model, QuantizedLatents) else None


def shuffled_weights(order, wanted):
    weights = weights_of(wanted)
    return replace(
        weights,
        context=weights.context.with_networks([shuffled(network, order) for network in weights.context.networks]),
    )


@pytest.mark.parametrize("order", [ORDERS[0], *(pytest.param(order, marks=pytest.mark.slow) for order in ORDERS[1:])])
def test_golden_files_have_the_same_symbols_in_any_order(order, monkeypatch):
    for path in GOLDEN:
        if order != ORDERS[0] and path.stat().st_size > LARGEST_BYTES:
            continue
        symbols, samples = decoded(path)
        if symbols is None:
            continue
        with monkeypatch.context() as patch:
            patch.setattr(read_write, "weights_of", partial(shuffled_weights, order))
            again, _ = container.read(path.read_bytes())
        assert np.array_equal(symbols, again.symbols), path.name
        assert samples is None or np.array_equal(samples, again.samples), path.name


@pytest.mark.gpu
def test_context_networks_on_an_accelerator():
    """Their outputs are NumPy's there too."""
    import jax

    assert jax.default_backend() != "cpu", "JAX finds no accelerator"
    network = shipped().context.networks[3]
    features = np.random.default_rng(0).integers(-127, 128, (context_size(3), 5000)).astype(np.float32)
    available, coding_pass = np.arange(len(features)), CodingPass(1, 1, 2, 3)
    on_device = jax.jit(lambda found: network.outputs(found, available, coding_pass, 17, jax.numpy))(features)
    assert np.array_equal(np.asarray(on_device), network.outputs(features, available, coding_pass, 17, np))
