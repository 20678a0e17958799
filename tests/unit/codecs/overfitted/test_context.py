"""Tests of the context of latent grids: causal features, an exact network, and its tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from itertools import product

import numpy as np
import pytest
from overfitted_parts import laplace_grids, random_network

from dfmcodec._types import Symbols
from dfmcodec.codecs.overfitted.context import (
    CAUSAL,
    COMPANDED,
    FEATURES,
    MAX_CONSTANT,
    MAX_WEIGHT,
    GridChoice,
    GridContext,
    GridNetwork,
    LevelNetwork,
    Wavefront,
    grid_tables,
    wavefronts,
)
from dfmcodec.codecs.overfitted.grids import GRID_LEVELS, grid_sizes
from dfmcodec.codecs.overfitted.traversal import traverse_grids
from dfmcodec.codecs.overfitted.weights import CONTEXT_DELTAS
from dfmcodec.entropy.context_networks import MAX_FEATURE, companded
from dfmcodec.entropy.tables import (
    LAPLACE_COUNT,
    LAST_DIRECT,
    MAX_SYMBOL,
    MEANS,
    MEANS_PER_SYMBOL,
    PRECISION_BITS,
    RADIUS,
    TABLE_SIZE,
    UNIT_SCALE_INDEX,
)
from dfmcodec.errors import DfmError

SIZES = [(1, 1), (1, 9), (7, 1), (9, 2), (2, 9), (3, 8), (33, 20), (64, 64), (65, 127)]  # of images
# Of the rows -3..0 and the columns -3..3 around x, what a symbol sees of its grid.
SEEN = """
    . . . o . . .
    . o o o o o o
    . o o o o . .
    o o o x . . .
"""
SEEN_OFFSETS = [
    (y - 3, x - 3)
    for y, row in enumerate(SEEN.strip().split("\n"))
    for x, mark in enumerate(row.split())
    if mark == "o"
]


# Wavefronts


def test_every_symbol_is_in_one_wavefront() -> None:
    """That of its column and twice its row, in order of its row; none is empty."""
    for size in (*product(range(1, 7), range(1, 7)), (1, 40), (40, 1), (40, 3), (33, 20)):
        numbers, rows = (
            np.full(size, -1, dtype=np.int32),
            np.arange(size[0], dtype=np.int32)[:, None].repeat(size[1], 1),
        )
        fronts = list(wavefronts(3, size))
        for front in fronts:
            view = front.of_grid(numbers)
            assert (view == -1).all()
            view[...] = front.number
            assert front.of_grid(rows).tolist() == list(front.rows)
            assert len(front.rows) > 0
        assert numbers.tolist() == [[column + 2 * row for column in range(size[1])] for row in range(size[0])]
        assert [front.number for front in fronts] == sorted({int(number) for number in numbers.flat})
        assert {front.level for front in fronts} == {3}


class Given:
    """A source of given grids that records the wavefronts."""

    def __init__(self, grids: tuple[Symbols, ...]) -> None:
        self._grids = grids
        self.fronts: list[Wavefront] = []

    def symbols(self, front: Wavefront, choice: GridChoice) -> Symbols:
        self.fronts.append(front)
        assert choice.table.shape == choice.sign.shape == choice.middle.shape == (len(front.rows),)
        return front.of_grid(self._grids[front.level])


@pytest.mark.parametrize("size", SIZES)
def test_traversals_go_from_the_coarsest_grid_to_the_finest(size: tuple[int, int]) -> None:
    grids, sizes = laplace_grids(*size, scale=30.0), grid_sizes(*size)
    source = Given(grids)
    found = traverse_grids(sizes, random_network(), source)
    assert source.fronts == [f for level in reversed(range(GRID_LEVELS)) for f in wavefronts(level, sizes[level])]
    for one, other in zip(found, grids, strict=True):
        assert one.dtype == np.int32
        assert np.array_equal(one, other)


# Features


def format_companding(m: int) -> int:
    return min(8 * m, 6 * m + 2, 5 * m + 6, 4 * m + 12, 3 * m + 24, 2 * m + 44, m + 76, 127)


def test_companding() -> None:
    """By the straight lines of the format: it grows ever more slowly, to the end of its range."""
    assert COMPANDED.tolist() == [format_companding(magnitude) for magnitude in range(64)]
    assert (np.diff(COMPANDED, 2) <= 0).all()
    assert COMPANDED[:6].tolist() == [0, 8, 14, 20, 26, 31]
    assert (np.diff(COMPANDED) >= 0).all()
    symbols = np.array([[-MAX_SYMBOL, -1024, -1023, -2], [0, 1, 1023, MAX_SYMBOL]], dtype=np.int32)
    last = MAX_FEATURE
    assert companded(symbols, COMPANDED).tolist() == [[-last, -last, -last, -14], [0, 8, last, last]]
    assert companded(symbols, COMPANDED).dtype == np.float32


def test_symbols_see_what_the_format_says() -> None:
    assert sorted(CAUSAL) == sorted(SEEN_OFFSETS)
    assert all(x + 2 * y < 0 for y, x in CAUSAL)
    assert len(SEEN_OFFSETS) + 9 + 6 == FEATURES


def front_positions(front: Wavefront) -> list[tuple[int, int]]:
    """Row and column of its symbols."""
    return [(row, front.number - 2 * row) for row in front.rows]


# The network


def exact_outputs(network: GridNetwork, features: np.ndarray, level: int) -> np.ndarray:
    """Scale and mean by docs/format.md in int64, of features [N, FEATURES]."""
    arrays = {name: getattr(network, name).astype(np.int64) for name in GridNetwork.LIMITS}
    complete = features.T.astype(np.int64)
    h1 = np.clip((arrays["w1"] @ complete + arrays["c1"][level][:, None]) >> 6, 0, 255)
    h2 = np.clip((arrays["w2"] @ h1 + arrays["c2"][:, None]) >> 6, 0, 255)
    scale, mean = arrays["w3"] @ h2 + arrays["bypass"] @ complete + arrays["c3"][level][:, None]
    return np.stack([scale >> 8, mean >> 7], axis=1)


def random_features(count: int, seed: int = 0) -> np.ndarray:
    """Any features, and as many of the largest there are, float32 [2 count, FEATURES]."""
    rng = np.random.default_rng(seed)
    parts = [rng.integers(-127, 128, (count, FEATURES)), rng.choice([-127, 127], (count, FEATURES))]
    return np.concatenate(parts).astype(np.float32)


def test_networks_are_those_of_the_format() -> None:
    """Exact integers, for typical features and the largest there are."""
    for seed, level in product(range(4), range(GRID_LEVELS)):
        network = random_network(seed)
        network.check_exact()
        features = random_features(300, seed)
        found = LevelNetwork(network, level).outputs(features)
        wanted = exact_outputs(network, features, level)
        assert found.dtype == np.float32
        assert np.array_equal(found, wanted)
        assert np.ptp(wanted, axis=0).min() > 8  # the features matter


def test_a_symbol_has_the_same_output_with_others_and_alone() -> None:
    """Wavefronts have any number of symbols."""
    network = LevelNetwork(random_network(), 2)
    features = random_features(40)
    together = network.outputs(features)
    for count in (1, 2, 7):
        parts = [network.outputs(features[first : first + count]) for first in range(0, len(features), count)]
        assert np.array_equal(np.concatenate(parts), together)


@pytest.mark.parametrize("level", [0, 4, GRID_LEVELS - 1])
def test_wavefronts_have_the_tables_of_their_features(level: int) -> None:
    network = random_network(1)
    grids = laplace_grids(150, 230, scale=4.0)
    context = GridContext(network, level, np.zeros_like(grids[level]), grids[level + 1 :])
    for front in wavefronts(level, grids[level].shape):
        found = context.choose_tables(front)
        outputs = exact_outputs(network, context.features(front), level).astype(np.float32)
        wanted = GridChoice.of_outputs(outputs)
        for field in fields(GridChoice):
            assert np.array_equal(getattr(found, field.name), getattr(wanted, field.name))
        context.accept(front, front.of_grid(grids[level]))


def with_entry(name: str, value: float) -> Callable[[GridNetwork], GridNetwork]:
    def change(network: GridNetwork) -> GridNetwork:
        changed = getattr(network, name).copy()
        changed.flat[1] = value
        return replace(network, **{name: changed})

    return change


def filled(**values: float) -> Callable[[GridNetwork], GridNetwork]:
    return lambda network: replace(
        network, **{name: np.full_like(getattr(network, name), value) for name, value in values.items()}
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        *((with_entry(name, 0.5), f"{name} .* not integers") for name in GridNetwork.LIMITS),
        (with_entry("c2", np.nan), "c2 .* not integers"),
        *(
            (with_entry(name, sign * (MAX_WEIGHT + 1)), f"{name} .* beyond {MAX_WEIGHT}")
            for name, sign in (("w1", 1), ("w2", -1), ("w3", 1), ("bypass", 1))
        ),
        *((with_entry(name, -MAX_CONSTANT - 1), f"{name} .* beyond {MAX_CONSTANT}") for name in ("c1", "c2", "c3")),
        (with_entry("c1", np.inf), "c1 .* beyond"),
        (lambda network: replace(network, w2=np.zeros((8, 2048), np.float32)), "sums of layer 2 .* may reach"),
        (lambda network: replace(network, w3=np.zeros((2, 1024), np.float32)), "sums of layer 3 .* may reach"),
    ],
)
def test_a_network_that_is_not_exact_is_refused(change: Callable[[GridNetwork], GridNetwork], message: str) -> None:
    network = random_network(2)
    network.check_exact()
    with pytest.raises(DfmError, match=message):
        change(network).check_exact()


def test_arrays_that_do_not_fit_are_refused() -> None:
    network = random_network(2)
    network.check_shapes()
    for name in ("w1", "bypass"):
        with pytest.raises(DfmError, match=f"{name} of the pretrained context network has the shape"):
            replace(network, **{name: getattr(network, name)[:, 1:]}).check_shapes()
    for name in GridNetwork.LIMITS:
        array = getattr(network, name)
        with pytest.raises(DfmError, match="has the shape"):
            replace(network, **{name: np.concatenate([array, array])}).check_shapes()


def test_the_largest_layers_are_exact() -> None:
    """Whatever an image changes within the limits."""
    limits = GridNetwork.LIMITS
    shapes = random_network(3)
    network = replace(
        shapes, **{n: np.float32(limits[n]) * np.sign(getattr(shapes, n) + np.float32(0.5)) for n in limits}
    )
    network.check_exact()
    rows = [127 * np.sign(row) for row in (*network.w1, *network.bypass)]  # that bring a sum to its largest
    features = np.concatenate([random_features(200, seed=4), rows, np.negative(rows)]).astype(np.float32)
    for level in range(GRID_LEVELS):
        found = LevelNetwork(network, level).outputs(features)
        assert np.array_equal(found, exact_outputs(network, features, level))


def test_changes_are_limited() -> None:
    network = random_network()
    rng = np.random.default_rng(5)
    added = {name: rng.integers(-3, 4, getattr(network, name).shape).astype(np.float32) for name in CONTEXT_DELTAS}
    for array in added.values():
        array.flat[:2] = 1 << 30, -(1 << 30)
    changed = network.changed(added)
    changed.check_exact()
    for name in CONTEXT_DELTAS:
        result, limit = getattr(changed, name), GridNetwork.LIMITS[name]
        assert result.dtype == np.float32
        assert result.flat[:2].tolist() == [limit, -limit]
        wanted = np.clip(getattr(network, name) + added[name], -limit, limit)
        assert np.array_equal(result.flat[2:], wanted.flat[2:])
    some = network.changed({"w2": added["w2"]})
    for name in GridNetwork.LIMITS:
        wanted = getattr(changed if name == "w2" else network, name)
        assert np.array_equal(getattr(some, name), wanted)


# Tables


def frequencies() -> np.ndarray:
    """Of all tables, int64 [tables, TABLE_SIZE]."""
    return grid_tables().frequencies


def test_tables_have_integer_frequencies() -> None:
    tables, direct = grid_tables(), MEANS * (LAST_DIRECT + 1)
    assert tables.frequencies.dtype == np.int64
    assert tables.frequencies.shape == (direct + LAPLACE_COUNT - LAST_DIRECT - 1, TABLE_SIZE)
    assert frequencies().min() >= 1
    assert (frequencies().sum(axis=1) == 1 << PRECISION_BITS).all()
    assert not tables.shifts[:direct].any()
    assert tables.shifts[direct:].tolist() == [
        -(-(index - LAST_DIRECT) // 4) for index in range(LAST_DIRECT + 1, LAPLACE_COUNT)
    ]


def table_means() -> np.ndarray:
    """The mean of each table without its escape."""
    inner = frequencies()[:, :-1]
    return (inner @ np.arange(-RADIUS, RADIUS + 1)) / inner.sum(axis=1)


def test_chosen_tables_have_the_mean_of_the_network() -> None:
    """For every scale and mean, sign * entry + middle is on average mean / MEANS_PER_SYMBOL."""
    scales = range(-UNIT_SCALE_INDEX - 3, LAPLACE_COUNT - UNIT_SCALE_INDEX + 3)
    means = range(-6 * MEANS_PER_SYMBOL, 6 * MEANS_PER_SYMBOL + 1)
    outputs = np.array(list(product(scales, means)), dtype=np.float32)
    choice = GridChoice.of_outputs(outputs)
    index = np.clip(outputs[:, 0].astype(int) + UNIT_SCALE_INDEX, 0, LAPLACE_COUNT - 1)
    wanted = outputs[:, 1] / MEANS_PER_SYMBOL
    expected = choice.sign * table_means()[choice.table] + choice.middle
    assert set(choice.sign.tolist()) == {-1, 1}
    assert np.abs(choice.middle - wanted).max() <= 0.5
    direct = (index >= UNIT_SCALE_INDEX) & (index <= LAST_DIRECT)
    assert np.abs(expected - wanted)[direct].max() < 0.02
    assert np.abs(expected - wanted)[index > LAST_DIRECT].max() <= 0.5
    narrow = index < UNIT_SCALE_INDEX  # the nearest integer is likelier than the mean says
    assert np.abs(expected - wanted)[narrow].max() <= 0.5
    assert (np.diff(expected.reshape(len(scales), -1), axis=1) > -1e-6).all()


def test_chosen_tables_have_the_scale_of_the_network() -> None:
    """Every table is used; the mean magnitude of the coded number grows with the scale."""
    scales = np.arange(LAPLACE_COUNT) - UNIT_SCALE_INDEX
    magnitudes = frequencies()[:, :-1] @ np.abs(np.arange(-RADIUS, RADIUS + 1))
    used = set()
    for mean in range(MEANS):
        outputs = np.stack([scales, np.full_like(scales, mean)], axis=1).astype(np.float32)
        numbers = GridChoice.of_outputs(outputs).table
        used |= set(numbers.tolist())
        spreads = magnitudes[numbers] * 2.0 ** grid_tables().shifts[numbers]
        assert (np.diff(spreads) > 0).all()
    assert used == set(range(len(magnitudes)))


def test_outputs_beyond_all_tables_are_limited() -> None:
    choice = GridChoice.of_outputs(np.array([[-65536, -65536], [65536, 65536], [0, 0]], dtype=np.float32))
    assert choice.table.tolist() == [0, len(grid_tables().shifts) - 1, MEANS * UNIT_SCALE_INDEX]
    assert choice.middle.tolist() == [-512, 512, 0]
