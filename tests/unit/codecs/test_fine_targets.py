"""Tests of targets near or at an exact file: the step size that the search of the wavelet codec
chooses, with simulated files and with real encodings.
"""

from __future__ import annotations

from math import erfc, sqrt
from types import SimpleNamespace

import numpy as np
import pytest

import dfmcodec
from dfmcodec.codecs.wavelet.encode import search
from dfmcodec.codecs.wavelet.encode.estimates import smallest_q_step
from dfmcodec.codecs.wavelet.encode.iteration import Iterations
from dfmcodec.codecs.wavelet.encode.trial import Trial
from dfmcodec.errors import TargetUnreachableError
from dfmcodec.image import Image
from dfmcodec.search.config import EncoderConfig
from dfmcodec.search.job import Job
from dfmcodec.search.target import SizeTarget, asked_target

HEIGHT, WIDTH = 96, 128
SAMPLES = HEIGHT * WIDTH * 3


@pytest.fixture
def image(monkeypatch):
    """An image of whose files everything is made up."""
    guesses = SimpleNamespace(
        q_step_for=lambda size: smallest_q_step(lambda q_step: bytes_at(q_step) <= size),
        rough_bytes=bytes_at,
        guess=lambda: lambda q_step: 1.03 * bytes_at(q_step),
        rough_mse=lambda q_step: (q_step / 64) ** 2 / 3,
    )
    monkeypatch.setattr(search, "Estimator", SimpleNamespace(of=lambda encoding: guesses))
    return Image(np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8))


def bytes_at(q_step):
    """The size of a file."""
    return 40 + 58_000 * q_step**-0.33


def wrong_at(q_step, sd=0.58):
    """Samples of normally distributed errors that are rounded to a neighbour."""
    return round(SAMPLES * erfc(0.5 / (sd * q_step / 64) / sqrt(2)))


COARSEST = max(q_step for q_step in range(1, 64) if wrong_at(q_step) == 0)


def found(monkeypatch, image, errors=wrong_at, effort=1, **target):
    """The q_step that the search settles at, and those that it tried."""
    tried = []

    def iterate(iterations, q_step, *others):
        tried.append(q_step)
        number = iterations.number = iterations.number + 1
        size = int(bytes_at(q_step))
        trial = Trial(number, SimpleNamespace(q_step=q_step), size, size, errors(q_step) / SAMPLES)
        return trial

    monkeypatch.setattr(Iterations, "iterate", iterate)
    config = EncoderConfig(effort=effort, **target)
    job = Job.of(image, config, asked_target(config, image))
    return search.fit_latents(job).model.q_step, tried


@pytest.mark.parametrize("floor", [62.0, 70.0, 80.0, 90.0])
def test_floors_that_single_samples_decide_are_met_by_the_coarsest_step(monkeypatch, image, floor):
    """--psnr 90 gave 92.04 dB."""
    q_step, _ = found(monkeypatch, image, psnr=floor)
    most = 255**2 * 10 ** (-floor / 10) * SAMPLES
    assert wrong_at(q_step) <= most < wrong_at(q_step + 1)


def test_ordinary_targets_are_not_tried_for_an_exact_file(monkeypatch, image):
    for target in ({"size": 12_000}, {"quality": 75}):
        _, tried = found(monkeypatch, image, **target)
        assert len(tried) <= 4
        assert min(tried) > 2 * COARSEST


def test_the_best_psnr_of_all_trials_is_named(monkeypatch, image):
    """Of 16 bits, no step is exact."""
    with pytest.raises(TargetUnreachableError, match=r"100.00 dB is out of reach: the best this image can reach is 8"):
        found(monkeypatch, image, errors=lambda q_step: 5 + (q_step > 1), psnr=100.0)


@pytest.mark.parametrize("target", [{"psnr": 200.0}, {"psnr": 100.0}, {"size": 10**5}, {"rate": 1.0}])
@pytest.mark.parametrize("effort", [1, 5])
def test_targets_that_admit_an_exact_file_give_one(target, effort):
    pixels = np.ascontiguousarray(np.random.default_rng(5).integers(90, 110, (24, 32, 3), dtype=np.uint8))
    pixels[8:16] = 200
    result = dfmcodec.encode(pixels, effort=effort, **target)
    assert result.report.lossless
    assert np.array_equal(result.decoded.pixels, pixels)


@pytest.mark.parametrize("coarsest", [17, 40, 900])
def test_floors_of_exact_files_are_met_by_nearly_the_coarsest_step(monkeypatch, image, coarsest):
    def errors(q_step):
        return 0 if q_step <= coarsest else 10 * (q_step - coarsest)

    q_step, _ = found(monkeypatch, image, errors=errors, effort=1, psnr=200.0)
    assert 0.9 * coarsest <= q_step <= coarsest


@pytest.mark.parametrize("floor", [45.0, 60.0, 70.0])
def test_a_flat_image_meets_every_floor(floor):
    """60 dB were out of reach, as each iteration aimed at what the synthesis had added at a step
    that was far away.
    """
    flat = np.full((40, 60, 3), 77, np.uint8)
    assert dfmcodec.encode(flat, psnr=floor, effort=1).report.psnr_db >= floor


def test_the_smallest_file_has_one_size(monkeypatch, image):
    """57 bytes were said to be needed, and 53 were enough: an iteration had been larger."""

    sizes = iter([53, 57, 57, 57, 57, 57])

    def iterate(iterations, q_step, *others):
        number = iterations.number = iterations.number + 1
        size = next(sizes)
        return Trial(number, SimpleNamespace(q_step=q_step), size, size, 900.0)

    monkeypatch.setattr(Iterations, "iterate", iterate)
    job = Job.of(image, EncoderConfig(size=40, effort=1), SizeTarget.of(40))
    with pytest.raises(TargetUnreachableError, match="target of 40 bytes is below the 53 that the smallest file needs"):
        search.fit_latents(job)
