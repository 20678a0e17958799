"""Random context networks, weights and grids for tests of the overfitted codec."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import numpy as np
import pytest

from dfmcodec._types import Symbols
from dfmcodec.codecs.overfitted import decode as fitted
from dfmcodec.codecs.overfitted import read_write
from dfmcodec.codecs.overfitted.context import FEATURES, GridChoice, GridNetwork, Wavefront, grid_tables
from dfmcodec.codecs.overfitted.grids import GRID_LEVELS, grid_sizes
from dfmcodec.codecs.overfitted.weights import CONTEXT_DELTAS, OverfittedWeights, overfitted_weights_of
from dfmcodec.entropy import Table
from research.training.overfitted import weight_arrays as trained_arrays
from research.training.start import start_networks

Arrays = Mapping[str, np.ndarray[Any, Any]]
HIDDEN = 8  # the units of each layer of a context network
WIDTH = 4  # that a synthesis lifts vectors to
# Width and units of the networks that JAX computes, which no vector of a processor divides: the
# same for all tests, as the programs take a minute to compile.
BY_JAX = 33, 20
SHAPES = {  # of the arrays of a synthesis
    "filters": (6, 4),
    "lift": (WIDTH, 7),
    "lift_constants": (WIDTH,),
    "layer": (3, 2 * WIDTH),
    "bypass": (3, 7),
    "constants": (3,),
    "stages": (2, 3, 27),
    "stage_constants": (2, 3),
}
STDS = {  # of their weights in pretrained weights that give images
    "filters": 0.01,
    "lift": 0.1,
    "lift_constants": 0.1,
    "layer": 0.01,
    "bypass": 0.05,
    "constants": 0.02,
    "stages": 0.02,
    "stage_constants": 0.01,
}


def random_network(seed: int = 0) -> GridNetwork:
    """A context network that gives narrow and wide distributions, near and far from zero."""
    rng = np.random.default_rng(seed)

    def complete(limit: int, *shape: int) -> np.ndarray:
        return rng.integers(-limit, limit + 1, shape).astype(np.float32)

    return GridNetwork(
        complete(20, HIDDEN, FEATURES),
        complete(2000, GRID_LEVELS, HIDDEN),
        complete(60, HIDDEN, HIDDEN),
        complete(2000, HIDDEN),
        complete(40, 2, HIDDEN),
        complete(30, 2, FEATURES),
        complete(2000, GRID_LEVELS, 2),
    )


def laplace_grids(height: int, width: int, scale: float, seed: int = 0) -> tuple[Symbols, ...]:
    """The grids of an image with symbols from a Laplace distribution."""
    rng = np.random.default_rng(seed)
    return tuple(np.rint(rng.laplace(0, scale, size)).astype(np.int32) for size in grid_sizes(height, width))


class TableCosts:
    """A source of given grids that sums what their symbols cost under the chosen tables.

    Args:
        grids: The grids.
        network: The context network.

    Attributes:
        bits: Of each grid.
    """

    def __init__(self, grids: tuple[Symbols, ...], network: GridNetwork) -> None:
        self._grids = grids
        tables = grid_tables()
        weights, shifts = tables.frequencies - 1, tables.shifts
        self._tables = [Table(less_one + 1, int(shift)) for less_one, shift in zip(weights, shifts, strict=True)]
        self.bits = [0.0] * len(grids)

    def symbols(self, front: Wavefront, choice: GridChoice) -> Symbols:
        symbols = front.of_grid(self._grids[front.level])
        coded = (symbols - choice.middle) * choice.sign
        for number in set(choice.table.tolist()):
            self.bits[front.level] += float(self._tables[number].cost_bits(coded[choice.table == number]).sum())
        return symbols


def weight_arrays(
    network: GridNetwork, synthesis: Arrays, synthesis_step: float, seed: int = 0
) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays of pretrained weights; the step of each weight of the context network is its own.

    Args:
        network: The context network.
        synthesis: The arrays of the synthesis by name.
        synthesis_step: The largest step of its weights.
        seed: Of steps and tables.
    """
    rng = np.random.default_rng(seed)
    arrays: dict[str, np.ndarray[Any, Any]] = {
        f"context_{name}": getattr(network, name).astype(np.int32) for name in GridNetwork.LIMITS
    }
    arrays |= {f"machine_{name}": weights.astype(np.float32) for name, weights in synthesis.items()}
    synthesis_count = sum(weights.size for weights in synthesis.values())
    context_count = sum(getattr(network, name).size for name in CONTEXT_DELTAS)
    steps = [synthesis_step * 2.0 ** rng.integers(-6, 1, synthesis_count), rng.integers(1, 12, context_count)]
    arrays["change_steps"] = np.concatenate(steps).astype(np.float32)
    arrays["change_tables"] = rng.integers(0, 29, synthesis_count + context_count).astype(np.uint8)
    return arrays


def some_weight_arrays(seed: int = 0) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays of small weights of random networks."""
    rng = np.random.default_rng(seed)
    synthesis = {name: rng.normal(0, std, SHAPES[name]) for name, std in STDS.items()}
    synthesis["filters"] += (-0.02, 0.23, 0.86, -0.07)
    synthesis["constants"] += 0.5
    return weight_arrays(random_network(seed), synthesis, 2.0**-6, seed)


@lru_cache(maxsize=1)
def some_weights() -> OverfittedWeights:
    """The pretrained weights of `some_weight_arrays`."""
    return OverfittedWeights.from_arrays(some_weight_arrays())


@lru_cache(maxsize=1)
def fit_weights() -> OverfittedWeights:
    """Pretrained weights of random networks that are small enough to be fitted quickly."""
    start = start_networks(0, 8, 8)
    return OverfittedWeights.from_arrays(trained_arrays(start, [start]))


@contextmanager
def installed(weights: OverfittedWeights) -> Iterator[None]:
    """Lets files name pretrained weights as if it were shipped."""

    def weights_of(weights_id: int) -> OverfittedWeights:
        return weights if weights_id == weights.checksum else overfitted_weights_of(weights_id)

    with pytest.MonkeyPatch.context() as patch:
        for module in (read_write, fitted):
            patch.setattr(module, "overfitted_weights_of", weights_of)
        yield
