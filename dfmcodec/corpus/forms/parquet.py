"""A corpus of Parquet files with a column of images, as Hugging Face's `datasets` writes them:
`{bytes, path}`; or of bytes alone, or of the names of images elsewhere.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from dfmcodec.corpus.forms.entry import Entry, Writer, require_pyarrow
from dfmcodec.corpus.sources import Item
from dfmcodec.corpus.store import Store, open_url, read_url
from dfmcodec.errors import ConfigError, DfmError, ImageError
from dfmcodec.files.names import as_unicode

IMAGE = "image"  # the column of images where the source has none
_OTHER = "dfm"  # likewise, where the source has a column of that name for something else
_FEATURES = b"huggingface"  # the key of the metadata that says which columns are images


@dataclass(frozen=True)
class Row:
    """A row of a source.

    Args:
        table: All its columns, a `pyarrow.Table` of one row.
        column: The index of the column that the output replaces; None to add one.
    """

    table: Any
    column: int | None


def row_count(source: str, column: str | None) -> int:
    """The number of rows of a Parquet file, after a look at its columns.

    Raises:
        DfmError: It cannot be read.
        ConfigError: It has no such column of images, or several columns could be it.
    """
    with _opened(source) as file:
        _image_column(file.schema_arrow, column, source)
        return int(file.metadata.num_rows)


def entries(item: Item, column: str | None) -> Iterator[Entry]:
    """The images of rows.

    Raises:
        DfmError: The file cannot be read.
        ConfigError: As in `row_count`.
    """
    with _opened(item.source) as file:
        index, kind = _image_column(file.schema_arrow, column, item.source)
        replaced = None if kind == "name" else index
        for number, table in _rows(file, item):
            value = table.column(index)[0].as_py()
            path = value.get("path") if isinstance(value, dict) else value if kind == "name" else None
            name = f"{number:09d}{PurePosixPath(path or '').suffix}"
            yield Entry(f"{item.source}#{number}", name, _READERS[kind](value), row=Row(table, replaced))


def _rows(file: Any, item: Item) -> Iterator[tuple[int, Any]]:
    """The numbers of the rows of an item, and a table of each; other groups are not read."""
    first = 0
    for group in range(file.num_row_groups):
        after = first + file.metadata.row_group(group).num_rows
        if after > item.start and first < item.stop:
            table = file.read_row_group(group)
            for number in range(max(first, item.start), min(after, item.stop)):
                yield number, table.slice(number - first, 1)
        first = after


def _image_column(schema: Any, column: str | None, source: str) -> tuple[int, str]:
    """The index of the column of images, and what it holds: "image", "bytes" or "name".

    Raises:
        ConfigError: As in `row_count`.
    """
    kinds = {field.name: _kind(field.type) for field in schema}
    if column is None:
        of_kind = [name for name, kind in kinds.items() if kind == "image"]
        candidates = of_kind or [name for name, kind in kinds.items() if kind == "bytes"]
        if len(candidates) != 1:
            msg = f"{source}: which column has the images? name it with --column: {', '.join(kinds)}"
            raise ConfigError(msg)
        (column,) = candidates
    kind = kinds.get(column)
    if kind is None:
        msg = f"{source} has no column {column} of images or of their names; it has {', '.join(kinds)}"
        raise ConfigError(msg)
    return schema.get_field_index(column), kind


def _kind(type_: Any) -> str | None:
    import pyarrow.types as types

    if types.is_struct(type_):
        return "image" if {"bytes", "path"} <= {field.name for field in type_} else None
    if types.is_binary(type_) or types.is_large_binary(type_):
        return "bytes"
    return "name" if types.is_string(type_) or types.is_large_string(type_) else None


def _read_image(value: dict[str, Any] | None) -> bytes:
    given = value or {}
    if given.get("bytes") is not None:
        return bytes(given["bytes"])
    return _read_name(given.get("path"))


def _read_bytes(value: bytes | None) -> bytes:
    if value is None:
        msg = "the row has no image"
        raise ImageError(msg)
    return value


def _read_name(value: str | None) -> bytes:
    if not value:
        msg = "the row has no image"
        raise ImageError(msg)
    return read_url(value)


_READERS: dict[str, Callable[[Any], Callable[[], bytes]]] = {
    "image": lambda value: lambda: _read_image(value),
    "bytes": lambda value: lambda: _read_bytes(value),
    "name": lambda value: lambda: _read_name(value),
}


@contextmanager
def _opened(source: str) -> Iterator[Any]:
    require_pyarrow()
    import pyarrow
    import pyarrow.parquet

    with open_url(source) as file:
        try:
            yield pyarrow.parquet.ParquetFile(file)
        except (pyarrow.ArrowException, OSError) as error:
            said = " ".join(str(error).split())
            msg = f"{source} is not a whole Parquet file: {said}"
            raise DfmError(msg) from error


class ParquetWriter(Writer):
    """Gathers the outputs in memory and writes one Parquet file. Other columns of a Parquet source
    stay as they are; a row whose image failed has none.

    Args:
        store: Where it goes.
        name: That of the file.
    """

    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        self._name = name
        self._images: list[dict[str, Any] | None] = []
        self._rows: list[Row] = []

    def add(self, name: str, data: bytes, entry: Entry) -> None:
        self._images.append({"bytes": data, "path": as_unicode(name)})
        self._rows += [] if entry.row is None else [entry.row]

    def leave_out(self, entry: Entry) -> None:
        if entry.row is not None:
            self._images.append(None)
            self._rows.append(entry.row)

    def close(self) -> None:
        import pyarrow
        import pyarrow.parquet

        type_ = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
        images = pyarrow.array(self._images, type_)
        if self._rows:
            table = pyarrow.concat_tables([row.table for row in self._rows])
            index = self._rows[0].column
            if index is None:
                table = table.append_column(_OTHER if IMAGE in table.column_names else IMAGE, images)
            else:
                table = table.set_column(index, table.column_names[index], images)
        else:
            table = pyarrow.table({IMAGE: images})
            features = {"info": {"features": {IMAGE: {"_type": "Image"}}}}
            table = table.replace_schema_metadata({_FEATURES: json.dumps(features).encode()})
        file = io.BytesIO()
        pyarrow.parquet.write_table(table, file)
        self._store.write(self._name, file.getvalue())
