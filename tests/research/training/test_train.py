"""Tests of training the weights of the wavelet codec, on a few small images and steps."""

from __future__ import annotations

from math import inf, nan

import numpy as np
import pytest
from click.testing import CliRunner
from common import write_crops

from dfmcodec.codecs.wavelet import context as ctx
from dfmcodec.codecs.wavelet.colour import ColourBasis, pixels_to_planes
from dfmcodec.codecs.wavelet.contents import TileSymbols
from dfmcodec.codecs.wavelet.correction import FEATURES, cell_features, correction_outputs
from dfmcodec.codecs.wavelet.encode.sources import ChosenSymbols
from dfmcodec.codecs.wavelet.encode.trellis_search import round_low
from dfmcodec.codecs.wavelet.geometry import Geometry, Tiling, default_levels
from dfmcodec.codecs.wavelet.neighbourhood import symbol_features
from dfmcodec.codecs.wavelet.quantizer import log_step
from dfmcodec.codecs.wavelet.sections.latents import LatentsBody, read_symbols, write_symbols
from dfmcodec.codecs.wavelet.transform import analyse
from dfmcodec.codecs.wavelet.traversal import traverse
from dfmcodec.codecs.wavelet.weights import WaveletWeights, shipped
from dfmcodec.errors import DivergedError, ImageError
from dfmcodec.files.arrays import read_arrays
from research.training.checkpoint import Checkpoint, load_images, save_images
from research.training.contexts import _outputs_of_rows
from research.training.correction import (
    float_features,
    float_outputs,
    fresh_correction,
    step_feature,
    train_correction,
)
from research.training.correction import integer_network as integer_correction
from research.training.examples import DecodedCells, context_rows, optimized_symbols
from research.training.loop import Schedule, run_training
from research.training.train import main


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    write_crops(folder, 180)
    work, out = tmp_path_factory.mktemp("work"), tmp_path_factory.mktemp("out") / "weights.npz"
    arguments = [str(folder), "--work", str(work), "--out", str(out), "--scale", "0.0005", "--passes", "1"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    return arguments, work, out, result.output


@pytest.mark.slow
def test_training_makes_weights_that_codes(trained, chelsea):
    _, _, out, output = trained
    weights = WaveletWeights.from_arrays(read_arrays(out))
    assert f"{weights.checksum:08x}" in output
    assert (weights.correction.depth, weights.correction.width) == (4, 60)
    geometry = Geometry(80, 96, 3, 6)
    pyramid = analyse(pixels_to_planes(chelsea.pixels, ColourBasis()), 6)
    chosen = optimized_symbols(pyramid, geometry, 1000, 0.23, weights.context, iterate_first=True)
    source = ChosenSymbols(round_low(pyramid, 1000), chosen, weights.context)
    symbols, samples = traverse(geometry, 1000, weights.context, source)
    body = write_symbols(Tiling(80, 96, 3, 6), 1000, weights.context, [TileSymbols.of(symbols)])
    (decoded,), again, _ = read_symbols(Tiling(80, 96, 3, 6), 1000, weights.context, LatentsBody(body))
    assert np.array_equal(decoded.values, symbols)
    assert np.array_equal(again, samples)
    for table in weights.context.tables:
        assert table.frequencies.sum() == 1 << 24


@pytest.mark.slow
def test_training_goes_on_where_it_was(trained):
    """All stages are kept: a second call trains nothing and writes the same weights."""
    arguments, _, out, _ = trained
    before = read_arrays(out)
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert "phase" not in result.output
    assert "correction:" not in result.output
    after = read_arrays(out)
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[name], after[name]) for name in before)


def stepped(trained, done, rng):
    """A chunk of 4 training steps, each of which depends on all before it."""
    for _ in range(4):
        trained = {"w": np.float32(0.9) * trained["w"] + rng.normal(size=3).astype(np.float32)}
    return trained, float(done)


def test_a_training_that_was_stopped_ends_as_if_it_had_not(tmp_path):
    """It goes on from its last checkpoint, wherever it was stopped."""
    schedule = Schedule(40, 4, 8)

    def run(name, train_chunk):
        start = Checkpoint(0, {"w": np.zeros(3, dtype=np.float32)}, np.random.default_rng(1))
        return run_training(tmp_path / name, start, train_chunk, schedule, lambda done, loss: None)["w"]

    def stopped(trained, done, rng):
        if done == 20:
            raise KeyboardInterrupt
        return stepped(trained, done, rng)

    seen = []

    def followed(trained, done, rng):
        seen.append(done)
        return stepped(trained, done, rng)

    complete = run("whole.npz", stepped)
    with pytest.raises(KeyboardInterrupt):
        run("stopped.npz", stopped)
    assert np.array_equal(run("stopped.npz", followed), complete)
    assert seen == [16, 20, 24, 28, 32, 36]
    assert np.array_equal(run("stopped.npz", stopped), complete)  # it is done


@pytest.mark.parametrize("loss", [nan, inf])
def test_a_loss_that_is_not_finite_ends_a_training(tmp_path, loss):
    """The checkpoint before it stays."""
    path = tmp_path / "state.npz"
    start = Checkpoint(0, {"w": np.zeros(3, dtype=np.float32)}, np.random.default_rng(1))

    def diverging(trained, done, rng):
        trained, finite = stepped(trained, done, rng)
        return trained, finite if done < 8 else loss

    with pytest.raises(DivergedError, match="after 8 training steps"):
        run_training(path, start, diverging, Schedule(24, 4, 4), lambda done, loss: None)
    assert Checkpoint.load(path, start.trained).steps == 8


def decoded_noise(height, width):
    rng = np.random.default_rng(0)
    decoded, original = (
        rng.normal(size=(12, height + border, width + border)).astype(np.float32) for border in (10, 0)
    )
    return DecodedCells(decoded, original, 640)


def test_decoded_images_of_any_size_are_read(tmp_path, monkeypatch):
    """There is a limit for files of others: 4 GiB, or 100 bytes here."""
    images = [decoded_noise(4, 5), decoded_noise(6, 3)]
    save_images(tmp_path / "decoded.npz", images)
    monkeypatch.setattr(read_arrays, "__defaults__", (None, 100))
    for found, image in zip(load_images(tmp_path / "decoded.npz"), images, strict=True):
        assert np.array_equal(found.decoded, image.decoded)
        assert np.array_equal(found.original, image.original)
        assert found.q_step == image.q_step


def test_a_correction_network_needs_photographs_of_a_size(tmp_path):
    with pytest.raises(ImageError, match="80x80 pixels"):
        train_correction([decoded_noise(39, 60)], 4, 0, tmp_path / "state.npz", lambda done, loss: None)


def test_a_float_correction_network_gives_about_the_residuals_of_its_integers():
    """What the trainer optimises is what the codec computes."""
    rng = np.random.default_rng(0)
    params = {
        name: value + 0.03 * rng.normal(size=value.shape).astype(np.float32)
        for name, value in fresh_correction(3, 32, rng).items()
    }
    network = integer_correction(params)
    network.check_exact()
    cells = np.rint(rng.laplace(0, 500, (12, 12, 14))).astype(np.int32)
    exact = correction_outputs(network, cell_features(cells, 640), network.first_constants(log_step(640)), np) / 4096
    features = float_features(cells.astype(np.float32), 640, step_feature(640))
    floats = np.asarray(float_outputs(params, features))
    assert floats.shape == exact.shape
    assert floats.std() > 0.1
    assert np.std(exact - floats) < 0.1 * floats.std()


def test_a_fresh_correction_network_adds_nothing():
    network = integer_correction(fresh_correction(4, 60, np.random.default_rng(0)))
    features = np.random.default_rng(1).integers(-124, 125, (9, 9, FEATURES)).astype(np.int8)
    assert not correction_outputs(network, features, network.first_constants(0), np).any()


def test_checkpoints_hold_the_complete_state(tmp_path):
    """Parameters, the optimiser's state and the generator: training goes on as if it had not
    stopped.
    """
    import jax
    import optax

    from research.training.contexts import fresh_network

    rng = np.random.default_rng(3)
    net = fresh_network(5, rng)
    trained = (net, optax.scale_by_adam().init(net))
    path = tmp_path / "state.npz"
    Checkpoint(12, trained, rng).save(path)
    found = Checkpoint.load(path, jax.tree.map(lambda leaf: 0 * leaf, trained))
    assert found.steps == 12
    assert jax.tree.all(jax.tree.map(lambda a, b: np.array_equal(a, b) and a.dtype == b.dtype, trained, found.trained))
    assert np.array_equal(found.rng.random(8), rng.random(8))
    assert list(tmp_path.iterdir()) == [path]


def test_rows_say_which_contexts_are_empty(chelsea):
    """The first pass of the coarsest level sees no symbols, and its network codes it."""
    rng = np.random.default_rng(1)
    rows = context_rows(np.ascontiguousarray(chelsea.pixels[:64, :96]), 600, shipped().context, False, rng)
    for phase, of_phase in rows.items():
        has_zeros = ~of_phase.features[:, : symbol_features(phase)].any(axis=1)
        assert of_phase.is_empty.any()
        assert has_zeros[of_phase.is_empty].all()
        others = np.flatnonzero(has_zeros & ~of_phase.is_empty)
        coarsest = 3 * 3 * (default_levels(64, 96) - 1)  # the first band of that level
        assert (of_phase.band[others] == coarsest).all()
        assert (others.size > 0) == (phase == 0)
        fixed = _outputs_of_rows(shipped().context.networks[phase], of_phase)[:, of_phase.is_empty]
        assert (fixed == ctx.EMPTY_OUTPUTS).all()
