"""Tests of training the weights of the overfitted codec, on a few generated photographs and one
step.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np
import PIL.Image
import pytest
import skimage.data
from click.testing import CliRunner
from numpy.testing import assert_allclose, assert_array_equal

from dfmcodec.codecs.overfitted.context import FEATURES, GridNetwork, LevelNetwork
from dfmcodec.codecs.overfitted.encode.networks import Networks
from dfmcodec.codecs.overfitted.encode.quantize import flat_deltas, pretrained_networks
from dfmcodec.codecs.overfitted.grids import GRID_LEVELS
from dfmcodec.codecs.overfitted.weights import (
    CONTEXT_DELTAS,
    DELTA_NAMES,
    EXPONENTS,
    SYNTHESIS_DELTAS,
    OverfittedWeights,
    WeightDeltas,
    overfitted_weights_of,
)
from dfmcodec.entropy.tables import SCALES_PER_OCTAVE, UNIT_SCALE_INDEX
from dfmcodec.errors import ImageError
from dfmcodec.files.arrays import read_arrays, write_arrays
from dfmcodec.weights.registry import OVERFITTED_FINE
from research.training import overfitted as training
from research.training.overfitted import crops_of, main, side_by_side, weight_arrays, widened
from research.training.start import start_networks

WIDTH = CONTEXT_WIDTH = 8
STEPS = (*training.SYNTHESIS_STEPS.values(), *training.CONTEXT_STEPS.values())  # of each kind
LIFT, LAYER, BYPASS, STAGES = map(DELTA_NAMES.index, ("lift", "layer", "bypass", "stages"))


@pytest.fixture(scope="module")
def start() -> Networks:
    """Networks of integers, which those of pretrained weights are."""
    random = start_networks(0, WIDTH, CONTEXT_WIDTH)
    return pretrained_networks(OverfittedWeights.from_arrays(weight_arrays(random, [random])))


def changed(start: Networks, kind: int, steps: float) -> Networks:
    """Networks with one kind of change: all its weights by the given number of steps of pretrained
    weights.
    """
    weights = OverfittedWeights.from_arrays(weight_arrays(start, [start]))
    return training._moved(start, np.where(weights.kinds() == kind, steps * weights.steps, 0).astype(np.float32))


def tables_of(weights: OverfittedWeights, kind: int) -> np.ndarray:
    return weights.tables[weights.kinds() == kind]


def assert_same(networks: Networks, others: Networks) -> None:
    for one, other in zip(jax.tree.leaves(networks), jax.tree.leaves(others), strict=True):
        assert np.allclose(one, other, atol=1e-6)


# Arrays


def test_changes_of_zero_give_the_start(start: Networks) -> None:
    """Fits that come out as their start leave it as it is, under the narrowest tables."""
    weights = OverfittedWeights.from_arrays(weight_arrays(start, [start, start]))
    assert_same(pretrained_networks(weights), start)
    nothing = WeightDeltas((EXPONENTS[0],) * len(DELTA_NAMES), np.zeros(weights.weight_count, dtype=np.int32))
    network, synthesis = weights.networks_of(nothing)
    assert_same(Networks.of(synthesis, pretrained_networks(weights).contexts), start)
    for name in CONTEXT_DELTAS:
        assert np.array_equal(getattr(network, name), getattr(start.contexts.to_integers(), name))
    narrowest = UNIT_SCALE_INDEX + SCALES_PER_OCTAVE * np.log2(training._SMALLEST_SCALE)
    assert np.all(weights.tables == max(0, round(narrowest)))


def test_each_kind_has_its_step(start: Networks) -> None:
    weights = OverfittedWeights.from_arrays(weight_arrays(start, [start]))
    assert (*training.SYNTHESIS_STEPS, *training.CONTEXT_STEPS) == DELTA_NAMES
    for name, step, found in zip(DELTA_NAMES, STEPS, weights.split(weights.steps), strict=True):
        assert (found == step).all(), name


def test_changes_of_a_kind_move_its_weights(start: Networks) -> None:
    """`_moved` is the inverse of `flat_deltas`; numbers of contexts stay within their limits."""
    weights = OverfittedWeights.from_arrays(weight_arrays(start, [start]))
    for kind in range(len(DELTA_NAMES)):
        for other, deltas in enumerate(weights.split(flat_deltas(changed(start, kind, 6.0), start))):
            name = DELTA_NAMES[other]
            expected = np.full(deltas.shape, 6.0 * STEPS[other] if other == kind else 0.0)
            if other >= len(SYNTHESIS_DELTAS):
                before = getattr(start.contexts.to_integers(), name)
                expected = np.minimum(before + expected, GridNetwork.LIMITS[name]) - before
            assert np.allclose(deltas, expected, atol=5e-3), name


def test_weights_are_the_mean_of_start_and_fits(start: Networks) -> None:
    """The start counts as one of them."""
    for kind in (LIFT, BYPASS, STAGES, *map(DELTA_NAMES.index, ("c1", "c2", "c3"))):
        fits = [changed(start, kind, steps) for steps in (6.0, 12.0, 18.0)]
        weights = OverfittedWeights.from_arrays(weight_arrays(start, fits))
        assert_same(pretrained_networks(weights), changed(start, kind, 9.0))


def test_tables_are_wider_where_fits_differ_more(start: Networks) -> None:
    """An octave for each doubling of the distances, which differ for no other kind."""
    near, far = (
        OverfittedWeights.from_arrays(weight_arrays(start, [changed(start, LAYER, sign * steps) for sign in (-1, 1)]))
        for steps in (8.0, 16.0)
    )
    assert np.all(tables_of(near, LAYER) == UNIT_SCALE_INDEX + 3 * SCALES_PER_OCTAVE)
    assert np.all(tables_of(far, LAYER) == UNIT_SCALE_INDEX + 4 * SCALES_PER_OCTAVE)
    for kind in range(len(DELTA_NAMES)):
        if kind != LAYER:
            assert tables_of(far, kind).max() < tables_of(near, LAYER).min()


def test_without_fits_weights_are_the_start(start: Networks) -> None:
    """Under tables that say little."""
    weights = OverfittedWeights.from_arrays(weight_arrays(start))
    assert_same(pretrained_networks(weights), start)
    assert np.all(weights.tables == UNIT_SCALE_INDEX + 2 * SCALES_PER_OCTAVE)


# Crops


def test_crops_lie_side_by_side() -> None:
    """Row by row; those of a last row that is not full are left out."""
    crops = [np.full((3, 2, 2), number, dtype=np.float32) for number in range(7)]
    joined = side_by_side(crops, 3)
    assert joined.shape == (3, 4, 6)
    assert joined[0, ::2, ::2].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert np.array_equal(joined[:, :2, :2], crops[0])


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pieces of photographs; the last ones are too small for crops."""
    folder = tmp_path_factory.mktemp("photographs")
    pixels = skimage.data.astronaut()
    for number in range(12):
        piece = pixels[8 * number : 8 * number + 336, :336] if number < 9 else pixels[:60, :500]
        PIL.Image.fromarray(piece).save(folder / f"{number:02}.png")
    return folder


def test_crops_of_a_folder(pictures: Path) -> None:
    """As many as are asked for; the same for the same seed."""
    crops = crops_of(pictures, 4, 64, seed=3)
    assert len(crops) == 4
    for crop in crops:
        assert crop.shape == (3, 64, 64)
        assert crop.dtype == np.float32
        assert crop.min() >= 0
        assert 0.5 < crop.max() <= 1
        assert crop.std() > 0.05
    for crop, again in zip(crops, crops_of(pictures, 4, 64, seed=3), strict=True):
        assert np.array_equal(crop, again)
    assert not np.array_equal(crops[0], crops_of(pictures, 4, 64, seed=4)[0])


@pytest.mark.parametrize(("found", "count", "side"), [(9, 50, 64), (0, 4, 512)])
def test_too_few_crops_are_refused(pictures: Path, found: int, count: int, side: int) -> None:
    with pytest.raises(ImageError, match=f"give {found} of {count} crops of {side}x{side} pixels"):
        crops_of(pictures, count, side, seed=3)


# Command


@pytest.mark.slow
def test_the_command_writes_weights(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its name is its weights id, and the stages move the networks."""
    for name, number in {"JOINT_SIDE": 64, "JOINT_COLUMNS": 2, "JOINT_CROPS": 2, "SINGLE_SIDE": 96}.items():
        monkeypatch.setattr(training, name, number)
    out = tmp_path / "new" / "weights"
    arguments = [str(pictures), "--out", str(out), "--width", "8", "--context-width", "8", "--scale", "0.004"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    (path,) = out.iterdir()
    weights = OverfittedWeights.from_arrays(read_arrays(path))
    assert path.name == f"overfitted-{weights.checksum:08x}.npz"
    assert path.name in result.output
    assert (weights.width, len(weights.network.w1)) == (WIDTH, CONTEXT_WIDTH)
    assert "2 crops together" in result.output
    assert "crop 0" in result.output
    fresh = start_networks(0, WIDTH, CONTEXT_WIDTH)
    for new, old in zip(pretrained_networks(weights).synthesis, fresh.synthesis, strict=True):
        assert (new != old).any()


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Fits of small crops that change nothing. Their multipliers are kept."""
    seen = []

    def fitted(_crop: Any, start: Networks, _steps: int, lmbda: float, **_settings: Any) -> Networks:
        seen.append(lmbda)
        return start

    for name, value in {"SINGLE_SIDE": 96, "LONG_CROPS": 2, "fitted_networks": fitted}.items():
        monkeypatch.setattr(training, name, value)
    return seen


def test_impossible_options_are_refused_in_one_line(pictures: Path, tmp_path: Path, still: list[float]) -> None:
    """Before a fit, and before the folder of the output is made."""
    for option, value in (("--scale", "nan"), ("--lmbdas", "0"), ("--width", "65"), ("--axes", "YO")):
        result = CliRunner().invoke(main, [str(pictures), "--out", str(tmp_path / "weights"), option, value])
        assert result.exit_code == 2, result.output
        (line,) = result.stderr.splitlines()
        assert option in line
    assert still == []
    assert list(tmp_path.iterdir()) == []


def test_long_fits_start_from_the_file_of_weights(pictures: Path, tmp_path: Path, still: list[float]) -> None:
    path, out = tmp_path / "own.npz", tmp_path / "weights"
    own = weight_arrays(start_networks(5, WIDTH, 26))
    write_arrays(path, own)
    result = CliRunner().invoke(main, [str(pictures), "--out", str(out), "--start", str(path)])
    assert result.exit_code == 0, result.output
    (written,) = out.iterdir()
    weights = OverfittedWeights.from_arrays(read_arrays(written))
    assert weights.shapes == OverfittedWeights.from_arrays(own).shapes
    assert_allclose(weights.synthesis.layer, own["machine_layer"], atol=1e-6)


def test_units_are_added_to_a_context_network_that_do_not_change_its_outputs() -> None:
    """Nor its tables; new units are not alike, and what they may cost is what others do."""
    shipped = overfitted_weights_of(OVERFITTED_FINE.id)
    assert widened(shipped, len(shipped.network.w1)).checksum == shipped.checksum
    units = len(shipped.network.w1) + 4
    wide = widened(shipped, units)
    assert len(wide.network.w1) == len(wide.network.w2) == units
    features = np.random.default_rng(0).integers(-127, 128, (200, FEATURES)).astype(np.float32)
    for level in range(GRID_LEVELS):
        outputs, wide_outputs = (LevelNetwork(weights.network, level).outputs(features) for weights in (shipped, wide))
        assert_array_equal(outputs, wide_outputs)
    added = wide.network.w1[-4:]
    assert len(np.unique(added, axis=0)) == len(added)
    for (name, _), old, new in zip(shipped.shapes, shipped.split(shipped.tables), wide.split(wide.tables), strict=True):
        kept = tuple(map(slice, old.shape))
        assert_array_equal(new[kept], old, name)
        assert old.min() <= new.min() <= new.max() <= old.max()
