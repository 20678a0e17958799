"""Tests of the image filter: exact inverse of writing, and gains of the fit."""

from __future__ import annotations

import numpy as np
import pytest

from dfmcodec.codecs.wavelet.encode.filter_fit import BLOCK_ROWS, fit_filter
from dfmcodec.codecs.wavelet.filter import MAX_RADIUS, ImageFilter, filter_residual, taps
from dfmcodec.codecs.wavelet.sections.filter import filter_bytes, read_filter, write_filter
from dfmcodec.codecs.wavelet.synthesis import Samples
from dfmcodec.errors import ConfigError, CorruptError


@pytest.mark.parametrize("radius", range(1, MAX_RADIUS + 1))
@pytest.mark.parametrize("channels", [1, 3])
def test_write_then_read(radius, channels):
    rng = np.random.default_rng(radius)
    symbols = np.rint(rng.laplace(0, 4, (channels, len(taps(radius)), channels))).astype(np.int32)
    chosen = ImageFilter(radius, 50, symbols)
    body = write_filter(chosen)
    again = read_filter(body, channels)
    assert np.array_equal(again.symbols, symbols)
    assert (again.radius, again.step_index) == (radius, 50)
    assert abs(len(body) - filter_bytes(chosen)) <= 5
    assert taps(radius)[:4] == taps(1)


def test_damaged_sections_are_refused():
    for body in (b"", b"\x00\x10", b"\x09\x10\x10", b"\x02\x10\x10", b"\x02\x10\xff\xff", b"\x02\x10\x10\x10abc"):
        with pytest.raises(CorruptError):
            read_filter(body, 3)
    with pytest.raises(ConfigError):
        ImageFilter(2, 10, np.zeros((3, 4, 3), np.int32))
    with pytest.raises(ConfigError):
        ImageFilter(9, 10, np.zeros((3, 4, 3), np.int32))


def changed(samples, chosen):
    complete = Samples.complete(samples)
    return filter_residual(complete.around(complete.at, chosen.radius), chosen)


def test_residual_is_the_sum_it_says():
    rng = np.random.default_rng(0)
    samples = rng.integers(-900, 900, (3, 11, 13)).astype(np.int32)
    chosen = ImageFilter(2, 40, rng.integers(-5, 6, (3, 12, 3)).astype(np.int32))
    padded = np.pad(samples, ((0, 0), (2, 2), (2, 2)), mode="edge").astype(np.float64)
    expected = np.zeros(samples.shape)
    for tap, (dy, dx) in enumerate(taps(2)):
        moved = padded[:, 2 + dy : 13 + dy, 2 + dx : 15 + dx] - samples
        expected += np.einsum("ij,jhw->ihw", chosen.weights[:, tap].astype(np.float64), moved)
    assert np.abs(changed(samples, chosen) - expected).max() < 0.05


def test_fit_undoes_a_known_blur():
    """Samples that were blurred: the filter takes most of the blur away, and costs little."""
    rng = np.random.default_rng(0)
    target = rng.normal(0, 2000, (3, 64, 64)).astype(np.float32)
    around = sum(np.roll(target, shift, axis) for axis in (1, 2) for shift in (1, -1))
    samples = np.rint(0.8 * target + 0.05 * around).astype(np.int32)

    def error_of(block):
        part = slice(None), block.rows, block.columns
        return target[part] - samples[part]

    chosen = fit_filter(samples, error_of, bit_cost=4000.0, largest_radius=3)
    assert chosen is not None
    error = np.mean((target - samples) ** 2)
    left = np.mean((target - samples - changed(samples, chosen)) ** 2)
    assert left < 0.1 * error
    assert fit_filter(samples, error_of, bit_cost=1e12, largest_radius=3) is None


def test_rows_unlike_the_others_do_not_decide_alone():
    """The blur is only in some rows, and the fit would see them too often."""
    rng = np.random.default_rng(0)
    target = rng.normal(0, 2000, (1, 512, 32)).astype(np.float32)
    around = sum(np.roll(target, shift, axis) for axis in (1, 2) for shift in (1, -1))
    samples = np.rint(target).astype(np.int32)
    blurred = [slice(row, row + BLOCK_ROWS) for row in range(0, 512, 16 * BLOCK_ROWS)]
    for rows in blurred:
        samples[:, rows] = np.rint(0.8 * target + 0.05 * around)[:, rows]

    def error_of(block):
        part = slice(None), block.rows, block.columns
        return target[part] - samples[part]

    of_all = fit_filter(samples, error_of, bit_cost=1.0, largest_radius=2)
    of_some = fit_filter(samples, error_of, bit_cost=1.0, largest_radius=2, stride=4)
    assert of_all is not None
    assert of_some is not None
    assert np.array_equal(of_some.symbols, of_all.symbols)


def test_tiny_images_get_no_filter():
    samples = np.zeros((3, 1, 1), np.int32)
    assert fit_filter(samples, lambda block: samples.astype(np.float32), 1.0, 5) is None


@pytest.mark.parametrize("slopes", [(3, 5), (0, 1), (-800, 700)])
def test_filter_fit_of_a_gradient_is_stable(slopes):
    """All differences of a gradient go one way: the normal matrix has rank one."""
    rows, columns = np.mgrid[:160, :200]
    samples = (slopes[0] * rows + slopes[1] * columns)[None].astype(np.int32)
    fit_filter(samples, lambda block: np.ones((1, block.height, block.width), np.float32), 100.0, 5)


def test_a_filter_knows_the_places_of_the_largest_contrast():
    """One bright spot would not be in the blocks that the fit uses, and their filter would double
    its error.
    """
    rng = np.random.default_rng(0)
    target = rng.normal(0, 100, (1, 512, 512)).astype(np.float32)
    around = sum(np.roll(target, shift, axis) for axis in (1, 2) for shift in (1, -1))
    samples = np.rint(0.8 * target + 0.05 * around).astype(np.int32)
    spot = slice(None), slice(292, 300), slice(40, 48)  # on a diagonal that is not used
    samples[spot], target[spot] = rng.integers(-20000, 20000, (1, 8, 8)), 0
    target[spot] = samples[spot]

    def error_of(block):
        part = slice(None), block.rows, block.columns
        return target[part] - samples[part]

    chosen = fit_filter(samples, error_of, bit_cost=1.0, largest_radius=2, stride=2)
    left = 0 if chosen is None else np.abs(changed(samples, chosen)[spot]).max()
    assert left < 2500  # without them 7,000
