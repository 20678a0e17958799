"""Tables and coder: exact inverse, honest cost, fixed integers."""

from __future__ import annotations

import zlib
from math import e, exp, log2

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dfmcodec.entropy import LAPLACE_COUNT, SymbolDecoder, SymbolEncoder, best_laplace_index, laplace
from dfmcodec.entropy.tables import LAST_DIRECT, MAX_SYMBOL, RADIUS, laplace_table
from dfmcodec.errors import CorruptError


def round_trip(symbols, index):
    encoder = SymbolEncoder()
    encoder.encode(symbols, laplace(index))
    stream = encoder.to_bytes()
    return SymbolDecoder(stream).decode(symbols.size, laplace(index)), stream


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.integers(-MAX_SYMBOL, MAX_SYMBOL) | st.integers(-300, 300), max_size=40),
    st.integers(0, LAPLACE_COUNT - 1),
)
def test_coder_inverts_any_symbols_under_any_table(values, index):
    symbols = np.array(values, dtype=np.int32)
    decoded, _ = round_trip(symbols, index)
    assert np.array_equal(decoded, symbols)


def test_runs_under_different_tables_are_inverted():
    rng = np.random.default_rng(0)
    runs = [
        (laplace(int(index)), int(count)) for index, count in zip([3, 16, 40, 90, 16], [50, 0, 30, 20, 1], strict=True)
    ]
    symbols = np.rint(rng.laplace(0, 300, 101)).astype(np.int32)
    encoder = SymbolEncoder()
    encoder.encode_runs(symbols, runs)
    assert np.array_equal(SymbolDecoder(encoder.to_bytes()).decode_runs(runs), symbols)


@pytest.mark.parametrize("scale", [0.2, 1.0, 5.0, 40.0, 3000.0])
def test_cost_is_the_real_size_and_near_the_entropy(scale):
    rng = np.random.default_rng(0)
    symbols = np.rint(rng.laplace(0, scale, 50_000)).astype(np.int32)
    index = best_laplace_index(symbols)
    _, stream = round_trip(symbols, index)
    bits = laplace(index).cost_bits(symbols).sum()
    assert abs(8 * len(stream) - bits) < 64
    ideal = symbols.size * log2(2 * e * scale) if scale >= 1 else entropy_of(symbols)
    assert 0.99 * ideal < bits < 1.01 * ideal + 0.05 * symbols.size


def entropy_of(symbols):
    _, counts = np.unique(symbols, return_counts=True)
    return -(counts * np.log2(counts / symbols.size)).sum()


@pytest.mark.parametrize("index", range(LAST_DIRECT + 1))
def test_tables_are_the_laplace_distribution(index):
    table = laplace_table(index)
    assert table.sum() == 1 << 24
    assert table.min() >= 1
    scale = 2 ** ((index - 16) / 4)
    q = np.arange(1, RADIUS + 1)
    t = exp(-0.5 / scale)
    want = t ** (2 * q - 1) * (1 - t * t) / 2
    free = (1 << 24) - table.size
    assert np.abs((table[RADIUS + 1 : -1] - 1) / free - want).max() < 2e-7
    assert np.array_equal(table[:RADIUS], table[RADIUS + 1 : -1][::-1])


def test_tables_are_these_integers():
    """The tables are part of the file format: they may never change."""
    whole = np.concatenate([laplace_table(index) for index in range(LAST_DIRECT + 1)]).astype("<u4")
    assert zlib.crc32(whole.tobytes()) == 0xAF60988A


def test_constriction_uses_the_tables_exactly():
    """A range coder of our own, fed with the integers, gives constriction's words."""
    rng = np.random.default_rng(3)
    symbols = np.rint(rng.laplace(0, 3, 500)).astype(np.int32)
    table = laplace_table(22)
    cumulative = np.concatenate([[0], np.cumsum(table)])
    lower, span, words, pending = 0, (1 << 64) - 1, [], 0
    value = 0  # the whole stream as one big integer, with as many bits as words so far
    for symbol in symbols:
        scale = span >> 24
        lower += scale * int(cumulative[symbol + RADIUS])
        span = scale * int(table[symbol + RADIUS])
        if span < 1 << 32:
            lower, span, pending = lower << 32, span << 32, pending + 1
    stream = round_trip(symbols, 22)[1]
    words = np.frombuffer(stream, "<u4")
    for word in words:
        value = value << 32 | int(word)
    missing = pending + 2 - len(words)
    low, high = value << 32 * missing, (value + 1 << 32 * missing) - 1
    assert lower <= low
    assert high < lower + span


def test_damaged_streams_are_refused():
    with pytest.raises(CorruptError, match="multiple of 4"):
        SymbolDecoder(b"abc")
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(200):
        decoder = SymbolDecoder(rng.bytes(8))
        try:
            symbols = decoder.decode(50, laplace(int(rng.integers(LAPLACE_COUNT))))
        except CorruptError:
            refused += 1
        else:
            assert np.abs(symbols).max() <= 2 * MAX_SYMBOL
    assert refused > 0
