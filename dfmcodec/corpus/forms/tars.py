"""Corpora of tars in WebDataset format, in which members form samples by their names."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from functools import partial
from typing import IO, cast

from dfmcodec.corpus.forms.entry import Entry, Writer
from dfmcodec.corpus.sources import is_image
from dfmcodec.corpus.store import Store, open_url
from dfmcodec.errors import DfmError, ImageError
from dfmcodec.image.open_image import MAX_HELD_BYTES

_END = bytes(tarfile.BLOCKSIZE)  # block of zeros; two of them end a tar


def entries(source: str) -> Iterator[Entry]:
    """Yields the members of a tar that are no folders, in order. Nothing is unpacked to disk.
    Raises DfmError if the tar cannot be read, or after its intact members if it is damaged or
    truncated.
    """
    try:
        with open_url(source) as file, tarfile.open(fileobj=file, mode="r:") as tar:
            for member in tar:
                if member.isdir():
                    continue
                name = member.name.removeprefix("./")  # which `tar -C folder .` adds to all names
                yield Entry(f"{source}#{member.name}", name, partial(_member_bytes, tar, member), is_image(name))
            file.seek(tar.offset)  # tarfile accepts a tar that ends between members as complete
            if file.read(len(_END)) != _END:
                msg = "its end is missing"
                raise tarfile.ReadError(msg)
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        msg = f"{source} is not a complete tar: {error}"
        raise DfmError(msg) from error


def _member_bytes(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    """Reads a member while the tar is open."""
    if not member.isfile():
        fault = "is a link or a device, not a file; make the tar without such members"
    elif member.size > MAX_HELD_BYTES:
        fault = f"has more than {MAX_HELD_BYTES >> 20} MiB, the limit for a member"
    elif member.issparse():  # a few bytes in the tar can represent any number of zeros
        fault = "is sparse: the tar does not hold all of its bytes; make the tar without --sparse"
    else:
        return cast("IO[bytes]", tar.extractfile(member)).read()
    msg = f"{member.name} {fault}"
    raise ImageError(msg)


class TarWriter(Writer):
    """Writer of one tar in memory. The tar does not depend on the time or host."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._bytes = io.BytesIO()
        self._tar = tarfile.open(fileobj=self._bytes, mode="w", format=tarfile.PAX_FORMAT)

    def add(self, name: str, data: bytes, entry: Entry) -> None:
        member = tarfile.TarInfo(name)
        member.size = len(data)
        self._tar.addfile(member, io.BytesIO(data))

    def packed(self) -> bytes:
        self._tar.close()
        return self._bytes.getvalue()
