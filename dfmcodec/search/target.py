"""What an encoding is to reach, the same for all models: a size, a PSNR, a SSIMULACRA2, or a
Lagrange multiplier.

A target knows what trials came to, not how they are made. Searches move a q_step or a lmbda by
a `Controller` for its `log_overshoot`, and keep what they know in a `Bracket`; see `rate_control`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf, log, log2
from typing import Protocol, TypeVar

from dfmcodec.search.job import Job

LEAST_USED = 0.97  # the fraction of a size budget that every effort uses
AIM_REACH = 2.0  # how far a SSIMULACRA2 may be from the one that is aimed at
_ENOUGH_FRACTION = 0.998  # of a size budget
_EXACT_SCORE = 1e12  # above all PSNR, and above all bytes
_PSNR_SPARE = 0.004  # dB above a PSNR target that are aimed at
_FARTHEST_DB = 20.0  # from it; an exact image would be infinitely far
_SCORE_SPARE = 0.2  # SSIMULACRA2 above a floor that are aimed at
_FLOOR_REACH = 0.5  # how far a SSIMULACRA2 may be above a floor
_AIM_ENOUGH = 0.5  # how far from an aim is as good as at it


class TrialFigures(Protocol):
    """What a trial came to."""

    @property
    def written_bytes(self) -> float:
        """The size of its file without ancillary data."""

    @property
    def psnr_db(self) -> float:
        """The PSNR of the decoded image; infinite for an exact one."""

    @property
    def quality(self) -> float:
        """What trials of equal size are compared by: SSIMULACRA2 or PSNR."""


Trial = TypeVar("Trial", bound=TrialFigures)


@dataclass(frozen=True)
class Figures:
    """What a trial that is compared by PSNR came to, or is expected to; see `TrialFigures`."""

    written_bytes: float
    psnr_db: float

    @property
    def quality(self) -> float:
        return self.psnr_db


class Target(Protocol):
    """The goal of an encoding."""

    largest_bytes: float  # larger files do not meet it
    limits_size: bool  # whether it is met by coarser quantisation, not by finer

    def meets(self, reached: TrialFigures) -> bool:
        """Whether a trial may be written."""

    def is_close(self, reached: TrialFigures) -> bool:
        """Whether a trial that meets the target leaves nothing of it unused."""

    def score(self, reached: TrialFigures) -> float:
        """A figure by which trials that meet the target are compared: larger is better."""

    def log_overshoot(self, reached: TrialFigures, aim: float = 1.0) -> float:
        """By how much a trial is finer than the target: above 0 where quantisation has to become
        coarser. The natural logarithm of a ratio of sizes, dB of PSNR, or octaves of what a
        SSIMULACRA2 is below 100.

        Args:
            reached: The trial.
            aim: The part of a size that is aimed at.
        """


class SizeTarget:
    """At most `budget_bytes`, used up as far as possible.

    Args:
        budget_bytes: The largest size of the file, without ancillary data.
        enough_bytes: How many of them have to be used; all but 0.2 % if None.
    """

    limits_size = True

    def __init__(self, budget_bytes: int, enough_bytes: float | None = None) -> None:
        self._budget = budget_bytes
        self._enough = _ENOUGH_FRACTION * budget_bytes if enough_bytes is None else enough_bytes
        self.largest_bytes: float = budget_bytes

    def meets(self, reached: TrialFigures) -> bool:
        return reached.written_bytes <= self._budget

    def is_close(self, reached: TrialFigures) -> bool:
        return reached.written_bytes >= self._enough

    def score(self, reached: TrialFigures) -> float:
        return reached.quality if reached.psnr_db < inf else _EXACT_SCORE - reached.written_bytes

    def log_overshoot(self, reached: TrialFigures, aim: float = 1.0) -> float:
        return log(reached.written_bytes / max(1.0, aim * self._budget))


class PsnrTarget:
    """At least `floor_db`, in as few bytes as possible.

    Args:
        floor_db: The least PSNR of the decoded image.
        enough_db: By how much it may be exceeded.
    """

    limits_size = False
    largest_bytes = inf

    def __init__(self, floor_db: float, enough_db: float = 0.005) -> None:
        self.floor_db = floor_db
        self._enough_db = floor_db + enough_db

    def meets(self, reached: TrialFigures) -> bool:
        return reached.psnr_db >= self.floor_db

    def is_close(self, reached: TrialFigures) -> bool:
        return reached.psnr_db <= self._enough_db

    def score(self, reached: TrialFigures) -> float:
        return -reached.written_bytes

    def log_overshoot(self, reached: TrialFigures, aim: float = 1.0) -> float:
        return min(max(reached.psnr_db - self.floor_db - _PSNR_SPARE, -_FARTHEST_DB), _FARTHEST_DB)


class ScoreTarget:
    """A SSIMULACRA2: at least so much in as few bytes as possible, or about so much.

    Args:
        goal: The SSIMULACRA2.
        is_floor: Whether less does not meet the target.
    """

    limits_size = False
    largest_bytes = inf

    def __init__(self, goal: float, is_floor: bool) -> None:
        self.goal = goal
        self.is_floor = is_floor

    def meets(self, reached: TrialFigures) -> bool:
        return reached.quality >= self.goal if self.is_floor else True

    def is_close(self, reached: TrialFigures) -> bool:
        if self.is_floor:
            return reached.quality <= self.goal + _FLOOR_REACH
        return abs(reached.quality - self.goal) <= AIM_REACH

    def score(self, reached: TrialFigures) -> float:
        return -reached.written_bytes if self.is_floor else -max(abs(reached.quality - self.goal) - _AIM_ENOUGH, 0)

    def log_overshoot(self, reached: TrialFigures, aim: float = 1.0) -> float:
        goal = self.goal + _SCORE_SPARE if self.is_floor else self.goal
        return log2(_loss(goal) / _loss(reached.quality))


def _loss(score: float) -> float:
    """What a SSIMULACRA2 is below 100."""
    return max(100 - score, 0.01)


class LmbdaTarget:
    """A Lagrange multiplier: whatever it comes to."""

    limits_size = False
    largest_bytes = inf

    def meets(self, reached: TrialFigures) -> bool:
        return True

    def is_close(self, reached: TrialFigures) -> bool:
        return True

    def score(self, reached: TrialFigures) -> float:
        return reached.quality

    def log_overshoot(self, reached: TrialFigures, aim: float = 1.0) -> float:
        return 0.0


def best_of(target: Target, trials: Iterable[Trial]) -> Trial | None:
    """The best of the trials that meet a target; None if none does."""
    return max(filter(target.meets, trials), key=target.score, default=None)


def target_of(job: Job) -> Target:
    """The target of a job for a model that takes a quality as a Lagrange multiplier."""
    if job.budget_bytes is not None:
        return SizeTarget(job.budget_bytes)
    return LmbdaTarget() if job.config.psnr is None else PsnrTarget(job.config.psnr)
