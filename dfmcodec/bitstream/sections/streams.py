"""Range-coded streams whose end may be missing."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from dfmcodec._types import Symbols
from dfmcodec.entropy import Run, SymbolDecoder, TableSet
from dfmcodec.errors import TruncatedError

_CONTINUATION_BYTES = 16


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
