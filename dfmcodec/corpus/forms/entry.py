"""Shared types of the forms of a corpus: entries and writers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dfmcodec.corpus.store import Store
from dfmcodec.errors import LimitError, MissingPackageError, is_installed

NO_SUFFIX = ".img"  # extension of images without one in their source
# Limit of unpacked data of a Parquet file for a shard: the size of the file, or this multiple of
# it, between these bounds. Legitimate files stay far below, because images are hardly compressible.
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
    row: Any = None  # a `parquet.Row`
    same_as: str = ""  # another source with the same output
    is_numbered: bool = False  # the name is the number of its row


def without_dot(path: str) -> str:
    """Removes a leading `./`, which `tar -C folder .` adds to all names."""
    while path.startswith("./"):
        path = path[2:]
    return path


class Budget:
    """Limit of unpacked data of a file for a shard. A few kilobytes of an untrusted file can unpack
    to any number of gigabytes.
    """

    def __init__(self, source: str, size_bytes: int) -> None:
        self._source = source  # for messages
        self._size_bytes = size_bytes
        self._most = max(size_bytes, min(MAX_UNPACKED_BYTES, max(MIN_UNPACKED_BYTES, UNPACKED_RATIO * size_bytes)))
        self._spent = 0

    def check(self, unpacked_bytes: int) -> None:
        """Raises a LimitError if more data would exceed the limit."""
        if self._spent + unpacked_bytes > self._most:
            msg = (
                f"{self._source} has {self._size_bytes} bytes, but unpacks to more than the {self._most} that are "
                "allowed in a shard; use a smaller --shard-size, or write the file anew with less compression"
            )
            raise LimitError(msg)

    def spend(self, unpacked_bytes: int) -> None:
        """Adds to the unpacked data. Raises a LimitError if it exceeds the limit."""
        self.check(unpacked_bytes)
        self._spent += unpacked_bytes


class Writer(ABC):
    """Writer of the outputs of a shard, in order. Its methods raise an OutputError if the store
    cannot be used.
    """

    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        self._name = name  # of the tar or Parquet file

    @abstractmethod
    def add(self, name: str, data: bytes, entry: Entry) -> None:
        """Adds the output of an entry. The name is a path with slashes."""

    def leave_out(self, entry: Entry) -> None:  # noqa: B027
        """Handles an image without an output."""

    def keep(self, name: str, data: bytes) -> None:  # noqa: B027
        """Adds a file beside images, if the form supports this."""

    def packed(self) -> bytes | None:
        """Returns the tar or Parquet file; None where each output is a file."""
        return None

    def close(self) -> int:
        """Writes what is not written yet. Returns the size of the tar or Parquet file, or 0."""
        data = self.packed()
        if data is None:
            return 0
        self._store.write(self._name, data)
        return len(data)


def require_pyarrow() -> None:
    """Raises a MissingPackageError if pyarrow is not installed, without importing it."""
    if not is_installed("pyarrow"):
        msg = "a corpus needs pyarrow, for its rows and for Parquet; install it: pip install 'dfmcodec[corpus]'"
        raise MissingPackageError(msg)
