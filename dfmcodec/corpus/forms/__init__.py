"""Forms in which a corpus is read and written: files, tars, Parquet."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from dfmcodec.corpus.forms import parquet, tars
from dfmcodec.corpus.forms.entry import Entry, Writer
from dfmcodec.corpus.job import Job
from dfmcodec.corpus.sources import FILES, PARQUET, TAR, Item
from dfmcodec.corpus.store import Store, read_url


def read_entries(job: Job, item: Item) -> Iterator[Entry]:
    """Reads the images of an item of a list, and files beside them, in order. Raises DfmError if
    the tar or Parquet file cannot be read from this point on.
    """
    if job.source_format == FILES:
        return iter([Entry(item.source, item.name, partial(read_url, item.source), same_as=item.same_as)])
    return tars.entries(item) if job.source_format == TAR else parquet.entries(job, item)


class _FilesWriter(Writer):
    """Writer that writes each output immediately."""

    def add(self, name: str, data: bytes, entry: Entry) -> None:
        self._store.write(name, data)


def open_writer(job: Job, store: Store, number: int) -> Writer:
    """Opens a writer for the outputs of a shard."""
    writers: dict[str, type[Writer]] = {FILES: _FilesWriter, TAR: tars.TarWriter, PARQUET: parquet.ParquetWriter}
    return writers[job.format](store, f"{number:05d}.{job.format}")
