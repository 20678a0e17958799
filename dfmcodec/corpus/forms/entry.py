"""Shared types of the forms of a corpus: entries and writers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

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

    Args:
        source: The file, for messages.
        size_bytes: The size of the file.
    """

    def __init__(self, source: str, size_bytes: int) -> None:
        self._source = source
        self._size_bytes = size_bytes
        self._most = max(size_bytes, min(MAX_UNPACKED_BYTES, max(MIN_UNPACKED_BYTES, UNPACKED_RATIO * size_bytes)))
        self._spent = 0

    def check(self, unpacked_bytes: int) -> None:
        """Raises an error if more data would exceed the limit.

        Raises:
            LimitError: The limit would be exceeded.
        """
        if self._spent + unpacked_bytes > self._most:
            msg = (
                f"{self._source} has {self._size_bytes} bytes, but unpacks to more than the {self._most} that are "
                "allowed in a shard; use a smaller --shard-size, or write the file anew with less compression"
            )
            raise LimitError(msg)

    def spend(self, unpacked_bytes: int) -> None:
        """Adds to the unpacked data.

        Raises:
            LimitError: The limit is exceeded.
        """
        self.check(unpacked_bytes)
        self._spent += unpacked_bytes


class Writer(ABC):
    """Writer of the outputs of a shard, in order."""

    @abstractmethod
    def add(self, name: str, data: bytes, entry: Entry) -> None:
        """Adds an output.

        Args:
            name: The path, with slashes.
            data: The contents.
            entry: The source of the output.

        Raises:
            OutputError: The output cannot be written.
        """

    def leave_out(self, entry: Entry) -> None:  # noqa: B027
        """Handles an image without an output."""

    def keep(self, name: str, data: bytes) -> None:  # noqa: B027
        """Adds a file beside images, if the form supports this."""

    @abstractmethod
    def close(self) -> int:
        """Writes what is not written yet.

        Returns:
            The size in bytes of the tar or Parquet file; 0 where each output is a file.

        Raises:
            OutputError: The data cannot be written.
        """


def require_pyarrow() -> None:
    """Raises an error if pyarrow is not installed, without importing it.

    Raises:
        MissingPackageError: pyarrow is not installed.
    """
    if not is_installed("pyarrow"):
        msg = "a corpus needs pyarrow, for its rows and for Parquet; install it: pip install 'dfmcodec[corpus]'"
        raise MissingPackageError(msg)
