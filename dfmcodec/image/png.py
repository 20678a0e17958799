"""Chunks of a PNG file: its metadata, and the file without metadata (W3C, PNG, third edition).

Pillow stores texts beside the ICC profile, Exif block and transparent colour, under arbitrary
names, and refuses profiles above 1 MiB. So it receives the file without these chunks.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from typing import BinaryIO

from dfmcodec._types import Notify
from dfmcodec.errors import ImageError
from dfmcodec.image import Metadata

SIGNATURE = b"\x89PNG\r\n\x1a\n"
XMP_KEYWORD = b"XML:com.adobe.xmp"
_RAW_EXIF_KEYWORD = b"Raw profile type exif"  # by ImageMagick, before PNG had an Exif chunk
# Chunks that the samples depend on, including frames of an animation. Trailing bytes that are not a
# chunk are kept, so that Pillow reports the error.
_KEPT = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"acTL", b"fcTL", b"fdAT")
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_TEXT_HEAD_BYTES = 200  # longer than any keyword
_SMALL_CHUNK_BYTES = 64  # longer than a chunk of resolution or colour description
# Limit per file. libpng writes samples in chunks of 8 KiB; a file of 1 GiB has half as many.
MAX_CHUNKS = 1 << 18
MAX_METADATA_CHUNKS = 64  # usually one of each kind, possibly after damaged ones
_CHUNK_FRAME_BYTES = 12  # length, name and CRC-32
_PIECE_BYTES = 1 << 20  # size of the pieces in which data is decompressed
_LONGEST_KEYWORD = 79
_METRE = 1  # unit of resolution
METRES_PER_INCH = 0.0254
_DEPTH = 16  # bit depth of samples that can have fewer significant bits


def declared_size(head: bytes) -> tuple[int, int] | None:
    """Returns (width, height) from the first 24 bytes of a file; None if it is not a PNG."""
    if not head.startswith(SIGNATURE) or head[12:16] != b"IHDR" or len(head) < 24:
        return None
    width, height = struct.unpack_from(">II", head, 16)
    return width, height


def without_metadata(file: BinaryIO) -> BinaryIO:
    """Returns the file with only the chunks that the samples depend on."""
    reduced = io.BytesIO()
    reduced.write(SIGNATURE)
    for name, start, size in _chunks(file):
        if name in _KEPT:
            file.seek(start)
            reduced.write(file.read(size))
    reduced.seek(0)
    return reduced


def read_metadata(file: BinaryIO, max_bytes: int, notify: Notify) -> Metadata:
    """Reads the metadata unchanged: the first undamaged entry of each kind, the rest with a notice.

    All decompressed entries together, including damaged ones, have at most `max_bytes`.
    """
    entries: dict[str, bytes] = {}
    left_out: set[str] = set()
    budget, chunks_left = _Budget(max_bytes), MAX_METADATA_CHUNKS
    for name, start, size in _chunks(file):
        kind = _kind_of(file, name, start, size)
        if kind is None:
            continue
        if kind not in entries and chunks_left > 0 and size - _CHUNK_FRAME_BYTES <= budget.bytes_left:
            chunks_left -= 1
            file.seek(start)
            with suppress(ValueError, IndexError, zlib.error):
                entries[kind] = _READERS[kind](_checked_body(file.read(size)), budget)
                continue
        left_out.add(kind)
    names = {_NAMES[kind] for kind in entries}
    for entry in sorted({_NAMES[kind] for kind in left_out}):
        if entry in names:
            notify(f"it has more than one {entry}; the first that is not damaged is kept")
        else:
            notify(f"its {entry} is damaged or has more than {max_bytes} bytes, and is left out")
    return Metadata(entries.get("icc"), entries.get("exif") or entries.get("raw exif"), entries.get("xmp"))


_NAMES = {"icc": "ICC profile", "exif": "Exif block", "raw exif": "Exif block", "xmp": "XMP packet"}


class _Budget:
    """Remaining number of bytes for the metadata of a file."""

    def __init__(self, max_bytes: int) -> None:
        self.bytes_left = max_bytes

    def spent_on(self, data: bytes) -> bytes:
        """Returns the data, after subtracting its size; raises ValueError beyond the budget."""
        self.bytes_left -= len(data)
        if self.bytes_left < 0:
            raise ValueError
        return data


def _kind_of(file: BinaryIO, name: bytes, start: int, size: int) -> str | None:
    """Returns the kind of metadata in a chunk; None for any other chunk."""
    if name == b"iCCP":
        return "icc"
    if name == b"eXIf":
        return "exif"
    if name in _TEXTS:
        file.seek(start + 8)
        head = file.read(max(0, min(size - _CHUNK_FRAME_BYTES, _LONGEST_KEYWORD + 1)))
        keyword, end, _ = head.partition(b"\0")
        if end and keyword == XMP_KEYWORD and name == b"iTXt":
            return "xmp"
        if end and keyword == _RAW_EXIF_KEYWORD and name != b"iTXt":
            return "raw exif"
    return None


def _checked_body(chunk: bytes) -> bytes:
    """Returns the body of a chunk with its name; raises ValueError if its CRC-32 does not match."""
    if zlib.crc32(chunk[4:-4]) != int.from_bytes(chunk[-4:], "big"):
        raise ValueError
    return chunk[4:-4]


def _chunks(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Yields name, offset and size in bytes, with length, name and CRC-32, of each chunk.

    The last chunk ends at the end of a truncated file. Raises ImageError beyond `MAX_CHUNKS`.
    """
    end, start, count = file.seek(0, io.SEEK_END), len(SIGNATURE), 0
    while start < end:
        count += 1
        if count > MAX_CHUNKS:
            msg = f"it has more than {MAX_CHUNKS} chunks, the limit for PNG files; save it with larger ones"
            raise ImageError(msg)
        file.seek(start)
        head = file.read(8)
        size = min(12 + int.from_bytes(head[:4], "big"), end - start)
        yield head[4:], start, size
        start += size
        if head[4:] == b"IEND":
            return


def colour_chunks(file: BinaryIO) -> dict[bytes, bytes]:
    """Returns the bodies, by name, of the chunks that describe colours, without the ICC profile."""
    return _bodies(file, (b"cICP", b"sRGB", b"gAMA", b"cHRM"))


def significant_bits(file: BinaryIO) -> int | None:
    """Returns the number of significant bits, 1..15, of a 16-bit file; None if all are."""
    sbit = _bodies(file, (b"sBIT",)).get(b"sBIT", b"")
    colours = sbit[:-1] if len(sbit) in (2, 4) else sbit
    bits = max(colours, default=0)
    return bits if len(sbit) <= 4 and 0 < bits < _DEPTH else None


def texts(file: BinaryIO) -> Iterator[tuple[str, bytes]]:
    """Yields the keyword of each text, and the first bytes after it."""
    for name, start, size in _chunks(file):
        if name in _TEXTS:
            file.seek(start + 8)
            keyword, _, rest = file.read(max(0, min(size - 12, _TEXT_HEAD_BYTES))).partition(b"\0")
            yield keyword.decode("latin-1"), rest


def density(file: BinaryIO) -> tuple[float, float] | None:
    """Returns the pixels per inch that the file states; None if it states none."""
    body = _bodies(file, (b"pHYs",)).get(b"pHYs", b"")
    if len(body) != 9 or body[8] != _METRE:
        return None
    horizontal, vertical = struct.unpack_from(">2I", body)
    return horizontal * METRES_PER_INCH, vertical * METRES_PER_INCH


def _bodies(file: BinaryIO, wanted: tuple[bytes, ...]) -> dict[bytes, bytes]:
    bodies = {}
    for name, start, size in _chunks(file):
        if name in wanted and size <= _SMALL_CHUNK_BYTES:
            file.seek(start)
            bodies[name] = file.read(size)[8:-4]
    return bodies


def _read_profile(chunk: bytes, budget: _Budget) -> bytes:
    _keyword, profile = chunk[4:].split(b"\0", 1)
    return _decompressed(profile[1:], budget)


def _read_exif(chunk: bytes, budget: _Budget) -> bytes:
    return budget.spent_on(chunk[4:])


def _read_raw_exif(chunk: bytes, budget: _Budget) -> bytes:
    """Reads Exif stored as hexadecimal digits in a text, after three lines."""
    _keyword, rest = chunk[4:].split(b"\0", 1)
    text = _decompressed(rest[1:], budget) if chunk.startswith(b"zTXt") else budget.spent_on(rest)
    return bytes.fromhex(text.split(b"\n", 3)[3].decode("ascii"))


def _read_xmp(chunk: bytes, budget: _Budget) -> bytes:
    _keyword, rest = chunk[4:].split(b"\0", 1)
    is_compressed = rest[0] == 1
    _language, _translated, text = rest[2:].split(b"\0", 2)
    return _decompressed(text, budget) if is_compressed else budget.spent_on(text)


_READERS = {"icc": _read_profile, "exif": _read_exif, "raw exif": _read_raw_exif, "xmp": _read_xmp}


def _decompressed(data: bytes, budget: _Budget) -> bytes:
    """Decompresses in pieces within the budget. Raises ValueError or zlib.error for bad data."""
    decompressor = zlib.decompressobj()
    pieces = []
    while not decompressor.eof:
        pieces.append(budget.spent_on(decompressor.decompress(data, _PIECE_BYTES)))
        data = decompressor.unconsumed_tail
        if not (pieces[-1] or data or decompressor.eof):
            raise ValueError
    return b"".join(pieces)
