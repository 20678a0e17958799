"""The context model of latent grids: an integer network that predicts the distribution of each
symbol.

Grids are coded from the coarsest to the finest. Each grid is coded in wavefronts. Wavefront t
contains the symbols whose row y and column x satisfy x + 2 y = t, in the order of rows. Their
contexts do not include each other:

      wavefronts          what x sees of its grid

    0 1 2 3 4 5 6          . . . o . . .
    2 3 4 5 6 7 8          . o o o o o o
    4 5 6 7 8 9 .          . o o o o . .
    6 7 8 9 . . .          o o o x . . .

The features of a symbol are

    - 14 symbols of its grid that are decoded before it (`CAUSAL`),
    - the 3x3 symbols around its 2x2 cell in the next coarser grid, which has one for each cell,
    - each of the six coarser grids, interpolated to its own place (`upsampled`),

all companded (`COMPANDED`), with their sign. Symbols outside a grid are 0. One network of three
layers serves all grids:

    a1 = W1 f + c1[level],          h1 = clip(floor(a1 / 64), 0, 255)
    a2 = W2 h1 + c2,                h2 = clip(floor(a2 / 64), 0, 255)
    a3 = W3 h2 + B f + c3[level],   scale = floor(a3[0] / 256),   mean = floor(a3[1] / 128)

Each symbol has a Laplace distribution with scale 2^(scale / 4) and mean mean / 16. All values are
integers and all sums stay below 2^24, so float32 matrix products are exact in any order
(`GridNetwork.check_exact`).

Four passes over the phases of 2x2 cells, as in `codecs.wavelet.passes`, would need fewer steps. But
the symbols of the first pass would have no context in their own grid, which costs too many bits in
these grids (docs/measurements.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from dfmcodec._types import Float32, Int32, Symbols
from dfmcodec.codecs.overfitted.grids import GRID_LEVELS
from dfmcodec.entropy.context_networks import MAX_FEATURE, SQUARE, activation, check_integers, check_sums, companded
from dfmcodec.entropy.table_set import TableSet
from dfmcodec.entropy.tables import (
    LAPLACE_COUNT,
    LAST_DIRECT,
    MEANS,
    MEANS_PER_SYMBOL,
    UNIT_SCALE_INDEX,
    Table,
    laplace,
    shifted_laplace_table,
)
from dfmcodec.errors import DfmError
from dfmcodec.kernels import by_kernels, compiled
from dfmcodec.kernels.arguments import GridNetworkWeights

# (row, column) offsets, row by row. All have column + 2 row < 0.
CAUSAL = (
    (-3, 0),
    *((-2, x) for x in range(-2, 4)),
    *((-1, x) for x in range(-2, 2)),
    *((0, x) for x in range(-3, 0)),
)
SLOPE = 2  # number of columns to which a row is equivalent in the number of a wavefront
COARSER = GRID_LEVELS - 1  # the number of grids coarser than the finest; each gives one feature
FEATURES = len(CAUSAL) + len(SQUARE) + COARSER
PAD = 3  # distance that `CAUSAL` reaches, in symbols
MAX_WEIGHT = 1023
ACTIVATION_MAX = 255
MAX_CONSTANT = 1 << 19
_MAX_MEAN = 512 * MEANS_PER_SYMBOL  # 512 symbols
OUTPUT_SHIFTS = np.array([256, 128], dtype=np.float32)  # of scale and mean
# A magnitude m is mapped to the minimum of slope * m + constant, a concave curve through integers.
COMPANDING = ((8, 0), (6, 2), (5, 6), (4, 12), (3, 24), (2, 44), (1, 76), (0, MAX_FEATURE))
COMPANDED = np.array([min(a * m + b for a, b in COMPANDING) for m in range(64)], dtype=np.float32)


@dataclass(frozen=True)
class Wavefront:
    """The symbols of a grid with column + SLOPE row = `number`."""

    level: int  # of the grid, 0 for the finest
    number: int
    rows: range  # those that contain such a symbol

    def places(self, columns: int) -> tuple[int, int]:
        """Returns the index of the first symbol and the distance to the next, row-major."""
        step = columns - SLOPE  # below 1 only if each wavefront has a single symbol
        return self.rows.start * step + self.number, max(step, 1)

    def positions(self, columns: int) -> slice:
        """Returns the same as a slice."""
        first, step = self.places(columns)
        return slice(first, first + step * (len(self.rows) - 1) + 1, step)

    def of_grid(self, grid: Symbols) -> Symbols:
        """Returns a view of the symbols in their grid, [N], in the order of rows."""
        return grid.reshape(-1)[self.positions(grid.shape[1])]


def wavefronts(level: int, size: tuple[int, int]) -> Iterator[Wavefront]:
    """Returns the wavefronts that contain symbols of a grid of (rows, columns), in coding order."""
    rows, columns = size
    for number in range(columns + SLOPE * (rows - 1)):
        first = max(0, -((columns - 1 - number) // SLOPE))
        last = min(rows - 1, number // SLOPE)
        if first <= last:
            yield Wavefront(level, number, range(first, last + 1))


@dataclass(frozen=True)
class GridNetwork:
    """The network of all grids. The weights are integers, stored as float32 for matrix products."""

    w1: Float32  # [hidden_1, FEATURES]
    c1: Float32  # [levels, hidden_1]
    w2: Float32  # [hidden_2, hidden_1]
    c2: Float32  # [hidden_2]
    w3: Float32  # [2, hidden_2]
    bypass: Float32  # B, [2, FEATURES]
    c3: Float32  # [levels, 2]
    LIMITS: ClassVar[Mapping[str, int]] = {
        name: MAX_CONSTANT if name.startswith("c") else MAX_WEIGHT
        for name in ("w1", "c1", "w2", "c2", "w3", "bypass", "c3")
    }

    def check_shapes(self) -> None:
        """Raises DfmError if arrays do not match each other and the features."""
        levels, first, second = GRID_LEVELS, len(self.w1), len(self.w2)
        expected: dict[str, tuple[int, ...]] = {"w1": (first, FEATURES), "c1": (levels, first), "w2": (second, first)}
        expected |= {"c2": (second,), "w3": (2, second), "bypass": (2, FEATURES), "c3": (levels, 2)}
        for name, shape in expected.items():
            found = getattr(self, name).shape
            if found != shape:
                msg = f"{name} of the pretrained context network has the shape {found}, not {shape}"
                raise DfmError(msg)

    def check_exact(self) -> None:
        """Checks that float32 computes `outputs` exactly, in any order of sums and with any weight
        deltas within `LIMITS`. Raises DfmError if a value is not an integer or is too large, or a
        sum may become too large.
        """
        for name, limit in self.LIMITS.items():
            numbers = getattr(self, name)
            check_integers(name, numbers)
            if np.abs(numbers).max() > limit:
                msg = f"{name} of the pretrained context network has values beyond {limit}"
                raise DfmError(msg)
        check_sums(self._largest_sums())

    def _largest_sums(self) -> tuple[int, int, int]:
        """Returns bounds on the magnitude of all partial sums of each layer."""
        first, second = self.w2.shape[1], self.w3.shape[1]
        return (
            MAX_FEATURE * MAX_WEIGHT * FEATURES + MAX_CONSTANT,
            ACTIVATION_MAX * MAX_WEIGHT * first + MAX_CONSTANT,
            ACTIVATION_MAX * MAX_WEIGHT * second + MAX_FEATURE * MAX_WEIGHT * FEATURES + MAX_CONSTANT,
        )

    def changed(self, deltas: Mapping[str, Float32]) -> GridNetwork:
        """Returns the network with weight deltas added to arrays, clipped to `LIMITS`."""
        arrays = {}
        for name, added in deltas.items():
            limit = np.float32(self.LIMITS[name])  # NumPy 1 converts integers to float64
            arrays[name] = np.clip(getattr(self, name) + added, -limit, limit)
        return replace(self, **arrays)


class LevelNetwork:
    """The network for one grid, with its weights arranged for rows of features."""

    def __init__(self, network: GridNetwork, level: int) -> None:
        self._hidden = len(network.w1)
        self.arrays = GridNetworkWeights(
            first=np.ascontiguousarray(np.concatenate([network.w1, network.bypass]).T),
            constants=np.concatenate([network.c1[level], network.c3[level]]),
            second=np.ascontiguousarray(network.w2.T),
            second_constants=network.c2,
            last=np.ascontiguousarray(network.w3.T),
        )

    def outputs(self, features: Float32) -> Float32:
        """Computes integers (scale, mean), float32 [N, 2], from float32 [N, FEATURES]."""
        first, constants, second, second_constants, last = self.arrays
        sums = features @ first
        sums += constants
        hidden = activation(sums[:, : self._hidden], ACTIVATION_MAX) @ second
        hidden += second_constants
        outputs: Float32 = activation(hidden, ACTIVATION_MAX) @ last
        outputs += sums[:, self._hidden :]
        outputs /= OUTPUT_SHIFTS
        np.floor(outputs, out=outputs)
        return outputs


@dataclass(frozen=True)
class GridChoice:
    """The table of each symbol of a wavefront. It applies to sign * (symbol - middle)."""

    table: npt.NDArray[np.int16]  # int16 [N], the index into `grid_tables`
    sign: Int32  # int32 [N], 1 or -1
    middle: Int32  # int32 [N], the integer nearest to the mean

    @classmethod
    def of_outputs(cls, outputs: Float32) -> GridChoice:
        """Returns the tables for integers (scale, mean), float32 [N, 2]."""
        integers = outputs.astype(np.int32)
        scale = np.clip(integers[:, 0] + UNIT_SCALE_INDEX, 0, LAPLACE_COUNT - 1)
        mean = np.clip(integers[:, 1], -_MAX_MEAN, _MAX_MEAN)
        middle = (mean + MEANS_PER_SYMBOL // 2) // MEANS_PER_SYMBOL
        rest = mean - MEANS_PER_SYMBOL * middle  # -MEANS_PER_SYMBOL / 2 .. MEANS_PER_SYMBOL / 2 - 1
        direct = MEANS * scale + np.abs(rest)
        table = np.where(scale > LAST_DIRECT, MEANS * (LAST_DIRECT + 1) + scale - LAST_DIRECT - 1, direct)
        return cls(table.astype(np.int16), np.where(rest < 0, np.int32(-1), np.int32(1)), middle)


@cache
def grid_tables() -> TableSet:
    """Returns the tables of symbols: direct ones by scale and mean, then those of larger scales."""
    direct = [Table(shifted_laplace_table(*pair)) for pair in product(range(LAST_DIRECT + 1), range(MEANS))]
    return TableSet.of(direct + [laplace(index) for index in range(LAST_DIRECT + 1, LAPLACE_COUNT)])


class GridContext:
    """The decoded symbols of a grid and of the coarser grids. It chooses the table of each symbol
    of a wavefront, and then receives the symbols: `accept` writes them to `grid`, int32 [h, w].
    The coarser grids are from the nearest to the coarsest.
    """

    def __init__(self, network: GridNetwork, level: int, grid: Symbols, coarser: Sequence[Symbols]) -> None:
        self._network = LevelNetwork(network, level)
        self._grid = grid
        rows, columns = grid.shape
        self._coarser = _coarser_features(coarser, (rows, columns)).reshape(rows * columns, -1)
        self._plane = np.zeros((rows + PAD, columns + 2 * PAD), dtype=np.float32)
        self._stride = self._plane.shape[1]
        self._origin = PAD * self._stride + PAD  # index of the first symbol in the plane
        self._causal = np.array([y * self._stride + x for y, x in CAUSAL], dtype=np.int64)
        self._offsets = self._origin + self._causal.astype(np.intp)

    def _choose_tables_by_kernel(self, front: Wavefront) -> GridChoice:
        count = len(front.rows)
        first, step = front.places(self._stride)
        choice = GridChoice(np.empty(count, np.int16), np.empty(count, np.int32), np.empty(count, np.int32))
        coarser_start, coarser_stride = front.places(self._grid.shape[1])
        compiled.choose_wavefront_tables(
            network=self._network.arrays,
            plane=self._plane,
            causal=self._causal,
            plane_start=self._origin + first,
            plane_stride=step,
            coarser=self._coarser,
            coarser_start=coarser_start,
            coarser_stride=coarser_stride,
            count=count,
            table=choice.table,
            sign=choice.sign,
            middle=choice.middle,
        )
        return choice

    @by_kernels(_choose_tables_by_kernel)
    def choose_tables(self, front: Wavefront) -> GridChoice:
        """Chooses the tables of all symbols of a wavefront."""
        return GridChoice.of_outputs(self._network.outputs(self.features(front)))

    def features(self, front: Wavefront) -> Float32:
        """Gathers the features of a wavefront, integers -127..127, float32 [N, FEATURES]."""
        at = front.positions(self._stride)
        seen = np.arange(at.start, at.stop, at.step)[:, None] + self._offsets
        features = np.empty((len(front.rows), FEATURES), dtype=np.float32)
        features[:, : len(CAUSAL)] = self._plane.reshape(-1).take(seen)
        features[:, len(CAUSAL) :] = self._coarser[front.positions(self._grid.shape[1])]
        return features

    def _accept_by_kernel(self, front: Wavefront, symbols: Symbols) -> None:
        plane_first, plane_stride = front.places(self._stride)
        grid_start, grid_stride = front.places(self._grid.shape[1])
        compiled.accept_wavefront(
            symbols=np.ascontiguousarray(symbols, np.int32),
            companded=COMPANDED,
            grid=self._grid,
            grid_start=grid_start,
            grid_stride=grid_stride,
            plane=self._plane,
            plane_start=self._origin + plane_first,
            plane_stride=plane_stride,
        )

    @by_kernels(_accept_by_kernel)
    def accept(self, front: Wavefront, symbols: Symbols) -> None:
        """Stores the symbols of a wavefront, int32 [N]."""
        front.of_grid(self._grid)[...] = symbols
        self._plane.reshape(-1)[self._origin :][front.positions(self._stride)] = companded(symbols, COMPANDED)


def upsampled(planes: npt.NDArray[np.int16], size: tuple[int, int]) -> npt.NDArray[np.int16]:
    """Interpolates planes [C, m, n], which are 0 beyond their edges, to integers [C, rows,
    columns].

    Samples 2 i and 2 i + 1 of a row lie a quarter sample before and after sample i. They are 3/4 of
    this sample plus 1/4 of its neighbour on that side. The same holds along the other axis. The
    result is rounded once.
    """
    along = np.pad(planes, ((0, 0), (1, 1), (1, 1)))
    for axis in (1, 2):
        moved = along.swapaxes(1, axis)
        near = 3 * moved[:, 1:-1]
        pairs = np.stack([near + moved[:, :-2], near + moved[:, 2:]], axis=2)
        along = pairs.reshape(len(moved), -1, moved.shape[2]).swapaxes(1, axis)
    return (along[:, : size[0], : size[1]] + 8) >> 4


def _coarser_features(coarser: Sequence[Symbols], size: tuple[int, int]) -> npt.NDArray[np.int8]:
    """Returns the features of a grid in coarser ones, nearest first: int8 [rows, columns,
    features].
    """
    rows, columns = size
    features = np.zeros((rows, columns, len(SQUARE) + COARSER), dtype=np.int8)
    if not coarser:
        return features
    padded = np.pad(companded(coarser[0], COMPANDED), 1)
    height, width = coarser[0].shape
    for number, (y, x) in enumerate(SQUARE):
        part = padded[1 + y : 1 + y + height, 1 + x : 1 + x + width]
        features[..., number] = part.repeat(2, axis=0).repeat(2, axis=1)[:rows, :columns]
    planes = companded(coarser[-1], COMPANDED).astype(np.int16)[None]
    for grid in reversed(coarser[:-1]):
        planes = np.concatenate([companded(grid, COMPANDED).astype(np.int16)[None], upsampled(planes, grid.shape)])
    for number, plane in enumerate(planes):  # one by one, to minimise memory
        features[..., len(SQUARE) + number] = upsampled(plane[None], size)[0]
    return features
