"""The writer of range-coded streams, in Python; see `dfmcodec.entropy.range_coders`."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from dfmcodec._types import Int32
from dfmcodec.entropy.range_coders import _LONG, _WORD, _WORD_BITS, EntryWriter, _order
from dfmcodec.entropy.table_set import TableSet
from dfmcodec.entropy.tables import PRECISION_BITS


class PythonWriter(EntryWriter):
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
