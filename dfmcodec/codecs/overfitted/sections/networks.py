"""The networks section: weight deltas of the networks of an image, range-coded.

The section has one byte for each kind of weight delta, followed by the range-coded stream of all
deltas. Each delta uses the table of its weight. The lower half of a byte is the exponent of the
step sizes, and the upper half is the offset of the tables, both plus 8.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from dfmcodec._types import Symbols
from dfmcodec.codecs.overfitted.weights import DELTA_NAMES, EXPONENTS, OverfittedWeights, WeightDeltas
from dfmcodec.entropy import LAPLACE_COUNT, SymbolEncoder, TableSet, laplace
from dfmcodec.entropy.streams import StreamReader
from dfmcodec.errors import CorruptError

_MIDDLE = 8
_SMALL = 1023  # a magnitude that few deltas exceed
TABLE_OFFSETS = range(-8, 8)


def _tables(weights: OverfittedWeights, exponents: tuple[int, ...], offsets: tuple[int, ...]) -> npt.NDArray[np.int16]:
    """Returns the Laplace table of each weight delta, int16 [weights]."""
    indices = weights.table_indices(exponents) + np.array(offsets)[weights.kinds()]
    limited: npt.NDArray[np.int16] = np.clip(indices, 0, LAPLACE_COUNT - 1).astype(np.int16)
    return limited


def delta_bits(weights: OverfittedWeights, deltas: WeightDeltas) -> tuple[float, tuple[int, ...]]:
    """Returns the bits of all deltas under the best tables, and each kind's offset of tables."""
    indices = weights.table_indices(deltas.exponents)
    total, chosen = 0.0, []
    for symbols, own in zip(weights.split(deltas.symbols), weights.split(indices), strict=True):
        costs = _costs(symbols.ravel(), own.ravel())
        best = int(np.argmin(costs))
        total += float(costs[best])
        chosen.append(TABLE_OFFSETS[best])
    return total, tuple(chosen)


def bits_of_steps(weights: OverfittedWeights, deltas: WeightDeltas) -> npt.NDArray[np.float64]:
    """Returns the change in bits if each weight delta is decreased or increased by one step size,
    under the current best tables: float64 [2, weights]; infinite from +-1023 step sizes on.
    """
    _, offsets = delta_bits(weights, deltas)
    tables, costs = _tables(weights, deltas.exponents, offsets), _small_costs()
    now, before, after = (np.clip(deltas.symbols + step, -_SMALL, _SMALL) + _SMALL for step in (0, -1, 1))
    more = np.stack([costs[tables, moved] - costs[tables, now] for moved in (before, after)])
    more[:, np.abs(deltas.symbols) >= _SMALL] = np.inf
    return more


def _costs(symbols: Symbols, indices: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
    """Returns the bits of symbols under the Laplace tables of the indices, for each offset."""
    tables = np.clip(indices + np.array(TABLE_OFFSETS)[:, None], 0, LAPLACE_COUNT - 1)
    is_small = np.abs(symbols) <= _SMALL
    totals: npt.NDArray[np.float64] = _small_costs()[tables[:, is_small], symbols[is_small] + _SMALL].sum(axis=1)
    for at in np.flatnonzero(~is_small):
        totals += [float(laplace(int(table)).cost_bits(symbols[at : at + 1])[0]) for table in tables[:, at]]
    return totals


@lru_cache(maxsize=1)
def _small_costs() -> npt.NDArray[np.float64]:
    """Returns the bits of -_SMALL.._SMALL under each Laplace table."""
    symbols = np.arange(-_SMALL, _SMALL + 1, dtype=np.int32)
    return np.array([laplace(index).cost_bits(symbols) for index in range(LAPLACE_COUNT)], dtype=np.float64)


def write_networks(weights: OverfittedWeights, deltas: WeightDeltas) -> bytes:
    """Returns the networks section."""
    _, offsets = delta_bits(weights, deltas)
    head = bytes((e + _MIDDLE) | (o + _MIDDLE) << 4 for e, o in zip(deltas.exponents, offsets, strict=True))
    encoder = SymbolEncoder()
    encoder.encode_sorted(deltas.symbols, _tables(weights, deltas.exponents, offsets), _laplace_tables())
    return head + encoder.to_bytes()


@lru_cache(maxsize=1)
def _laplace_tables() -> TableSet:
    return TableSet.of([laplace(index) for index in range(LAPLACE_COUNT)])


def read_networks(body: bytes, weights: OverfittedWeights) -> WeightDeltas:
    """Decodes the networks section: the inverse of `write_networks`. Raises CorruptError if the
    section is not valid.
    """
    count = len(DELTA_NAMES)
    if len(body) < count:
        msg = "the networks section does not start with its steps and tables; the file is damaged"
        raise CorruptError(msg)
    exponents = tuple((byte & 0xF) + EXPONENTS[0] for byte in body[:count])
    offsets = tuple((byte >> 4) + TABLE_OFFSETS[0] for byte in body[:count])
    reader = StreamReader(body[count:])
    return WeightDeltas(exponents, reader.decode_sorted(_tables(weights, exponents, offsets), _laplace_tables()))
