"""Qualities from 0 to 100, and the quantisation steps that they stand for."""

from __future__ import annotations

from itertools import pairwise
from math import log

# (quality, quantisation step in code values), interpolated in the logarithm of the step.
QUALITY_STEPS = ((0, 100.0), (25, 43.0), (50, 22.5), (75, 12.5), (90, 6.2), (95, 3.8), (100, 0.5))


def step_of_quality(quality: float) -> float:
    """The quantisation step of a quality in 0..100, in code values."""
    (low, coarse), (high, fine) = next(pair for pair in pairwise(QUALITY_STEPS) if pair[0][0] <= quality <= pair[1][0])
    return coarse * float((fine / coarse) ** ((quality - low) / (high - low)))


def quality_of_step(step: float) -> float | None:
    """The quality that stands for a quantisation step in code values; None if there is none."""
    for (low, coarse), (high, fine) in pairwise(QUALITY_STEPS):
        if fine <= step <= coarse:
            return low + (high - low) * log(step / coarse) / log(fine / coarse)
    return None
