"""Encodes arrays of symbols to bytes and back, with one table for all or one for each. Tables cover
frequent symbols; escapes and low bits follow for the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from dfmcodec._types import Int32, Symbols
from dfmcodec.entropy.range_coders import ESCAPED, EntryWriter, HighParts, reader
from dfmcodec.entropy.table_set import Run, TableSet
from dfmcodec.entropy.tables import ESCAPE, MAX_SYMBOL, RADIUS, Table, bit_length, join_symbols, split_symbols
from dfmcodec.errors import CorruptError

_LENGTH_BITS = 5  # bits for the length of the value after an escape
_MAX_LENGTH = 26  # maximum number of binary digits of this value


class SymbolEncoder:
    """Encoder of arrays of symbols to one range-coded stream."""

    def __init__(self) -> None:
        self._entries = EntryWriter()

    def encode(self, symbols: Symbols, table: Table) -> None:
        """Appends symbols, int32 [N], with one table."""
        self.encode_runs(symbols, [(table, symbols.size)])

    def encode_runs(self, symbols: Symbols, runs: Sequence[Run]) -> None:
        """Appends symbols, int32 [N], with several tables.

        The table entries of all symbols come first, then all escapes, then the low bits of all
        runs.
        """
        high, low, entries = _parts_of_symbols(symbols, _shifts(runs))
        self._entries.write_runs(entries, runs)
        self._encode_escapes(high)
        start = 0
        for table, count in runs:
            self._encode_bits(low[start : start + count], table.shift)
            start += count

    def encode_sorted(self, symbols: Symbols, numbers: npt.NDArray[np.int16], tables: TableSet) -> None:
        """Appends symbols, int32 [N], each with the table of its number, int16 [N], in the order of
        their tables.
        """
        self._encode_numbers(symbols, numbers, tables, True)

    def encode_each(self, symbols: Symbols, numbers: npt.NDArray[np.int16], tables: TableSet) -> None:
        """Appends symbols, int32 [N], each with the table of its number, int16 [N].

        The table entries of all symbols come first, then all escapes, then the low bits of all
        symbols, grouped by their number.
        """
        self._encode_numbers(symbols, numbers, tables, False)

    def _encode_numbers(
        self, symbols: Symbols, numbers: npt.NDArray[np.int16], tables: TableSet, is_sorted: bool
    ) -> None:
        if not tables.shifts[: int(numbers.max(initial=0)) + 1].any() and np.abs(symbols).max(initial=0) <= RADIUS:
            self._entries.write_each(symbols + np.int32(RADIUS), numbers, tables, is_sorted)
            return
        shifts = tables.shifts[numbers]
        high, low, entries = _parts_of_symbols(symbols, shifts)
        order = self._entries.write_each(entries, numbers, tables, is_sorted)
        if entries.max(initial=0) == ESCAPE:
            self._encode_escapes(high[order])
        if shifts.any():
            low, shifts = low[order], shifts[order]
            for shift, places in _by_shift(shifts):
                self._encode_bits(low[places], shift)

    def _encode_escapes(self, high: Symbols) -> None:
        """Appends the parts of high parts beyond RADIUS that tables do not cover."""
        high = high[np.abs(high) > RADIUS]
        if high.size == 0:
            return
        excess = np.abs(high) - RADIUS
        lengths = bit_length(excess)
        self._encode_bits(lengths.astype(np.int32), _LENGTH_BITS)
        self._encode_bits((high < 0).astype(np.int32), 1)
        for length in range(2, int(lengths.max()) + 1):
            values = excess[lengths == length]
            # in two parts, because a uniform model has at most 24 bits
            self._encode_bits(values & 0xFFF, min(12, length - 1))
            self._encode_bits((values ^ 1 << length - 1) >> 12, max(0, length - 1 - 12))

    def _encode_bits(self, values: npt.NDArray[np.int32], bits: int) -> None:
        if bits and values.size:
            self._entries.write_bits(values, bits)

    def to_bytes(self) -> bytes:
        """Returns the stream as 32-bit words, little-endian."""
        return bytes(self._entries.words().astype("<u4").tobytes())


def _parts_of_symbols(symbols: Symbols, shifts: Symbols | int) -> tuple[Symbols, Symbols, Int32]:
    """Splits symbols into high and low parts and returns them with the table entries of the high
    parts, int32 [N] each.
    """
    high, low = split_symbols(symbols, shifts)
    return high, low, np.where(np.abs(high) > RADIUS, np.int32(ESCAPE), high + np.int32(RADIUS))


class SymbolDecoder:
    """Decoder of the symbols that a `SymbolEncoder` wrote, in the same order. Raises CorruptError
    if the length is not a multiple of 4 bytes, or the stream contains invalid symbols.
    """

    def __init__(self, stream: bytes) -> None:
        if len(stream) % 4:
            msg = f"a coded section has {len(stream)} bytes, not a multiple of 4; the file is damaged"
            raise CorruptError(msg)
        words = np.frombuffer(stream, dtype="<u4").astype(np.uint32)
        self._entries = reader(words)

    def decode(self, count: int, table: Table) -> Symbols:
        """Returns the next `count` symbols with one table, int32 [count]."""
        return self.decode_runs([(table, count)])

    def decode_runs(self, runs: Sequence[Run]) -> Symbols:
        """Returns the next symbols with several tables, int32 [N], where N is the sum of all runs.
        Raises CorruptError if no encoder can write such a stream.
        """
        shifts = _shifts(runs)
        high = self._high_parts(self._entries.read_runs(runs), shifts)
        low: Symbols | int = 0
        if np.any(shifts):
            low = np.concatenate([self._decode_bits(count, table.shift) for table, count in runs])
        return join_symbols(high, low, shifts)

    def decode_each(self, numbers: npt.NDArray[np.int16], tables: TableSet) -> Symbols:
        """Returns the next symbols, each with its own table; see `SymbolEncoder.encode_each`.
        Raises CorruptError if no encoder can write such a stream.
        """
        return self._completed(self._entries.read_each(numbers, tables, False), numbers, tables)

    def decode_sorted(self, numbers: npt.NDArray[np.int16], tables: TableSet) -> Symbols:
        """Returns the next symbols, coded in the order of their tables; see
        `SymbolEncoder.encode_sorted`. Raises CorruptError if no encoder can write such a stream.
        """
        return self._completed(self._entries.read_each(numbers, tables, True), numbers, tables)

    def _completed(self, highs: HighParts, numbers: npt.NDArray[np.int16], tables: TableSet) -> Symbols:
        """Completes symbols from their high parts with the escapes and low parts that follow."""
        if highs.unfinished == 0:
            return highs.values
        shifts = tables.shifts[numbers][highs.order]
        symbols = np.empty(len(numbers), dtype=np.int32)
        symbols[highs.order] = self._with_low_parts(self._high_parts(highs.values[highs.order], shifts), shifts)
        return symbols

    def _with_low_parts(self, high: Symbols, shifts: Symbols) -> Symbols:
        """Adds the low parts that follow, grouped by their number of bits, to high parts."""
        low = np.zeros_like(high)
        for shift, places in _by_shift(shifts):
            low[places] = self._decode_bits(len(places), shift)
        return join_symbols(high, low, shifts)

    def _high_parts(self, high: Symbols, shifts: Symbols | int) -> Symbols:
        """Replaces escapes among the high parts by the values that follow."""
        outside = high == ESCAPED
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
        return self._entries.read_bits(count, bits)


def _by_shift(shifts: Symbols) -> Iterator[tuple[int, npt.NDArray[np.intp]]]:
    """Yields the numbers of low bits in ascending order, without 0, each with the positions of its
    symbols.
    """
    counts = np.bincount(shifts)
    for shift in np.flatnonzero(counts[1:]).tolist():
        yield shift + 1, np.flatnonzero(shifts == shift + 1)


def _shifts(runs: Sequence[Run]) -> Symbols | int:
    """Returns the number of low bits of each symbol, or 0 if no symbol has low bits."""
    if not any(table.shift for table, _ in runs):
        return 0
    return np.repeat([table.shift for table, _ in runs], [count for _, count in runs]).astype(np.int32)
