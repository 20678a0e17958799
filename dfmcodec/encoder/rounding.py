"""Rate-distortion optimised rounding of latents, against the context model that codes them."""

from __future__ import annotations

from itertools import chain

import numpy as np
import numpy.typing as npt

from dfmcodec.entropy import best_laplace_index, laplace
from dfmcodec.entropy.context import DIRECT_GROUPS, OFFSET_SYMBOLS, ContextModel, Groups
from dfmcodec.entropy.tables import RADIUS
from dfmcodec.latents import BAND_NORMS, ORIENTATIONS, UNITS_PER_LEVEL, Geometry, Pyramid
from dfmcodec.model import Symbols
from dfmcodec.pyramid_coding import low_differences
from dfmcodec.scan import (
    COMPANDED,
    FINE,
    PHASES,
    Place,
    Rows,
    Scan,
    band_step,
    inside,
    log_step,
    low_step,
    plane_size,
    symbol_views,
)

Float32 = npt.NDArray[np.float32]
_UNIT = 1 << 8  # of a band's step, in units
_LAST = len(COMPANDED) - 1


def pass_coefficients(pyramid: Pyramid, step: int, place: Place) -> Float32:
    """The coefficients of a pass, in steps of their band. float32 [N]."""
    y, x = PHASES[place.phase]
    of_band = band_step(step, BAND_NORMS[place.level][place.orientation])
    band = pyramid.bands[place.level][place.orientation][place.colour][y::2, x::2]
    steps: Float32 = (band * np.float32(_UNIT * UNITS_PER_LEVEL / of_band)).ravel()
    return steps


def round_low(pyramid: Pyramid, step: int) -> Symbols:
    """Symbols of the coarsest low-pass band, rounded to nearest. int32 [colours, h, w]."""
    scale = np.float32(_UNIT * UNITS_PER_LEVEL / low_step(step, len(pyramid.bands)))
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
        views = list(symbol_views(place, has_coarser))
        count = sum(len(view.offsets) for view in views)
        row = 0
        for view in views:
            if view.known:
                plane = self._planes[place.level + view.coarser][view.colour][view.orientation]
                for offset, window in enumerate(view.windows(rows, columns)):
                    plane[0][window] += gradient[row + offset]
                    plane[1][window] += gradient[count + row + offset]
            row += len(view.offsets)

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


class Rounding:
    """A source of symbols for `pyramid_coding.traverse`: chooses each from its coefficient, rate counted.

    For a coefficient c, in steps, the symbol q minimises (c - r(q))^2 + bit_price * bits(q), with r the value that
    the decoder gives it. Candidates are the nearest whole number, the next towards zero, and zero. Bits are those
    of the symbol and, if an `Influence` of an earlier walk is given, the change of those of its neighbours.

    Args:
        pyramid: The picture's coefficients.
        step: In 1/64 levels.
        bit_price: Price of a bit in squared steps.
        context: The context model.
        influence: Of an earlier walk over the picture, with about the same symbols.
    """

    def __init__(
        self, pyramid: Pyramid, step: int, bit_price: float, context: ContextModel, influence: Influence | None = None
    ) -> None:
        self.bits = 0.0
        self._pyramid = pyramid
        self._step = step
        self._bit_price = np.float32(bit_price)
        self._context = context
        self._offsets = context.offsets.astype(np.float32) / FINE
        self._influence = influence

    def low_symbols(self, shape: tuple[int, int, int]) -> Symbols:
        """The coarsest low-pass band, rounded to nearest."""
        low = round_low(self._pyramid, self._step)
        for band in low:
            differences = low_differences(band).ravel()
            self.bits += float(laplace(best_laplace_index(differences)).cost_bits(differences).sum())
        return low

    def symbols(self, place: Place, groups: Groups, scan: Scan) -> Symbols:
        """The chosen symbols of a pass."""
        c = pass_coefficients(self._pyramid, self._step, place) * groups.sign
        slopes = None
        if self._influence is not None:
            signed, magnitude = self._influence.slopes(place, scan.shape(place))
            slopes = signed * groups.sign, magnitude
        chosen = self._choose(c, groups.table, slopes)
        direct = groups.table < DIRECT_GROUPS
        self.bits += float(self._entry_bits(chosen, groups.table)[direct].sum(dtype=np.float64))
        for table in np.unique(groups.table[~direct]):
            self.bits += float(self._context.tables[table].cost_bits(chosen[groups.table == table]).sum())
        return np.asarray(np.multiply(chosen, groups.sign))

    def _choose(self, c: Float32, table: npt.NDArray[np.int16], slopes: tuple[Float32, Float32] | None) -> Symbols:
        nearest = np.rint(c).astype(np.int32)
        best = np.zeros_like(nearest)
        active = np.flatnonzero(nearest)
        c, nearest, table = c[active], nearest[active], table[active]
        near = None if slopes is None else (slopes[0][active], slopes[1][active])
        chosen = best[active]
        score = self._score(c, chosen, table, near)
        for candidate in (nearest - np.sign(nearest), nearest):
            other = self._score(c, candidate, table, near)
            chosen = np.where(other < score, candidate, chosen)
            score = np.minimum(score, other)
        best[active] = np.where(table < DIRECT_GROUPS, chosen, nearest)
        return best

    def _entry_bits(self, q: Symbols, table: npt.NDArray[np.int16]) -> Float32:
        return self._context.cost_bits[np.minimum(table, DIRECT_GROUPS - 1), np.clip(q, -RADIUS, RADIUS) + RADIUS]

    def _score(
        self, c: Float32, q: Symbols, table: npt.NDArray[np.int16], slopes: tuple[Float32, Float32] | None
    ) -> Float32:
        bits = self._entry_bits(q, table)
        if slopes is not None:
            companded = COMPANDED[np.minimum(np.abs(q), _LAST)]
            bits = bits + slopes[0] * np.copysign(companded, q) + slopes[1] * companded
        offset = self._offsets[table, np.clip(q, -OFFSET_SYMBOLS, OFFSET_SYMBOLS) + OFFSET_SYMBOLS]
        return np.asarray((c - q - offset) ** 2 + self._bit_price * bits)


class ObservedRounding(Rounding):
    """Rounding that also gathers the `Influence` of the symbols it chooses, for the next walk."""

    def __init__(
        self,
        pyramid: Pyramid,
        step: int,
        bit_price: float,
        context: ContextModel,
        influence: Influence | None,
        geometry: Geometry,
    ) -> None:
        super().__init__(pyramid, step, bit_price, context, influence)
        self.observed = Influence(geometry)

    def symbols(self, place: Place, groups: Groups, scan: Scan) -> Symbols:
        """The chosen symbols of a pass."""
        symbols = super().symbols(place, groups, scan)
        columns = scan.shape(place)[1]
        for rows in scan.row_blocks(place):
            chosen = slice(rows.start * columns, rows.stop * columns)
            features = scan.features(place, rows)
            part = groups.part(chosen)
            gradient = self._context.features_gradient(features, place, log_step(self._step), part, symbols[chosen])
            self.observed.add(place, rows, columns, gradient)
        return symbols
