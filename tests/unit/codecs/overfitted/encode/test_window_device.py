"""Tests of windows of several images in one program, as on a GPU, run on the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import skimage
from common import wait_until
from corpora import objects, write_images

from dfmcodec.codecs.overfitted.encode import losses
from dfmcodec.codecs.overfitted.encode.by_jax import window_device, window_loss
from dfmcodec.codecs.overfitted.encode.by_jax.window_device import LossOnDevice, _Line
from dfmcodec.codecs.overfitted.encode.losses import loss_of_windows
from dfmcodec.codecs.overfitted.encode.window_kernel import LossByKernel
from dfmcodec.codecs.overfitted.encode.window_loss import ImageTerms, Softness, WindowPixels
from dfmcodec.codecs.overfitted.encode.windows import Windows
from dfmcodec.codecs.overfitted.grids import grid_sizes
from dfmcodec.corpus import encode_shard, shards_of
from dfmcodec.fourier.jax_backend import use_compilation_cache
from dfmcodec.kernels import compiled
from research.training.start import start_networks

LANES = 2


@pytest.fixture(autouse=True)
def as_on_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs of two windows, which the CPU computes."""
    use_compilation_cache()
    monkeypatch.setattr(window_device, "LANES", LANES)
    monkeypatch.setattr(losses, "may_have_device", lambda: True)
    monkeypatch.setattr(window_loss, "is_on_cpu", lambda: False)
    monkeypatch.setattr(window_device, "_lines", {})


def some_windows(height: int, width: int) -> tuple[Windows, list[WindowPixels]]:
    colours = skimage.data.chelsea()[:height, :width].astype(np.float32).transpose(2, 0, 1) / np.float32(255)
    windows = Windows.of(height, width)
    parts = windows.pixels(np.ascontiguousarray(colours)), windows.pixel_weights(), windows.corners
    return windows, [WindowPixels(*part) for part in zip(*parts, strict=True)]


def assert_close(found: Any, expected: Any) -> None:
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert np.shape(one) == np.shape(other)
        assert np.abs(np.asarray(one) - other).max() <= 1e-4 * np.abs(np.asarray(other)).max()


def test_a_device_takes_windows_together() -> None:
    assert isinstance(loss_of_windows(*some_windows(80, 90)), LossOnDevice)


@pytest.mark.slow
@pytest.mark.skipif(compiled is None, reason="no kernels were built, or not for this processor")
def test_windows_of_a_program_are_those_of_kernels() -> None:
    """Three of them: the second program is not full. Pixels aim at a shifted target. Those beyond
    the image have no values.
    """
    windows, pixels = some_windows(100, 300)
    rng = np.random.default_rng(0)
    start = start_networks(0)
    networks = jax.tree.map(lambda array: array + rng.normal(0, 0.2, array.shape).astype(np.float32), start)
    latents = tuple(rng.normal(0, 2, size).astype(np.float32) for size in grid_sizes(100, 300))
    image = ImageTerms(np.array([100, 300], np.int32), np.float32(4e-3), np.float32(1.7), np.float32(255))
    softness = dict.fromkeys(range(3), Softness(np.float32(0.3), np.float32(0), np.uint32(7)))
    totals, gradients, costs, colours = [], [], [], []
    target = rng.random((3, 100, 300)).astype(np.float32)
    for original in (LossOnDevice(windows, pixels), LossByKernel(windows, pixels)):
        loss = original.aimed_at(target)
        weights = loss.weights(networks)
        of_windows = loss.colours(weights, image, [np.rint(grid) for grid in latents])
        colours.append([windows.joined(plane) for plane in np.moveaxis(np.array(of_windows), 1, 0)])
        found = loss.gradients(weights, image, latents, softness)
        totals.append(loss.total([grad_weights for grad_weights, _ in found]))
        gradients.append([grad_latents for _, grad_latents in found])
        errors, bits = zip(*loss.costs(weights, image, [np.rint(grid) for grid in latents], range(3)), strict=True)
        costs.append((windows.joined(errors), bits))
    assert np.mean(np.abs(np.subtract(*colours)) > 1e-5) < 1e-3
    assert_close(totals[0], totals[1])
    assert_close(gradients[0], gradients[1])
    (errors, bits), (expected_errors, expected_bits) = costs
    assert_close(bits, expected_bits)
    assert np.mean(np.abs(errors - expected_errors) > 1e-5) < 1e-3  # a code value more or less


class RecordedLine(_Line):
    """A line that notes what each program computes."""

    def __init__(self, function: Any) -> None:
        super().__init__(function)
        self.programs: list[list[float]] = []

    def _compute(self, windows: Any) -> None:
        self.programs.append([float(window.arguments[0]) for window in windows])
        super()._compute(windows)

    @contextmanager
    def held(self, count: int) -> Iterator[None]:
        """The device is taken until the given number of windows wait."""
        with window_device._device:
            yield
            wait_until(lambda: len(self._waiting) >= count)
            assert len(self._waiting) == count


def numbers(*values: float) -> list[tuple[np.float32]]:
    return [(np.float32(value),) for value in values]


def test_waiting_windows_share_programs() -> None:
    """Programs are full while windows wait, and each thread gets what is its own."""
    line = RecordedLine(lambda number: 2 * number)
    with ThreadPoolExecutor(3) as executor:
        with line.held(7):
            work = [executor.submit(line.results, numbers(*range(first, first + 3))) for first in (0, 10)]
            work.append(executor.submit(line.results, numbers(20)))
        assert [future.result() for future in work] == [[0, 2, 4], [20, 22, 24], [40]]
    assert list(map(len, line.programs)) == [2, 2, 2, 1]
    assert line.results(numbers(5)) == [10]


def test_program_errors_are_raised_for_its_windows_only() -> None:
    """And for no others."""

    def fails(number: Any) -> None:
        if 3 in number:
            msg = "no memory"
            raise MemoryError(msg)
        return number

    line = RecordedLine(lambda number: number)
    line._program = fails
    with ThreadPoolExecutor(3) as executor:
        with line.held(4):
            work = [executor.submit(line.results, numbers(3)) for _ in range(2)]
            wait_until(lambda: len(line._waiting) == 2)
            work.append(executor.submit(line.results, numbers(4, 5)))
        assert [type(future.exception()) for future in work] == [MemoryError, MemoryError, type(None)]
        assert work[2].result() == [4, 5]
    assert not line._waiting


@pytest.mark.slow  # 40 s of a processor; the line and the loss are tested above
def test_images_that_are_fitted_in_threads_share_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two shards of one image each, in threads of one process: the same files as one by one."""
    programs: list[set[bytes]] = []
    compute = _Line._compute

    def recorded(self: Any, windows: Any) -> None:
        programs.append({window.arguments[-1].colours.tobytes() for window in windows})
        compute(self, windows)

    monkeypatch.setattr(_Line, "_compute", recorded)
    encode = partial(encode_shard, psnr=30.0, model="overfitted", training_steps=20)
    source = str(write_images(tmp_path / "in", 2))
    for name, threads in (("one", 1), ("two", 2)):
        programs.clear()
        shards = shards_of([source], str(tmp_path / name), recursive=True, shard_size=1)
        with ThreadPoolExecutor(threads) as executor:
            assert [result.images_done for result in executor.map(encode, shards)] == [1, 1]
        assert max(map(len, programs)) == threads
    assert objects(tmp_path / "one") == objects(tmp_path / "two")
