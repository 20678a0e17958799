"""The grid of tiles that large images are cut into."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from dfmcodec.image.region import Region

TILE_SIDE, TILE_GRID = 1024, 256  # pixels


def default_tiles(side: int) -> int:
    """Returns the number of tiles along an axis, so that they have about TILE_SIDE pixels."""
    return max(1, (side + TILE_SIDE // 2) // TILE_SIDE)


def tile_regions(height: int, width: int, rows: int, columns: int) -> tuple[Region, ...]:
    """Returns the tiles of an image, row by row; they begin at multiples of TILE_GRID."""
    return tuple(
        Region(top, left, bottom, right)
        for top, bottom in pairwise(_edges(height, rows))
        for left, right in pairwise(_edges(width, columns))
    )


def covering(tiles: Sequence[Region], region: Region) -> tuple[Region, list[int]]:
    """Returns the rectangle of the tiles that a region of the image touches, and their numbers."""
    parts = (tile.common(region) for tile in tiles)
    numbers = [number for number, part in enumerate(parts) if part.height > 0 and part.width > 0]
    first, last = tiles[numbers[0]], tiles[numbers[-1]]
    return Region(first.top, first.left, last.bottom, last.right), numbers


def _edges(side: int, count: int) -> list[int]:
    """Returns the first pixel of each tile along an axis, and the end of the last tile."""
    starts = [TILE_GRID * ((2 * at * side + TILE_GRID * count) // (2 * TILE_GRID * count)) for at in range(count)]
    return [*starts, side]
