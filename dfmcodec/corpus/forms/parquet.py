"""Corpora of Parquet files with a column of images: `{bytes, path}` as written by Hugging Face's
`datasets`, or bytes. Images that a row only names, by a path or URL, are not read.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from dfmcodec.corpus.forms.entry import Budget, Entry, Writer
from dfmcodec.corpus.store import Store, open_url
from dfmcodec.errors import ConfigError, DfmError, ImageError
from dfmcodec.files.names import as_unicode

IMAGE = "image"  # name of the image column if the source has none
_BATCH_ROWS, _BATCH_BYTES = 1024, 64 << 20  # limits of a batch
_VALUE_BYTES = 8  # size of a number or of an offset of text


def entries(source: str, column: str | None) -> Iterator[Entry]:
    """Yields the images of rows. Raises DfmError if the file cannot be read, or exceeds `Budget`,
    and ConfigError if there is no such image column, or several columns are possible.
    """
    with _opened(source) as (file, stream):
        index = _image_column(file.schema_arrow, column, source)
        for number, row in enumerate(_rows(source, file, stream)):
            try:
                data, path = _image_of(row.column(index)[0])
                read = partial(_checked, data, "the row has no image; a path or URL in its place is not read")
            except ValueError:  # text that is not UTF-8
                path, read = "", partial(_checked, None, "the name of its image is not UTF-8")
            rest = row.set_column(index, row.column_names[index], _image_array([None]))
            yield Entry(f"{source}#{number}", path.removeprefix("./") or f"{number:09d}", read, row=(rest, index))


def _rows(source: str, file: Any, stream: Any) -> Iterator[Any]:
    """Yields the rows of a file, each as a table.

    Text and bytes are kept dictionary-encoded, with each value stored once, and only one row at a
    time is expanded, because a large value may occur in many rows.
    """
    import pyarrow
    import pyarrow.parquet

    budget, schema = Budget(source, stream.seek(0, io.SEEK_END)), file.schema_arrow
    views = {pyarrow.string_view(): pyarrow.string(), pyarrow.binary_view(): pyarrow.binary()}
    plain = pyarrow.schema([field.with_type(views.get(field.type, field.type)) for field in schema])
    leaves = [file.schema.column(index) for index in range(len(file.schema))]  # a struct has one for each field
    texts = [one.path for one in leaves if one.physical_type == "BYTE_ARRAY" and one.converted_type != "DECIMAL"]
    packed = pyarrow.parquet.ParquetFile(stream, metadata=file.metadata, read_dictionary=texts)
    for group in range(file.metadata.num_row_groups):
        described = file.metadata.row_group(group)
        budget.check(_unpacked_bytes(described, file))
        rows = min(_BATCH_ROWS, max(1, _BATCH_BYTES * described.num_rows // max(1, described.total_byte_size)))
        for batch in packed.iter_batches(batch_size=rows, row_groups=[group]):
            for at in range(batch.num_rows):
                row = pyarrow.Table.from_batches([batch.slice(at, 1)])
                table = row.cast(plain).cast(schema)  # there is no cast from dictionary to view
                budget.check(table.nbytes, spend=True)
                yield table


def _unpacked_bytes(group: Any, file: Any) -> int:
    """Returns the size of a group in memory while dictionary-encoded, according to the file. A few
    bytes can represent any number of equal values.
    """
    columns = ((group.column(index), file.schema.column(index).length) for index in range(group.num_columns))
    return sum(max(one.total_uncompressed_size, one.num_values * max(_VALUE_BYTES, size)) for one, size in columns)


def _image_column(schema: Any, column: str | None, source: str) -> int:
    """Returns the index of the image column."""
    import pyarrow.types as types

    structs = [
        field.name
        for field in schema
        if types.is_struct(field.type) and {"bytes", "path"} <= {inner.name for inner in field.type}
    ]
    plain = [field.name for field in schema if types.is_binary(field.type) or types.is_large_binary(field.type)]
    if column is None:
        candidates = structs or plain
        if len(candidates) != 1:
            msg = f"{source}: which column has the images? name it with --column: {', '.join(schema.names)}"
            raise ConfigError(msg)
        (column,) = candidates
    if column not in (*structs, *plain):
        msg = f"{source} has no column {column} of images; it has {', '.join(schema.names)}"
        raise ConfigError(msg)
    return int(schema.get_field_index(column))


def _image_of(scalar: Any) -> tuple[bytes | None, str]:
    """Returns the bytes of the image of a row, or None, and its path, or "". Raises a ValueError if
    the path is not UTF-8.
    """
    value = scalar.as_py()
    data, path = (value.get("bytes"), value.get("path")) if isinstance(value, dict) else (value, None)
    return data if isinstance(data, bytes) else None, path if isinstance(path, str) else ""


def _checked(data: bytes | None, fault: str) -> bytes:
    if data is None:
        raise ImageError(fault)
    return data


def _image_array(images: list[dict[str, Any] | None]) -> Any:
    import pyarrow

    return pyarrow.array(images, pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())]))


@contextmanager
def _opened(source: str) -> Iterator[tuple[Any, Any]]:
    """Opens a Parquet file; provides it with its stream."""
    import pyarrow
    import pyarrow.parquet

    with open_url(source) as stream:
        try:
            yield pyarrow.parquet.ParquetFile(stream), stream
        except (pyarrow.ArrowException, OSError) as error:
            reason = " ".join(str(error).split())
            msg = f"{source} is not a complete Parquet file: {reason}"
            raise DfmError(msg) from error


class ParquetWriter(Writer):
    """Writer of one Parquet file in memory. Other columns of a Parquet source are unchanged. A row
    whose image failed has no image.
    """

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._images: list[dict[str, Any] | None] = []
        self._rows: list[tuple[Any, int]] = []

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

        images = _image_array(self._images)
        if self._rows:
            table, index = pyarrow.concat_tables([table for table, _ in self._rows]), self._rows[0][1]
            table = table.set_column(index, table.column_names[index], images)
        else:
            features = {"info": {"features": {IMAGE: {"_type": "Image"}}}}  # for `datasets`
            table = pyarrow.table({IMAGE: images}, metadata={"huggingface": json.dumps(features)})
        file = io.BytesIO()
        pyarrow.parquet.write_table(table, file)
        return file.getvalue()
