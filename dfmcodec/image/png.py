"""The chunks of a PNG file: its metadata, and the file without it.

Pillow puts the texts of a PNG beside the colour profile, Exif block and transparent colour, under
whatever names the texts have, and refuses profiles above 1 MiB. So Pillow gets the file without
these chunks, and they are read here, from where the format (W3C, PNG, third edition) keeps them.
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
_RAW_EXIF_KEYWORD = b"Raw profile type exif"  # of ImageMagick, before PNG had a chunk for Exif
# What the samples depend on, with the frames of an animation. The end of what is no chunk goes
# along, so that Pillow says what is wrong with it.
_KEPT = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"acTL", b"fcTL", b"fdAT")
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_TEXT_HEAD_BYTES = 200  # more than those of a keyword
_SMALL_CHUNK_BYTES = 64  # more than those of a density or a description of colours have
# Of a file. libpng writes samples in chunks of 8 KiB, of which a file of 1 GiB has half as many.
MAX_CHUNKS = 1 << 18
MAX_METADATA_CHUNKS = 64  # that are read: one of each kind is usual, after some that are damaged
_CHUNK_FRAME_BYTES = 12  # length, name and CRC-32
_PIECE_BYTES = 1 << 20  # that are decompressed at a time
_LONGEST_KEYWORD = 79
_METRE = 1  # the unit of a density
METRES_PER_INCH = 0.0254
_DEPTH = 16  # of samples that may have fewer significant bits


def declared_size(head: bytes) -> tuple[int, int] | None:
    """Returns width and height as the first 24 bytes of a file give them; None if it is no PNG."""
    if not head.startswith(SIGNATURE) or head[12:16] != b"IHDR" or len(head) < 24:
        return None
    width, height = struct.unpack_from(">II", head, 16)
    return width, height


def without_metadata(file: BinaryIO) -> BinaryIO:
    """Returns the file with only the chunks that the samples depend on."""
    kept = io.BytesIO()
    kept.write(SIGNATURE)
    for name, start, size in _chunks(file):
        if name in _KEPT:
            file.seek(start)
            kept.write(file.read(size))
    kept.seek(0)
    return kept


def read_metadata(file: BinaryIO, max_bytes: int, notify: Notify) -> Metadata:
    """Reads the metadata, as it is in the file: of each kind the first entry that is not damaged.

    Args:
        file: A PNG file.
        max_bytes: The most bytes that all entries may have when they are decompressed, those that
            turn out to be damaged included.
        notify: Receives a notice of each kind of which an entry is left out.
    """
    found: dict[str, bytes] = {}
    left_out: set[str] = set()
    budget, chunks_left = _Budget(max_bytes), MAX_METADATA_CHUNKS
    for name, start, size in _chunks(file):
        kind = _kind_of(file, name, start, size)
        if kind is None:
            continue
        is_read = kind not in found and chunks_left > 0 and size - _CHUNK_FRAME_BYTES <= budget.bytes_left
        if is_read:
            chunks_left -= 1
            file.seek(start)
            with suppress(ValueError, IndexError, zlib.error):
                found[kind] = _READERS[kind](_checked_body(file.read(size)), budget)
                continue
        left_out.add(kind)
    kept = {_NAMES[kind] for kind in found}
    for entry in sorted({_NAMES[kind] for kind in left_out}):
        if entry in kept:
            notify(f"it has more than one {entry}; the first that is not damaged is kept")
        else:
            notify(f"its {entry} is damaged or has more than {max_bytes} bytes, and is left out")
    return Metadata(found.get("icc"), found.get("exif") or found.get("raw exif"), found.get("xmp"))


_NAMES = {"icc": "ICC profile", "exif": "Exif block", "raw exif": "Exif block", "xmp": "XMP packet"}


class _Budget:
    """The bytes that the metadata of a file may still take."""

    def __init__(self, max_bytes: int) -> None:
        self.bytes_left = max_bytes

    def take(self, count: int) -> None:
        """Takes bytes of it.

        Raises:
            ValueError: There are not so many.
        """
        self.bytes_left -= count
        if self.bytes_left < 0:
            raise ValueError


def _kind_of(file: BinaryIO, name: bytes, start: int, size: int) -> str | None:
    """Returns the kind of metadata that a chunk holds; None for any other chunk."""
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
    """Returns the body of a chunk, after its name.

    Raises:
        ValueError: Its CRC-32 does not match.
    """
    if zlib.crc32(chunk[4:-4]) != int.from_bytes(chunk[-4:], "big"):
        raise ValueError
    return chunk[4:-4]


def _chunks(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Yields name, start and size in bytes of each chunk, with its length, name and CRC-32.

    The last one ends with the file if that is cut.

    Raises:
        ImageError: There are more than `MAX_CHUNKS`.
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
    """Returns the bodies of the chunks that describe colours, but for the ICC profile, by name."""
    return _bodies(file, (b"cICP", b"sRGB", b"gAMA", b"cHRM"))


def significant_bits(file: BinaryIO) -> int | None:
    """Returns the significant bits of the colours that a file of 16 bits states, 1..15: those of
    the channel that has most. None where it states none, or all 16.
    """
    found = _bodies(file, (b"sBIT",)).get(b"sBIT", b"")
    colours = found[:-1] if len(found) in (2, 4) else found
    bits = max(colours, default=0)
    return bits if len(found) <= 4 and 0 < bits < _DEPTH else None


def texts(file: BinaryIO) -> Iterator[tuple[str, bytes]]:
    """Yields the keyword of each text, and how the rest of its chunk begins."""
    for name, start, size in _chunks(file):
        if name in _TEXTS:
            file.seek(start + 8)
            keyword, _, rest = file.read(max(0, min(size - 12, _TEXT_HEAD_BYTES))).partition(b"\0")
            yield keyword.decode("latin-1"), rest


def density(file: BinaryIO) -> tuple[float, float] | None:
    """Returns the pixels per inch that the file states; None where it states none."""
    body = _bodies(file, (b"pHYs",)).get(b"pHYs", b"")
    if len(body) != 9 or body[8] != _METRE:
        return None
    horizontal, vertical = struct.unpack_from(">2I", body)
    return horizontal * METRES_PER_INCH, vertical * METRES_PER_INCH


def _bodies(file: BinaryIO, wanted: tuple[bytes, ...]) -> dict[bytes, bytes]:
    found = {}
    for name, start, size in _chunks(file):
        if name in wanted and size <= _SMALL_CHUNK_BYTES:
            file.seek(start)
            found[name] = file.read(size)[8:-4]
    return found


def _read_profile(chunk: bytes, budget: _Budget) -> bytes:
    _keyword, profile = chunk[4:].split(b"\0", 1)
    return _decompressed(profile[1:], budget)


def _read_exif(chunk: bytes, budget: _Budget) -> bytes:
    budget.take(len(chunk) - 4)
    return chunk[4:]


def _read_raw_exif(chunk: bytes, budget: _Budget) -> bytes:
    """Reads Exif that a text holds as hexadecimal digits, after three lines."""
    _keyword, rest = chunk[4:].split(b"\0", 1)
    if chunk.startswith(b"zTXt"):
        text = _decompressed(rest[1:], budget)
    else:
        text = rest
        budget.take(len(text))
    return bytes.fromhex(text.split(b"\n", 3)[3].decode("ascii"))


def _read_xmp(chunk: bytes, budget: _Budget) -> bytes:
    _keyword, rest = chunk[4:].split(b"\0", 1)
    is_compressed = rest[0] == 1
    _language, _translated, text = rest[2:].split(b"\0", 2)
    if is_compressed:
        return _decompressed(text, budget)
    budget.take(len(text))
    return text


_READERS = {"icc": _read_profile, "exif": _read_exif, "raw exif": _read_raw_exif, "xmp": _read_xmp}


def _decompressed(data: bytes, budget: _Budget) -> bytes:
    """Decompresses in pieces, each of which is taken from the budget.

    Raises:
        ValueError: There is more than the budget, or it is cut off.
        zlib.error: It is damaged.
    """
    decompressor = zlib.decompressobj()
    pieces = []
    while not decompressor.eof:
        pieces.append(decompressor.decompress(data, _PIECE_BYTES))
        data = decompressor.unconsumed_tail
        budget.take(len(pieces[-1]))
        if not (pieces[-1] or data or decompressor.eof):
            raise ValueError
    return b"".join(pieces)
