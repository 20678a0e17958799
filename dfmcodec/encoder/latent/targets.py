"""What an encoding is to reach, and which q_step to try next.

A target knows trials and an estimator of sizes and errors; it does not know how trials are made.
"""

from __future__ import annotations

from collections import Counter
from math import inf, log2, sqrt
from typing import Protocol

from dfmcodec.encoder.config import BIT_PRICE, MAX_QUALITY, lmbda_of_quality, lmbda_of_step, step_of_lmbda
from dfmcodec.encoder.job import Job
from dfmcodec.encoder.latent.efforts import Effort
from dfmcodec.encoder.latent.estimates import Estimator, smallest_q_step
from dfmcodec.encoder.latent.trial import Trial
from dfmcodec.errors import TargetUnreachableError
from dfmcodec.image import BIT_DEPTHS, PEAK_LEVEL, values_per_level
from dfmcodec.latents.quantizer import MAX_STEP
from dfmcodec.latents.wavelet import UNITS_PER_LEVEL

_CODER_BYTES = 9  # by which the streams of a file are larger than estimated, before that is known
_WORD_BYTES = 4  # of a range coder, by which files grow
_SECOND_ITERATION = 0.975  # its size over what the first one's tells, as its tables are no guess; measured
_LARGEST_DRIFT = 1.01  # of refined iterations
# By whether iterations learn what symbols cost: files of effort 1 still become smaller; measured.
_SMALLEST_DRIFT = {True: 0.99, False: 0.975}
_GUESSES = 2  # how often the size is guessed before the first iteration
_DB_PER_OCTAVE = 5.0  # by which PSNR falls when q_step doubles, about
_REFINES = 0.05  # octaves of the step, by which refinement may move the one that is just enough
_EXACT_SCORE = 1e6  # above all PSNR
# The finest step, in units, for a part of 16 bits. The roundings of synthesis add up to an error of
# about 3 units, that of quantisation is 0.3 of the step.
_LEAST_UNITS = 4


class Target(Protocol):
    """The goal of an encoding."""

    first_q_step: int
    largest_bytes: float  # larger files do not meet it

    def meets(self, trial: Trial) -> bool:
        """Whether a trial may be written."""

    def is_close(self, trial: Trial) -> bool:
        """Whether a trial that meets the target leaves nothing of it unused."""

    def score(self, trial: Trial) -> float:
        """A figure by which trials that meet the target are compared: larger is better."""

    def next_q_step(self, trial: Trial) -> int:
        """The q_step of the next iteration."""

    def unreachable(self, trial: Trial) -> str:
        """The message if even this trial does not meet the target."""


class _Steps:
    """The coarsest q_step whose trial was good enough, and the finest whose trial was not: between
    them is the smallest file that is.
    """

    def __init__(self) -> None:
        self._enough, self._too_coarse = 0, MAX_STEP + 1

    def add(self, q_step: int, is_enough: bool) -> None:
        """Takes the result of a trial."""
        if is_enough:
            self._enough = max(self._enough, q_step)
        else:
            self._too_coarse = min(self._too_coarse, q_step)

    @property
    def has_enough(self) -> bool:
        """Whether a trial was good enough."""
        return self._enough > 0

    @property
    def is_found(self) -> bool:
        """Whether the next coarser step than one that was enough was not."""
        return self.has_enough and self._too_coarse - self._enough <= 1

    @property
    def is_open(self) -> bool:
        """Whether there are untried steps between a step that was enough and one that was not."""
        return 0 < self._enough < self._too_coarse - 1 and self._too_coarse <= MAX_STEP

    def between(self, guess: int) -> int:
        """A guess that is between them, or a step in their middle; the coarsest that was enough
        where it is found.
        """
        if self.is_found:
            return self._enough
        if not self.is_open or self._enough < guess < self._too_coarse:
            return guess
        return max(self._enough + 1, round(sqrt(self._enough * self._too_coarse)))


class SizeTarget:
    """At most `budget_bytes`, used up as far as possible."""

    def __init__(self, estimator: Estimator, effort: Effort, job: Job, budget_bytes: int) -> None:
        self._estimator = estimator
        self._refined = effort.refined
        self._learns = bool(effort.learns_after)
        self._job = job
        self._budget = budget_bytes
        self.largest_bytes: float = budget_bytes
        self._aim = effort.aim * budget_bytes
        self._enough = min(effort.enough * budget_bytes, budget_bytes - _WORD_BYTES)
        aim = max(1.0, self._aim - _CODER_BYTES)
        self.first_q_step = estimator.q_step_for(aim)
        for _ in range(_GUESSES):
            ratio = estimator.guessed_bytes(self.first_q_step) / estimator.rough_bytes(self.first_q_step)
            self.first_q_step = estimator.q_step_for(aim / ratio)
        self._expected: float | None = None  # bytes of the next trial
        self._exact = _Steps()
        self._too_fine, self._coarse = 0, MAX_STEP + 1  # the coarsest step that did not fit, the finest that did

    def meets(self, trial: Trial) -> bool:
        return trial.written_bytes <= self._budget

    def is_close(self, trial: Trial) -> bool:
        if trial.mse == 0:
            return self._exact.is_found  # an exact image is to cost no more than it has to
        return trial.written_bytes >= self._enough or trial.model.q_step == 1

    def score(self, trial: Trial) -> float:
        return trial.psnr_db if trial.mse > 0 else _EXACT_SCORE - trial.file_bytes

    def next_q_step(self, trial: Trial) -> int:
        """A trial's size over its rough size changes slowly with the step, so it corrects the next
        guess.

        Refinement makes files a little larger from iteration to iteration, or smaller at effort 1;
        that drift is expected to go on.
        """
        q_step = trial.model.q_step
        if trial.mse == 0 or self._exact.has_enough:
            self._exact.add(q_step, trial.mse == 0)
            return self._exact.between(min(2 * q_step, MAX_STEP))
        if self.meets(trial):
            self._coarse = min(self._coarse, q_step)
        else:
            self._too_fine = max(self._too_fine, q_step)
        drift = 1.0 if self._expected is None else trial.file_bytes / self._expected
        drift = min(max(drift, _SMALLEST_DRIFT[self._learns]), _LARGEST_DRIFT) if self._refined else 1.0
        if trial.number == 1 and not self._learns:
            drift = _SECOND_ITERATION
        ratio = trial.file_bytes / self._estimator.rough_bytes(q_step)
        aim = max(1.0, self._aim - (trial.written_bytes - trial.file_bytes))
        guess = self._estimator.q_step_for(aim / (ratio * drift))
        if not self.meets(trial):
            guess = min(max(guess, q_step + 1), MAX_STEP)
        open_bracket = 0 < 1.03 * self._too_fine < self._coarse <= MAX_STEP
        if open_bracket and not self._too_fine < guess < self._coarse:  # images without detail mislead the guess
            guess = max(self._too_fine + 1, round(sqrt(self._too_fine * self._coarse)))
        self._expected = ratio * self._estimator.rough_bytes(guess)
        return guess

    def unreachable(self, trial: Trial) -> str:
        return self._job.too_small(trial.written_bytes)


class PsnrTarget:
    """At least `floor_db`, in as few bytes as possible."""

    largest_bytes = inf

    def __init__(self, estimator: Estimator, job: Job, floor_db: float) -> None:
        self._job = job
        self._floor_db = floor_db
        self._steps, self._tried = _Steps(), Counter[int]()
        largest_mse = PEAK_LEVEL**2 * 10 ** (-floor_db / 10)
        self.first_q_step = smallest_q_step(lambda q_step: estimator.rough_mse(q_step) >= largest_mse)

    def meets(self, trial: Trial) -> bool:
        return trial.psnr_db >= self._floor_db

    def is_close(self, trial: Trial) -> bool:
        return trial.psnr_db < self._floor_db + 0.03 or trial.model.q_step == MAX_STEP

    def score(self, trial: Trial) -> float:
        return -trial.file_bytes

    def next_q_step(self, trial: Trial) -> int:
        q_step = trial.model.q_step
        above_db = min(max(trial.psnr_db - self._floor_db - 0.004, -20.0), 20.0)
        guess = round(q_step * 2 ** (above_db / _DB_PER_OCTAVE))
        if guess == q_step and not self.meets(trial):
            guess = q_step - 1
        guess = min(max(guess, 1), MAX_STEP)
        self._steps.add(q_step, self.meets(trial))
        self._tried[q_step] += 1
        known = self._steps.between(guess)
        return guess if abs(log2(guess / known)) < _REFINES and not self._tried[guess] else known

    def unreachable(self, trial: Trial) -> str:
        floor_db, best_db = map(self._job.reported_db, (self._floor_db, trial.psnr_db))
        reason = ""
        if self._job.image.bit_depth > BIT_DEPTHS[0]:
            values = values_per_level(BIT_DEPTHS[-1]) / UNITS_PER_LEVEL
            reason = f"; decoding rounds samples of 16 bits to multiples of {values:.0f}, several times"
        if self._job.range_db:
            reason += f"; the same samples multiplied to fill 16 bits would reach {trial.psnr_db:.0f} dB"
        return f"{floor_db:.2f} dB is out of reach: the best this image can reach is {best_db:.2f} dB{reason}"


class LmbdaTarget:
    """The least squared error + price of bits, at the step that belongs to a multiplier."""

    largest_bytes = inf

    def __init__(self, sample_count: int, lmbda: float) -> None:
        self._samples = sample_count
        self.first_q_step = min(max(round(64 * step_of_lmbda(lmbda)), 1), MAX_STEP)

    def meets(self, trial: Trial) -> bool:
        return True

    def is_close(self, trial: Trial) -> bool:
        return True

    def score(self, trial: Trial) -> float:
        return -(trial.mse * self._samples + 8 * trial.file_bytes * BIT_PRICE * (trial.model.q_step / 64) ** 2)

    def next_q_step(self, trial: Trial) -> int:
        return self.first_q_step

    def unreachable(self, trial: Trial) -> str:
        raise NotImplementedError  # every trial meets it


def choose_target(job: Job, estimator: Estimator, effort: Effort) -> Target:
    """The target of a job."""
    if job.budget_bytes is not None:
        return SizeTarget(estimator, effort, job, job.budget_bytes)
    if job.config.psnr is not None:
        return PsnrTarget(estimator, job, job.config.psnr)
    lmbda = job.config.target_lmbda or 0.0
    if job.range_db and job.image.bit_depth > BIT_DEPTHS[0]:
        _check_step(step_of_lmbda(lmbda), job.range_db)
    return LmbdaTarget(job.image.pixels.size, lmbda)


def _check_step(step: float, range_db: float) -> None:
    """Refuses a step, in code values, whose quantisation error would be lost in the rounding of the
    decoder's integers, for samples of 16 bits that use a part of the range.

    Raises:
        TargetUnreachableError: It is too fine; the message says what is not.
    """
    finest = _LEAST_UNITS / UNITS_PER_LEVEL
    if step >= finest:
        return
    relative = 10 ** (range_db / 20)
    qualities = [q for q in range(MAX_QUALITY + 1) if step_of_lmbda(lmbda_of_quality(q)) >= finest * relative]
    named = [f"--quality {qualities[-1]}"] if qualities else []
    named.append(f"--lmbda {lmbda_of_step(finest * relative):.1e}")
    msg = (
        f"the target is out of reach for samples that use so small a part of 16 bits: {' or '.join(named)} is the "
        "finest; multiply the samples to fill 16 bits for a finer one"
    )
    raise TargetUnreachableError(msg)
