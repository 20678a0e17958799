"""How the Lagrange multiplier of a fit follows its target."""

from __future__ import annotations

from dataclasses import replace
from math import exp, inf, log

import pytest

from dfmcodec.codecs.overfitted.encode.candidates import SymbolCandidate
from dfmcodec.codecs.overfitted.encode.control import FitControl
from dfmcodec.codecs.overfitted.encode.fit import Measured
from dfmcodec.search.target import Figures, LmbdaTarget, PsnrTarget, ScoreTarget, SizeTarget, Target

LMBDA = 1e-3


def control(target: Target, **changes: bool) -> FitControl:
    return replace(FitControl(target, LMBDA, 10_000, 0.0), **changes)


def candidate(file_bytes: int, lmbda: float = LMBDA, psnr_db: float = 30.0) -> SymbolCandidate:
    return SymbolCandidate(file_bytes, psnr_db, None, (), lmbda)


def factor(target: Target, measured: Measured, fraction: float) -> float:
    """The factor on the multiplier after a measurement in a fit of 60 steps."""
    return control(target).following(LMBDA, measured, 0.0, fraction, 1 / 6) / LMBDA


def test_the_multiplier_follows_the_target() -> None:
    """It rises where a file is too large or an image too good, by a limited factor, and not in the
    first tenth of a fit. At its start a size is expected to shrink.
    """
    size, floor = SizeTarget.of(1000), PsnrTarget(30.0)
    small, large = Measured(8 * 900, 1e-3), Measured(8 * 1200, 1e-3)
    assert 0.8 < factor(size, small, 1.0) < 1 < factor(size, large, 1.0) < 1.25
    assert factor(size, Measured(8 * 1100, 1e-3), 0.2) < 1 < factor(size, Measured(8 * 1100, 1e-3), 1.0)
    bad, good = Measured(8 * 1000, 1.1e-3), Measured(8 * 1000, 0.9e-3)
    assert 0.8 < factor(floor, bad, 0.5) < 1 < factor(floor, good, 0.5) < 1.25
    for target in (size, floor):
        assert factor(target, Measured(8 * 9000, 1e-5), 0.5) == pytest.approx(exp(0.2))
        assert factor(target, Measured(8, 1.0), 0.5) == pytest.approx(exp(-0.2))
        assert factor(target, Measured(8 * 9000, 1e-5), 0.09) == 1
    assert factor(LmbdaTarget(LMBDA), large, 0.5) == 1


def test_descents_bracket_a_size() -> None:
    """Twice as far each time while all are on one side of it, then by false position."""
    of_size = control(SizeTarget.of(1000))
    one, two, below = candidate(1020), candidate(1010, 1.2e-3), candidate(980, 2e-3)
    first, second = of_size.of_next_descent([one]), of_size.of_next_descent([one, two])
    assert 1e-3 < first < 1.3e-3 < second < 1.6e-3
    assert of_size.of_next_descent([one] * 20) == pytest.approx(1e-3 * exp(2))
    assert 1.4e-3 < of_size.of_next_descent([one, two, below]) < 1.7e-3
    assert not of_size.is_settled([one, two])
    assert not of_size.is_settled([one, two, below])
    assert of_size.is_settled([candidate(1004), candidate(995, 1.1e-3)])
    assert of_size.is_settled([one, candidate(999)])


def test_descents_bracket_a_psnr_from_an_exact_image() -> None:
    exact, below = candidate(1000, 1e-4, inf), candidate(1000, 1e-3, 44)
    assert 8e-4 < control(PsnrTarget(45.0)).of_next_descent([exact, below]) < 1e-3


def test_descents_bracket_a_quality() -> None:
    """Every trial meets it, with too much or too little."""
    of_quality = control(ScoreTarget(50, is_least=False), is_visual=True)
    tried = [replace(candidate(1000, scale * LMBDA), score=score) for scale, score in ((1, 60.0), (3, 40.0))]
    assert LMBDA < of_quality.of_next_descent(tried) < 3 * LMBDA
    assert of_quality.of_next_descent(tried) == of_quality.of_next_descent(tried[::-1])


def test_descents_stay_near_the_multiplier_of_a_visual_fit() -> None:
    tried = [candidate(size) for size in (1100, 1100, 1090, 1090)]
    for target_bytes, expected in ((1000, 2.0), (1200, 0.5)):
        target = SizeTarget.of(target_bytes)
        farther, near = (control(target, is_visual=is_visual).of_next_descent(tried) for is_visual in (False, True))
        assert abs(log(farther / LMBDA)) > abs(log(near / LMBDA))
        assert near == pytest.approx(expected * LMBDA, rel=0.02)


def test_descents_compensate_larger_errors_of_visual_fits() -> None:
    """Of up to 15 %, with and without frozen latents; further steps are for others."""
    by_psnr, visual = (control(SizeTarget.of(1000), is_visual=is_visual) for is_visual in (False, True))
    assert by_psnr.in_further_steps([candidate(1050)]) is not None
    for frozen_until in (0.0, 0.4):
        for size, is_near in ((1050, True), (960, True), (850, False), (1150, False)):
            move = replace(visual, frozen_until=frozen_until).in_further_steps([candidate(size)])
            assert (move is None) == is_near


def test_a_visual_fit_whose_descents_failed_takes_further_steps() -> None:
    failed = control(SizeTarget.of(1000), is_visual=True, has_failed=True)
    for size, is_near in ((1050, False), (1030, False), (1000, True), (960, True)):
        assert (failed.in_further_steps([candidate(size)]) is None) == is_near


def test_a_fit_is_compared_with_its_rival_as_it_will_end() -> None:
    """At half of the steps, PSNR rises by 1.5 dB, and by 11 dB for tenfold bytes."""
    of_size = control(SizeTarget.of(1000))
    measured = Measured(8 * 9900.0, 1e-3)  # 30 dB and 10,000 bytes: 20.5 dB in the end
    assert of_size.is_behind(measured, 100, 0.5, Figures(1000, 20.9))
    assert not of_size.is_behind(measured, 100, 0.5, Figures(1000, 20.7))
    assert not of_size.is_behind(measured, 100, 0.1, Figures(1000, 40.0))
    assert not replace(of_size, frozen_until=0.4).is_behind(measured, 100, 0.5, Figures(1000, 40.0))
