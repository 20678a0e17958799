"""The grids section: symbols as range-coded bytes, from the coarsest grid to the finest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from dfmcodec._types import Symbols
from dfmcodec.codecs.losses import lost_details
from dfmcodec.codecs.overfitted.context import GridChoice, GridNetwork, Wavefront, grid_tables
from dfmcodec.codecs.overfitted.traversal import traverse_grids
from dfmcodec.entropy import SymbolEncoder
from dfmcodec.entropy.streams import EndOfSymbols, StreamReader, check_length, check_of
from dfmcodec.entropy.tables import MAX_SYMBOL
from dfmcodec.errors import CorruptError, FormatError


@dataclass(frozen=True)
class _Writer:
    """A source of the symbols of given grids, which encodes them."""

    grids: Sequence[Symbols]
    coder: SymbolEncoder = field(default_factory=SymbolEncoder)

    def symbols(self, front: Wavefront, choice: GridChoice) -> Symbols:
        """Returns the symbols of a wavefront, int32 [N]."""
        symbols = front.of_grid(self.grids[front.level])
        self.coder.encode_each((symbols - choice.middle) * choice.sign, choice.table, grid_tables())
        return symbols


@dataclass(frozen=True)
class _Reader:
    """A source of symbols that decodes a stream."""

    stream: StreamReader
    losses: list[Wavefront] | None  # receives the first wavefront that cannot be decoded; None to raise errors

    def symbols(self, front: Wavefront, choice: GridChoice) -> Symbols:
        """Returns the symbols of a wavefront, int32 [N]. Raises FormatError if the wavefront cannot
        be decoded, and there is no list of losses, and EndOfSymbols if the wavefront cannot be
        decoded, and the list of losses received it.
        """
        try:
            decoded = self.stream.decode_each(choice.table, grid_tables()) * choice.sign + choice.middle
            if decoded.size and np.abs(decoded).max() > MAX_SYMBOL:
                msg = f"the grids section holds a symbol beyond {MAX_SYMBOL}; the file is damaged"
                raise CorruptError(msg)
        except FormatError:
            if self.losses is None:
                raise
            self.losses.append(front)
            raise EndOfSymbols from None
        return decoded


def grid_checks(grids: Sequence[Symbols]) -> list[int]:
    """Returns the checks of the symbols of each grid, from the coarsest to the finest."""
    return [check_of(np.ascontiguousarray(grid, dtype="<i4").tobytes()) for grid in reversed(grids)]


def write_grids(grids: Sequence[Symbols], network: GridNetwork) -> bytes:
    """Returns the grids section."""
    writer = _Writer(grids)
    traverse_grids([grid.shape for grid in grids], network, writer)
    return writer.coder.to_bytes()


@dataclass(frozen=True)
class GridsBody:
    """The body of the grids section, with the checks of its symbols."""

    data: bytes  # the bytes that the file still has
    missing_bytes: int = 0  # at the end
    checks: Sequence[int] | None = None  # of the grids, from the coarsest to the finest


def read_grids(
    body: GridsBody, sizes: Sequence[tuple[int, int]], network: GridNetwork, losses: list[str] | None = None
) -> list[Symbols]:
    """Decodes the grids: the inverse of `write_grids`. `sizes` are the (rows, columns) of the
    grids, from the finest to the coarsest. `losses` receives a sentence about lost data, whose
    symbols are then 0; None raises errors. Raises CorruptError if the section is not valid or, with
    `losses`, nothing can be decoded, and TruncatedError if it ends early.
    """
    check_length(len(body.data) + body.missing_bytes, sum(rows * columns for rows, columns in sizes))
    lost: list[Wavefront] | None = None if losses is None else []
    reader = _Reader(StreamReader(body.data, body.missing_bytes), lost)
    grids = traverse_grids(sizes, network, reader)
    wrong = _first_wrong(grids, body.checks)
    if losses is None or lost is None:
        if wrong is not None:
            msg = (
                f"the file is intact, but the decoded symbols of grid {wrong} are not those that were written: "
                "the encoder or the decoder computed wrong values; please report this"
            )
            raise CorruptError(msg)
        return grids
    end = lost[0].level if lost else None
    is_cut = body.missing_bytes > 0
    if wrong is not None and (end is None or wrong > end or (wrong == end and not is_cut)):
        end = wrong
        for level in range(wrong + 1):
            grids[level][:] = 0
    if end is not None:
        state = "missing" if is_cut else "damaged"
        if end == len(sizes) - 1:
            msg = f"nothing of the image can be decoded: its grids are {state} from the start"
            raise CorruptError(msg)
        losses.append(lost_details(end, state))
    return grids


def _first_wrong(grids: Sequence[Symbols], checks: Sequence[int] | None) -> int | None:
    """Returns the coarsest grid whose symbols do not match their check; None if all match."""
    if checks is None:
        return None
    levels = range(len(grids) - 1, -1, -1)
    return next(
        (level for level, got, want in zip(levels, grid_checks(grids), checks, strict=True) if got != want), None
    )
