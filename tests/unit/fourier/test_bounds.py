"""Tests that work, memory and differences of networks are within the bounds of docs/format.md and
SECURITY.md.
"""

from __future__ import annotations

import tracemalloc
from math import pi

import numpy as np
import pytest
from click.testing import CliRunner

from dfmcodec import container
from dfmcodec.cli import decode, main
from dfmcodec.codecs import decode as decoder
from dfmcodec.codecs.coordinate.contents import QuantizedNetwork
from dfmcodec.codecs.coordinate.encode.sizing import choose_architecture
from dfmcodec.codecs.decode import DecodeRequest, decode_image
from dfmcodec.codecs.overfitted.weights import overfitted_weights_of
from dfmcodec.codecs.wavelet.weights import shipped
from dfmcodec.errors import LimitError
from dfmcodec.fourier.layer import frequency_set
from dfmcodec.fourier.network import (
    BLOCK_PIXELS,
    MAX_MULTIPLY_ADDS,
    CoordinateArchitecture,
    block_shape,
    deep_fourier_machine,
    unpack,
)
from dfmcodec.image import MAX_PIXELS, Image
from dfmcodec.image.region import Region
from dfmcodec.models import Model
from dfmcodec.search.config import EncoderConfig
from dfmcodec.search.target import asked_target
from dfmcodec.weights.registry import shipped_ids


def file_of(arch: CoordinateArchitecture, height: int, width: int) -> bytes:
    """The file of a network whose weights are all 0."""
    symbols = np.zeros(arch.weight_count, np.int32)
    return container.write(QuantizedNetwork(arch, height, width, symbols, (0,) * arch.depth))


def test_a_network_that_takes_too_long_is_refused_from_the_header(monkeypatch):
    arch = CoordinateArchitecture(1, 2, 16, 3)
    data, work = file_of(arch, 64, 48), arch.multiply_adds * 64 * 48
    assert decode_image(data, DecodeRequest(max_multiply_adds=work)).pixels.shape == (64, 48, 1)
    part = Region(8, 8, 16, 16)
    assert decode_image(data, DecodeRequest(region=part, max_multiply_adds=work - 1)).pixels.shape == (8, 8, 1)
    assert decode_image(data, DecodeRequest(size=(24, 32), max_multiply_adds=work // 4)).pixels.shape == (32, 24, 1)
    monkeypatch.setattr(decoder.container, "read_region", lambda *_: pytest.fail("it is read"))
    for options in ({}, {"size": (48, 64)}, {"region": Region(0, 0, 64, 48)}):
        with pytest.raises(LimitError, match=r"multiply-adds at each of 3072 positions.*max_multiply_adds"):
            decode_image(data, DecodeRequest(max_multiply_adds=work - 1, **options))
    with pytest.raises(LimitError, match="multiply-adds"):
        decode_image(data, DecodeRequest(size=(96, 128), max_multiply_adds=work))


def test_the_option_has_the_limit_of_the_package():
    (option,) = (option for option in decode.command.params if option.name == "max_multiply_adds")
    assert option.default == MAX_MULTIPLY_ADDS


def test_widest_networks_of_the_encoder_are_within_the_limit_as_documented():
    for width, pixels in ((13, 768 * 512), (8, 13_000_000), (2, MAX_PIXELS)):
        assert CoordinateArchitecture(3, 3, width, width).multiply_adds * pixels < MAX_MULTIPLY_ADDS


@pytest.mark.parametrize("command", ["decode", "verify"])
def test_a_network_of_64_bytes_is_refused_by_default(tmp_path, command):
    """It has 2 million weights from an empty stream, which take seconds at 128x128 pixels."""
    arch = CoordinateArchitecture(1, 3, 16, 15)
    (tmp_path / "x.dfm").write_bytes(file_of(arch, 128, 128))
    result = CliRunner().invoke(main, [command, str(tmp_path / "x.dfm")])
    assert result.exit_code == 3
    assert "10617021 multiply-adds at each of 16384 positions" in result.output


def test_the_files_of_the_encoder_by_default_are_decoded_by_default():
    """Of the coordinate codec, for a photograph of 768x512."""
    image, config = Image(np.zeros((512, 768, 3), np.uint8)), EncoderConfig(model="coordinate")
    arch = choose_architecture(config, image, asked_target(config, image).limit_bytes, str)
    assert (arch.depth, arch.width) == (3, 13)  # as large as without the limit


def test_models_with_weights_are_bounded_by_the_limit_on_pixels():
    latent = shipped()
    contexts = sum(w.size for net in latent.context.networks for w in (net.w1, net.w2, net.w3)) / 4
    assert latent.correction.macs_per_pixel + 3 * contexts < 80_000
    for weights_id in shipped_ids(Model.OVERFITTED):
        weights = overfitted_weights_of(weights_id)
        contexts = sum(
            w.size for w in (weights.network.w1, weights.network.w2, weights.network.w3, weights.network.bypass)
        )
        assert weights.synthesis.macs_per_pixel + 4 / 3 * contexts < 4_000
    assert 80_000 * MAX_PIXELS < 1 << 43


@pytest.mark.parametrize(("depth", "width", "order"), [(2, 64, 3), (3, 16, 15), (3, 16, 16), (3, 8, 8), (64, 1, 1)])
def test_blocks_are_as_small_as_the_network_asks_and_not_larger_than_the_image(depth, width, order):
    arch = CoordinateArchitecture(1, depth, width, order)
    for size in ((1, 1), (3, 1000), (1000, 3), (1000, 1000)):
        rows, columns = block_shape(arch, *size)
        assert 1 <= rows <= size[0]
        assert 1 <= columns <= size[1]
        assert rows * columns <= BLOCK_PIXELS
        assert rows * columns * arch.floats_per_position <= 1 << 23
    assert block_shape(CoordinateArchitecture(3, 3, 12, 12), 1000, 1000) == (32, 64)


def test_memory_does_not_grow_with_the_frequencies():
    arch = CoordinateArchitecture(1, 2, 32, 3)  # 5,489 frequencies: 360 MB in blocks of 2,048 positions
    data = file_of(arch, 40, 64)
    decode_image(data, DecodeRequest(region=Region(0, 0, 1, 1)))
    tracemalloc.start()
    try:
        decode_image(data)
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()


def error_bound(weights, order: int) -> float:
    """E_d of docs/format.md, "Differences between decoders"."""
    error, magnitude, unit = 0.0, 1.0, 2.0**-24
    inputs = 2
    for a, b in weights:
        rows, ones = len(a) + len(b) - 1, min(order, inputs)
        largest = float((np.abs(a).sum(axis=0) + np.abs(b[1:]).sum(axis=0)).max())
        after = largest * (2 * pi * ones * error + (rows + 32 * ones * (1 + magnitude)) * unit)
        if inputs == a.shape[1]:
            after += error + (largest + magnitude) * unit
            largest += magnitude
        error, magnitude, inputs = after, largest, a.shape[1]
    return error


def direct(weights, v, order: int, dtype) -> np.ndarray:
    """The network by the sums of the document, without products of phase factors."""
    v = v.astype(dtype)
    for a, b in weights:
        angles = dtype(2 * pi) * (v @ frequency_set(v.shape[1], order).vectors.T.astype(dtype))
        h = np.cos(angles) @ a.astype(dtype) + np.sin(angles) @ b.astype(dtype)
        v = h + v if h.shape == v.shape else h
    return np.tanh(v)


@pytest.mark.parametrize(("depth", "width", "order"), [(1, 4, 2), (3, 4, 4), (3, 6, 2), (4, 5, 5), (2, 3, 1)])
def test_decoders_differ_by_no_more_than_the_bound(depth, width, order):
    arch = CoordinateArchitecture(3, depth, width, order)
    rng = np.random.default_rng(depth)
    v = rng.random((2000, 2)).astype(np.float32)
    promised = 0
    for scale in 2.0 ** np.arange(-14, 10):
        flat = (scale * rng.standard_normal(arch.weight_count)).astype(np.float32)
        weights = unpack(flat, arch, np)
        bound = error_bound(weights, order)
        exact = direct(weights, v, order, np.float64)
        ours = deep_fourier_machine(weights, v, order, np)
        other = direct(weights, v, order, np.float32)
        for samples in (ours, other):
            assert np.abs(samples - exact).max() <= bound + 2.0**-20
        if 255 * (bound + 2.0**-20) < 1:
            promised += 1
            levels = [np.rint(255 * (samples.astype(np.float64) + 1) / 2) for samples in (ours, other)]
            assert np.abs(levels[0] - levels[1]).max() <= 1
    assert promised >= 4


def test_error_bound_does_not_hold_for_large_weights():
    arch = CoordinateArchitecture(1, 3, 4, 4)
    flat = (1000 * np.random.default_rng(0).standard_normal(arch.weight_count)).astype(np.float32)
    weights = unpack(flat, arch, np)
    v = np.random.default_rng(1).random((2000, 2)).astype(np.float32)
    levels = [
        np.rint(255 * (samples.astype(np.float64) + 1) / 2)
        for samples in (deep_fourier_machine(weights, v, 4, np), direct(weights, v, 4, np.float32))
    ]
    assert np.abs(levels[0] - levels[1]).max() > 1
    assert 255 * error_bound(weights, 4) > 1
