"""The forms that a corpus is read from and written to: files, tars, Parquet."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from dfmcodec.corpus.forms import files, parquet, tars
from dfmcodec.corpus.forms.entry import Entry, Writer
from dfmcodec.corpus.sources import FILES, PARQUET, TAR, Item
from dfmcodec.corpus.store import Store


def read_entries(
    form: str, item: Item, column: str | None, places: Sequence[str], skips_links: bool
) -> Iterator[Entry]:
    """The images of an item of a list, and what lies beside them, in order.

    Args:
        form: "files", "tar" or "parquet".
        item: The item.
        column: The column of images of Parquet sources; None to find it.
        places: Where names in that column may lead.
        skips_links: Whether names in that column that lead over symbolic links are refused.

    Raises:
        DfmError: The tar or Parquet file cannot be read, from here on.
    """
    readers: dict[str, Callable[[], Iterator[Entry]]] = {
        FILES: lambda: files.entries(item),
        TAR: lambda: tars.entries(item),
        PARQUET: lambda: parquet.entries(item, column, places, skips_links),
    }
    return readers[form]()


def open_writer(form: str, store: Store, number: int) -> Writer:
    """What takes the outputs of a shard.

    Args:
        form: "files", "tar" or "parquet".
        store: Where they go.
        number: That of the shard.
    """
    writers: dict[str, Callable[[], Writer]] = {
        FILES: lambda: files.FilesWriter(store),
        TAR: lambda: tars.TarWriter(store, f"{number:05d}.tar"),
        PARQUET: lambda: parquet.ParquetWriter(store, f"{number:05d}.parquet"),
    }
    return writers[form]()
