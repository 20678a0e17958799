"""The encoder: Image -> bytes of a `.dfm` file. It fits the model, writes and decodes the file."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from dfmcodec import container
from dfmcodec._types import Notify, Tune
from dfmcodec.codecs.decode import DecodeRequest, decode_image, decode_written
from dfmcodec.codecs.record import Codec, codec_of
from dfmcodec.container.checks import CHECK_BYTES, CHECKS_FRACTION
from dfmcodec.container.layout import Section
from dfmcodec.errors import ConfigError, DfmError, DivergedError, ImageError, TargetUnreachableError
from dfmcodec.image import BIT_DEPTHS, PEAK_CODE_VALUE, Image, peak_value
from dfmcodec.image.alpha_fill import fill_invisible
from dfmcodec.models import GENERATOR_MODEL, Model
from dfmcodec.options import EFFORTS
from dfmcodec.perception import bits_per_pixel, mse_of_psnr, psnr, psnr_of_mse
from dfmcodec.perception.distortion import Distortion
from dfmcodec.perception.ssimulacra2 import ALL_SCALES_SIDE, SMALLEST_SIDE, ssimulacra2
from dfmcodec.report import EncodeReport, EncodeResult
from dfmcodec.search.config import LEAST_USED, EncoderConfig
from dfmcodec.search.driver import part_of
from dfmcodec.search.job import Job, Outcome, Progress, restarts_text
from dfmcodec.search.quality import step_of_score
from dfmcodec.search.target import (
    Figures,
    LmbdaTarget,
    PsnrTarget,
    ScoreTarget,
    SizeTarget,
    Target,
    asked_target,
)
from dfmcodec.threads import one_core_products

if TYPE_CHECKING:
    from dfmcodec.codecs.generative.model import GenerativeModel

_RAW_IS_SMALL = 1 << 12  # raw sizes up to this many bytes may be exceeded: the container alone may be larger
_LEAST_SECONDS = 1e-3  # the least time limit, which has to be positive
_SMALLER_FRACTION = 0.9  # the size of an overfitted file relative to the wavelet file
_FIRST_MODEL_FRACTION = 0.05  # the first codec's fraction of the progress if two are tried


def encode_image(
    image: Image,
    config: EncoderConfig,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    should_stop: Callable[[], bool] = lambda: False,
    generator: GenerativeModel | None = None,
    notify: Notify = lambda notice: None,
) -> EncodeResult:
    """Encodes an image.

    Args:
        image: The image.
        config: The settings.
        on_progress: Called often during the fit, and at the end with the figures of the file.
        should_stop: Called between chunks of steps; True ends the fit, and the best result so far
            is written.
        generator: A generative model under which the image is encoded as a code; None for other
            codecs.
        notify: Receives a notice if quality is relative to a part of the range of samples, and if
            samples of 16 bits are converted to 8 bits.

    Raises:
        ImageError: The generative model is for images of another size; a sample is above
            `sample_max`; or 16-bit samples use only 8 bits and `sample_max` is not given.
        TargetUnreachableError: The target cannot be met.
        ConfigError: The overfitted codec cannot represent the given lmbda; or the codec does not
            support the tune.
        DivergedError: The fit diverged too often.
        MissingPackageError: The codec is fitted with JAX, which is not installed.
    """
    if generator is not None:
        if config.tune == Tune.VISUAL.value or config.ssimulacra2 is not None:
            msg = "the tune visual is for the wavelet codec, not for a code of a generative model"
            raise ConfigError(msg)
        config = replace(config, tune=Tune.PSNR.value)
    image, config = _with_range(image, config, notify)
    config = _with_measure(image, config, notify)
    models = config.models(image.pixel_count) if generator is None else (GENERATOR_MODEL,)
    encoders = [codec_of(model).encoder() for model in models]
    for encoder in encoders:
        encoder.check(image, generator)
    uses_threads = any(encoder.uses_threads for encoder in encoders)
    with one_core_products() if uses_threads else nullcontext():
        if len(models) == 1:
            result = _encoded(image, config, models[0], on_progress, should_stop, generator)
            if encoders[0].fallback is not None and result.report.ended_early:
                result = _better_than_quick(image, result, encoders[0].fallback, should_stop)
        else:
            result = _better_of(image, config, models, on_progress, should_stop)
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


def _better_of(
    image: Image,
    config: EncoderConfig,
    models: Sequence[Model],
    on_progress: Callable[[Progress], None],
    should_stop: Callable[[], bool],
) -> EncodeResult:
    """Returns the best encoding that meets the target, among several codecs. Raises
    TargetUnreachableError if no codec meets it, or another error of the first codec.
    """
    started, asked = time.perf_counter(), asked_target(config, image)
    best: EncodeResult | None = None
    first_error: DfmError | None = None
    of_model = config
    for number, model in enumerate(models):
        if config.time_limit_s is not None and number > 0:
            left_s = config.time_limit_s - (time.perf_counter() - started)
            if left_s <= 0 and best is not None:
                break
            of_model = replace(config, time_limit_s=max(left_s, _LEAST_SECONDS))
        if best is not None and should_stop():
            break
        has_aim = isinstance(asked, SizeTarget | ScoreTarget)
        if best is not None and config.distortion_tune is Tune.VISUAL and not has_aim:
            of_model = _smaller(of_model, best)
        ends = (_FIRST_MODEL_FRACTION, 1.0) if number else (0.0, _FIRST_MODEL_FRACTION)
        try:
            result = _encoded(image, of_model, model, part_of(on_progress, *ends), should_stop, None, best)
        except (TargetUnreachableError, ConfigError, DivergedError) as error:  # another model may do better
            first_error = first_error or error
            continue
        if best is None or _is_better(image, result, best):
            best = result
    if best is None:
        assert first_error is not None
        raise first_error
    total_s = time.perf_counter() - started
    return replace(best, report=replace(best.report, config=config, limit_bytes=asked.limit_bytes, total_s=total_s))


def _smaller(config: EncoderConfig, other: EncodeResult) -> EncoderConfig:
    """Returns the settings for a smaller file, which is the better one unless it looks worse."""
    others: dict[str, Any] = dict.fromkeys(config.targets())
    size = max(1, int(_SMALLER_FRACTION * len(other.data)))
    return replace(config, **others, size=size, tune=Tune.VISUAL.value)


def _better_than_quick(
    image: Image, early: EncodeResult, model: Model, should_stop: Callable[[], bool]
) -> EncodeResult:
    """Returns an encoding that ended early, or the quick one of another codec if it is better."""
    config = early.report.config
    settings = replace(
        config,
        model=model.value,
        effort=EFFORTS[0],
        training_steps=None,
        tune=config.distortion_tune.value,
        time_limit_s=_LEAST_SECONDS,
    )
    try:
        quick = _encoded(image, settings, model, lambda progress: None, should_stop)
    except TargetUnreachableError:
        return early
    if _score(image, early) >= _score(image, quick):
        return early
    total_s, stop_reason = early.report.total_s + quick.report.total_s, early.report.stop_reason
    return replace(quick, report=replace(quick.report, config=config, total_s=total_s, stop_reason=stop_reason))


def _is_better(image: Image, result: EncodeResult, other: EncodeResult) -> bool:
    """Indicates whether a file is better than that of another codec for the same target.

    With the tune `visual`, bytes times (100 - SSIMULACRA2) have to be fewer, and bytes times the
    weighted squared error must not be more: a fit may raise SSIMULACRA2 alone, at the expense of
    what other measures see. Both products hardly depend on the size. If the target is a
    SSIMULACRA2, the file also has to be near it, and smaller.
    """
    report, of_other, asked = result.report, other.report, asked_target(result.report.config, image)
    if report.config.distortion_tune is not Tune.VISUAL or report.ssimulacra2 is None or of_other.ssimulacra2 is None:
        return _score(image, result) > _score(image, other)
    if isinstance(asked, ScoreTarget):
        figures = Figures(report.file_bytes, report.psnr_db, score=report.ssimulacra2)
        if report.file_bytes >= of_other.file_bytes or not (asked.is_least or asked.is_close(figures)):
            return False
    errors, relative = Distortion.of(image.pixels), report.file_bytes / of_other.file_bytes
    if relative * (100 - report.ssimulacra2) >= 100 - of_other.ssimulacra2:
        return False
    return relative * errors.of_image(image, result.decoded) <= errors.of_image(image, other.decoded)


def _score(image: Image, result: EncodeResult) -> float:
    """Returns the score of a file among files for the same target: larger is better."""
    report = result.report
    if report.config.distortion_tune is Tune.VISUAL and report.ssimulacra2 is not None:
        return report.ssimulacra2
    match asked_target(report.config, image).as_lmbda():
        case SizeTarget():
            return report.psnr_db
        case LmbdaTarget(lmbda=lmbda):
            return -(mse_of_psnr(report.psnr_db, 1.0) / lmbda + report.bpp)
        case _:
            return -report.bpp


def _encoded(
    image: Image,
    config: EncoderConfig,
    model: Model,
    on_progress: Callable[[Progress], None],
    should_stop: Callable[[], bool],
    generator: GenerativeModel | None = None,
    rival: EncodeResult | None = None,
) -> EncodeResult:
    """Encodes with one codec; see `encode_image`. Raises TargetUnreachableError if the encoder
    gives up because the file would be worse than that of a rival.
    """
    started = time.perf_counter()
    encoder = codec_of(model).encoder()
    asked, ancillary = asked_target(config, image), _ancillary(image, generator)
    watch = {"on_progress": on_progress, "should_stop": should_stop, "generator": generator}
    job = _job(image, config, asked, codec_of(model), ancillary, **watch)
    if rival is not None:
        rival_bytes = rival.report.file_bytes - job.ancillary_bytes
        job = replace(job, rival=Figures(rival_bytes, rival.report.psnr_db + job.range_db))
    outcome = encoder.encode(job)

    has_checks = not asked.limits_size or job.has_checks
    data = container.write(outcome.model, ancillary, checked=has_checks)
    _check_size(asked, image, len(data))
    report = _report(job, config, image, outcome, data)
    encoded = outcome.encoded
    del outcome  # a large image needs the memory for decoding
    request = DecodeRequest(max_pixels=image.pixel_count, generator=generator)
    if encoded is None:
        decoded = decode_image(data, request)
    else:
        decoded = decode_written(data, encoded.samples, encoded.region, encoded.pixels, request)
    score = None if encoded is None else encoded.ssimulacra2
    del encoded
    if not _same_alpha(image, decoded):
        msg = "the decoded alpha channel differs from the original; please report this"
        raise DfmError(msg)
    decoded_psnr = job.reported_db(psnr(image.pixels, decoded.pixels, image.visible))
    if score is None and config.distortion_tune is Tune.VISUAL:
        score = ssimulacra2(image.samples, decoded.samples)
    _check_quality(asked, decoded_psnr, score)
    figures = report(psnr_db=decoded_psnr, ssimulacra2=score, total_s=time.perf_counter() - started)
    return EncodeResult(data, figures, decoded)


def _ancillary(image: Image, generator: GenerativeModel | None) -> dict[Section, bytes]:
    """Returns the sections of the ancillary data of an image."""
    coded_channels = generator.architecture.channels if generator is not None else 1
    gray_as_rgb = image.channels > coded_channels and image.is_gray
    return container.ancillary_sections(container.Ancillary(image.metadata, image.alpha, gray_as_rgb))


def _job(
    image: Image, config: EncoderConfig, asked: Target, codec: Codec, ancillary: dict[Section, bytes], **others: Any
) -> Job:
    """Returns the job of encoding an image with a codec; `others` are arguments of `Job`.

    A size budget includes checks, except those of the model's optional sections, unless all of them
    may take too large a fraction of the file.
    """
    encoder, coded = codec.encoder(), _as_coded(image, fill=not codec.needs_generator)
    needed, budget = container.checks_file_bytes(1 + len(ancillary), encoder.symbol_checks(coded)), asked.limit_bytes
    most = needed + len(codec.header.optional_sections) * CHECK_BYTES
    has_checks = budget is not None and most <= CHECKS_FRACTION * LEAST_USED * budget
    return Job.of(
        coded,
        config,
        asked if encoder.aims_at_scores else asked.as_lmbda(),
        container.sections_file_bytes(ancillary) + (needed if has_checks else 0),
        has_checks=has_checks,
        metadata_bytes=len(ancillary.get(Section.METADATA, b"")),
        **others,
    )


def _check_size(asked: Target, image: Image, size: int) -> None:
    """Rejects a file above its size limit, and one for a PSNR above the raw samples."""
    match asked:
        case SizeTarget(budget_bytes=budget) if size > budget:
            msg = f"the file came out at {size} bytes, above the limit of {budget}; please report this"
            raise DfmError(msg)
        case PsnrTarget(floor_db=floor_db) if size > max(image.raw_bytes, _RAW_IS_SMALL):
            msg = (
                f"{floor_db:.2f} dB take {size:,} bytes, more than the {image.raw_bytes:,} of the raw samples; "
                "choose a lower PSNR"
            )
            raise TargetUnreachableError(msg)


def _check_quality(asked: Target, psnr_db: float, score: float | None) -> None:
    """Raises TargetUnreachableError for a file that does not meet its target."""
    match asked:
        case PsnrTarget(floor_db=floor_db) if psnr_db < floor_db:
            msg = f"the decoded file reaches {psnr_db:.2f} dB, not {floor_db:.2f}"
            raise TargetUnreachableError(msg)
        case ScoreTarget(goal=goal, is_least=True) if score is None or score < goal:
            msg = f"the decoded file reaches a SSIMULACRA2 of {score:.2f}, not {goal:g}"
            raise TargetUnreachableError(msg)


def _report(job: Job, config: EncoderConfig, image: Image, outcome: Outcome, data: bytes) -> partial[EncodeReport]:
    """Returns the figures of an encoding, except for its PSNR and total time."""
    header = container.read_header(data, image.pixel_count)
    return partial(
        EncodeReport,
        file_bytes=len(data),
        estimated_bytes=outcome.estimated_bytes + job.ancillary_bytes,
        section_bytes=header.section_bytes(),
        limit_bytes=job.limit_bytes,
        rate=len(data) / image.raw_bytes,
        bpp=bits_per_pixel(len(data), image.pixel_count),
        architecture=header.architecture,
        iterations=outcome.iterations,
        fit_s=outcome.fit_s,
        stop_reason=outcome.stop_reason,
        restarts=outcome.restarts,
        config=config,
        codec=outcome.figures,
    )


def _as_coded(image: Image, fill: bool) -> Image:
    """Returns the fitted image: gray in one channel; with `fill`, smooth where transparent."""
    pixels = image.pixels[:, :, :1] if image.is_gray else image.pixels
    if fill and image.visible is not None:
        pixels = fill_invisible(pixels, image.visible)
    if pixels is image.pixels and not image.metadata:
        return image
    return Image(np.ascontiguousarray(pixels), alpha=image.alpha)


def _same_alpha(image: Image, decoded: Image) -> bool:
    if image.alpha is None or decoded.alpha is None:
        return image.alpha is decoded.alpha
    return np.array_equal(image.alpha, decoded.alpha)
