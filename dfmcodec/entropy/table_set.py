"""Sets of probability tables for arrays in which each symbol has its own table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from dfmcodec._types import Symbols
from dfmcodec.entropy.tables import PRECISION_BITS, TABLE_SIZE, Table

Run = tuple[Table, int]  # a table, and the number of successive symbols coded with it
GUIDE_BITS = 8  # highest bits of a quantile, with which kernels look up entries


@dataclass(frozen=True, eq=False)
class TableSet:
    """Set of tables, with derived arrays."""

    tables: Sequence[Table]
    frequencies: npt.NDArray[np.int64]  # int64 [tables, TABLE_SIZE]
    shifts: Symbols  # the number of low bits of the symbols of each table, int32 [tables]

    @classmethod
    def of(cls, tables: Sequence[Table]) -> TableSet:
        """Makes a set of tables."""
        frequencies = np.stack([table.frequencies for table in tables])
        return cls(tables, frequencies, np.array([table.shift for table in tables], dtype=np.int32))

    @cached_property
    def cumulative(self) -> npt.NDArray[np.uint32]:
        """Returns the cumulative frequencies, with 0 first and the sum last, uint32 [tables,
        TABLE_SIZE + 1].
        """
        sums = np.zeros((len(self.frequencies), TABLE_SIZE + 1), dtype=np.uint32)
        np.cumsum(self.frequencies, axis=1, out=sums[:, 1:])
        return sums

    @cached_property
    def sums(self) -> list[list[int]]:
        """Returns `cumulative` as lists."""
        return [row.tolist() for row in self.cumulative]

    @cached_property
    def guide(self) -> npt.NDArray[np.uint8]:
        """Returns the first possible entry for each value of the highest bits of a quantile, uint8
        [tables, 2^GUIDE_BITS].
        """
        parts = np.arange(1 << GUIDE_BITS, dtype=np.uint32) << np.uint32(PRECISION_BITS - GUIDE_BITS)
        found = [np.searchsorted(sums, parts, side="right") - 1 for sums in self.cumulative]
        return np.stack(found).astype(np.uint8)


def numbers_of(runs: Sequence[Run]) -> tuple[npt.NDArray[np.int16], TableSet]:
    """Converts runs to the table number of each symbol, int16 [N], and the set of these tables."""
    numbers = {table: number for number, table in enumerate(dict.fromkeys(table for table, _ in runs))}
    run_numbers = np.array([numbers[table] for table, _ in runs], dtype=np.int16)
    return np.repeat(run_numbers, [count for _, count in runs]), TableSet.of(list(numbers))
