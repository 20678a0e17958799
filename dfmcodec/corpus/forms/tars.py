"""Corpora of tars in WebDataset format, in which members form samples by their names."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import IO, cast

from dfmcodec.corpus.forms.entry import NO_SUFFIX, Entry, Writer, without_dot
from dfmcodec.corpus.sources import Item
from dfmcodec.corpus.store import Store, open_url
from dfmcodec.errors import ImageError
from dfmcodec.files.atomic import EXTENSION
from dfmcodec.image.open_image import MAX_HELD_BYTES
from dfmcodec.image.read_image import IMAGE_SUFFIXES

_SUFFIXES = IMAGE_SUFFIXES | {EXTENSION, NO_SUFFIX}  # extensions of members that are images
_END = bytes(tarfile.BLOCKSIZE)  # block of zeros; two of them end a tar


def is_image_member(name: str) -> bool:
    """Indicates by its name whether a member is an image."""
    return PurePosixPath(name).suffix.lower() in _SUFFIXES


def entries(item: Item) -> Iterator[Entry]:
    """Yields the members of a tar that are no folders, in order. Nothing is unpacked to disk.
    Raises DfmError if the tar cannot be opened, and ImageError if the tar is damaged or truncated.
    It is raised after the intact members.
    """
    number = 0
    try:
        with open_url(item.source) as file, tarfile.open(fileobj=file, mode="r:") as tar:
            for member in tar:
                number += 1
                if member.isdir():
                    continue
                is_image = is_image_member(member.name)
                yield Entry(f"{item.source}#{member.name}", without_dot(member.name), _reader(tar, member), is_image)
            file.seek(tar.offset)  # tarfile accepts a tar that ends between members as complete
            if file.read(len(_END)) != _END:
                msg = "its end is missing"
                raise tarfile.ReadError(msg)
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        msg = f"{item.source} is not a complete tar; after {number} members: {error}"
        raise ImageError(msg) from error


def _reader(tar: tarfile.TarFile, member: tarfile.TarInfo) -> Callable[[], bytes]:
    """Returns a function that reads a member while the tar is open."""

    def read() -> bytes:
        if not member.isfile():
            fault = "is a link or a device, not a file; make the tar without such members"
        elif member.size > MAX_HELD_BYTES:
            fault = f"has more than {MAX_HELD_BYTES >> 20} MiB, the limit for a member"
        elif member.issparse():  # a few bytes in the tar can represent any number of zeros
            fault = "is sparse: the tar does not hold all of its bytes; make the tar without --sparse"
        else:
            try:
                return cast("IO[bytes]", tar.extractfile(member)).read()
            except (tarfile.TarError, OSError) as error:
                fault = f"cannot be read: {error}; the tar may be cut off"
        msg = f"{member.name} {fault}"
        raise ImageError(msg)

    return read


class TarWriter(Writer):
    """Writer of one tar in memory. The tar does not depend on the time or host."""

    def __init__(self, store: Store, name: str) -> None:
        super().__init__(store, name)
        self._bytes = io.BytesIO()
        self._tar = tarfile.open(fileobj=self._bytes, mode="w", format=tarfile.PAX_FORMAT)

    def add(self, name: str, data: bytes, entry: Entry) -> None:
        self.keep(name, data)

    def keep(self, name: str, data: bytes) -> None:
        member = tarfile.TarInfo(name)
        member.size = len(data)
        self._tar.addfile(member, io.BytesIO(data))

    def packed(self) -> bytes:
        self._tar.close()
        return self._bytes.getvalue()
