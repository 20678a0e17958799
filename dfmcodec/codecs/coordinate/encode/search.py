"""The search of the coordinate codec, which chooses, fits and quantises a network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from dfmcodec._types import Float64
from dfmcodec.codecs.coordinate.contents import QuantizedNetwork
from dfmcodec.codecs.coordinate.decode import render_model, render_weights
from dfmcodec.codecs.coordinate.encode.quantize import Quantizer
from dfmcodec.codecs.coordinate.encode.sizing import choose_architecture, ladder
from dfmcodec.codecs.coordinate.encode.train import Budget, Fit, Trainer
from dfmcodec.codecs.coordinate.sections import estimate_network_bytes, side_bytes, write_weights
from dfmcodec.errors import ConfigError, TargetUnreachableError
from dfmcodec.fourier.network import CoordinateArchitecture, axis_positions
from dfmcodec.fourier.quantize import step_per_weight
from dfmcodec.image import Image
from dfmcodec.perception import psnr
from dfmcodec.search.config import EncoderConfig
from dfmcodec.search.driver import End, Search, Watch, drive
from dfmcodec.search.job import Job, Outcome, Progress, restarts_text
from dfmcodec.search.target import Figures, PsnrTarget, SizeTarget

_AIM = 0.99  # fraction of the budget for the step sizes with which the last part of the fit trains


def fit_network(job: Job) -> Outcome:
    """Fits a coordinate network to an image. Raises ConfigError if decoders would refuse the
    network, and TargetUnreachableError if the target cannot be met.
    """
    match job.target:
        case SizeTarget(budget_bytes=budget_bytes):
            return _to_size(job, budget_bytes)
        case PsnrTarget() as target:
            return _to_psnr(job, target)
    msg = "the coordinate codec supports only a size or a PSNR as target"
    raise ConfigError(msg)


def _to_size(job: Job, budget_bytes: int) -> Outcome:
    """Returns the best fit whose file has at most `budget_bytes` without ancillary data."""
    image, config = job.image, job.config
    arch = choose_architecture(config, image, budget_bytes, job.too_small)
    trainer = Trainer(image, arch, config.recipe_settings, config.seed)
    rounded_from = 1 - config.recipe_settings.rounded_fraction
    fit = _fit(job, trainer, 0.0, rounded_from)
    float_psnr = _psnr_of_weights(image, fit, arch)
    quantizer = Quantizer(arch, image.height, image.width, image.bit_depth, trainer.sensitivity())

    aim = _AIM * budget_bytes
    steps = quantizer.step_indices(quantizer.common_index_for(fit.weights, aim))
    candidates = [quantizer.settle(fit.weights, steps, budget_bytes)]
    total_steps, total_s, reason = fit.steps, fit.seconds, fit.stop_reason
    if rounded_from < 1 and fit.stop_reason in ("iteration limit", "time limit"):
        rounded = _fit(job, trainer, rounded_from, 1.0, step_per_weight(steps, arch.layer_sizes()), fit)
        candidates.append(quantizer.settle(rounded.weights, steps, budget_bytes))
        total_steps, total_s = fit.steps + rounded.steps, fit.seconds + rounded.seconds
        reason = rounded.stop_reason
    best = max(candidates, key=lambda model: _psnr_of(image, model))
    return _outcome(job, best, float_psnr, total_steps, total_s, reason, trainer.restarts)


@dataclass(frozen=True)
class _Trial(Figures):
    """A network that was fitted for a PSNR."""

    model: QuantizedNetwork | None  # with the largest step sizes that reach the PSNR; None if none do
    float_psnr_db: float  # before quantisation
    stop_reason: str


class _Ladder(Search[CoordinateArchitecture, _Trial]):
    """The search over networks of growing size, until one reaches a PSNR."""

    def __init__(self, job: Job, target: PsnrTarget) -> None:
        super().__init__(target)
        self._job, self._floor_db = job, target.floor_db
        self._left = list(ladder(job.config, job.image))
        self.steps, self.seconds, self.restarts, self.best_db = 0, 0.0, 0, -inf

    def start(self) -> CoordinateArchitecture:
        return self._left.pop(0)

    def has_trials_left(self) -> bool:
        return True

    def trial(self, parameter: CoordinateArchitecture, check: Callable[[], None]) -> _Trial:
        image, config = self._job.image, self._job.config
        trainer = Trainer(image, parameter, config.recipe_settings, config.seed)
        fit = _fit(self._job, trainer, 0.0, 1.0)
        self.steps, self.seconds = self.steps + fit.steps, self.seconds + fit.seconds
        self.restarts += trainer.restarts
        quantizer = Quantizer(parameter, image.height, image.width, image.bit_depth, trainer.sensitivity())
        float_db = _psnr_of_weights(image, fit, parameter)
        self.best_db = max(self.best_db, float_db)
        common = quantizer.common_index_of_psnr(fit.weights, lambda model: _psnr_of(image, model), self._floor_db)
        if common is None:
            return _Trial(inf, -inf, None, float_db, fit.stop_reason)
        model = quantizer.quantize(fit.weights, quantizer.step_indices(common))
        size, psnr_db = estimate_network_bytes(model), _psnr_of(image, model)
        return _Trial(size, psnr_db, model, float_db, fit.stop_reason)

    def following(self, trial: _Trial, best: _Trial | None) -> CoordinateArchitecture | End:
        if best is not None or not self._left or trial.stop_reason == "interrupted":
            return End(trial.stop_reason)
        return self._left.pop(0)


def _to_psnr(job: Job, target: PsnrTarget) -> Outcome:
    """Returns a small file whose image reaches a PSNR: the first of networks of growing size."""
    search = _Ladder(job, target)
    result = drive(search, Watch(job))
    if result.best is None or result.best.model is None:
        advice = "; lower --psnr or raise --training-steps"
        raise TargetUnreachableError(
            job.out_of_reach(target.floor_db, "the best network reaches", search.best_db, advice)
        )
    best, counts = result.best, (search.steps, search.seconds)
    return _outcome(job, result.best.model, best.float_psnr_db, *counts, result.reason, search.restarts)


def _outcome(
    job: Job, model: QuantizedNetwork, float_psnr_db: float, steps: int, seconds: float, reason: str, restarts: int
) -> Outcome:
    arch, stream_bytes = model.architecture, len(write_weights(model)) - side_bytes(model.architecture)
    figures = {
        "float_psnr_db": job.reported_db(float_psnr_db),
        "bits_per_weight": 8 * stream_bytes / arch.weight_count,
        "step_indices": list(model.step_indices),
    }
    return Outcome(model, estimate_network_bytes(model), steps, seconds, reason, restarts, figures)


def _fit(
    job: Job, trainer: Trainer, start: float, stop: float, rounding: Float64 | None = None, before: Fit | None = None
) -> Fit:
    """Runs a part of the fit; see `Trainer.run`. Progress includes `before`."""
    config: EncoderConfig = job.config
    limit = config.time_limit_s
    steps = config.training_steps or (inf if limit is not None else config.recipe_settings.steps)
    budget = Budget(steps, inf if limit is None else limit, job.should_stop)
    size_limit = job.limit_bytes
    steps_before, seconds_before = (before.steps, before.seconds) if before else (0, 0.0)

    def report(done: int, seconds: float, psnr_db: float, part: float) -> None:
        what = f"{trainer.architecture.weight_count} weights{restarts_text(trainer.restarts)}"
        reported_db = job.reported_db(psnr_db)
        job.on_progress(Progress(part, steps_before + done, reported_db, seconds_before + seconds, what, size_limit))

    return trainer.run(budget, start, stop, report, rounding)


def _psnr_of(image: Image, model: QuantizedNetwork) -> float:
    return psnr(image.pixels, render_model(model), image.visible)


def _psnr_of_weights(image: Image, fit: Fit, arch: CoordinateArchitecture) -> float:
    rows, columns = axis_positions(image.height), axis_positions(image.width)
    pixels = render_weights(fit.weights, arch, rows, columns, bit_depth=image.bit_depth)
    return psnr(image.pixels, pixels, image.visible)
