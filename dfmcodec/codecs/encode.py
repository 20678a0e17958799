"""The encoder: Image -> bytes of a `.dfm` file. It fits the model, writes and decodes the file."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import inf
from typing import Any

import numpy as np

from dfmcodec import container
from dfmcodec._types import Notify, Tune
from dfmcodec.choice import choose
from dfmcodec.codecs.decode import DecodeRequest, decode_image, decode_written
from dfmcodec.codecs.record import Codec, codec_of
from dfmcodec.codecs.textured import Candidate, before_texture, may_have_texture, texture_bytes, with_texture
from dfmcodec.container.checks import CHECK_BYTES, CHECKS_FRACTION
from dfmcodec.container.layout import Section
from dfmcodec.errors import ConfigError, DfmError, DivergedError, ImageError, TargetUnreachableError
from dfmcodec.image import BIT_DEPTHS, PEAK_CODE_VALUE, Image, peak_value
from dfmcodec.image.alpha_fill import fill_invisible
from dfmcodec.kernels import require_kernels
from dfmcodec.models import Model
from dfmcodec.options import EFFORTS
from dfmcodec.perception import bits_per_pixel, psnr, psnr_of_mse
from dfmcodec.perception.ssimulacra2 import ALL_SCALES_SIDE, SMALLEST_SIDE, ssimulacra2
from dfmcodec.report import EncodeReport, EncodeResult
from dfmcodec.search.config import LEAST_USED, EncoderConfig
from dfmcodec.search.driver import part_of
from dfmcodec.search.job import Job, Outcome, Progress, restarts_text
from dfmcodec.search.quality import step_of_score
from dfmcodec.search.target import (
    PsnrTarget,
    ScoreTarget,
    SizeTarget,
    Target,
    asked_target,
)
from dfmcodec.threads import one_core_products

_RAW_IS_SMALL = 1 << 12  # raw sizes up to this many bytes may be exceeded: the container alone may be larger
_LEAST_SECONDS = 1e-3  # the least time limit, which has to be positive
_SMALLER_FRACTION = 0.9  # the size of an overfitted file relative to the wavelet file
_FIRST_MODEL_FRACTION = 0.05  # the first codec's fraction of the progress if two are tried


def encode_image(
    image: Image,
    config: EncoderConfig,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    should_stop: Callable[[], bool] = lambda: False,
    notify: Notify = lambda notice: None,
) -> EncodeResult:
    """Encodes an image.

    Args:
        image: The image.
        config: The settings.
        on_progress: Called often during the fit, and at the end with the figures of the file.
        should_stop: Called between chunks of steps; True ends the fit, and the best result so far
            is written.
        notify: Receives a notice if quality is relative to a part of the range of samples, and if
            samples of 16 bits are converted to 8 bits.

    Raises:
        ImageError: A sample is above `sample_max`; or 16-bit samples use only 8 bits and
            `sample_max` is not given.
        TargetUnreachableError: The target cannot be met.
        ConfigError: The overfitted codec cannot represent the given lmbda; or the codec does not
            support the tune.
        DivergedError: The fit diverged too often.
        MissingPackageError: The codec is fitted with JAX, which is not installed.
        InstallationError: There are no compiled kernels.
    """
    require_kernels()
    image, config = _with_range(image, config, notify)
    config = _with_measure(image, config, notify)
    models = config.models(image.pixel_count)
    encoders = [codec_of(model).encoder() for model in models]
    for encoder in encoders:
        encoder.check()
    with one_core_products():
        result = _best(_Request(image, config, on_progress, should_stop), models)
    report = result.report
    what = f"{report.psnr_db:.2f} dB, {report.file_bytes} bytes{restarts_text(report.restarts)}"
    on_progress(Progress(1.0, report.iterations, report.psnr_db, report.total_s, what, report.limit_bytes))
    return result


def _with_range(image: Image, config: EncoderConfig, notify: Notify) -> tuple[Image, EncoderConfig]:
    """Returns the image to encode, and the settings with the range that they are relative to.

    The decoder's integers have a resolution of about 4 values of 16 bits. That is too coarse for
    samples up to 255, so such an image is encoded as 8 bits if the settings ask for it.
    """
    if config.sample_max is None:
        notice = image.range_notice("quality and PSNR")
        if notice is None:
            return image, config
        if image.sample_max == PEAK_CODE_VALUE:
            msg = (
                f"the image's samples reach only {image.largest_sample} of {peak_value(image.bit_depth)}: 8 bits "
                "stored in 16; convert the image to 8 bits, or encode it in Python with sample_max=255 (8 bits of the "
                "same values) or sample_max=65535 (as it is, nearly black)"
            )
            raise ImageError(msg)
        notify(notice)
        return image, replace(config, sample_max=image.sample_max)
    if image.largest_sample > config.sample_max:
        msg = f"the image's samples reach {image.largest_sample}, above sample_max={config.sample_max}"
        raise ImageError(msg)
    if image.bit_depth == BIT_DEPTHS[0] or config.sample_max > PEAK_CODE_VALUE:
        return image, config
    narrow = image.in_8_bits()
    notify(f"its {image.bit_depth}-bit samples become 8-bit ones of the same values (sample_max={config.sample_max})")
    return narrow, config


def _with_measure(image: Image, config: EncoderConfig, notify: Notify) -> EncoderConfig:
    """Returns the settings with a tune and a target that the image supports. Images too small for
    all scales of SSIMULACRA2 are encoded for PSNR unless another tune is given. Raises ConfigError
    if the target is a SSIMULACRA2 of samples that use a part of 16 bits.
    """
    if config.range_db(image.bit_depth) > 0:  # SSIMULACRA2 needs display values
        if config.ssimulacra2 is not None:
            msg = "ssimulacra2 cannot be a target for samples that use a part of 16 bits; choose psnr or quality"
            raise ConfigError(msg)
        return replace(config, tune=config.tune or Tune.PSNR.value)
    smallest = min(image.pixels.shape[:2])
    if config.ssimulacra2 is None:
        return replace(config, tune=config.tune or Tune.PSNR.value) if smallest < ALL_SCALES_SIDE else config
    if smallest >= SMALLEST_SIDE:
        return config
    psnr_db = psnr_of_mse(step_of_score(config.ssimulacra2) ** 2 / 12)
    notify(
        f"images with a side below {SMALLEST_SIDE} have no SSIMULACRA2; the target is {psnr_db:.1f} dB of PSNR instead"
    )
    return replace(config, ssimulacra2=None, psnr=psnr_db, tune=None)


@dataclass(frozen=True)
class _Request:
    """An image to encode with one codec, and the resolved settings."""

    image: Image
    config: EncoderConfig
    on_progress: Callable[[Progress], None]
    should_stop: Callable[[], bool]

    @property
    def target(self) -> Target:
        """The target of the complete file."""
        return asked_target(self.config, self.image)


def _best(request: _Request, models: Sequence[Model]) -> EncodeResult:
    """Returns the best encoding among several codecs; see `choice`. Raises the error of the first
    codec if all fail.
    """
    started, config = time.perf_counter(), request.config
    candidates: list[Candidate] = []
    errors: list[DfmError] = []
    for number, model in enumerate(models):
        previous = _chosen(candidates, request).result if candidates else None
        if previous is not None and (request.should_stop() or _left_s(config, started) <= 0):
            break
        try:
            candidates.append(_encoded(_for_model(request, models, number, started, previous), model, previous))
        except (TargetUnreachableError, ConfigError, DivergedError) as error:  # another codec may do better
            errors.append(error)
    if not candidates:
        raise errors[0]
    last, latest = codec_of(models[-1]).encoder(), candidates[-1].result.report
    if latest.ended_early and last.fallback is not None and last.fallback not in models:
        candidates += _quick(request, last.fallback, latest.stop_reason)
    best = _textured(_chosen(candidates, request), request)
    total_s = time.perf_counter() - started
    report = replace(best.report, config=config, limit_bytes=request.target.limit_bytes, total_s=total_s)
    return replace(best, report=report)


def _chosen(candidates: Sequence[Candidate], request: _Request) -> Candidate:
    """Returns the best of several files; see `choice`."""
    best = choose([candidate.result for candidate in candidates], request.image, request.target)
    return next(candidate for candidate in candidates if candidate.result is best)


def _textured(candidate: Candidate, request: _Request) -> EncodeResult:
    """Returns a file with its texture, checked against the target; see `textured`."""
    image, target, job = request.image, request.target, candidate.job
    encoder = codec_of(candidate.model.architecture.model).encoder()
    has_checks = not target.limits_size or job.has_checks
    result = with_texture(candidate, encoder, image, target, _ancillary(image), has_checks)
    _check_size(target, image, len(result.data))
    _check_quality(target, result.report.psnr_db, result.report.ssimulacra2)
    return result


def _left_s(config: EncoderConfig, started: float) -> float:
    """Returns the seconds that are left of the time limit."""
    return inf if config.time_limit_s is None else config.time_limit_s - (time.perf_counter() - started)


def _for_model(
    request: _Request, models: Sequence[Model], number: int, started: float, previous: EncodeResult | None
) -> _Request:
    """Returns the request for one of several codecs, with its part of the time and the progress.

    With the tune `visual` and neither a size nor a SSIMULACRA2 as target, a later file has fewer
    bytes than the previous one.
    """
    config, ends = request.config, (_FIRST_MODEL_FRACTION, 1.0)
    if number == 0:
        ends = 0.0, 1.0 if len(models) == 1 else _FIRST_MODEL_FRACTION
    elif config.time_limit_s is not None:
        config = replace(config, time_limit_s=max(_left_s(config, started), _LEAST_SECONDS))
    has_aim = isinstance(request.target, SizeTarget | ScoreTarget)
    if previous is not None and config.distortion_tune is Tune.VISUAL and not has_aim:
        others: dict[str, Any] = dict.fromkeys(config.targets())
        size = max(1, int(_SMALLER_FRACTION * len(previous.data)))
        config = replace(config, **others, size=size, tune=Tune.VISUAL.value)
    return replace(request, config=config, on_progress=part_of(request.on_progress, *ends))


def _quick(request: _Request, model: Model, stop_reason: str) -> list[Candidate]:
    """Returns the quickest encoding by a codec, for a request that ended early for a reason; an
    empty list if it does not meet the target.
    """
    config = replace(
        request.config,
        model=model.value,
        effort=EFFORTS[0],
        training_steps=None,
        tune=request.config.distortion_tune.value,
        time_limit_s=_LEAST_SECONDS,
    )
    try:
        quick = _encoded(replace(request, config=config, on_progress=lambda progress: None), model)
    except TargetUnreachableError:
        return []
    report = replace(quick.result.report, stop_reason=stop_reason)
    return [replace(quick, result=replace(quick.result, report=report))]


def _encoded(request: _Request, model: Model, previous: EncodeResult | None = None) -> Candidate:
    """Encodes with one codec, without texture; see `encode_image`. Raises TargetUnreachableError if
    the encoder gives up because the file would be worse than the previous one.
    """
    started, image, target = time.perf_counter(), request.image, request.target
    ancillary = _ancillary(image)
    job = _job(request, codec_of(model), ancillary)
    outcome = codec_of(model).encoder().encode(job, previous)

    has_checks = not target.limits_size or job.has_checks
    data = container.write(outcome.model, ancillary, checked=has_checks)
    _check_size(target, image, len(data))
    report = _report(job, image, outcome, data)
    encoded, score, written = outcome.encoded, outcome.ssimulacra2, outcome.model
    del outcome  # a large image needs the memory for decoding
    decoding = DecodeRequest(max_pixels=image.pixel_count)
    if encoded is None:
        decoded = decode_image(data, decoding)
    else:
        decoded = decode_written(data, encoded.samples, encoded.region, encoded.pixels, decoding)
    del encoded
    if not _same_alpha(image, decoded):
        msg = "the decoded alpha channel differs from the original; please report this"
        raise DfmError(msg)
    decoded_psnr = job.reported_db(psnr(image.pixels, decoded.pixels, image.visible))
    if score is None and job.tune is Tune.VISUAL:
        score = ssimulacra2(image.samples, decoded.samples)
    _check_quality(target, decoded_psnr, score)
    figures = report(psnr_db=decoded_psnr, ssimulacra2=score, total_s=time.perf_counter() - started)
    return Candidate(EncodeResult(data, figures, decoded), job, written)


def _ancillary(image: Image) -> dict[Section, bytes]:
    """Returns the sections of the ancillary data of an image."""
    gray_as_rgb = image.channels > 1 and image.is_gray
    return container.ancillary_sections(container.Ancillary(image.metadata, image.alpha, gray_as_rgb))


def _job(request: _Request, codec: Codec, ancillary: dict[Section, bytes]) -> Job:
    """Returns the job of encoding an image with a codec.

    A size budget includes checks, except those of the model's optional sections, unless all of them
    may take too large a fraction of the file.
    """
    encoder, target = codec.encoder(), request.target
    coded, budget = _as_coded(request.image), target.limit_bytes
    needed = container.checks_file_bytes(1 + len(ancillary), encoder.symbol_checks(coded))
    most = needed + len(codec.header.optional_sections) * CHECK_BYTES
    has_checks = budget is not None and most <= CHECKS_FRACTION * LEAST_USED * budget
    is_textured = may_have_texture(encoder, coded, request.config, target)
    reserved = texture_bytes(budget) if is_textured and budget is not None else 0
    target = before_texture(target) if is_textured else target
    return Job.of(
        coded,
        request.config,
        target if encoder.aims_at_scores else target.as_lmbda(),
        container.sections_file_bytes(ancillary) + (needed if has_checks else 0) + reserved,
        has_checks=has_checks,
        metadata_bytes=len(ancillary.get(Section.METADATA, b"")),
        texture_bytes=reserved,
        on_progress=request.on_progress,
        should_stop=request.should_stop,
    )


def _check_size(target: Target, image: Image, size: int) -> None:
    """Rejects a file above its size limit, and one for a PSNR above the raw samples."""
    match target:
        case SizeTarget(budget_bytes=budget) if size > budget:
            msg = f"the file came out at {size} bytes, above the limit of {budget}; please report this"
            raise DfmError(msg)
        case PsnrTarget(floor_db=floor_db) if size > max(image.raw_bytes, _RAW_IS_SMALL):
            msg = (
                f"{floor_db:.2f} dB take {size:,} bytes, more than the {image.raw_bytes:,} of the raw samples; "
                "choose a lower PSNR"
            )
            raise TargetUnreachableError(msg)


def _check_quality(target: Target, psnr_db: float, score: float | None) -> None:
    """Raises TargetUnreachableError for a file that does not meet its target."""
    match target:
        case PsnrTarget(floor_db=floor_db) if psnr_db < floor_db:
            msg = f"the decoded file reaches {psnr_db:.2f} dB, not {floor_db:.2f}"
            raise TargetUnreachableError(msg)
        case ScoreTarget(goal=goal, is_least=True) if score is None or score < goal:
            msg = f"the decoded file reaches a SSIMULACRA2 of {score:.2f}, not {goal:g}"
            raise TargetUnreachableError(msg)


def _report(job: Job, image: Image, outcome: Outcome, data: bytes) -> partial[EncodeReport]:
    """Returns the figures of an encoding, except for its PSNR and total time."""
    header = container.read_header(data, image.pixel_count)
    return partial(
        EncodeReport,
        file_bytes=len(data),
        estimated_bytes=outcome.estimated_bytes + job.ancillary_bytes - job.texture_bytes,
        section_bytes=header.section_bytes(),
        limit_bytes=job.limit_bytes,
        rate=len(data) / image.raw_bytes,
        bpp=bits_per_pixel(len(data), image.pixel_count),
        architecture=header.architecture,
        iterations=outcome.iterations,
        fit_s=outcome.fit_s,
        stop_reason=outcome.stop_reason,
        restarts=outcome.restarts,
        config=job.config,
        codec=outcome.figures,
    )


def _as_coded(image: Image) -> Image:
    """Returns the fitted image: gray in one channel, and smooth where transparent."""
    pixels = image.pixels[:, :, :1] if image.is_gray else image.pixels
    if image.visible is not None:
        pixels = fill_invisible(pixels, image.visible)
    if pixels is image.pixels and not image.metadata:
        return image
    return Image(np.ascontiguousarray(pixels), alpha=image.alpha)


def _same_alpha(image: Image, decoded: Image) -> bool:
    if image.alpha is None or decoded.alpha is None:
        return image.alpha is decoded.alpha
    return np.array_equal(image.alpha, decoded.alpha)
