"""Tests of near-lossless encoding: the step size chosen by the search of the wavelet codec, with
simulated files and one real encoding.
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


@pytest.mark.parametrize("target", [{"rate": 1.0}, {"size": 10**6}, {"psnr": 100.0}, {"psnr": 200.0}])
@pytest.mark.parametrize("effort", [1, 5])
def test_the_smallest_exact_file_is_found_for_all_targets(monkeypatch, image, target, effort):
    """--psnr 100 and --size 1M gave 3 and 6 per cent more than --rate 1."""
    q_step, tried = found(monkeypatch, image, effort=effort, **target)
    assert q_step == COARSEST
    assert len(tried) <= max(5, effort + 1)


@pytest.mark.parametrize("more", [0.0, 0.001, 0.005, 0.01, 0.02, 0.03, 0.1])
@pytest.mark.parametrize("effort", [1, 3])
def test_a_size_that_admits_an_exact_file_gives_one(monkeypatch, image, more, effort):
    """A size that was used up without was taken: 96.81 dB of 41,000 bytes, of which 40,106 are
    exact.
    """
    size = int(bytes_at(COARSEST) * (1 + more))
    assert found(monkeypatch, image, size=size, effort=effort)[0] == COARSEST


def test_a_size_just_below_an_exact_file_is_used_up(monkeypatch, image):
    q_step, tried = found(monkeypatch, image, size=int(bytes_at(COARSEST)) - 1)
    assert q_step == COARSEST + 1
    assert len(tried) <= 7


def test_exact_files_of_images_with_little_detail_are_found(monkeypatch, image):
    """At whatever step they are exact."""
    for coarsest in (17, 40, 900):
        for target in ({"rate": 1.0}, {"psnr": 200.0}):

            def errors(q_step, coarsest=coarsest):
                return 0 if q_step <= coarsest else 10 * (q_step - coarsest)

            q_step, _ = found(monkeypatch, image, errors=errors, effort=1, **target)
            assert 0.9 * coarsest <= q_step <= coarsest


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


def test_targets_that_only_exact_files_meet_give_the_same_file():
    pixels = np.ascontiguousarray(np.random.default_rng(5).integers(90, 110, (24, 32, 3), dtype=np.uint8))
    pixels[8:16] = 200
    files = [
        dfmcodec.encode(pixels, effort=1, **target).data
        for target in ({"psnr": 200.0}, {"psnr": 120.0}, {"size": 10**5})
    ]
    assert files[0] == files[1] == files[2]
    assert np.array_equal(dfmcodec.decode(files[0]).pixels, pixels)


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
