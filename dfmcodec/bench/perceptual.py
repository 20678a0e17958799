"""SSIMULACRA2, the perceptual metric of the report, where its package is installed.

It is 100 for no difference, about 90 where none is seen, 70 for high, 50 for medium and 30 for low
quality. Higher is better.
"""

from __future__ import annotations

import importlib.util
import io
from importlib.metadata import version
from typing import Literal

from dfmcodec._types import Pixels
from dfmcodec.bench.codecs import BENCH_EXTRA, to_pil_image

PACKAGE = "ssimulacra2"
LARGEST_PIXELS = 4_000_000  # of images that are measured unasked: 2 GB of memory, 10 to 20 s a file
_SMALLEST_SIDE = 8  # below, the metric has no scale to look at and says 100

Choice = Literal["auto", "on", "off"]


def left_out(choice: Choice, pixel_counts: list[int]) -> tuple[str, ...]:
    """What the reports say about a column that they do not have, or not for all images.

    Args:
        choice: "on" and "off" are what the user wants and need no word.
        pixel_counts: The pixels of each image.
    """
    if choice != "auto":
        return ()
    if not is_installed():
        return (f"SSIMULACRA2 is left out; to have it: {BENCH_EXTRA}",)
    large = sum(count > LARGEST_PIXELS for count in pixel_counts)
    if not large:
        return ()
    images = f"{large} image{'s' * (large != 1)}"
    return (f"SSIMULACRA2 is left out above {LARGEST_PIXELS // 10**6} megapixels ({images}) without --ssimulacra2",)


def is_installed() -> bool:
    """Whether the package can be imported."""
    return importlib.util.find_spec(PACKAGE) is not None


def measures(choice: Choice, pixel_count: int) -> bool:
    """Whether an image of so many pixels is measured."""
    return choice == "on" or (choice == "auto" and is_installed() and pixel_count <= LARGEST_PIXELS)


def package_version() -> str:
    """The version of the package, which must be installed."""
    return version(PACKAGE)


def ssimulacra2(original: Pixels, decoded: Pixels) -> float | None:
    """SSIMULACRA2 of images uint8 [H, W, C] of equal shape; None for images with a side below 8."""
    from ssimulacra2 import compute_ssimulacra2

    if min(original.shape[:2]) < _SMALLEST_SIDE:
        return None
    files = []
    for pixels in (original, decoded):
        buffer = io.BytesIO()
        to_pil_image(pixels).save(buffer, "PNG", compress_level=1)
        files.append(buffer)
    return float(compute_ssimulacra2(*files))
