"""Rate-distortion optimised rounding of latents, against the context model that codes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from dfmcodec.encoder.correction_fit import SymbolSample
from dfmcodec.entropy import best_laplace_index, laplace
from dfmcodec.entropy.context import OFFSET_SYMBOLS, ContextModel, Groups
from dfmcodec.entropy.tables import LAST_DIRECT, RADIUS, SCALES_PER_OCTAVE, TABLE_SIZE, UNIT_SCALE_INDEX
from dfmcodec.latents import BAND_NORMS, ORIENTATIONS, UNITS_PER_LEVEL, Geometry, Pyramid
from dfmcodec.model import Symbols
from dfmcodec.pyramid_coding import SymbolWriter, low_differences
from dfmcodec.scan import (
    COMPANDED,
    FINE,
    NEIGHBOURS,
    PHASES,
    Place,
    Rows,
    Scan,
    band_step,
    inside,
    level_places,
    log_step,
    low_step,
    of_pass,
    pass_shape,
    plane_size,
    symbol_views,
)
from dfmcodec.trellis import NEXT_STATE, QUANTIZERS, STATES, quantizer_of

Float32 = npt.NDArray[np.float32]
_UNIT = 1 << 8  # of a band's step, in units
_LAST = len(COMPANDED) - 1
_BLOCK_CELLS = 4096
_UNREACHED = 1e30
_KNOWN_OCTAVES = 0.6  # by which contexts make scales smaller than magnitudes around; measured on data/kodak
_PARENT_WEIGHT = 4  # of neighbours
_ROUND_UP = 0.4  # fractions above 1 - this


def _ways() -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """The two ways into each state: [state, way] -> the state before, and 2 * quantiser + parity of the symbol."""
    source, branch = np.zeros((2, STATES, 2), dtype=np.intp)
    quantizers = quantizer_of(np.arange(STATES, dtype=np.int8))
    for state in range(STATES):
        for way, (before, parity) in enumerate(np.argwhere(NEXT_STATE == state)):
            source[state, way], branch[state, way] = before, 2 * quantizers[before] + parity
    return source, branch


_SOURCE, _BRANCH = _ways()


def pass_coefficients(pyramid: Pyramid, step: int, place: Place) -> Float32:
    """The coefficients of a pass, in steps of their band. float32 [N]."""
    y, x = PHASES[place.phase]
    of_band = band_step(step, BAND_NORMS[place.level][place.orientation])
    band = pyramid.bands[place.level][place.orientation][place.colour][y::2, x::2]
    steps: Float32 = (band * np.float32(_UNIT * UNITS_PER_LEVEL / of_band)).ravel()
    return steps


def round_low(pyramid: Pyramid, step: int) -> Symbols:
    """Symbols of the coarsest low-pass band, rounded to nearest. int32 [colours, h, w]."""
    scale = np.float32(_UNIT * UNITS_PER_LEVEL / low_step(step, len(pyramid.bands), trellis=True))
    symbols: Symbols = np.rint(pyramid.low * scale).astype(np.int32)
    return symbols


class Influence:
    """What a symbol's value costs as context of other symbols, to first order.

    For every symbol of a picture two slopes, in bits: by its companded value with sign, and by its companded
    magnitude. They are gathered during a walk, from the derivative of each pass's bits by its features.

    Args:
        geometry: Sizes.
    """

    def __init__(self, geometry: Geometry) -> None:
        self._planes = [
            [
                [
                    np.zeros((2, *plane_size(geometry.low_sizes[level + 1])), dtype=np.float32)
                    for _ in range(ORIENTATIONS)
                ]
                for _ in range(geometry.colours)
            ]
            for level in range(geometry.levels)
        ]

    def add(self, place: Place, rows: Rows, columns: int, features_gradient: Float32) -> None:
        """Adds derivatives by the symbol features of some rows, float32 [K', N], to the slopes of those symbols."""
        gradient = features_gradient.reshape(-1, len(rows), columns)
        has_coarser = place.level + 1 < len(self._planes)
        views = [view for view in symbol_views(place, has_coarser) if view.known]
        signed, magnitudes = np.split(gradient, 2)
        row = 0
        for view in views:
            plane = self._planes[place.level + view.coarser][view.colour][view.orientation]
            for window in view.windows(rows, columns):
                plane[0][window] += signed[row]
                plane[1][window] += magnitudes[row]
                row += 1

    def scaled(self, factor: float) -> Influence:
        """This with all slopes times a factor, in place."""
        for colours in self._planes:
            for plane in chain.from_iterable(colours):
                plane *= np.float32(factor)
        return self

    def slopes(self, place: Place, shape: tuple[int, int]) -> tuple[Float32, Float32]:
        """Slopes of a pass's symbols, each float32 [N]."""
        signed, magnitude = self._planes[place.level][place.colour][place.orientation]
        phase = PHASES[place.phase]
        return inside(signed, shape, phase).ravel(), inside(magnitude, shape, phase).ravel()


def local_groups(pyramid: Pyramid, step: int, place: Place, context: ContextModel) -> Groups:
    """A guess of the tables of a pass before there is any walk: Laplace, of the mean magnitude around each coefficient.

    Those around it are the eight neighbours in the band and, counted like four of them, the parent.
    """
    sums = _neighbour_magnitudes(pyramid, step, place)
    log_scale = np.log2(sums / 2 + np.float32(0.05)) - np.float32(_KNOWN_OCTAVES)
    index = np.rint(UNIT_SCALE_INDEX + SCALES_PER_OCTAVE * log_scale).astype(np.int16)
    scale = np.clip(index, 0, LAST_DIRECT).ravel()
    return Groups(scale * np.int16(len(context.means)), np.ones(scale.size, dtype=np.int32))


def _neighbour_magnitudes(pyramid: Pyramid, step: int, place: Place) -> Float32:
    """The mean magnitude around each coefficient of a pass, in steps. float32 [rows, columns]."""
    bands = [of_level[place.orientation][place.colour] for of_level in pyramid.bands[place.level : place.level + 2]]
    norm = BAND_NORMS[place.level][place.orientation]
    top, left = PHASES[place.phase]
    height, width = bands[0].shape
    padded = np.pad(np.abs(bands[0]), 1)
    sums = sum(padded[top + y + 1 : y + 1 + height : 2, left + x + 1 : x + 1 + width : 2] for y, x in NEIGHBOURS)
    weight = len(NEIGHBOURS)
    if len(bands) > 1 and bands[1].size:
        parent = np.abs(bands[1])
        rows = np.minimum(np.arange(top, height, 2) // 2, parent.shape[0] - 1)
        columns = np.minimum(np.arange(left, width, 2) // 2, parent.shape[1] - 1)
        gain = np.float32(BAND_NORMS[place.level + 1][place.orientation] / norm * 0.5)
        sums = sums + _PARENT_WEIGHT * gain * parent[rows[:, None], columns]
        weight += _PARENT_WEIGHT
    scale = np.float32(_UNIT * UNITS_PER_LEVEL / band_step(step, norm) / weight)
    return np.asarray(sums * scale, dtype=np.float32)


def rounded_bits(c: Float32, groups: Groups, context: ContextModel) -> float:
    """Bits of coefficients, in steps, each rounded by itself to quantiser 0 under tables of no mean."""
    symbols = np.minimum(np.abs(c) / 2 + np.float32(_ROUND_UP), RADIUS).astype(np.int32)
    return float(context.cost_bits[groups.table, symbols + RADIUS].sum(dtype=np.float64))


class PathChooser:
    """Chooses the symbols of a picture by rate and distortion, as paths through the trellis (Viterbi 1967).

    For a coefficient c, in steps, and its symbol q the cost is (c - r(q))^2 + bit_price * bits(q), with r the value
    that the decoder gives it. Tables are those of an earlier walk with about the same symbols, or a guess; bits are
    those of the symbol and, if an `Influence` is given, the change of those of its neighbours.

    Args:
        pyramid: The picture's coefficients.
        geometry: Sizes.
        step: In 1/64 levels.
        bit_price: Price of a bit in squared steps.
        context: The context model.
        groups: Of the tables of a pass; of direct tables the quantiser does not matter.
        influence: Of an earlier walk over the picture, with about the same symbols.
    """

    def __init__(
        self,
        pyramid: Pyramid,
        geometry: Geometry,
        step: int,
        bit_price: float,
        context: ContextModel,
        groups: Callable[[Place], Groups],
        influence: Influence | None = None,
    ) -> None:
        self._pyramid = pyramid
        self._geometry = geometry
        self._step = step
        self._bit_price = np.float32(bit_price)
        self._context = context
        self._groups = groups
        self._influence = influence
        self._bits = (context.cost_bits * self._bit_price).ravel()
        entries = np.clip(np.arange(TABLE_SIZE) - RADIUS, -OFFSET_SYMBOLS, OFFSET_SYMBOLS) + OFFSET_SYMBOLS
        self._offsets = (context.offsets[:, entries].astype(np.float32) / FINE).ravel()

    def symbols(self) -> dict[Place, Symbols]:
        """The symbols of all passes."""
        found: dict[Place, Symbols] = {}
        for level in range(self._geometry.levels):
            found.update(self._level(level_places(self._geometry, level)))
        return found

    def _level(self, places: list[Place]) -> dict[Place, Symbols]:
        if not places:
            return {}
        shapes = [pass_shape(self._geometry, place) for place in places]
        rows, columns = (max(sides) for sides in zip(*shapes, strict=True))
        inputs = [self._inputs(place, shape) for place, shape in zip(places, shapes, strict=True)]
        found = [np.empty(shape, dtype=np.int32) for shape in shapes]
        block_rows = max(1, _BLOCK_CELLS // columns)
        for first in range(0, rows, block_rows):
            self._block(inputs, shapes, first, min(rows, first + block_rows), columns, found)
        return {place: symbols.ravel() for place, symbols in zip(places, found, strict=True)}

    def _inputs(self, place: Place, shape: tuple[int, int]) -> list[npt.NDArray[Any]]:
        groups = self._groups(place)
        sign = groups.sign.astype(np.float32)
        c = pass_coefficients(self._pyramid, self._step, place) * sign
        inputs: list[npt.NDArray[Any]] = [c, sign, groups.table]
        if self._influence is not None:
            signed, magnitude = self._influence.slopes(place, shape)
            inputs += [signed * sign * self._bit_price, magnitude * self._bit_price]
        return [values.reshape(shape) for values in inputs]

    def _block(
        self,
        inputs: list[list[npt.NDArray[Any]]],
        shapes: list[tuple[int, int]],
        first: int,
        last: int,
        columns: int,
        found: list[Symbols],
    ) -> None:
        """Paths of the places in some rows of cells; their symbols go to `found`."""
        count = (last - first) * columns
        cost = np.full((STATES, count), _UNREACHED, dtype=np.float32)
        cost[0] = 0
        took_second = np.zeros((len(inputs), STATES, count), dtype=bool)
        candidates = np.zeros((len(inputs), 2 * QUANTIZERS, count), dtype=np.int32)
        present = [np.flatnonzero(_within(shape, first, last, columns)) for shape in shapes]
        for number, (arrays, here) in enumerate(zip(inputs, present, strict=True)):
            c, _, table, *slopes = (values[first:last].ravel() for values in arrays)
            whole = len(here) == count
            chosen, price = self._candidates(c, table, slopes)
            before = cost if whole else cost[:, here]
            by_first = before[_SOURCE[:, 0]] + price[_BRANCH[:, 0]]
            by_second = before[_SOURCE[:, 1]] + price[_BRANCH[:, 1]]
            second, least = by_second < by_first, np.minimum(by_first, by_second)
            if whole:
                cost, took_second[number], candidates[number] = least, second, chosen
            else:
                cost[:, here] = least
                took_second[number][:, here], candidates[number][:, here] = second, chosen
        state = cost.argmin(axis=0)
        for number in reversed(range(len(inputs))):
            here = present[number]
            at = state[here]
            way = took_second[number][at, here].astype(np.intp)
            sign = inputs[number][1][first:last].ravel()
            symbols = candidates[number][_BRANCH[at, way], here] * sign.astype(np.int32)
            width = shapes[number][1]
            found[number][first:last] = symbols.reshape(-1, width)
            state[here] = _SOURCE[at, way]

    def _candidates(self, c: Float32, table: npt.NDArray[np.int16], slopes: list[Float32]) -> tuple[Symbols, Float32]:
        """Best symbols of each quantiser and parity, [2 quantiser + parity, N], and their costs."""
        direct = table < self._context.direct_groups
        of_quantizer = self._context.quantizer_groups
        toward = np.copysign(np.float32(1), c)
        symbols = np.empty((2 * QUANTIZERS, c.size), dtype=np.int32)
        costs = np.empty((2 * QUANTIZERS, c.size), dtype=np.float32)
        for quantizer in range(QUANTIZERS):
            own = np.where(direct, table % of_quantizer + quantizer * of_quantizer, table)
            near = np.rint((c + toward * np.float32(quantizer)) / 2)
            zero = np.zeros_like(near)
            even = near % 2 == 0
            of_near, of_zero, of_less, of_more = (
                self._cost(c, q, quantizer, own, slopes) for q in (near, zero, near - toward, near + toward)
            )
            use_zero = of_zero < of_near
            same, same_cost = np.where(use_zero, zero, near), np.minimum(of_zero, of_near)
            use_less = of_less < of_more
            other, other_cost = np.where(use_less, near - toward, near + toward), np.minimum(of_less, of_more)
            better = ~even & (of_zero < other_cost)  # zero has the parity of the others
            other, other_cost = np.where(better, zero, other), np.where(better, of_zero, other_cost)
            same, same_cost = np.where(even, same, near), np.where(even, same_cost, of_near)
            symbols[2 * quantizer] = np.where(even, same, other)
            symbols[2 * quantizer + 1] = np.where(even, other, same)
            costs[2 * quantizer] = np.where(even, same_cost, other_cost)
            costs[2 * quantizer + 1] = np.where(even, other_cost, same_cost)
        return symbols, costs

    def _cost(
        self, c: Float32, q: Float32, quantizer: int, table: npt.NDArray[np.int16], slopes: list[Float32]
    ) -> Float32:
        entry = (np.clip(q, -RADIUS, RADIUS) + RADIUS).astype(np.int32)
        entry += table.astype(np.int32) * TABLE_SIZE
        multiple = 2 * q
        if quantizer:
            multiple -= np.sign(q)
        cost = (c - multiple - self._offsets[entry]) ** 2 + self._bits[entry]
        if slopes:
            magnitude = COMPANDED[np.minimum(np.abs(multiple), _LAST).astype(np.int32)]
            cost += slopes[0] * np.copysign(magnitude, multiple) + slopes[1] * magnitude
        return np.asarray(cost)


def _within(shape: tuple[int, int], first: int, last: int, columns: int) -> npt.NDArray[np.bool_]:
    """Which cells of some rows a pass has symbols in, flat."""
    rows = np.arange(first, last)[:, None] < shape[0]
    return np.asarray(rows & (np.arange(columns) < shape[1])).ravel()


class ChosenSymbols:
    """A source of symbols for `pyramid_coding.traverse`: gives chosen ones, counts their bits, remembers their tables.

    Args:
        low: Symbols of the coarsest low-pass band, int32 [colours, h, w].
        chosen: Symbols of all passes.
        context: The context model.
        writes: Whether they are encoded on the way.
    """

    def __init__(
        self, low: Symbols, chosen: Mapping[Place, Symbols], context: ContextModel, writes: bool = False
    ) -> None:
        self.writer = SymbolWriter(context) if writes else None
        self.bits = 0.0
        self.groups: dict[Place, Groups] = {}
        self._low = low
        self._chosen = chosen
        self._context = context

    def low_symbols(self, shape: tuple[int, int, int]) -> Symbols:
        """The coarsest low-pass band."""
        for band in self._low:
            differences = low_differences(band).ravel()
            self.bits += float(laplace(best_laplace_index(differences)).cost_bits(differences).sum())
        if self.writer is not None:
            self.writer.write_low(self._low)
        return self._low

    def symbols(self, place: Place, groups: Groups, scan: Scan) -> Symbols:
        """The symbols of a pass."""
        chosen = self._chosen[place]
        self.groups[place] = groups
        if self.writer is not None:
            self.writer.write_pass(chosen, groups)
        q = chosen * groups.sign
        direct = (groups.table < self._context.direct_groups) & (np.abs(q) <= RADIUS)
        entry = np.clip(q, -RADIUS, RADIUS) + RADIUS
        bits = self._context.cost_bits[groups.table, entry]
        self.bits += float(bits[direct].sum(dtype=np.float64))
        for table in np.unique(groups.table[~direct]):
            others = q[~direct & (groups.table == table)]
            self.bits += float(self._context.tables[table].cost_bits(others).sum())
        return chosen


class ObservedSymbols(ChosenSymbols):
    """Chosen symbols, and for the next walk the `Influence` that they have on each other and a sample of them.

    Args:
        low, chosen, context: As of `ChosenSymbols`.
        geometry: Sizes.
        step: In 1/64 levels.
        sample: Where a sample is to go; None for none.
    """

    def __init__(
        self,
        low: Symbols,
        chosen: Mapping[Place, Symbols],
        context: ContextModel,
        geometry: Geometry,
        step: int,
        sample: SymbolSample | None = None,
    ) -> None:
        super().__init__(low, chosen, context)
        self._sample = sample
        self.observed = Influence(geometry)
        self._log_step = log_step(step)

    def symbols(self, place: Place, groups: Groups, scan: Scan) -> Symbols:
        """The symbols of a pass."""
        symbols = super().symbols(place, groups, scan)
        known, columns, quantizers = scan.known(place), scan.shape(place)[1], scan.quantizers(place)
        for rows in scan.row_blocks(place):
            chosen = of_pass(rows, columns)
            features = scan.features(place, rows)
            of_rows = place, symbols[chosen], quantizers[chosen]
            if self._sample is not None:
                self._sample.add(features, known, *of_rows)
            gradient = self._context.features_gradient(features, known, self._log_step, *of_rows)
            self.observed.add(place, rows, columns, gradient)
        return symbols
