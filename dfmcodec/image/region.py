"""Rectangular regions of an image."""

from __future__ import annotations

from dataclasses import dataclass

CHANNELS = 3


@dataclass(frozen=True)
class Region:
    """Rectangular region: rows top..bottom and columns left..right, excluding bottom and right."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def height(self) -> int:
        """Returns the number of rows."""
        return self.bottom - self.top

    @property
    def width(self) -> int:
        """Returns the number of columns."""
        return self.right - self.left

    @property
    def rows(self) -> slice:
        """Returns the rows as a slice."""
        return slice(self.top, self.bottom)

    @property
    def middle(self) -> Region:
        """Returns the region of the middle pixel."""
        top, left = (self.top + self.bottom) // 2, (self.left + self.right) // 2
        return Region(top, left, top + 1, left + 1)

    @property
    def columns(self) -> slice:
        """Returns the columns as a slice."""
        return slice(self.left, self.right)

    def common(self, other: Region) -> Region:
        """Returns the intersection of two regions."""
        top, left = max(self.top, other.top), max(self.left, other.left)
        return Region(top, left, min(self.bottom, other.bottom), min(self.right, other.right))

    def relative_to(self, other: Region) -> Region:
        """Returns this region relative to the top left pixel of another."""
        return Region(self.top - other.top, self.left - other.left, self.bottom - other.top, self.right - other.left)

    def grown(self, margin: int, height: int, width: int) -> Region:
        """Returns this region with more pixels on each side, clipped to an image of this size."""
        grown = Region(self.top - margin, self.left - margin, self.bottom + margin, self.right + margin)
        return grown.common(Region(0, 0, height, width))
