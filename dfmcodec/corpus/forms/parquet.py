"""Corpora of Parquet files with a column of images: `{bytes, path}` as written by Hugging Face's
`datasets`, bytes, or names of images stored elsewhere.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from typing import Any

from dfmcodec.corpus.forms.entry import Budget, Entry, Writer, require_pyarrow, without_dot
from dfmcodec.corpus.job import Job
from dfmcodec.corpus.places import followed
from dfmcodec.corpus.sources import Item
from dfmcodec.corpus.store import Store, open_url, read_url
from dfmcodec.errors import ConfigError, DfmError, ImageError, LimitError
from dfmcodec.files.atomic import EXTENSION, MAGIC
from dfmcodec.files.names import as_unicode, fault_of_name
from dfmcodec.image.read_image import IMAGE_SUFFIXES

IMAGE = "image"  # name of the image column if the source has none
_OTHER = "dfm"  # name of the image column if the source has another column named image
_BATCH_ROWS, _BATCH_BYTES = 1024, 64 << 20  # limits of a batch
_VALUE_BYTES = 8  # size of a number or of an offset of text
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,16}$")
_FEATURES = b"huggingface"  # metadata key that says which columns are images


@dataclass(frozen=True)
class Row:
    """Row of a source."""

    table: Any  # all columns, as a `pyarrow.Table` of one row
    column: int | None  # index of the column that the output replaces; None to add one


def row_count(job: Job, source: str) -> int:
    """Returns the number of rows of a Parquet file, after checking its columns. Raises DfmError if
    the file cannot be read, and ConfigError if there is no such image column, several columns are
    possible, or the column has names and no places are allowed.
    """
    with _opened(source) as (file, _):
        _, kind = _image_column(file.schema_arrow, job.column, source)
        if kind == "name" and not job.places:
            msg = (
                f"{source}: the column {job.column} has names of images, which are read only with --follow and a "
                "folder or the beginning of a URL"
            )
            raise ConfigError(msg)
        return int(file.metadata.num_rows)


def entries(job: Job, item: Item) -> Iterator[Entry]:
    """Yields the images of rows. Raises DfmError if the file cannot be read, or exceeds `Budget`,
    and ConfigError as in `row_count`.
    """
    with _opened(item.source) as (file, stream):
        index, kind = _image_column(file.schema_arrow, job.column, item.source)
        replaced = None if kind == "name" else index
        for number, table in _rows(file, stream, item):
            try:
                data, path = _image_of(table.column(index)[0], kind)
                read = _reader(job, item.source, data, path)
            except ValueError:  # text that is not UTF-8
                data, path, read = None, "", partial(_fail, "the name of its image is not UTF-8")
            name = _name_of(path, data is not None) if kind == "image" else ""
            numbered, row = _number_name(number, path, data), Row(table, replaced)
            yield Entry(f"{item.source}#{number}", name or numbered, read, row=row, is_numbered=not name)


def names(source: str, column: str | None) -> Iterator[str]:
    """Yields the name that each row of a file gives to its output, without reading the images. The
    name is empty for rows without one and for unreadable rows. Raises DfmError if the file cannot
    be read from this point on, and ConfigError as in `row_count`.
    """
    with _opened(source) as (file, stream):
        index, kind = _image_column(file.schema_arrow, column, source)
        if kind != "image":
            yield from repeat("", file.metadata.num_rows)
            return
        path, leaves = f"{file.schema_arrow.names[index]}.path", [column.path for column in _leaves(file)]
        chunks = [at for at, leaf in enumerate(leaves) if f"{leaf}.".startswith(f"{path}.")]
        packed, size_bytes = _dictionary_encoded(file, stream), stream.seek(0, io.SEEK_END)
        for group in range(file.metadata.num_row_groups):
            described = file.metadata.row_group(group)
            try:
                Budget(source, size_bytes).check(_unpacked_bytes(described, file, chunks))
            except LimitError:  # no shard will read its images
                yield from repeat("", described.num_rows)
                continue
            for batch in packed.iter_batches(batch_size=_BATCH_ROWS, row_groups=[group], columns=[path]):
                for scalar in batch.column(0):
                    try:
                        _, found = _image_of(scalar, kind)
                    except ValueError:
                        found = ""
                    yield _name_of(found, has_bytes=False)


def _rows(file: Any, stream: Any, item: Item) -> Iterator[tuple[int, Any]]:
    """Yields the number of each row of an item, with its table. Other row groups are not read.

    Text and bytes are kept dictionary-encoded, with each value stored once, and only one row at a
    time is expanded, because a large value may occur in many rows.
    """
    import pyarrow

    budget, schema, first = Budget(item.source, stream.seek(0, io.SEEK_END)), file.schema_arrow, 0
    views = {pyarrow.string_view(): pyarrow.string(), pyarrow.binary_view(): pyarrow.binary()}
    plain = pyarrow.schema([field.with_type(views.get(field.type, field.type)) for field in schema])
    packed = _dictionary_encoded(file, stream)
    for group in range(file.metadata.num_row_groups):
        described = file.metadata.row_group(group)
        after = first + described.num_rows
        if after > item.start and first < item.stop:
            budget.check(_unpacked_bytes(described, file, range(described.num_columns)))
            rows = min(_BATCH_ROWS, max(1, _BATCH_BYTES * described.num_rows // max(1, described.total_byte_size)))
            at = first
            for batch in packed.iter_batches(batch_size=rows, row_groups=[group]):
                for number in range(max(at, item.start), min(at + batch.num_rows, item.stop)):
                    row = pyarrow.Table.from_batches([batch.slice(number - at, 1)])
                    table = row.cast(plain).cast(schema)  # there is no cast from dictionary to view
                    budget.spend(table.nbytes)
                    yield number, table
                at += batch.num_rows
                if at >= item.stop:
                    break
        first = after


def _leaves(file: Any) -> list[Any]:
    """Returns the leaf columns of a file. A struct has one for each of its fields."""
    return [file.schema.column(index) for index in range(len(file.schema))]


def _dictionary_encoded(file: Any, stream: Any) -> Any:
    """Opens a file again, keeping text and bytes dictionary-encoded."""
    import pyarrow.parquet

    leaves = _leaves(file)
    texts = [one.path for one in leaves if one.physical_type == "BYTE_ARRAY" and one.converted_type != "DECIMAL"]
    return pyarrow.parquet.ParquetFile(stream, metadata=file.metadata, read_dictionary=texts)


def _unpacked_bytes(group: Any, file: Any, chosen: Iterable[int]) -> int:
    """Returns the size of columns of a group in memory while dictionary-encoded, according to the
    file. A few bytes can represent any number of equal values.
    """
    columns = ((group.column(index), file.schema.column(index).length) for index in chosen)
    return sum(max(one.total_uncompressed_size, one.num_values * max(_VALUE_BYTES, size)) for one, size in columns)


def _image_column(schema: Any, column: str | None, source: str) -> tuple[int, str]:
    """Returns the index of the image column, and its contents: "image", "bytes" or "name"."""
    kinds = {field.name: _kind(field.type) for field in schema}
    if column is None:
        image_columns = [name for name, kind in kinds.items() if kind == "image"]
        candidates = image_columns or [name for name, kind in kinds.items() if kind == "bytes"]
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


def _image_of(scalar: Any, kind: str) -> tuple[bytes | None, str]:
    """Returns the bytes of the image of a row, or None, and its path or name, or "". Raises a
    ValueError if the path is not UTF-8.
    """
    value = scalar.as_py()
    given = {"bytes": value, "path": value} if kind != "image" else value or {}
    data, path = given.get("bytes"), given.get("path")
    return data if isinstance(data, bytes) else None, path if isinstance(path, str) else ""


def _name_of(path: str, has_bytes: bool) -> str:
    """Returns the name that the path of a row gives to its output; empty for none. With bytes, any
    path is a name, which may be refused later. Without bytes, the path is the location of the
    image, and serves as a name only if it is portable.
    """
    name = without_dot(path)
    return name if has_bytes or (name and fault_of_name(name) is None) else ""


def _number_name(number: int, path: str, data: bytes | None) -> str:
    """Returns the name of the output of a row without a name, with the extension of its path."""
    suffix = _SUFFIX.search(path)
    if suffix is not None and suffix[0].lower() in IMAGE_SUFFIXES | {EXTENSION}:
        return f"{number:09d}{suffix[0]}"
    return f"{number:09d}{EXTENSION if data is not None and data.startswith(MAGIC) else ''}"


def _reader(job: Job, table: str, data: bytes | None, path: str) -> Callable[[], bytes]:
    """Returns a function that reads the image of a row."""
    if data is not None:
        return lambda: data
    if not path:
        return partial(_fail, "the row has no image")
    return lambda: read_url(followed(path, table, job.places, job.skips_links), redirects=False)


def _fail(message: str) -> bytes:
    raise ImageError(message)


@contextmanager
def _opened(source: str) -> Iterator[tuple[Any, Any]]:
    """Opens a Parquet file; provides it with its stream."""
    require_pyarrow()
    import pyarrow
    import pyarrow.parquet

    with open_url(source) as stream:
        try:
            yield pyarrow.parquet.ParquetFile(stream), stream
        except (pyarrow.ArrowException, OSError) as error:
            said = " ".join(str(error).split())
            msg = f"{source} is not a complete Parquet file: {said}"
            raise DfmError(msg) from error


class ParquetWriter(Writer):
    """Writer of one Parquet file in memory. Other columns of a Parquet source are unchanged. A row
    whose image failed has no image.
    """

    def __init__(self, store: Store, name: str) -> None:
        super().__init__(store, name)
        self._images: list[dict[str, Any] | None] = []
        self._rows: list[Row] = []

    def add(self, name: str, data: bytes, entry: Entry) -> None:
        self._images.append({"bytes": data, "path": as_unicode(name)})
        self._rows += [] if entry.row is None else [entry.row]

    def leave_out(self, entry: Entry) -> None:
        if entry.row is not None:
            self._images.append(None)
            self._rows.append(entry.row)

    def packed(self) -> bytes:
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
        return file.getvalue()
