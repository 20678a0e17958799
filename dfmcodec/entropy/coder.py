"""The range coder: whole arrays of symbols, under one table or each under its own, by
`constriction` or by a kernel that reads and writes the same.

`constriction.stream.queue.RangeEncoder` works on 32-bit words with models of 24-bit precision.
Given floats p_i, its categorical model assigns 1 to each of the n entries and shares the remaining
2^24 - n in proportion to p_i. So the integers frequency - 1, which are exact in float32, give the
table's frequencies exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Protocol

import constriction
import numpy as np
import numpy.typing as npt

from dfmcodec._types import Float32, Int32, Symbols
from dfmcodec.entropy.tables import (
    ESCAPE,
    MAX_SYMBOL,
    PRECISION_BITS,
    RADIUS,
    TABLE_SIZE,
    Table,
    bit_length,
    join_symbols,
    split_symbols,
)
from dfmcodec.errors import CorruptError
from dfmcodec.kernels import by_kernels, compiled

Run = tuple[Table, int]  # a table, and the number of successive symbols that it codes
_INVALID_STREAM = "a coded section is not a valid range-coder stream; the file is damaged"
_ESCAPED = ESCAPE - RADIUS
GUIDE_BITS = 8  # of a quantile, by which kernels look up entries
_LENGTH_BITS = 5  # bits that hold the length of an escape's excess
_MAX_LENGTH = 26  # binary digits of an excess


@dataclass(frozen=True, eq=False)
class TableSet:
    """Tables among which each symbol of an array may have its own.

    Args:
        tables: The tables.
        frequencies: int64 [tables, TABLE_SIZE].
        shifts: The number of low bits of the symbols of each table, int32 [tables].
    """

    tables: Sequence[Table]
    frequencies: npt.NDArray[np.int64]
    shifts: Symbols

    @classmethod
    def of(cls, tables: Sequence[Table]) -> TableSet:
        """Makes a set of tables."""
        frequencies = np.stack([table.frequencies for table in tables])
        return cls(tables, frequencies, np.array([table.shift for table in tables], dtype=np.int32))

    @cached_property
    def weights(self) -> Float32:
        """The frequencies less 1, float32 [tables, TABLE_SIZE]."""
        return (self.frequencies - 1).astype(np.float32)

    @cached_property
    def cumulative(self) -> npt.NDArray[np.uint32]:
        """The frequencies before each entry, and their sum, uint32 [tables, TABLE_SIZE + 1]."""
        sums = np.zeros((len(self.frequencies), TABLE_SIZE + 1), dtype=np.uint32)
        np.cumsum(self.frequencies, axis=1, out=sums[:, 1:])
        return sums

    @cached_property
    def guide(self) -> npt.NDArray[np.uint8]:
        """The first entry that a quantile can have by its highest bits, uint8 [tables,
        2^GUIDE_BITS].
        """
        parts = np.arange(1 << GUIDE_BITS, dtype=np.uint32) << np.uint32(PRECISION_BITS - GUIDE_BITS)
        found = [np.searchsorted(sums, parts, side="right") - 1 for sums in self.cumulative]
        return np.stack(found).astype(np.uint8)


@lru_cache(maxsize=1)
def _each_model() -> Any:
    return constriction.stream.model.Categorical(perfect=False)


@lru_cache(maxsize=1024)
def _model(table: Table) -> Any:
    weights = (table.frequencies - 1).astype(np.float32)
    return constriction.stream.model.Categorical(weights, perfect=False)


@lru_cache(maxsize=32)
def _bits_model(bits: int) -> Any:
    return constriction.stream.model.Uniform(1 << bits)


class _EntryWriter(Protocol):
    """Writes table entries and plain bits as a range-coded stream; all write the same."""

    def of_runs(self, entries: Int32, runs: Sequence[Run]) -> None:
        """Entries under several tables, int32 [N]."""

    def of_numbers(
        self, entries: Int32, numbers: npt.NDArray[np.int16], tables: TableSet, is_sorted: bool
    ) -> npt.NDArray[np.integer[Any]]:
        """Entries, each under the table of its number, in the order of their tables or in their
        own; returns this order, [N].
        """

    def bits(self, values: Int32, bits: int) -> None:
        """The lowest `bits` bits of numbers, at least one."""

    def words(self) -> npt.NDArray[np.uint32]:
        """The words of the stream so far."""


class _ConstrictionWriter:
    """`_EntryWriter` by constriction."""

    def __init__(self) -> None:
        self._coder = constriction.stream.queue.RangeEncoder()

    def of_runs(self, entries: Int32, runs: Sequence[Run]) -> None:
        start = 0
        for table, count in runs:
            self._coder.encode(entries[start : start + count], _model(table))
            start += count

    def of_numbers(
        self, entries: Int32, numbers: npt.NDArray[np.int16], tables: TableSet, is_sorted: bool
    ) -> npt.NDArray[np.integer[Any]]:
        if is_sorted:
            order, runs = table_runs(numbers, tables.tables)
            self.of_runs(entries[order], runs)
            return order
        self._coder.encode(entries, _each_model(), tables.weights[numbers])
        return np.arange(len(numbers))

    def bits(self, values: Int32, bits: int) -> None:
        self._coder.encode(values & ((1 << bits) - 1), _bits_model(bits))

    def words(self) -> npt.NDArray[np.uint32]:
        return np.asarray(self._coder.get_compressed(), dtype=np.uint32)


class _CompiledWriter:
    """`_EntryWriter` by the kernel."""

    def __init__(self) -> None:
        self._state = np.array([0, np.iinfo(np.uint64).max, 0, 0], dtype=np.uint64)
        self._parts: list[npt.NDArray[np.uint32]] = []

    def of_runs(self, entries: Int32, runs: Sequence[Run]) -> None:
        if runs:
            self.of_numbers(entries, *_numbers_of(runs), False)

    def of_numbers(
        self, entries: Int32, numbers: npt.NDArray[np.int16], tables: TableSet, is_sorted: bool
    ) -> npt.NDArray[np.integer[Any]]:
        order, out = np.empty(len(numbers), dtype=np.int32), self._room(len(numbers))
        numbers, entries = np.ascontiguousarray(numbers), np.ascontiguousarray(entries, dtype=np.int32)
        size = compiled.encode_entries(self._state, tables.cumulative, numbers, is_sorted, order, entries, out)
        self._parts.append(out[:size].copy())
        return order

    def bits(self, values: Int32, bits: int) -> None:
        out = self._room(values.size)
        size = compiled.encode_bits(self._state, bits, np.ascontiguousarray(values, dtype=np.int32), out)
        self._parts.append(out[:size].copy())

    def words(self) -> npt.NDArray[np.uint32]:
        end = self._room(2)
        size = compiled.end_encoding(self._state, end)
        return np.concatenate([*self._parts, end[:size]])

    def _room(self, count: int) -> npt.NDArray[np.uint32]:
        """Room for the words of the given entries, and for those that wait for a carry."""
        return np.empty(count + int(self._state[2]), dtype=np.uint32)


def _compiled_writer() -> _EntryWriter:
    return _CompiledWriter()


@by_kernels(_compiled_writer)
def _writer() -> _EntryWriter:
    return _ConstrictionWriter()


def _numbers_of(runs: Sequence[Run]) -> tuple[npt.NDArray[np.int16], TableSet]:
    """The tables of runs, and the number among them of that of each symbol, int16 [N]."""
    numbers = {table: number for number, table in enumerate(dict.fromkeys(table for table, _ in runs))}
    of_runs = np.array([numbers[table] for table, _ in runs], dtype=np.int16)
    return np.repeat(of_runs, [count for _, count in runs]), TableSet.of(list(numbers))


class SymbolEncoder:
    """Collects arrays of symbols into one range-coded stream."""

    def __init__(self) -> None:
        self._entries = _writer()

    def encode(self, symbols: Symbols, table: Table) -> None:
        """Appends symbols under one table.

        Args:
            symbols: int32 [N].
            table: Their table.
        """
        self.encode_runs(symbols, [(table, symbols.size)])

    def encode_runs(self, symbols: Symbols, runs: Sequence[Run]) -> None:
        """Appends symbols under several tables.

        First come the table entries of all symbols, then all escapes, then the low bits of all
        runs.

        Args:
            symbols: int32 [N].
            runs: The table of the first symbols and their number, and so on; N symbols in all.
        """
        high, low, entries = _parts_of_symbols(symbols, _shifts(runs))
        self._entries.of_runs(entries, runs)
        self._encode_escapes(high)
        start = 0
        for table, count in runs:
            self._encode_bits(low[start : start + count], table.shift)
            start += count

    def encode_sorted(self, symbols: Symbols, numbers: npt.NDArray[np.int16], tables: TableSet) -> None:
        """Appends symbols each of which has a table of its own, in the order of their tables.

        Args:
            symbols: int32 [N].
            numbers: The number of each symbol's table in `tables`, int16 [N].
            tables: The tables.
        """
        self._encode_numbers(symbols, numbers, tables, True)

    def encode_each(self, symbols: Symbols, numbers: npt.NDArray[np.int16], tables: TableSet) -> None:
        """Appends symbols each of which has a table of its own.

        First come the table entries of all symbols, then all escapes, then the low bits of all
        symbols, by their number.

        Args:
            symbols: int32 [N].
            numbers: The number of each symbol's table in `tables`, int16 [N].
            tables: The tables.
        """
        self._encode_numbers(symbols, numbers, tables, False)

    def _encode_numbers(
        self, symbols: Symbols, numbers: npt.NDArray[np.int16], tables: TableSet, is_sorted: bool
    ) -> None:
        shifts = tables.shifts[numbers]
        high, low, entries = _parts_of_symbols(symbols, shifts)
        order = self._entries.of_numbers(entries, numbers, tables, is_sorted)
        if entries.max(initial=0) == ESCAPE:
            self._encode_escapes(high[order])
        if shifts.any():
            low, shifts = low[order], shifts[order]
            for shift in _shifts_of(shifts):
                self._encode_bits(low[shifts == shift], shift)

    def _encode_escapes(self, high: Symbols) -> None:
        """Appends what tables do not have of high parts beyond RADIUS."""
        high = high[np.abs(high) > RADIUS]
        if high.size == 0:
            return
        excess = np.abs(high) - RADIUS
        lengths = bit_length(excess)
        self._encode_bits(lengths.astype(np.int32), _LENGTH_BITS)
        self._encode_bits((high < 0).astype(np.int32), 1)
        for length in range(2, int(lengths.max()) + 1):
            values = excess[lengths == length]
            # in two parts: a uniform model has at most 24 bits
            self._encode_bits(values & 0xFFF, min(12, length - 1))
            self._encode_bits((values ^ 1 << length - 1) >> 12, max(0, length - 1 - 12))

    def _encode_bits(self, values: npt.NDArray[np.int32], bits: int) -> None:
        if bits and values.size:
            self._entries.bits(values, bits)

    def to_bytes(self) -> bytes:
        """Returns the stream as 32-bit words, little-endian."""
        return bytes(self._entries.words().astype("<u4").tobytes())


def _parts_of_symbols(symbols: Symbols, shifts: Symbols | int) -> tuple[Symbols, Symbols, Int32]:
    """High and low parts of symbols, and the table entries of the high parts, int32 [N] each."""
    high, low = split_symbols(symbols, shifts)
    return high, low, np.where(np.abs(high) > RADIUS, np.int32(ESCAPE), high + np.int32(RADIUS))


@dataclass(frozen=True)
class _Highs:
    """What tables have of symbols: their entries less RADIUS.

    Args:
        values: int32 [N]; an escape is `_ESCAPED`.
        order: The symbols in the order of the stream, [N].
        unfinished: How many of them are escapes or have low bits, which follow.
    """

    values: Int32
    order: npt.NDArray[np.integer[Any]]
    unfinished: int


class _Entries(Protocol):
    """Reads table entries and plain bits from a range-coded stream: an entry is what a table's
    frequencies are of. All raise CorruptError for a stream that no encoder wrote.
    """

    def of_runs(self, runs: Sequence[Run]) -> Int32:
        """The next symbols under several tables, as far as tables have them, int32 [N]."""

    def of_numbers(self, numbers: npt.NDArray[np.int16], tables: TableSet, is_sorted: bool) -> _Highs:
        """The next symbols, each under the table of its number, which come in the order of their
        tables or in their own.
        """

    def bits(self, count: int, bits: int) -> Int32:
        """The next `count` numbers of some bits, int32 [count]."""


class _ConstrictionEntries:
    """`_Entries` by constriction."""

    def __init__(self, words: npt.NDArray[np.uint32]) -> None:
        self._coder = constriction.stream.queue.RangeDecoder(words)

    def of_runs(self, runs: Sequence[Run]) -> Int32:
        highs = np.empty(sum(count for _, count in runs), dtype=np.int32)
        start = 0
        for table, count in runs:
            highs[start : start + count] = self._decode(_model(table), count) - np.int32(RADIUS)
            start += count
        return highs

    def of_numbers(self, numbers: npt.NDArray[np.int16], tables: TableSet, is_sorted: bool) -> _Highs:
        if is_sorted:
            order, runs = table_runs(numbers, tables.tables)
            highs = np.empty(len(numbers), dtype=np.int32)
            highs[order] = self.of_runs(runs)
        else:
            order = np.arange(len(numbers))
            highs = self._decode(_each_model(), tables.weights[numbers]) - np.int32(RADIUS)
        return _Highs(highs, order, int(np.count_nonzero((highs == _ESCAPED) | (tables.shifts[numbers] > 0))))

    def bits(self, count: int, bits: int) -> Int32:
        return self._decode(_bits_model(bits), count)

    def _decode(self, model: Any, what: Any) -> Int32:
        try:
            return np.asarray(self._coder.decode(model, what), dtype=np.int32)
        except AssertionError as error:  # what constriction raises on words that no encoder wrote
            raise CorruptError(_INVALID_STREAM) from error


class _CompiledEntries:
    """`_Entries` by the kernel."""

    def __init__(self, words: npt.NDArray[np.uint32]) -> None:
        self._words = words
        self._state = np.empty(4, dtype=np.uint64)
        compiled.start_decoding(self._state, words)

    def of_runs(self, runs: Sequence[Run]) -> Int32:
        if not runs:
            return np.empty(0, dtype=np.int32)
        return self.of_numbers(*_numbers_of(runs), False).values

    def of_numbers(self, numbers: npt.NDArray[np.int16], tables: TableSet, is_sorted: bool) -> _Highs:
        order, highs = np.empty(len(numbers), dtype=np.int32), np.empty(len(numbers), dtype=np.int32)
        of_tables = tables.cumulative, tables.guide, tables.shifts
        numbers = np.ascontiguousarray(numbers)
        unfinished = compiled.decode_highs(self._state, self._words, *of_tables, numbers, is_sorted, order, highs)
        if unfinished < 0:
            raise CorruptError(_INVALID_STREAM)
        return _Highs(highs, order, unfinished)

    def bits(self, count: int, bits: int) -> Int32:
        values = np.empty(count, dtype=np.int32)
        if not compiled.decode_bits(self._state, self._words, bits, values):
            raise CorruptError(_INVALID_STREAM)
        return values


def _compiled_entries(words: npt.NDArray[np.uint32]) -> _Entries:
    return _CompiledEntries(words)


@by_kernels(_compiled_entries)
def _entries(words: npt.NDArray[np.uint32]) -> _Entries:
    return _ConstrictionEntries(words)


class SymbolDecoder:
    """Reads back, in the same order, the symbols that a `SymbolEncoder` wrote.

    Args:
        stream: The bytes of the stream.

    Raises:
        CorruptError: The stream does not consist of whole words, or it holds impossible symbols.
    """

    def __init__(self, stream: bytes) -> None:
        if len(stream) % 4:
            msg = f"a coded section has {len(stream)} bytes, not a multiple of 4; the file is damaged"
            raise CorruptError(msg)
        words = np.frombuffer(stream, dtype="<u4").astype(np.uint32)
        self._entries = _entries(words)

    def decode(self, count: int, table: Table) -> Symbols:
        """Returns the next `count` symbols under one table, int32 [count]."""
        return self.decode_runs([(table, count)])

    def decode_runs(self, runs: Sequence[Run]) -> Symbols:
        """Returns the next symbols under several tables, int32 [N], N the sum of all runs.

        Raises:
            CorruptError: No encoder wrote such a stream.
        """
        shifts = _shifts(runs)
        high = self._high_parts(self._entries.of_runs(runs), shifts)
        low: Symbols | int = 0
        if np.any(shifts):
            low = np.concatenate([self._decode_bits(count, table.shift) for table, count in runs])
        return join_symbols(high, low, shifts)

    def decode_each(self, numbers: npt.NDArray[np.int16], tables: TableSet) -> Symbols:
        """Returns the next symbols, each under a table of its own; see `SymbolEncoder.encode_each`.

        Raises:
            CorruptError: No encoder wrote such a stream.
        """
        return self._finished(self._entries.of_numbers(numbers, tables, False), numbers, tables)

    def decode_sorted(self, numbers: npt.NDArray[np.int16], tables: TableSet) -> Symbols:
        """Returns the next symbols, which come in the order of their tables; see
        `SymbolEncoder.encode_sorted`.

        Raises:
            CorruptError: No encoder wrote such a stream.
        """
        return self._finished(self._entries.of_numbers(numbers, tables, True), numbers, tables)

    def _finished(self, highs: _Highs, numbers: npt.NDArray[np.int16], tables: TableSet) -> Symbols:
        """Symbols of their high parts, and of the escapes and low parts that follow."""
        if highs.unfinished == 0:
            return highs.values
        shifts = tables.shifts[numbers][highs.order]
        symbols = np.empty(len(numbers), dtype=np.int32)
        symbols[highs.order] = self._with_low_parts(self._high_parts(highs.values[highs.order], shifts), shifts)
        return symbols

    def _with_low_parts(self, high: Symbols, shifts: Symbols) -> Symbols:
        """Symbols of their high parts and of the low parts that follow, by their number of bits."""
        low = np.zeros_like(high)
        for shift in _shifts_of(shifts):
            low[shifts == shift] = self._decode_bits(int((shifts == shift).sum()), shift)
        return join_symbols(high, low, shifts)

    def _high_parts(self, high: Symbols, shifts: Symbols | int) -> Symbols:
        """The high parts of symbols after the escapes that follow."""
        outside = high == _ESCAPED
        if outside.any():
            high[outside] = self._decode_escapes(int(outside.sum()))
        if high.size and np.any(np.abs(high) > MAX_SYMBOL >> shifts):
            msg = f"a coded section holds a symbol beyond {MAX_SYMBOL}; the file is damaged"
            raise CorruptError(msg)
        return high

    def _decode_escapes(self, count: int) -> Symbols:
        lengths = self._decode_bits(count, _LENGTH_BITS)
        if lengths.min() < 1 or lengths.max() > _MAX_LENGTH:
            msg = "a coded section holds an impossible symbol; the file is damaged"
            raise CorruptError(msg)
        negative = self._decode_bits(count, 1)
        excess = np.ones(count, dtype=np.int32)
        for length in range(2, int(lengths.max()) + 1):
            is_length = lengths == length
            size = int(is_length.sum())
            low = self._decode_bits(size, min(12, length - 1))
            high = self._decode_bits(size, max(0, length - 1 - 12))
            excess[is_length] = (1 << length - 1) + (high << 12) + low
        return np.where(negative == 1, -(excess + RADIUS), excess + RADIUS).astype(np.int32)

    def _decode_bits(self, count: int, bits: int) -> Symbols:
        if bits == 0 or count == 0:
            return np.zeros(count, dtype=np.int32)
        return self._entries.bits(count, bits)


def table_runs(numbers: npt.NDArray[np.int16], tables: Sequence[Table]) -> tuple[npt.NDArray[np.intp], list[Run]]:
    """The symbols of a coding pass, sorted by the number of their table.

    Args:
        numbers: The table of each symbol, int16 [N].
        tables: All tables.

    Returns:
        The positions of the symbols in sorted order, intp [N]; and the runs of equal tables.
    """
    order = np.argsort(numbers, kind="stable")
    ordered = numbers[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    counts = np.diff(starts, append=len(ordered))
    return order, [(tables[ordered[start]], int(count)) for start, count in zip(starts, counts, strict=True)]


def _shifts_of(shifts: Symbols) -> list[int]:
    """The numbers of low bits that symbols have, ascending, without 0."""
    return [shift for shift in range(1, int(np.max(shifts, initial=0)) + 1) if np.any(shifts == shift)]


def _shifts(runs: Sequence[Run]) -> Symbols | int:
    """Returns the number of low bits of each symbol; the number 0 where no symbol has any."""
    if not any(table.shift for table, _ in runs):
        return 0
    return np.repeat([table.shift for table, _ in runs], [count for _, count in runs]).astype(np.int32)
