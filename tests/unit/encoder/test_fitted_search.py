"""The search of the fitted model: files of a small photograph for each kind of target."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import exp

import numpy as np
import pytest
import skimage.data
from fitted_parts import installed

import dfmcodec
from dfmcodec import bitstream
from dfmcodec.bitstream.sections.checks import CHECK_BYTES
from dfmcodec.decoder import render
from dfmcodec.encoder.config import EncoderConfig
from dfmcodec.encoder.fitted import search
from dfmcodec.encoder.fitted.fit import Measured, Networks, Recipe
from dfmcodec.encoder.fitted.quantize import prior_networks
from dfmcodec.encoder.fitted.search import Plan, colours_of, fit_grids
from dfmcodec.encoder.job import Job, Outcome, Progress
from dfmcodec.errors import TargetUnreachableError
from dfmcodec.image import Image
from dfmcodec.latents.grids import code_of_lmbda
from dfmcodec.metrics import psnr
from dfmcodec.prior.fitted import FittedPrior
from dfmcodec.training.prior.fitted import prior_arrays

LMBDA = 1e-3
STEPS = 60
PIXELS = np.ascontiguousarray(skimage.data.chelsea()[60:124, 130:226])


@lru_cache(maxsize=1)
def prior() -> FittedPrior:
    """Of random networks, small enough that they are compiled and fitted soon."""
    start = Networks.start(0, 8, 8)
    return FittedPrior.from_arrays(prior_arrays(start, [start]))


@dataclass(frozen=True)
class Found:
    """What a fit came to, and its file.

    Args:
        image: What was fitted.
        outcome: What `fit_grids` returned.
        data: The file.
        pixels: What `dfmcodec.decode` makes of it.
        progress: What was reported.
    """

    image: Image
    outcome: Outcome
    data: bytes
    pixels: np.ndarray
    progress: list[Progress]

    @property
    def psnr_db(self) -> float:
        return psnr(self.image.pixels, self.pixels, self.image.visible)


def found(
    config: EncoderConfig,
    image: Image | None = None,
    steps: int = STEPS,
    ancillary_bytes: int = 0,
    should_stop: Callable[[], bool] = lambda: False,
    lmbda: float = LMBDA,
    has_checks: bool = False,
) -> Found:
    """Fits an image, and writes and decodes it."""
    image = Image(PIXELS) if image is None else image
    progress: list[Progress] = []
    budget = config.budget_bytes(image)
    job = Job(image, config, ancillary_bytes, progress.append, should_stop, budget, has_checks)
    with installed(prior()):
        outcome = fit_grids(job, Plan(prior(), prior_networks(prior()), Recipe(steps), lmbda))
        data = bitstream.write(outcome.model, checked=False)
        return Found(image, outcome, data, dfmcodec.decode(data).pixels, progress)


@pytest.fixture(scope="module")
def of_lmbda() -> Found:
    return found(EncoderConfig(lmbda=LMBDA))


def check_file(result: Found) -> None:
    """A file of the named size decodes to the rendered image, which looks like its original."""
    assert len(result.data) == result.outcome.estimated_bytes
    with installed(prior()):
        assert np.array_equal(result.pixels, render(result.outcome.model))
        assert result.pixels.shape == result.image.pixels.shape
        assert result.pixels.dtype == result.image.pixels.dtype
    assert result.psnr_db > 20


# Without a limit


def test_a_multiplier_is_a_target(of_lmbda: Found) -> None:
    """It stays as it is, and the fit ends after the steps of its recipe."""
    check_file(of_lmbda)
    outcome = of_lmbda.outcome
    assert (outcome.steps, outcome.stop_reason, outcome.restarts) == (STEPS, "steps", 0)
    assert outcome.fit_s > 0
    assert outcome.model.lmbda_code == code_of_lmbda(LMBDA)
    assert outcome.model.architecture.prior_id == prior().checksum
    assert outcome.model.changes.symbols.any()


def test_progress_is_reported(of_lmbda: Found) -> None:
    """The last report is of the state that is written."""
    progress = of_lmbda.progress
    assert [report.steps for report in progress] == list(range(10, STEPS + 1, 10))
    assert [report.part for report in progress] == pytest.approx([*(n / STEPS for n in range(10, STEPS, 10)), 0.99])
    assert progress[-1].psnr_db > progress[0].psnr_db + 2
    assert progress[-1].psnr_db == pytest.approx(of_lmbda.psnr_db, abs=0.01)
    assert int(progress[-1].what.removesuffix(" bytes")) == pytest.approx(len(of_lmbda.data), rel=0.06)
    assert progress[-1].budget_bytes is None


def test_the_same_seed_gives_the_same_file(of_lmbda: Found) -> None:
    assert found(EncoderConfig(lmbda=LMBDA)).data == of_lmbda.data


# Ends before the last step


def test_a_fit_can_be_interrupted() -> None:
    """What there is meets the target still; checks count where the file gets them."""
    floor_db = 20.0
    result = found(EncoderConfig(psnr=floor_db), should_stop=lambda: True, has_checks=True)
    assert result.outcome.estimated_bytes == len(result.data) + CHECK_BYTES
    assert result.outcome.stop_reason == "interrupted"
    assert result.outcome.steps < STEPS
    assert result.psnr_db >= floor_db
    with installed(prior()):
        assert np.array_equal(result.pixels, render(result.outcome.model))


def test_a_time_limit_ends_a_fit() -> None:
    """Here at the first measurement; the samples have 16 bits."""
    image = Image(PIXELS.astype(np.uint16) * 257)
    result = found(EncoderConfig(lmbda=LMBDA, time_limit_s=1e-6), image)
    check_file(result)
    assert (result.outcome.steps, result.outcome.stop_reason) == (10, "time limit")


# Limits


def test_a_size_is_a_hard_limit() -> None:
    """Of the file with its ancillary data. More bytes may bring nothing after so few steps, so not
    all are used.
    """
    ancillary_bytes = 100
    result = found(EncoderConfig(size=2100), steps=100, ancillary_bytes=ancillary_bytes, lmbda=LMBDA / 2)
    check_file(result)
    assert 0.9 * 2100 < len(result.data) + ancillary_bytes <= 2100
    assert result.outcome.stop_reason == "steps"
    assert {report.budget_bytes for report in result.progress} == {2100}


def test_a_psnr_is_a_floor() -> None:
    floor_db = 27.0
    result = found(EncoderConfig(psnr=floor_db))
    check_file(result)
    assert floor_db <= result.psnr_db < floor_db + 0.5


def test_gray_images_have_one_channel() -> None:
    """The fit sees three equal ones."""
    image = Image(PIXELS[:, :, 1:2].copy())
    colours = colours_of(image)
    assert colours.shape == (3, 64, 96)
    assert colours.flags.c_contiguous
    assert np.allclose(colours, image.pixels[None, :, :, 0] / 255)
    result = found(EncoderConfig(psnr=26.0), image)
    check_file(result)
    assert result.outcome.model.architecture.channels == 1
    assert 26 <= result.psnr_db < 26.5


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (EncoderConfig(size=150), r"150 bytes is below the \d+ that the smallest file needs, 90 of them metadata"),
        (EncoderConfig(psnr=80.0), r"80\.00 dB is out of reach of the fitted model, which came to 2\d\."),
    ],
)
def test_targets_may_be_out_of_reach(config: EncoderConfig, message: str) -> None:
    with pytest.raises(TargetUnreachableError, match=message):
        found(config, ancillary_bytes=90)


def moves(config: EncoderConfig, state: Measured, part: float) -> float:
    """The factor on the multiplier after a measurement."""
    image = Image(PIXELS)
    job = Job(image, config, 0, lambda _: None, lambda: False, config.budget_bytes(image))
    running = search._Search(job, Plan(prior(), prior_networks(prior()), Recipe(STEPS), LMBDA))
    running._follow(state, state.bits / 8, part)
    return running._fit.lmbda / LMBDA


def test_the_multiplier_follows_the_target() -> None:
    """It rises where a file is too large or an image too good, by a limited factor, and not in the
    first tenth of a fit. At its start a size is expected to shrink.
    """
    size, psnr_target = EncoderConfig(size=1000), EncoderConfig(psnr=30.0)
    small, large = Measured(8 * 900, 1e-3), Measured(8 * 1200, 1e-3)
    assert 0.8 < moves(size, small, 1.0) < 1 < moves(size, large, 1.0) < 1.25
    assert moves(size, Measured(8 * 1100, 1e-3), 0.2) < 1 < moves(size, Measured(8 * 1100, 1e-3), 1.0)
    bad, good = Measured(8 * 1000, 1.1e-3), Measured(8 * 1000, 0.9e-3)
    assert 0.8 < moves(psnr_target, bad, 0.5) < 1 < moves(psnr_target, good, 0.5) < 1.25
    for config in (size, psnr_target):
        assert moves(config, Measured(8 * 9000, 1e-5), 0.5) == pytest.approx(exp(0.2))
        assert moves(config, Measured(8, 1.0), 0.5) == pytest.approx(exp(-0.2))
        assert moves(config, Measured(8 * 9000, 1e-5), 0.09) == 1
    assert moves(EncoderConfig(lmbda=LMBDA), large, 0.5) == 1
