"""The target of an encoding, for all codecs: a size, a PSNR, a SSIMULACRA2 or a Lagrange
multiplier.

`asked_target` converts the settings to a target once; no later code checks which setting was given.
A target compares the figures of trials and is independent of how trials are made. Searches move a
q_step or a lmbda with a `Controller`, by the `log_overshoot` of trials, and narrow it down with a
`Bracket`; see `rate_control`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from math import inf, log, log2
from typing import ClassVar, Protocol, TypeVar

from dfmcodec._types import Tune
from dfmcodec.image import Image
from dfmcodec.search.config import AIM_REACH, DEFAULT_RATE, MAX_AIMED_QUALITY, EncoderConfig
from dfmcodec.search.quality import lmbda_of_quality, lmbda_of_step, step_of_score

_ENOUGH_FRACTION = 0.998  # of a size budget: using more is not attempted
_EXACT_SCORE = 1e12  # larger than any PSNR and any size
_PSNR_SPARE = 0.004  # dB above a PSNR target to aim at
_FARTHEST_DB = 20.0  # the largest distance from a PSNR target; that of an exact image would be infinite
_SCORE_SPARE = 0.2  # SSIMULACRA2 above a floor to aim at
_FLOOR_REACH = 0.5  # the largest distance of SSIMULACRA2 above a floor
_AIM_ENOUGH = 0.5  # the distance of SSIMULACRA2 from an aim that counts as 0
# Of files within `AIM_REACH`, the most efficient is best: the size is in proportion to this power
# of 1 / (100 - SSIMULACRA2), and a unit of further distance counts like this fraction of the size.
# Measured on data/kodak and on photographs at 768 pixels.
_BYTES_FOR_LOSS, _MISSED_COST = 1.4, 0.02
_FAR = 1000.0  # the cost of a unit for files beyond
_PSNR_ENOUGH = 0.005  # dB above a PSNR target that count as 0


class TrialFigures(Protocol):
    """The figures of a trial."""

    @property
    def written_bytes(self) -> float:
        """The file size without ancillary data."""

    @property
    def psnr_db(self) -> float:
        """The PSNR of the decoded image; infinite for an exact one."""

    @property
    def quality(self) -> float:
        """The quality by which trials of equal size are compared: SSIMULACRA2 or PSNR."""


Trial = TypeVar("Trial", bound=TrialFigures)


@dataclass(frozen=True)
class Figures:
    """The measured or expected figures of a trial; see `TrialFigures`."""

    written_bytes: float
    psnr_db: float
    score: float | None = field(default=None, kw_only=True)  # SSIMULACRA2; None for trials that PSNR compares

    @property
    def quality(self) -> float:
        return self.psnr_db if self.score is None else self.score


class _Target(ABC):
    """The target of an encoding."""

    limits_size: ClassVar[bool] = False  # whether coarser quantisation meets the target

    @property
    def limit_bytes(self) -> int | None:
        """The largest size, for progress displays and reports; None if the target is not a size."""
        return None

    @property
    def largest_bytes(self) -> float:
        """The size above which files do not meet the target."""
        return inf

    @property
    def is_floor(self) -> bool:
        """Indicates whether the target is a least quality."""
        return False

    def of_samples(self, range_db: float) -> Target:
        """Returns the target relative to the full range of samples; see `Job.range_db`."""
        return self._itself()

    def without(self, ancillary_bytes: int) -> Target:
        """Returns the target for a file without ancillary data of the given size."""
        return self._itself()

    def as_lmbda(self) -> Target:
        """Returns the target for codecs and images without SSIMULACRA2."""
        return self._itself()

    @abstractmethod
    def meets(self, reached: TrialFigures) -> bool:
        """Indicates whether a trial meets the target."""

    @abstractmethod
    def is_close(self, reached: TrialFigures) -> bool:
        """Indicates whether a trial that meets the target is so close that it ends the search."""

    @abstractmethod
    def score(self, reached: TrialFigures) -> float:
        """Returns the score of a trial among those that meet the target: larger is better."""

    @abstractmethod
    def log_overshoot(self, reached: TrialFigures, aim: float = 1.0) -> float:
        """Returns the overshoot of a trial: above 0 if quantisation has to become coarser. It is
        the natural logarithm of a ratio of sizes, dB of PSNR, or log2 of a ratio of (100 -
        SSIMULACRA2). `aim` is the fraction of a size to aim at.
        """

    def _itself(self) -> Target:
        assert isinstance(self, Target)
        return self


@dataclass(frozen=True)
class SizeTarget(_Target):
    """A size limit of `budget_bytes`, to be used as fully as possible."""

    limits_size = True
    budget_bytes: int  # the largest size of the file
    enough_bytes: float  # the size from which on the budget counts as used

    @classmethod
    def of(cls, budget_bytes: int) -> SizeTarget:
        """Returns the target of using at least 99.8 % of a size."""
        return cls(budget_bytes, _ENOUGH_FRACTION * budget_bytes)

    @property
    def limit_bytes(self) -> int:
        return self.budget_bytes

    @property
    def largest_bytes(self) -> float:
        return self.budget_bytes

    def without(self, ancillary_bytes: int) -> SizeTarget:
        return SizeTarget.of(self.budget_bytes - ancillary_bytes)

    def meets(self, reached: TrialFigures) -> bool:
        return reached.written_bytes <= self.budget_bytes

    def is_close(self, reached: TrialFigures) -> bool:
        return reached.written_bytes >= self.enough_bytes

    def score(self, reached: TrialFigures) -> float:
        return reached.quality if reached.psnr_db < inf else _EXACT_SCORE - reached.written_bytes

    def log_overshoot(self, reached: TrialFigures, aim: float = 1.0) -> float:
        return log(reached.written_bytes / max(1.0, aim * self.budget_bytes))


@dataclass(frozen=True)
class PsnrTarget(_Target):
    """A PSNR of at least `floor_db`, in as few bytes as possible."""

    floor_db: float
    enough_db: float = _PSNR_ENOUGH  # the excess in dB that is close enough

    @property
    def is_floor(self) -> bool:
        return True

    def of_samples(self, range_db: float) -> PsnrTarget:
        return replace(self, floor_db=self.floor_db + range_db)

    def meets(self, reached: TrialFigures) -> bool:
        return reached.psnr_db >= self.floor_db

    def is_close(self, reached: TrialFigures) -> bool:
        return reached.psnr_db <= self.floor_db + self.enough_db

    def score(self, reached: TrialFigures) -> float:
        return -reached.written_bytes

    def log_overshoot(self, reached: TrialFigures, aim: float = 1.0) -> float:
        return min(max(reached.psnr_db - self.floor_db - _PSNR_SPARE, -_FARTHEST_DB), _FARTHEST_DB)


@dataclass(frozen=True)
class ScoreTarget(_Target):
    """A SSIMULACRA2: a least value in as few bytes as possible, or an approximate value."""

    goal: float
    is_least: bool  # whether lower values do not meet the target

    @property
    def is_floor(self) -> bool:
        return self.is_least

    @property
    def lmbda(self) -> float:
        """The Lagrange multiplier with which images usually reach the goal."""
        return lmbda_of_step(step_of_score(self.goal))

    def of_samples(self, range_db: float) -> Target:
        return self.as_lmbda().of_samples(range_db) if range_db and not self.is_least else self

    def as_lmbda(self) -> Target:
        return self if self.is_least else LmbdaTarget(self.lmbda)

    def meets(self, reached: TrialFigures) -> bool:
        return reached.quality >= self.goal if self.is_least else True

    def is_close(self, reached: TrialFigures) -> bool:
        if self.is_least:
            return reached.quality <= self.goal + _FLOOR_REACH
        return abs(reached.quality - self.goal) <= AIM_REACH

    def score(self, reached: TrialFigures) -> float:
        if self.is_least:
            return -reached.written_bytes
        away = abs(reached.quality - self.goal)
        if away > AIM_REACH:
            return -_FAR * away
        efficiency = log(reached.written_bytes) + _BYTES_FOR_LOSS * log(score_loss(reached.quality))
        return -(efficiency + _MISSED_COST * max(away - _AIM_ENOUGH, 0))

    def log_overshoot(self, reached: TrialFigures, aim: float = 1.0) -> float:
        goal = self.goal + _SCORE_SPARE if self.is_least else self.goal
        return log2(score_loss(goal) / score_loss(reached.quality))


def score_loss(score: float) -> float:
    """Returns 100 - SSIMULACRA2, at least 0.01."""
    return max(100 - score, 0.01)


@dataclass(frozen=True)
class LmbdaTarget(_Target):
    """A Lagrange multiplier. Every trial meets it."""

    lmbda: float  # the multiplier of MSE + lmbda * bpp, with the MSE of samples in [0, 1]

    def of_samples(self, range_db: float) -> LmbdaTarget:
        return LmbdaTarget(self.lmbda * 10 ** (-range_db / 10))

    def meets(self, reached: TrialFigures) -> bool:
        return True

    def is_close(self, reached: TrialFigures) -> bool:
        return True

    def score(self, reached: TrialFigures) -> float:
        return reached.quality

    def log_overshoot(self, reached: TrialFigures, aim: float = 1.0) -> float:
        return 0.0


Target = SizeTarget | PsnrTarget | ScoreTarget | LmbdaTarget


def best_of(target: Target, trials: Iterable[Trial]) -> Trial | None:
    """Returns the best trial that meets a target; None if none does."""
    return max(filter(target.meets, trials), key=target.score, default=None)


def asked_target(config: EncoderConfig, image: Image) -> Target:
    """Returns the target of the settings: for a complete file, and relative to `sample_max`."""
    quality = config.target_quality
    if config.psnr is not None:
        return PsnrTarget(config.psnr)
    if config.ssimulacra2 is not None:
        return ScoreTarget(config.ssimulacra2, is_least=True)
    if quality is not None and config.distortion_tune is Tune.PSNR:
        return LmbdaTarget(lmbda_of_quality(quality))
    if quality is not None:
        is_score = quality <= MAX_AIMED_QUALITY
        return ScoreTarget(quality, is_least=False) if is_score else LmbdaTarget(lmbda_of_step(step_of_score(quality)))
    if config.lmbda is not None:
        return LmbdaTarget(config.lmbda)
    return SizeTarget.of(_asked_bytes(config, image))


def _asked_bytes(config: EncoderConfig, image: Image) -> int:
    """Returns the size limit of the settings, in bytes."""
    if config.size is not None:
        return int(config.size)
    if config.bpp is not None:
        return int(config.bpp * image.pixel_count / 8)
    return int((DEFAULT_RATE if config.rate is None else config.rate) * image.raw_bytes)
