"""Tests of SSIMULACRA2 against values of the tool of libjxl 0.11.2."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest
from common import without_kernels

from dfmcodec.perception.ssimulacra2 import (
    SMALLEST_SIDE,
    _Scales,
    ssimulacra2,
    ssimulacra2_and_slopes,
    ssimulacra2_slopes,
)

# By image and damage: what the tool prints for the PNGs of both.
VALUES = {
    ("rgb", "noise"): 70.0,
    ("rgb", "blur"): 62.3,
    ("rgb", "few levels"): 57.65,
    ("rgb", "shift"): 84.87,
    ("rgb", "blocks"): 18.43,
    ("odd", "noise"): -14.59,
    ("odd", "blur"): 74.02,
    ("odd", "few levels"): -18.7,
    ("odd", "shift"): 89.33,
    ("odd", "blocks"): 77.95,
    ("small", "noise"): 90.91,
    ("small", "blur"): 91.29,
    ("small", "few levels"): 91.73,
    ("small", "shift"): 97.85,
    ("small", "blocks"): 95.51,
    ("gray", "noise"): 61.22,
    ("gray", "blur"): 61.94,
    ("gray", "few levels"): 50.31,
    ("gray", "shift"): 81.05,
    ("gray", "blocks"): 19.01,
    ("alpha", "noise"): 71.99,
    ("alpha", "blur"): 65.59,
    ("alpha", "few levels"): 59.29,
    ("alpha", "shift"): 85.53,
    ("alpha", "blocks"): 28.97,
    ("gray, alpha", "noise"): 64.21,
    ("gray, alpha", "blur"): 65.08,
    ("gray, alpha", "few levels"): 52.85,
    ("gray, alpha", "shift"): 81.83,
    ("gray, alpha", "blocks"): 29.0,
}


def image_of(kind: str) -> np.ndarray:
    import skimage.data

    cat = np.ascontiguousarray(skimage.data.chelsea()[40:230, 90:390])
    rows, columns = np.mgrid[:190, :300]
    alpha = np.clip(2 * rows + columns - 100, 0, 255).astype(np.uint8)[:, :, None]
    return {
        "rgb": cat,
        "odd": cat[:61, :47],
        "small": cat[:17, 30:41],
        "gray": cat[:, :, 1:2],
        "alpha": np.concatenate([cat, alpha], axis=2),
        "gray, alpha": np.concatenate([cat[:, :, 1:2], alpha], axis=2),
    }[kind]


def damaged(image: np.ndarray, damage: str) -> np.ndarray:
    pixels = image.astype(np.int32)
    colours = pixels.shape[2] - (pixels.shape[2] in (2, 4))
    if damage == "noise":
        changed = pixels + np.random.default_rng(5).integers(-12, 13, pixels.shape)
    elif damage == "blur":
        padded = np.pad(pixels, ((1, 1), (1, 1), (0, 0)), mode="edge")
        changed = sum(padded[y : y + len(pixels), x : x + pixels.shape[1]] for y in range(3) for x in range(3)) // 9
    elif damage == "few levels":
        changed = pixels // 24 * 24 + 12
    elif damage == "shift":
        changed = pixels + np.array([9, -4, 6, 0])[: pixels.shape[2]]
    else:
        blocks = pixels[::8, ::8].repeat(8, axis=0).repeat(8, axis=1)[: len(pixels), : pixels.shape[1]]
        changed = (3 * pixels + blocks) // 4
    changed[:, :, colours:] = pixels[:, :, colours:]
    return np.clip(changed, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(("kind", "damage"), VALUES)
def test_values_are_those_of_libjxl(kind, damage):
    image = image_of(kind)
    tolerance = 0.4 if damage == "shift" else 0.1  # the tool's own rounding decides what tiny errors come to
    assert ssimulacra2(image, damaged(image, damage)) == pytest.approx(VALUES[kind, damage], abs=tolerance)


@pytest.mark.parametrize(("kind", "damage"), list(VALUES)[::4])
def test_numpy_gives_the_same(kind, damage):
    image = image_of(kind)
    with_kernels = ssimulacra2(image, damaged(image, damage))
    with without_kernels():
        assert ssimulacra2(image, damaged(image, damage)) == pytest.approx(with_kernels, abs=0.01)


def test_equal_images_have_100():
    assert ssimulacra2(image_of("alpha"), image_of("alpha")) == 100


def test_16_bits_are_as_8():
    image = image_of("odd")
    wide = [pixels.astype(np.uint16) * 257 for pixels in (image, damaged(image, "noise"))]
    assert ssimulacra2(*wide) == pytest.approx(ssimulacra2(image, damaged(image, "noise")), abs=1e-3)


def test_errors_of_invisible_pixels_do_not_count():
    image = image_of("alpha").copy()
    image[:, :, 3] = 0
    assert ssimulacra2(image, damaged(image, "blur")) == 100


def test_small_images_have_none():
    for shape in ((SMALLEST_SIDE - 1, 30, 3), (30, 1, 1)):
        assert ssimulacra2(np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)) is None
    smallest = np.zeros((SMALLEST_SIDE, SMALLEST_SIDE, 3), np.uint8)
    assert ssimulacra2(smallest, smallest) == 100


def test_different_shapes_are_refused():
    with pytest.raises(ValueError, match="differ"):
        ssimulacra2(np.zeros((9, 9, 3), np.uint8), np.zeros((9, 8, 3), np.uint8))
    with pytest.raises(ValueError, match="differ"):
        ssimulacra2(np.zeros((9, 9, 3), np.uint8), np.zeros((9, 9, 3), np.uint16))


@pytest.mark.parametrize("kind", ["odd", "small", "gray"])
@pytest.mark.parametrize("has_kernels", [True, False])
def test_slopes_are_the_derivative(kind, has_kernels):
    """Along the damage, where it is large."""
    image, made = (pixels.astype(np.int32) * 257 for pixels in (image_of(kind), damaged(image_of(kind), "blur")))
    step = (made - image) // 50
    with nullcontext() if has_kernels else without_kernels():
        of_image, below, here, above = (pixels.astype(np.uint16) for pixels in (image, made - step, made, made + step))
        slope = float(np.sum(ssimulacra2_slopes(of_image, here) * step.transpose(2, 0, 1)))
        errors = [_Scales.of(of_image, pixels).error for pixels in (above, below)]
    assert slope == pytest.approx((errors[0] - errors[1]) / 2, rel=0.02)


def test_strips_make_no_difference(monkeypatch):
    image = image_of("rgb")
    complete = ssimulacra2(image, damaged(image, "blur"))
    slopes = ssimulacra2_slopes(image, damaged(image, "blur"))
    monkeypatch.setattr("dfmcodec.perception.ssimulacra2._STRIP_PIXELS", 900)
    assert ssimulacra2(image, damaged(image, "blur")) == pytest.approx(complete, abs=1e-4)
    assert np.allclose(ssimulacra2_slopes(image, damaged(image, "blur")), slopes, rtol=1e-3, atol=1e-9)


def test_the_score_alone_is_exactly_that_of_the_slopes(monkeypatch):
    """It keeps no images of the second scale, which has 57 rows."""
    monkeypatch.setattr("dfmcodec.perception.ssimulacra2._STRIP_PIXELS", 900)
    image = np.tile(image_of("rgb"), (4, 4, 1))[:113, :121]
    made = damaged(image, "blur")
    assert ssimulacra2(image, made) == ssimulacra2_and_slopes(image, made)[0]
