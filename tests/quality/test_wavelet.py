"""Sizes and quality of the wavelet codec: the shipped photograph, and crops of Kodak's images.

Minima are the measured figures less 0.3 dB and 1.5 of SSIMULACRA2.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from statistics import fmean

import numpy as np
import PIL.Image
import pytest
import skimage.data
from common import SHARED

import dfmcodec
from dfmcodec.perception import psnr
from dfmcodec.perception.ssimulacra2 import ssimulacra2

SIDE = 256
PHOTOGRAPH = Path(dfmcodec.__file__).parent / "photographs" / "chelsea.png"


@lru_cache
def crop(path: Path) -> np.ndarray:
    with PIL.Image.open(path) as image:
        return np.ascontiguousarray(np.asarray(image.convert("RGB"))[:SIDE, :SIDE])


def figures(pixels: np.ndarray, **options: object) -> tuple[int, float, float]:
    """The size of a file, and the PSNR and SSIMULACRA2 of the image that it decodes to."""
    data = dfmcodec.encode(pixels, model="wavelet", **options).data
    decoded = dfmcodec.decode(data).pixels
    score = ssimulacra2(pixels, decoded)
    assert score is not None
    return len(data), psnr(pixels, decoded), score


@pytest.mark.parametrize(
    ("effort", "tune", "measured_db", "measured_score"),
    [(1, "visual", 32.44, 61.44), (1, "psnr", 33.28, 58.67), (5, "visual", 32.50, 63.88), (5, "psnr", 33.39, 59.40)],
)
def test_the_photograph_at_half_a_bit_per_pixel(
    effort: int, tune: str, measured_db: float, measured_score: float
) -> None:
    """(Measured: 98.3 to 99.9 % of the size.)"""
    budget = SIDE * SIDE // 16
    size, psnr_db, score = figures(crop(PHOTOGRAPH), effort=effort, tune=tune, size=budget)
    assert 0.95 * budget < size <= budget
    assert psnr_db > measured_db - 0.3
    assert score > measured_score - 1.5


def test_quality_is_monotone_and_near_the_score() -> None:
    """(Measured at 50, 75 and 90: 51.2, 75.9 and 90.3.)"""
    qualities = 30, 50, 75, 90, 95
    rows = [figures(crop(PHOTOGRAPH), effort=1, quality=quality) for quality in qualities]
    for column in zip(*rows, strict=True):
        assert list(column) == sorted(set(column))
    for quality, (_, _, score) in zip(qualities, rows, strict=True):
        assert score == pytest.approx(quality, abs=3)


@pytest.mark.parametrize("name", ["astronaut", "coffee", "camera"])
def test_sizes_are_limits_that_are_used_up(name: str) -> None:
    """From 0.1 to 2 bits per pixel."""
    pixels = np.ascontiguousarray(getattr(skimage.data, name)()[:SIDE, 100 : 100 + SIDE])
    for budget in (900, 4000, 16_000):
        assert 0.93 * budget < len(dfmcodec.encode(pixels, size=budget, effort=1).data) <= budget


@pytest.mark.slow
@pytest.mark.parametrize(
    ("effort", "tune", "measured_db", "measured_score"),
    [(1, "visual", 34.27, 62.76), (1, "psnr", 35.00, 55.13), (5, "visual", 34.27, 64.91), (5, "psnr", 35.15, 55.92)],
)
def test_kodak_at_half_a_bit_per_pixel(effort: int, tune: str, measured_db: float, measured_score: float) -> None:
    """On average over the crops."""
    paths = sorted((SHARED / "kodak").glob("*.png"))
    if not paths:
        pytest.skip(f"{SHARED / 'kodak'} is not there: a clone without the shared data")
    rows = [figures(crop(path), effort=effort, tune=tune, bpp=0.5) for path in paths]
    assert fmean(psnr_db for _, psnr_db, _ in rows) > measured_db - 0.3
    assert fmean(score for _, _, score in rows) > measured_score - 1.5
