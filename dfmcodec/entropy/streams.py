"""Range-coded streams that may be truncated."""

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
_SPARE_BITS = 128  # the range coder omits zero words at its end


class StreamReader:
    """Decoder of a range-coded stream that may be truncated.

    A truncated stream is decoded with its smallest and its largest possible continuation. Decoded
    symbols increase with the number that the stream represents, so symbols that agree in both are
    correct. The coder reads 64 bits at a time. When none of these is from the file, the two results
    differ.
    """

    def __init__(self, stream: bytes, missing_bytes: int = 0) -> None:
        continuations = [stream]
        if missing_bytes:
            added = min(missing_bytes, _CONTINUATION_BYTES + -len(stream) % 4)
            continuations = [stream + added * fill for fill in (b"\x00", b"\xff")]
        self._coders = [SymbolDecoder(coded) for coded in continuations]

    def decode(self, runs: Sequence[Run]) -> Symbols:
        """Decodes the next symbols with several tables, int32 [N]. Raises TruncatedError if the
        stream ends before the symbols; CorruptError if the stream is invalid.
        """
        return self._agreed(lambda coder: coder.decode_runs(runs))

    def decode_each(self, numbers: npt.NDArray[np.int16], tables: TableSet) -> Symbols:
        """Decodes the next symbols, each with its own table, int32 [N]. Raises the same errors as
        `decode`.
        """
        return self._agreed(lambda coder: coder.decode_each(numbers, tables))

    def decode_sorted(self, numbers: npt.NDArray[np.int16], tables: TableSet) -> Symbols:
        """Decodes the next symbols, coded in the order of their tables, int32 [N]. Raises the same
        errors as `decode`.
        """
        return self._agreed(lambda coder: coder.decode_sorted(numbers, tables))

    def _agreed(self, decode: Callable[[SymbolDecoder], Symbols]) -> Symbols:
        first, *others = [decode(coder) for coder in self._coders]
        if not all(np.array_equal(first, other) for other in others):
            msg = "the section ends early"
            raise TruncatedError(msg)
        return first


def check_of(data: bytes | memoryview) -> int:
    """Returns the lower half of the CRC-32 of some bytes."""
    return zlib.crc32(data) & 0xFFFF


def check_length(body_bytes: int, symbol_count: int) -> None:
    """Raises an error for a tile stream that is too short for its symbols, before memory is
    allocated.

    Every table leaves a probability of at least 2^-24 for each entry other than the most probable
    one. A symbol therefore takes at least 1.1e-5 bits, and a byte holds at most about 720,000
    symbols. Raises CorruptError if the stream is too short.
    """
    least_bits = -symbol_count * log2(1 - (TABLE_SIZE - 1) / (1 << PRECISION_BITS))
    if 8 * body_bytes + _SPARE_BITS < least_bits:
        msg = f"{body_bytes} bytes cannot hold {symbol_count} symbols; the file is damaged"
        raise CorruptError(msg)


class EndOfSymbols(Exception):
    """The source has no symbols for this and all later passes.

    These symbols, and their coefficients, are zero.
    """
