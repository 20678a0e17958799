"""Sizes and positions of tiles and bands."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from dfmcodec.image import tiles
from dfmcodec.image.region import Region
from dfmcodec.image.tiles import default_tiles

ORIENTATIONS = 3
MAX_LEVELS = 6  # decomposition levels
MAX_TILES = 64  # the largest number of tiles along an axis


@dataclass(frozen=True)
class Geometry:
    """The sizes of the bands of a tile, or of an image without tiles."""

    height: int  # the height in pixels
    width: int  # the width in pixels
    channels: int
    levels: int  # the number of decomposition levels, 1..MAX_LEVELS

    @cached_property
    def low_sizes(self) -> tuple[tuple[int, int], ...]:
        """The (height, width) of the image, then of the low-pass band after each level."""
        sizes = [(self.height, self.width)]
        for _ in range(self.levels):
            height, width = sizes[-1]
            sizes.append((-(-height // 2), -(-width // 2)))
        return tuple(sizes)

    def symbol_count(self, finest_level: int = 0) -> int:
        """Counts the symbols of the low-pass band and of all levels down to `finest_level`."""
        height, width = self.low_sizes[finest_level]
        return self.channels * height * width

    def band_size(self, level: int, orientation: int) -> tuple[int, int]:
        """Returns the (height, width) of a band."""
        height, width = self.low_sizes[level]
        rows = height // 2 if orientation else -(-height // 2)
        columns = -(-width // 2) if orientation == 1 else width // 2
        return rows, columns


@dataclass(frozen=True)
class Tile:
    """A rectangle of an image with latents of its own."""

    top: int  # the row of its first pixel, a multiple of `TILE_GRID`
    left: int  # the column of its first pixel, a multiple of `TILE_GRID`
    geometry: Geometry  # the sizes of its bands

    @property
    def rows(self) -> slice:
        """The rows of the image that the tile covers."""
        return slice(self.top, self.top + self.geometry.height)

    @property
    def columns(self) -> slice:
        """The columns of the image that the tile covers."""
        return slice(self.left, self.left + self.geometry.width)


@dataclass(frozen=True)
class Tiling:
    """The division of an image into tiles, which are coded independently of each other.

    Tiles bound the memory for large images and allow decoding of a region. Correction network and
    image filter work across the edges of tiles.
    """

    height: int  # the height of the image in pixels
    width: int  # the width of the image in pixels
    channels: int
    levels: int  # the number of decomposition levels of each tile
    tile_rows: int = 1  # the number of tiles from top to bottom
    tile_columns: int = 1  # the number of tiles from left to right

    @classmethod
    def default(cls, height: int, width: int, channels: int) -> Tiling:
        """Returns the default tiling of an image."""
        return cls(height, width, channels, default_levels(height, width), default_tiles(height), default_tiles(width))

    @cached_property
    def tiles(self) -> tuple[Tile, ...]:
        """All tiles, row by row."""
        return tuple(
            Tile(region.top, region.left, Geometry(region.height, region.width, self.channels, self.levels))
            for region in self._regions
        )

    def covering(self, region: Region) -> tuple[Region, list[int]]:
        """Returns the tiles that a region of the image touches; see `image.tiles.covering`."""
        return tiles.covering(self._regions, region)

    @cached_property
    def _regions(self) -> tuple[Region, ...]:
        return tiles.tile_regions(self.height, self.width, self.tile_rows, self.tile_columns)


def default_levels(height: int, width: int) -> int:
    """Returns the number of decomposition levels that leave a single low-pass sample, limited to
    1..MAX_LEVELS.
    """
    return min(MAX_LEVELS, max(1, (max(height, width) - 1).bit_length()))
