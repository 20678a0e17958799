"""Tests of scan, context model and pyramid coding: platform-independent integers, and exact
inverse.
"""

from __future__ import annotations

from contextlib import nullcontext

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from common import without_kernels
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.contexts import gradient_of_network

from dfmcodec.codecs.wavelet import context as ctx
from dfmcodec.codecs.wavelet.colour import ColourBasis, pixels_to_planes
from dfmcodec.codecs.wavelet.contents import TileSymbols
from dfmcodec.codecs.wavelet.encode.dependency_costs import DependencyCosts
from dfmcodec.codecs.wavelet.encode.estimates import GuessedTables
from dfmcodec.codecs.wavelet.encode.sources import ChosenSymbols, ObservedSymbols
from dfmcodec.codecs.wavelet.encode.trellis_search import PathChooser, pass_coefficients, round_low
from dfmcodec.codecs.wavelet.geometry import Geometry, Tiling, default_levels
from dfmcodec.codecs.wavelet.neighbourhood import CausalContext, available_features, context_size, symbol_features
from dfmcodec.codecs.wavelet.passes import CodingPass, level_passes, pass_shape
from dfmcodec.codecs.wavelet.sections.latents import (
    LatentsBody,
    low_differences,
    read_symbols,
    undo_low_differences,
    write_symbols,
)
from dfmcodec.codecs.wavelet.transform import MAX_UNITS, analyse
from dfmcodec.codecs.wavelet.traversal import traverse
from dfmcodec.codecs.wavelet.trellis import NEXT_STATE
from dfmcodec.codecs.wavelet.weights import shipped
from dfmcodec.entropy.tables import LAPLACE_COUNT, LAST_DIRECT, MAX_SYMBOL, PRECISION_BITS
from dfmcodec.errors import CorruptError


def round_trip(symbols, geometry, q_step):
    context = shipped().context
    tiling = one_tile(geometry)
    body = write_symbols(tiling, q_step, context, [TileSymbols.of(symbols)])
    (found,), samples, _ = read_symbols(tiling, q_step, context, LatentsBody(body))
    return (found.values, samples), body


def one_tile(geometry):
    return Tiling(geometry.height, geometry.width, geometry.channels, geometry.levels)


def chosen_paths(pyramid, geometry, q_step, bit_cost, choice=None, dependency_costs=None):
    """Symbols of all passes by rate and distortion, with guessed tables unless others are given."""
    choose = choice or GuessedTables(pyramid, q_step)

    def tables(coding_pass):
        return choose(coding_pass).packed

    return PathChooser(pyramid, geometry, q_step, bit_cost, shipped().context, tables, dependency_costs).symbols()


def chosen_source(pyramid, geometry, q_step, bit_cost, observed=True, **options):
    """A source of the chosen symbols, after its walk, and the samples of the walk."""
    chosen = chosen_paths(pyramid, geometry, q_step, bit_cost, **options)
    context, low = shipped().context, round_low(pyramid, q_step)
    source = (
        ObservedSymbols(low, chosen, context, geometry, q_step) if observed else ChosenSymbols(low, chosen, context)
    )
    return source, *traverse(geometry, q_step, context, source, observe=source.observe if observed else None)


@pytest.mark.parametrize("conditions", [nullcontext, without_kernels])
@pytest.mark.parametrize("shape", [(77, 91, 3), (64, 1, 1), (1, 5, 3)])
def test_known_symbols_have_the_tables_that_a_decoder_chooses(chelsea, shape, conditions):
    """Those of a level are chosen at once, before any of them is decoded."""
    with conditions():
        _check_known_symbols(chelsea, shape)


def _check_known_symbols(chelsea, shape):
    height, width, channels = shape
    geometry = Geometry(*shape, default_levels(height, width))
    pixels = chelsea.pixels[:height, :width, :channels]
    pyramid = analyse(pixels_to_planes(pixels, ColourBasis()), geometry.levels)
    one_by_one, *decoded = chosen_source(pyramid, geometry, 640, 0.23, observed=False)
    at_once = ChosenSymbols(round_low(pyramid, 640), one_by_one.chosen, shipped().context)
    found = traverse(geometry, 640, shipped().context, at_once, known=at_once.chosen)
    assert all(map(np.array_equal, found, decoded))
    assert at_once.writer.to_bytes() == one_by_one.writer.to_bytes()
    assert at_once.choice.keys() == one_by_one.choice.keys()
    for coding_pass, choice in at_once.choice.items():
        assert np.array_equal(choice.packed, one_by_one.choice[coding_pass].packed)


@settings(max_examples=25)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 40),
    st.integers(1, 40),
    st.sampled_from([1, 3]),
    st.sampled_from([1, 37, 640, 5000, 65535]),
    st.sampled_from([0.3, 5.0, 1e3, 1e6]),
)
def test_reading_inverts_writing_for_any_symbols(seed, height, width, channels, q_step, scale):
    geometry = Geometry(height, width, channels, default_levels(height, width))
    values = np.random.default_rng(seed).laplace(0, scale, height * width * channels)
    symbols = np.clip(np.rint(values), -MAX_SYMBOL // 4, MAX_SYMBOL // 4).astype(np.int32)
    (decoded, samples), _ = round_trip(symbols, geometry, q_step)
    assert np.array_equal(decoded, symbols)
    assert samples.shape == (channels, height, width)


def test_estimated_bits_are_the_real_ones(chelsea):
    geometry = Geometry(80, 96, 3, 6)
    pyramid = analyse(pixels_to_planes(chelsea.pixels, ColourBasis()), 6)
    for q_step in (200, 1500):
        source, symbols, samples = chosen_source(pyramid, geometry, q_step, 0.23, observed=False)
        (decoded, again), body = round_trip(symbols, geometry, q_step)
        assert np.array_equal(decoded, symbols)
        assert np.array_equal(samples, again)
        assert abs(8 * len(body) - source.bits) < 0.004 * source.bits + 100


def test_networks_are_exact_integers_on_both_backends():
    """Sums in any order, on NumPy and XLA, are those of int64."""
    rng = np.random.default_rng(0)
    for phase, network in enumerate(shipped().context.networks):
        features = rng.integers(-127, 128, (context_size(phase), 500)).astype(np.float32)
        coding_pass = CodingPass(1, 1, 2, phase)
        available = np.arange(len(features))
        by_numpy = network.outputs(features, available, coding_pass, 17, np)
        by_jax = jax.jit(lambda f, n=network, p=coding_pass, k=available: n.outputs(f, k, p, 17, jnp))(features)
        w1, w2, w3 = (w.astype(np.int64) for w in (network.w1, network.w2, network.w3))
        position = (1 * 3 + 1) * 3 + 2
        c1 = (network.c1[position] + 17 * network.s1[1]).astype(np.int64)[:, None]
        c3 = (network.c3[position] + 17 * network.s3[1]).astype(np.int64)[:, None]
        h1 = np.clip((w1 @ features.astype(np.int64) + c1) >> 6, 0, 127)
        h2 = np.clip((w2 @ h1 + network.c2.astype(np.int64)[:, None]) >> 6, 0, 127)
        exact = (w3 @ h2 + c3 + 128) >> 8
        assert np.array_equal(by_numpy, exact)
        assert np.array_equal(np.asarray(by_jax), exact)
        worst = 127 * np.abs(w1).sum(axis=1).max() + np.abs(network.c1).max() + 200 * np.abs(network.s1).max()
        assert worst < 1 << 24
        assert 127 * np.abs(w2).sum(axis=1).max() + np.abs(network.c2).max() < 1 << 24


@pytest.mark.parametrize("xp", [np, jnp])
def test_empty_contexts_have_the_first_table(xp):
    """Their network is not evaluated, and differences of the low-pass band have no effect."""
    rng = np.random.default_rng(0)
    context = shipped().context
    for phase, network in enumerate(context.networks):
        coding_pass = CodingPass(1, 1, 2, phase)
        features = rng.integers(-127, 128, (context_size(phase), 60)).astype(np.float32)
        count = symbol_features(phase)
        features[:count, ::2] = 0
        features[:, 1] = 0
        features[count - 1, 1] = 1  # one magnitude is enough
        available = np.arange(len(features))
        empty = np.arange(60) % 2 == 0
        assert np.array_equal(ctx.is_empty(features, available, phase), empty)
        outputs = np.asarray(network.outputs(xp.asarray(features), available, coding_pass, 17, xp))
        assert (outputs[:, empty] == [[-16], [0]]).all()
        assert not (outputs[:, ~empty] == [[-16], [0]]).all(axis=0).any()
        quantizers = np.resize(np.array([0, 0, 1, 1], dtype=np.int8), 60)
        choice = context.choose_tables_from_outputs(outputs, quantizers)
        assert np.array_equal(choice.table[empty], quantizers[empty] * np.int16(ctx.TABLES_PER_QUANTIZER))
        assert (choice.sign[empty] == 1).all()
        gradient = gradient_of_network(network, features, available, coding_pass, 17, np.ones_like)
        assert gradient.shape == (count, 60)
        assert not gradient[:, empty].any()
        assert gradient[:, ~empty].any()


def test_without_symbols_in_the_context_the_network_is_evaluated():
    """In the first pass, only differences of the low-pass band are available."""
    network, coding_pass = shipped().context.networks[0], CodingPass(3, 0, 0, 0)
    available = available_features(coding_pass, has_coarser=False)
    assert available.min() == symbol_features(0)
    features = np.random.default_rng(0).integers(-127, 128, (len(available), 50)).astype(np.float32)
    assert not ctx.is_empty(features, available, 0).any()
    assert len(np.unique(network.outputs(features, available, coding_pass, 17, np), axis=1).T) > 10


def test_tables_are_complete():
    context = shipped().context
    beyond = LAPLACE_COUNT - LAST_DIRECT - 1
    classes = len(ctx.MEANS)
    assert len(context.tables) == 2 * ctx.TABLES_PER_QUANTIZER + beyond
    for table in context.tables:
        assert table.frequencies.sum() == 1 << PRECISION_BITS
        assert table.frequencies.min() >= 1
    outputs = np.array([[-1e6, 1e6, 3], [-1e6, 1e6, -2]], dtype=np.float32)
    for quantizer in (0, 1):
        found = context.choose_tables_from_outputs(outputs, np.full(3, quantizer, dtype=np.int8))
        own = quantizer * ctx.TABLES_PER_QUANTIZER
        last = len(context.tables) - 1
        assert found.table.tolist() == [own + classes - 1, last, own + 19 * classes + 2]
        assert found.sign.tolist() == [-1, 1, -1]
    coarser = context.rescaled(0.5)[found.table]
    assert coarser.tolist() == [own + 3 * classes - 1, last, own + 21 * classes + 2]


def test_contexts_are_causal():
    """Features of a pass do not change with symbols of that pass or later ones."""
    geometry = Geometry(24, 20, 3, 2)
    rng = np.random.default_rng(0)
    low = rng.integers(-5000, 5000, (3, 6, 5)).astype(np.int32)
    first, second = (CausalContext(geometry, 640, low) for _ in range(2))
    no_offsets = np.zeros((1, 7), dtype=np.int32)
    for number, (coding_pass, other) in enumerate(zip(first.coding_passes(), second.coding_passes(), strict=True)):
        assert coding_pass == other
        rows = range(first.shape(coding_pass)[0])
        found = first.features(coding_pass, rows).copy()
        assert np.abs(found).max() <= 127
        assert np.array_equal(found, np.rint(found))
        if number <= 40:
            assert np.array_equal(found, second.features(other, rows))
        symbols = rng.integers(-3, 4, found.shape[1]).astype(np.int32)
        changed = symbols if number < 40 else symbols + 1
        if number <= 40:
            assert np.array_equal(first.quantizers(coding_pass), second.quantizers(other))
        table, sign = np.zeros(len(symbols), dtype=np.int16), np.ones(len(symbols), dtype=np.int32)
        first.accept(coding_pass, symbols, table, sign, no_offsets)
        second.accept(other, changed, table, sign, no_offsets)


@pytest.mark.parametrize("size", [(32, 48), (21, 35), (1, 9), (2, 2)])
def test_paths_are_the_best_there_are(size):
    """Without a cost of bits a path's error is the least of all paths through the trellis, cell by
    cell.
    """
    rng = np.random.default_rng(1)
    geometry = Geometry(*size, 1, 1)
    pyramid = analyse(rng.normal(0, 30, (1, *size)).astype(np.float32), 1)
    q_step = 640
    chosen = chosen_paths(pyramid, geometry, q_step, 1e-9)
    coding_passes = level_passes(geometry, 0)
    cell = (0, 0)

    def coefficient(coding_pass):
        shape = pass_shape(geometry, coding_pass)
        return pass_coefficients(pyramid, q_step, coding_pass).reshape(shape)[cell]

    context = shipped().context
    offsets = context.offsets.astype(float) / 64
    of_tables = [
        int(GuessedTables(pyramid, q_step)(coding_pass).table.reshape(pass_shape(geometry, coding_pass))[cell])
        for coding_pass in coding_passes
    ]

    def value(q, quantizer, table):
        offset = offsets[quantizer * ctx.TABLES_PER_QUANTIZER + table, np.clip(q, -3, 3) + 3]
        return 2 * q - quantizer * np.sign(q) + offset

    def least(state, rest):
        if not rest:
            return 0.0
        (coding_pass, table), *others = rest
        quantizer = state & 1
        near = round((coefficient(coding_pass) + quantizer * np.sign(coefficient(coding_pass))) / 2)
        errors = {}
        for q in range(near - 2, near + 3):
            error = (coefficient(coding_pass) - value(q, quantizer, table)) ** 2
            errors[q & 1] = min(errors.get(q & 1, np.inf), error)
        return min(error + least(int(NEXT_STATE[state, parity]), others) for parity, error in errors.items())

    state, error = 0, 0.0
    for coding_pass, table in zip(coding_passes, of_tables, strict=True):
        q = int(chosen[coding_pass][0])
        error += (coefficient(coding_pass) - value(q, state & 1, table)) ** 2
        state = int(NEXT_STATE[state, q & 1])
    assert error == pytest.approx(least(0, list(zip(coding_passes, of_tables, strict=True))), rel=1e-4)


def test_dependency_costs_are_the_derivative(chelsea):
    """The sum of slopes over a change of one symbol predicts how the others' bits move, on
    average.
    """
    geometry = Geometry(32, 32, 1, 2)
    pixels = chelsea.pixels[:32, :32, :1]
    pyramid = analyse(pixels_to_planes(pixels, ColourBasis()), 2)
    observed, _, _ = chosen_source(pyramid, geometry, 400, 0.23)
    dependency_costs: DependencyCosts = observed.observed.scaled(1.0)
    signed, magnitude = dependency_costs.slopes(CodingPass(1, 0, 0, 0))
    assert signed.shape == magnitude.shape == (16,)
    assert np.isfinite(signed).all()
    assert np.abs(magnitude).max() > 0
    last = dependency_costs.slopes(CodingPass(0, 0, 2, 3))
    assert not np.any(last[0])
    assert not np.any(last[1])


def test_low_differences():
    low = np.random.default_rng(0).integers(-100, 100, (5, 7)).astype(np.int32)
    assert np.array_equal(undo_low_differences(low_differences(low)), low)
    with pytest.raises(CorruptError, match="range"):
        undo_low_differences(np.full((2, 3), MAX_SYMBOL, dtype=np.int32))


def test_damaged_sections_are_refused():
    tiling = Tiling(16, 16, 3, 4)
    context = shipped().context
    with pytest.raises(CorruptError, match="tables"):
        read_symbols(tiling, 640, context, LatentsBody(b"\x01\x02"))
    with pytest.raises(CorruptError, match="tables"):
        read_symbols(tiling, 640, context, LatentsBody(b"\xff" * 11))
    with pytest.raises(CorruptError, match="multiple of 4"):
        read_symbols(tiling, 640, context, LatentsBody(b"\x10\x10\x10abc"))
    rng = np.random.default_rng(0)
    for _ in range(20):
        (symbols,), samples, _ = read_symbols(tiling, 640, context, LatentsBody(b"\x10\x10\x10" + rng.bytes(40)))
        assert np.abs(symbols.values).max() <= 2 * MAX_SYMBOL
        assert np.abs(samples).max() <= MAX_UNITS
    stream = b"\x6f\x6f\x6f" + rng.bytes(40)  # tables of the widest distributions: sums leave their range
    with pytest.raises(CorruptError):
        read_symbols(tiling, 640, context, LatentsBody(stream))
