"""The alpha section: lossless alpha <-> bytes, as tiles of one value or of lossless WebP.

Alpha is usually a mask, and errors at its edges are visible, so the lossy codec does not code it.
Lossless WebP codes masks in half the bytes of PNG.
"""

from __future__ import annotations

import io
import struct

import numpy as np

from dfmcodec._types import Pixels
from dfmcodec.errors import CorruptError, LimitError
from dfmcodec.image.region import Region
from dfmcodec.image.tiles import covering, default_tiles, tile_regions

_ENTRY = struct.Struct("<BI")
_CONSTANT, _WEBP = 0, 1
# A lossless WebP file: RIFF, its size, WEBP, VP8L, the size of this chunk, its signature, and the
# header of the lossless stream: width - 1 and height - 1 in 14 bits each, one bit for alpha, and
# a version in 3 bits (RFC 9649, sections 2.4, 2.6 and 3.4). Chunks have an even size.
_WEBP_HEAD = struct.Struct("<4sI8sIBI")
_RIFF_HEAD_BYTES, _CHUNK_START = 8, 20
_VP8L_SIGNATURE = 0x2F


def _tiles_of(height: int, width: int) -> tuple[Region, ...]:
    return tile_regions(height, width, default_tiles(height), default_tiles(width))


def write_alpha(alpha: Pixels) -> bytes:
    """Returns the alpha section of uint8 or uint16 [H, W]: a table of tiles, then their bodies."""
    entries, bodies = [], []
    for tile in _tiles_of(*alpha.shape):
        tile_alpha = alpha[tile.rows, tile.columns]
        first = int(tile_alpha[0, 0])
        if (tile_alpha == first).all():
            entries.append(_ENTRY.pack(_CONSTANT, first))
        else:
            bodies.append(_to_webp(tile_alpha))
            entries.append(_ENTRY.pack(_WEBP, len(bodies[-1])))
    return b"".join([*entries, *bodies])


def read_alpha(body: bytes, height: int, width: int, bit_depth: int, region: Region | None = None) -> Pixels:
    """Reads the alpha of a region, uint8 or uint16 [H, W]; None for all. Raises CorruptError."""
    tiles = _tiles_of(height, width)
    start = len(tiles) * _ENTRY.size
    if len(body) < start:
        msg = "the alpha section is shorter than its table; the file is damaged"
        raise CorruptError(msg)
    wanted = Region(0, 0, height, width) if region is None else region
    covered, numbers = covering(tiles, wanted)
    values: list[int | bytes] = []  # for each tile its value or its WebP file
    for tile, (kind, value) in zip(tiles, _ENTRY.iter_unpack(body[:start]), strict=True):
        stop = start + (value if kind == _WEBP else 0)
        webp = body[start:stop]
        if not (value < 1 << bit_depth if kind == _CONSTANT else kind == _WEBP and _is_webp_of(webp, value, tile)):
            msg = f"the alpha section has an invalid tile (number {len(values) + 1}); the file is damaged"
            raise CorruptError(msg)
        values.append(value if kind == _CONSTANT else webp)
        start = stop
    if start != len(body):
        msg = "bytes follow the end of the alpha section; the file is damaged"
        raise CorruptError(msg)
    alpha = np.empty((covered.height, covered.width), np.uint8 if bit_depth == 8 else np.uint16)
    for number in numbers:
        target, content = tiles[number].relative_to(covered), values[number]
        alpha[target.rows, target.columns] = content if isinstance(content, int) else _from_webp(content, bit_depth)
    part = wanted.relative_to(covered)
    return alpha[part.rows, part.columns]


def _to_webp(alpha: Pixels) -> bytes:
    """Encodes alpha [H, W] as lossless WebP: gray, or at 16 bits low byte, high byte and 0."""
    import PIL.Image

    low, high = (alpha & 255).astype(np.uint8), (alpha >> 8).astype(np.uint8)
    channels = (low, low, low) if alpha.itemsize == 1 else (low, high, np.zeros_like(low))
    buffer = io.BytesIO()
    PIL.Image.fromarray(np.dstack(channels)).save(buffer, "WEBP", lossless=True, quality=100, method=6)
    return buffer.getvalue()


def _is_webp_of(body: bytes, size: int, tile: Region) -> bool:
    """Checks the headers of a tile's lossless WebP file; nothing is decompressed."""
    if len(body) != size or size < _WEBP_HEAD.size:
        return False
    head = _WEBP_HEAD.unpack_from(body)
    chunk_bytes, width_and_height = head[3], tile.width - 1 | tile.height - 1 << 14  # no alpha, version 0
    wanted = (b"RIFF", size - _RIFF_HEAD_BYTES, b"WEBPVP8L", chunk_bytes, _VP8L_SIGNATURE, width_and_height)
    return head == wanted and size == _CHUNK_START + chunk_bytes + chunk_bytes % 2


def _from_webp(body: bytes, bit_depth: int) -> Pixels:
    """Decodes the WebP file of a tile. Inverts `_to_webp`."""
    from PIL.Image import DecompressionBombError
    from PIL.WebPImagePlugin import WebPImageFile

    try:
        with WebPImageFile(io.BytesIO(body)) as pil_image:  # `PIL.Image.open` would warn, too
            pixels = np.asarray(pil_image)
    except DecompressionBombError as error:
        msg = f"a tile of the alpha section exceeds PIL.Image.MAX_IMAGE_PIXELS ({error}); raise that limit"
        raise LimitError(msg) from error
    except (OSError, ValueError, SyntaxError) as error:
        msg = f"the alpha section cannot be read ({error}); the file is damaged"
        raise CorruptError(msg) from error
    if bit_depth == 8:
        return pixels[:, :, 0]
    alpha: Pixels = pixels[:, :, 0] + (pixels[:, :, 1].astype(np.uint16) << 8)
    return alpha
