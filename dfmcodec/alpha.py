"""Opacity <-> bytes, without loss: tiles of one value, or lossless WebP.

A picture's opacity is a mask far more often than it is a texture, and its edges are what people look at, so it is
not left to the lossy model. WebP's lossless mode codes masks in half the bytes of PNG.
"""

from __future__ import annotations

import io
import struct

import numpy as np

from dfmcodec.errors import CorruptError
from dfmcodec.image import Pixels
from dfmcodec.latents import Tile, Tiling, Window, default_tiles

_ENTRY = struct.Struct("<BI")
_CONSTANT, _WEBP = 0, 1


def _tiling(height: int, width: int) -> Tiling:
    return Tiling(height, width, 1, 1, default_tiles(height), default_tiles(width))


def write_alpha(alpha: Pixels) -> bytes:
    """The alpha section of opacities, [H, W]: of each tile a kind and a value or a length, then the bodies."""
    entries, bodies = [], []
    for tile in _tiling(*alpha.shape).tiles:
        part = alpha[tile.rows, tile.columns]
        first = int(part[0, 0])
        if (part == first).all():
            entries.append(_ENTRY.pack(_CONSTANT, first))
        else:
            bodies.append(_to_webp(part))
            entries.append(_ENTRY.pack(_WEBP, len(bodies[-1])))
    return b"".join([*entries, *bodies])


def read_alpha(body: bytes, height: int, width: int, bit_depth: int, window: Window | None = None) -> Pixels:
    """Inverse of `write_alpha`, for a window or the whole picture. uint8 or uint16 [H, W].

    Raises:
        CorruptError: The section is not one.
    """
    tiling = _tiling(height, width)
    start = len(tiling.tiles) * _ENTRY.size
    if len(body) < start:
        msg = "the alpha section is shorter than its table; the file is damaged"
        raise CorruptError(msg)
    wanted = Window(0, 0, height, width) if window is None else window
    covered, numbers = tiling.covering(wanted)
    alpha = np.empty((covered.height, covered.width), np.uint8 if bit_depth == 8 else np.uint16)
    for number, (kind, value) in enumerate(_ENTRY.iter_unpack(body[: len(tiling.tiles) * _ENTRY.size])):
        stop = start + (value if kind == _WEBP else 0)
        if kind not in (_CONSTANT, _WEBP) or stop > len(body) or (kind == _CONSTANT and value >= 1 << bit_depth):
            msg = "the alpha section has a tile that cannot be; the file is damaged"
            raise CorruptError(msg)
        if number in numbers:
            tile = tiling.tiles[number]
            rows = slice(tile.top - covered.top, tile.rows.stop - covered.top)
            columns = slice(tile.left - covered.left, tile.columns.stop - covered.left)
            alpha[rows, columns] = value if kind == _CONSTANT else _from_webp(body[start:stop], tile, bit_depth)
        start = stop
    if start != len(body):
        msg = "bytes follow the end of the alpha section; the file is damaged"
        raise CorruptError(msg)
    return alpha[
        wanted.top - covered.top : wanted.bottom - covered.top, wanted.left - covered.left : wanted.right - covered.left
    ]


def _to_webp(part: Pixels) -> bytes:
    """8 bits: R = G = B; 16 bits: the high byte is G, the low byte R, and B is 0."""
    import PIL.Image

    low, high = (part & 255).astype(np.uint8), (part >> 8).astype(np.uint8)
    channels = (low, low, low) if part.itemsize == 1 else (low, high, np.zeros_like(low))
    buffer = io.BytesIO()
    PIL.Image.fromarray(np.dstack(channels)).save(buffer, "WEBP", lossless=True, quality=100, method=6)
    return buffer.getvalue()


def _from_webp(body: bytes, tile: Tile, bit_depth: int) -> Pixels:
    import PIL.Image

    size = tile.geometry.width, tile.geometry.height
    try:
        with PIL.Image.open(io.BytesIO(body), formats=["WEBP"]) as picture:
            if picture.size != size or picture.mode != "RGB":
                msg = f"{picture.mode} of {picture.size} instead of RGB of {size}"
                raise ValueError(msg)
            pixels = np.asarray(picture)
    except (OSError, ValueError, SyntaxError) as error:
        msg = f"the alpha section is not readable ({error}); the file is damaged"
        raise CorruptError(msg) from error
    if bit_depth == 8:
        return pixels[:, :, 0]
    found: Pixels = pixels[:, :, 0] + (pixels[:, :, 1].astype(np.uint16) << 8)
    return found
