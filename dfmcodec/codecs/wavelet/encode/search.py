"""The search of the wavelet codec: iterations of rate-distortion optimisation until the target is
met.

The q_step follows the target from iteration to iteration, so there is no outer loop of complete
fits. An effort level sets the number of iterations and the work of each. Large images learn from a
sample first (`sample`). If the search is interrupted before it meets the target, it performs one
quick iteration.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import isfinite, nan
from typing import Any

from dfmcodec.codecs.wavelet.encode.efforts import EFFORT_LEVELS, Effort
from dfmcodec.codecs.wavelet.encode.encoding import Encoding
from dfmcodec.codecs.wavelet.encode.estimates import Estimator
from dfmcodec.codecs.wavelet.encode.iteration import Iterations
from dfmcodec.codecs.wavelet.encode.sample import (
    LEAST_PIXELS,
    SampleEstimate,
    as_image,
    iterate_sample,
    sample_job,
    sample_of,
)
from dfmcodec.codecs.wavelet.encode.steps import StepSearch, step_search
from dfmcodec.codecs.wavelet.encode.trial import Trial
from dfmcodec.codecs.wavelet.quantizer import MAX_STEP, Q_STEP_UNIT
from dfmcodec.errors import DivergedError, TargetUnreachableError
from dfmcodec.image import Image
from dfmcodec.search.driver import End, Ended, Search, Watch, drive, part_of
from dfmcodec.search.job import Job, Outcome

_MORE_ITERATIONS = 24  # iterations beyond those of the effort, until a target is met
_ENOUGH_ITERATIONS = 10  # iterations after which a size budget need not be used up; see _TRIES
_TILES_FRACTION = 0.8  # of an iteration; correction network and filter take the rest
_TRIES = 4  # the least number of iterations for that, beyond those of the effort
_SAMPLE_FRACTION = 0.1  # the fraction of progress and time limit for the sample of a large image
_FINEST_LEARNED = Q_STEP_UNIT  # finer steps depend on single samples of the image


def fit_latents(job: Job, effort: Effort | None = None) -> Outcome:
    """Encodes the latents of an image. Raises TargetUnreachableError if the target cannot be met;
    DivergedError if iterations gave NaN or infinite values too often.
    """
    watch = Watch(job)
    search = _WaveletSearch(watch, _encoding(job, job.image, effort or EFFORT_LEVELS[job.config.effort]))
    search.learn()
    best, reason = _best(search, watch)
    counts = search.iterations, watch.seconds, reason, watch.restarts
    figures = {"q_step": best.model.q_step, "trace": search.trace}
    is_known = job.image.visible is None and (search.is_untiled or best.has_pixels)
    score = best.ssimulacra2 if is_known else None
    return Outcome(best.model, best.file_bytes, *counts, figures, best.encoded, score)


def _best(search: _WaveletSearch, watch: Watch) -> tuple[Trial, str]:
    """Returns the best trial of a search, and the reason why it ended; see `fit_latents`."""
    result = drive(search, watch)
    if result.best is None:
        assert result.last is not None
        raise TargetUnreachableError(search.steps.unreachable(result.last))
    return result.best, result.reason


class _WaveletSearch(Search[int, Trial]):
    """The search for a q_step over iterations.

    Attributes:
        steps: The search that selects the next q_step.
        trace: The figures of all iterations, for reports.
    """

    can_restart = True

    def __init__(self, watch: Watch, encoding: Encoding) -> None:
        self._watch = watch
        self._iterations = Iterations(encoding)
        self._estimator = Estimator.of(encoding)
        self.steps: StepSearch = step_search(watch.job, self._estimator, encoding.effort)
        self._sample: SampleEstimate | None = None
        self.trace: list[dict[str, Any]] = []
        super().__init__(self.steps.target)

    @property
    def iterations(self) -> int:
        """The number of iterations so far."""
        return self._iterations.number

    @property
    def is_untiled(self) -> bool:
        """Indicates whether the image is one tile, whose decoded pixels are always exact."""
        return len(self._encoding.tiling.tiles) == 1

    @property
    def _encoding(self) -> Encoding:
        return self._iterations.encoding

    def learn(self) -> None:
        """Learns from a sample if the image is large."""
        self._sample = _sample_estimate(self._watch.job, self._encoding, self._estimator, self.steps)
        if self._sample is not None:
            model, encoding = self._sample.model, _after_sample(self._encoding)
            self._iterations = Iterations(encoding, adaptation=model.adaptation, image_filter=model.image_filter)
            self._watch.last_fraction(_SAMPLE_FRACTION)

    def start(self) -> int:
        return self.steps.first_q_step if self._sample is None else self._sample.q_step

    def has_trials_left(self) -> bool:
        return self.iterations < self._encoding.effort.iterations + _MORE_ITERATIONS

    def trial(self, parameter: int, check: Callable[[], None]) -> Trial:
        trial = self._iterations.iterate(parameter, self.target.largest_bytes, check, self._show_tiles)
        self.trace.append(_trace_point(self._watch.job, trial))
        return trial

    def following(self, trial: Trial, best: Trial | None) -> int | End:
        trial = self.compacted(trial)  # `steps` may hold it while others are made
        following = self.steps.next_q_step(trial)
        if self._sample is not None and trial.number < self._encoding.effort.iterations:
            following = self.steps.towards_target(self._sample.expected(trial))
        reason = self._reason_to_end(trial, best, following)
        return following if reason is None else End(reason)

    def _reason_to_end(self, trial: Trial, best: Trial | None, following: int) -> str | None:
        """Returns the reason why no iteration at the following q_step is needed; None if one is
        needed.
        """
        iterations = self._encoding.effort.iterations
        if best is not None:
            if early := self._watch.reason_to_stop():
                return early
            if trial.number >= iterations and self.steps.is_done(best):
                return "target met"
            if trial.number >= max(_ENOUGH_ITERATIONS, iterations + _TRIES):
                return "converged"
        is_settled = following == trial.model.q_step and (best is not None or following in (1, MAX_STEP))
        return "converged" if is_settled and trial.number > iterations else None

    def rank(self, trial: Trial) -> float:
        return self.steps.rank(trial)

    def compacted(self, trial: Trial) -> Trial:
        return replace(trial, encoded=None)

    def restart(self, best: Trial | None, is_again: bool) -> None:
        adaptation = None if best is None else best.model.adaptation  # whose values were finite
        number = self.iterations + 1
        self._iterations = Iterations(self._encoding, number, adaptation, is_plain=is_again)

    def hurry(self) -> bool:
        self._iterations.encoding = self._encoding.quick()
        return True

    @property
    def is_hurried(self) -> bool:
        return self._encoding.is_quick

    def show(self, trial: Trial) -> None:
        psnr_db = self._watch.job.reported_db(trial.psnr_db)
        quality = f"{psnr_db:.2f} dB, " if isfinite(psnr_db) else ""
        what = f"{quality}{trial.file_bytes:.0f} bytes{self._watch.restarts_text}"
        self._watch.show(self._fraction(trial.number), trial.number, psnr_db, what)

    def _show_tiles(self, done: int) -> None:
        """Reports progress within an iteration of a large image."""
        count, number = len(self._encoding.tiling.tiles), self.iterations
        if count > 1:
            psnr_db = self.trace[-1]["psnr_db"] if self.trace else None
            what = f"iteration {number + 1}, {done} of {count} tiles"
            fraction = self._fraction(number + _TILES_FRACTION * done / count)
            self._watch.show(fraction, number, nan if psnr_db is None else psnr_db, what)

    def _fraction(self, done: float) -> float:
        """Returns the fraction of the search for a number of iterations."""
        return min(0.99, done / max(self._encoding.effort.iterations, 3))


def _encoding(job: Job, image: Image, effort: Effort) -> Encoding:
    """Returns the encoding of an image or its sample, with the settings of a job."""
    return Encoding.of(image, effort, job.has_checks, job.tune, has_floor=job.target.is_floor)


def _after_sample(encoding: Encoding) -> Encoding:
    """Returns the encoding with the effort that remains after a sample."""
    return replace(encoding, effort=encoding.effort.after_sample())


def _sample_estimate(job: Job, encoding: Encoding, estimator: Estimator, steps: StepSearch) -> SampleEstimate | None:
    """Returns the estimate from a sample; None if the image is not large, there is nothing to
    learn, or the sample misses the target.
    """
    is_large, is_adapted = job.image.pixel_count >= LEAST_PIXELS, bool(encoding.effort.adapted_after)
    if not is_large or not (is_adapted or steps.needs_sample) or steps.first_q_step < _FINEST_LEARNED:
        return None
    sample_encoding = _encoding(job, sample_of(job.image, is_adapted), encoding.effort)
    rough = Estimator.of(sample_encoding).rough_bytes(steps.first_q_step)
    size_fraction = rough / estimator.rough_bytes(steps.first_q_step)
    watched = replace(job, on_progress=part_of(job.on_progress, 0.0, _SAMPLE_FRACTION))
    watch = Watch(sample_job(watched, sample_encoding.image, size_fraction, _SAMPLE_FRACTION))

    def check() -> None:
        if why := job.reason_to_stop(0):
            raise Ended(why)

    try:
        best, _ = _best(_WaveletSearch(watch, sample_encoding), watch)
        last, sizes = iterate_sample(_after_sample(sample_encoding), best.model.q_step, best.model, check)
    except (TargetUnreachableError, DivergedError, FloatingPointError, Ended):
        return None
    return SampleEstimate(steps.towards_target(as_image(last, size_fraction)), best.model, sizes)


def _trace_point(job: Job, trial: Trial) -> dict[str, Any]:
    """Returns the figures of an iteration; see `report.EncodeReport.codec`."""
    psnr_db = job.reported_db(trial.psnr_db) if isfinite(trial.psnr_db) else None
    q_step, file_bytes = trial.model.q_step, trial.file_bytes
    return {"iteration": trial.number, "q_step": q_step, "file_bytes": file_bytes, "psnr_db": psnr_db}
