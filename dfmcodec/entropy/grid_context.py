"""The contexts of latent grids: integer networks that give each symbol of a grid its distribution.

Grids are coded from the coarsest to the finest, each in four coding passes over the phases of its
2x2 cells (`entropy.passes`). A symbol of a phase sees

    - the 3x3 symbols around its cell in the next coarser grid, which has one symbol for each cell,
    - the symbol there in the grid after that,
    - the symbols of earlier phases in the 3x3 cells around its own,

all companded (`COMPANDED`), with their sign and as magnitudes. Symbols beyond the grid are 0. There
is a network of three layers for each phase:

    a1 = W1 (f, |f|) + c1[level] + s1 k,   h1 = clip(floor(a1 / 64), 0, 127)
    a2 = W2 h1 + c2,                       h2 = clip(floor(a2 / 64), 0, 127)
    a3 = W3 h2 + B (f, |f|) + c3[level] + s3 k,   (scale, mean) = floor(a3 / 256)

with the lmbda code k (`latents.grids`). A symbol then has a Laplace distribution of scale
2^(scale / 4) and mean / 8. All numbers are whole and all sums stay below 2^24, so float32 matrix
products are exact in any order (`GridNetwork.check_exact`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from dfmcodec._types import Float32, Int32, Symbols
from dfmcodec.entropy.context import (
    ACTIVATION_MAX,
    ACTIVATION_SHIFT,
    MAX_FEATURE,
    MAX_WEIGHT,
    OUTPUT_SHIFT,
    check_sums,
    check_whole,
)
from dfmcodec.entropy.neighbourhood import SQUARE
from dfmcodec.entropy.passes import PHASES, Rows
from dfmcodec.entropy.tables import (
    LAPLACE_COUNT,
    LAST_DIRECT,
    MEAN_PARTS,
    UNIT_SCALE_INDEX,
    Table,
    laplace,
    shifted_laplace_table,
)
from dfmcodec.errors import DfmError
from dfmcodec.latents.grids import LMBDA_CODES

COARSER_FEATURES = len(SQUARE) + 1
MAX_LMBDA_CODE = max(abs(LMBDA_CODES[0]), abs(LMBDA_CODES[-1]))
MAX_BYPASS = 1023
MAX_CONSTANT = 1 << 19
MAX_SLOPE = 1 << 13
_MEANS = MEAN_PARTS // 2 + 1  # a mean is at most half a symbol from a whole number
_MAX_MEAN = MEAN_PARTS * 512
_BLOCK_CELLS = 8192
_BUSY_PART = 0.75  # with more symbols than this that see others, all go through the network
COMPANDING = (13.0, 0.53)  # of a magnitude m: 13 log2(1 + 0.53 m), nearly 8 at 1
COMPANDED = np.minimum(np.rint(COMPANDING[0] * np.log2(1 + COMPANDING[1] * np.arange(1024))), MAX_FEATURE).astype(
    np.float32
)


def feature_count(phase: int) -> int:
    """Counts the features of a symbol of a phase, each of which is a symbol."""
    return COARSER_FEATURES + len(SQUARE) * phase


def companded(symbols: Symbols) -> Float32:
    """Maps symbols by `COMPANDED`, with their sign; float32 of the same shape."""
    magnitudes = COMPANDED[np.minimum(np.abs(symbols), len(COMPANDED) - 1)]
    return np.asarray(magnitudes * np.sign(symbols).astype(np.float32))


@dataclass(frozen=True)
class GridPass:
    """A coding pass over a grid.

    Args:
        level: The level of the grid, 0 for the finest.
        phase: The index into `PHASES`.
        shape: The (rows, columns) of its symbols.
    """

    level: int
    phase: int
    shape: tuple[int, int]

    def of_grid(self, grid: Symbols) -> Symbols:
        """A view of the symbols of the pass in their grid, [rows, columns]."""
        y, x = PHASES[self.phase]
        return grid[y::2, x::2]


def grid_passes(sizes: Sequence[tuple[int, int]]) -> Iterator[GridPass]:
    """Gives the passes over all grids that have symbols, in coding order.

    Args:
        sizes: The (rows, columns) of the grids, from the finest on.
    """
    for level in reversed(range(len(sizes))):
        rows, columns = sizes[level]
        for phase, (y, x) in enumerate(PHASES):
            shape = (rows - y + 1) // 2, (columns - x + 1) // 2
            if min(shape) > 0:
                yield GridPass(level, phase, shape)


@dataclass(frozen=True)
class GridNetwork:
    """The network of one phase. The weights are whole numbers, kept as float32 for products.

    Args:
        w1: [hidden_1, 2 features].
        c1: [levels, hidden_1].
        s1: [hidden_1].
        w2: [hidden_2, hidden_1].
        c2: [hidden_2].
        w3: [2, hidden_2].
        bypass: B, [2, 2 features].
        c3: [levels, 2].
        s3: [2].
    """

    w1: Float32
    c1: Float32
    s1: Float32
    w2: Float32
    c2: Float32
    w3: Float32
    bypass: Float32
    c3: Float32
    s3: Float32
    LIMITS: ClassVar[Mapping[str, int]] = {
        "w1": MAX_WEIGHT,
        "c1": MAX_CONSTANT,
        "s1": MAX_SLOPE,
        "w2": MAX_WEIGHT,
        "c2": MAX_CONSTANT,
        "w3": MAX_WEIGHT,
        "bypass": MAX_BYPASS,
        "c3": MAX_CONSTANT,
        "s3": MAX_SLOPE,
    }

    def check_shapes(self, phase: int) -> None:
        """Makes sure that the arrays fit each other and the features of a phase.

        Raises:
            DfmError: One of them does not.
        """
        features, levels = 2 * feature_count(phase), len(self.c1)
        first, second = len(self.w1), len(self.w2)
        expected = {"w1": (first, features), "c1": (levels, first), "s1": (first,), "w2": (second, first)}
        expected |= {"c2": (second,), "w3": (2, second), "bypass": (2, features), "c3": (levels, 2), "s3": (2,)}
        for name, shape in expected.items():
            found = getattr(self, name).shape
            if found != shape:
                msg = f"{name} of context network {phase} of the prior has the shape {found}, not {shape}"
                raise DfmError(msg)

    def check_exact(self) -> None:
        """Makes sure that float32 computes `outputs` exactly, whatever the order of its sums and
        whatever changes of an image are added within `LIMITS`.

        Raises:
            DfmError: A number is not whole or too large, or a sum may become too large.
        """
        for name, limit in self.LIMITS.items():
            numbers = getattr(self, name)
            check_whole(name, numbers)
            if np.abs(numbers).max() > limit:
                msg = f"{name} of a context network of the prior has numbers beyond {limit}"
                raise DfmError(msg)
        check_sums(self._largest_sums())

    def _largest_sums(self) -> tuple[int, int, int]:
        """Bounds on the magnitude of all partial sums of each layer of networks of this shape."""
        features, first, second = self.w1.shape[1], self.w2.shape[1], self.w3.shape[1]
        constants = MAX_CONSTANT + MAX_LMBDA_CODE * MAX_SLOPE
        last = ACTIVATION_MAX * MAX_WEIGHT * second + MAX_FEATURE * MAX_BYPASS * features
        return (
            MAX_FEATURE * MAX_WEIGHT * features + constants,
            ACTIVATION_MAX * MAX_WEIGHT * first + MAX_CONSTANT,
            last + constants,
        )

    def outputs(self, features: Float32, level: int, lmbda_code: int) -> Float32:
        """Computes scale and mean for symbols of a pass.

        Args:
            features: Companded symbols, float32 [features, N].
            level: The level of the grid.
            lmbda_code: See `latents.grids`.

        Returns:
            Whole numbers (scale, mean) as float32 [2, N].
        """
        both = np.concatenate([features, np.abs(features)])
        hidden = _activation(self.w1 @ both, self.c1[level] + self.s1 * np.float32(lmbda_code))
        hidden = _activation(self.w2 @ hidden, self.c2)
        sums = self.w3 @ hidden
        sums += self.bypass @ both
        sums += (self.c3[level] + self.s3 * np.float32(lmbda_code))[:, None]
        sums *= np.float32(1 / OUTPUT_SHIFT)
        np.floor(sums, out=sums)
        return sums


def _activation(sums: Float32, constants: Float32) -> Float32:
    sums += constants[:, None]
    sums *= np.float32(1 / ACTIVATION_SHIFT)
    np.floor(sums, out=sums)
    np.clip(sums, 0, ACTIVATION_MAX, out=sums)
    return sums


@dataclass(frozen=True)
class GridChoice:
    """The table that codes each symbol of a pass: sign * (symbol - middle) has this table.

    Args:
        table: int16 [N], the index into `grid_tables()`.
        sign: int32 [N], 1 or -1.
        middle: int32 [N], the whole number next to the mean.
    """

    table: npt.NDArray[np.int16]
    sign: Int32
    middle: Int32

    @classmethod
    def of_outputs(cls, outputs: Float32) -> GridChoice:
        """The tables for whole numbers (scale, mean), float32 [2, N]."""
        scale = np.clip(outputs[0].astype(np.int32) + UNIT_SCALE_INDEX, 0, LAPLACE_COUNT - 1)
        mean = np.clip(outputs[1].astype(np.int32), -_MAX_MEAN, _MAX_MEAN)
        middle = (mean + MEAN_PARTS // 2) // MEAN_PARTS
        rest = mean - MEAN_PARTS * middle  # -4..3
        direct = _MEANS * scale + np.abs(rest)
        table = np.where(scale > LAST_DIRECT, _MEANS * (LAST_DIRECT + 1) + scale - LAST_DIRECT - 1, direct)
        return cls(table.astype(np.int16), np.where(rest < 0, -1, 1).astype(np.int32), middle)


@lru_cache(maxsize=1)
def grid_tables() -> list[Table]:
    """The tables of symbols: the direct ones by scale and mean, then those of larger scales."""
    direct = [Table(shifted_laplace_table(index, mean)) for index in range(LAST_DIRECT + 1) for mean in range(_MEANS)]
    return direct + [laplace(index) for index in range(LAST_DIRECT + 1, LAPLACE_COUNT)]


class GridContext:
    """What is decoded of the grids so far: it gives the features of each pass and takes its
    symbols.

    Args:
        sizes: The (rows, columns) of the grids, from the finest on.

    Attributes:
        grids: The symbols of each grid, int32 [h_l, w_l], zeros where nothing is decoded yet.
    """

    def __init__(self, sizes: Sequence[tuple[int, int]]) -> None:
        self.grids: list[Symbols] = [np.zeros(size, dtype=np.int32) for size in sizes]
        self._level = len(sizes)
        self._coarser = self._after = np.zeros((0, 0), dtype=np.float32)
        self._phases = np.zeros((0, 0, 0), dtype=np.float32)

    def row_blocks(self, grid_pass: GridPass) -> Iterator[Rows]:
        """Gives the rows of a pass in blocks whose features stay in the processor's cache."""
        rows, columns = grid_pass.shape
        step = max(1, _BLOCK_CELLS // columns)
        for start in range(0, rows, step):
            yield range(start, min(rows, start + step))

    def features(self, grid_pass: GridPass, rows: Rows) -> Float32:
        """Gathers the companded symbols that the symbols in some rows of a pass see.

        Returns:
            Whole numbers in -127..127, float32 [feature_count, N].
        """
        if grid_pass.level != self._level:
            self._enter(grid_pass.level)
        columns = grid_pass.shape[1]
        features = np.empty((feature_count(grid_pass.phase), len(rows), columns), dtype=np.float32)
        planes = [self._coarser, *self._phases[: grid_pass.phase]]
        starts = [0, *range(COARSER_FEATURES, len(features), len(SQUARE))]
        for start, plane in zip(starts, planes, strict=True):
            for number, (y, x) in enumerate(SQUARE):
                top, left = rows.start + y + 1, x + 1
                features[start + number] = plane[top : top + len(rows), left : left + columns]
        features[len(SQUARE)] = self._after[rows.start : rows.stop, :columns]
        return features.reshape(len(features), -1)

    def accept(self, grid_pass: GridPass, symbols: Symbols) -> None:
        """Takes the symbols of a pass, int32 [N]."""
        values = symbols.reshape(grid_pass.shape)
        grid_pass.of_grid(self.grids[grid_pass.level])[...] = values
        rows, columns = grid_pass.shape
        self._phases[grid_pass.phase, 1 : 1 + rows, 1 : 1 + columns] = companded(values)

    def _enter(self, level: int) -> None:
        """Prepares the planes of a level."""
        self._level = level
        rows, columns = (-(-side // 2) for side in self.grids[level].shape)
        self._phases = np.zeros((len(PHASES), rows + 2, columns + 2), dtype=np.float32)
        self._coarser = np.zeros((rows + 2, columns + 2), dtype=np.float32)
        self._after = np.zeros((rows, columns), dtype=np.float32)
        if level + 1 < len(self.grids):
            self._coarser[1:-1, 1:-1] = companded(self.grids[level + 1])
        if level + 2 < len(self.grids):
            twice = companded(self.grids[level + 2]).repeat(2, axis=0).repeat(2, axis=1)
            self._after[:] = twice[:rows, :columns]


@dataclass(frozen=True)
class GridContexts:
    """The context networks of an image.

    Args:
        networks: The network of each phase.
        lmbda_code: The code of the image's multiplier; see `latents.grids`.
    """

    networks: tuple[GridNetwork, ...]
    lmbda_code: int

    def choose_tables(self, grid_pass: GridPass, context: GridContext) -> GridChoice:
        """Chooses the tables of all symbols of a pass."""
        outputs = [
            self._outputs(grid_pass, context.features(grid_pass, rows)) for rows in context.row_blocks(grid_pass)
        ]
        return GridChoice.of_outputs(np.concatenate(outputs, axis=1))

    def _outputs(self, grid_pass: GridPass, features: Float32) -> Float32:
        """Scale and mean for symbols; those that see only zeros have the same and share one
        column.
        """
        network = self.networks[grid_pass.phase]
        count = features.shape[1]
        busy = np.flatnonzero(features.any(axis=0))
        if len(busy) > _BUSY_PART * count:
            return network.outputs(features, grid_pass.level, self.lmbda_code)
        columns = np.concatenate([np.zeros((len(features), 1), dtype=np.float32), features[:, busy]], axis=1)
        outputs = network.outputs(columns, grid_pass.level, self.lmbda_code)
        result = np.repeat(outputs[:, :1], count, axis=1)
        result[:, busy] = outputs[:, 1:]
        return result

    def changed(self, changes: Sequence[dict[str, Float32]]) -> GridContexts:
        """The contexts with changed last layers.

        Args:
            changes: Whole numbers, in float32, that are added to arrays of each phase's network, by
                name. Sums are limited to what `GridNetwork.check_exact` allows.
        """
        limits = GridNetwork.LIMITS
        networks = []
        for network, added in zip(self.networks, changes, strict=True):
            arrays = {
                name: np.clip(getattr(network, name) + change, -limits[name], limits[name])
                for name, change in added.items()
            }
            networks.append(replace(network, **arrays))
        return replace(self, networks=tuple(networks))
