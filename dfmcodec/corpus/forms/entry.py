"""What the forms of a corpus share: an image among others, and what takes outputs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dfmcodec.errors import MissingPackageError, is_installed


@dataclass(frozen=True)
class Entry:
    """An image, or a file that lies beside images in a tar.

    Args:
        source: Where it comes from, for people: a path, a URL, a member or a row of one.
        name: Its path with slashes, with the extension of the source where it has one.
        read: Gives its bytes. It raises a `DfmError` where there are none.
        is_image: Whether it is to be encoded.
        row: The row of a Parquet file that it stands in, a `parquet.Row`.
    """

    source: str
    name: str
    read: Callable[[], bytes]
    is_image: bool = True
    row: Any = None


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
        """Is told of an image without an output."""

    def keep(self, name: str, data: bytes) -> None:  # noqa: B027
        """Takes a file that lies beside images, where the form has a place for it."""

    @abstractmethod
    def close(self) -> None:
        """Writes what is not written yet.

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
