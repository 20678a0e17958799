"""Where an image file comes from: a path, bytes or a stream."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from dfmcodec.errors import ImageError
from dfmcodec.files.atomic import open_file
from dfmcodec.image.open_image import MAX_HELD_BYTES, may_be_image

_PIECE_BYTES = 1 << 20  # of what is read from a stream at a time


@dataclass(frozen=True)
class Source:
    """An image file that can be opened again and again, so that each reader has its own place in
    it.

    Args:
        name: The name in messages.
        open: Opens the file; it may be sought in.
        size_bytes: Its size.
    """

    name: str
    open: Callable[[], BinaryIO]
    size_bytes: int

    @classmethod
    def from_path(cls, path: Path) -> Source:
        """A file by its name. Of a file on a disk, nothing is read yet.

        Raises:
            DfmError: It cannot be opened.
            ImageError: It is a pipe or a device, and `from_stream` refuses it.
        """
        with open_file(path) as file:
            state = os.fstat(file.fileno())
            if not stat.S_ISREG(state.st_mode):
                return cls.from_stream(file, str(path))
        return cls(str(path), lambda: open_file(path), state.st_size)

    @classmethod
    def from_bytes(cls, data: bytes, name: str) -> Source:
        """A file in memory."""
        return cls(name, lambda: io.BytesIO(data), len(data))

    @classmethod
    def from_stream(cls, stream: BinaryIO, name: str) -> Source:
        """Reads a stream to its end, if it begins as an image does.

        Args:
            stream: A pipe or any binary file.
            name: The name in messages.

        Raises:
            ImageError: It begins as no image does, or it has more than `MAX_HELD_BYTES`.
        """
        head = stream.read(_PIECE_BYTES)
        data = bytearray(head)
        goes_on = may_be_image(head)  # if not, the head is enough to say so
        while goes_on and (piece := stream.read(_PIECE_BYTES)):
            data += piece
            if len(data) > MAX_HELD_BYTES:
                msg = f"{name} has more than {MAX_HELD_BYTES >> 20} MiB, the limit for a pipe; name a file"
                raise ImageError(msg)
        return cls.from_bytes(bytes(data), name)
