"""Range-coded streams whose end may be missing."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from math import log2

import numpy as np
import numpy.typing as npt

from dfmcodec._types import Symbols
from dfmcodec.entropy import Run, SymbolDecoder, TableSet
from dfmcodec.entropy.tables import PRECISION_BITS, TABLE_SIZE
from dfmcodec.errors import CorruptError, TruncatedError

_CONTINUATION_BYTES = 16
_SPARE_BITS = 128  # the range coder leaves out words of zeros at its end


class StreamReader:
    """Decodes a range-coded stream, also one whose end is missing.

    If the end of the stream is missing, symbols are decoded with both its least and its largest
    possible continuation. Decoded symbols ascend with the number that a stream represents, so the
    symbols on which both agree are those that were written. The coder reads 64 bits at a time. Once
    none of them is from the file, the two continuations no longer agree.

    Args:
        stream: The bytes that the file still has.
        missing_bytes: The number of bytes that are missing at the end.
    """

    def __init__(self, stream: bytes, missing_bytes: int = 0) -> None:
        continuations = [stream]
        if missing_bytes:
            added = min(missing_bytes, _CONTINUATION_BYTES + -len(stream) % 4)
            continuations = [stream + added * fill for fill in (b"\x00", b"\xff")]
        self._coders = [SymbolDecoder(coded) for coded in continuations]

    def decode(self, runs: Sequence[Run]) -> Symbols:
        """The next symbols under several tables, int32 [N].

        Raises:
            TruncatedError: The stream ends before they do.
            CorruptError: The stream is invalid.
        """
        return self._agreed(lambda coder: coder.decode_runs(runs))

    def decode_each(self, numbers: npt.NDArray[np.int16], tables: TableSet) -> Symbols:
        """The next symbols, each under a table of its own, int32 [N]; raises as `decode` does."""
        return self._agreed(lambda coder: coder.decode_each(numbers, tables))

    def decode_sorted(self, numbers: npt.NDArray[np.int16], tables: TableSet) -> Symbols:
        """The next symbols, in the order of their tables, int32 [N]; raises as `decode` does."""
        return self._agreed(lambda coder: coder.decode_sorted(numbers, tables))

    def _agreed(self, decode: Callable[[SymbolDecoder], Symbols]) -> Symbols:
        first, *others = [decode(coder) for coder in self._coders]
        if not all(np.array_equal(first, other) for other in others):
            msg = "the section ends early"
            raise TruncatedError(msg)
        return first


def check_of(data: bytes | memoryview) -> int:
    """The lower half of the CRC-32 of some bytes."""
    return zlib.crc32(data) & 0xFFFF


def check_length(body_bytes: int, symbol_count: int) -> None:
    """Refuses, before memory is spent, a tile stream that is too short for its symbols.

    The most probable entry of any table leaves at least one of 2^24 parts to each other entry. A
    symbol therefore takes at least 1.1e-5 bits, and a byte holds no more than some 720,000 symbols.

    Args:
        body_bytes: The length of the tile stream, in bytes.
        symbol_count: The number of symbols of the tile.

    Raises:
        CorruptError: The stream is too short.
    """
    least_bits = -symbol_count * log2(1 - (TABLE_SIZE - 1) / (1 << PRECISION_BITS))
    if 8 * body_bytes + _SPARE_BITS < least_bits:
        msg = f"{body_bytes} bytes cannot hold {symbol_count} symbols; the file is damaged"
        raise CorruptError(msg)


class EndOfSymbols(Exception):
    """A source has no symbols for this pass and all later ones.

    These symbols, and their coefficients, count as zeros.
    """
