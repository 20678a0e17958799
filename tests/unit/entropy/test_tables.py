"""Tests of tables of Laplace distributions whose mean is not an integer."""

from __future__ import annotations

import zlib
from itertools import product
from math import exp

import numpy as np

from dfmcodec._types import Float64
from dfmcodec.entropy.tables import (
    LAST_DIRECT,
    MEANS,
    MEANS_PER_SYMBOL,
    PRECISION_BITS,
    RADIUS,
    TABLE_SIZE,
    laplace_table,
    shifted_laplace_table,
)

EACH = list(product(range(LAST_DIRECT + 1), range(MEANS)))


def laplace_cdf(x: float, scale: float) -> float:
    return 0.5 * exp(x / scale) if x < 0 else 1 - 0.5 * exp(-x / scale)


def laplace_errors(index: int, mean: int) -> Float64:
    """Returns how far the entries of a table are from the probabilities of q - 1/2 .. q + 1/2, and
    the escape from that of all beyond RADIUS.
    """
    scale, m = 2 ** ((index - 16) / 4), mean / MEANS_PER_SYMBOL
    ends = [laplace_cdf(q - 0.5 - m, scale) for q in range(-RADIUS, RADIUS + 2)]
    expected = [*np.diff(ends), ends[0] + 1 - ends[-1]]
    return np.abs(shifted_laplace_table(index, mean) / (1 << PRECISION_BITS) - expected)


def test_shifted_tables_are_the_laplace_distribution() -> None:
    tables = np.stack([shifted_laplace_table(*each) for each in EACH])
    assert tables.shape == (len(EACH), TABLE_SIZE)
    assert set(tables.sum(axis=1)) == {1 << PRECISION_BITS}
    assert tables.min() >= 1
    assert [each for each in EACH if laplace_errors(*each).max() >= 1e-5] == []


def test_tables_of_mean_0_are_nearly_symmetric() -> None:
    """The two halves of the escape are rounded down one by one; all else is the same."""
    for index in range(LAST_DIRECT + 1):
        difference = shifted_laplace_table(index, 0) - laplace_table(index)
        others = np.delete(difference, [RADIUS, TABLE_SIZE - 1])
        assert not others.any()
        assert np.abs(difference).max() <= 1


def test_a_larger_mean_moves_the_distribution() -> None:
    """Positive symbols are more likely and negative ones less, the further the mean is from 0; with
    half a symbol 0 and 1 are as likely.
    """
    for index in range(8, LAST_DIRECT + 1):
        tables = [shifted_laplace_table(index, mean) for mean in range(MEANS)]
        above = [int(table[RADIUS + 1 : -1].sum()) for table in tables]
        below = [int(table[:RADIUS].sum()) for table in tables]
        assert above == sorted(set(above))
        assert below == sorted(set(below), reverse=True)
        half = tables[-1]
        assert abs(int(half[RADIUS]) - int(half[RADIUS + 1])) <= 1e-5 * (1 << PRECISION_BITS)


def test_shifted_tables_are_these_integers() -> None:
    """The tables are part of the file format: they may never change."""
    tables = [shifted_laplace_table(*each) for each in EACH]
    assert zlib.crc32(np.concatenate(tables).astype("<u4").tobytes()) == 0xD5C4ED4B
