"""The plan of a fit: initial networks, number of steps, and first Lagrange multiplier."""

from __future__ import annotations

from dataclasses import dataclass, replace

from dfmcodec._types import Float32, Tune
from dfmcodec.codecs.overfitted.encode.fit import FitSchedule
from dfmcodec.codecs.overfitted.encode.networks import Networks
from dfmcodec.codecs.overfitted.encode.quantize import pretrained_networks
from dfmcodec.codecs.overfitted.encode.smooth import SMOOTH_FRACTION, smooth_fraction
from dfmcodec.codecs.overfitted.encode.windows import colours_of
from dfmcodec.codecs.overfitted.grids import LMBDA_CODES, lmbda_of_code
from dfmcodec.codecs.overfitted.weights import OverfittedWeights, overfitted_weights_of
from dfmcodec.codecs.wavelet.contents import QuantizedLatents
from dfmcodec.codecs.wavelet.encode.efforts import QUICK
from dfmcodec.codecs.wavelet.encode.encoding import Encoding
from dfmcodec.codecs.wavelet.encode.estimates import Estimator
from dfmcodec.codecs.wavelet.encode.search import fit_latents
from dfmcodec.codecs.wavelet.quantizer import Q_STEP_UNIT
from dfmcodec.errors import ConfigError, TargetUnreachableError
from dfmcodec.report import EncodeResult
from dfmcodec.search.job import Job, Outcome
from dfmcodec.search.quality import lmbda_of_step
from dfmcodec.search.target import LmbdaTarget, PsnrTarget, ScoreTarget, SizeTarget
from dfmcodec.weights.registry import (
    OVERFITTED_DETAILED,
    OVERFITTED_FINE,
    OVERFITTED_LARGE,
    OVERFITTED_SMALL,
    OVERFITTED_WIDE,
)

EFFORT_STEPS = {1: 300, 3: 600, 5: 850, 7: 3200, 9: 12000}
# For the tune `visual`, which gains less from more steps.
VISUAL_STEPS = {1: 150, 3: 250, 5: 350, 7: 500, 9: 3200}
# Pretrained weights by minimum number of pixels, maximum fraction without details, and minimum
# multiplier. With more symbols, networks that differ more from the pretrained ones are worth their
# bits, and so are wide ones.
_WEIGHTS = (
    (200_000, 0.25, ((0.0, OVERFITTED_DETAILED), (2e-3, OVERFITTED_LARGE))),
    (200_000, SMOOTH_FRACTION, ((0.0, OVERFITTED_WIDE), (8e-4, OVERFITTED_LARGE))),
    (80_000, SMOOTH_FRACTION, ((0.0, OVERFITTED_FINE), (5e-4, OVERFITTED_LARGE))),
    (0, 1.0, ((0.0, OVERFITTED_FINE), (5e-4, OVERFITTED_SMALL))),
)
_NETWORKS_BYTES = 1000  # bytes of networks that are subtracted from a target size, or half of the size if that is less
# The fraction of the size of a wavelet file that the symbols of a fit with the tune `visual` do not
# need for the same SSIMULACRA2: of a quick file, and of one of effort 7.
_SAVED_OF_QUICK, _SAVED_BY_FIT = 0.15, 0.1
# The q_step of a quick wavelet file with the tune `psnr`, relative to that of a file of effort 7 of
# the same size, by the tune of the latter: medians of eight crops of data/kodak at three sizes.
_QUICK_STEP = {Tune.PSNR: 0.95, Tune.VISUAL: 1.18}
# With the tune `visual`, latents of smooth areas are frozen for a smaller fraction of the steps,
# because the size is only controlled after their release.
_VISUAL_FROZEN_FRACTION = 0.1
# The first lmbda: a factor times a power of the wavelet codec's lmbda, larger for smooth images.
_OF_WAVELET_LMBDA, _WAVELET_POWER, _OF_SMOOTH = 0.39, 0.88, 1.25


@dataclass(frozen=True)
class Plan:
    """The plan of a fit."""

    weights: OverfittedWeights  # to which weight deltas refer
    start: Networks
    schedule: FitSchedule
    first_lmbda: float  # of the first steps; it also determines the step size of symbols


def plan_of(job: Job, previous: EncodeResult | None = None) -> Plan:
    """Returns the plan for a job's target and effort or steps. `previous` is a file of the wavelet
    codec for this target, which predicts the first lmbda; None to make a quick one.

    Raises TargetUnreachableError if the quick file cannot meet the target, or a PSNR needs a
    smaller lmbda than files can store; ConfigError if the given lmbda is smaller than files can
    store.
    """
    lmbda = _lmbda_of_target(job, previous)
    least = lmbda_of_code(LMBDA_CODES[0])
    if job.target.limits_size:
        lmbda = max(lmbda, least)
    elif lmbda < least:
        relative = 10 ** (job.range_db / 10)
        msg = (
            f"the target needs an lmbda of {lmbda * relative:.1e}, but the minimum of the overfitted codec is "
            f"{least * relative:.1e}; "
            "use --model wavelet"
        )
        raise ConfigError(msg) if isinstance(job.target, LmbdaTarget) else TargetUnreachableError(msg)
    by_effort = VISUAL_STEPS if job.tune is Tune.VISUAL else EFFORT_STEPS
    steps = job.config.training_steps or by_effort[job.config.effort]
    weights, schedule = weights_and_schedule(colours_of(job.image), lmbda, steps)
    if job.tune is Tune.VISUAL:
        schedule = replace(schedule, frozen_fraction=_VISUAL_FROZEN_FRACTION)
    return Plan(weights, pretrained_networks(weights), schedule, lmbda)


def weights_and_schedule(colours: Float32, lmbda: float, steps: int) -> tuple[OverfittedWeights, FitSchedule]:
    """Returns the pretrained weights for colours, float32 [3, H, W] in [0, 1], and a Lagrange
    multiplier; and the schedule of the fit.
    """
    part = smooth_fraction(colours, lmbda)
    candidates = next(by_lmbda for least, most, by_lmbda in _WEIGHTS if colours[0].size >= least and part <= most)
    weights = next(weights for from_lmbda, weights in reversed(candidates) if from_lmbda <= lmbda)
    return overfitted_weights_of(weights.id), FitSchedule.of(steps)


def _lmbda_of_target(job: Job, previous: EncodeResult | None) -> float:
    """Returns the lmbda of a target. For a size or a PSNR it is derived from the lmbda with which
    the wavelet codec meets the target, excluding the bytes of networks.
    """
    match job.target:
        case LmbdaTarget(lmbda=lmbda):
            return lmbda
        case PsnrTarget() as target:
            return _first_lmbda(_wavelet_lmbda(job, target, previous))
        case ScoreTarget():
            if previous is None:
                wavelet_bytes, saved = _quick(job).estimated_bytes, _SAVED_OF_QUICK
            else:
                wavelet_bytes, saved = _written_bytes(job, previous), _SAVED_BY_FIT
            return _lmbda_of_size(job, SizeTarget.of(round(wavelet_bytes)), round(saved * wavelet_bytes), previous)
        case SizeTarget() as target:
            budget = target.budget_bytes + job.ancillary_bytes
            return _lmbda_of_size(job, target, min(_NETWORKS_BYTES, budget // 2), previous)


def _lmbda_of_size(job: Job, target: SizeTarget, other_bytes: int, previous: EncodeResult | None) -> float:
    """Returns the lmbda for a target size. Some of its bytes are not for symbols."""
    try:
        symbols_lmbda = _wavelet_lmbda(job, target.without(other_bytes), previous)
    except TargetUnreachableError:
        symbols_lmbda = _wavelet_lmbda(job, target, previous)
    lmbda = _first_lmbda(symbols_lmbda)
    return lmbda * _OF_SMOOTH if smooth_fraction(colours_of(job.image), lmbda) > SMOOTH_FRACTION else lmbda


def _first_lmbda(wavelet_lmbda: float) -> float:
    """Returns the lmbda at which this codec has the size of the wavelet codec at a given one."""
    return _OF_WAVELET_LMBDA * float(wavelet_lmbda**_WAVELET_POWER)


def _wavelet_lmbda(job: Job, target: SizeTarget | PsnrTarget, previous: EncodeResult | None) -> float:
    """Returns the lmbda with which the wavelet codec meets a target by single iterations: estimated
    from a file of this codec, or measured; less closely if the time limit ends the search.
    """
    if previous is not None:
        return lmbda_of_step(_estimated_step(job, target, previous) / Q_STEP_UNIT)
    model = _quick(replace(job, target=target, tune=Tune.PSNR)).model
    assert isinstance(model, QuantizedLatents)
    return lmbda_of_step(model.q_step / Q_STEP_UNIT)


def _estimated_step(job: Job, target: SizeTarget | PsnrTarget, previous: EncodeResult) -> float:
    """Returns the q_step for a size, or for the PSNR of the previous file."""
    q_step: int = previous.report.codec["q_step"]
    if isinstance(target, SizeTarget):
        estimator = Estimator.of(Encoding.of(job.image, QUICK, tune=job.tune))
        relative = target.budget_bytes / _written_bytes(job, previous)
        q_step = estimator.q_step_for(relative * estimator.rough_bytes(q_step))
    return _QUICK_STEP[job.tune] * q_step


def _written_bytes(job: Job, previous: EncodeResult) -> int:
    """Returns the size of the previous file without ancillary data."""
    return max(1, previous.report.file_bytes - job.ancillary_bytes)


def _quick(job: Job) -> Outcome:
    """Returns the outcome of the wavelet codec for the target of a job, by single iterations."""
    return fit_latents(replace(job, on_progress=lambda progress: None), QUICK)
