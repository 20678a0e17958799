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
from common import SHARED
from numpy.testing import assert_allclose, assert_array_equal

from dfmcodec.codecs.overfitted.context import FEATURES, GridNetwork, LevelNetwork
from dfmcodec.codecs.overfitted.encode.fit import Fit
from dfmcodec.codecs.overfitted.encode.networks import Networks
from dfmcodec.codecs.overfitted.encode.quantize import delta_scales, flat_deltas, pretrained_networks
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
from dfmcodec.errors import DfmError, ImageError, InstallationError
from dfmcodec.files.arrays import read_arrays, write_arrays
from dfmcodec.weights.registry import OVERFITTED_FINE, OVERFITTED_SMALL
from training import overfitted as training
from training.overfitted import crops_of, main, side_by_side, weight_arrays, widened
from training.start import NEARLY_LINEAR, STEEP, LayerStart, start_networks

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


@pytest.mark.parametrize("kind", range(len(DELTA_NAMES)))
def test_changes_of_a_kind_move_its_weights(start: Networks, kind: int) -> None:
    """`_moved` is the inverse of `flat_deltas`; numbers of contexts stay within their limits."""
    weights = OverfittedWeights.from_arrays(weight_arrays(start, [start]))
    found = weights.split(flat_deltas(changed(start, kind, 6.0), start))
    for other, deltas in enumerate(found):
        name = DELTA_NAMES[other]
        wanted = np.full(deltas.shape, 6.0 * STEPS[other] if other == kind else 0.0)
        if other >= len(SYNTHESIS_DELTAS):
            before = getattr(start.contexts.to_integers(), name)
            wanted = np.minimum(before + wanted, GridNetwork.LIMITS[name]) - before
        assert np.allclose(deltas, wanted, atol=5e-3), name


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


def test_tables_are_wider_for_the_weights_that_differ(start: Networks) -> None:
    """Those of the same kind follow a little."""
    base = OverfittedWeights.from_arrays(weight_arrays(start, [start]))
    deltas = np.zeros(base.weight_count, dtype=np.float32)
    place = int(np.flatnonzero(base.kinds() == STAGES)[4])
    deltas[place] = 100 * base.steps[place]
    fits = [training._moved(start, sign * deltas) for sign in (-1, 1)] * 4
    tables = OverfittedWeights.from_arrays(weight_arrays(start, fits)).tables
    others = tables[(base.kinds() == STAGES) & (np.arange(len(tables)) != place)]
    assert tables[place] > others.max() + 2 * SCALES_PER_OCTAVE
    assert others.min() > tables[0]


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


def test_crops_are_from_all_over_a_folder(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a large folder, six times as many photographs as crops are read."""
    seen = []
    monkeypatch.setattr(training, "photographs", lambda _folder, _rng, every: seen.append(every) or iter(()))
    for count in (1, 2, 6, 50):
        with pytest.raises(ImageError):
            crops_of(pictures, count, 64, seed=0)
    assert seen == [2, 1, 1, 1]


def test_crops_of_real_photographs() -> None:
    folder = SHARED / "kodak"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there: a clone without the shared data")
    crops = crops_of(folder, 2, 128, seed=11)
    assert [crop.shape for crop in crops] == [(3, 128, 128)] * 2
    assert side_by_side(crops, 2).shape == (3, 128, 256)


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


@pytest.mark.parametrize(
    ("sizes", "crops"),
    [
        ({}, "give 9 of 64 crops of 128x128"),
        ({"JOINT_CROPS": 8}, "give 0 of 12 crops of 400x400"),
        ({"JOINT_CROPS": 8, "SINGLE_CROPS": 2, "SINGLE_SIDE": 96}, "give 9 of 24 crops of 96x96"),
        ({"JOINT_SIDE": 400}, "give 0 of 64 crops of 400x400"),
    ],
)
def test_photographs_that_do_not_do_are_refused_before_a_fit(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, still: list[float], sizes: dict, crops: str
) -> None:
    for name, number in {"SINGLE_SIDE": 400, **sizes}.items():
        monkeypatch.setattr(training, name, number)
    result = CliRunner().invoke(main, [str(pictures), "--out", str(tmp_path)])
    assert result.exit_code == 1
    assert crops in result.stderr
    assert still == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("options", "layer"), [([], STEEP), (["--nearly-linear"], NEARLY_LINEAR)])
def test_random_phases_start_steep_or_small(
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    still: list[float],
    options: list[str],
    layer: LayerStart,
) -> None:
    for name, number in {"JOINT_SIDE": 64, "JOINT_COLUMNS": 2, "JOINT_CROPS": 2}.items():
        monkeypatch.setattr(training, name, number)
    arguments = [str(pictures), "--out", str(tmp_path), "--width", "8", "--scale", "0.004", *options]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    (path,) = tmp_path.iterdir()
    synthesis, expected = read_arrays(path), start_networks(0, WIDTH, layer=layer).synthesis
    assert_array_equal(synthesis["machine_lift"], expected.lift)
    assert_array_equal(synthesis["machine_layer"], expected.layer)


def test_an_output_that_is_no_folder_is_refused_at_once(pictures: Path, tmp_path: Path, still: list[float]) -> None:
    (tmp_path / "file").write_text("kept")
    result = CliRunner().invoke(main, [str(pictures), "--out", str(tmp_path / "file"), "--start", "eb165d9b"])
    assert result.exit_code == 1
    assert str(tmp_path / "file") in result.stderr
    assert still == []


@pytest.mark.slow
def test_a_fit_that_diverges_gives_no_weights(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Diverging(Fit):
        def step(self, state: Any, _number: int) -> Any:
            return state._replace(networks=jax.tree.map(lambda weights: weights * np.float32(np.nan), state.networks))

    for name, value in {"SINGLE_SIDE": 96, "LONG_CROPS": 1, "LONG_STEPS": 1, "Fit": Diverging}.items():
        monkeypatch.setattr(training, name, value)
    result = CliRunner().invoke(main, [str(pictures), "--out", str(tmp_path), "--start", "eb165d9b"])
    assert result.exit_code == 1
    assert "diverged" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_weights_that_could_not_be_read_are_not_written(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, still: list[float]
) -> None:
    def without_a_table(start: Networks, fits: Any = ()) -> dict[str, Any]:
        arrays = weight_arrays(start, fits)
        return {**arrays, "change_tables": arrays["change_tables"][1:]} if fits else arrays

    monkeypatch.setattr(training, "weight_arrays", without_a_table)
    result = CliRunner().invoke(main, [str(pictures), "--out", str(tmp_path), "--start", "eb165d9b"])
    assert result.exit_code == 1
    assert "step sizes and tables" in result.stderr
    assert len(still) == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("--scale", value) for value in ("nan", "inf", "-inf", "0", "-1", "1e9", "x")),
        *(("--lmbdas", value) for value in ("nan", "inf", "-inf", "0", "-1e-3", "1e-300", "1000")),
        *(("--width", value) for value in ("0", "-3", "65", "1000000000")),
        *(("--context-width", value) for value in ("0", "-3", "48", "1000000000")),
        *(("--axes", value) for value in ("YO", "YOGYOGYO", "YOGYOGX", "yogyogy")),
        ("--start", "ffde274e"),
    ],
)
def test_impossible_options_are_refused_in_one_line(
    pictures: Path, tmp_path: Path, still: list[float], option: str, value: str
) -> None:
    """Before a fit, and before the folder of the output is made."""
    result = CliRunner().invoke(main, [str(pictures), "--out", str(tmp_path / "weights"), option, value])
    assert result.exit_code == 2, result.output
    (line,) = result.stderr.splitlines()
    assert option in line
    assert still == []
    assert list(tmp_path.iterdir()) == []


def test_options_at_the_ends_of_their_ranges_are_taken(pictures: Path, tmp_path: Path) -> None:
    numbers = {"width": 64, "context_width": 47, "lmbdas": (1.5625e-5, 0.256), "axes": "GGGGGGO", "scale": 1e-9}
    arguments = [str(pictures), "--out", str(tmp_path)]
    for name, value in numbers.items():
        for number in value if isinstance(value, tuple) else (value,):
            arguments += [f"--{name.replace('_', '-')}", str(number)]
    assert numbers.items() <= main.make_context("overfitted", arguments).params.items()


@pytest.mark.slow
def test_the_widest_contexts_are_the_last_that_are_exact() -> None:
    """Pretrained weights of wider ones would be refused after its fits."""
    widest = training.LARGEST_CONTEXT_WIDTH
    OverfittedWeights.from_arrays(weight_arrays(start_networks(0, WIDTH, widest)))
    with pytest.raises(DfmError, match="not the same on all hosts"):
        OverfittedWeights.from_arrays(weight_arrays(start_networks(0, WIDTH, widest + 1)))


@pytest.mark.parametrize(
    "options", [["--width", "32"], ["--axes", "YYOGYOG"], ["--nearly-linear"], ["--context-width", "23"]]
)
def test_what_shipped_weights_decide_is_no_option(
    pictures: Path, tmp_path: Path, still: list[float], options: list[str]
) -> None:
    out = tmp_path / "weights"
    result = CliRunner().invoke(main, [str(pictures), "--out", str(out), "--start", "eb165d9b", *options])
    assert result.exit_code == 2
    assert options[0] in result.stderr
    assert still == []
    assert not out.exists()


def test_a_damaged_installation_is_reported_in_one_line(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, still: list[float]
) -> None:
    def damaged(_weights_id: int) -> OverfittedWeights:
        message = "weights eb165d9b are damaged in this installation"
        raise InstallationError(message)

    monkeypatch.setattr(training, "overfitted_weights_of", damaged)
    result = CliRunner().invoke(main, [str(pictures), "--out", str(tmp_path / "weights"), "--start", "eb165d9b"])
    assert result.exit_code == InstallationError.exit_code
    assert result.stderr == "Error: weights eb165d9b are damaged in this installation\n"
    assert still == []


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


@pytest.mark.parametrize(
    ("without", "words"), [("context_w1", "no array 'context_w1'"), ("change_tables", "no array 'change_tables'")]
)
def test_a_start_that_holds_no_weights_are_refused(
    pictures: Path, tmp_path: Path, still: list[float], without: str, words: str
) -> None:
    arrays = weight_arrays(start_networks(5, WIDTH))
    path, out = tmp_path / "own.npz", tmp_path / "weights"
    write_arrays(path, {name: array for name, array in arrays.items() if name != without})
    no_archive = tmp_path / "text.npz"
    no_archive.write_text("text")
    for start, expected in ((path, words), (no_archive, str(no_archive)), (pictures, "is neither a file")):
        result = CliRunner().invoke(main, [str(pictures), "--out", str(out), "--start", str(start)])
        assert result.exit_code == 2
        (line,) = result.stderr.splitlines()
        assert expected in line
    assert still == []
    assert not out.exists()


@pytest.mark.parametrize(
    ("start", "options", "units"),
    [("eb165d9b", [], 24), ("eb165d9b", ["--context-width", "26"], 26), ("4bfffcaf", [], 36)],
)
def test_weights_are_not_made_narrower(
    pictures: Path, tmp_path: Path, still: list[float], start: str, options: list[str], units: int
) -> None:
    """The default of --context-width is for random networks."""
    result = CliRunner().invoke(main, [str(pictures), "--out", str(tmp_path), "--start", start, *options])
    assert result.exit_code == 0, result.output
    (path,) = tmp_path.iterdir()
    assert len(OverfittedWeights.from_arrays(read_arrays(path)).network.w1) == units


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


@pytest.mark.slow
def test_long_fits_start_from_shipped_weights(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Alone, without the other stages, and pay a part of the cost under its scales."""
    seen = []

    class Seen(Fit):
        def __init__(self, *arguments: Any, **settings: Any) -> None:
            super().__init__(*arguments, **settings)
            seen.append((*arguments[1:], settings))

    for name, value in {"SINGLE_SIDE": 96, "LONG_CROPS": 2, "LONG_STEPS": 2, "Fit": Seen}.items():
        monkeypatch.setattr(training, name, value)
    arguments = [str(pictures), "--out", str(tmp_path), "--start", "eb165d9b", "--lmbdas", "2e-3", "--lmbdas", "1e-2"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    (path,) = tmp_path.iterdir()
    shipped = overfitted_weights_of(OVERFITTED_SMALL.id)
    assert [lmbda for lmbda, *_ in seen] == [2e-3, 1e-2]
    for _, _, start, schedule, settings in seen:
        assert_same(start, pretrained_networks(shipped))
        assert_same(settings["scales"], delta_scales(shipped))
        assert schedule.steps == 2
        assert settings["rate_fraction"] == training.LONG_RATE_FRACTION < 1
    assert [settings["seed"] for *_, settings in seen] == [0, 1]
    assert "together" not in result.output
    weights = OverfittedWeights.from_arrays(read_arrays(path))
    assert weights.shapes == shipped.shapes
    assert any((new != old).any() for new, old in zip(weights.synthesis, shipped.synthesis, strict=True))
