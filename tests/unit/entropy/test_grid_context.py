"""The contexts of latent grids: features that a decoder has, exact networks, and their tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from itertools import product
from math import log2

import numpy as np
import pytest
from fitted_parts import laplace_grids, random_contexts, random_network

from dfmcodec._types import Symbols
from dfmcodec.entropy import grid_context
from dfmcodec.entropy.context import MAX_FEATURE
from dfmcodec.entropy.grid_context import (
    COMPANDED,
    MAX_BYPASS,
    MAX_CONSTANT,
    MAX_SLOPE,
    GridChoice,
    GridContext,
    GridNetwork,
    GridPass,
    companded,
    feature_count,
    grid_passes,
    grid_tables,
)
from dfmcodec.entropy.passes import PHASES
from dfmcodec.entropy.tables import LAPLACE_COUNT, LAST_DIRECT, MAX_SYMBOL, MEAN_PARTS, RADIUS, UNIT_SCALE_INDEX
from dfmcodec.errors import DfmError
from dfmcodec.latents.grids import GRID_LEVELS, LMBDA_CODES, grid_sizes
from dfmcodec.prior.fitted import CONTEXT_CHANGES

SIZES = [(1, 1), (1, 9), (7, 1), (2, 2), (33, 20), (64, 64), (65, 127)]  # of images


# Features


def test_companding() -> None:
    """By the formula of the format, which no host rounds otherwise: it is nowhere near a half."""
    exact = [13 * log2(1 + 0.53 * magnitude) for magnitude in range(1024)]
    assert COMPANDED.tolist() == [round(value) for value in exact]
    assert max(COMPANDED) <= MAX_FEATURE
    assert min(abs(value % 1 - 0.5) for value in exact) > 1e-4
    assert COMPANDED[:6].tolist() == [0, 8, 14, 18, 21, 24]
    assert (np.diff(COMPANDED) >= 0).all()
    symbols = np.array([[-MAX_SYMBOL, -1024, -1023, -2], [0, 1, 1023, MAX_SYMBOL]], dtype=np.int32)
    last = COMPANDED[-1]
    assert companded(symbols).tolist() == [[-last, -last, -last, -14], [0, 8, last, last]]
    assert companded(symbols).dtype == np.float32


def test_features_are_those_of_two_coarser_grids_and_of_earlier_phases() -> None:
    assert [feature_count(phase) for phase in range(len(PHASES))] == [10, 19, 28, 37]


@pytest.mark.parametrize("size", SIZES)
def test_passes_cover_every_symbol_once(size: tuple[int, int]) -> None:
    """From the coarsest grid to the finest, and phase by phase in each."""
    sizes = grid_sizes(*size)
    assert sizes[0] == size
    assert len(sizes) == GRID_LEVELS
    visits = [np.zeros(shape, dtype=np.int32) for shape in sizes]
    passes = list(grid_passes(sizes))
    for grid_pass in passes:
        view = grid_pass.of_grid(visits[grid_pass.level])
        assert view.shape == grid_pass.shape
        assert view.size > 0
        view += 1
    assert all((grid == 1).all() for grid in visits)
    order = [(-grid_pass.level, grid_pass.phase) for grid_pass in passes]
    assert order == sorted(set(order))


def features_by_hand(grids: tuple[Symbols, ...], grid_pass: GridPass, row: int, column: int) -> list[int]:
    """The features of a symbol of a pass in a cell, as docs/format.md defines them."""

    def seen(level: int, y: int, x: int) -> int:
        if level >= len(grids) or not (0 <= y < grids[level].shape[0] and 0 <= x < grids[level].shape[1]):
            return 0
        symbol = int(grids[level][y, x])
        magnitude = round(13 * log2(1 + 0.53 * min(abs(symbol), 1023)))
        return magnitude if symbol >= 0 else -magnitude

    level = grid_pass.level
    square = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)]
    features = [seen(level + 1, row + y, column + x) for y, x in square]
    features.append(seen(level + 2, row // 2, column // 2))
    for top, left in PHASES[: grid_pass.phase]:
        features += [seen(level, 2 * (row + y) + top, 2 * (column + x) + left) for y, x in square]
    return features


@pytest.mark.parametrize("size", SIZES[:-1])
@pytest.mark.parametrize("block_cells", [8192, 12])
def test_features_are_those_of_the_format(
    size: tuple[int, int], block_cells: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In blocks of any number of rows. As only earlier symbols are accepted when they are gathered,
    they depend on no others.
    """
    monkeypatch.setattr(grid_context, "_BLOCK_CELLS", block_cells)
    grids = laplace_grids(*size, scale=30.0)
    sizes = [grid.shape for grid in grids]
    context = GridContext(sizes)
    for grid_pass in grid_passes(sizes):
        blocks = list(context.row_blocks(grid_pass))
        assert [row for rows in blocks for row in rows] == list(range(grid_pass.shape[0]))
        found = np.concatenate([context.features(grid_pass, rows) for rows in blocks], axis=1)
        cells = product(*map(range, grid_pass.shape))
        assert found.T.tolist() == [features_by_hand(grids, grid_pass, *cell) for cell in cells]
        context.accept(grid_pass, grid_pass.of_grid(grids[grid_pass.level]).ravel())
    assert all(np.array_equal(*pair) for pair in zip(context.grids, grids, strict=True))


# Networks


def exact_outputs(network: GridNetwork, features: np.ndarray, level: int, lmbda_code: int) -> np.ndarray:
    """Scale and mean by docs/format.md in int64."""
    arrays = {field.name: getattr(network, field.name).astype(np.int64) for field in fields(network)}
    whole = features.astype(np.int64)
    both = np.concatenate([whole, np.abs(whole)])
    h1 = np.clip((arrays["w1"] @ both + (arrays["c1"][level] + lmbda_code * arrays["s1"])[:, None]) >> 6, 0, 127)
    h2 = np.clip((arrays["w2"] @ h1 + arrays["c2"][:, None]) >> 6, 0, 127)
    last = (arrays["c3"][level] + lmbda_code * arrays["s3"])[:, None]
    return (arrays["w3"] @ h2 + arrays["bypass"] @ both + last) >> 8


def test_networks_are_those_of_the_format() -> None:
    """Exact integers, for typical features and the largest there are."""
    rng = np.random.default_rng(0)
    for phase in range(len(PHASES)):
        network = random_network(rng, phase)
        network.check_exact()
        count = feature_count(phase)
        features = np.hstack([rng.integers(-127, 128, (count, 300)), rng.choice([-127, 127], (count, 300))])
        for level, lmbda_code in ((0, LMBDA_CODES[0]), (GRID_LEVELS - 1, LMBDA_CODES[-1])):
            found = network.outputs(features.astype(np.float32), level, lmbda_code)
            wanted = exact_outputs(network, features, level, lmbda_code)
            assert np.array_equal(found, wanted)
            assert np.ptp(wanted, axis=1).min() > 8  # the features matter


def test_symbols_that_see_only_zeros_share_a_column(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the same tables as if each went through the network."""
    contexts = random_contexts()
    rng = np.random.default_rng(1)
    grids = [grid * (rng.random(grid.shape) < 0.01) for grid in laplace_grids(40, 40, scale=4.0)]
    sizes = [grid.shape for grid in grids]
    context = GridContext(sizes)
    columns: list[int] = []
    whole = GridNetwork.outputs

    def counted(network: GridNetwork, features: np.ndarray, level: int, lmbda_code: int) -> np.ndarray:
        columns.append(features.shape[1])
        return whole(network, features, level, lmbda_code)

    monkeypatch.setattr(GridNetwork, "outputs", counted)
    fewer = 0
    for grid_pass in grid_passes(sizes):
        columns.clear()
        found = contexts.choose_tables(grid_pass, context)
        features = context.features(grid_pass, range(grid_pass.shape[0]))
        fewer += sum(columns) < features.shape[1]
        outputs = whole(contexts.networks[grid_pass.phase], features, grid_pass.level, contexts.lmbda_code)
        wanted = GridChoice.of_outputs(outputs)
        for field in fields(GridChoice):
            assert np.array_equal(getattr(found, field.name), getattr(wanted, field.name))
        context.accept(grid_pass, grid_pass.of_grid(grids[grid_pass.level]).ravel())
    assert fewer >= 4


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
        *((with_entry(field.name, 0.5), f"{field.name} .* not whole") for field in fields(GridNetwork)),
        (with_entry("c2", np.nan), "c2 .* not whole"),
        (with_entry("w1", 128), "w1 .* beyond 127"),
        (with_entry("w2", -128), "w2 .* beyond 127"),
        (with_entry("w3", 128), "w3 .* beyond 127"),
        (with_entry("bypass", MAX_BYPASS + 1), f"bypass .* beyond {MAX_BYPASS}"),
        *((with_entry(name, -MAX_CONSTANT - 1), f"{name} .* beyond {MAX_CONSTANT}") for name in ("c1", "c2", "c3")),
        *((with_entry(name, MAX_SLOPE + 1), f"{name} .* beyond {MAX_SLOPE}") for name in ("s1", "s3")),
        (with_entry("s1", np.inf), "s1 .* beyond"),
        (lambda network: replace(network, w1=np.zeros((8, 2048), np.float32)), "sums of layer 1 .* may reach"),
        (lambda network: replace(network, w2=np.zeros((8, 2048), np.float32)), "sums of layer 2 .* may reach"),
        (lambda network: replace(network, w3=np.zeros((2, 1024), np.float32)), "sums of layer 3 .* may reach"),
    ],
)
def test_a_network_that_is_not_exact_is_refused(change: Callable[[GridNetwork], GridNetwork], message: str) -> None:
    network = random_network(np.random.default_rng(2), 3)
    network.check_exact()
    with pytest.raises(DfmError, match=message):
        change(network).check_exact()


def test_arrays_that_do_not_fit_are_refused() -> None:
    network = random_network(np.random.default_rng(2), 3)
    network.check_shapes(3)
    with pytest.raises(DfmError, match=r"w1 of context network 2 .* has the shape"):
        network.check_shapes(2)
    for field in fields(GridNetwork):
        array = getattr(network, field.name)
        with pytest.raises(DfmError, match="has the shape"):
            replace(network, **{field.name: np.concatenate([array, array])}).check_shapes(3)


def test_the_largest_layers_are_exact() -> None:
    """Whatever an image changes within the limits."""
    signs = np.random.default_rng(3)
    limits = GridNetwork.LIMITS
    shapes = random_network(signs, 3)
    network = replace(
        shapes, **{n: np.float32(limits[n]) * np.sign(getattr(shapes, n) + np.float32(0.5)) for n in limits}
    )
    network.check_exact()
    features = np.random.default_rng(4).choice([-127, 127], (feature_count(3), 200)).astype(np.float32)
    features[:, 0] = -127
    found = network.outputs(features, 0, LMBDA_CODES[0])
    assert np.array_equal(found, exact_outputs(network, features, 0, LMBDA_CODES[0]))


def test_changes_are_limited() -> None:
    contexts = random_contexts()
    rng = np.random.default_rng(5)
    changes = []
    for network in contexts.networks:
        added = {name: rng.integers(-3, 4, getattr(network, name).shape) for name in CONTEXT_CHANGES}
        for array in added.values():
            array.flat[:2] = 1 << 30, -(1 << 30)
        changes.append({name: array.astype(np.float32) for name, array in added.items()})
    changed = contexts.changed(changes)
    assert changed.lmbda_code == contexts.lmbda_code
    for old, new, added in zip(contexts.networks, changed.networks, changes, strict=True):
        new.check_exact()
        for name in CONTEXT_CHANGES:
            result, limit = getattr(new, name), GridNetwork.LIMITS[name]
            assert result.flat[:2].tolist() == [limit, -limit]
            wanted = np.clip(getattr(old, name) + added[name], -limit, limit)
            assert np.array_equal(result.flat[2:], wanted.flat[2:])
        for name in set(GridNetwork.LIMITS) - set(CONTEXT_CHANGES):
            assert np.array_equal(getattr(new, name), getattr(old, name))


# Tables


def table_means() -> np.ndarray:
    """The mean of each table without its escape."""
    symbols = np.arange(-RADIUS, RADIUS + 1)
    parts = [table.frequencies[:-1] / table.frequencies[:-1].sum() for table in grid_tables()]
    return np.array([symbols @ part for part in parts])


def test_chosen_tables_have_the_mean_of_the_network() -> None:
    """For every scale and mean, sign * entry + middle is on average mean / 8."""
    scales = range(-UNIT_SCALE_INDEX - 3, LAPLACE_COUNT - UNIT_SCALE_INDEX + 3)
    means = range(-45, 46)
    outputs = np.array(list(product(scales, means)), dtype=np.float32).T
    choice = GridChoice.of_outputs(outputs)
    index = np.clip(outputs[0].astype(int) + UNIT_SCALE_INDEX, 0, LAPLACE_COUNT - 1)
    wanted = outputs[1] / MEAN_PARTS
    expected = choice.sign * table_means()[choice.table] + choice.middle
    assert set(choice.sign.tolist()) == {-1, 1}
    assert np.abs(choice.middle - wanted).max() <= 0.5
    direct = (index >= UNIT_SCALE_INDEX) & (index <= LAST_DIRECT)
    assert np.abs(expected - wanted)[direct].max() < 0.02
    assert np.abs(expected - wanted)[index > LAST_DIRECT].max() <= 0.5
    narrow = index < UNIT_SCALE_INDEX  # the nearest whole number is likelier than the mean says
    assert np.abs(expected - wanted)[narrow].max() <= 0.5
    assert (np.diff(expected.reshape(len(scales), -1), axis=1) > -1e-6).all()


def test_chosen_tables_have_the_scale_of_the_network() -> None:
    """Every table is used; the mean magnitude of the coded number grows with the scale."""
    scales = np.arange(LAPLACE_COUNT) - UNIT_SCALE_INDEX
    tables = grid_tables()
    used = set()
    for mean in range(MEAN_PARTS // 2 + 1):
        outputs = np.stack([scales, np.full_like(scales, mean)]).astype(np.float32)
        numbers = GridChoice.of_outputs(outputs).table
        used |= set(numbers.tolist())
        spreads = [
            (np.abs(np.arange(-RADIUS, RADIUS + 1)) @ tables[n].frequencies[:-1]) * 2.0 ** tables[n].shift
            for n in numbers
        ]
        assert (np.diff(spreads) > 0).all()
    assert used == set(range(len(tables)))


def test_outputs_beyond_all_tables_are_limited() -> None:
    choice = GridChoice.of_outputs(np.array([[-65536, 65536, 0], [-65536, 65536, 0]], dtype=np.float32))
    assert choice.table.tolist() == [0, len(grid_tables()) - 1, 5 * UNIT_SCALE_INDEX]
    assert choice.middle.tolist() == [-512, 512, 0]
