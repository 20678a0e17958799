"""Tests of resampling: strips, single rows and margins."""

from __future__ import annotations

import numpy as np
import pytest

from dfmcodec.image.region import Region
from dfmcodec.image.resample import Sampling, evaluate, evaluate_strips

NOISE = np.random.default_rng(1).normal(size=(2, 400, 20)).astype(np.float32)


@pytest.mark.parametrize("rows", [1, 50, 256, 257, 300, 513])
def test_strips_are_what_the_complete_image_is(rows):
    """Also where the last strip is a single row."""
    sampling = Sampling(Region(0, 0, 400, 20), rows, 10)
    complete = evaluate(NOISE, sampling.rows(), sampling.columns())
    strips = np.concatenate(list(evaluate_strips(NOISE, sampling.rows(), sampling.columns())), axis=1)
    assert complete.shape == strips.shape == (2, rows, 10)
    assert np.abs(complete - strips).max() < 1e-5


def test_a_single_row_stands_for_all():
    """Not for the few in the middle, which are black."""
    plane = np.full((1, 30, 200), 255, dtype=np.float32)
    plane[:, 11:19] = 0
    for height, width in ((1, 30), (1, 200), (2, 30)):
        sampling = Sampling(Region(0, 0, 30, 200), height, width)
        values = evaluate(plane, sampling.rows(), sampling.columns())
        assert values.mean() == pytest.approx(plane.mean(), abs=20), (height, width)


@pytest.mark.parametrize(("height", "width"), [(10, 10), (3, 40), (1, 7), (200, 2)])
@pytest.mark.parametrize("level", [0, 1])
def test_a_margin_holds_all_that_a_region_depends_on(height, width, level):
    """Another image beyond it changes nothing."""
    region = Region(160, 200, 240, 320)
    sampling = Sampling(region, height, width)
    image = np.random.default_rng(2).normal(size=(1, 400 >> level, 520 >> level)).astype(np.float32)
    seen = region.grown(sampling.margin(level), 400, 520)
    other = np.full_like(image, 7)
    inside = slice(seen.top >> level, seen.bottom >> level), slice(seen.left >> level, seen.right >> level)
    other[0][inside] = image[0][inside]
    rows, columns = sampling.rows().from_sample(0, level), sampling.columns().from_sample(0, level)
    assert np.array_equal(evaluate(image, rows, columns), evaluate(other, rows, columns))
