"""The alpha section: alpha <-> bytes, lossless, as tiles of one value or of lossless WebP.

Alpha is far more often a mask than a texture, and people look at its edges, so it is not left to
the lossy model. The lossless mode of WebP codes masks in half the bytes of PNG.
"""

from __future__ import annotations

import io
import struct

import numpy as np

from dfmcodec._types import Pixels
from dfmcodec.errors import CorruptError
from dfmcodec.latents.geometry import Region, Tile, Tiling, default_tiles

_ENTRY = struct.Struct("<BI")
_CONSTANT, _WEBP = 0, 1


def _tiling(height: int, width: int) -> Tiling:
    return Tiling(height, width, 1, 1, default_tiles(height), default_tiles(width))


def write_alpha(alpha: Pixels) -> bytes:
    """The alpha section: a kind and a value or length for each tile, then the bodies of the tiles.

    Args:
        alpha: uint8 or uint16 [H, W].
    """
    entries, bodies = [], []
    for tile in _tiling(*alpha.shape).tiles:
        tile_alpha = alpha[tile.rows, tile.columns]
        first = int(tile_alpha[0, 0])
        if (tile_alpha == first).all():
            entries.append(_ENTRY.pack(_CONSTANT, first))
        else:
            bodies.append(_to_webp(tile_alpha))
            entries.append(_ENTRY.pack(_WEBP, len(bodies[-1])))
    return b"".join([*entries, *bodies])


def read_alpha(body: bytes, height: int, width: int, bit_depth: int, region: Region | None = None) -> Pixels:
    """Reads the alpha of a region: the inverse of `write_alpha`.

    Args:
        body: The alpha section.
        height: The height of the image, in pixels.
        width: The width of the image, in pixels.
        bit_depth: The bits per sample, 8 or 16.
        region: The region to read; None for the whole image.

    Returns:
        uint8 or uint16 [H, W] of the region.

    Raises:
        CorruptError: The section is not valid.
    """
    tiling = _tiling(height, width)
    start = len(tiling.tiles) * _ENTRY.size
    if len(body) < start:
        msg = "the alpha section is shorter than its table; the file is damaged"
        raise CorruptError(msg)
    wanted = Region(0, 0, height, width) if region is None else region
    covered, numbers = tiling.covering(wanted)
    alpha = np.empty((covered.height, covered.width), np.uint8 if bit_depth == 8 else np.uint16)
    for number, (kind, value) in enumerate(_ENTRY.iter_unpack(body[: len(tiling.tiles) * _ENTRY.size])):
        stop = start + (value if kind == _WEBP else 0)
        if kind not in (_CONSTANT, _WEBP) or stop > len(body) or (kind == _CONSTANT and value >= 1 << bit_depth):
            msg = f"the alpha section has an invalid tile (number {number + 1}); the file is damaged"
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


def _to_webp(alpha: Pixels) -> bytes:
    """A lossless WebP file of alpha, [H, W].

    At 8 bits R, G and B are equal. At 16 bits R is the low byte, G is the high byte, and B is 0.
    """
    import PIL.Image

    low, high = (alpha & 255).astype(np.uint8), (alpha >> 8).astype(np.uint8)
    channels = (low, low, low) if alpha.itemsize == 1 else (low, high, np.zeros_like(low))
    buffer = io.BytesIO()
    PIL.Image.fromarray(np.dstack(channels)).save(buffer, "WEBP", lossless=True, quality=100, method=6)
    return buffer.getvalue()


def _from_webp(body: bytes, tile: Tile, bit_depth: int) -> Pixels:
    """The inverse of `_to_webp`, for a tile that is inside a file of this bit depth.

    Raises:
        CorruptError: The body is not a WebP file of the size of the tile.
    """
    import PIL.Image

    size = tile.geometry.width, tile.geometry.height
    try:
        with PIL.Image.open(io.BytesIO(body), formats=["WEBP"]) as pil_image:
            if pil_image.size != size or pil_image.mode != "RGB":
                msg = f"{pil_image.mode} of {pil_image.size} instead of RGB of {size}"
                raise ValueError(msg)
            pixels = np.asarray(pil_image)
    except (OSError, ValueError, SyntaxError) as error:
        msg = f"the alpha section cannot be read ({error}); the file is damaged"
        raise CorruptError(msg) from error
    if bit_depth == 8:
        return pixels[:, :, 0]
    alpha: Pixels = pixels[:, :, 0] + (pixels[:, :, 1].astype(np.uint16) << 8)
    return alpha
