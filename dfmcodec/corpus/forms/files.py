"""Corpora of files: each image is a separate object."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from dfmcodec.corpus.forms.entry import Entry, Writer
from dfmcodec.corpus.sources import Item
from dfmcodec.corpus.store import Store, read_url


def entries(item: Item) -> Iterator[Entry]:
    """Yields the image of an item."""
    yield Entry(item.source, item.name, partial(read_url, item.source), same_as=item.same_as)


class FilesWriter(Writer):
    """Writer that writes each output immediately."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, name: str, data: bytes, entry: Entry) -> None:
        self._store.write(name, data)

    def close(self) -> int:
        """Returns 0, as all is written."""
        return 0
