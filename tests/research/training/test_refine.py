"""Tests of further training, on a few small images and steps."""

from __future__ import annotations

from dataclasses import fields
from math import isfinite

import numpy as np
import pytest
import skimage.data
from click.testing import CliRunner
from common import write_crops

from dfmcodec import container
from dfmcodec.codecs.wavelet.encode.encoding import Encoding
from dfmcodec.codecs.wavelet.encode.iteration import Iterations
from dfmcodec.codecs.wavelet.sections.latents import read_tile
from dfmcodec.codecs.wavelet.transform import UNITS_PER_CODE_VALUE
from dfmcodec.codecs.wavelet.weights import WaveletWeights, shipped
from dfmcodec.errors import DivergedError
from dfmcodec.files.arrays import read_arrays
from dfmcodec.weights.registry import WAVELET
from research.training import encoded, refine
from research.training.contexts import float_network, integer_network, mean_loss
from research.training.correction import integer_network as integer_correction
from research.training.correction import params_of, relative_scales
from research.training.encoded import encode_photograph, encoded_examples, symbols_by_pass
from research.training.refine import main

CURRENT_ID = f"{WAVELET.id:08x}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    write_crops(folder, 220)
    return folder


@pytest.fixture(scope="module")
def refined(folder, tmp_path_factory):
    work, out = tmp_path_factory.mktemp("work"), tmp_path_factory.mktemp("out") / "weights.npz"
    options = ["--work", str(work), "--out", str(out), "--scale", "0.0005", "--passes", "1"]
    arguments = [CURRENT_ID, str(folder), *options]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    return arguments, out, result.output


@pytest.mark.slow
def test_refined_weights_code_images(refined, chelsea):
    """It has the sizes of the first, other weights and tables, and a file that it decodes."""
    _, out, output = refined
    arrays = read_arrays(out)
    weights, first = WaveletWeights.from_arrays(arrays), shipped()
    assert f"{weights.checksum:08x}" in output
    assert weights.checksum != first.checksum
    assert (weights.correction.depth, weights.correction.width) == (first.correction.depth, first.correction.width)
    for network, before in zip(weights.context.networks, first.context.networks, strict=True):
        assert all(getattr(network, f.name).shape == getattr(before, f.name).shape for f in fields(network))
        assert not np.array_equal(network.w1, before.w1)
    encoding = Encoding.of(chelsea, encoded.REFINED, weights=weights)
    trial = Iterations(encoding).iterate(1000)
    assert len(container.write(trial.model)) == trial.written_bytes
    assert isfinite(trial.psnr_db)


@pytest.mark.slow
def test_refining_goes_on_where_it_was(refined, monkeypatch):
    """A second call encodes no photograph, trains nothing and writes the same weights."""
    arguments, out, first_output = refined
    before = read_arrays(out)
    monkeypatch.setattr(refine, "encoded_photographs", lambda *_: pytest.fail("it encoded photographs again"))
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert "correction:" in first_output
    assert "correction:" not in result.output
    after = read_arrays(out)
    assert all(np.array_equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("weights", ["missing.npz", "deadbeef"])
def test_unknown_weights_are_refused_in_one_line(folder, tmp_path, weights):
    work = tmp_path / "work"
    result = CliRunner().invoke(main, [weights, str(folder), "--work", str(work), "--out", str(tmp_path / "x.npz")])
    assert result.exit_code != 0
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    assert not work.exists()


def test_training_further_starts_from_the_same_numbers():
    """No weight of shipped weights changes on its way into a trainer and back."""
    weights = shipped()
    for network in weights.context.networks:
        again = integer_network(float_network(network))
        assert all(np.array_equal(getattr(again, f.name), getattr(network, f.name)) for f in fields(network))
    arrays, again = weights.correction.arrays(), integer_correction(params_of(weights.correction)).arrays()
    assert arrays.keys() == again.keys()
    for name, array in arrays.items():
        assert array.dtype == again[name].dtype
        assert np.array_equal(array, again[name]), name


@pytest.fixture(scope="module")
def examples():
    return encoded_examples(skimage.data.coffee()[:161, :200], shipped(), np.random.default_rng(3))


@pytest.mark.slow
def test_examples_are_what_the_encoder_chose(examples):
    """Rows are what the networks know; cells are within the quantisation of the original."""
    losses = [
        mean_loss(float_network(network), examples.rows[phase])
        for phase, network in enumerate(shipped().context.networks)
    ]
    untrained = [
        mean_loss({name: 0 * value for name, value in float_network(network).items()}, examples.rows[phase])
        for phase, network in enumerate(shipped().context.networks)
    ]
    assert all(loss < other for loss, other in zip(losses, untrained, strict=True))
    cells = examples.cells
    assert cells.original.shape == (12, 80, 100)
    assert cells.border == shipped().correction.reach
    assert 0 < cells.mse < (3 * cells.q_step / 64 * UNITS_PER_CODE_VALUE) ** 2
    assert relative_scales([cells])[0] > 0


def test_a_fit_that_diverges_is_reported(folder, monkeypatch):
    """With the name of the photograph."""

    def diverged(*_):
        msg = "the values of the correction network"
        raise FloatingPointError(msg)

    monkeypatch.setattr(encoded, "encoded_examples", diverged)
    path = sorted(folder.iterdir())[0]
    with pytest.raises(DivergedError, match=f"{path.name}: the values of the correction network"):
        encode_photograph(CURRENT_ID, 0, (0, path))


def test_symbols_by_pass_are_those_of_a_file(chelsea):
    """All of them, in their order, after those of the coarsest low-pass band."""
    encoding = Encoding.of(chelsea, encoded.REFINED)
    trial = Iterations(encoding).iterate(1000)
    (tile,) = encoding.tiling.tiles
    (stream,) = trial.model.streams
    values, _ = read_tile(0, stream, tile.geometry, 1000, encoding.weights.context, 0)
    by_pass = symbols_by_pass(values, tile.geometry)
    low = values[: values.size - sum(symbols.size for symbols in by_pass.values())]
    assert low.size == 3 * np.prod(tile.geometry.low_sizes[-1])
    assert np.array_equal(np.concatenate([low, *by_pass.values()]), values)
