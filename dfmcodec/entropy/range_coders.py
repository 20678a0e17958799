"""Range coder of docs/format.md: a writer by kernels, and readers by kernels and in Python."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from dfmcodec._types import Int32
from dfmcodec.entropy.table_set import Run, TableSet, numbers_of
from dfmcodec.entropy.tables import ESCAPE, PRECISION_BITS, RADIUS
from dfmcodec.errors import CorruptError
from dfmcodec.kernels import compiled, has_kernels

_INVALID_STREAM = "a coded section is not a valid range-coder stream; the file is damaged"
ESCAPED = ESCAPE - RADIUS  # high part that stands for an escape
_WORD_BITS = 32
_WORD = (1 << _WORD_BITS) - 1
_LONG = (1 << 2 * _WORD_BITS) - 1  # 64 bits of ones


class EntryWriter:
    """Writer of table entries and plain bits to a range-coded stream, with the kernel."""

    def __init__(self) -> None:
        self._state = np.array([0, np.iinfo(np.uint64).max, 0, 0], dtype=np.uint64)
        self._parts: list[npt.NDArray[np.uint32]] = []

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
        """Writes the lowest `bits` bits of numbers; `bits` is at least 1."""
        out = self._workspace(values.size)
        values = np.ascontiguousarray(values, dtype=np.int32)
        size = compiled.encode_bits(state=self._state, bits=bits, values=values, out=out)
        self._parts.append(out[:size].copy())

    def words(self) -> npt.NDArray[np.uint32]:
        """Returns the words of the stream so far."""
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


def reader(words: npt.NDArray[np.uint32]) -> EntryReader:
    """Creates a reader of the words of a stream."""
    return _CompiledReader(words) if has_kernels() else _PythonReader(words)
