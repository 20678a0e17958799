"""The wavelet codec: iterations of rate-distortion optimisation until the target is met.

The q_step follows the target from iteration to iteration, so there is no outer loop of whole fits.
An effort level is a number of iterations and what each of them does. Large images learn from a
sample before (`sample`). Who interrupts an encoding that has met no target yet gets what a
quick iteration finds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import isfinite, nan

from dfmcodec.codecs.wavelet.encode.efforts import EFFORT_LEVELS, Effort
from dfmcodec.codecs.wavelet.encode.encoding import Encoding
from dfmcodec.codecs.wavelet.encode.estimates import Estimator
from dfmcodec.codecs.wavelet.encode.iteration import first_state, iterate, restarted, shifted
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
from dfmcodec.codecs.wavelet.quantizer import MAX_STEP
from dfmcodec.errors import DivergedError, TargetUnreachableError
from dfmcodec.image import Image
from dfmcodec.search.config import BIT_COST
from dfmcodec.search.job import MAX_RESTARTS, Encoded, Job, Outcome, Progress, TracePoint, restarts_text

_MORE_ITERATIONS = 24  # beyond those of the effort, until a target is met
_ENOUGH_ITERATIONS = 10  # even if a target that is met is not used up,
_TILES_FRACTION = 0.8  # of an iteration, which goes on with machine and filter
_TRIES = 4  # but at least this number beyond those of the effort
_SAMPLE_FRACTION = 0.1  # of progress and time limit that the sample of a large image has
_FINEST_LEARNED = 64  # q_step, one code value: finer ones depend on single samples of the image


def fit_latents(job: Job, effort: Effort | None = None) -> Outcome:
    """Encodes the latents of an image.

    Args:
        job: The image and its settings.
        effort: How much work it may be; that of the job's effort level if None.

    Raises:
        TargetUnreachableError: The target cannot be met.
        DivergedError: Iterations gave NaN or infinite values again and again.
    """
    started = time.perf_counter()
    found = _search(job, _encoding(job, job.image, effort or EFFORT_LEVELS[job.config.effort]))
    best, seconds = found.best, time.perf_counter() - started
    iterations = found.iterations, seconds, found.reason, found.restarts, found.trace
    return Outcome(best.model, best.file_bytes, None, *iterations, best.made)


@dataclass(frozen=True)
class _Found:
    """What a search comes to.

    Args:
        best: The best trial that meets the target.
        iterations: How many there were.
        reason: Why the search ended; see `report.EncodeReport`.
        restarts: How often it continued after NaN or infinite values.
        trace: All trials.
    """

    best: Trial
    iterations: int
    reason: str
    restarts: int
    trace: tuple[TracePoint, ...]


def _search(job: Job, encoding: Encoding) -> _Found:
    """Iterates until the target is met; see `fit_latents`."""
    started = time.perf_counter()
    state = first_state(encoding)
    estimator = Estimator.of(encoding)
    steps = step_search(job, estimator, encoding.effort)
    best: Trial | None = None
    of_best: Encoded | None = None  # if that is the last one
    trace: list[TracePoint] = []
    q_step, reason, restarts = steps.first_q_step, "iteration limit", 0
    learned = _learned(job, encoding, estimator, steps)
    if learned is not None:
        q_step, state = learned.q_step, replace(state, adaptation=learned.adaptation)
        encoding = _after_sample(encoding)
        job = replace(job, on_progress=_part_of(job.on_progress, _SAMPLE_FRACTION, 1.0))

    def check() -> None:
        """Leaves an iteration that need not be finished, or not with this effort."""
        if best is None and encoding.is_quick:
            return
        if why := job.reason_to_stop(time.perf_counter() - started):
            raise _Ended(why)

    def on_tiles(done: int) -> None:
        """Shows how far a large image is within an iteration."""
        count = len(encoding.tiling.tiles)
        if count > 1:
            part = _part(state.number + _TILES_FRACTION * done / count, encoding.effort.iterations)
            psnr_db = trace[-1].psnr_db if trace else None
            what = f"iteration {state.number + 1}, {done} of {count} tiles"
            seconds = time.perf_counter() - started
            job.on_progress(
                Progress(part, state.number, nan if psnr_db is None else psnr_db, seconds, what, job.limit_bytes)
            )

    while state.number < encoding.effort.iterations + _MORE_ITERATIONS:
        try:
            trial, state = iterate(encoding, state, q_step, BIT_COST, steps.target.largest_bytes, check, on_tiles)
        except _Ended as ended:
            if best is None:
                encoding = encoding.quick()
                continue
            reason = ended.reason
            break
        except FloatingPointError as error:
            if restarts < MAX_RESTARTS:
                restarts += 1
                state = restarted(encoding, state, best, is_plain=restarts > 1)
                continue
            if best is None:
                raise _diverged(restarts, error) from error
            reason = "diverged"
            break
        made, trial = trial.made, replace(trial, made=None)
        trace.append(_trace_point(job, trial))
        if steps.target.meets(trial) and (best is None or steps.rank(trial) > steps.rank(best)):
            best, of_best = trial, made
        del made
        seconds = time.perf_counter() - started
        job.on_progress(_progress(job, trial, encoding.effort.iterations, seconds, restarts))
        following = steps.next_q_step(trial)
        if learned is not None and trial.number < encoding.effort.iterations:
            following = steps.towards_target(learned.expected(trial))
        stop = _reason_to_stop(job, steps, best, trial, following, encoding.effort.iterations, seconds)
        if stop is not None:
            reason = stop
            break
        of_best = None  # a further iteration needs the memory
        q_step, state = following, shifted(encoding, state)
    if best is None:
        raise TargetUnreachableError(steps.unreachable(trial))
    return _Found(replace(best, made=of_best), state.number, reason, restarts, tuple(trace))


def _encoding(job: Job, image: Image, effort: Effort) -> Encoding:
    """The encoding of an image, or of a sample of it, by the settings of a job."""
    return Encoding.of(image, effort, job.has_checks, job.tune, has_floor=job.target.is_floor)


def _after_sample(encoding: Encoding) -> Encoding:
    """The encoding with what is left to do after that of a sample."""
    return replace(encoding, effort=encoding.effort.after_sample())


def _learned(job: Job, encoding: Encoding, estimator: Estimator, steps: StepSearch) -> SampleEstimate | None:
    """What an image learns from a sample; None for one that is not large or takes one iteration,
    and where the sample does not come to the target.
    """
    is_large = job.image.pixel_count >= LEAST_PIXELS
    if not is_large or not encoding.effort.is_iterated or steps.first_q_step < _FINEST_LEARNED:
        return None
    of_sample = _encoding(job, sample_of(job.image), encoding.effort)
    rough = Estimator.of(of_sample).rough_bytes(steps.first_q_step)
    size_fraction = rough / estimator.rough_bytes(steps.first_q_step)
    watched = replace(job, on_progress=_part_of(job.on_progress, 0.0, _SAMPLE_FRACTION))
    own_job = sample_job(watched, of_sample.image, size_fraction, _SAMPLE_FRACTION)

    def check() -> None:
        if why := job.reason_to_stop(0):
            raise _Ended(why)

    try:
        best = _search(own_job, of_sample).best
        adaptation = best.model.adaptation
        last, came = iterate_sample(_after_sample(of_sample), best.model.q_step, adaptation, check)
    except (TargetUnreachableError, DivergedError, FloatingPointError, _Ended):
        return None
    return SampleEstimate(steps.towards_target(as_image(last, size_fraction)), adaptation, came)


def _part_of(on_progress: Callable[[Progress], None], first: float, last: float) -> Callable[[Progress], None]:
    """Shows the progress of a part of an encoding."""
    return lambda progress: on_progress(replace(progress, fraction=first + (last - first) * progress.fraction))


class _Ended(Exception):
    """An iteration was left."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


def _reason_to_stop(
    job: Job, steps: StepSearch, best: Trial | None, trial: Trial, following: int, iterations: int, seconds: float
) -> str | None:
    """Why no iteration at the following q_step is needed; None where one is."""
    if best is not None:
        if early := job.reason_to_stop(seconds):
            return early
        if trial.number >= iterations and steps.is_done(best):
            return "target met"
        if trial.number >= max(_ENOUGH_ITERATIONS, iterations + _TRIES):
            return "settled"
    is_settled = following == trial.model.q_step and (best is not None or following in (1, MAX_STEP))
    return "settled" if is_settled and trial.number > iterations else None


def _trace_point(job: Job, trial: Trial) -> TracePoint:
    psnr_db = job.reported_db(trial.psnr_db) if isfinite(trial.psnr_db) else None
    return TracePoint(trial.number, trial.model.q_step, trial.file_bytes, psnr_db)


def _progress(job: Job, trial: Trial, iterations: int, seconds: float, restarts: int) -> Progress:
    part = _part(trial.number, iterations)
    psnr_db = job.reported_db(trial.psnr_db)
    quality = f"{psnr_db:.2f} dB, " if isfinite(psnr_db) else ""
    what = f"{quality}{trial.file_bytes:.0f} bytes{restarts_text(restarts)}"
    return Progress(part, trial.number, psnr_db, seconds, what, job.limit_bytes)


def _part(done: float, iterations: int) -> float:
    """The part of a search that some iterations are."""
    return min(0.99, done / max(iterations, 3))


def _diverged(restarts: int, error: FloatingPointError) -> DivergedError:
    return DivergedError(
        f"the fit diverged {restarts + 1} times (NaN or infinite values: {error}), a fault of this host or program; "
        "try again, then please report it"
    )
