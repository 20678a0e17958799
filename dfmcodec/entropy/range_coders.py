"""Range coder of docs/format.md, in three equivalent implementations: kernels, constriction and
Python.

The kernels are fastest. Without kernels the library `constriction` is used. Without both there is
an implementation in Python, which takes about a second for a million symbols (`is_slow`).

`constriction.stream.queue.RangeEncoder` works on 32-bit words with models of 24-bit precision. Its
categorical model takes floats p_i. It gives 1 to each of the n entries and distributes the
remaining 2^24 - n in proportion to p_i. So the integers frequency - 1, which are exact in float32,
give exactly the frequencies of the table.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from dfmcodec._types import Int32
from dfmcodec.entropy.table_set import Run, TableSet, numbers_of, table_runs
from dfmcodec.entropy.tables import ESCAPE, PRECISION_BITS, RADIUS, Table
from dfmcodec.errors import CorruptError, is_installed
from dfmcodec.kernels import compiled, has_kernels

_INVALID_STREAM = "a coded section is not a valid range-coder stream; the file is damaged"
ESCAPED = ESCAPE - RADIUS  # high part that stands for an escape
_WORD_BITS = 32
_WORD = (1 << _WORD_BITS) - 1
_LONG = (1 << 2 * _WORD_BITS) - 1  # 64 bits of ones


class EntryWriter(Protocol):
    """Writer of table entries and plain bits to a range-coded stream. All implementations write the
    same stream.
    """

    def write_runs(self, entries: Int32, runs: Sequence[Run]) -> None:
        """Writes entries with several tables, int32 [N]."""
        if runs:
            self.write_each(entries, *numbers_of(runs), False)

    def write_each(
        self, entries: Int32, numbers: npt.NDArray[np.int16], tables: TableSet, is_sorted: bool
    ) -> npt.NDArray[np.integer[Any]]:
        """Writes entries, each with the table of its number, in the order of their tables or in the
        given order. Returns this order, [N].
        """

    def write_bits(self, values: Int32, bits: int) -> None:
        """Writes the lowest `bits` bits of numbers; `bits` is at least 1."""

    def words(self) -> npt.NDArray[np.uint32]:
        """Returns the words of the stream so far."""


class _ConstrictionWriter(EntryWriter):
    """`EntryWriter` with constriction."""

    def __init__(self) -> None:
        self._coder = _constriction().stream.queue.RangeEncoder()

    def write_runs(self, entries: Int32, runs: Sequence[Run]) -> None:
        start = 0
        for table, count in runs:
            self._coder.encode(entries[start : start + count], _model(table))
            start += count

    def write_each(
        self, entries: Int32, numbers: npt.NDArray[np.int16], tables: TableSet, is_sorted: bool
    ) -> npt.NDArray[np.integer[Any]]:
        if is_sorted:
            order, runs = table_runs(numbers, tables.tables)
            self.write_runs(entries[order], runs)
            return order
        self._coder.encode(entries, _each_model(), tables.weights[numbers])
        return np.arange(len(numbers))

    def write_bits(self, values: Int32, bits: int) -> None:
        self._coder.encode(values & ((1 << bits) - 1), _bits_model(bits))

    def words(self) -> npt.NDArray[np.uint32]:
        return np.asarray(self._coder.get_compressed(), dtype=np.uint32)


class _CompiledWriter(EntryWriter):
    """`EntryWriter` with the kernel."""

    def __init__(self) -> None:
        self._state = np.array([0, np.iinfo(np.uint64).max, 0, 0], dtype=np.uint64)
        self._parts: list[npt.NDArray[np.uint32]] = []

    def write_each(
        self, entries: Int32, numbers: npt.NDArray[np.int16], tables: TableSet, is_sorted: bool
    ) -> npt.NDArray[np.integer[Any]]:
        order, out = np.empty(len(numbers), dtype=np.int32), self._workspace(len(numbers))
        numbers, entries = np.ascontiguousarray(numbers), np.ascontiguousarray(entries, dtype=np.int32)
        size = compiled.encode_entries(
            state=self._state,
            cumulative=tables.cumulative,
            numbers=numbers,
            is_sorted=is_sorted,
            order=order,
            entries=entries,
            out=out,
        )
        self._parts.append(out[:size].copy())
        return order

    def write_bits(self, values: Int32, bits: int) -> None:
        out = self._workspace(values.size)
        values = np.ascontiguousarray(values, dtype=np.int32)
        size = compiled.encode_bits(state=self._state, bits=bits, values=values, out=out)
        self._parts.append(out[:size].copy())

    def words(self) -> npt.NDArray[np.uint32]:
        end = self._workspace(2)
        size = compiled.end_encoding(state=self._state, out=end)
        return np.concatenate([*self._parts, end[:size]])

    def _workspace(self, count: int) -> npt.NDArray[np.uint32]:
        """Allocates memory for the words of `count` entries and for words that wait for a carry."""
        return np.empty(count + int(self._state[2]), dtype=np.uint32)


@dataclass(frozen=True)
class HighParts:
    """High parts of symbols, which are coded with tables: entries minus RADIUS."""

    values: Int32  # int32 [N]; an escape is `ESCAPED`
    order: npt.NDArray[np.integer[Any]]  # the order of the symbols in the stream, [N]
    unfinished: int  # the number of escapes and of symbols with low bits, which follow in the stream

    @classmethod
    def of(cls, values: Int32, order: npt.NDArray[np.integer[Any]], shifts: Int32) -> HighParts:
        """Creates high parts of symbols with the given numbers of low bits, [N]."""
        return cls(values, order, int(np.count_nonzero((values == ESCAPED) | (shifts > 0))))


class EntryReader(Protocol):
    """Reader of table entries and plain bits from a range-coded stream. All implementations raise
    CorruptError for a stream that no encoder can write.
    """

    def read_runs(self, runs: Sequence[Run]) -> Int32:
        """Reads the high parts of the next symbols with several tables, int32 [N]."""
        if not runs:
            return np.empty(0, dtype=np.int32)
        return self.read_each(*numbers_of(runs), False).values

    def read_each(self, numbers: npt.NDArray[np.int16], tables: TableSet, is_sorted: bool) -> HighParts:
        """Reads the high parts of the next symbols, each with the table of its number, coded in the
        order of their tables or in the given order.
        """

    def read_bits(self, count: int, bits: int) -> Int32:
        """Reads the next `count` numbers with `bits` bits each, int32 [count]."""


class _ConstrictionReader(EntryReader):
    """`EntryReader` with constriction."""

    def __init__(self, words: npt.NDArray[np.uint32]) -> None:
        self._coder = _constriction().stream.queue.RangeDecoder(words)

    def read_runs(self, runs: Sequence[Run]) -> Int32:
        highs = np.empty(sum(count for _, count in runs), dtype=np.int32)
        start = 0
        for table, count in runs:
            highs[start : start + count] = self._decode(_model(table), count) - np.int32(RADIUS)
            start += count
        return highs

    def read_each(self, numbers: npt.NDArray[np.int16], tables: TableSet, is_sorted: bool) -> HighParts:
        if is_sorted:
            order, runs = table_runs(numbers, tables.tables)
            highs = np.empty(len(numbers), dtype=np.int32)
            highs[order] = self.read_runs(runs)
        else:
            order = np.arange(len(numbers))
            highs = self._decode(_each_model(), tables.weights[numbers]) - np.int32(RADIUS)
        return HighParts.of(highs, order, tables.shifts[numbers])

    def read_bits(self, count: int, bits: int) -> Int32:
        return self._decode(_bits_model(bits), count)

    def _decode(self, model: Any, what: Any) -> Int32:
        try:
            return np.asarray(self._coder.decode(model, what), dtype=np.int32)
        except AssertionError as error:  # constriction raises it for words that no encoder can write
            raise CorruptError(_INVALID_STREAM) from error


class _CompiledReader(EntryReader):
    """`EntryReader` with the kernel."""

    def __init__(self, words: npt.NDArray[np.uint32]) -> None:
        self._words = words
        self._state = np.empty(4, dtype=np.uint64)
        compiled.start_decoding(state=self._state, words=words)

    def read_each(self, numbers: npt.NDArray[np.int16], tables: TableSet, is_sorted: bool) -> HighParts:
        order, highs = np.empty(len(numbers), dtype=np.int32), np.empty(len(numbers), dtype=np.int32)
        unfinished = compiled.decode_highs(
            state=self._state,
            words=self._words,
            cumulative=tables.cumulative,
            guide=tables.guide,
            shifts=tables.shifts,
            numbers=np.ascontiguousarray(numbers),
            is_sorted=is_sorted,
            order=order,
            highs=highs,
        )
        if unfinished < 0:
            raise CorruptError(_INVALID_STREAM)
        return HighParts(highs, order, unfinished)

    def read_bits(self, count: int, bits: int) -> Int32:
        values = np.empty(count, dtype=np.int32)
        if not compiled.decode_bits(state=self._state, words=self._words, bits=bits, values=values):
            raise CorruptError(_INVALID_STREAM)
        return values


class _PythonWriter(EntryWriter):
    """`EntryWriter` in Python. A word that a carry may change is held back, with the all-ones words
    after it.
    """

    def __init__(self) -> None:
        self._lower, self._range = 0, _LONG
        self._words: list[int] = []
        self._waiting: list[int] = []

    def write_each(
        self, entries: Int32, numbers: npt.NDArray[np.int16], tables: TableSet, is_sorted: bool
    ) -> npt.NDArray[np.integer[Any]]:
        order = _order(numbers, is_sorted)
        for entry, number in zip(entries[order].tolist(), numbers[order].tolist(), strict=True):
            sums = tables.sums[number]
            self._put(sums[entry], sums[entry + 1] - sums[entry])
        return order

    def write_bits(self, values: Int32, bits: int) -> None:
        unit = 1 << (PRECISION_BITS - bits)
        for value in (values & ((1 << bits) - 1)).tolist():
            self._put(value * unit, unit)

    def words(self) -> npt.NDArray[np.uint32]:
        ended = self._words.copy()
        if self._range != _LONG:  # at least one entry was encoded
            point = self._lower + _WORD
            ended += self._after_carry(has_carry=point > _LONG)
            word = (point & _LONG) >> _WORD_BITS
            ended.append(word)
            if ((self._lower + self._range) & _LONG) >> _WORD_BITS == word:
                ended.append(0)
        return np.array(ended, dtype=np.uint32)

    def _put(self, cumulative: int, frequency: int) -> None:
        scale = self._range >> PRECISION_BITS
        lower = self._lower + scale * cumulative
        has_carry = lower > _LONG
        self._lower, self._range = lower & _LONG, scale * frequency
        if self._waiting and self._lower + self._range <= _LONG:
            self._words += self._after_carry(has_carry)
            self._waiting = []
        if self._range >> _WORD_BITS:
            return
        word = self._lower >> _WORD_BITS
        self._lower, self._range = (self._lower << _WORD_BITS) & _LONG, self._range << _WORD_BITS
        if self._waiting or self._lower + self._range > _LONG:
            self._waiting.append(word)
        else:
            self._words.append(word)

    def _after_carry(self, has_carry: bool) -> list[int]:
        """Returns the words that were held back, after an optional carry."""
        if not self._waiting or not has_carry:
            return self._waiting
        return [(self._waiting[0] + 1) & _WORD, *[0] * (len(self._waiting) - 1)]


class _PythonReader(EntryReader):
    """`EntryReader` in Python."""

    def __init__(self, words: npt.NDArray[np.uint32]) -> None:
        self._words = iter(words.tolist())
        self._lower, self._range = 0, _LONG
        self._point = next(self._words, 0) << _WORD_BITS | next(self._words, 0)

    def read_each(self, numbers: npt.NDArray[np.int16], tables: TableSet, is_sorted: bool) -> HighParts:
        order = _order(numbers, is_sorted)
        highs = np.empty(len(numbers), dtype=np.int32)
        highs[order] = np.fromiter(self._entries(numbers[order].tolist(), tables.sums), np.int32, len(numbers))
        highs -= np.int32(RADIUS)
        return HighParts.of(highs, order, tables.shifts[numbers])

    def _entries(self, numbers: Iterable[int], sums: list[list[int]]) -> Iterable[int]:
        for number in numbers:
            cumulative = sums[number]
            entry = bisect_right(cumulative, self._quantile()) - 1
            self._take(cumulative[entry], cumulative[entry + 1] - cumulative[entry])
            yield entry

    def read_bits(self, count: int, bits: int) -> Int32:
        values, shift = np.empty(count, dtype=np.int32), PRECISION_BITS - bits
        for at in range(count):
            value = self._quantile() >> shift
            self._take(value << shift, 1 << shift)
            values[at] = value
        return values

    def _quantile(self) -> int:
        quantile = ((self._point - self._lower) & _LONG) // (self._range >> PRECISION_BITS)
        if quantile >> PRECISION_BITS:
            raise CorruptError(_INVALID_STREAM)
        return quantile

    def _take(self, cumulative: int, frequency: int) -> None:
        scale = self._range >> PRECISION_BITS
        self._lower = (self._lower + scale * cumulative) & _LONG
        self._range = scale * frequency
        if not self._range >> _WORD_BITS:
            self._lower = (self._lower << _WORD_BITS) & _LONG
            self._range <<= _WORD_BITS
            self._point = ((self._point << _WORD_BITS) & _LONG) | next(self._words, 0)


def _order(numbers: npt.NDArray[np.int16], is_sorted: bool) -> npt.NDArray[np.integer[Any]]:
    """Returns the order of the symbols in the stream."""
    return np.argsort(numbers, kind="stable") if is_sorted else np.arange(len(numbers))


def is_slow() -> bool:
    """Indicates whether symbols are coded one by one in Python, because kernels and constriction
    are missing.
    """
    return not has_kernels() and not is_installed("constriction")


def writer() -> EntryWriter:
    """Creates a writer."""
    if has_kernels():
        return _CompiledWriter()
    return _PythonWriter() if is_slow() else _ConstrictionWriter()


def reader(words: npt.NDArray[np.uint32]) -> EntryReader:
    """Creates a reader of the words of a stream."""
    if has_kernels():
        return _CompiledReader(words)
    return _PythonReader(words) if is_slow() else _ConstrictionReader(words)


def _constriction() -> Any:
    import constriction

    return constriction


@lru_cache(maxsize=1)
def _each_model() -> Any:
    return _constriction().stream.model.Categorical(perfect=False)


@lru_cache(maxsize=1024)
def _model(table: Table) -> Any:
    weights = (table.frequencies - 1).astype(np.float32)
    return _constriction().stream.model.Categorical(weights, perfect=False)


@lru_cache(maxsize=32)
def _bits_model(bits: int) -> Any:
    return _constriction().stream.model.Uniform(1 << bits)
