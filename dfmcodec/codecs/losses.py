"""Sentences that describe the losses of a damaged file."""

from __future__ import annotations


def lost_details(level: int, state: str, tile: str = "") -> str:
    """Returns a sentence about an image without its finest details.

    `level` is the coarsest lost decomposition level or grid, `state` "missing" or "damaged", and
    `tile` text such as " of tile 1 of 2".
    """
    there = " there" if tile else ""
    return f"the finest details{tile}, of up to {2 << level} pixels, are {state}; the image is blurrier{there}"
