"""The plan of a fit: pretrained weights, number of steps and first Lagrange multiplier."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.data

import dfmcodec
from dfmcodec.codecs.overfitted.encode.plan import Plan, plan_of, weights_and_schedule
from dfmcodec.codecs.overfitted.grids import LMBDA_CODES, lmbda_of_code
from dfmcodec.errors import ConfigError, TargetUnreachableError
from dfmcodec.image import Image
from dfmcodec.options import EFFORTS
from dfmcodec.search.config import EncoderConfig
from dfmcodec.search.job import Job
from dfmcodec.search.quality import lmbda_of_quality
from dfmcodec.search.target import asked_target
from dfmcodec.weights.registry import (
    OVERFITTED_DETAILED,
    OVERFITTED_FINE,
    OVERFITTED_LARGE,
    OVERFITTED_SMALL,
    OVERFITTED_WIDE,
    ShippedWeights,
)

PIXELS = np.ascontiguousarray(skimage.data.chelsea()[60:124, 130:226])


def plan_for(**settings: object) -> Plan:
    image, config = Image(PIXELS), EncoderConfig(model="overfitted", **settings)
    return plan_of(Job.of(image, config, asked_target(config, image)))


def test_visual_fits_release_latents_of_smooth_areas_early() -> None:
    """So that their size is known, and controlled, for most of the steps."""
    visual, by_psnr = (plan_for(size=1000, tune=tune).schedule.frozen_fraction for tune in ("visual", "psnr"))
    assert visual < 0.2 < by_psnr


@pytest.mark.parametrize("tune", ["psnr", "visual"])
def test_steps_follow_from_the_effort_or_are_given(tune: str) -> None:
    steps = [plan_for(lmbda=1e-3, effort=effort, tune=tune).schedule.steps for effort in EFFORTS]
    assert steps == sorted(set(steps))
    assert plan_for(lmbda=1e-3, training_steps=7, tune=tune).schedule.steps == 7


@pytest.mark.parametrize(
    ("side", "noisy_rows", "lmbda", "expected"),
    [
        (450, 1.0, 1e-4, OVERFITTED_DETAILED),
        (450, 1.0, 3e-3, OVERFITTED_LARGE),
        (450, 0.5, 1e-4, OVERFITTED_WIDE),
        (450, 0.5, 3e-3, OVERFITTED_LARGE),
        (450, 0.0, 1e-4, OVERFITTED_FINE),
        (450, 0.0, 3e-3, OVERFITTED_SMALL),
        (290, 1.0, 1e-4, OVERFITTED_FINE),
        (290, 1.0, 3e-3, OVERFITTED_LARGE),
        (280, 1.0, 1e-4, OVERFITTED_FINE),
        (280, 1.0, 3e-3, OVERFITTED_SMALL),
    ],
)
def test_weights_follow_from_size_details_and_multiplier(
    side: int, noisy_rows: float, lmbda: float, expected: ShippedWeights
) -> None:
    """Larger networks pay for large images with details, and at low multipliers."""
    colours = np.full((3, side, side), 0.5, dtype=np.float32)
    rows = round(noisy_rows * side)
    colours[:, :rows] = np.random.default_rng(0).random((3, rows, side))
    assert weights_and_schedule(colours, lmbda, 10)[0].checksum == expected.id


def test_the_first_multiplier_follows_from_the_target() -> None:
    assert plan_for(lmbda=2e-3).first_lmbda == 2e-3
    assert plan_for(quality=50, tune="psnr").first_lmbda == lmbda_of_quality(50)
    for option, values in (("size", (1000, 4000)), ("psnr", (25, 28))):
        lmbdas = [plan_for(**{option: value}).first_lmbda for value in values]
        assert lmbdas == sorted(set(lmbdas), reverse=True), option


@pytest.mark.slow
def test_the_first_multiplier_is_near_that_of_the_wavelet_codec_at_its_target() -> None:
    """Relative to 0.39 lmbda^0.88. (Measured: 0.75 and 1.0.)"""
    result = dfmcodec.encode(PIXELS, lmbda=2e-3, effort=1)
    expected = 0.39 * 2e-3**0.88
    for target in ({"size": 2 * (len(result.data) + 8)}, {"psnr": result.report.psnr_db - 0.01}):
        assert 0.6 < plan_for(**target).first_lmbda / expected < 1.6, target


@pytest.mark.parametrize(
    "target", [{"size": 2500}, {"psnr": 28}, {"ssimulacra2": 50, "tune": "visual"}, {"size": 2500, "tune": "visual"}]
)
def test_a_previous_file_gives_about_the_same_multiplier_without_another_encoding(
    target: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """(Measured: 0.85 to 1.03.)"""
    image, config = Image(PIXELS), EncoderConfig(model="wavelet", effort=7, **{"tune": "psnr", **target})
    previous, quick = dfmcodec.encode(image, config), plan_for(**{"tune": "psnr", **target}).first_lmbda
    monkeypatch.setattr("dfmcodec.codecs.overfitted.encode.plan.fit_latents", None)
    job = Job.of(image, config, asked_target(config, image))
    assert 0.6 < plan_of(job, previous).first_lmbda / quick < 1.6


def test_a_size_without_room_for_networks_has_a_plan() -> None:
    """If the wavelet codec just meets it; below that, the message has the size."""
    result = dfmcodec.encode(PIXELS, lmbda=1.0, effort=1)
    assert plan_for(size=len(result.data) + 8).first_lmbda > 2e-3
    with pytest.raises(TargetUnreachableError, match="the target of 20 bytes"):
        plan_for(size=20)


@pytest.mark.parametrize(("target", "error"), [({"quality": 100}, ConfigError), ({"psnr": 60}, TargetUnreachableError)])
def test_targets_that_need_finer_steps_are_refused_before_the_fit(
    target: dict[str, int], error: type[dfmcodec.DfmError]
) -> None:
    with pytest.raises(error, match=r"needs an lmbda of .*; use --model wavelet"):
        plan_for(**target)


def test_a_size_that_would_need_finer_steps_has_the_finest() -> None:
    assert plan_for(rate=0.9).first_lmbda == lmbda_of_code(LMBDA_CODES[0])


def test_a_time_limit_includes_the_search_for_the_first_multiplier() -> None:
    """It stops at the first trial that meets the target, and has one all the same."""
    for target in ({"size": 2000}, {"psnr": 27.0}, {"size": 130}):
        unlimited, limited = (plan_for(time_limit_s=limit, **target).first_lmbda for limit in (None, 1e-6))
        assert unlimited / 2 < limited < 2 * unlimited, target
