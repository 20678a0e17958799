"""The choice of the next q_step, for each kind of target.

It depends on trials and on an estimator of sizes and errors, but not on how trials are made.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import replace
from math import exp2, inf, log2
from statistics import NormalDist

from dfmcodec._types import Tune
from dfmcodec.codecs.wavelet.encode.efforts import Effort
from dfmcodec.codecs.wavelet.encode.estimates import Estimator, smallest_q_step
from dfmcodec.codecs.wavelet.encode.trial import Trial
from dfmcodec.codecs.wavelet.quantizer import MAX_STEP, Q_STEP_UNIT
from dfmcodec.codecs.wavelet.transform import UNITS_PER_CODE_VALUE
from dfmcodec.errors import TargetUnreachableError
from dfmcodec.image import BIT_DEPTHS, Image, values_per_code_value
from dfmcodec.options import MAX_QUALITY
from dfmcodec.perception import mse_of_psnr
from dfmcodec.search.job import Job
from dfmcodec.search.quality import BIT_COST, lmbda_of_quality, lmbda_of_step, step_of_lmbda, step_of_score
from dfmcodec.search.rate_control import Bracket, Controller
from dfmcodec.search.target import LmbdaTarget, PsnrTarget, ScoreTarget, SizeTarget, Target

# Octaves of the q_step for a dB of PSNR, and for an octave of (100 - SSIMULACRA2);
# measured on data/kodak (docs/results/visual.md).
FOR_PSNR, FOR_SCORE = Controller(1 / 5.0, 4.0), Controller(1 / 0.9, 2.0)
_CODER_BYTES = 9  # the assumed excess of streams over their estimated size
_WORD_BYTES = 4  # the size of a word of the range coder; files grow in such words
# The ratio of the second iteration's size to the one expected from the first, whose tables are
# guesses; measured.
_SECOND_ITERATION = 0.975
_LARGEST_DRIFT = 1.01  # of RDO-iterated encodings
# By whether iterations compute dependency costs: files of effort 1 still become smaller; measured.
_SMALLEST_DRIFT = {True: 0.99, False: 0.975}
# The same for the tune `visual`, at a step of 16 code values, and its decrease per octave: coarser
# steps drop more of the coefficients with low weights. Measured at effort 1 on
# data/kodak, at q_steps between these, docs/results/visual.md.
_SECOND_ITERATION_VISUAL, _FALL_OF_OCTAVE, _MEASURED_STEPS = 0.948, 0.0187, (300, 4600)
_MIDDLE_STEP = 16 * Q_STEP_UNIT
_GUESSES = 2  # guesses of the size before the first iteration
_ENOUGH_DB = 0.03  # the excess over a PSNR target that is close enough
_OPEN_RATIO = 1.03  # the ratio of a step that fits to one that does not, above which guesses stay between them
_REFINES = 0.05  # octaves by which an iteration may move the coarsest step that is good enough
_STEP_SD = 0.58  # the standard deviation of a sample before it is rounded, in steps; measured
_SINGLE_FRACTION = 0.05  # of samples; if fewer are wrong, their errors are one code value
# The finest step, in units, for samples that use a part of 16 bits. Rounding in the synthesis
# causes an error of about 3 units, quantisation one of 0.3 steps.
_LEAST_UNITS = 4
_FARTHEST_STEP = 2  # the largest factor between the step for a SSIMULACRA2 and the usual one
_FIRST_RAISE = 0.1  # octaves from an exact step to the next, if no step is known to be too coarse


class StepSearch(ABC):
    """The search for the q_step that meets a target.

    Attributes:
        first_q_step: The q_step of the first iteration.
        needs_sample: Whether that step is a guess, which a sample of a large image improves.
    """

    first_q_step: int
    needs_sample = True

    def __init__(self, target: Target) -> None:
        self.target = target

    @abstractmethod
    def next_q_step(self, trial: Trial) -> int:
        """Returns the q_step of the next iteration."""

    @abstractmethod
    def towards_target(self, trial: Trial) -> int:
        """Returns the q_step that a trial suggests by itself."""

    def is_done(self, trial: Trial) -> bool:
        """Indicates whether no other q_step can come closer to the target than a trial that meets
        it.
        """
        return self.target.is_close(trial)

    def rank(self, trial: Trial) -> float:
        """Returns the rank of a trial among those that meet the target: larger is better."""
        return self.target.score(trial)

    @abstractmethod
    def unreachable(self, trial: Trial) -> str:
        """Returns the error message for a target that even this trial does not meet."""


class _Steps(Bracket):
    """The coarsest q_step that was good enough, and the finest that was not. The smallest
    sufficient file lies between them.
    """

    def __init__(self) -> None:
        super().__init__(0, MAX_STEP + 1)
        self._raises = 0

    @property
    def has_enough(self) -> bool:
        """Indicates whether any trial was good enough."""
        return self.low > 0

    @property
    def is_found(self) -> bool:
        """Indicates whether the step next to the coarsest sufficient one was not good enough."""
        return self.has_enough and self.is_closed

    @property
    def is_open(self) -> bool:
        """Indicates whether untried steps are left between a sufficient step and an insufficient
        one.
        """
        return self.has_enough and not self.is_closed and self.high <= MAX_STEP

    def between(self, guess: int) -> int:
        """Returns a guess if it lies between them, or the step in the middle; the coarsest
        sufficient step if that is found.
        """
        if self.is_found:
            return self.low
        return guess if not self.is_open or self.has(guess) else self.geometric_middle

    def raised(self, q_step: int) -> int:
        """Returns a coarser step. The move doubles, in octaves, each time."""
        octaves = _FIRST_RAISE * 2.0**self._raises
        self._raises += 1
        return min(max(q_step + 1, round(q_step * exp2(octaves))), MAX_STEP)


class _SmallErrors:
    """A model of errors so small that nearly all samples round to their original values. Samples
    before rounding have a normal distribution around these, with a standard deviation in proportion
    to the step.
    """

    def __init__(self, image: Image) -> None:
        self._samples = image.pixels.size
        self._of_level = values_per_code_value(image.bit_depth)

    def count(self, mse: float) -> float:
        """Returns the number of samples that are wrong by one code value, for a mean squared
        error.
        """
        return mse * self._of_level**2 * self._samples

    def usual_q_step(self, count: float = 1) -> int:
        """Returns the step at which about the given number of samples are wrong in typical
        images.
        """
        return max(1, round(Q_STEP_UNIT / (2 * _STEP_SD * self._of_level * self._distance(count))))

    def q_step_for(self, trial: Trial, count: float = 1) -> int:
        """Returns a finer step at which about the given number of samples is wrong, from a trial
        with more.
        """
        q_step, wrong = trial.model.q_step, self.count(trial.mse)
        guess = int(q_step * self._distance(wrong) / self._distance(count))
        return max(1, min(guess, q_step // 2) if self.is_many(wrong) else guess)

    def is_many(self, count: float) -> bool:
        """Indicates whether the given number of wrong samples is more than a few."""
        return count > _SINGLE_FRACTION * self._samples

    def _distance(self, count: float) -> float:
        """Returns half a code value in standard deviations, if the given number of samples is
        wrong.
        """
        return NormalDist().inv_cdf(1 - min(max(count, 1) / self._samples, 0.5) / 2)


class _Drift:
    """The change of size at a constant step from one iteration to the next.

    Files grow a little from iteration to iteration, or shrink at effort 1. This drift is
    extrapolated.
    """

    def __init__(self, effort: Effort, tune: Tune) -> None:
        self._is_iterated = effort.is_iterated
        self._learns = bool(effort.learns_after)
        self._shrinks = effort.is_iterated and tune is Tune.VISUAL
        self._expected: float | None = None  # bytes of the next trial

    def expect(self, file_bytes: float) -> None:
        """Records the size that the next trial would have without drift."""
        self._expected = file_bytes

    def is_large(self, trial: Trial) -> bool:
        """Indicates whether the next trial at the same step is expected to be much smaller."""
        return self._shrinks and trial.number == 1

    def after(self, trial: Trial) -> float:
        """Returns the ratio of the size of the next trial at the same step to that of a trial."""
        if self.is_large(trial):
            measured = min(max(trial.model.q_step, _MEASURED_STEPS[0]), _MEASURED_STEPS[1])
            return _SECOND_ITERATION_VISUAL - _FALL_OF_OCTAVE * log2(measured / _MIDDLE_STEP)
        if trial.number == 1 and not self._learns:
            return _SECOND_ITERATION
        if self._expected is None or not self._is_iterated:
            return 1.0
        return min(max(trial.file_bytes / self._expected, _SMALLEST_DRIFT[self._learns]), _LARGEST_DRIFT)


class _SizeBracket(Bracket):
    """The coarsest step whose file was too large, and the finest whose file fits."""

    def __init__(self) -> None:
        super().__init__(0, MAX_STEP + 1)

    def within(self, guess: int) -> int:
        """Returns a guess if it lies between them, or their middle. Images without detail mislead
        guesses.
        """
        is_open = 0 < _OPEN_RATIO * self.low < self.high <= MAX_STEP
        return self.geometric_middle if is_open and not self.has(guess) else guess


class SizeSteps(StepSearch):
    """The step search for a size limit, to be used as fully as possible.

    An estimator guesses the step, `_Drift` corrects it, and `_SizeBracket` keeps it between steps
    that were tried. No step is finer than one that gives an exact file.
    """

    target: SizeTarget

    def __init__(self, estimator: Estimator, effort: Effort, job: Job, target: SizeTarget) -> None:
        budget_bytes = target.budget_bytes
        enough_bytes = min(effort.enough * budget_bytes, budget_bytes - _WORD_BYTES)
        super().__init__(replace(target, enough_bytes=enough_bytes))
        self._estimator = estimator
        self._job = job
        self._aim = effort.aim * budget_bytes
        self._drift, self._bracket = _Drift(effort, job.tune), _SizeBracket()
        self.first_q_step = max(self._first_guess(), _SmallErrors(job.image).usual_q_step())
        self._least_bytes = sys.maxsize  # of a file so far

    def _first_guess(self) -> int:
        """Returns the step at which guessed tables give the target size."""
        aim = max(1.0, self._aim - _CODER_BYTES)
        q_step, guessed_bytes = self._estimator.q_step_for(aim), self._estimator.guess()
        for _ in range(_GUESSES):
            ratio = guessed_bytes(q_step) / self._estimator.rough_bytes(q_step)
            q_step = self._estimator.q_step_for(aim / ratio)
        return q_step

    def is_done(self, trial: Trial) -> bool:
        return super().is_done(trial) or trial.mse == 0 or trial.model.q_step == 1

    def next_q_step(self, trial: Trial) -> int:
        meets, is_large = self.target.meets(trial), self._drift.is_large(trial)
        self._least_bytes = min(self._least_bytes, trial.written_bytes)
        if not is_large:
            self._bracket.add(trial.model.q_step, not meets)
        guess = self._guess(trial, self._drift.after(trial))
        if not meets and not is_large:
            guess = min(max(guess, trial.model.q_step + 1), MAX_STEP)
        guess = self._bracket.within(guess)
        self._drift.expect(self._ratio(trial) * self._estimator.rough_bytes(guess))
        return guess

    def _guess(self, trial: Trial, drift: float) -> int:
        """Returns the step that a trial suggests: the ratio of its size to its rough size changes
        slowly with the step.
        """
        aim = max(1.0, self._aim - (trial.written_bytes - trial.file_bytes))
        return self._estimator.q_step_for(aim / (self._ratio(trial) * drift))

    def _ratio(self, trial: Trial) -> float:
        """Returns the ratio of a trial's size to its rough size."""
        return trial.file_bytes / self._estimator.rough_bytes(trial.model.q_step)

    def towards_target(self, trial: Trial) -> int:
        return self._guess(trial, 1.0)

    def unreachable(self, trial: Trial) -> str:
        return self._job.too_small(min(self._least_bytes, trial.written_bytes))


class PsnrSteps(StepSearch):
    """The step search for a least PSNR in as few bytes as possible."""

    target: PsnrTarget

    def __init__(self, estimator: Estimator, effort: Effort, job: Job, target: PsnrTarget) -> None:
        super().__init__(replace(target, enough_db=_ENOUGH_DB))
        self._job = job
        self._best_db = -inf
        largest_mse = mse_of_psnr(target.floor_db)
        self._errors = _SmallErrors(job.image)
        self._most_wrong = self._errors.count(largest_mse)
        self._is_fine = not self._errors.is_many(self._most_wrong)
        self._steps, self._tried = _Steps(), Counter[int]()
        if self._is_fine:
            self.first_q_step = self._errors.usual_q_step(self._most_wrong)
        else:
            self.first_q_step = smallest_q_step(lambda q_step: estimator.rough_mse(q_step) >= largest_mse)

    def is_done(self, trial: Trial) -> bool:
        if self._is_fine:
            return self._steps.is_found or trial.model.q_step == MAX_STEP
        return super().is_done(trial) or trial.model.q_step == MAX_STEP

    def next_q_step(self, trial: Trial) -> int:
        q_step = trial.model.q_step
        self._best_db = max(self._best_db, trial.psnr_db)
        self._steps.add(q_step, self.target.meets(trial))
        if self._is_fine:
            return self._steps.between(self._fine_guess(trial))
        guess = self.towards_target(trial)
        if guess == q_step and not self.target.meets(trial):
            guess = max(q_step - 1, 1)
        self._tried[q_step] += 1
        known = self._steps.between(guess)
        return guess if abs(log2(guess / known)) < _REFINES and not self._tried[guess] else known

    def towards_target(self, trial: Trial) -> int:
        return _moved(trial, FOR_PSNR.limited(FOR_PSNR.wanted(self.target, trial)))

    def _fine_guess(self, trial: Trial) -> int:
        """Returns the step after a trial whose errors are single samples."""
        q_step = trial.model.q_step
        if trial.mse == 0:
            return self._steps.raised(q_step)
        guess = self._errors.q_step_for(trial, self._most_wrong)
        return max(guess, q_step + 1) if self.target.meets(trial) else max(1, min(guess, q_step - 1))

    def unreachable(self, trial: Trial) -> str:
        best_db = max(self._best_db, trial.psnr_db)
        reason = ""
        if self._job.image.bit_depth > BIT_DEPTHS[0]:
            values = values_per_code_value(BIT_DEPTHS[-1]) / UNITS_PER_CODE_VALUE
            reason = f"; decoding rounds samples of 16 bits to multiples of {values:.0f}, several times"
        if self._job.range_db:
            reason += f"; the same samples multiplied to fill 16 bits would reach {best_db:.0f} dB"
        return self._job.out_of_reach(self.target.floor_db, "the best this image can reach is", best_db, reason)


class ScoreSteps(StepSearch):
    """The step search for a SSIMULACRA2. If it is not a floor, the step stays near the usual one,
    because an image without visible detail would allow any step.

    100 - SSIMULACRA2 is roughly proportional to a power of the step. The first iterations improve
    the image at a constant step, so they do not show which steps are good enough.
    """

    target: ScoreTarget

    def __init__(self, effort: Effort, target: ScoreTarget) -> None:
        super().__init__(target)
        self._settled_from = effort.shifts + 2 if effort.is_iterated else 1
        self._steps = _Steps()
        self._best: Trial | None = None
        self._same_side, self._was_finer = 0, False  # how often the last moves were not enough, and where they went
        self.first_q_step = min(max(round(Q_STEP_UNIT * step_of_score(target.goal)), 1), MAX_STEP)
        self._finest, self._coarsest = 1, MAX_STEP
        if not target.is_floor:
            self._finest = max(1, self.first_q_step // _FARTHEST_STEP)
            self._coarsest = min(MAX_STEP, self.first_q_step * _FARTHEST_STEP)

    def is_done(self, trial: Trial) -> bool:
        if self.target.is_floor:
            return super().is_done(trial) or self._steps.is_found or trial.model.q_step == MAX_STEP
        return super().is_done(trial) or trial.model.q_step in (self._finest, self._coarsest)

    def next_q_step(self, trial: Trial) -> int:
        q_step = trial.model.q_step
        if self._best is None or trial.quality > self._best.quality:
            self._best = trial
        if trial.number >= self._settled_from:
            self._steps.add(q_step, self.target.meets(trial))
        octaves = FOR_SCORE.wanted(self.target, trial)
        if trial.number >= self._settled_from:
            self._same_side = self._same_side + 1 if (octaves < 0) == self._was_finer else 0
            octaves *= 1 + self._same_side
        self._was_finer = octaves < 0
        guess = round(q_step * exp2(FOR_SCORE.limited(octaves)))
        if guess == q_step and self.target.is_floor and not self.target.meets(trial):
            guess -= 1
        return self._steps.between(min(max(guess, self._finest), self._coarsest))

    def towards_target(self, trial: Trial) -> int:
        wanted = _moved(trial, FOR_SCORE.limited(FOR_SCORE.wanted(self.target, trial)))
        return min(max(wanted, self._finest), self._coarsest)

    def unreachable(self, trial: Trial) -> str:
        best = self._best or trial
        return (
            f"the target of SSIMULACRA2 {self.target.goal:g} is out of reach; the best this image can reach is "
            f"{best.quality:.1f} in {best.written_bytes:,} bytes"
        )


class LmbdaSteps(StepSearch):
    """The step search for a Lagrange multiplier. The step follows from the multiplier.

    With the tune `visual`, which does not minimise MSE + lmbda * bpp, the last iteration is the
    best.
    """

    needs_sample = False

    def __init__(self, job: Job, target: LmbdaTarget) -> None:
        super().__init__(target)
        step, self._samples, self._tune = step_of_lmbda(target.lmbda), job.image.pixels.size, job.tune
        if job.range_db and job.image.bit_depth > BIT_DEPTHS[0]:
            _check_step(step, job.range_db)
        self.first_q_step = min(max(round(Q_STEP_UNIT * step), 1), MAX_STEP)

    def rank(self, trial: Trial) -> float:
        if self._tune is Tune.VISUAL:
            return trial.number
        return -(trial.mse * self._samples + 8 * trial.file_bytes * BIT_COST * (trial.model.q_step / Q_STEP_UNIT) ** 2)

    def next_q_step(self, trial: Trial) -> int:
        return self.first_q_step

    def towards_target(self, trial: Trial) -> int:
        return self.first_q_step

    def unreachable(self, trial: Trial) -> str:
        raise NotImplementedError  # every trial meets it


def _moved(trial: Trial, octaves: float) -> int:
    """Returns the step of a trial, moved by a number of octaves."""
    return min(max(round(trial.model.q_step * exp2(octaves)), 1), MAX_STEP)


def step_search(job: Job, estimator: Estimator, effort: Effort) -> StepSearch:
    """Returns the search for the target of a job."""
    match job.target:
        case SizeTarget() as target:
            return SizeSteps(estimator, effort, job, target)
        case PsnrTarget() as target:
            return PsnrSteps(estimator, effort, job, target)
        case ScoreTarget() as target:
            return ScoreSteps(effort, target)
        case LmbdaTarget() as target:
            return LmbdaSteps(job, target)


def _check_step(step: float, range_db: float) -> None:
    """Refuses a step, in code values, that is too fine for samples that use a part of 16 bits: its
    quantisation error would be lost in the rounding of the decoder's integers.
    """
    finest = _LEAST_UNITS / UNITS_PER_CODE_VALUE
    if step >= finest:
        return
    relative = 10 ** (range_db / 20)
    qualities = [q for q in range(MAX_QUALITY + 1) if step_of_lmbda(lmbda_of_quality(q)) >= finest * relative]
    named = [f"--quality {qualities[-1]}"] if qualities else []
    named.append(f"lmbda={lmbda_of_step(finest * relative):.1e} in Python")
    msg = (
        f"the target is out of reach for samples that use so small a part of 16 bits: {' or '.join(named)} is the "
        "finest; multiply the samples to fill 16 bits for a finer one"
    )
    raise TargetUnreachableError(msg)
