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

Float32 = npt.NDArray[np.float32]
Int32 = npt.NDArray[np.int32]
Rows = range  # of a pass

# A picture's step is given in 1/64 levels, for a coefficient whose synthesis function has norm 1.
FINE = 64  # dequantised values are whole numbers of 1/64 step
_STEP_BITS = 8  # a band's step has 8 more binary digits than units

PHASES = ((0, 0), (1, 1), (0, 1), (1, 0))
SQUARE = tuple((y, x) for y in (-1, 0, 1) for x in (-1, 0, 1))
NEIGHBOURS = tuple(offset for offset in SQUARE if offset != (0, 0))
CROSS_OF_TWO = (*NEIGHBOURS, (-2, 0), (2, 0), (0, -2), (0, 2))
_RING = tuple((y, x) for y in range(-2, 3) for x in range(-2, 3) if max(abs(y), abs(x)) == 2 and y and x)
LOW_OFFSETS = (*CROSS_OF_TWO, *_RING)  # the first 12 for colours before
WINDOWS = tuple(
    tuple(
        (y, x) for y in range(-2, 3) for x in range(-2, 3) if PHASES.index(((own_y + y) % 2, (own_x + x) % 2)) < phase
    )
    for phase, (own_y, own_x) in enumerate(PHASES)
)
_BLOCK_SYMBOLS = 8192
_PAD = 2
_BEYOND = 4  # zeros after the end of a plane: a pass of a coarser band may reach so far

# Companding of magnitudes: 0, 8, 14, 19, 23, then 9 an octave.
_OVER_4 = 23 + 9 * np.log2(np.arange(5, 512) / 4)
COMPANDED = np.minimum(np.concatenate([[0, 8, 14, 19, 23], np.rint(_OVER_4)]), 127).astype(np.float32)


def symbol_features(phase: int) -> int:
    """Number of features of a symbol of a phase that are other symbols, or their magnitudes; they come first."""
    squares = len(SQUARE) * (ORIENTATIONS - 1 + COLOURS - 1)
    return 2 * (len(WINDOWS[phase]) + squares + len(SQUARE))


def context_size(phase: int) -> int:
    """Number of features of a symbol of a phase."""
    return symbol_features(phase) + len(LOW_OFFSETS) + (COLOURS - 1) * len(CROSS_OF_TWO)


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
    """

    def __init__(self, geometry: Geometry, step: int, low: Int32) -> None:
        self.geometry = geometry
        self.step = step
        self.low = low  # after the last pass of a level: the low-pass band of the next; at the end the picture
        self._buffer = np.empty(0, dtype=np.float32)
        self._coarser: list[list[Float32]] = []
        self._planes: list[list[Float32]] = []
        self._fine: list[Int32] = []
        self._differences: list[list[Float32]] = []

    def places(self) -> Iterator[Place]:
        """All passes that have symbols, in order. The symbols of each must be `accept`ed before the next."""
        for level in reversed(range(self.geometry.levels)):
            self._enter(level)
            for colour in range(self.geometry.colours):
                for orientation in range(ORIENTATIONS):
                    for phase in range(4):
                        place = Place(level, colour, orientation, phase)
                        if min(self.shape(place)) > 0:
                            yield place
            self._leave(level)

    def shape(self, place: Place) -> tuple[int, int]:
        """(rows, columns) of a pass."""
        height, width = self.geometry.band_size(place.level, place.orientation)
        y, x = PHASES[place.phase]
        return (height - y + 1) // 2, (width - x + 1) // 2

    def row_blocks(self, place: Place) -> Iterator[Rows]:
        """The rows of a pass in blocks whose features stay in the processor's cache."""
        count, columns = self.shape(place)
        step = max(1, _BLOCK_SYMBOLS // columns)
        for start in range(0, count, step):
            yield range(start, min(count, start + step))

    def features(self, place: Place, rows: Rows) -> Float32:
        """Contexts of the symbols in some rows of a pass: whole numbers in -127..127, float32 [context_size, N].

        The array is used again by the next call.
        """
        columns = self.shape(place)[1]
        size, count = context_size(place.phase), len(rows) * columns
        if size * count > self._buffer.size:
            self._buffer = np.empty(size * count, dtype=np.float32)
        found = self._buffer[: size * count].reshape(size, len(rows), columns)
        row = 0
        for view in symbol_views(place, has_coarser=bool(self._coarser)):
            if view.known:
                plane = (self._coarser if view.coarser else self._planes)[view.colour][view.orientation]
                for offset, window in enumerate(view.windows(rows, columns)):
                    found[row + offset] = plane[window]
            else:
                found[row : row + len(view.offsets)] = 0
            row += len(view.offsets)
        np.abs(found[:row], out=found[row : 2 * row])
        row *= 2
        y, x = PHASES[place.phase]
        inside_low = slice(y + 2 * rows.start, y + 2 * rows.stop, 2), slice(x, x + 2 * columns, 2)
        counts = len(LOW_OFFSETS), len(CROSS_OF_TWO), len(CROSS_OF_TWO)
        for colour, limit in zip((place.colour, 0, 1), counts, strict=True):
            if limit == len(LOW_OFFSETS) or colour < place.colour:
                for offset, difference in enumerate(self._differences[colour][:limit]):
                    found[row + offset] = difference[inside_low]
            else:
                found[row : row + limit] = 0
            row += limit
        return found.reshape(size, count)

    def accept(self, place: Place, symbols: Int32, fine: Int32) -> None:
        """Takes the symbols of a pass, int32 [N], and their dequantised values in 1/64 step, int32 [N]."""
        shape = self.shape(place)
        y, x = PHASES[place.phase]
        magnitude = COMPANDED[np.minimum(np.abs(symbols), len(COMPANDED) - 1)]
        plane = self._planes[place.colour][place.orientation]
        inside(plane, shape, (y, x))[...] = np.copysign(magnitude, symbols).reshape(shape)
        self._fine[place.orientation][place.colour][y::2, x::2] = fine.reshape(shape)

    def _enter(self, level: int) -> None:
        size = plane_size((self.low.shape[1], self.low.shape[2]))
        colours = range(self.geometry.colours)
        self._planes = [[np.zeros(size, dtype=np.float32) for _ in range(ORIENTATIONS)] for _ in colours]
        self._fine = [
            np.zeros((len(colours), *self.geometry.band_size(level, o)), dtype=np.int32) for o in range(ORIENTATIONS)
        ]
        step = band_step(self.step, BAND_NORMS[level][0])
        self._differences = [self._low_differences(self.low[colour], step) for colour in colours]

    @staticmethod
    def _low_differences(low: Int32, step: int) -> list[Float32]:
        """Companded differences from each sample to those around it, in quarters of the step."""
        height, width = low.shape
        padded = np.pad(low, _PAD, mode="edge")
        limit = max(1, step >> 1)  # 128 steps, in units: their companding is the last one anyway
        factor = (1 << 24) // step
        found = []
        for y, x in LOW_OFFSETS:
            difference = padded[_PAD + y : _PAD + y + height, _PAD + x : _PAD + x + width] - low
            quarters = (np.minimum(np.abs(difference), limit) * np.int32(factor)) >> 14
            magnitude = COMPANDED[np.minimum(quarters, len(COMPANDED) - 1)]
            found.append(np.copysign(magnitude, difference))
        return found

    def _leave(self, level: int) -> None:
        bands = [
            dequantize_units(self._fine[o], band_step(self.step, BAND_NORMS[level][o])) for o in range(ORIENTATIONS)
        ]
        self.low = synthesise_level(self.low, bands)
        self._coarser = self._planes


def low_step(step: int, levels: int) -> int:
    """The step of the coarsest low-pass band, in 2^-8 units."""
    return band_step(step, LOW_NORMS[levels - 1])


def low_units(symbols: Int32, step: int, levels: int) -> Int32:
    """The coarsest low-pass band in units from its symbols."""
    limit = (1 << 30) // FINE
    return dequantize_units(np.clip(symbols, -limit, limit) * np.int32(FINE), low_step(step, levels))
