"""Forms in which a corpus is read and written: files, tars, Parquet."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from dfmcodec.corpus.forms import files, parquet, tars
from dfmcodec.corpus.forms.entry import Entry, Writer
from dfmcodec.corpus.sources import FILES, PARQUET, TAR, Item
from dfmcodec.corpus.store import Store


def read_entries(
    form: str, item: Item, column: str | None, places: Sequence[str], skips_links: bool
) -> Iterator[Entry]:
    """Reads the images of an item of a list, and files beside them, in order.

    Args:
        form: "files", "tar" or "parquet".
        item: The item.
        column: The image column of Parquet sources; None to find it.
        places: The allowed places of names in that column.
        skips_links: Whether to refuse names in that column that contain symbolic links.

    Raises:
        DfmError: The tar or Parquet file cannot be read from this point on.
    """
    readers: dict[str, Callable[[], Iterator[Entry]]] = {
        FILES: lambda: files.entries(item),
        TAR: lambda: tars.entries(item),
        PARQUET: lambda: parquet.entries(item, column, places, skips_links),
    }
    return readers[form]()


def open_writer(form: str, store: Store, number: int) -> Writer:
    """Opens a writer for the outputs of a shard.

    Args:
        form: "files", "tar" or "parquet".
        store: The output store.
        number: The number of the shard.
    """
    writers: dict[str, Callable[[], Writer]] = {
        FILES: lambda: files.FilesWriter(store),
        TAR: lambda: tars.TarWriter(store, f"{number:05d}.tar"),
        PARQUET: lambda: parquet.ParquetWriter(store, f"{number:05d}.parquet"),
    }
    return writers[form]()
