"""Tests of the adaptation of context networks: exact inverse of writing, and gains of the fit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import dfmcodec
from dfmcodec import container
from dfmcodec.codecs.wavelet.adaptation import ContextAdaptation, band_numbers
from dfmcodec.codecs.wavelet.encode import adaptation_fit
from dfmcodec.codecs.wavelet.encode.efforts import EFFORT_LEVELS
from dfmcodec.codecs.wavelet.encode.encoding import Encoding
from dfmcodec.codecs.wavelet.encode.iteration import Iterations
from dfmcodec.codecs.wavelet.geometry import Geometry
from dfmcodec.codecs.wavelet.passes import CodingPass
from dfmcodec.codecs.wavelet.sections.adaptation import adaptation_bytes, read_adaptation, write_adaptation
from dfmcodec.codecs.wavelet.weights import shipped
from dfmcodec.errors import ConfigError, CorruptError
from dfmcodec.image import Image
from dfmcodec.search.quality import BIT_COST

CONTEXT = shipped().context
HIDDEN = CONTEXT.networks[0].w3.shape[1]


def some_adaptation(geometry: Geometry) -> ContextAdaptation:
    rng = np.random.default_rng(geometry.channels)
    maps = np.rint(rng.laplace(0, 3, (4, 2, HIDDEN))).astype(np.int32)
    constants = np.rint(rng.laplace(0, 2, (4, len(band_numbers(geometry)), 2))).astype(np.int32)
    return ContextAdaptation(maps, constants)


@pytest.mark.parametrize("channels", [1, 3])
def test_write_then_read(channels):
    geometry = Geometry(40, 64, channels, 4)
    adaptation = some_adaptation(geometry)
    body = write_adaptation(adaptation)
    again = read_adaptation(body, CONTEXT, geometry)
    assert np.array_equal(again.maps, adaptation.maps)
    assert np.array_equal(again.constants, adaptation.constants)
    assert abs(len(body) - adaptation_bytes(adaptation)) <= 5


def test_damaged_sections_are_refused():
    geometry = Geometry(40, 64, 3, 4)
    for body in (b"", b"\x10\x10\x10", b"\x10\xff\x10\x10", b"\x10\x10\x10\x10abc"):
        with pytest.raises(CorruptError):
            read_adaptation(body, CONTEXT, geometry)
    far = np.zeros((4, 36, 2), dtype=np.int32)
    far[0, 0, 0] = 1 << 20
    with pytest.raises(ConfigError):
        ContextAdaptation(np.zeros((4, 2, HIDDEN), dtype=np.int32), far)


def test_applied_changes_weights_and_constants_of_the_images_own_bands():
    geometry = Geometry(40, 64, 1, 2)
    bands = band_numbers(geometry)
    assert bands == [CodingPass(level, 0, orientation, 0).band for level in (0, 1) for orientation in (0, 1, 2)]
    maps = np.zeros((4, 2, HIDDEN), dtype=np.int32)
    maps[1, 0, 3], maps[2, 1, 5] = 2, 1000
    constants = np.zeros((4, len(bands), 2), dtype=np.int32)
    constants[3, 4, 1] = -2
    corrected = ContextAdaptation(maps, constants).applied(CONTEXT, geometry)
    before, after = CONTEXT.networks, corrected.networks
    assert after[1].w3[0, 3] == before[1].w3[0, 3] + 2
    assert after[2].w3[1, 5] == 127
    assert after[3].c3[bands[4], 1] == before[3].c3[bands[4], 1] - 128
    pairs = list(zip(after, before, strict=True))
    for network, old in pairs:
        same = {
            name: np.array_equal(getattr(network, name), getattr(old, name)) for name in network.__dataclass_fields__
        }
        assert all(same[name] for name in ("w1", "c1", "s1", "w2", "c2", "s3"))
    changed = [np.count_nonzero(new.w3 != old.w3) + np.count_nonzero(new.c3 != old.c3) for new, old in pairs]
    assert changed == [0, 1, 1, 1]


@pytest.fixture(scope="module")
def texture():
    """Scikit-image's coffee."""
    import skimage.data

    return skimage.data.coffee()


def cost(pixels, adapted_after):
    """Squared error and price of the bits after four iterations at a step of 12 levels, and the
    trial.
    """
    effort = replace(EFFORT_LEVELS[5], adapted_after=adapted_after)
    encoding = Encoding.of(Image(pixels), effort)
    iterations = Iterations(encoding)
    for _ in range(4):
        trial = iterations.iterate(12 * 64)
    return trial.mse * pixels.size + BIT_COST * 12**2 * 8 * trial.file_bytes, trial


@pytest.mark.slow
def test_adaptations_save_more_bits_than_they_cost(texture):
    without, plain = cost(texture, ())
    corrected, trial = cost(texture, (1, 3))
    assert plain.model.adaptation is None
    assert trial.model.adaptation is not None
    assert corrected < 0.9985 * without


def test_a_file_with_adaptation_is_decoded_with_them(texture, monkeypatch):
    """Here with all that save a bit; those of small files seldom pay."""
    monkeypatch.setattr(adaptation_fit, "_LEAST_GAIN", 0.0)
    result = dfmcodec.encode(texture[:128, :160], quality=75, effort=3, tune="psnr")
    model, _ = container.read(result.data)
    assert model.adaptation is not None
    assert result.report.section_bytes["adaptation"] == pytest.approx(adaptation_bytes(model.adaptation), abs=5)
    assert abs(result.report.estimated_bytes - len(result.data)) <= 0.005 * len(result.data) + 4
    assert container.write(model) == result.data
