"""Tests of the target of fits with the tune `visual`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import skimage.data

from dfmcodec._types import Float32, Pixels
from dfmcodec.codecs.overfitted.encode import visible_target
from dfmcodec.codecs.overfitted.encode.visible_target import VisibleTarget
from dfmcodec.image import Image
from dfmcodec.perception import mse
from dfmcodec.perception.ssimulacra2 import ssimulacra2

PIXELS = np.ascontiguousarray(skimage.data.chelsea()[60:190, 130:270])


def blurred(pixels: Pixels) -> Pixels:
    """An image with visible errors."""
    rows = pixels.astype(np.uint16)
    return ((rows + np.roll(rows, 1, 0) + np.roll(rows, 1, 1) + np.roll(rows, 2, 1)) // 4).astype(np.uint8)


def colours(pixels: Pixels) -> Float32:
    planes = np.broadcast_to(pixels, (*pixels.shape[:2], 3)).transpose(2, 0, 1).astype(np.float32)
    return np.ascontiguousarray(planes / np.float32(255))


def gradient(target: VisibleTarget, decoded: Float32) -> Float32:
    """The gradient of a training step with respect to colours."""
    slopes: Float32 = 2 * target.pixel_weights * (decoded - target.colours)
    return slopes


def test_before_the_first_image_the_target_is_the_original() -> None:
    assert np.allclose(VisibleTarget.of(Image(PIXELS)).colours, colours(PIXELS), atol=1e-6)


def test_target_shift_lowers_visible_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    """The product of gradient and errors is that of squared errors."""
    monkeypatch.setattr(visible_target, "_LARGEST_SHIFT", np.float32(1e3))
    before, decoded = VisibleTarget.of(Image(PIXELS)), colours(blurred(PIXELS))
    target = before.after(decoded)
    errors = decoded - before.original
    assert np.vdot(gradient(target, decoded), errors) == pytest.approx(np.vdot(gradient(before, decoded), errors), 1e-3)
    moved = decoded - np.float32(0.2) * gradient(target, decoded)
    scores = [ssimulacra2(PIXELS, np.rint(255 * x).astype(np.uint8).transpose(1, 2, 0)) for x in (decoded, moved)]
    assert None not in scores
    assert scores[1] > scores[0] + 1
    assert before.distortion.total(moved - before.original) < before.distortion.total(errors)


def test_the_figures_are_those_of_the_image() -> None:
    pixels = blurred(PIXELS)
    figures = VisibleTarget.of(Image(PIXELS)).after(colours(pixels)).figures
    assert figures is not None
    assert figures.score == pytest.approx(ssimulacra2(PIXELS, pixels))
    assert figures.mse == pytest.approx(mse(PIXELS, pixels) / 255**2, rel=1e-4)


def test_a_fraction_of_the_last_shift_is_kept() -> None:
    decoded = colours(blurred(PIXELS))
    first = VisibleTarget.of(Image(PIXELS)).after(decoded)
    assert first.shift is not None
    again = replace(first, shift=np.zeros_like(first.shift)).after(decoded)
    assert again.shift is not None
    assert np.allclose(again.shift, (1 - visible_target._KEPT_FRACTION) * first.shift, atol=1e-6)
    assert np.allclose(first.after(decoded).shift, first.shift, atol=1e-6)
    assert np.abs(first.shift).max() <= 4.01 * np.sqrt(np.mean((decoded - first.original) ** 2))


def test_gray_images_have_three_equal_targets() -> None:
    gray = np.ascontiguousarray(PIXELS[:, :, :1])
    decoded = colours(blurred(gray)) + np.array([-0.01, 0, 0.01], dtype=np.float32)[:, None, None]
    target = VisibleTarget.of(Image(gray)).after(decoded).colours
    assert np.allclose(target, target[:1])
    assert not np.allclose(target, colours(gray))


def test_small_images_have_no_score_and_invisible_pixels_no_shift() -> None:
    small = np.ascontiguousarray(PIXELS[:20, :30])
    alpha = np.full((20, 30), 255, np.uint8)
    alpha[:, :5] = 0
    target = VisibleTarget.of(Image(small, alpha=alpha)).after(colours(blurred(small)))
    assert target.figures is not None
    assert target.figures.score is None
    assert np.array_equal(target.colours[:, :, :5], target.original[:, :, :5])
    assert not np.allclose(target.colours[:, :, 5:], colours(small)[:, :, 5:])


def test_an_exact_image_needs_no_shift() -> None:
    assert np.allclose(VisibleTarget.of(Image(PIXELS)).after(colours(PIXELS)).colours, colours(PIXELS))


def test_images_of_16_bits_have_the_target_of_8_bits() -> None:
    wide = VisibleTarget.of(Image(PIXELS.astype(np.uint16) * 257)).after(colours(blurred(PIXELS)))
    assert np.allclose(wide.colours, VisibleTarget.of(Image(PIXELS)).after(colours(blurred(PIXELS))).colours, atol=1e-3)
