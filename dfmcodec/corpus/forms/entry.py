"""What the forms of a corpus share: an image among others, and what takes outputs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dfmcodec.errors import LimitError, MissingPackageError, is_installed

NO_SUFFIX = ".img"  # the extension of images whose source gives none
# What a Parquet file may hold for a shard, once it is unpacked: as much as the file has bytes, or
# more by this ratio, between these bounds. An honest one is far below, as images do not compress.
UNPACKED_RATIO = 100
MIN_UNPACKED_BYTES = 64 << 20
MAX_UNPACKED_BYTES = 4 << 30


@dataclass(frozen=True)
class Entry:
    """An image, or a file that lies beside images in a tar.

    Args:
        source: Where it comes from, for people: a path, a URL, a member or a row of one.
        name: Its path with slashes, with the extension of the source where it has one.
        read: Gives its bytes. It raises a `DfmError` where there are none.
        is_image: Whether it is to be encoded.
        row: The row of a Parquet file that it stands in, a `parquet.Row`.
        same_as: Another source, where that has the same output as this one.
        is_numbered: Whether its name is the number of its row, as its source gives no name.
    """

    source: str
    name: str
    read: Callable[[], bytes]
    is_image: bool = True
    row: Any = None
    same_as: str = ""
    is_numbered: bool = False


def without_dot(path: str) -> str:
    """A path without a leading `./`, which `tar -C folder .` puts before all names."""
    while path.startswith("./"):
        path = path[2:]
    return path


class Budget:
    """How much may be unpacked of a file for a shard: a stranger's file of some kilobytes can stand
    for any number of gigabytes.

    Args:
        source: The file, for messages.
        size_bytes: Its size.
    """

    def __init__(self, source: str, size_bytes: int) -> None:
        self._source = source
        self._size_bytes = size_bytes
        self._most = max(size_bytes, min(MAX_UNPACKED_BYTES, max(MIN_UNPACKED_BYTES, UNPACKED_RATIO * size_bytes)))
        self._spent = 0

    def check(self, unpacked_bytes: int) -> None:
        """Refuses what would be too much together with what was unpacked before.

        Raises:
            LimitError: It would.
        """
        if self._spent + unpacked_bytes > self._most:
            msg = (
                f"{self._source} has {self._size_bytes} bytes, but unpacks to more than the {self._most} that are "
                "allowed in a shard; use a smaller --shard-size, or write the file anew with less compression"
            )
            raise LimitError(msg)

    def spend(self, unpacked_bytes: int) -> None:
        """Counts what was unpacked.

        Raises:
            LimitError: It was too much.
        """
        self.check(unpacked_bytes)
        self._spent += unpacked_bytes


class Writer(ABC):
    """Takes the outputs of a shard, in order."""

    @abstractmethod
    def add(self, name: str, data: bytes, entry: Entry) -> None:
        """Takes an output.

        Args:
            name: Its path, with slashes.
            data: Its bytes.
            entry: What it was made of.

        Raises:
            OutputError: It cannot be written.
        """

    def leave_out(self, entry: Entry) -> None:  # noqa: B027
        """Is called for an image without an output."""

    def keep(self, name: str, data: bytes) -> None:  # noqa: B027
        """Takes a file that lies beside images, where the form has a place for it."""

    @abstractmethod
    def close(self) -> int:
        """Writes what is not written yet.

        Returns:
            The size in bytes of the tar or Parquet file; 0 where each output is a file.

        Raises:
            OutputError: It cannot be written.
        """


def require_pyarrow() -> None:
    """Checks that pyarrow is installed, without importing it.

    Raises:
        MissingPackageError: It is not.
    """
    if not is_installed("pyarrow"):
        msg = "a corpus needs pyarrow, for its rows and for Parquet; install it: pip install 'dfmcodec[corpus]'"
        raise MissingPackageError(msg)
