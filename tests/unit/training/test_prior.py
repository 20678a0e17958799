"""The trainer of the prior, on a handful of small images and a few steps."""

from __future__ import annotations

import numpy as np
import PIL.Image
import pytest
import skimage.data
from click.testing import CliRunner

from dfmcodec.bitstream.contents import TileSymbols
from dfmcodec.bitstream.sections.latents import LatentsBody, read_symbols, write_symbols
from dfmcodec.encoder.latent.sources import ChosenSymbols
from dfmcodec.encoder.latent.trellis_search import round_low
from dfmcodec.entropy import context as ctx
from dfmcodec.entropy.neighbourhood import context_size
from dfmcodec.entropy.passes import CodingPass
from dfmcodec.entropy.traversal import traverse
from dfmcodec.files.arrays import read_arrays
from dfmcodec.latents.colour import pixels_to_planes
from dfmcodec.latents.geometry import Geometry, Tiling
from dfmcodec.latents.wavelet import analyse
from dfmcodec.prior import Prior
from dfmcodec.training.prior.contexts import integer_network, outputs
from dfmcodec.training.prior.examples import optimized_symbols
from dfmcodec.training.prior.train import main


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for name, top in (("astronaut", 0), ("chelsea", 60), ("coffee", 100)):
        pixels = getattr(skimage.data, name)()[top : top + 180, 100:280]
        PIL.Image.fromarray(pixels).save(folder / f"{name}.png")
    work, out = tmp_path_factory.mktemp("work"), tmp_path_factory.mktemp("out") / "prior.npz"
    arguments = [str(folder), "--work", str(work), "--out", str(out), "--scale", "0.0005", "--passes", "1"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    return arguments, work, out, result.output


def test_training_makes_a_prior_that_codes(trained, chelsea):
    _, _, out, output = trained
    prior = Prior.from_arrays(read_arrays(out))
    assert f"{prior.checksum:08x}" in output
    assert (prior.machine.depth, prior.machine.width, prior.machine.spread) == (4, 60, True)
    geometry = Geometry(80, 96, 3, 6)
    pyramid = analyse(pixels_to_planes(chelsea.pixels, 0), 6)
    chosen = optimized_symbols(pyramid, geometry, 1000, 0.23, prior.context, iterate_first=True)
    source = ChosenSymbols(round_low(pyramid, 1000), chosen, prior.context)
    symbols, samples = traverse(geometry, 1000, prior.context, source)
    body = write_symbols(Tiling(80, 96, 3, 6), 1000, prior.context, [TileSymbols.of(symbols)])
    (decoded,), again, _ = read_symbols(Tiling(80, 96, 3, 6), 1000, prior.context, LatentsBody(body))
    assert np.array_equal(decoded.values, symbols)
    assert np.array_equal(again, samples)
    for table in prior.context.tables:
        assert table.frequencies.sum() == 1 << 24


def test_training_goes_on_where_it_was(trained):
    """All stages are kept: a second call trains nothing and writes the same prior."""
    arguments, _, out, _ = trained
    before = read_arrays(out)
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert "phase" not in result.output
    after = read_arrays(out)
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_float_networks_step_like_their_integers():
    """What the trainer optimises is what the codec computes."""
    import jax.numpy as jnp

    from dfmcodec.training.prior.contexts import fresh_network

    rng = np.random.default_rng(0)
    size = context_size(2)
    net = fresh_network(size, rng)
    net = {name: value + 0.02 * rng.normal(size=value.shape).astype(np.float32) for name, value in net.items()}
    integers = integer_network(net)
    features = rng.integers(-127, 128, (size, 400)).astype(np.float32)
    position = (2 * 3 + 1) * 3 + 2
    coding_pass, log_step = jnp.full(400, position), jnp.full(400, -9)
    floats = np.asarray(outputs(net, jnp.asarray(features.T), coding_pass, log_step))
    exact = integers.outputs(features, np.arange(size), CodingPass(2, 1, 2, 2), -9, np)
    assert np.abs(floats.T * 4 - exact).max() < 0.75
    assert ctx.MEANS_PER_SCALE == 4


def test_checkpoints_hold_the_whole_state(tmp_path):
    """Parameters, the optimiser's state and the generator: training goes on as if it had not
    stopped.
    """
    import jax
    import optax

    from dfmcodec.training.prior.checkpoint import Checkpoint
    from dfmcodec.training.prior.contexts import fresh_network

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
