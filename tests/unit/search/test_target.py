"""The target of the settings of a user, and of a job."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dfmcodec.image import Image
from dfmcodec.search.config import EncoderConfig
from dfmcodec.search.job import Job
from dfmcodec.search.quality import lmbda_of_quality, lmbda_of_step, step_of_score
from dfmcodec.search.target import LmbdaTarget, PsnrTarget, ScoreTarget, SizeTarget, Target, asked_target

IMAGE = Image(np.zeros((120, 160, 3), np.uint8))


@pytest.mark.parametrize(
    ("settings", "target"),
    [
        ({}, ScoreTarget(75.0, is_least=False)),
        ({"quality": 92}, ScoreTarget(92, is_least=False)),
        ({"quality": 96}, LmbdaTarget(lmbda_of_step(step_of_score(96)))),
        ({"quality": 60, "tune": "psnr"}, LmbdaTarget(lmbda_of_quality(60))),
        ({"quality": 60, "model": "overfitted"}, LmbdaTarget(lmbda_of_quality(60))),
        ({"lmbda": 1e-3}, LmbdaTarget(1e-3)),
        ({"psnr": 40.0}, PsnrTarget(40.0)),
        ({"ssimulacra2": 70.0}, ScoreTarget(70.0, is_least=True)),
        ({"size": 900}, SizeTarget.of(900)),
        ({"bpp": 0.5}, SizeTarget.of(1200)),
        ({"rate": 0.1}, SizeTarget.of(5760)),
        ({"model": "coordinate"}, SizeTarget.of(10368)),
    ],
)
def test_the_target_of_settings(settings: dict[str, Any], target: Target) -> None:
    assert asked_target(EncoderConfig(**settings), IMAGE) == target


def test_ancillary_data_shares_a_size() -> None:
    job = Job.of(IMAGE, EncoderConfig(size=900), SizeTarget.of(900), ancillary_bytes=100)
    assert (job.target, job.limit_bytes) == (SizeTarget.of(800), 900)
    assert Job.of(IMAGE, EncoderConfig(psnr=40), PsnrTarget(40), ancillary_bytes=100).limit_bytes is None


def test_a_small_image_and_a_codec_without_scores_take_a_quality_as_a_multiplier() -> None:
    aim, floor = ScoreTarget(75.0, is_least=False), ScoreTarget(75.0, is_least=True)
    assert aim.as_lmbda() == LmbdaTarget(lmbda_of_step(step_of_score(75.0)))
    assert floor.as_lmbda() == floor
    small = Image(np.zeros((40, 160, 3), np.uint8))
    assert Job.of(small, EncoderConfig(), aim).target == aim.as_lmbda()
    assert Job.of(IMAGE, EncoderConfig(), aim).target == aim


def test_least_qualities_are_floors() -> None:
    floors = [PsnrTarget(40), ScoreTarget(70, is_least=True)]
    others = [SizeTarget.of(900), ScoreTarget(70, is_least=False), LmbdaTarget(1e-3)]
    assert [target.is_floor for target in (*floors, *others)] == [True, True, False, False, False]
