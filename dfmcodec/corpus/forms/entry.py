"""Shared types of the forms of a corpus: entries and writers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dfmcodec.corpus.store import Store
from dfmcodec.errors import LimitError

# Limit of unpacked data of a Parquet file: its size, or this multiple of it between these bounds.
# Legitimate files stay far below, because images are hardly compressible.
UNPACKED_RATIO = 100
MIN_UNPACKED_BYTES = 64 << 20
MAX_UNPACKED_BYTES = 4 << 30


@dataclass(frozen=True)
class Entry:
    """Image, or file beside images in a tar."""

    source: str  # for messages: a path, a URL, or a member or row of one
    name: str  # with slashes, and with the extension of the source if it has one
    read: Callable[[], bytes]  # returns the bytes, or raises a `DfmError`
    is_image: bool = True  # whether to encode it
    row: Any = None  # of a Parquet file: a table of it without the image, and the index of the image column
    same_as: str = ""  # an earlier source with the same output


class Budget:
    """Limit of unpacked data of a file. A few kilobytes of an untrusted file can unpack to any
    number of gigabytes.
    """

    def __init__(self, source: str, size_bytes: int) -> None:
        self._source = source  # for messages
        self._size_bytes = size_bytes
        self._most = max(size_bytes, min(MAX_UNPACKED_BYTES, max(MIN_UNPACKED_BYTES, UNPACKED_RATIO * size_bytes)))
        self._spent = 0

    def check(self, unpacked_bytes: int, spend: bool = False) -> None:
        """Raises a LimitError if more data would exceed the limit. With `spend`, adds it."""
        if self._spent + unpacked_bytes > self._most:
            sizes = f"{self._size_bytes} bytes, but unpacks to more than the {self._most} that are allowed"
            msg = f"{self._source} has {sizes}; split it, or write it anew with less compression"
            raise LimitError(msg)
        self._spent += unpacked_bytes * spend


class Writer:
    """Writer of the outputs of a shard, in order, each as a file of the store. Raises OutputError
    if the store cannot be used.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, name: str, data: bytes, entry: Entry) -> None:
        """Adds the output of an entry. The name is a path with slashes."""
        self._store.write(name, data)

    def leave_out(self, entry: Entry) -> None:
        """Handles an image without an output."""

    def packed(self) -> bytes | None:
        """Returns the tar or Parquet file; None where each output is a file."""
        return None
