"""Forms in which a corpus is read and written: files, tars, Parquet."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from dfmcodec.corpus.forms import parquet, tars
from dfmcodec.corpus.forms.entry import Entry, Writer
from dfmcodec.corpus.sources import FILES, PARQUET, TAR, Shard
from dfmcodec.corpus.store import read_url

WRITERS: dict[str, type[Writer]] = {FILES: Writer, TAR: tars.TarWriter, PARQUET: parquet.ParquetWriter}  # of outputs


def read_entries(shard: Shard, column: str | None) -> Iterator[Entry]:
    """Yields the images of a shard, and files beside them in a tar, in order. Raises DfmError if
    the tar or Parquet file cannot be read from this point on.
    """
    source = shard.source
    if not isinstance(source, str):
        return (Entry(file.source, file.name, partial(read_url, file.source), same_as=file.same_as) for file in source)
    return parquet.entries(source, column) if source.lower().endswith(".parquet") else tars.entries(source)
