"""Reads and writes the directories of TIFF files (TIFF 6.0 and BigTIFF), and so Exif blocks.

Values are bytes in the byte order of the file.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Container, Mapping, Sequence
from itertools import accumulate
from typing import BinaryIO, Literal, NamedTuple

from dfmcodec.errors import ImageError
from dfmcodec.image import MAX_METADATA_BYTES

MAX_ENTRIES = 4096  # per directory; cameras and scanners write up to a few hundred
MAX_TOTAL_ENTRIES = 1 << 16  # in all directories up to a page
KIND_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
ByteOrder = Literal["<", ">"]  # as in `struct`
BYTE, ASCII, SHORT, LONG, UNDEFINED = 1, 2, 3, 4, 7
ORIENTATION, STRIP_OFFSETS = 274, 273  # tags
EXIF_PREFIX = b"Exif\0\0"  # optional prefix of an Exif block
_FIRST_OFFSET = 8  # offset of the directory in files written here
_BYTE_ORDERS: dict[bytes, ByteOrder] = {b"II": "<", b"MM": ">"}


class Field(NamedTuple):
    """Field of a directory: its type (TIFF 6.0, section 2) and its values as bytes."""

    kind: int
    data: bytes


class Layout(NamedTuple):
    """Header of a TIFF file. A big one has 64-bit offsets."""

    byte_order: ByteOrder
    is_big: bool
    first: int

    @property
    def formats(self) -> list[str]:
        """Returns the formats of a number of entries, an offset, and an entry."""
        return [self.byte_order + form for form in (("Q", "Q", "HHQ8s") if self.is_big else ("H", "I", "HHI4s"))]


class _Directory(NamedTuple):
    entry_count: int  # as declared
    entries: int  # offset of the first entry
    next: int  # offset of the next directory; 0 for none


def read_layout(file: BinaryIO) -> Layout | None:
    """Returns the header of a file; None if it is not a TIFF."""
    file.seek(0)
    head = file.read(16)
    byte_order = _BYTE_ORDERS.get(head[:2])
    if byte_order is None or len(head) < 8:
        return None
    version, first = struct.unpack_from(byte_order + "HI", head, 2)
    if version == 42:
        return Layout(byte_order, False, first)
    if version == 43 and len(head) == 16:
        return Layout(byte_order, True, struct.unpack_from(byte_order + "Q", head, 8)[0])
    return None


def page_offsets(file: BinaryIO, pages: int) -> list[int]:
    """Returns the offsets of the directories of the first pages, at most as many as there are.

    Raises ImageError for more than `MAX_ENTRIES` in one, or `MAX_TOTAL_ENTRIES` in all.
    """
    layout = read_layout(file)
    offset, entry_total, offsets = (layout.first if layout else 0), 0, dict[int, None]()
    while layout and offset and offset not in offsets and len(offsets) < pages:
        directory = _directory(file, layout, offset)
        if directory is None:
            break
        if directory.entry_count > MAX_ENTRIES:
            msg = f"a directory of it has {directory.entry_count} entries, more than the limit of {MAX_ENTRIES}"
            raise ImageError(msg)
        entry_total += 1 + directory.entry_count
        if entry_total > MAX_TOTAL_ENTRIES:
            msg = f"its pages up to {pages} have more than {MAX_TOTAL_ENTRIES} entries, the limit for --page"
            raise ImageError(msg)
        offsets[offset] = None
        offset = directory.next
    return list(offsets)


def _directory(file: BinaryIO, layout: Layout, offset: int) -> _Directory | None:
    """Returns the header of a directory; None if the file ends before it."""
    if offset >= 1 << 63:  # beyond the maximum file offset
        return None
    count_format, offset_format, _ = layout.formats
    count_bytes, offset_bytes, entry_bytes = map(struct.calcsize, layout.formats)
    file.seek(offset)
    head = file.read(count_bytes)
    if len(head) < count_bytes:
        return None
    (count,) = struct.unpack(count_format, head)
    end = offset + count_bytes + count * entry_bytes
    if end > file.seek(0, io.SEEK_END):
        return None
    file.seek(end)
    tail = file.read(offset_bytes).ljust(offset_bytes, b"\0")  # some writers omit the last offset
    return _Directory(count, offset + count_bytes, *struct.unpack(offset_format, tail))


def read_fields(
    file: BinaryIO, offset: int, left_out: Container[int] = (), wanted: Container[int] | None = None
) -> dict[int, Field] | None:
    """Reads the fields of the directory at an offset, by tag: those wanted (None: all) and not left
    out.

    Returns:
        The fields. None if there is no directory at the offset, or if one of its fields is
        unreadable: it has an unknown type, lies outside the file, or makes the total larger than
        the file or the metadata of a `.dfm` file.
    """
    layout = read_layout(file)
    directory = layout and _directory(file, layout, offset)
    if not layout or not directory or directory.entry_count > MAX_ENTRIES:
        return None
    _, offset_format, entry_format = layout.formats
    file.seek(directory.entries)
    entries = file.read(directory.entry_count * struct.calcsize(entry_format))
    file_bytes = file.seek(0, io.SEEK_END)
    remaining = min(file_bytes, MAX_METADATA_BYTES)
    fields: dict[int, Field] = {}
    for tag, kind, count, inline in struct.iter_unpack(entry_format, entries):
        if tag in left_out or (wanted is not None and tag not in wanted):
            continue
        size = KIND_BYTES.get(kind, 0) * count
        if kind not in KIND_BYTES or size > remaining:
            return None
        data = inline[:size]
        if size > len(inline):
            (at,) = struct.unpack(offset_format, inline)
            if at + size > file_bytes:
                return None
            file.seek(at)
            data = file.read(size)
            remaining -= size
        fields[tag] = Field(kind, data)
    return fields


def first_number(field: Field | None, byte_order: ByteOrder, default: int = 0) -> int:
    """Returns the first value of a BYTE, SHORT or LONG field; the default for any other."""
    letters = {BYTE: "B", SHORT: "H", LONG: "I", 13: "I", 16: "Q", 18: "Q"}
    if field is None or field.kind not in letters or not field.data:
        return default
    return int(struct.unpack_from(byte_order + letters[field.kind], field.data)[0])


def write_tiff(
    byte_order: ByteOrder,
    fields: Mapping[int, Field],
    inner: Mapping[int, Mapping[int, Field]],
    strips: Sequence[bytes] = (),
) -> bytes:
    """Writes a TIFF file with one directory, and subdirectories by the tags that point to them.

    `strips` are the samples; an Exif block has none. Raises ValueError beyond 4 GiB.
    """
    pointers = {tag: long_field(byte_order, 0) for tag in inner}
    if strips:
        pointers[STRIP_OFFSETS] = long_field(byte_order, *[0] * len(strips))
    bodies, offset = [], _FIRST_OFFSET + len(_directory_bytes(byte_order, {**fields, **pointers}, _FIRST_OFFSET))
    for tag, inner_fields in inner.items():
        pointers[tag] = long_field(byte_order, offset)
        bodies.append(_directory_bytes(byte_order, inner_fields, offset))
        offset += len(bodies[-1])
    if strips:
        *offsets, end = accumulate(map(len, strips), initial=offset)
        if end >> 32:
            msg = "the file would have more than 4 GiB"
            raise ValueError(msg)
        pointers[STRIP_OFFSETS] = long_field(byte_order, *offsets)
    header = struct.pack(byte_order + "2sHI", b"II" if byte_order == "<" else b"MM", 42, _FIRST_OFFSET)
    return b"".join([header, _directory_bytes(byte_order, {**fields, **pointers}, _FIRST_OFFSET), *bodies, *strips])


def short_field(byte_order: ByteOrder, *values: int) -> Field:
    """Returns a SHORT field; values must be below 65536."""
    return Field(SHORT, struct.pack(f"{byte_order}{len(values)}H", *values))


def long_field(byte_order: ByteOrder, *values: int) -> Field:
    """Returns a LONG field; values must be below 2**32."""
    return Field(LONG, struct.pack(f"{byte_order}{len(values)}I", *values))


def _directory_bytes(byte_order: ByteOrder, fields: Mapping[int, Field], offset: int) -> bytes:
    """Returns the bytes of a directory at an offset, followed by its values."""
    at = offset + 2 + 12 * len(fields) + 4
    entries, values = [struct.pack(byte_order + "H", len(fields))], []
    for tag, (kind, data) in sorted(fields.items()):
        count, value = len(data) // KIND_BYTES[kind], data.ljust(4, b"\0")
        if len(data) > 4:
            value = struct.pack(byte_order + "I", at)
            values.append(data + bytes(len(data) % 2))
            at += len(values[-1])
        entries.append(struct.pack(byte_order + "HHI4s", tag, kind, count, value))
    return b"".join([*entries, bytes(4), *values])
