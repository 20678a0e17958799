"""A corpus of Parquet files with a column of images, as Hugging Face's `datasets` writes them:
`{bytes, path}`; or of bytes alone, or of the names of images elsewhere.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from dfmcodec.corpus.forms.entry import Budget, Entry, Writer, require_pyarrow
from dfmcodec.corpus.places import followed
from dfmcodec.corpus.sources import Item
from dfmcodec.corpus.store import Store, open_url, read_url
from dfmcodec.errors import ConfigError, DfmError, ImageError
from dfmcodec.files.names import as_unicode

IMAGE = "image"  # the column of images where the source has none
_OTHER = "dfm"  # likewise, where the source has a column of that name for something else
_BATCH_ROWS, _BATCH_BYTES = 1024, 64 << 20  # that are read at a time
_VALUE_BYTES = 8  # of a number, or of the place of a text
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,16}$")
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


def row_count(source: str, column: str | None, places: Sequence[str]) -> int:
    """The number of rows of a Parquet file, after a look at its columns.

    Args:
        source: The file.
        column: The column of images or of their names; None to find one of images.
        places: Where names may lead, as `places.places_of` gives them.

    Raises:
        DfmError: It cannot be read.
        ConfigError: It has no such column of images, several columns could be it, or it has names
            and they may lead nowhere.
    """
    with _opened(source) as (file, _):
        _, kind = _image_column(file.schema_arrow, column, source)
        if kind == "name" and not places:
            msg = (
                f"{source}: the column {column} has names of images, which are read only with --follow and a folder "
                "or the beginning of a URL"
            )
            raise ConfigError(msg)
        return int(file.metadata.num_rows)


def entries(item: Item, column: str | None, places: Sequence[str]) -> Iterator[Entry]:
    """The images of rows.

    Raises:
        DfmError: The file cannot be read, or has more in it than `Budget` allows.
        ConfigError: As in `row_count`.
    """
    with _opened(item.source) as (file, stream):
        index, kind = _image_column(file.schema_arrow, column, item.source)
        replaced = None if kind == "name" else index
        for number, table in _rows(file, stream, item):
            read, suffix = _reader(table.column(index)[0], kind, item.source, places)
            yield Entry(f"{item.source}#{number}", f"{number:09d}{suffix}", read, row=Row(table, replaced))


def _rows(file: Any, stream: Any, item: Item) -> Iterator[tuple[int, Any]]:
    """The numbers of the rows of an item, and a table of each; other groups are not read.

    Text and bytes are read as they are packed, each value once, and only a row at a time gets its
    own: a value of a megabyte may stand in a million rows.
    """
    import pyarrow
    import pyarrow.parquet

    budget, schema, first = Budget(item.source, stream.seek(0, io.SEEK_END)), file.schema_arrow, 0
    views = {pyarrow.string_view(): pyarrow.string(), pyarrow.binary_view(): pyarrow.binary()}
    plain = pyarrow.schema([field.with_type(views.get(field.type, field.type)) for field in schema])
    columns = [file.schema.column(index) for index in range(len(file.schema))]
    texts = [one.path for one in columns if one.physical_type == "BYTE_ARRAY" and one.converted_type != "DECIMAL"]
    packed = pyarrow.parquet.ParquetFile(stream, metadata=file.metadata, read_dictionary=texts)
    for group in range(file.metadata.num_row_groups):
        described = file.metadata.row_group(group)
        after = first + described.num_rows
        if after > item.start and first < item.stop:
            budget.check(_unpacked_bytes(described, columns))
            rows = min(_BATCH_ROWS, max(1, _BATCH_BYTES * described.num_rows // max(1, described.total_byte_size)))
            at = first
            for batch in packed.iter_batches(batch_size=rows, row_groups=[group]):
                for number in range(max(at, item.start), min(at + batch.num_rows, item.stop)):
                    row = pyarrow.Table.from_batches([batch.slice(number - at, 1)])
                    table = row.cast(plain).cast(schema)  # there is no cast from packed text to a view
                    budget.spend(table.nbytes)
                    yield number, table
                at += batch.num_rows
                if at >= item.stop:
                    break
        first = after


def _unpacked_bytes(group: Any, columns: Sequence[Any]) -> int:
    """What a group takes in memory as it is packed, by what the file says: a few bytes may stand
    for any number of equal values.
    """
    chunks = [group.column(index) for index in range(group.num_columns)]
    return sum(
        max(chunk.total_uncompressed_size, chunk.num_values * max(_VALUE_BYTES, column.length))
        for chunk, column in zip(chunks, columns, strict=True)
    )


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


def _reader(scalar: Any, kind: str, table: str, places: Sequence[str]) -> tuple[Callable[[], bytes], str]:
    """What reads the image of a row, and the extension of its name, if it has one that is fit for a
    name.
    """
    try:
        value = scalar.as_py()
    except ValueError:  # text that is not UTF-8
        return partial(_fail, "the name of its image is not UTF-8"), ""
    given = {"bytes": value, "path": value} if kind != "image" else value or {}
    data, path = given.get("bytes"), given.get("path")
    suffix = _SUFFIX.search(path) if isinstance(path, str) else None
    extension = "" if suffix is None else suffix[0]
    if isinstance(data, bytes):
        return lambda: data, extension
    if not isinstance(path, str) or not path:
        return partial(_fail, "the row has no image"), ""
    return lambda: read_url(followed(path, table, places), redirects=False), extension


def _fail(message: str) -> bytes:
    """What reads the image of a row that has none.

    Raises:
        ImageError: Always.
    """
    raise ImageError(message)


@contextmanager
def _opened(source: str) -> Iterator[tuple[Any, Any]]:
    """A Parquet file, and the stream that it is read from."""
    require_pyarrow()
    import pyarrow
    import pyarrow.parquet

    with open_url(source) as stream:
        try:
            yield pyarrow.parquet.ParquetFile(stream), stream
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
