"""The order in which a pyramid's symbols are coded, and what is known of each symbol's surroundings by then.

Coarse to fine; of a level colour after colour, of a colour orientation after orientation, and each band in four
passes over the phases of its 2x2 cells. The symbols of a pass do not depend on each other. The context of a symbol:

- the 5x5 window around it, as far as earlier passes filled it,
- the same band one level coarser, 3x3,
- the orientations coded before it in the same level and colour, 3x3 in each,
- the same orientation of the colours coded before it, 3x3 in each,
- differences in the decoded low-pass band, which lies on the same grid: 24 in the colour, 12 in each colour before.

Symbols and differences enter by logarithm (`COMPANDED`), symbols both as magnitude and with their sign. Everything
is whole arrays of small integers, kept in float32 for the matrix product that follows; see `entropy.context`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from dfmcodec.latents import (
    BAND_NORMS,
    COLOURS,
    LOW_NORMS,
    MAX_UNITS,
    NORM_UNIT,
    ORIENTATIONS,
    Geometry,
    synthesise_level,
)
from dfmcodec.trellis import States, multiples_of, next_states, quantizer_of

Float32 = npt.NDArray[np.float32]
Int32 = npt.NDArray[np.int32]
Rows = range  # of a pass

# A picture's step is given in 1/64 levels, for a coefficient whose synthesis function has norm 1.
# A symbol stands for a multiple of its band's step: itself, or by the trellis a point of one of its quantisers.
FINE = 64  # dequantised values are whole numbers of 1/64 step
_STEP_BITS = 8  # a band's step has 8 more binary digits than units

PHASES = ((0, 0), (1, 1), (0, 1), (1, 0))
SQUARE = tuple((y, x) for y in (-1, 0, 1) for x in (-1, 0, 1))
NEIGHBOURS = tuple(offset for offset in SQUARE if offset != (0, 0))
CROSS_OF_TWO = (*NEIGHBOURS, (-2, 0), (2, 0), (0, -2), (0, 2))
_RING = tuple((y, x) for y in range(-2, 3) for x in range(-2, 3) if max(abs(y), abs(x)) == 2 and y and x)
LOW_OFFSETS = (*CROSS_OF_TWO, *_RING)  # the first 12 for colours before
_LOW_COUNTS = (len(LOW_OFFSETS), *(COLOURS - 1) * (len(CROSS_OF_TWO),))
WINDOWS = tuple(
    tuple(
        (y, x) for y in range(-2, 3) for x in range(-2, 3) if PHASES.index(((own_y + y) % 2, (own_x + x) % 2)) < phase
    )
    for phase, (own_y, own_x) in enumerate(PHASES)
)
_BLOCK_SYMBOLS = 8192
_PAD = 2
_PHASE_PAD = 1  # of planes that are kept phase by phase
_BEYOND = 4  # zeros after the end of a plane: a pass of a coarser band may reach so far

# Companding of magnitudes: 0, 8, 14, 19, 23, then 9 an octave.
_OVER_4 = 23 + 9 * np.log2(np.arange(5, 512) / 4)
COMPANDED = np.minimum(np.concatenate([[0, 8, 14, 19, 23], np.rint(_OVER_4)]), 127).astype(np.float32)


def companded(multiples: Int32) -> Float32:
    """Multiples of the step by `COMPANDED`, with their sign."""
    return np.asarray(np.copysign(COMPANDED[np.minimum(np.abs(multiples), len(COMPANDED) - 1)], multiples))


def symbol_features(phase: int) -> int:
    """Number of features of a symbol of a phase that are other symbols, or their magnitudes; they come first."""
    squares = len(SQUARE) * (ORIENTATIONS - 1 + COLOURS - 1)
    return 2 * (len(WINDOWS[phase]) + squares + len(SQUARE))


def context_size(phase: int) -> int:
    """Number of features of a symbol of a phase."""
    return symbol_features(phase) + sum(_LOW_COUNTS)


@cache
def known_features(place: Place, has_coarser: bool) -> npt.NDArray[np.intp]:
    """Which of its features a pass knows, ascending; the others are zero, as nothing of them is decoded yet."""
    known = [view.known for view in symbol_views(place, has_coarser) for _ in view.offsets]
    colours = (True, place.colour > 0, place.colour > 1)
    known += known
    known += [is_known for is_known, count in zip(colours, _LOW_COUNTS, strict=True) for _ in range(count)]
    return np.flatnonzero(known)


def band_step(step: int, norm: int) -> int:
    """The step of a band, in 2^-8 units, from the picture's step in 1/64 levels and the norm of the band."""
    return max(1, (step * (NORM_UNIT << _STEP_BITS) + norm // 2) // norm)


def dequantize_units(fine: Int32, step: int) -> Int32:
    """Coefficients in units from their values in 1/64 of the band's step."""
    limit = (MAX_UNITS << _STEP_BITS + 6) // step
    units: Int32 = (np.clip(fine, -limit, limit) * np.int32(step) + (1 << _STEP_BITS + 5)) >> _STEP_BITS + 6
    return units


def log_step(step: int) -> int:
    """About 8 log2(step) - 72, by integers: 0 for a step of 8 levels."""
    octave = step.bit_length() - 1
    return 8 * octave + (8 * step >> octave) - 8 - 72


@dataclass(frozen=True)
class Place:
    """One pass: a phase of a band."""

    level: int
    colour: int
    orientation: int
    phase: int

    @property
    def band(self) -> int:
        """Index of level, colour and orientation."""
        return (self.level * COLOURS + self.colour) * ORIENTATIONS + self.orientation


def pass_shape(geometry: Geometry, place: Place) -> tuple[int, int]:
    """(rows, columns) of a pass."""
    height, width = geometry.band_size(place.level, place.orientation)
    y, x = PHASES[place.phase]
    return (height - y + 1) // 2, (width - x + 1) // 2


def of_pass(rows: Rows, columns: int) -> slice:
    """Where the symbols of some rows stand among all of their pass."""
    return slice(rows.start * columns, rows.stop * columns)


def level_places(geometry: Geometry, level: int) -> list[Place]:
    """The passes of a level that have symbols, in order."""
    places = [
        Place(level, colour, orientation, phase)
        for colour in range(geometry.colours)
        for orientation in range(ORIENTATIONS)
        for phase in range(len(PHASES))
    ]
    return [place for place in places if min(pass_shape(geometry, place)) > 0]


def plane_size(low_size: tuple[int, int]) -> tuple[int, int]:
    """Size of the padded planes of a level's grids, from the size of its low-pass band."""
    return low_size[0] + _PAD + _BEYOND, low_size[1] + _PAD + _BEYOND


def inside(plane: Float32, shape: tuple[int, int], phase: tuple[int, int]) -> Float32:
    """The symbols of a phase, [rows, columns] = shape, in a padded plane; a view."""
    top, left = phase[0] + _PAD, phase[1] + _PAD
    return plane[top : top + 2 * shape[0] : 2, left : left + 2 * shape[1] : 2]


@dataclass(frozen=True)
class View:
    """A grid of symbols as a pass sees it.

    Args:
        known: Whether the grid is there and decoded; its features are zero otherwise.
        coarser: Whether it is one level coarser than the pass.
        colour: Of the grid.
        orientation: Of the grid.
        offsets: Which neighbours (rows, columns) count.
        phase: Of the pass; (0, 0) for a coarser grid, which has one sample for a cell of 2x2.
    """

    known: bool
    coarser: bool
    colour: int
    orientation: int
    offsets: tuple[tuple[int, int], ...]
    phase: tuple[int, int]

    def windows(self, rows: Rows, columns: int) -> Iterator[tuple[slice, slice]]:
        """For each offset the samples of a padded plane that the symbols in some rows of a pass see."""
        stride = 1 if self.coarser else 2
        for y, x in self.offsets:
            top, left = self.phase[0] + y + _PAD, self.phase[1] + x + _PAD
            yield (
                slice(top + stride * rows.start, top + stride * rows.stop, stride),
                slice(left, left + stride * columns, stride),
            )

    def phase_windows(self, rows: Rows, columns: int) -> Iterator[tuple[int, int, slice, slice]]:
        """The same in planes that are kept phase by phase, [2, 2, rows, columns], for grids of the same level."""
        for y, x in self.offsets:
            row, own_y = divmod(self.phase[0] + y, 2)
            column, own_x = divmod(self.phase[1] + x, 2)
            top, left = rows.start + row + _PHASE_PAD, column + _PHASE_PAD
            yield own_y, own_x, slice(top, top + len(rows)), slice(left, left + columns)


def joined_phases(phases: Float32, size: tuple[int, int]) -> Float32:
    """A padded plane (see `plane_size`) of a band of a size from its four padded phases."""
    plane = np.zeros(plane_size(size), dtype=np.float32)
    inner = plane[_PAD : _PAD + size[0], _PAD : _PAD + size[1]]
    for y, x in PHASES:
        target = inner[y::2, x::2]
        target[...] = phases[y, x, _PHASE_PAD:, _PHASE_PAD:][: target.shape[0], : target.shape[1]]
    return plane


def symbol_views(place: Place, has_coarser: bool) -> Iterator[View]:
    """The grids of symbols that a pass has as context, in the order of its features."""
    phase = PHASES[place.phase]
    yield View(True, False, place.colour, place.orientation, WINDOWS[place.phase], phase)
    for orientation in range(ORIENTATIONS - 1):
        yield View(orientation < place.orientation, False, place.colour, orientation, SQUARE, phase)
    for colour in range(COLOURS - 1):
        yield View(colour < place.colour, False, colour, place.orientation, SQUARE, phase)
    yield View(has_coarser, True, place.colour, place.orientation, SQUARE, (0, 0))


class Scan:
    """A walk over a pyramid: gives the context of each pass and takes the pass's symbols.

    Args:
        geometry: Sizes.
        step: In 1/64 levels, 1..MAX_STEP.
        low: Dequantised coarsest low-pass band, int32 [C, h, w], units.
        trellis: Whether symbols are trellis-coded; see `trellis`.
    """

    def __init__(self, geometry: Geometry, step: int, low: Int32, trellis: bool) -> None:
        self.geometry = geometry
        self.step = step
        self.trellis = trellis
        self.low = low  # after the last pass of a level: the low-pass band of the next; at the end the picture
        self._buffer = np.empty(0, dtype=np.float32)
        self._coarser: list[list[Float32]] = []
        self._planes: list[list[Float32]] = []
        self._fine: list[Int32] = []
        self._states = np.zeros((0, 0), dtype=np.int8)
        self._differences: list[Float32] = []

    def places(self, finest_level: int = 0) -> Iterator[Place]:
        """All passes that have symbols, down to a level. The symbols of each must be `accept`ed before the next."""
        for level in reversed(range(finest_level, self.geometry.levels)):
            self._enter(level)
            yield from level_places(self.geometry, level)
            self._leave(level)

    def shape(self, place: Place) -> tuple[int, int]:
        """(rows, columns) of a pass."""
        return pass_shape(self.geometry, place)

    def quantizers(self, place: Place) -> States:
        """The quantiser of each symbol of a pass, int8 [N]; 0 where there is no trellis."""
        rows, columns = self.shape(place)
        return quantizer_of(self._states[:rows, :columns]).ravel()

    def row_blocks(self, place: Place) -> Iterator[Rows]:
        """The rows of a pass in blocks whose features stay in the processor's cache."""
        count, columns = self.shape(place)
        step = max(1, _BLOCK_SYMBOLS // columns)
        for start in range(0, count, step):
            yield range(start, min(count, start + step))

    def known(self, place: Place) -> npt.NDArray[np.intp]:
        """See `known_features`."""
        return known_features(place, bool(self._coarser))

    def features(self, place: Place, rows: Rows) -> Float32:
        """Contexts of the symbols in some rows of a pass, as far as they are `known`.

        Whole numbers in -127..127, float32 [len(known), N]. The array is used again by the next call.
        """
        columns = self.shape(place)[1]
        size, count = len(self.known(place)), len(rows) * columns
        if size * count > self._buffer.size:
            self._buffer = np.empty(size * count, dtype=np.float32)
        found = self._buffer[: size * count].reshape(size, len(rows), columns)
        row = 0
        for view in symbol_views(place, has_coarser=bool(self._coarser)):
            if view.coarser and view.known:
                plane = self._coarser[view.colour][view.orientation]
                for window in view.windows(rows, columns):
                    found[row] = plane[window]
                    row += 1
            elif view.known:
                phases = self._planes[view.colour][view.orientation]
                for of_phase in view.phase_windows(rows, columns):
                    found[row] = phases[of_phase]
                    row += 1
        np.abs(found[:row], out=found[row : 2 * row])
        row *= 2
        y, x = PHASES[place.phase]
        inside_low = slice(rows.start, rows.stop), slice(0, columns)
        for colour, count in zip((place.colour, *range(place.colour)), _LOW_COUNTS, strict=False):
            found[row : row + count] = self._differences[colour][y, x, :count, *inside_low]
            row += count
        return found.reshape(size, -1)

    def accept(self, place: Place, symbols: Int32, offsets: Int32) -> None:
        """Takes the symbols of a pass, and how far their coefficients lie from the multiples they stand for.

        Args:
            place: The pass.
            symbols: int32 [N].
            offsets: In 1/FINE steps, int32 [N].
        """
        shape = self.shape(place)
        y, x = PHASES[place.phase]
        multiples = symbols
        if self.trellis:
            multiples = multiples_of(symbols, self.quantizers(place))
            states = self._states[: shape[0], : shape[1]]
            states[...] = next_states(states, symbols.reshape(shape))
        phases = self._planes[place.colour][place.orientation]
        phases[y, x, _PHASE_PAD:, _PHASE_PAD:][: shape[0], : shape[1]] = companded(multiples).reshape(shape)
        self._fine[place.orientation][place.colour][y::2, x::2] = (multiples * FINE + offsets).reshape(shape)

    def _enter(self, level: int) -> None:
        height, width = self.low.shape[1:]
        cells = -(-height // 2), -(-width // 2)
        self._states = np.zeros(cells, dtype=np.int8)
        colours = range(self.geometry.colours)
        size = 2, 2, cells[0] + 2 * _PHASE_PAD, cells[1] + 2 * _PHASE_PAD
        self._planes = [[np.zeros(size, dtype=np.float32) for _ in range(ORIENTATIONS)] for _ in colours]
        self._fine = [
            np.zeros((len(colours), *self.geometry.band_size(level, o)), dtype=np.int32) for o in range(ORIENTATIONS)
        ]
        step = band_step(self.step, BAND_NORMS[level][0])
        self._differences = [self._low_differences(self.low[colour], step) for colour in colours]

    @staticmethod
    def _low_differences(low: Int32, step: int) -> Float32:
        """Companded differences from each sample to those around it, in quarters of the step.

        Returns:
            float32 [2, 2, len(LOW_OFFSETS), rows, columns], by the phase of the sample in its cell of 2x2.
        """
        height, width = low.shape
        padded = np.pad(low, _PAD, mode="edge")
        limit = max(1, step >> 1)  # 128 steps, in units: their companding is the last one anyway
        factor = (1 << 24) // step
        found = np.zeros((2, 2, len(LOW_OFFSETS), -(-height // 2), -(-width // 2)), dtype=np.float32)
        for number, (y, x) in enumerate(LOW_OFFSETS):
            difference = padded[_PAD + y : _PAD + y + height, _PAD + x : _PAD + x + width] - low
            quarters = (np.minimum(np.abs(difference), limit) * np.int32(factor)) >> 14
            magnitude = COMPANDED[np.minimum(quarters, len(COMPANDED) - 1)]
            signed = np.copysign(magnitude, difference)
            for own_y, own_x in PHASES:
                of_phase = signed[own_y::2, own_x::2]
                found[own_y, own_x, number, : of_phase.shape[0], : of_phase.shape[1]] = of_phase
        return found

    def _leave(self, level: int) -> None:
        bands = [
            dequantize_units(self._fine[o], band_step(self.step, BAND_NORMS[level][o])) for o in range(ORIENTATIONS)
        ]
        sizes = [self.geometry.band_size(level, o) for o in range(ORIENTATIONS)]
        self._coarser = [
            [joined_phases(self._planes[c][o], sizes[o]) for o in range(ORIENTATIONS)] for c in range(len(self._planes))
        ]
        self.low = synthesise_level(self.low, bands)


def low_step(step: int, levels: int, trellis: bool) -> int:
    """The step of the coarsest low-pass band, in 2^-8 units. It has no trellis: a union's step would be too fine."""
    of_band = band_step(step, LOW_NORMS[levels - 1])
    return 3 * of_band // 2 if trellis else of_band


def low_units(symbols: Int32, step: int, levels: int, trellis: bool) -> Int32:
    """The coarsest low-pass band in units from its symbols."""
    limit = (1 << 30) // FINE
    return dequantize_units(np.clip(symbols, -limit, limit) * np.int32(FINE), low_step(step, levels, trellis))
