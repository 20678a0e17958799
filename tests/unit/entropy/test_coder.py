"""Tests of tables and coder: exact inverse, accurate cost, and fixed integers."""

from __future__ import annotations

import zlib
from contextlib import nullcontext
from math import e, exp, log2

import numpy as np
import pytest
from common import without_kernels
from hypothesis import given, settings
from hypothesis import strategies as st

from dfmcodec.entropy import (
    LAPLACE_COUNT,
    SymbolDecoder,
    SymbolEncoder,
    TableSet,
    best_laplace_index,
    laplace,
)
from dfmcodec.entropy.tables import LAST_DIRECT, MAX_SYMBOL, RADIUS, TABLE_SIZE, Table, laplace_table
from dfmcodec.errors import CorruptError
from dfmcodec.kernels import compiled

TABLES = TableSet.of([laplace(index) for index in range(LAPLACE_COUNT)])


def round_trip(symbols, index):
    encoder = SymbolEncoder()
    encoder.encode(symbols, laplace(index))
    stream = encoder.to_bytes()
    return SymbolDecoder(stream).decode(symbols.size, laplace(index)), stream


def _outcome(stream, numbers, method):
    """The symbols of a stream, or that it is refused."""
    decoder = SymbolDecoder(stream)
    try:
        return getattr(decoder, method)(numbers, TABLES).tolist()
    except CorruptError:
        return "refused"


@settings(max_examples=150)
@given(
    st.lists(
        st.tuples(st.integers(-MAX_SYMBOL, MAX_SYMBOL) | st.integers(-90, 90), st.integers(0, LAPLACE_COUNT - 1)),
        min_size=1,
        max_size=60,
    ),
    st.binary(max_size=40),
    st.sampled_from(["each", "sorted"]),
)
def test_all_decoders_read_the_same(pairs, garbage, kind):
    symbols = np.array([symbol for symbol, _ in pairs], dtype=np.int32)
    numbers = np.array([number for _, number in pairs], dtype=np.int16)
    encoder = SymbolEncoder()
    getattr(encoder, f"encode_{kind}")(symbols, numbers, TABLES)
    stream, method = encoder.to_bytes(), f"decode_{kind}"
    damaged = garbage[: len(garbage) // 4 * 4] + stream[:-4]
    found = [_outcome(data, numbers, method) for data in (stream, damaged)]
    with without_kernels():
        assert [_outcome(data, numbers, method) for data in (stream, damaged)] == found
    assert found[0] == symbols.tolist()


def table_of(**frequencies):
    """A table of some frequencies; others are 1, and the last one is what is left."""
    entries = np.ones(TABLE_SIZE, dtype=np.int64)
    for name, frequency in frequencies.items():
        entries[int(name[1:])] = frequency
    entries[TABLE_SIZE - 1] += 2**24 - entries.sum()
    return Table(entries)


# Zeros of the first table lie in the middle of what is left: for several words it stays open
# whether a carry comes.
_MIDDLE = table_of(_0=(2**24 - 2**20) // 2, _64=2**20)
_CERTAIN = table_of(_64=2**24 - TABLE_SIZE)


@pytest.mark.skipif(compiled is None, reason="no kernels were built, or not for this processor")
def test_all_encoders_write_the_same():
    rng = np.random.default_rng(0)
    tables = TableSet.of([*TABLES.tables, _MIDDLE, _CERTAIN])
    longest = 0
    for _ in range(300):
        parts = []
        for _ in range(rng.integers(1, 4)):
            count = int(rng.integers(1, 40))
            symbols = np.rint(rng.laplace(0, rng.choice([1, 60, 3000]), count)).astype(np.int32)
            numbers = rng.integers(0, LAPLACE_COUNT + 2, count).astype(np.int16)
            if rng.integers(2):
                symbols, numbers[:] = np.where(rng.random(count) < 0.05, rng.integers(-70, 70), 0), LAPLACE_COUNT
            parts.append((symbols.astype(np.int32), numbers, bool(rng.integers(2))))

        def streams(parts=parts):
            encoder = SymbolEncoder()
            for symbols, numbers, is_sorted in parts:
                (encoder.encode_sorted if is_sorted else encoder.encode_each)(symbols, numbers, tables)
                yield encoder, encoder.to_bytes()
                encoder.encode_runs(symbols, [(tables.tables[number], 1) for number in numbers])
                yield encoder, encoder.to_bytes()

        found = []
        for encoder, stream in streams():
            found.append(stream)
            longest = max(longest, int(encoder._entries._state[2]))
        with without_kernels():
            assert [stream for _, stream in streams()] == found
    assert longest >= 3  # words that wait for a carry


def stream_of_each(symbols, indices):
    encoder = SymbolEncoder()
    encoder.encode_each(symbols, indices, TABLES)
    return encoder.to_bytes()


@pytest.mark.parametrize("conditions", [nullcontext, without_kernels])
def test_the_streams_are_those_of_constriction(conditions):
    """Its categorical model gives 1 to each entry and distributes the rest in proportion."""
    stream = pytest.importorskip("constriction").stream
    rng = np.random.default_rng(7)
    symbols = np.rint(rng.laplace(0, 5, 2000)).clip(1 - RADIUS, RADIUS - 1).astype(np.int32)
    indices = rng.integers(0, LAST_DIRECT + 1, 2000).astype(np.int16)
    weights = (TABLES.frequencies[indices] - 1).astype(np.float32)
    model = stream.model.Categorical(perfect=False)
    coder = stream.queue.RangeEncoder()
    coder.encode(symbols + np.int32(RADIUS), model, weights)
    words = coder.get_compressed()
    with conditions():
        assert stream_of_each(symbols, indices) == words.astype("<u4").tobytes()
        assert np.array_equal(SymbolDecoder(words.tobytes()).decode_each(indices, TABLES), symbols)


@settings(max_examples=200)
@given(
    st.lists(
        st.tuples(
            st.integers(-MAX_SYMBOL, MAX_SYMBOL) | st.integers(-300, 300) | st.integers(-5, 5),
            st.integers(0, LAPLACE_COUNT - 1),
        ),
        max_size=40,
    )
)
def test_symbols_with_tables_of_their_own_are_inverted(pairs):
    """With any escapes and numbers of low bits among them."""
    symbols = np.array([symbol for symbol, _ in pairs], dtype=np.int32)
    indices = np.array([index for _, index in pairs], dtype=np.int16)
    given_symbols, given_indices = symbols.copy(), indices.copy()
    stream = stream_of_each(symbols, indices)
    decoded = SymbolDecoder(stream).decode_each(indices, TABLES)
    assert decoded.dtype == np.int32
    assert np.array_equal(decoded, symbols)
    assert np.array_equal(symbols, given_symbols)
    assert np.array_equal(indices, given_indices)


def random_pairs(rng, count):
    """Symbols and the indices of their tables, too small for some symbols."""
    indices = rng.integers(0, LAPLACE_COUNT, count).astype(np.int16)
    scales = 2.0 ** ((indices - 16) / 4 + rng.integers(0, 5, count))
    symbols = np.clip(np.rint(rng.laplace(0, scales)), -MAX_SYMBOL, MAX_SYMBOL).astype(np.int32)
    return symbols, indices


@pytest.mark.parametrize("index", [0, 16, 28, 29, 33, 60, LAPLACE_COUNT - 1])
def test_symbols_that_share_a_table_have_the_stream_of_that_table(index):
    """With escapes and low bits."""
    rng = np.random.default_rng(index)
    symbols = np.rint(rng.laplace(0, 2 ** ((index - 16) / 4), 500))
    symbols = np.clip(symbols, -MAX_SYMBOL, MAX_SYMBOL).astype(np.int32)
    symbols[::50] = rng.integers(-MAX_SYMBOL, MAX_SYMBOL + 1, 10)
    stream = stream_of_each(symbols, np.full(500, index, dtype=np.int16))
    decoded, wanted = round_trip(symbols, index)
    assert stream == wanted
    assert np.array_equal(decoded, symbols)


@pytest.mark.parametrize("is_sorted", [True, False])
def test_symbols_with_tables_of_their_own_have_the_stream_of_runs(is_sorted):
    """Without low bits in any order; with them if the tables ascend, as low bits go by number."""
    rng = np.random.default_rng(6)
    symbols, indices = random_pairs(rng, 400)
    if is_sorted:
        indices.sort()
    else:
        indices %= LAST_DIRECT + 1
    encoder = SymbolEncoder()
    encoder.encode_runs(symbols, [(laplace(int(index)), 1) for index in indices])
    assert stream_of_each(symbols, indices) == encoder.to_bytes()


def test_low_bits_are_ordered_by_their_count():
    """The complete order: entries, escapes, then the low bits of the symbols that have fewest."""
    symbols = np.array([1000, -3, 70_000, 41, -555, 9], dtype=np.int32)
    indices = np.array([40, 3, 36, 33, 40, 30], dtype=np.int16)
    shifts = np.array([3, 0, 2, 2, 3, 1])
    assert TABLES.shifts[indices].tolist() == shifts.tolist()
    moved = (symbols + (1 << shifts >> 1)).astype(np.int32)
    encoder = SymbolEncoder()
    direct = [laplace(int(index - 4 * shift)) for index, shift in zip(indices, shifts, strict=True)]
    encoder.encode_runs(moved >> shifts.astype(np.int32), [(table, 1) for table in direct])
    for place in (5, 2, 3, 0, 4):
        encoder._encode_bits(moved[place : place + 1], int(shifts[place]))
    assert stream_of_each(symbols, indices) == encoder.to_bytes()


def test_symbols_with_tables_of_their_own_take_what_the_tables_say():
    rng = np.random.default_rng(7)
    symbols, indices = random_pairs(rng, 5000)
    costs = [laplace(int(index)).cost_bits(symbol) for symbol, index in zip(symbols[:, None], indices, strict=True)]
    assert abs(8 * len(stream_of_each(symbols, indices)) - np.sum(costs)) < 64


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


def test_tables_are_the_laplace_distribution():
    q = np.arange(1, RADIUS + 1)
    for index in range(LAST_DIRECT + 1):
        table = laplace_table(index)
        assert table.sum() == 1 << 24
        assert table.min() >= 1
        t = exp(-0.5 / 2 ** ((index - 16) / 4))
        expected = t ** (2 * q - 1) * (1 - t * t) / 2
        free = (1 << 24) - table.size
        assert np.abs((table[RADIUS + 1 : -1] - 1) / free - expected).max() < 2e-7, index
        assert np.array_equal(table[:RADIUS], table[RADIUS + 1 : -1][::-1]), index


def test_tables_are_these_integers():
    """The tables are part of the file format: they may never change."""
    complete = np.concatenate([laplace_table(index) for index in range(LAST_DIRECT + 1)]).astype("<u4")
    assert zlib.crc32(complete.tobytes()) == 0xAF60988A


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


def test_damaged_streams_of_symbols_with_tables_of_their_own_are_refused():
    """Or give symbols that are not too large."""
    rng = np.random.default_rng(0)
    refused, decoded = 0, 0
    for number in range(300):
        symbols, indices = random_pairs(rng, 50)
        stream = bytearray(stream_of_each(symbols, indices))
        if number % 3 == 0:
            stream = bytearray(rng.bytes(len(stream)))
        elif number % 3 == 1:
            stream[rng.integers(len(stream))] ^= 1 << rng.integers(8)
        else:
            del stream[4 * rng.integers(len(stream) // 4) :]
        try:
            found = SymbolDecoder(bytes(stream)).decode_each(indices, TABLES)
        except CorruptError:
            refused += 1
        else:
            assert found.shape == symbols.shape
            assert np.abs(found).max() <= 2 * MAX_SYMBOL
            decoded += 1
    assert refused > 0
    assert decoded > 0


def test_a_symbol_beyond_the_largest_is_refused():
    encoder = SymbolEncoder()
    encoder.encode_each(np.array([0, MAX_SYMBOL + 1], dtype=np.int32), np.array([40, 3], dtype=np.int16), TABLES)
    with pytest.raises(CorruptError, match="symbol beyond"):
        SymbolDecoder(encoder.to_bytes()).decode_each(np.array([40, 3], dtype=np.int16), TABLES)
