"""Sentences about what a damaged file has lost."""

from __future__ import annotations


def lost_details(level: int, state: str, tile: str = "") -> str:
    """Returns a sentence about an image without its finest details.

    Args:
        level: The decomposition level or grid, 0 the finest, from which on symbols are lost.
        state: What happened to them: "missing" or "damaged".
        tile: The tile that they are of, as the sentence has it: " of tile 1 of 2".
    """
    there = " there" if tile else ""
    return f"the finest details{tile}, of up to {2 << level} pixels, are {state}; the image is blurrier{there}"
