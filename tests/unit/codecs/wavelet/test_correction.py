"""Tests of the correction network: integers that do not depend on the host or the block."""

from __future__ import annotations

from math import floor

import jax.numpy as jnp
import numpy as np
import pytest
from wavelet_parts import random_correction

from dfmcodec.codecs.wavelet import synthesis
from dfmcodec.codecs.wavelet.correction import (
    FEATURES,
    SINES,
    CorrectionNetwork,
    cell_features,
    correction_outputs,
    sines,
)
from dfmcodec.codecs.wavelet.quantizer import MAX_STEP
from dfmcodec.codecs.wavelet.synthesis import Samples, blocks, correction_residual
from dfmcodec.codecs.wavelet.transform import MAX_UNITS
from dfmcodec.codecs.wavelet.weights import shipped


def test_sines_are_those_of_the_nearest_phase():
    assert SINES.tolist() == [round(127 * np.sin(2 * np.pi * k / 256)) for k in range(256)]
    phases = np.array([0, 127, 128, -128, -129, 16384, -16384, 65536 + 8192, 5 * 65536 - 1], dtype=np.int32)
    expected = [0, 0, 3, 0, -3, 127, -127, 90, 0]
    assert sines(phases, np).tolist() == expected
    assert np.asarray(sines(jnp.asarray(phases), jnp)).tolist() == expected


@pytest.mark.parametrize("q_step", [1, 640, MAX_STEP])
def test_features_are_differences_from_the_mean_with_a_soft_limit(q_step):
    cells = np.random.default_rng(0).integers(-MAX_UNITS, MAX_UNITS + 1, (12, 3, 4)).astype(np.int32)
    cells[4:] >>= 12  # chroma of small differences
    found = cell_features(cells, q_step)
    assert found.shape == (1, 2, FEATURES)
    for column in range(2):
        for number, value in enumerate(found[0, column].tolist()):
            around, sample = divmod(number, 12)
            channel = sample // 4 * 4
            middle = cells[channel : channel + 4, 1, 1 + column].mean()
            x = (cells[sample, around // 3, column + around % 3] - middle) / q_step
            assert value in (floor(31 * x / (1 + abs(x) / 4) + change) for change in (0.4999, 0.5, 0.5001))


@pytest.mark.parametrize("network", [shipped().correction, random_correction(21, 3)])
def test_jax_computes_the_same_integers(network):
    features = np.random.default_rng(0).integers(-124, 125, (13, 11, FEATURES)).astype(np.int8)
    expected = correction_outputs(network, features, network.first_constants(-20), np)
    assert expected.dtype == np.int32
    assert expected.std() > 100
    by_jax = correction_outputs(network, jnp.asarray(features), network.first_constants(-20), jnp)
    assert np.array_equal(np.asarray(by_jax), expected)


def test_arrays_of_weights_are_read_as_they_were_written():
    network = random_correction(16, 3)
    names = network.arrays().keys()
    again = CorrectionNetwork.from_arrays(network.arrays())
    assert (again.depth, again.width, again.reach) == (3, 16, 4)
    assert np.array_equal(again.flat_weights, network.flat_weights)
    assert np.array_equal(again.flat_factors, network.flat_factors)
    assert names == network.arrays().keys() == again.arrays().keys()  # also after the kernel's arrays were made


def test_blocks_of_the_network_join_without_seams(monkeypatch):
    """What a correction network adds to an image does not depend on the blocks it is evaluated in,
    and moves with the image.
    """
    correction = random_correction(16, 3)
    samples = np.random.default_rng(0).integers(-4000, 4000, (3, 41, 30)).astype(np.int32)

    def complete(samples):
        found = np.empty(samples.shape, dtype=np.float32)
        image = Samples.complete(samples)
        for block in blocks(image.at, image.height, image.width):
            part = correction_residual(image, block, 700, correction)
            found[:, block.top : block.bottom, block.left : block.right] = part
        return found

    at_once = complete(samples)
    assert at_once.std() > 10
    monkeypatch.setattr(synthesis, "BLOCK_SIDE", 8)
    assert np.array_equal(complete(samples), at_once)
    inner = 2 * correction.reach
    assert np.array_equal(complete(samples[:, 4:])[:, inner:-2], at_once[:, 4 + inner : -2])
