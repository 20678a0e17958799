"""Tests of the coordinate codec: minimum PSNR, size limits, and size estimates."""

from __future__ import annotations

from itertools import count
from types import SimpleNamespace

import numpy as np
import pytest

import dfmcodec
from dfmcodec.codecs.coordinate.encode import sizing, train
from dfmcodec.codecs.coordinate.encode.quantize import Quantizer
from dfmcodec.codecs.coordinate.encode.sizing import choose_architecture
from dfmcodec.fourier.network import CoordinateArchitecture
from dfmcodec.fourier.quantize import step_per_weight
from dfmcodec.perception import psnr, psnr_of_mse
from dfmcodec.search.config import RECIPES

QUICK = {"training_steps": 96, "seed": 1}


def encode(image, **options):
    return dfmcodec.encode(image, **{"model": "coordinate", **options})


@pytest.fixture(scope="module")
def encoded(chelsea):
    """The 96x80 piece at rate 0.18: 4147 bytes."""
    return encode(chelsea, rate=0.18, **QUICK)


def test_the_report_is_of_the_file(encoded, chelsea):
    report = encoded.report
    assert report.limit_bytes == int(0.18 * chelsea.raw_bytes)
    assert len(encoded.data) <= report.limit_bytes
    assert report.file_bytes == len(encoded.data)
    assert abs(report.estimated_bytes - report.file_bytes) <= 0.005 * report.file_bytes
    assert report.psnr_db == pytest.approx(psnr(chelsea.pixels, dfmcodec.decode(encoded.data)), abs=1e-9)
    assert sum(report.section_bytes.values()) == len(encoded.data)
    assert report.stop_reason == "iteration limit"


@pytest.mark.slow
def test_quality_on_a_photograph(chelsea):
    report = encode(chelsea, rate=0.18, training_steps=480, seed=1).report
    mean_colour = np.broadcast_to(chelsea.pixels.mean(axis=(0, 1)), chelsea.pixels.shape).round().astype(np.uint8)
    assert report.psnr_db > psnr(chelsea.pixels, mean_colour) + 3
    assert report.psnr_db > report.codec["float_psnr_db"] - 0.3


@pytest.fixture(scope="module")
def quantizer():
    """Of a network that was not fitted."""
    arch = CoordinateArchitecture(3, 8, 3, 9)
    sensitivity = np.random.default_rng(0).lognormal(0, 1, arch.weight_count).astype(np.float32)
    return Quantizer(arch, 80, 96, 8, sensitivity)


def some_weights(arch):
    return np.random.default_rng(1).laplace(0, 0.1, arch.weight_count).astype(np.float32)


def test_the_coarsest_steps_that_reach_a_psnr_are_taken(quantizer):
    weights = some_weights(quantizer.architecture)

    def psnr_of(model):
        steps = step_per_weight(model.step_indices, model.architecture.layer_sizes())
        return psnr_of_mse(float(((model.symbols * steps - weights) ** 2).mean()), 1.0)

    for floor_db in (30, 45):
        common = quantizer.common_index_of_psnr(weights, psnr_of, floor_db)
        coarser, chosen = (quantizer.quantize(weights, quantizer.step_indices(common - by)) for by in (1, 0))
        assert psnr_of(coarser) < floor_db <= psnr_of(chosen)
    assert quantizer.common_index_of_psnr(weights, psnr_of, 1000) is None


@pytest.mark.parametrize("shape", [pytest.param((1, 1, 3), marks=pytest.mark.slow), (50, 1, 1)])
def test_any_size_and_gray(shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    result = encode(pixels, size=400, depth=2, layer_width=4, training_steps=16)
    assert len(result.data) <= 400
    assert dfmcodec.decode(result.data).shape == shape


def test_psnr_target_is_a_floor(chelsea):
    """Any network reaches this one, as grey does."""
    assert encode(chelsea, psnr=10, depth=3, layer_width=7, training_steps=16).report.psnr_db >= 10


def test_unreachable_targets_are_refused(chelsea):
    with pytest.raises(dfmcodec.TargetUnreachableError, match="below the"):
        encode(chelsea, size=20)
    with pytest.raises(dfmcodec.TargetUnreachableError, match="below the 71"):
        encode(chelsea, size=70, depth=4, layer_width=9, training_steps=16)
    with pytest.raises(dfmcodec.TargetUnreachableError, match="out of reach"):
        encode(chelsea, psnr=60, depth=3, layer_width=4, training_steps=16)


def test_fitted_networks_are_within_the_decoder_limit(chelsea, monkeypatch):
    config = dfmcodec.EncoderConfig(model="coordinate")
    most = choose_architecture(config, chelsea, 10**6, str).multiply_adds * chelsea.pixel_count
    monkeypatch.setattr(sizing, "MAX_MULTIPLY_ADDS", most - 1)
    smaller = choose_architecture(config, chelsea, 10**6, str)
    assert most / 8 < smaller.multiply_adds * chelsea.pixel_count < most
    assert max(arch.multiply_adds for arch in sizing.ladder(config, chelsea)) <= smaller.multiply_adds
    large = dfmcodec.EncoderConfig(model="coordinate", depth=4, layer_width=15)
    with pytest.raises(dfmcodec.ConfigError, match="multiply-adds at each of"):
        choose_architecture(large, chelsea, 10**6, str)


def test_published_recipe_is_the_published_one(chelsea):
    from dfmcodec.codecs.coordinate.encode.train import initial_weights

    recipe = RECIPES["published"]
    assert (recipe.batch_pixels, recipe.learning_rate, recipe.decay) == (2**14, 4e-4, "constant")
    config = dfmcodec.EncoderConfig(model="coordinate", recipe="published", depth=4, layer_width=8)
    arch = choose_architecture(config, chelsea, 10**6, str)
    weights = initial_weights(arch, recipe, 0)
    assert np.var(weights) == pytest.approx(2e-10, rel=0.05)
    assert [layer.frequency_count for layer in arch.layers()] == [4, 256, 256, 256]
    report = encode(chelsea, recipe="published", depth=2, layer_width=4, rate=0.18, training_steps=16).report
    assert report.iterations == 16
    assert report.stop_reason == "iteration limit"


def test_interruption_keeps_the_best_so_far(chelsea):
    from dfmcodec.codecs.encode import encode_image
    from dfmcodec.search.config import EncoderConfig

    calls = []
    result = encode_image(
        chelsea,
        EncoderConfig(model="coordinate", rate=0.18, training_steps=10_000),
        calls.append,
        should_stop=lambda: len(calls) >= 3,
    )
    assert result.report.stop_reason == "interrupted"
    assert result.report.iterations == 48
    assert len(result.data) <= result.report.limit_bytes
    assert [call.iterations for call in calls] == [16, 32, 48, 48]  # the last is of the file


def test_time_limit_ends_the_fit(chelsea, monkeypatch):
    """A chunk of 16 steps takes a second."""
    seconds = count()
    monkeypatch.setattr(train, "time", SimpleNamespace(perf_counter=lambda: float(next(seconds))))
    report = encode(chelsea, rate=0.1, time_limit_s=4).report
    assert report.stop_reason == "time limit"
    assert report.iterations == 5 * 16  # each of the two parts of a fit takes complete chunks


@pytest.mark.parametrize(
    "options",
    [
        {"rate": 0.1, "size": 100},
        {"rate": -1.0},
        {"psnr": float("nan")},
        {"model": "nerf"},
        {"recipe": "best"},
        {"depth": 3},
        {"depth": 3, "layer_width": 100},
        {"depth": 3, "layer_width": 17},
        {"seed": -1},
        {"speed": 3},
        {"quality": 50},
        {"effort": 3},
    ],
)
def test_contradictory_settings_are_refused(chelsea, options):
    with pytest.raises(dfmcodec.ConfigError):
        encode(chelsea, **options)


def test_report_is_plain_data(encoded):
    import json

    report = json.loads(json.dumps(encoded.report.as_dict()))
    assert report["architecture"]["model"] == "coordinate"
    assert report["config"]["seed"] == 1
