"""Tests that the synthesis of the overfitted codec follows docs/format.md in all
implementations.
"""

from __future__ import annotations

import numpy as np
import pytest
from overfitted_parts import laplace_grids

from dfmcodec._types import Symbols
from dfmcodec.codecs.overfitted.grids import GRID_LEVELS, grid_sizes
from dfmcodec.codecs.overfitted.synthesis import STAGES, TAPS, SynthesisNetwork, synthesise_grids, upsampled
from dfmcodec.image.region import CHANNELS, Region

STEP = 0.125
WIDTH = 32
SIZES = [(1, 1), (1, 9), (13, 6), (70, 21), (129, 66)]


def random_synthesis(seed: int = 0) -> SynthesisNetwork:
    """Of phases that are not small, and filters that are not symmetric."""
    rng = np.random.default_rng(seed)

    def normal(*shape: int, std: float = 0.3) -> np.ndarray:
        return rng.normal(0, std, shape).astype(np.float32)

    return SynthesisNetwork(
        np.array([0.0, 0.2, 0.9, -0.1], dtype=np.float32) + normal(GRID_LEVELS - 1, TAPS, std=0.05),
        normal(WIDTH, GRID_LEVELS, std=1.5),
        normal(WIDTH),
        normal(CHANNELS, 2 * WIDTH, std=0.1),
        normal(CHANNELS, GRID_LEVELS),
        normal(CHANNELS),
        normal(STAGES, CHANNELS, 9 * CHANNELS, std=0.1),
        normal(STAGES, CHANNELS),
    )


def complete(height: int, width: int) -> Region:
    return Region(0, 0, height, width)


# The definition


def doubled_by_hand(samples: np.ndarray, taps: np.ndarray, halo: int, size: int) -> np.ndarray:
    """Upsamples the first axis, which has `halo` samples around those of the grid, as the format
    defines it: the samples -halo .. size + halo - 1.
    """
    rows = []
    for at in range(-halo, size + halo):
        i = halo + at // 2
        weights, first = (taps, i - 2) if at % 2 == 0 else (taps[::-1], i - 1)
        rows.append(sum(weights[tap] * samples[first + tap] for tap in range(TAPS)))
    return np.stack(rows)


def colours_by_hand(synthesis: SynthesisNetwork, grids: tuple[Symbols, ...]) -> np.ndarray:
    """The complete image in float64."""
    weights = SynthesisNetwork(*(np.asarray(array, dtype=np.float64) for array in synthesis))
    halo = 6
    padded = [np.pad(grid * STEP, halo, mode="edge") for grid in grids]
    planes = []
    for level, samples in enumerate(padded):
        for coarser in range(level, 0, -1):
            rows, columns = grids[coarser - 1].shape
            taps = weights.filters[coarser - 1]
            samples = doubled_by_hand(samples, taps, halo, rows)
            samples = doubled_by_hand(samples.T, taps, halo, columns).T
        planes.append(samples)
    vectors = np.stack(planes)
    angles = np.einsum("jl,lyx->jyx", weights.lift, vectors) + weights.lift_constants[:, None, None]
    hidden = np.concatenate([np.cos(angles) - 1, np.sin(angles)])
    colours = np.einsum("cj,jyx->cyx", weights.layer, hidden) + np.einsum("cl,lyx->cyx", weights.bypass, vectors)
    colours += weights.constants[:, None, None]
    for number in range(STAGES):
        height, width = colours.shape[1] - 2, colours.shape[2] - 2
        around = np.concatenate([colours[:, y : y + height, x : x + width] for y in range(3) for x in range(3)])
        mapped = np.einsum("cn,nyx->cyx", weights.stages[number], around)
        colours = colours[:, 1:-1, 1:-1] + mapped + weights.stage_constants[number][:, None, None]
        if number == 0:
            colours = np.maximum(colours, 0)
    rest = halo - STAGES
    return colours[:, rest:-rest, rest:-rest]


@pytest.mark.parametrize("size", SIZES[:-1])
def test_colours_are_those_of_the_format(size: tuple[int, int]) -> None:
    synthesis, grids = random_synthesis(), laplace_grids(*size, scale=2.0)
    found = synthesise_grids(synthesis, grids, STEP, complete(*size))
    wanted = colours_by_hand(synthesis, grids)
    assert found.shape == wanted.shape == (CHANNELS, *size)
    assert found.dtype == np.float32
    assert np.abs(found - wanted).max() < 2e-5


def test_doubling_puts_samples_a_quarter_before_and_after_the_middle() -> None:
    """Filters that keep lines straight make a line of half the slope."""
    line = np.arange(12, dtype=np.float32)
    planes = np.stack([np.add.outer(line, 0 * line), np.add.outer(0 * line, line)])
    between = np.array([0.0, 0.25, 0.75, 0.0], dtype=np.float32)
    result = upsampled(planes, between, np)
    assert result.shape == (2, 16, 16)
    steps = 1.75 + np.arange(16) / 2
    assert np.allclose(result[0], steps[:, None], atol=1e-5)
    assert np.allclose(result[1], steps[None], atol=1e-5)


def test_grids_of_zeros_give_the_constant_colour_of_the_network() -> None:
    """At the edges too, and whatever the size."""
    synthesis = random_synthesis(1)
    phases = synthesis.lift_constants.astype(np.float64)
    colour = synthesis.layer @ np.concatenate([np.cos(phases) - 1, np.sin(phases)]) + synthesis.constants
    for number in range(STAGES):
        summed = synthesis.stages[number].reshape(CHANNELS, 9, CHANNELS).sum(axis=1)
        colour = colour + summed @ colour + synthesis.stage_constants[number]
        if number == 0:
            colour = np.maximum(colour, 0)
    for size in SIZES:
        grids = [np.zeros(shape, dtype=np.int32) for shape in grid_sizes(*size)]
        colours = synthesise_grids(synthesis, grids, STEP, complete(*size))
        assert np.abs(colours - colour[:, None, None]).max() < 1e-5


def test_edges_repeat() -> None:
    """A larger image whose grids repeat the samples at the edges shows the same within."""
    synthesis = random_synthesis(2)
    height, width = 64, 128  # which all grids divide
    grids = laplace_grids(height, width, scale=2.0)
    around = 64
    larger = [np.pad(grid, around >> level, mode="edge") for level, grid in enumerate(grids)]
    found = synthesise_grids(synthesis, grids, STEP, complete(height, width))
    size = height + 2 * around, width + 2 * around
    extended = synthesise_grids(synthesis, larger, STEP, complete(*size))
    assert np.abs(extended[:, around:-around, around:-around] - found).max() < 1e-5


# Regions and backends


@pytest.mark.parametrize("size", SIZES)
def test_a_region_is_the_crop_of_the_complete_image(size: tuple[int, int]) -> None:
    """Exactly: the sums of a pixel do not depend on what else is computed."""
    synthesis, grids = random_synthesis(3), laplace_grids(*size, scale=2.0)
    image = synthesise_grids(synthesis, grids, STEP, complete(*size))
    rng = np.random.default_rng(4)
    for _ in range(25):
        (top, bottom), (left, right) = (np.sort(rng.choice(side + 1, 2, replace=False)).tolist() for side in size)
        region = Region(top, left, bottom, right)
        found = synthesise_grids(synthesis, grids, STEP, region)
        assert np.array_equal(found, image[:, region.rows, region.columns]), region
