"""Image -> bytes: choose a network, fit it, quantise it to the target, write it, and decode what was written."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from math import inf
from typing import TYPE_CHECKING, Any

from dfmcodec import bitstream
from dfmcodec.decoder import decode_image, render_weights
from dfmcodec.encoder.config import EncoderConfig
from dfmcodec.encoder.sizing import choose_architecture, ladder
from dfmcodec.errors import DfmError, TargetUnreachableError
from dfmcodec.image import Image
from dfmcodec.metrics import bits_per_pixel, psnr
from dfmcodec.model import Architecture, QuantizedModel
from dfmcodec.quantize import Float64, step_per_weight

if TYPE_CHECKING:
    from dfmcodec.encoder.fit import Fit, Trainer

_AIM = 0.99  # of the budget, for the steps that the last part of the fit trains with


@dataclass(frozen=True)
class Progress:
    """What a progress display can show during a fit."""

    part: float
    steps: int
    psnr_db: float
    seconds: float
    architecture: Architecture
    budget_bytes: int | None

    @property
    def seconds_left(self) -> float:
        return self.seconds * (1 - self.part) / self.part if self.part else inf


@dataclass(frozen=True)
class EncodeReport:
    """Figures of an encoding; those of the picture are of the very bytes that it returned, decoded.

    Args:
        file_bytes: Size of the file.
        estimated_bytes: What the entropy model expected.
        section_bytes: Size of each part of the file.
        budget_bytes: The size limit; None where the target was a PSNR.
        rate: file_bytes / raw bytes.
        bpp: Bits per pixel.
        psnr_db: Of the decoded file.
        float_psnr_db: Of the fitted network before quantisation, decoded to levels alike.
        bits_per_weight: Of the range-coded stream.
        architecture: The network.
        step_indices: Quantisation step of each layer.
        steps: Gradient steps.
        fit_s: Seconds of the fit, compilation not counted.
        total_s: Seconds of the whole encoding.
        stop_reason: Why the fit ended: "steps", "time limit", "interrupted", "diverged".
        config: The settings.
    """

    file_bytes: int
    estimated_bytes: float
    section_bytes: dict[str, int]
    budget_bytes: int | None
    rate: float
    bpp: float
    psnr_db: float
    float_psnr_db: float
    bits_per_weight: float
    architecture: Architecture
    step_indices: tuple[int, ...]
    steps: int
    fit_s: float
    total_s: float
    stop_reason: str
    config: EncoderConfig

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            **asdict(self),
            "architecture": self.architecture.as_dict(),
            "step_indices": list(self.step_indices),
        }


@dataclass(frozen=True)
class EncodeResult:
    """A `.dfm` file's bytes and the report of how they came about."""

    data: bytes
    report: EncodeReport


def encode_image(
    image: Image,
    config: EncoderConfig,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> EncodeResult:
    """Encodes a picture.

    Args:
        image: The picture.
        config: Target, network, recipe.
        on_progress: Called many times during the fit.
        should_stop: Asked between chunks of steps; True ends the fit and the best so far is written.

    Raises:
        TargetUnreachableError: The target cannot be met.
    """
    started = time.perf_counter()
    metadata_bytes = len(bitstream.pack_metadata(image.metadata)) if image.metadata else 0
    run = _Run(image, config, metadata_bytes, on_progress, should_stop)
    budget = config.budget_bytes(image)
    outcome = run.to_psnr(config.psnr or 0.0) if budget is None else run.to_size(budget)

    data = bitstream.write(outcome.model, image.metadata)
    if budget is not None and len(data) > budget:
        msg = f"the file came out at {len(data)} bytes, above the limit of {budget}; please report this"
        raise DfmError(msg)
    decoded = decode_image(data, max_pixels=image.pixel_count)
    decoded_psnr = psnr(image.pixels, decoded.pixels)
    if config.psnr is not None and decoded_psnr < config.psnr:
        msg = f"the decoded file reaches {decoded_psnr:.2f} dB, not {config.psnr:.2f}"
        raise TargetUnreachableError(msg)

    header = bitstream.read_header(data, image.pixel_count)
    arch = outcome.model.architecture
    stream_bytes = header.section_bytes()["weights"] - bitstream.side_bytes(arch)
    report = EncodeReport(
        file_bytes=len(data),
        estimated_bytes=bitstream.estimate_bytes(outcome.model, metadata_bytes),
        section_bytes=header.section_bytes(),
        budget_bytes=budget,
        rate=len(data) / image.raw_bytes,
        bpp=bits_per_pixel(len(data), image.pixel_count),
        psnr_db=decoded_psnr,
        float_psnr_db=outcome.float_psnr_db,
        bits_per_weight=8 * stream_bytes / arch.weight_count,
        architecture=arch,
        step_indices=outcome.model.step_indices,
        steps=outcome.steps,
        fit_s=outcome.fit_s,
        total_s=time.perf_counter() - started,
        stop_reason=outcome.stop_reason,
        config=config,
    )
    return EncodeResult(data, report)


@dataclass(frozen=True)
class _Outcome:
    model: QuantizedModel
    float_psnr_db: float
    steps: int
    fit_s: float
    stop_reason: str


@dataclass(frozen=True)
class _Run:
    """One encoding on its way."""

    image: Image
    config: EncoderConfig
    metadata_bytes: int
    on_progress: Callable[[Progress], None]
    should_stop: Callable[[], bool]

    def to_size(self, budget_bytes: int) -> _Outcome:
        """The best picture in at most `budget_bytes`."""
        from dfmcodec.encoder.rate_control import Quantizer

        arch = choose_architecture(self.config, self.image.channels, budget_bytes, self.metadata_bytes)
        trainer = self._trainer(arch)
        rounded_from = 1 - self.config.recipe_settings.rounded_part
        fit = self._fit(trainer, 0.0, rounded_from)
        float_psnr = self._psnr_of_weights(fit, arch)
        quantizer = Quantizer(arch, self.image.height, self.image.width, trainer.sensitivity(), self.metadata_bytes)

        aim = _AIM * budget_bytes
        steps = quantizer.step_indices(quantizer.common_index_for(fit.weights, aim))
        candidates = [quantizer.settle(fit.weights, steps, budget_bytes)]
        total_steps, total_s, reason = fit.steps, fit.seconds, fit.stop_reason
        if rounded_from < 1 and fit.stop_reason in ("steps", "time limit"):
            rounded = self._fit(trainer, rounded_from, 1.0, step_per_weight(steps, arch.layer_sizes()), fit)
            candidates.append(quantizer.settle(rounded.weights, steps, budget_bytes))
            total_steps, total_s, reason = (
                fit.steps + rounded.steps,
                fit.seconds + rounded.seconds,
                rounded.stop_reason,
            )
        best = max(candidates, key=self._psnr_of)
        return _Outcome(best, float_psnr, total_steps, total_s, reason)

    def to_psnr(self, floor_db: float) -> _Outcome:
        """A small file of at least `floor_db`: networks of growing size until one reaches it."""
        from dfmcodec.encoder.rate_control import Quantizer

        best_db, steps, seconds = -inf, 0, 0.0
        for arch in ladder(self.config, self.image.channels):
            trainer = self._trainer(arch)
            fit = self._fit(trainer, 0.0, 1.0)
            steps, seconds = steps + fit.steps, seconds + fit.seconds
            sensitivity = trainer.sensitivity()
            quantizer = Quantizer(arch, self.image.height, self.image.width, sensitivity, self.metadata_bytes)
            float_psnr = self._psnr_of_weights(fit, arch)
            best_db = max(best_db, float_psnr)
            common = quantizer.common_index_of_psnr(fit.weights, self._psnr_of, floor_db)
            if common is not None:
                model = quantizer.quantize(fit.weights, quantizer.step_indices(common))
                return _Outcome(model, float_psnr, steps, seconds, fit.stop_reason)
            if fit.stop_reason == "interrupted":
                break
        msg = f"{floor_db:.2f} dB is out of reach, the best was {best_db:.2f} dB; lower --psnr or give more --steps"
        raise TargetUnreachableError(msg)

    def _trainer(self, arch: Architecture) -> Trainer:
        from dfmcodec.encoder.fit import Trainer

        return Trainer(self.image, arch, self.config.recipe_settings, self.config.seed)

    def _fit(
        self, trainer: Trainer, start: float, stop: float, rounding: Float64 | None = None, before: Fit | None = None
    ) -> Fit:
        from dfmcodec.encoder.fit import Budget

        limit = self.config.time_limit_s
        steps = self.config.steps or (inf if limit is not None else self.config.recipe_settings.steps)
        budget = Budget(steps, inf if limit is None else limit, self.should_stop)
        size_limit = self.config.budget_bytes(self.image)
        steps_before, seconds_before = (before.steps, before.seconds) if before else (0, 0.0)

        def report(done: int, seconds: float, psnr_db: float, part: float) -> None:
            total_steps, total_s = steps_before + done, seconds_before + seconds
            self.on_progress(Progress(part, total_steps, psnr_db, total_s, trainer.architecture, size_limit))

        return trainer.run(budget, start, stop, report, rounding)

    def _psnr_of(self, model: QuantizedModel) -> float:
        from dfmcodec.decoder import render

        return psnr(self.image.pixels, render(model))

    def _psnr_of_weights(self, fit: Fit, arch: Architecture) -> float:
        return psnr(self.image.pixels, render_weights(fit.weights, arch, self.image.height, self.image.width))
