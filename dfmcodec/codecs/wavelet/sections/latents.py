"""The latents section: symbols <-> range-coded bytes, tile by tile.

The section holds one tile stream for each tile, in the order of the tiles. If there are several
tiles, the lengths of all tile streams come first. A tile stream starts with one Laplace index for
the low-pass band of each channel. The range-coded symbols follow in coding order; see
`codecs.wavelet.traversal`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np

from dfmcodec._types import Int32, Symbols
from dfmcodec.codecs.wavelet.contents import TileStream, TileSymbols
from dfmcodec.codecs.wavelet.context import ContextModel, TableChoice
from dfmcodec.codecs.wavelet.geometry import Geometry, Tiling
from dfmcodec.codecs.wavelet.neighbourhood import CausalContext
from dfmcodec.codecs.wavelet.passes import CodingPass
from dfmcodec.codecs.wavelet.texture import Texture, nonzero_masks, tile_noise
from dfmcodec.codecs.wavelet.traversal import traverse
from dfmcodec.container.layout import container_bytes
from dfmcodec.entropy import LAPLACE_COUNT, SymbolEncoder, best_laplace_index, laplace
from dfmcodec.entropy.streams import StreamReader, check_length, check_of
from dfmcodec.entropy.tables import MAX_SYMBOL
from dfmcodec.errors import CorruptError, TruncatedError
from dfmcodec.image.region import Region
from dfmcodec.models import Model
from dfmcodec.threads import in_one_thread, in_rounds

TILE_LENGTH = struct.Struct("<I")  # the length of a tile stream
_FEW_SYMBOLS = 1 << 16  # of a tile: smaller ones mostly run Python code, whose threads wait for each other


def wavelet_file_bytes(tiling: Tiling) -> int:
    """Returns the size of a wavelet file without range-coded streams and optional sections."""
    tiles = len(tiling.tiles)
    lengths = tiles * TILE_LENGTH.size if tiles > 1 else 0
    return container_bytes(Model.WAVELET, is_tiled=tiles > 1) + tiles * tiling.channels + lengths


def low_differences(low: Symbols) -> Symbols:
    """Returns the symbols of a low-pass band as differences, int32 [h, w].

    Each symbol is predicted from the symbol above; in the first row, from the symbol to the left.
    """
    differences = low.copy()
    differences[1:] -= low[:-1]
    differences[0, 1:] -= low[0, :-1]
    return differences


def undo_low_differences(differences: Symbols) -> Symbols:
    """Returns the low-pass band. Inverts `low_differences`. Raises CorruptError if the sums exceed
    the range of symbols.
    """
    sums = differences.astype(np.int64)
    sums[0] = np.cumsum(sums[0])
    sums = np.cumsum(sums, axis=0)
    if sums.size and np.abs(sums).max() > MAX_SYMBOL:
        msg = "the low-pass band exceeds its range; the file is damaged"
        raise CorruptError(msg)
    return sums.astype(np.int32)


class SymbolWriter:
    """The encoder of a tile's symbols, used during its traversal."""

    def __init__(self, context: ContextModel) -> None:
        self._coder = SymbolEncoder()
        self._low_tables = bytearray()
        self._context = context

    def write_low(self, low: Symbols) -> None:
        """Encodes the coarsest low-pass band, int32 [C, h, w]."""
        for band in low:
            differences = low_differences(band).ravel()
            index = best_laplace_index(differences)
            self._low_tables.append(index)
            self._coder.encode(differences, laplace(index))

    def write_pass(self, symbols: Symbols, choice: TableChoice) -> None:
        """Encodes the symbols of a coding pass, int32 [N]."""
        self._coder.encode_sorted(symbols * choice.sign, choice.table, self._context.table_set)

    def to_bytes(self) -> bytes:
        """Returns the tile stream: the Laplace indices of the low-pass band, then the range-coded
        stream.
        """
        return bytes(self._low_tables) + self._coder.to_bytes()


class _EncodingSource:
    """A source of given symbols that also encodes them; see `codecs.wavelet.traversal.Source`."""

    def __init__(self, symbols: Symbols, context: ContextModel) -> None:
        self.writer = SymbolWriter(context)
        self._symbols = symbols
        self._used = 0

    def _take(self, count: int) -> Symbols:
        self._used += count
        return self._symbols[self._used - count : self._used]

    def low_symbols(self, shape: tuple[int, int, int]) -> Symbols:
        """Returns the coarsest low-pass band, int32 [C, h, w]."""
        low = self._take(int(np.prod(shape))).reshape(shape)
        self.writer.write_low(low)
        return low

    def symbols(self, coding_pass: CodingPass, choice: TableChoice, causal: CausalContext) -> Symbols:
        """Returns the symbols of a coding pass, int32 [N]."""
        symbols = self._take(len(choice.table))
        self.writer.write_pass(symbols, choice)
        return symbols


class SymbolReader:
    """The decoder of a tile stream: a source of symbols; see `codecs.wavelet.traversal.Source`.
    Raises CorruptError if the stream does not start with Laplace indices.
    """

    def __init__(self, stream: TileStream, channels: int, context: ContextModel) -> None:
        if len(stream.body) < channels or max(stream.body[:channels]) >= LAPLACE_COUNT:
            msg = "the latents section does not start with its tables; the file is damaged"
            raise CorruptError(msg)
        self._low_tables = stream.body[:channels]
        self._reader = StreamReader(stream.body[channels:], stream.missing_bytes)
        self._context = context

    def low_symbols(self, shape: tuple[int, int, int]) -> Symbols:
        """Returns the coarsest low-pass band, int32 [C, h, w]. Raises TruncatedError if the stream
        ends before the band does; CorruptError if the stream is invalid.
        """
        count, size = shape[1] * shape[2], shape[1:]
        bands = [self._reader.decode([(laplace(index), count)]).reshape(size) for index in self._low_tables]
        return np.stack([undo_low_differences(band) for band in bands])

    def symbols(self, coding_pass: CodingPass, choice: TableChoice, causal: CausalContext) -> Symbols:
        """Returns the symbols of a coding pass, int32 [N]. Raises TruncatedError if the stream ends
        before the pass does; CorruptError if the stream is invalid.
        """
        symbols = self._reader.decode_sorted(choice.table, self._context.table_set)
        symbols *= choice.sign
        return symbols


@dataclass(frozen=True)
class LatentsBody:
    """The body of the latents section, with the checks of its symbols."""

    data: bytes  # the bytes that the file still contains
    missing_bytes: int = 0  # the number of bytes that are missing at the end
    checks: Sequence[int] | None = None  # the symbol checks, tile by tile; None if the file has none

    def tile_streams(self, count: int) -> list[TileStream]:
        """Returns the tile streams of an image of `count` tiles. Inverts `join_tiles`. Raises
        CorruptError if the lengths of the tile streams do not add up to the section; TruncatedError
        if the section ends within these lengths.
        """
        start = count * TILE_LENGTH.size if count > 1 else 0
        size = len(self.data) + self.missing_bytes
        if len(self.data) < start and self.missing_bytes:
            msg = "no part of the image can be decoded: the latents section ends within the lengths of its tiles"
            raise TruncatedError(msg)
        lengths = [size]
        if count > 1:
            is_complete = len(self.data) >= start
            lengths = [length for (length,) in TILE_LENGTH.iter_unpack(self.data[:start])] if is_complete else []
        if start + sum(lengths) != size or len(lengths) != count:
            msg = "the lengths of the tiles do not add up to the latents section; the file is damaged"
            raise CorruptError(msg)
        streams, per_tile = [], len(self.checks or ()) // count
        for number, (first, last) in enumerate(pairwise(accumulate(lengths, initial=start))):
            body = self.data[first:last]
            checks = None if self.checks is None else self.checks[number * per_tile : (number + 1) * per_tile]
            streams.append(TileStream(body, last - first - len(body), checks))
        return streams


def tile_checks(symbols: Symbols, geometry: Geometry, finest_level: int = 0) -> list[int]:
    """Returns the checks of a tile's symbols, int32 in coding order: low-pass band, then levels
    from coarse to fine.
    """
    ends = [geometry.symbol_count(level) for level in range(geometry.levels, finest_level - 1, -1)]
    coded = symbols.astype("<i4", copy=False)
    return [check_of(coded[first:last].data) for first, last in pairwise([0, *ends])]


def wrong_level(stream: TileStream, symbols: Symbols, geometry: Geometry, finest_level: int = 0) -> int | None:
    """Returns the coarsest decomposition level of a tile whose check does not match: the number of
    levels for the low-pass band; None if all symbols match, or there are no checks.
    """
    if stream.checks is None:
        return None
    checks = tile_checks(symbols, geometry, finest_level)
    levels = range(geometry.levels, finest_level - 1, -1)
    compared = zip(levels, checks, stream.checks, strict=False)
    return next((level for level, check, expected in compared if check != expected), None)


def write_symbols(tiling: Tiling, q_step: int, context: ContextModel, tile_symbols: Sequence[TileSymbols]) -> bytes:
    """Returns the latents section, given the symbols of each tile."""
    bodies = []
    for tile, symbols in zip(tiling.tiles, tile_symbols, strict=True):
        source = _EncodingSource(symbols.values, context)
        traverse(tile.geometry, q_step, context, source)
        bodies.append(source.writer.to_bytes())
    return join_tiles(bodies)


def join_tiles(bodies: Sequence[bytes]) -> bytes:
    """Returns the latents section of tile streams: their lengths if there are several, then the
    streams.
    """
    lengths = [TILE_LENGTH.pack(len(body)) for body in bodies] if len(bodies) > 1 else []
    return b"".join([*lengths, *bodies])


# see `read_tile`
ReadTile = Callable[[int, TileStream, Geometry, int, ContextModel, int, Int32], tuple[Symbols, Int32]]


def read_tile(
    number: int,
    stream: TileStream,
    geometry: Geometry,
    q_step: int,
    context: ContextModel,
    finest_level: int,
    out: Int32 | None = None,
) -> tuple[Symbols, Int32]:
    """Decodes a tile with a complete stream. Returns the symbols and the samples of the tile; see
    `codecs.wavelet.traversal.traverse`. Raises CorruptError if the stream is invalid, or its
    symbols do not match their checks.
    """
    reader = SymbolReader(stream, geometry.channels, context)
    symbols, samples = traverse(geometry, q_step, context, reader, finest_level, out=out)
    wrong = wrong_level(stream, symbols, geometry, finest_level)
    if wrong is not None:
        place = "the low-pass band" if wrong == geometry.levels else f"decomposition level {wrong}"
        msg = (
            f"the file is intact, but the decoded symbols of {place} are not those that were written: "
            "the encoder or the decoder computed wrong values; please report this"
        )
        raise CorruptError(msg)
    return symbols, samples


def read_symbols(
    tiling: Tiling,
    q_step: int,
    context: ContextModel,
    body: LatentsBody,
    region: Region | None = None,
    finest_level: int = 0,
    read: ReadTile = read_tile,
    texture: Texture | None = None,
) -> tuple[tuple[TileSymbols, ...], Int32, Region]:
    """Decodes the tiles that a region touches, or all, in parallel. Inverts `write_symbols`.

    Returns the symbols of each of these tiles; their linear synthesis in units, int32 [C, H', W'],
    with the noise of a texture as C further planes; and the region of the image that they cover.
    With a finest level above 0, the synthesis is the low-pass band, whose samples are
    2^finest_level pixels apart. Raises CorruptError if the section
    is not valid; TruncatedError if nothing of the region is left.
    """
    streams = body.tile_streams(len(tiling.tiles))
    wanted = Region(0, 0, tiling.height, tiling.width) if region is None else region
    covered, numbers = tiling.covering(wanted)
    if all(streams[number].missing_bytes and len(streams[number].body) <= tiling.channels for number in numbers):
        msg = "nothing of the image or region can be decoded: its latents are missing from the start"
        raise TruncatedError(msg)
    for number in numbers:
        size = len(streams[number].body) + streams[number].missing_bytes
        check_length(size, tiling.tiles[number].geometry.symbol_count())
    cell = 1 << finest_level  # side in pixels of the cell that a sample of the low-pass band covers
    planes = tiling.channels * (1 + (texture is not None))
    samples = np.empty((planes, -(-covered.height // cell), -(-covered.width // cell)), dtype=np.int32)

    def decode(number: int) -> TileSymbols:
        tile = tiling.tiles[number]
        top, left = (tile.top - covered.top) // cell, (tile.left - covered.left) // cell
        height, width = tile.geometry.low_sizes[finest_level]
        out = samples[:, top : top + height, left : left + width]
        of_tile = tile.geometry, q_step, context, finest_level, out[: tiling.channels]
        tile_symbols, _ = read(number, streams[number], *of_tile)
        if texture is not None:
            masks = nonzero_masks(tile_symbols, tile.geometry, finest_level)
            tile_noise(texture, tile, masks, finest_level, out[tiling.channels :])
        return TileSymbols.of(tile_symbols)

    largest = max(tiling.tiles[number].geometry.symbol_count(finest_level) for number in numbers)
    if largest < _FEW_SYMBOLS:
        with in_one_thread():
            return tuple(map(decode, numbers)), samples, covered
    return tuple(in_rounds(decode, numbers)), samples, covered
