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
from typing import BinaryIO

from dfmcodec._types import Notify
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
    """Reads the metadata, as it is in the file.

    Args:
        file: A PNG file.
        max_bytes: The most bytes that an entry may have when it is decompressed.
        notify: Receives a notice of each entry that is damaged or larger, which is left out.
    """
    found: dict[str, bytes] = {}
    readers = {b"iCCP": _read_profile, b"eXIf": _read_exif, **dict.fromkeys(_TEXTS, _read_text)}
    for name, start, size in _chunks(file):
        if name not in readers:
            continue
        file.seek(start)
        chunk = file.read(size)
        body, entry = chunk[8:-4], _ENTRIES.get(name)
        try:
            if zlib.crc32(chunk[4:-4]) != int.from_bytes(chunk[-4:], "big"):
                raise ValueError
            found |= readers[name](name, body, max_bytes)
        except (ValueError, IndexError, zlib.error):
            if entry is not None:
                notify(f"its {entry} is damaged or has more than {max_bytes} bytes, and is left out")
    return Metadata(found.get("icc"), found.get("exif") or found.get("raw exif"), found.get("xmp"))


_ENTRIES = {b"iCCP": "ICC profile", b"eXIf": "Exif block"}


def _chunks(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Yields name, start and size in bytes of each chunk, with its length, name and CRC-32.

    The last one ends with the file if that is cut.
    """
    end, start = file.seek(0, io.SEEK_END), len(SIGNATURE)
    while start < end:
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


def _read_profile(_name: bytes, body: bytes, max_bytes: int) -> dict[str, bytes]:
    keyword_bytes = body.index(b"\0")
    return {"icc": _decompressed(body[keyword_bytes + 2 :], max_bytes)}


def _read_exif(_name: bytes, body: bytes, max_bytes: int) -> dict[str, bytes]:
    if len(body) > max_bytes:
        raise ValueError
    return {"exif": body}


def _read_text(name: bytes, body: bytes, max_bytes: int) -> dict[str, bytes]:
    """Reads a text that holds XMP or Exif; nothing of any other."""
    keyword, rest = body.split(b"\0", 1)
    if keyword == XMP_KEYWORD and name == b"iTXt":
        is_compressed = rest[0] == 1
        _language, _translated, text = rest[2:].split(b"\0", 2)
        return {"xmp": _decompressed(text, max_bytes) if is_compressed else text}
    if keyword == _RAW_EXIF_KEYWORD and name != b"iTXt":
        text = _decompressed(rest[1:], max_bytes) if name == b"zTXt" else rest
        return {"raw exif": bytes.fromhex("".join(text.decode("ascii").split("\n")[3:]))}
    return {}


def _decompressed(data: bytes, max_bytes: int) -> bytes:
    """Decompresses, up to a limit.

    Raises:
        ValueError: There is more, or it is cut off.
        zlib.error: It is damaged.
    """
    decompressor = zlib.decompressobj()
    text = decompressor.decompress(data, max_bytes)
    if not decompressor.eof:
        raise ValueError
    return text
