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
STDS = {  # of their weights in a prior that gives images
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

    def whole(limit: int, *shape: int) -> np.ndarray:
        return rng.integers(-limit, limit + 1, shape).astype(np.float32)

    return GridNetwork(
        whole(20, HIDDEN, FEATURES),
        whole(2000, GRID_LEVELS, HIDDEN),
        whole(60, HIDDEN, HIDDEN),
        whole(2000, HIDDEN),
        whole(40, 2, HIDDEN),
        whole(30, 2, FEATURES),
        whole(2000, GRID_LEVELS, 2),
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
        weights, shifts = tables.weights.astype(np.int64), tables.shifts
        self._tables = [Table(less_one + 1, int(shift)) for less_one, shift in zip(weights, shifts, strict=True)]
        self.bits = [0.0] * len(grids)

    def symbols(self, front: Wavefront, choice: GridChoice) -> Symbols:
        symbols = front.of_grid(self._grids[front.level])
        coded = (symbols - choice.middle) * choice.sign
        for number in set(choice.table.tolist()):
            self.bits[front.level] += float(self._tables[number].cost_bits(coded[choice.table == number]).sum())
        return symbols


def prior_arrays(
    network: GridNetwork, machine: Arrays, machine_step: float, seed: int = 0
) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays of a prior; the step of each weight of the context network is its own.

    Args:
        network: The context network.
        machine: The arrays of the synthesis by name.
        machine_step: The largest step of its weights.
        seed: Of steps and tables.
    """
    rng = np.random.default_rng(seed)
    arrays: dict[str, np.ndarray[Any, Any]] = {
        f"context_{name}": getattr(network, name).astype(np.int32) for name in GridNetwork.LIMITS
    }
    arrays |= {f"machine_{name}": weights.astype(np.float32) for name, weights in machine.items()}
    machine_count = sum(weights.size for weights in machine.values())
    context_count = sum(getattr(network, name).size for name in CONTEXT_DELTAS)
    steps = [machine_step * 2.0 ** rng.integers(-6, 1, machine_count), rng.integers(1, 12, context_count)]
    arrays["change_steps"] = np.concatenate(steps).astype(np.float32)
    arrays["change_tables"] = rng.integers(0, 29, machine_count + context_count).astype(np.uint8)
    return arrays


def some_prior_arrays(seed: int = 0) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays of a small prior of random networks."""
    rng = np.random.default_rng(seed)
    machine = {name: rng.normal(0, std, SHAPES[name]) for name, std in STDS.items()}
    machine["filters"] += (-0.02, 0.23, 0.86, -0.07)
    machine["constants"] += 0.5
    return prior_arrays(random_network(seed), machine, 2.0**-6, seed)


@lru_cache(maxsize=1)
def some_prior() -> OverfittedWeights:
    """The prior of `some_prior_arrays`."""
    return OverfittedWeights.from_arrays(some_prior_arrays())


@contextmanager
def installed(prior: OverfittedWeights) -> Iterator[None]:
    """Lets files name a prior as if it were shipped."""

    def prior_of(weights_id: int) -> OverfittedWeights:
        return prior if weights_id == prior.checksum else overfitted_weights_of(weights_id)

    with pytest.MonkeyPatch.context() as patch:
        for module in (read_write, fitted):
            patch.setattr(module, "overfitted_weights_of", prior_of)
        yield
