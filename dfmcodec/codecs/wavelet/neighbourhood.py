"""The causal context: features of a symbol, computed from symbols and samples decoded before it.

`passes` defines the coding order. The context of a symbol consists of

    - the 5x5 neighbourhood in its own band, as far as earlier passes have filled it,
    - 3x3 symbols of the same band one decomposition level coarser,
    - 3x3 symbols of each orientation coded before it at the same level in the same channel,
    - 3x3 symbols of the same orientation in each channel coded before it,
    - differences in the decoded low-pass band, which lies on the same grid: 24 in its own
      channel, 12 in each channel before.

In its own band, a symbol x sees the numbered positions. The numbers are the phases of earlier
passes:

      phase 0       phase 1       phase 2       phase 3

     . . . . .     . . . . .     . 0 . 0 .     . 1 . 1 .
     . . . . .     . 0 . 0 .     1 . 1 . 1     0 2 0 2 0
     . . x . .     . . x . .     . 0 x 0 .     . 1 x 1 .
     . . . . .     . 0 . 0 .     1 . 1 . 1     0 2 0 2 0
     . . . . .     . . . . .     . 0 . 0 .     . 1 . 1 .

Symbols and differences are companded logarithmically (`COMPANDED`); symbols enter both with their
sign and as magnitudes. All features are arrays of small integers. The kernel reads them in place
(`CausalContext.views`); NumPy converts them to float32 (`CausalContext.features`).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
import numpy.typing as npt

from dfmcodec._types import Float32, Int8, Int32
from dfmcodec.codecs.wavelet.geometry import ORIENTATIONS, Geometry
from dfmcodec.codecs.wavelet.passes import PHASES, CodingPass, Rows, level_passes, pass_shape
from dfmcodec.codecs.wavelet.quantizer import FINE, band_step, synthesise_fine
from dfmcodec.codecs.wavelet.transform import BAND_NORMS
from dfmcodec.codecs.wavelet.trellis import NEXT_STATE, States, multiples_of, next_states, quantizer_of
from dfmcodec.entropy.context_networks import SQUARE, companded
from dfmcodec.image.region import CHANNELS
from dfmcodec.kernels import by_kernels, compiled
from dfmcodec.threads import in_threads, parts_of, thread_count

NEIGHBOURS = tuple(offset for offset in SQUARE if offset != (0, 0))
CROSS_OF_TWO = (*NEIGHBOURS, (-2, 0), (2, 0), (0, -2), (0, 2))
_RING = tuple((y, x) for y in range(-2, 3) for x in range(-2, 3) if max(abs(y), abs(x)) == 2 and y and x)
LOW_OFFSETS = (*CROSS_OF_TWO, *_RING)  # for earlier channels only the first 12
_LOW_COUNTS = (len(LOW_OFFSETS), *(CHANNELS - 1) * (len(CROSS_OF_TWO),))
WINDOWS = tuple(
    tuple(
        (y, x) for y in range(-2, 3) for x in range(-2, 3) if PHASES.index(((own_y + y) % 2, (own_x + x) % 2)) < phase
    )
    for phase, (own_y, own_x) in enumerate(PHASES)
)
_BLOCK_SYMBOLS = 8192
_KERNEL_SYMBOLS = 8192  # fewer symbols are not worth a thread
_PAD = 2
_PHASE_PAD = 1  # the padding of planes that are kept phase by phase
_BEYOND = 4  # zeros after the end of a plane, which windows of a coarser band can reach
# The companding of magnitudes: 0, 8, 14, 19, 23, then 9 more for each octave.
_OVER_4 = 23 + 9 * np.log2(np.arange(5, 512) / 4)
COMPANDED = np.minimum(np.concatenate([[0, 8, 14, 19, 23], np.rint(_OVER_4)]), 127).astype(np.float32)
_COMPANDED_INT8, _COMPANDED_INT32 = COMPANDED.astype(np.int8), COMPANDED.astype(np.int32)
_LOW_OFFSETS = np.array(LOW_OFFSETS, dtype=np.int32)
_NO_OFFSETS = np.zeros((1, 7), dtype=np.int32)  # the offsets of a table, for symbols -3..3


def symbol_features(phase: int) -> int:
    """Returns the number of features of a symbol that are symbols or magnitudes; they come
    first.
    """
    squares = len(SQUARE) * (ORIENTATIONS - 1 + CHANNELS - 1)
    return 2 * (len(WINDOWS[phase]) + squares + len(SQUARE))


def context_size(phase: int) -> int:
    """Returns the number of features of a symbol in a phase."""
    return symbol_features(phase) + sum(_LOW_COUNTS)


@cache
def available_features(coding_pass: CodingPass, has_coarser: bool) -> npt.NDArray[np.intp]:
    """Returns the indices of the features that are available in a pass, ascending.

    The other features are zero, because nothing that they depend on is decoded yet.
    """
    available = [view.available for view in symbol_views(coding_pass, has_coarser) for _ in view.offsets]
    channels = (True, coding_pass.channel > 0, coding_pass.channel > 1)
    available += available
    available += [is_decoded for is_decoded, count in zip(channels, _LOW_COUNTS, strict=True) for _ in range(count)]
    return np.flatnonzero(available)


def plane_size(low_size: tuple[int, int]) -> tuple[int, int]:
    """Returns the size of the padded planes of a level's bands, given that of its low-pass band."""
    return low_size[0] + _PAD + _BEYOND, low_size[1] + _PAD + _BEYOND


@cache
def _places(phase: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Returns the positions that the first symbol of a pass sees if all bands are available: (slot,
    own row phase, own column phase, row, column) in the planes of the level, int64 [5, K], where
    slots number the bands: its own, orientations 0 and 1, channels 0 and 1; and (row, column) in
    the plane of the coarser level, int64 [2, K'].
    """
    *own_level, coarser = symbol_views(CodingPass(0, CHANNELS - 1, ORIENTATIONS - 1, phase), has_coarser=True)
    places = [
        (slot, own_y, own_x, rows.start, columns.start)
        for slot, view in enumerate(own_level)
        for own_y, own_x, rows, columns in view.phase_windows(range(1), 1)
    ]
    of_coarser = [(rows.start, columns.start) for rows, columns in coarser.windows(range(1), 1)]
    return np.array(places, dtype=np.int64).T, np.array(of_coarser, dtype=np.int64).T


def phases_size(low_size: tuple[int, int]) -> tuple[int, int]:
    """Returns the size of the padded phases of a level's bands, given that of its low-pass band."""
    return -(-low_size[0] // 2) + 2 * _PHASE_PAD, -(-low_size[1] // 2) + 2 * _PHASE_PAD


def inside_phase(phases: Float32, shape: tuple[int, int], phase: tuple[int, int]) -> Float32:
    """Returns a view of the symbols of a phase, [rows, columns] = shape, in padded phases."""
    return phases[*phase, _PHASE_PAD : _PHASE_PAD + shape[0], _PHASE_PAD : _PHASE_PAD + shape[1]]


def inside(plane: Float32, shape: tuple[int, int], phase: tuple[int, int]) -> Float32:
    """Returns a view of the symbols of a phase, [rows, columns] = shape, in a padded plane."""
    top, left = phase[0] + _PAD, phase[1] + _PAD
    return plane[top : top + 2 * shape[0] : 2, left : left + 2 * shape[1] : 2]


@dataclass(frozen=True)
class View:
    """A band of symbols as context of a pass."""

    available: bool  # whether the band exists and is decoded; otherwise its features are zero
    coarser: bool  # whether the band is one decomposition level coarser than the pass
    channel: int  # the channel of the band
    orientation: int  # the orientation of the band
    offsets: tuple[tuple[int, int], ...]  # the (row, column) offsets of the neighbours
    phase: tuple[int, int]  # the phase of the pass; (0, 0) for a coarser band, which has one sample for each 2x2 cell

    def windows(self, rows: Rows, columns: int) -> Iterator[tuple[slice, slice]]:
        """Yields, for each offset, the part of a padded plane that the symbols in some rows see."""
        stride = 1 if self.coarser else 2
        for y, x in self.offsets:
            top, left = self.phase[0] + y + _PAD, self.phase[1] + x + _PAD
            yield (
                slice(top + stride * rows.start, top + stride * rows.stop, stride),
                slice(left, left + stride * columns, stride),
            )

    def phase_windows(self, rows: Rows, columns: int) -> Iterator[tuple[int, int, slice, slice]]:
        """Yields the same for planes that are stored phase by phase, [2, 2, rows, columns].

        It applies to bands of the same decomposition level.
        """
        for y, x in self.offsets:
            row, own_y = divmod(self.phase[0] + y, 2)
            column, own_x = divmod(self.phase[1] + x, 2)
            top, left = rows.start + row + _PHASE_PAD, column + _PHASE_PAD
            yield own_y, own_x, slice(top, top + len(rows)), slice(left, left + columns)


def _joined_phases(phases: Int8, low_size: tuple[int, int]) -> Int8:
    """Joins the padded phases of bands, [..., 2, 2, rows, columns], into padded planes; see
    `plane_size`.
    """
    planes = np.zeros((*phases.shape[:-4], *plane_size(low_size)), dtype=np.int8)
    rows, columns = (side - 2 * _PHASE_PAD for side in phases.shape[-2:])
    for y, x in PHASES:
        top, left = _PAD + y, _PAD + x
        inner = phases[..., y, x, _PHASE_PAD : _PHASE_PAD + rows, _PHASE_PAD : _PHASE_PAD + columns]
        planes[..., top : top + 2 * rows : 2, left : left + 2 * columns : 2] = inner
    return planes


def symbol_views(coding_pass: CodingPass, has_coarser: bool) -> Iterator[View]:
    """Returns the bands that a pass has as context, in the order of its features."""
    phase = PHASES[coding_pass.phase]
    yield View(True, False, coding_pass.channel, coding_pass.orientation, WINDOWS[coding_pass.phase], phase)
    for orientation in range(ORIENTATIONS - 1):
        yield View(orientation < coding_pass.orientation, False, coding_pass.channel, orientation, SQUARE, phase)
    for channel in range(CHANNELS - 1):
        yield View(channel < coding_pass.channel, False, channel, coding_pass.orientation, SQUARE, phase)
    yield View(has_coarser, True, coding_pass.channel, coding_pass.orientation, SQUARE, (0, 0))


@lru_cache(maxsize=2048)  # shared by the tiles of an image
def _views(
    channel: int, orientation: int, phase: int, level: tuple[int, int], coarser: tuple[int, int], low: tuple[int, int]
) -> tuple[npt.NDArray[np.int64], int]:
    """Returns the result of `CausalContext.views` for planes of the given sizes."""
    (slot, own_y, own_x, row, column), of_parent = _places(phase)
    band = channel * ORIENTATIONS
    bands = np.array([band + orientation, band, band + 1, orientation, ORIENTATIONS + orientation])
    is_available = np.array([True, orientation > 0, orientation > 1, channel > 0, channel > 1])[slot]
    of_own = ((((bands[slot] * 2 + own_y) * 2 + own_x) * level[0] + row) * level[1] + column)[is_available]
    of_coarser = ((band + orientation) * coarser[0] + of_parent[0]) * coarser[1] + of_parent[1]
    of_coarser = of_coarser[: len(of_coarser) * (min(coarser) > 0)]
    y, x = PHASES[phase]
    of_low = [
        (((other * 2 + y) * 2 + x) * len(LOW_OFFSETS) + np.arange(count)) * (low[0] * low[1])
        for other, count in zip((channel, *range(channel)), _LOW_COUNTS, strict=False)
    ]
    symbol_count = len(of_own) + len(of_coarser)
    indices = np.concatenate([of_own, of_coarser, *of_low])
    views = np.empty((len(indices), 3), dtype=np.int64)
    views[:, 1] = indices
    views[: len(of_own), ::2] = 0, level[1]
    views[len(of_own) : symbol_count, ::2] = 1, coarser[1]
    views[symbol_count:, ::2] = 2, low[1]
    views.flags.writeable = False
    return views, symbol_count


class CausalContext:
    """The decoded part of a tile. It provides the context of each pass and receives the pass's
    symbols.

    Attributes:
        low: The low-pass band of the next decomposition level after the last pass of each level. In
            the end it is the synthesised tile, int32 [C, H, W], units.
    """

    def __init__(self, geometry: Geometry, q_step: int, low: Int32) -> None:
        self.geometry = geometry
        self.q_step = q_step
        self.low = low
        self._buffers = threading.local()
        # Companded symbols: of the level by phase, [C, orientations, 2, 2, rows, columns], and of
        # the coarser level, [C, orientations, rows, columns].
        self._planes: Int8 = np.zeros((0, 0, 2, 2, 0, 0), dtype=np.int8)
        self._coarser: Int8 = np.zeros((0, 0, 0, 0), dtype=np.int8)
        self._fine: list[Int32] = []
        self._states = np.zeros((0, 0), dtype=np.int8)
        self._differences: Int8 = np.zeros((0, 2, 2, len(LOW_OFFSETS), 0, 0), dtype=np.int8)

    def coding_passes(self, finest_level: int = 0, out: Int32 | None = None) -> Iterator[CodingPass]:
        """Yields all passes that have symbols, down to a decomposition level.

        The symbols of each pass must be given to `accept` before the next. `out` becomes the last
        `low`; see `synthesise_fine`.
        """
        for level in reversed(range(finest_level, self.geometry.levels)):
            self._enter(level)
            yield from level_passes(self.geometry, level)
            self._leave(level, out if level == finest_level else None)

    def shape(self, coding_pass: CodingPass) -> tuple[int, int]:
        """Returns the (rows, columns) of a pass."""
        return pass_shape(self.geometry, coding_pass)

    def quantizers(self, coding_pass: CodingPass) -> States:
        """Returns the quantiser of each symbol of a pass, int8 [N]."""
        rows, columns = self.shape(coding_pass)
        return quantizer_of(self._states[:rows, :columns]).ravel()

    def _row_blocks_of_kernels(self, coding_pass: CodingPass) -> Iterator[Rows]:
        count, columns = self.shape(coding_pass)
        yield from parts_of(range(count), min(thread_count(), -(-count * columns // _KERNEL_SYMBOLS)))

    @by_kernels(_row_blocks_of_kernels)
    def row_blocks(self, coding_pass: CodingPass) -> Iterator[Rows]:
        """Yields the rows of a pass in blocks. For NumPy they are so small that their features stay
        in the processor's cache; for the kernel there is one block per thread.
        """
        count, columns = self.shape(coding_pass)
        block_rows = max(1, _BLOCK_SYMBOLS // columns)
        for start in range(0, count, block_rows):
            yield range(start, min(count, start + block_rows))

    def available(self, coding_pass: CodingPass) -> npt.NDArray[np.intp]:
        """Returns the indices of the available features of a pass; see `available_features`."""
        return available_features(coding_pass, self._has_coarser)

    def available_numbers(self, coding_pass: CodingPass) -> Int32:
        """Returns the indices of `available` as int32, for the kernel."""
        return self.available(coding_pass).astype(np.int32)

    @property
    def _has_coarser(self) -> bool:
        return self._coarser.size > 0

    @property
    def planes(self) -> tuple[Int8, Int8, Int8]:
        """The planes that `views` refers to: symbols of the level, of the coarser level,
        differences.
        """
        return self._planes, self._coarser, self._differences

    def views(self, coding_pass: CodingPass) -> tuple[npt.NDArray[np.int64], int]:
        """Returns the memory positions of the features of a pass, for a kernel that reads them in
        place: for each feature that is not a magnitude (one of `planes`, the index of the value
        that the first symbol sees, the distance from row to row), int64 [K, 3]; and the number of
        those features that are symbols, whose magnitudes are features too.
        """
        shapes = (plane.shape[-2:] for plane in self.planes)
        return _views(coding_pass.channel, coding_pass.orientation, coding_pass.phase, *shapes)

    def features(self, coding_pass: CodingPass, rows: Rows) -> Float32:
        """Computes the available features of the symbols in some rows of a pass. Returns integers
        in -127..127, float32 [K, N], K the number of `available` features. The next call in the
        same thread overwrites the array.
        """
        columns = self.shape(coding_pass)[1]
        size, count = len(self.available(coding_pass)), len(rows) * columns
        buffer = getattr(self._buffers, "array", None)
        if buffer is None or size * count > buffer.size:
            buffer = self._buffers.array = np.empty(size * count, dtype=np.float32)
        features = buffer[: size * count].reshape(size, len(rows), columns)
        row = 0
        for view in symbol_views(coding_pass, self._has_coarser):
            if view.coarser and view.available:
                plane = self._coarser[view.channel, view.orientation]
                for window in view.windows(rows, columns):
                    features[row] = plane[window]
                    row += 1
            elif view.available:
                phases = self._planes[view.channel, view.orientation]
                for phase_window in view.phase_windows(rows, columns):
                    features[row] = phases[phase_window]
                    row += 1
        np.abs(features[:row], out=features[row : 2 * row])
        row *= 2
        y, x = PHASES[coding_pass.phase]
        inside_low = slice(rows.start, rows.stop), slice(0, columns)
        for channel, count in zip((coding_pass.channel, *range(coding_pass.channel)), _LOW_COUNTS, strict=False):
            features[row : row + count] = self._differences[channel, y, x, :count, *inside_low]
            row += count
        return features.reshape(size, -1)

    def _accept_by_kernel(
        self, coding_pass: CodingPass, symbols: Int32, table: npt.NDArray[np.int16], sign: Int32, offsets: Int32
    ) -> None:
        pass_rows, pass_columns = self.shape(coding_pass)
        y, x = PHASES[coding_pass.phase]
        band = coding_pass.channel * ORIENTATIONS + coding_pass.orientation
        rows, columns = self._planes.shape[-2:]
        first = ((((band * 2 + y) * 2 + x) * rows) + _PHASE_PAD) * columns + _PHASE_PAD
        fine = self._fine[coding_pass.orientation][coding_pass.channel]
        width = fine.shape[1]
        compiled.accept_symbols(
            symbols=np.ascontiguousarray(symbols),
            table=table,
            sign=sign,
            offsets=offsets,
            next_state=NEXT_STATE,
            rows=pass_rows,
            columns=pass_columns,
            states=self._states,
            state_stride=self._states.shape[1],
            companded=_COMPANDED_INT8,
            plane=self._planes,
            plane_start=first,
            plane_stride=columns,
            fine=fine,
            fine_start=y * width + x,
            fine_stride=2 * width,
        )

    @by_kernels(_accept_by_kernel)
    def accept(
        self, coding_pass: CodingPass, symbols: Int32, table: npt.NDArray[np.int16], sign: Int32, offsets: Int32
    ) -> None:
        """Adds the symbols of a pass, int32 [N], to the context, and reconstructs their
        coefficients with the reconstruction offsets of their tables; see `TableChoice` and
        `ContextModel`.
        """
        shape = self.shape(coding_pass)
        y, x = PHASES[coding_pass.phase]
        of_symbol = offsets_of(symbols, table, sign, offsets)
        multiples = multiples_of(symbols, self.quantizers(coding_pass))
        states = self._states[: shape[0], : shape[1]]
        states[...] = next_states(states, symbols.reshape(shape))
        phases = self._planes[coding_pass.channel, coding_pass.orientation]
        phases[y, x, _PHASE_PAD:, _PHASE_PAD:][: shape[0], : shape[1]] = companded(multiples, COMPANDED).reshape(shape)
        self._fine[coding_pass.orientation][coding_pass.channel][y::2, x::2] = (multiples * FINE + of_symbol).reshape(
            shape
        )

    def accept_context(self, coding_pass: CodingPass, symbols: Int32) -> None:
        """Adds the symbols of a pass to the context for now. After the last pass of the level,
        `rewind` must follow.
        """
        no_tables, signs = np.zeros(len(symbols), dtype=np.int16), np.ones(len(symbols), dtype=np.int32)
        self.accept(coding_pass, symbols, no_tables, signs, _NO_OFFSETS)

    def rewind(self) -> None:
        """Returns to the first pass of the level after all its symbols were given to
        `accept_context`.
        """
        self._states[...] = 0

    def _enter(self, level: int) -> None:
        """Allocates the arrays of a decomposition level."""
        height, width = self.low.shape[1:]
        cells = -(-height // 2), -(-width // 2)
        self._states = np.zeros(cells, dtype=np.int8)
        channels = range(self.geometry.channels)
        self._planes = np.zeros((len(channels), ORIENTATIONS, 2, 2, *phases_size((height, width))), dtype=np.int8)
        self._fine = [
            np.zeros((len(channels), *self.geometry.band_size(level, o)), dtype=np.int32) for o in range(ORIENTATIONS)
        ]
        level_step = band_step(self.q_step, BAND_NORMS[level][0])
        self._differences = _low_differences(self.low, level_step)

    def _leave(self, level: int, out: Int32 | None) -> None:
        """Synthesises the next low-pass band, and keeps the level's symbols as context."""
        self._coarser = _joined_phases(self._planes, (self.low.shape[1], self.low.shape[2]))
        steps = [band_step(self.q_step, BAND_NORMS[level][o]) for o in range(ORIENTATIONS)]
        self.low = synthesise_fine(self.low, self._fine, steps, out)


def offsets_of(symbols: Int32, table: npt.NDArray[np.int16], sign: Int32, offsets: Int32) -> Int32:
    """Returns the distances of coefficients from the multiples of the step for their symbols, int32
    [N], in 1/FINE steps. `offsets` are the reconstruction offsets of each table; see
    `ContextModel`. Each symbol, int32 [N], has a table, int16 [N], and a sign, int32 [N].
    """
    last = offsets.shape[1] // 2
    entry = np.clip(symbols * sign, -last, last) + last
    return np.asarray(offsets[table, entry] * sign)


def _low_differences_by_kernel(low: Int32, level_step: int) -> Int8:
    channels, height, width = low.shape
    low = np.ascontiguousarray(low)
    # Those of samples beyond the edge of an odd size stay undefined. No symbol is there.
    differences = np.empty((channels, 2, 2, len(LOW_OFFSETS), -(-height // 2), -(-width // 2)), dtype=np.int8)

    def fill(part: tuple[int, Rows]) -> None:
        channel, rows = part
        compiled.low_differences(
            low=low[channel],
            height=height,
            width=width,
            level_step=level_step,
            offsets=_LOW_OFFSETS,
            companded=_COMPANDED_INT32,
            first_row=rows.start,
            last_row=rows.stop,
            differences=differences[channel],
        )

    parts = parts_of(range(height)) if low.size >= _BLOCK_SYMBOLS else [range(height)]
    in_threads(fill, [(channel, rows) for channel in range(channels) for rows in parts])
    return differences


@by_kernels(_low_differences_by_kernel)
def _low_differences(low: Int32, level_step: int) -> Int8:
    """Returns companded differences between each sample and its neighbours, in 1/4 of the step,
    int8 [C, 2, 2, len(LOW_OFFSETS), rows, columns], by the phase of the sample in its 2x2 cell.
    """
    channels, height, width = low.shape
    padded = np.pad(low, ((0, 0), (_PAD, _PAD), (_PAD, _PAD)), mode="edge")
    limit = max(1, level_step >> 1)  # 128 steps, in units: larger values have the same companding
    factor = (1 << 24) // level_step
    differences = np.zeros((channels, 2, 2, len(LOW_OFFSETS), -(-height // 2), -(-width // 2)), dtype=np.int8)
    for number, (y, x) in enumerate(LOW_OFFSETS):
        difference = padded[:, _PAD + y : _PAD + y + height, _PAD + x : _PAD + x + width] - low
        quarters = (np.minimum(np.abs(difference), limit) * np.int32(factor)) >> 14
        magnitude = COMPANDED[np.minimum(quarters, len(COMPANDED) - 1)]
        signed = np.copysign(magnitude, difference)
        for own_y, own_x in PHASES:
            one_phase = signed[:, own_y::2, own_x::2]
            differences[:, own_y, own_x, number, : one_phase.shape[1], : one_phase.shape[2]] = one_phase
    return differences
