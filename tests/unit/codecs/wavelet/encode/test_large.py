"""Tests of large images: estimates from a sample, and memory."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import dfmcodec
from dfmcodec._types import Tune
from dfmcodec.codecs.wavelet.compact import from_bytes, from_halves, in_one_block, to_bytes, to_halves
from dfmcodec.codecs.wavelet.encode import iteration, sample, search
from dfmcodec.codecs.wavelet.encode.efforts import EFFORT_LEVELS, QUICK
from dfmcodec.codecs.wavelet.encode.encoding import Change, Encoding
from dfmcodec.codecs.wavelet.encode.iteration import Iterations
from dfmcodec.codecs.wavelet.encode.sample import MeasuredSize, SampleEstimate, as_image, sample_of
from dfmcodec.codecs.wavelet.encode.trial import Trial
from dfmcodec.image import Image, tiles
from dfmcodec.search.quality import step_of_score


@pytest.fixture(scope="module")
def small():
    import skimage.data

    return np.ascontiguousarray(skimage.data.astronaut()[:256, 100:356])


_TARGETS = {"quality": 60}, {"size": 12000}, {"lmbda": 1e-3}


@pytest.fixture
def is_large(monkeypatch):
    """Images of 256x256 are large, and have a sample of 128x128."""
    monkeypatch.setattr(search, "LEAST_PIXELS", 256 * 256)
    monkeypatch.setattr(sample, "_SQUARE", {True: 32, False: 32})


def test_a_sample_is_a_mosaic_of_squares_from_all_over(monkeypatch):
    monkeypatch.setattr(sample, "_SQUARE", {True: 2, False: 1})
    rows, columns = np.mgrid[:40, :60].astype(np.uint8)
    pixels = np.stack([rows, columns, rows], axis=2)
    found = sample_of(Image(pixels, alpha=columns), is_adapted=True)
    assert found.pixels.shape == (8, 8, 3)
    assert found.alpha is not None
    assert np.array_equal(found.alpha, found.pixels[:, :, 1])
    assert found.pixels[:, 0, 0].tolist() == [4, 5, 14, 15, 24, 25, 34, 35]
    assert found.pixels[0, :, 1].tolist() == [6, 7, 21, 22, 36, 37, 51, 52]
    assert sample_of(Image(pixels), is_adapted=False).pixels.shape == (4, 4, 3)
    monkeypatch.setattr(sample, "_VERY_LARGE", 2399)
    assert sample_of(Image(pixels), is_adapted=False).pixels.shape == (8, 8, 3)


def test_estimates_are_scaled_by_those_of_the_sample():
    came = tuple(MeasuredSize(1000.0 * size, 8.0 / size, score) for size, score in ((4, 60.0), (2, 70.0), (1, 71.0)))
    learned = SampleEstimate(64, None, came)
    now = Trial(2, object(), 500.0, 510, 2.0, 65.0)
    assert learned.expected(now) == replace(now, file_bytes=250.0, written_bytes=255, mse=4.0, ssimulacra2=66.0)
    assert learned.expected(replace(now, number=3)) == replace(now, number=3)
    assert as_image(now, 0.25) == replace(now, file_bytes=2000.0, written_bytes=2040)


def test_efforts_take_fewer_iterations_after_a_sample():
    after = {level: effort.after_sample() for level, effort in EFFORT_LEVELS.items()}
    assert [effort.iterations for effort in after.values()] == [2, 4, 5, 9, 19]
    assert all(effort.shifts < effort.iterations for effort in after.values())
    assert not any(effort.adapted_after for effort in after.values())


@pytest.mark.parametrize("target", [{"quality": 60}, {"size": 12000}, {"psnr": 31.0}, {"lmbda": 1e-3}])
def test_large_images_meet_their_target_from_the_first_iteration_on(small, is_large, target):
    result = dfmcodec.encode(small, effort=3, **target)
    steps = [point["q_step"] for point in result.report.codec["trace"]]
    assert len(steps) >= 3
    assert max(steps) < 1.4 * min(steps)
    assert np.array_equal(dfmcodec.decode(result.data), result.decoded.pixels)
    if "size" in target:
        assert 0.97 * 12000 < len(result.data) <= 12000
    if "psnr" in target:
        assert result.report.psnr_db >= 31.0


def test_effort_1_learns_its_step_from_a_sample_unless_the_target_gives_it(small, is_large, monkeypatch):
    usual = round(64 * step_of_score(60.0))
    first = [dfmcodec.encode(small, effort=1, **target).report.codec["trace"][0]["q_step"] for target in _TARGETS]
    monkeypatch.setattr(search, "LEAST_PIXELS", small.size)
    without = [dfmcodec.encode(small, effort=1, **target).report.codec["trace"][0]["q_step"] for target in _TARGETS]
    assert without[0] == usual != first[0]
    assert first[1] != without[1]
    assert first[2] == without[2]


def test_a_sample_that_cannot_be_encoded_is_done_without(small, is_large, monkeypatch):
    plain = dfmcodec.encode(small, effort=3, quality=60)

    def fail(*_: object) -> None:
        raise FloatingPointError

    monkeypatch.setattr(search, "iterate_sample", fail)
    result = dfmcodec.encode(small, effort=3, quality=60)
    assert result.report.restarts == 0
    assert abs(result.report.ssimulacra2 - plain.report.ssimulacra2) < 5


def test_a_large_image_that_is_interrupted_ends_with_a_file(small, is_large):
    stopped = dfmcodec.encode(small, effort=5, quality=60, should_stop=lambda: True)
    assert stopped.report.stop_reason == "interrupted"
    assert dfmcodec.decode(stopped.data).shape == small.shape


def test_the_bar_never_goes_back(small, is_large):
    parts = []
    dfmcodec.encode(small, effort=3, quality=60, on_progress=lambda progress: parts.append(progress.fraction))
    assert parts == sorted(parts)
    assert parts[0] < 0.1
    assert parts[-1] == 1.0


@pytest.mark.parametrize(("is_kept_in_16_bits", "step"), [(True, 0.5), (False, 0.0)])
def test_a_change_is_kept_to_half_a_unit(is_kept_in_16_bits, step):
    change = Change((3, 8, 6), is_kept_in_16_bits)
    values = np.random.default_rng(0).normal(0, 200, (3, 4, 6)).astype(np.float32)
    values[0, 0, 0] = 1e6
    change.put(values, slice(2, 6))
    found = change.part(slice(2, 6))
    assert found.dtype == np.float32
    assert np.abs(found - np.minimum(values, found.max())).max() <= step / 2
    assert not change.part(slice(0, 2)).any()


def test_floats_of_16_bits_are_good_to_a_256th():
    values = np.random.default_rng(1).normal(0, 1000, 1000).astype(np.float32)
    found = from_halves(to_halves(values))
    assert np.abs(found / values - 1).max() <= 1 / 256
    assert np.array_equal(from_halves(to_halves(found)), found)
    assert not from_halves(to_halves(np.zeros(3, dtype=np.float32))).any()


def test_numbers_of_8_bits_are_kept_as_square_roots():
    values = np.random.default_rng(2).normal(0, 0.3, (2, 500)).astype(np.float32)
    values[0, :3] = 0, 1e-5, -9
    stored = to_bytes(values)
    assert stored.dtype == np.int8
    found, kept = from_bytes(stored), np.clip(values, -1, 1)
    assert np.all(np.abs(found - kept) <= 1.001 * (np.sqrt(np.abs(kept)) / 127 + 1 / 254**2))
    assert np.all(np.diff(found.ravel()[np.argsort(kept.ravel())]) >= 0)
    assert found[0, 0] == found[0, 1] == 0


def test_arrays_are_kept_in_one_block():
    arrays = {name: np.arange(size, dtype=np.int16).reshape(2, -1) for name, size in (("a", 6), ("b", 0), ("c", 2))}
    found = in_one_block(arrays)
    assert all(np.array_equal(found[name], arrays[name]) for name in arrays)
    assert found["a"].base is found["c"].base is not None
    assert in_one_block({}) == {}


def test_a_synthesis_beyond_16_bits_is_not_clipped(small, monkeypatch):
    monkeypatch.setattr(tiles, "TILE_SIDE", 256)
    encoding = Encoding.of(Image(np.concatenate([small, small // 2])), QUICK)
    assert len(encoding.tiling.tiles) == 2
    usual = Iterations(encoding).iterate(1000)
    assert usual.encoded.samples.dtype == np.int16
    monkeypatch.setattr(iteration, "_LARGEST_INT16", usual.encoded.samples.max() - 1)  # of one tile, at least
    wide = Iterations(encoding).iterate(1000)
    assert wide.encoded.samples.dtype == np.int32
    assert np.array_equal(wide.encoded.samples, usual.encoded.samples)
    assert np.array_equal(wide.encoded.pixels, usual.encoded.pixels)


def test_the_costs_of_a_large_image_are_kept_in_8_bits(small, monkeypatch):
    costs = []
    for many_pixels in (small.size, 0):
        monkeypatch.setattr("dfmcodec.codecs.wavelet.encode.encoding._MANY_PIXELS", many_pixels)
        encoding = Encoding.of(Image(small), EFFORT_LEVELS[5])
        iterations = Iterations(encoding)
        iterations.iterate(1000)
        costs.append(iterations.tiles[0].dependency_costs)
    for coding_pass, stored in costs[1].by_pass.items():
        assert stored.dtype == np.int8
        expected = costs[0].slopes(coding_pass)
        assert np.abs(costs[1].slopes(coding_pass) - expected).max() <= np.sqrt(np.abs(expected).max()) / 100


def test_the_samples_of_a_large_image_take_the_place_of_its_change(small, monkeypatch):
    monkeypatch.setattr("dfmcodec.codecs.wavelet.encode.encoding._MANY_PIXELS", 0)
    encoding = Encoding.of(Image(small), EFFORT_LEVELS[3], tune=Tune.VISUAL)
    iterations = Iterations(encoding)
    iterations.iterate(1000)
    first = Change.buffer_of(iterations.change, small.shape)
    iterations.iterate(1000)
    assert iterations.reconstruction.samples is first
    assert Change.buffer_of(iterations.change, small.shape) is not first
