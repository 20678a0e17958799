"""The networks section: what the networks of an image differ from those of the prior by <-> bytes.

A byte for each kind of change, then the range-coded stream of all changes, each with the table of
its weight in the prior. A byte holds the exponent of the steps in its lower half, and in its upper
half what is added to the tables, both plus 8.
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
_SMALL = 1023  # a magnitude of changes that few exceed
TABLE_OFFSETS = range(-8, 8)


def _tables(prior: OverfittedWeights, exponents: tuple[int, ...], offsets: tuple[int, ...]) -> npt.NDArray[np.int16]:
    """The Laplace table of each change, int16 [weights]."""
    indices = prior.table_indices(exponents) + np.array(offsets)[prior.kinds()]
    limited: npt.NDArray[np.int16] = np.clip(indices, 0, LAPLACE_COUNT - 1).astype(np.int16)
    return limited


def delta_bits(prior: OverfittedWeights, deltas: WeightDeltas) -> tuple[float, tuple[int, ...]]:
    """The bits of all changes under the best tables, and what is added to the tables of each
    kind.
    """
    indices = prior.table_indices(deltas.exponents)
    total, chosen = 0.0, []
    for symbols, own in zip(prior.split(deltas.symbols), prior.split(indices), strict=True):
        costs = _costs(symbols.ravel(), own.ravel())
        best = int(np.argmin(costs))
        total += float(costs[best])
        chosen.append(TABLE_OFFSETS[best])
    return total, tuple(chosen)


def bits_of_steps(prior: OverfittedWeights, deltas: WeightDeltas) -> npt.NDArray[np.float64]:
    """How many bits more each change would take a step down, and a step up, under the tables that
    are the best now: float64 [2, weights]; infinitely many beyond +-1023 steps.
    """
    _, offsets = delta_bits(prior, deltas)
    tables, costs = _tables(prior, deltas.exponents, offsets), _small_costs()
    now, before, after = (np.clip(deltas.symbols + step, -_SMALL, _SMALL) + _SMALL for step in (0, -1, 1))
    more = np.stack([costs[tables, moved] - costs[tables, now] for moved in (before, after)])
    more[:, np.abs(deltas.symbols) >= _SMALL] = np.inf
    return more


def _costs(symbols: Symbols, indices: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
    """The bits of symbols under the Laplace tables of the indices, each offset added in turn."""
    tables = np.clip(indices + np.array(TABLE_OFFSETS)[:, None], 0, LAPLACE_COUNT - 1)
    is_small = np.abs(symbols) <= _SMALL
    totals: npt.NDArray[np.float64] = _small_costs()[tables[:, is_small], symbols[is_small] + _SMALL].sum(axis=1)
    for at in np.flatnonzero(~is_small):
        totals += [float(laplace(int(table)).cost_bits(symbols[at : at + 1])[0]) for table in tables[:, at]]
    return totals


@lru_cache(maxsize=1)
def _small_costs() -> npt.NDArray[np.float64]:
    """The bits of -_SMALL.._SMALL under each Laplace table."""
    symbols = np.arange(-_SMALL, _SMALL + 1, dtype=np.int32)
    return np.array([laplace(index).cost_bits(symbols) for index in range(LAPLACE_COUNT)], dtype=np.float64)


def write_networks(prior: OverfittedWeights, deltas: WeightDeltas) -> bytes:
    """The networks section."""
    _, offsets = delta_bits(prior, deltas)
    head = bytes((e + _MIDDLE) | (o + _MIDDLE) << 4 for e, o in zip(deltas.exponents, offsets, strict=True))
    encoder = SymbolEncoder()
    encoder.encode_sorted(deltas.symbols, _tables(prior, deltas.exponents, offsets), _laplace_tables())
    return head + encoder.to_bytes()


@lru_cache(maxsize=1)
def _laplace_tables() -> TableSet:
    return TableSet.of([laplace(index) for index in range(LAPLACE_COUNT)])


def read_networks(body: bytes, prior: OverfittedWeights) -> WeightDeltas:
    """The inverse of `write_networks`.

    Raises:
        CorruptError: The section is not valid.
    """
    count = len(DELTA_NAMES)
    if len(body) < count:
        msg = "the networks section does not start with its steps and tables; the file is damaged"
        raise CorruptError(msg)
    exponents = tuple((byte & 0xF) + EXPONENTS[0] for byte in body[:count])
    offsets = tuple((byte >> 4) + TABLE_OFFSETS[0] for byte in body[:count])
    reader = StreamReader(body[count:])
    return WeightDeltas(exponents, reader.decode_sorted(_tables(prior, exponents, offsets), _laplace_tables()))
