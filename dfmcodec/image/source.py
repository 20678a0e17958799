"""Sources of image files: a path, bytes or a stream."""

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

_PIECE_BYTES = 1 << 20  # size of the pieces in which a stream is read


@dataclass(frozen=True)
class Source:
    """Image file that can be opened repeatedly, so that each reader has its own position."""

    name: str  # for messages
    open: Callable[[], BinaryIO]  # for seekable reading
    size_bytes: int

    @classmethod
    def from_path(cls, path: Path) -> Source:
        """Creates a source from a path. A file on disk is not read yet; others are streams.

        Raises DfmError if the file cannot be opened.
        """
        with open_file(path) as file:
            state = os.fstat(file.fileno())
            if not stat.S_ISREG(state.st_mode):
                return cls.from_stream(file, str(path))
        return cls(str(path), lambda: open_file(path), state.st_size)

    @classmethod
    def from_bytes(cls, data: bytes, name: str) -> Source:
        return cls(name, lambda: io.BytesIO(data), len(data))

    @classmethod
    def from_stream(cls, stream: BinaryIO, name: str) -> Source:
        """Reads a stream completely if its first bytes match a supported format.

        Raises ImageError for more than `MAX_HELD_BYTES`.
        """
        head = stream.read(_PIECE_BYTES)
        data = bytearray(head)
        is_candidate = may_be_image(head)  # otherwise the head suffices for the error message
        while is_candidate and (piece := stream.read(_PIECE_BYTES)):
            data += piece
            if len(data) > MAX_HELD_BYTES:
                msg = f"{name} has more than {MAX_HELD_BYTES >> 20} MiB, the limit for a pipe; name a file"
                raise ImageError(msg)
        return cls.from_bytes(bytes(data), name)
