"""Tests of the choice of codecs: which are tried, and which file is kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import dfmcodec
from dfmcodec.choice import choose
from dfmcodec.codecs import encode
from dfmcodec.codecs.encode import encode_image
from dfmcodec.codecs.textured import Candidate
from dfmcodec.errors import ConfigError, DfmError, InstallationError, TargetUnreachableError
from dfmcodec.image import Image
from dfmcodec.models import Model
from dfmcodec.report import EncodeReport, EncodeResult
from dfmcodec.search.config import EncoderConfig
from dfmcodec.search.job import Progress
from dfmcodec.search.target import asked_target

IMAGE = Image(np.zeros((40, 50, 3), np.uint8))


@pytest.mark.parametrize(
    ("effort", "pixels", "models"),
    [
        (5, 1000, (Model.WAVELET,)),
        (7, 1000, (Model.WAVELET, Model.OVERFITTED)),
        (9, 4_000_000, (Model.WAVELET, Model.OVERFITTED)),
        (9, 4_000_000 + 1, (Model.WAVELET,)),
    ],
)
def test_high_efforts_try_two_models_for_images_that_are_not_too_large(
    effort: int, pixels: int, models: tuple[Model, ...]
) -> None:
    for tune in ("psnr", "visual"):
        assert EncoderConfig(effort=effort, tune=tune).models(pixels) == models
    for model in (Model.WAVELET, Model.OVERFITTED):
        assert EncoderConfig(effort=effort, model=model.value).models(pixels) == (model,)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"training_steps": 10}, "training_steps is for the overfitted and coordinate codecs; choose one of them"),
        ({"depth": 2, "layer_width": 4}, "depth is for the coordinate codec; choose that codec"),
        (
            {"training_steps": 10, "model": "wavelet"},
            "training_steps is for the overfitted and coordinate codecs, not for wavelet",
        ),
        (
            {"depth": 2, "layer_width": 4, "model": "overfitted"},
            "depth is for the coordinate codec, not for overfitted",
        ),
        ({"effort": 3, "model": "coordinate"}, "effort is for the wavelet and overfitted codecs, not for coordinate"),
    ],
)
def test_options_of_another_model_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        EncoderConfig(**options)
    assert str(error.value) == message


@pytest.fixture(scope="module")
def report() -> EncodeReport:
    return dfmcodec.encode(IMAGE, effort=1).report


def _candidate(result: EncodeResult, request: Any, model: Model) -> Candidate:
    """Returns a file as if a codec had made it. It is too small for a texture."""
    job: Any = SimpleNamespace(config=request.config, has_checks=False)
    return Candidate(result, job, SimpleNamespace(architecture=SimpleNamespace(model=model)))


Outcomes = dict[Model, tuple[float, float] | Exception]
Encode = Callable[..., EncodeResult]


@pytest.fixture
def encode_to(monkeypatch: pytest.MonkeyPatch, report: EncodeReport) -> Encode:
    """Encodes as if each model came to the bytes and the PSNR of `outcomes`; `limits` takes the
    time limits that they were given.
    """

    def encoded(
        outcomes: Outcomes, config: EncoderConfig, limits: list[float | None] | None = None, **arguments: Any
    ) -> EncodeResult:
        def one(request: Any, model: Model, previous: EncodeResult | None = None) -> Candidate:
            if limits is not None:
                limits.append(request.config.time_limit_s)
            request.on_progress(Progress(0.5, 1, 30.0, 1.0, model.value, None))
            outcome = outcomes[model]
            if isinstance(outcome, Exception):
                raise outcome
            size, psnr_db = outcome
            budget = request.target.limit_bytes
            figures = replace(
                report, file_bytes=int(size), bpp=size, psnr_db=psnr_db, config=request.config, limit_bytes=budget
            )
            return _candidate(EncodeResult(model.value.encode(), figures, request.image), request, model)

        monkeypatch.setattr(encode, "_encoded", one)
        return encode_image(IMAGE, config, **arguments)

    return encoded


Seen = tuple[int, float, int]  # bytes, SSIMULACRA2, and the error of all samples in code values


@pytest.mark.parametrize(
    ("target", "sizes"),
    [
        ({"size": 900}, [900, 900]),
        ({"quality": 60}, [None, None]),
        ({"lmbda": 1e-3, "tune": "visual"}, [None, 810]),
    ],
)
@pytest.mark.parametrize(
    ("wavelet", "overfitted", "kept"),
    [
        ((900, 60.0, 8), (890, 60.1, 7), Model.OVERFITTED),
        ((900, 60.0, 8), (890, 60.1, 9), Model.WAVELET),  # SSIMULACRA2 at the expense of the weighted error
        ((900, 60.0, 8), (890, 59.0, 7), Model.WAVELET),
        ((900, 60.0, 8), (600, 59.0, 9), Model.OVERFITTED),  # which it would not be at the same size
    ],
)
def test_visual_choice_is_by_ssimulacra2_and_weighted_error(
    monkeypatch: pytest.MonkeyPatch,
    report: EncodeReport,
    target: dict[str, Any],
    sizes: list[int | None],
    wavelet: Seen,
    overfitted: Seen,
    kept: Model,
) -> None:
    """By SSIMULACRA2 and by the weighted error, relative to the size. Where the target is neither a
    size nor a SSIMULACRA2, the fit has nine tenths of the bytes of the wavelet codec.
    """
    given: list[int | None] = []

    def one(request: Any, model: Model, previous: EncodeResult | None = None) -> Candidate:
        if model is not Model.WAVELET:
            assert previous is not None
            assert previous.report.ssimulacra2 == wavelet[1]
        limit_bytes = request.target.limit_bytes
        given.append(limit_bytes)
        assert request.config.tune != "psnr"
        size, score, error = wavelet if model is Model.WAVELET else overfitted
        figures = replace(report, config=request.config, ssimulacra2=score, file_bytes=size, limit_bytes=limit_bytes)
        result = EncodeResult(bytes(900), figures, Image(request.image.pixels + np.uint8(error)))
        return _candidate(result, request, model)

    monkeypatch.setattr(encode, "_encoded", one)
    image = Image(np.zeros((200, 300, 3), np.uint8))
    result = encode_image(image, EncoderConfig(**target, effort=7))
    assert given == sizes
    assert result.report.ssimulacra2 == (overfitted if kept is Model.OVERFITTED else wavelet)[1]
    assert result.report.limit_bytes == sizes[0]  # that of the target, not of the fit


@pytest.mark.parametrize(("size", "score", "is_kept"), [(800, 58.5, True), (800, 57.5, False), (901, 61.0, False)])
def test_a_fit_for_a_score_has_to_be_near_it_and_smaller(
    report: EncodeReport, size: int, score: float, is_kept: bool
) -> None:
    """An aim is met within 2."""
    image, config = Image(np.zeros((200, 300, 3), np.uint8)), EncoderConfig(quality=60)
    figures = replace(report, config=config, file_bytes=900, ssimulacra2=60.0)
    wavelet = EncodeResult(b"", figures, Image(image.pixels + np.uint8(8)))
    fit = EncodeResult(b"", replace(figures, file_bytes=size, ssimulacra2=score), Image(image.pixels + np.uint8(1)))
    chosen = choose([wavelet, fit], image, asked_target(config, image))
    assert (chosen is fit) == is_kept


def test_one_score_ranks_three_files(report: EncodeReport) -> None:
    """The best of those that reduce both costs, by the smaller of the two reductions."""
    image, config = Image(np.zeros((200, 300, 3), np.uint8)), EncoderConfig(size=1000)

    def result(score: float, error: int) -> EncodeResult:
        figures = replace(report, config=config, file_bytes=900, ssimulacra2=score)
        return EncodeResult(b"", figures, Image(image.pixels + np.uint8(error)))

    first, by_score, balanced, worse = result(60.0, 8), result(66.0, 7), result(64.0, 6), result(80.0, 9)
    target = asked_target(config, image)
    assert choose([first, by_score, balanced, worse], image, target) is by_score
    assert choose([first, worse], image, target) is first
    assert choose([first, balanced, first, worse], image, target) is balanced


def test_a_file_that_misses_the_target_is_not_chosen(report: EncodeReport) -> None:
    image, config = Image(np.zeros((200, 300, 3), np.uint8)), EncoderConfig(psnr=30.0, tune="visual")
    figures = replace(report, config=config, file_bytes=900, ssimulacra2=60.0, psnr_db=30.5)
    first = EncodeResult(b"", figures, Image(image.pixels + np.uint8(8)))
    for psnr_db in (29.9, 30.1):
        other = EncodeResult(b"", replace(figures, file_bytes=800, psnr_db=psnr_db), Image(image.pixels + np.uint8(7)))
        assert (choose([first, other], image, asked_target(config, image)) is other) == (psnr_db > 30)


@pytest.mark.parametrize(
    ("target", "wavelet", "overfitted", "kept"),
    [
        ({"size": 900}, (900, 30.0), (890, 30.1), Model.OVERFITTED),
        ({"size": 900}, (800, 30.0), (900, 29.9), Model.WAVELET),
        ({"size": 900}, (900, 30.0), (800, 30.0), Model.WAVELET),  # the first of equals
        ({"psnr": 30.0}, (900, 31.0), (890, 30.0), Model.OVERFITTED),
        ({"psnr": 30.0}, (880, 30.0), (890, 30.5), Model.WAVELET),
        ({"lmbda": 1e-3}, (1.0, 30.0), (1.4, 32.0), Model.WAVELET),  # 1 + 1 bpp, 0.63 + 1.4
        ({"lmbda": 1e-3}, (1.0, 30.0), (1.3, 32.0), Model.OVERFITTED),
    ],
)
def test_the_better_file_is_kept(
    encode_to: Encode,
    target: dict[str, Any],
    wavelet: tuple[float, float],
    overfitted: tuple[float, float],
    kept: Model,
) -> None:
    config = EncoderConfig(**target, effort=7, tune="psnr")
    result = encode_to({Model.WAVELET: wavelet, Model.OVERFITTED: overfitted}, config)
    assert result.data == kept.value.encode()


def test_a_model_that_misses_the_target_leaves_the_other(encode_to: Encode) -> None:
    missed = TargetUnreachableError("too small")
    config = EncoderConfig(size=900, effort=7, tune="psnr")
    for outcomes in (
        {Model.WAVELET: missed, Model.OVERFITTED: (9, 20.0)},
        {Model.WAVELET: (9, 20.0), Model.OVERFITTED: missed},
    ):
        (kept,) = (model for model, outcome in outcomes.items() if outcome is not missed)
        assert encode_to(outcomes, config).data == kept.value.encode()


def test_the_error_is_that_of_the_first_model(encode_to: Encode) -> None:
    outcomes: Outcomes = {Model.WAVELET: TargetUnreachableError("first"), Model.OVERFITTED: ConfigError("second")}
    with pytest.raises(TargetUnreachableError, match="first"):
        encode_to(outcomes, EncoderConfig(size=900, effort=7, tune="psnr"))


@pytest.mark.parametrize("fault", [InstallationError("pretrained weights are damaged"), DfmError("please report this")])
def test_a_fault_of_either_model_is_reported(encode_to: Encode, fault: DfmError) -> None:
    config = EncoderConfig(size=900, effort=7, tune="psnr")
    for outcomes in (
        {Model.WAVELET: fault, Model.OVERFITTED: (9, 20.0)},
        {Model.WAVELET: (9, 20.0), Model.OVERFITTED: fault},
    ):
        with pytest.raises(type(fault), match=str(fault)):
            encode_to(outcomes, config)


def test_both_models_share_a_time_limit(encode_to: Encode, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = [100.0]
    monkeypatch.setattr(encode, "time", SimpleNamespace(perf_counter=lambda: seconds[0]))
    limits: list[float | None] = []

    def spend(progress: Progress) -> None:
        if progress.fraction < 1:
            seconds[0] += 4

    outcomes: Outcomes = {Model.WAVELET: (9, 20.0), Model.OVERFITTED: (9, 40.0)}
    for limit_s, kept in ((10.0, "overfitted"), (4.0, "wavelet"), (3.0, "wavelet")):
        config = EncoderConfig(size=900, effort=7, time_limit_s=limit_s, tune="psnr")
        result = encode_to(outcomes, config, on_progress=spend, limits=limits)
        assert (result.data, result.report.config) == (kept.encode(), config)
    assert limits == [10.0, 6.0, 4.0, 3.0]
    outcomes[Model.WAVELET] = TargetUnreachableError("too small")
    for limit_s in (10.0, 3.0):
        encode_to(
            outcomes,
            EncoderConfig(size=900, effort=7, time_limit_s=limit_s, tune="psnr"),
            on_progress=spend,
            limits=limits,
        )
    assert limits[4:] == [10.0, 6.0, 3.0, pytest.approx(0, abs=0.01)]


def test_after_an_interruption_no_second_model_is_tried(encode_to: Encode) -> None:
    outcomes: Outcomes = {Model.WAVELET: (9, 20.0), Model.OVERFITTED: (9, 40.0)}
    result = encode_to(outcomes, EncoderConfig(size=900, effort=7, tune="psnr"), should_stop=lambda: True)
    assert result.data == b"wavelet"


def test_the_progress_of_two_models_is_one(encode_to: Encode) -> None:
    """The second takes nearly all of the time; the last is of the file that is kept."""
    seen: list[tuple[str, float]] = []
    outcomes: Outcomes = {Model.WAVELET: (9, 20.0), Model.OVERFITTED: (9, 40.0)}
    config = EncoderConfig(size=900, effort=7, tune="psnr")
    encode_to(outcomes, config, on_progress=lambda progress: seen.append((progress.description, progress.fraction)))
    of_file = ("40.00 dB, 9 bytes", 1.0)
    assert seen == [("wavelet", pytest.approx(0.025)), ("overfitted", pytest.approx(0.525)), of_file]


def test_an_overfitted_file_that_ends_early_is_replaced_by_a_better_quick_one() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (40, 48, 3), dtype=np.uint8)
    report = dfmcodec.encode(noise, model="overfitted", size=1500, training_steps=9, time_limit_s=1e-6).report
    assert report.stop_reason == "time limit"
    assert report.architecture.model is Model.WAVELET
    assert report.config.training_steps == 9
