"""Qualities from 0 to 100, quantisation steps and Lagrange multipliers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import sqrt

from dfmcodec.image import PEAK_CODE_VALUE

# (quality, quantisation step in code values), interpolated in the logarithm of the step.
QUALITY_STEPS = ((0, 100.0), (25, 43.0), (50, 22.5), (75, 12.5), (90, 6.2), (95, 3.8), (100, 0.5))

# (SSIMULACRA2, the step at which photographs reach it on average with the tune `visual`); measured
# on data/kodak, docs/results/visual.md.
SCORE_STEPS = (
    *((0, 71.0), (20, 52.5), (52, 28.4), (67, 18.8), (76, 12.8), (82.5, 9.1), (87, 6.2), (92, 3.6)),
    (100, 0.5),  # above 92, towards lossless
)

# The cost of a bit in squared quantisation steps, which ties lmbda to the step. The best measured
# value, docs/measurements.md.
BIT_COST = 0.26
VISUAL_BIT_COST = 0.33  # the same for the tune `visual`, docs/results/visual.md
_SAMPLES_PER_PIXEL = 3


def step_of_score(score: float) -> float:
    """Returns the quantisation step, in code values, that reaches about a SSIMULACRA2 of 0..100."""
    return _interpolated(SCORE_STEPS, score)


def step_of_quality(quality: float) -> float:
    """Returns the quantisation step of a quality in 0..100, in code values."""
    return _interpolated(QUALITY_STEPS, quality)


def lmbda_of_quality(quality: float) -> float:
    """Returns the Lagrange multiplier of a quality in 0..100."""
    return lmbda_of_step(step_of_quality(quality))


def lmbda_of_step(step: float) -> float:
    """Returns the Lagrange multiplier of a step in code values. Inverts `step_of_lmbda`."""
    return BIT_COST / _SAMPLES_PER_PIXEL * (step / PEAK_CODE_VALUE) ** 2


def step_of_lmbda(lmbda: float) -> float:
    """Returns the quantisation step, in code values, for the lmbda of the loss MSE + lmbda * bpp,
    with the MSE of samples in [0, 1].

    A pixel has 3 samples, so a bit costs lmbda * 3 * 255^2 squared code values. The step makes this
    BIT_COST squared steps.
    """
    return PEAK_CODE_VALUE * sqrt(lmbda * _SAMPLES_PER_PIXEL / BIT_COST)


def _interpolated(steps: Sequence[tuple[float, float]], at: float) -> float:
    (low, coarse), (high, fine) = next(pair for pair in pairwise(steps) if pair[0][0] <= at <= pair[1][0])
    return coarse * float((fine / coarse) ** ((at - low) / (high - low)))
