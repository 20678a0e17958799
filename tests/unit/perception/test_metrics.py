"""Tests of rate and distortion against independent implementations."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.metrics import structural_similarity

from dfmcodec.perception import bd_rate, ms_ssim, psnr, ssim

# PSNR of two codecs of one photograph, bpp and dB.
ANCHOR = [(0.25, 25.9), (0.48, 28.7), (0.96, 31.9), (1.92, 35.6), (4.3, 41.2)]
CURVE = [(0.24, 28.1), (0.5, 31.4), (0.97, 34.6), (1.9, 38.5), (4.2, 44.0)]


def test_bd_rate_agrees_with_the_bjontegaard_package():
    bjontegaard = pytest.importorskip("bjontegaard")
    (anchor_bpp, anchor_db), (bpp, db) = zip(*ANCHOR, strict=True), zip(*CURVE, strict=True)
    expected = bjontegaard.bd_rate(
        anchor_bpp, anchor_db, bpp, db, method="pchip", require_matching_points=False, min_overlap=0
    )
    found = bd_rate(ANCHOR, CURVE)
    assert found is not None
    assert found.percent == pytest.approx(expected, abs=0.01)
    assert -60 < found.percent < -30


def test_bd_rate_of_known_curves():
    halves = [(bpp / 2, db) for bpp, db in ANCHOR]
    found = bd_rate(ANCHOR, halves)
    assert found is not None
    assert found.percent == pytest.approx(-50)
    assert found.overlap == pytest.approx(1)
    within = bd_rate(ANCHOR, halves, (0.5, 2))
    assert within is not None
    assert within.percent == pytest.approx(-50)


def test_bd_rate_reports_how_little_curves_share_and_refuses_none():
    high = [(bpp, db + 10) for bpp, db in ANCHOR]
    little = bd_rate(ANCHOR, high)
    assert little is not None
    assert little.overlap == pytest.approx((41.2 - 35.9) / (51.2 - 25.9))
    assert bd_rate(ANCHOR, [(bpp, db + 20) for bpp, db in ANCHOR]) is None
    assert bd_rate(ANCHOR[:2], CURVE) is None
    assert bd_rate(ANCHOR, [*CURVE[:2], (3.0, float("inf"))]) is None


@pytest.mark.parametrize(("height", "width", "channels", "dtype"), [(11, 11, 1, np.uint8), (40, 67, 3, np.uint16)])
def test_ssim_is_that_of_scikit_image(height, width, channels, dtype):
    rng = np.random.default_rng(5)
    peak = np.iinfo(dtype).max
    original = np.clip(rng.normal(0.5, 0.2, (height, width, channels)) * peak, 0, peak).astype(dtype)
    noisy = np.clip(original + rng.normal(0, 0.05 * peak, original.shape), 0, peak).astype(dtype)
    expected = structural_similarity(
        *(original, noisy),
        data_range=peak,
        channel_axis=2,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    assert ssim(original, noisy) == pytest.approx(expected, abs=1e-9)


def test_ms_ssim_of_one_scale_is_ssim_of_complete_windows(monkeypatch):
    import skimage.data

    from dfmcodec import perception

    original = skimage.data.chelsea()[:180, :200]
    noisy = np.clip(original + np.random.default_rng(0).normal(0, 12, original.shape), 0, 255).astype(np.uint8)
    five = ms_ssim(original, noisy)
    monkeypatch.setattr(perception, "_SCALE_WEIGHTS", (1.0,))
    complete = slice(5, -5)
    maps = [
        structural_similarity(
            original[:, :, c], noisy[:, :, c], gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
        )[1][complete, complete]
        for c in range(3)
    ]
    assert ms_ssim(original, noisy) == pytest.approx(np.mean(maps), abs=1e-3)
    assert five is not None
    assert ssim(original, noisy) < five < 1  # coarse scales see little of the noise
    assert ms_ssim(original, original) == pytest.approx(1)


def test_measures_of_images_too_small_for_their_windows():
    small = np.zeros((10, 300, 3), np.uint8)
    assert ssim(small, small) is None
    assert ms_ssim(small, small) is None
    assert psnr(small, small) == float("inf")
    with pytest.raises(ValueError, match="different shapes"):
        psnr(small, small[:5])
