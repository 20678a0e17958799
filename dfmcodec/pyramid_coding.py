"""Latent symbols <-> range-coded bytes: the one walk that encoder and decoder both take.

`traverse` goes through a picture's symbols in coding order. A `Source` gives them: the decoder's reads them from a
stream, the encoder's chooses them or has them and writes them. Symbols choose the tables of later symbols, and their
dequantised values make the low-pass bands that later symbols have as context, so the walk ends with the picture.

Coding order: the coarsest low-pass band, colour after colour, row by row; then the passes of `scan.Scan.places`,
each row by row.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from math import log2
from typing import Protocol

import numpy as np
import numpy.typing as npt

from dfmcodec.entropy import LAPLACE_COUNT, Run, SymbolDecoder, SymbolEncoder, best_laplace_index, laplace
from dfmcodec.entropy.context import ContextModel, Groups
from dfmcodec.entropy.tables import PRECISION_BITS, TABLE_SIZE
from dfmcodec.errors import CorruptError, TruncatedError
from dfmcodec.integrity import check_of
from dfmcodec.latents import Geometry, Tiling, Window
from dfmcodec.model import MAX_SYMBOL, Symbols
from dfmcodec.scan import Place, Scan, log_step, low_units, of_pass

Int32 = npt.NDArray[np.int32]
_LENGTH = struct.Struct("<I")
_CONTINUATION_BYTES = 16
_SPARE_BITS = 128  # the range coder leaves out last words of zeros


class EndOfSymbols(Exception):
    """A source has no symbols of this pass and the later ones: they count as zeros, and so do their coefficients."""


class Source(Protocol):
    """Where the symbols of a walk come from."""

    def low_symbols(self, shape: tuple[int, int, int]) -> Symbols:
        """The coarsest low-pass band, int32 [colours, h, w]."""

    def symbols(self, place: Place, groups: Groups, scan: Scan) -> Symbols:
        """The symbols of a pass, int32 [N]. The scan stands before it.

        Raises:
            EndOfSymbols: There are no more.
        """


def traverse(
    geometry: Geometry, step: int, context: ContextModel, source: Source, finest_level: int = 0
) -> tuple[Symbols, Int32]:
    """Walks through all symbols of a picture.

    Args:
        geometry: Sizes.
        step: Quantisation step in 1/64 levels.
        context: The prior's context model.
        source: Gives the symbols.
        finest_level: Where the walk ends, before the levels that are finer.

    Returns:
        All symbols in coding order, int32 [H * W * colours], and what they synthesise to, int32 [colours, H, W] in
        `latents.UNITS_PER_LEVEL`. Of a walk that ends early those of its levels, and the low-pass band after them.
    """
    low = source.low_symbols((geometry.colours, *geometry.low_sizes[-1]))
    found = np.zeros(geometry.symbol_count(finest_level), dtype=np.int32)
    start = low.size
    found[:start] = low.ravel()
    scan = Scan(geometry, step, low_units(low, step, geometry.levels, context.trellis), context.trellis)
    logarithm = log_step(step)
    places = scan.places(finest_level)
    try:
        for place in places:
            known, quantizers, columns = scan.known(place), scan.quantizers(place), scan.shape(place)[1]
            parts_of_pass = []
            for rows in scan.row_blocks(place):
                of_rows = quantizers[of_pass(rows, columns)]
                parts_of_pass.append(context.groups(scan.features(place, rows), known, place, logarithm, of_rows))
            groups = Groups.join(parts_of_pass)
            symbols = source.symbols(place, groups, scan)
            scan.accept(place, symbols, context.offsets_of(symbols, groups))
            found[start : start + len(symbols)] = symbols
            start += len(symbols)
    except EndOfSymbols:
        for _ in places:  # the scan goes on to the picture, without them
            pass
    return found, scan.low


def table_runs(groups: Groups, context: ContextModel) -> tuple[npt.NDArray[np.intp], list[Run]]:
    """The symbols of a pass by table, ascending: their positions, and the table of each run of them."""
    order = np.argsort(groups.table, kind="stable")
    chosen = groups.table[order]
    starts = np.flatnonzero(np.concatenate([[True], chosen[1:] != chosen[:-1]]))
    counts = np.diff(starts, append=len(chosen))
    return order, [(context.tables[chosen[start]], int(count)) for start, count in zip(starts, counts, strict=True)]


def low_differences(low: Symbols) -> Symbols:
    """Each sample of a band less the one above it; the first row less the one before. int32 [h, w]."""
    differences = low.copy()
    differences[1:] -= low[:-1]
    differences[0, 1:] -= low[0, :-1]
    return differences


def undo_low_differences(differences: Symbols) -> Symbols:
    """Inverse of `low_differences`.

    Raises:
        CorruptError: The sums leave the range of symbols.
    """
    sums = differences.astype(np.int64)
    sums[0] = np.cumsum(sums[0])
    sums = np.cumsum(sums, axis=0)
    if sums.size and np.abs(sums).max() > MAX_SYMBOL:
        msg = "the low-pass band leaves its range; the file is damaged"
        raise CorruptError(msg)
    return sums.astype(np.int32)


class SymbolWriter:
    """Encodes the symbols of a walk as it goes.

    Args:
        context: The context model.
    """

    def __init__(self, context: ContextModel) -> None:
        self._coder = SymbolEncoder()
        self._low_tables = bytearray()
        self._context = context

    def write_low(self, low: Symbols) -> None:
        """The coarsest low-pass band, int32 [colours, h, w]."""
        for band in low:
            differences = low_differences(band).ravel()
            index = best_laplace_index(differences)
            self._low_tables.append(index)
            self._coder.encode(differences, laplace(index))

    def write_pass(self, symbols: Symbols, groups: Groups) -> None:
        """The symbols of a pass, int32 [N]."""
        order, runs = table_runs(groups, self._context)
        self._coder.encode_runs((symbols * groups.sign)[order], runs)

    def to_bytes(self) -> bytes:
        """A tile's body: one table index for each colour's low-pass band, then the range-coded stream."""
        return bytes(self._low_tables) + self._coder.to_bytes()


class _Known:
    """Gives known symbols and encodes them."""

    def __init__(self, symbols: Symbols, context: ContextModel) -> None:
        self.writer = SymbolWriter(context)
        self._symbols = symbols
        self._used = 0

    def _take(self, count: int) -> Symbols:
        self._used += count
        return self._symbols[self._used - count : self._used]

    def low_symbols(self, shape: tuple[int, int, int]) -> Symbols:
        low = self._take(int(np.prod(shape))).reshape(shape)
        self.writer.write_low(low)
        return low

    def symbols(self, place: Place, groups: Groups, scan: Scan) -> Symbols:
        symbols = self._take(len(groups.table))
        self.writer.write_pass(symbols, groups)
        return symbols


class SymbolReader:
    """Decodes symbols.

    Args:
        part: What they are in. Where its end is missing, symbols are decoded with its least and its largest possible
            continuation: as larger streams stand for later symbols, those that both agree on are the ones written.
        colours: 1 or 3.
        context: The context model.

    Raises:
        CorruptError: It is no such part.
    """

    def __init__(self, part: Part, colours: int, context: ContextModel) -> None:
        if len(part.body) < colours or max(part.body[:colours]) >= LAPLACE_COUNT:
            msg = "the latents section does not start with its tables; the file is damaged"
            raise CorruptError(msg)
        self._low_tables = part.body[:colours]
        self._coders = [SymbolDecoder(stream) for stream in part.streams(colours)]
        self._context = context

    def low_symbols(self, shape: tuple[int, int, int]) -> Symbols:
        """The coarsest low-pass band, int32 [colours, h, w]."""
        count, size = shape[1] * shape[2], shape[1:]
        bands = [self._decode([(laplace(index), count)]).reshape(size) for index in self._low_tables]
        return np.stack([undo_low_differences(band) for band in bands])

    def symbols(self, place: Place, groups: Groups, scan: Scan) -> Symbols:
        """The symbols of a pass, int32 [N]."""
        order, runs = table_runs(groups, self._context)
        symbols = np.empty(len(groups.table), dtype=np.int32)
        symbols[order] = self._decode(runs)
        return symbols * groups.sign

    def _decode(self, runs: Sequence[Run]) -> Symbols:
        first, *others = [coder.decode_runs(runs) for coder in self._coders]
        if not all(np.array_equal(first, other) for other in others):
            msg = "the latents section ends early"
            raise TruncatedError(msg)
        return first


@dataclass(frozen=True)
class Part:
    """What the latents section has of a tile.

    Args:
        body: The bytes, as far as they are there.
        missing_bytes: At their end.
        checks: Of the low-pass band, then of each level; None where the file has none.
    """

    body: bytes
    missing_bytes: int = 0
    checks: Sequence[int] | None = None

    def streams(self, start: int) -> list[bytes]:
        """The range-coded stream from a byte on: all that there is, or its least and its largest continuation.

        The coder looks at 64 bits at a time: when none of them is known, the two cannot agree any more.
        """
        if not self.missing_bytes:
            return [self.body[start:]]
        added = min(self.missing_bytes, _CONTINUATION_BYTES + (start - len(self.body)) % 4)
        return [self.body[start:] + added * fill for fill in (b"\x00", b"\xff")]


def symbol_checks(symbols: Symbols, geometry: Geometry, finest_level: int = 0) -> list[int]:
    """Checks of a tile's symbols in coding order: of its low-pass band, then of each level from the coarsest on."""
    ends = [geometry.symbol_count(level) for level in range(geometry.levels, finest_level - 1, -1)]
    coded = symbols.astype("<i4", copy=False)
    return [check_of(coded[first:last].tobytes()) for first, last in pairwise([0, *ends])]


def wrong_level(part: Part, symbols: Symbols, geometry: Geometry, finest_level: int = 0) -> int | None:
    """The coarsest level of a tile whose symbols are not those of its check; the number of levels for the low-pass."""
    if part.checks is None:
        return None
    found = symbol_checks(symbols, geometry, finest_level)
    levels = range(geometry.levels, finest_level - 1, -1)
    pairs = zip(levels, found, part.checks, strict=False)
    return next((level for level, check, expected in pairs if check != expected), None)


def write_symbols(tiling: Tiling, step: int, context: ContextModel, symbols: Symbols) -> bytes:
    """The latents section of all symbols, tile after tile."""
    bodies, start = [], 0
    for tile in tiling.tiles:
        count = tile.geometry.symbol_count()
        source = _Known(symbols[start : start + count], context)
        traverse(tile.geometry, step, context, source)
        bodies.append(source.writer.to_bytes())
        start += count
    return join_tiles(bodies)


def join_tiles(bodies: Sequence[bytes]) -> bytes:
    """The latents section: where there are several tiles the length of each, then their bodies."""
    lengths = [_LENGTH.pack(len(body)) for body in bodies] if len(bodies) > 1 else []
    return b"".join([*lengths, *bodies])


def split_tiles(body: bytes, count: int, missing_bytes: int = 0, checks: Sequence[int] | None = None) -> list[Part]:
    """Inverse of `join_tiles`.

    Args:
        body: The section, as far as it is there.
        count: Of tiles.
        missing_bytes: At the section's end.
        checks: Of the symbols, tile after tile.

    Raises:
        CorruptError: The lengths are not those of the section.
        TruncatedError: They are not there.
    """
    start = count * _LENGTH.size if count > 1 else 0
    size = len(body) + missing_bytes
    if len(body) < start and missing_bytes:
        msg = "nothing of the picture can be made out: the latents section ends within the lengths of its tiles"
        raise TruncatedError(msg)
    lengths = [size]
    if count > 1:
        lengths = [length for (length,) in _LENGTH.iter_unpack(body[:start])] if len(body) >= start else []
    if start + sum(lengths) != size or len(lengths) != count:
        msg = "the lengths of the tiles do not add up to the latents section; the file is damaged"
        raise CorruptError(msg)
    starts = list(accumulate(lengths, initial=start))
    bodies = [body[first:last] for first, last in pairwise(starts)]
    of_tile = 0 if checks is None else len(checks) // count
    return [
        Part(found, length - len(found), None if checks is None else checks[at * of_tile : (at + 1) * of_tile])
        for at, (found, length) in enumerate(zip(bodies, lengths, strict=True))
    ]


def check_length(body_bytes: int, symbol_count: int) -> None:
    """Refuses, before memory is spent, a tile's body that is too short for so many symbols.

    The likeliest entry of any table leaves at least one of 2^24 parts to each of the others, so a symbol takes at least
    1.1e-5 bits: nothing can ask for more than some 720,000 symbols a byte.

    Raises:
        CorruptError: It is too short.
    """
    least_bits = -symbol_count * log2(1 - (TABLE_SIZE - 1) / (1 << PRECISION_BITS))
    if 8 * body_bytes + _SPARE_BITS < least_bits:
        msg = f"{body_bytes} bytes cannot hold {symbol_count} symbols; the file is damaged"
        raise CorruptError(msg)


ReadTile = Callable[[int, Part, Geometry, int, ContextModel, int], tuple[Symbols, Int32]]  # see `read_tile`


def read_tile(
    number: int, part: Part, geometry: Geometry, step: int, context: ContextModel, finest_level: int
) -> tuple[Symbols, Int32]:
    """Decodes a tile, which has to be whole.

    Args:
        number: Of the tile.
        part: Of the latents section.
        geometry: Sizes.
        step: In 1/64 levels.
        context: The context model.
        finest_level: Levels that are finer are not decoded.

    Returns:
        As of `traverse`.

    Raises:
        CorruptError: It is not whole.
    """
    found, samples = traverse(geometry, step, context, SymbolReader(part, geometry.colours, context), finest_level)
    wrong = wrong_level(part, found, geometry, finest_level)
    if wrong is not None:
        what = "the low-pass band" if wrong == geometry.levels else f"level {wrong}"
        msg = (
            f"the file is whole, but the symbols of {what} come out as others than were written: "
            "it was written or is read wrongly; please report this"
        )
        raise CorruptError(msg)
    return found, samples


def read_symbols(
    tiling: Tiling,
    step: int,
    context: ContextModel,
    body: bytes,
    window: Window | None = None,
    finest_level: int = 0,
    missing_bytes: int = 0,
    checks: Sequence[int] | None = None,
    read: ReadTile = read_tile,
) -> tuple[Symbols, Int32, Window]:
    """Inverse of `write_symbols`.

    Args:
        tiling: The picture's tiles.
        step: In 1/64 levels.
        context: The context model.
        body: The section, as far as it is there.
        window: What is wanted of the picture; None for all.
        finest_level: Levels that are finer are not decoded.
        missing_bytes: At the section's end.
        checks: Of the symbols, tile after tile; None where the file has none.
        read: Decodes a tile.

    Returns:
        Symbols of the tiles in which the window lies; what they synthesise to, int32 [colours, H', W'], units; where.
        After a finest level > 0 that is the low-pass band, its samples 2^finest_level pixels apart.

    Raises:
        CorruptError: The section is not one.
        TruncatedError: Nothing of what is wanted is there.
    """
    parts = split_tiles(body, len(tiling.tiles), missing_bytes, checks)
    wanted = Window(0, 0, tiling.height, tiling.width) if window is None else window
    covered, numbers = tiling.covering(wanted)
    if all(parts[number].missing_bytes and len(parts[number].body) <= tiling.colours for number in numbers):
        msg = "nothing of what is wanted can be made out: its latents are missing from their beginning on"
        raise TruncatedError(msg)
    for number in numbers:
        size = len(parts[number].body) + parts[number].missing_bytes
        check_length(size, tiling.tiles[number].geometry.symbol_count())
    cell = 1 << finest_level  # pixels of a sample of the low-pass band that is left
    samples = np.empty((tiling.colours, -(-covered.height // cell), -(-covered.width // cell)), dtype=np.int32)
    symbols = np.empty(sum(tiling.tiles[number].geometry.symbol_count(finest_level) for number in numbers), np.int32)
    start = 0
    for number in numbers:
        tile = tiling.tiles[number]
        found, of_tile = read(number, parts[number], tile.geometry, step, context, finest_level)
        top, left = (tile.top - covered.top) // cell, (tile.left - covered.left) // cell
        samples[:, top : top + of_tile.shape[1], left : left + of_tile.shape[2]] = of_tile
        symbols[start : start + len(found)] = found
        start += len(found)
    return symbols, samples, covered
