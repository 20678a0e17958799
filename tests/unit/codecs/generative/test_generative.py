"""Tests of generative models on patches of photographs: networks, training, density, files, codes
and commands.
"""

from __future__ import annotations

import gzip
import struct
import subprocess
import sys
import zlib
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import jax
import jax.numpy as jnp
import msgpack
import numpy as np
import pytest
import skimage.data
from click.testing import CliRunner
from common import GENERATIVE
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PilImage

import dfmcodec
from dfmcodec import container
from dfmcodec.cli import main
from dfmcodec.codecs import decode as decoder
from dfmcodec.codecs.encode import encode_image
from dfmcodec.codecs.generative.contents import CodeArchitecture, CodedImage
from dfmcodec.codecs.generative.density import CodeDensity, fit_density
from dfmcodec.codecs.generative.encode.inversion import codes_of
from dfmcodec.codecs.generative.jax_backend import fast_cos_sin
from dfmcodec.codecs.generative.model import GenerativeModel, read_model
from dfmcodec.codecs.generative.network import (
    GenerativeArchitecture,
    exact_cos_sin,
    first_features,
    paint,
    pixel_inputs,
    positions,
)
from dfmcodec.codecs.generative.sections import CodeSymbols, code_file_bytes, read_code, scale_indices, write_code
from dfmcodec.codecs.generative.training import features, measures, subpixel
from dfmcodec.codecs.generative.training.data import ImageSet, read_images
from dfmcodec.codecs.generative.training.recipes import PRESETS
from dfmcodec.codecs.generative.training.train import Trainer
from dfmcodec.errors import (
    BadMagicError,
    ConfigError,
    CorruptError,
    FormatError,
    ImageError,
    MissingModelError,
    TargetUnreachableError,
    TruncatedError,
    UnsupportedVersionError,
)
from dfmcodec.fourier.layer import TAU, frequency_set
from dfmcodec.fourier.network import CoordinateArchitecture, deep_fourier_machine, unpack
from dfmcodec.image import Image, Metadata
from dfmcodec.perception import psnr
from dfmcodec.search.config import EncoderConfig

SIDE = 16


def patches(count: int, rgb: bool = False, seed: int = 0) -> np.ndarray:
    """Parts of a photograph, uint8 [count, SIDE, SIDE, C]."""
    photo = skimage.data.astronaut() if rgb else skimage.data.camera()[:, :, None]
    rng = np.random.default_rng(seed)
    corners = zip(*(rng.integers(0, side - SIDE, count) for side in photo.shape[:2]), strict=True)
    return np.stack([photo[top : top + SIDE, left : left + SIDE] for top, left in corners])


def small(variant: str = "encoder", channels: int = 1) -> tuple[GenerativeArchitecture, object]:
    preset = replace(PRESETS["mnist"].with_variant(variant), code_dim=24, hidden=(96,), octaves=(-1, 0, 1))
    recipe = replace(preset.recipe, steps=200, code_noise=0.05, batch=32)
    return preset.architecture(SIDE, SIDE, channels), recipe


def model_after(steps: int) -> GenerativeModel:
    """A small model of patches of a photograph."""
    architecture, recipe = small()
    images = patches(800)
    trainer = Trainer(images, architecture, replace(recipe, steps=steps), 0)
    trainer.run(1e9)
    return GenerativeModel(architecture, trainer.parameters(), fit_density(trainer.codes(images), 8)).rounded()


@pytest.fixture(scope="module")
def trained() -> GenerativeModel:
    """So little that nothing of it is known but that it is one."""
    return model_after(200)


def reached_db(model: GenerativeModel, image: Image) -> float:
    """The PSNR of a file that is large enough."""
    return encode_image(image, EncoderConfig(size=120), generator=model).report.psnr_db


@pytest.fixture
def model_file(trained: GenerativeModel, tmp_path: Path) -> Path:
    path = tmp_path / "patches.dfmg"
    path.write_bytes(trained.file_bytes)
    return path


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    return result.exit_code, result.output


@pytest.mark.parametrize("order", [2, 9])
def test_network_is_the_coordinate_network(order: int) -> None:
    arch = GenerativeArchitecture(5, 7, 3, 4, (8,), 3, 3, order)
    flat = np.random.default_rng(0).normal(0, 0.3, (2, arch.coefficient_count)).astype(np.float32)
    v = positions(5, 7, arch.octaves)
    first = first_features(v, arch, np, exact_cos_sin)
    painted = paint(flat, first, v, arch, np, exact_cos_sin)
    network = CoordinateArchitecture(3, 3, 3, order)
    for weights, samples in zip(flat, painted, strict=True):
        expected = deep_fourier_machine(unpack(weights, network, np), v.T, order, np)
        np.testing.assert_allclose(samples, expected.T, atol=2e-5)


def test_frequencies_of_several_octaves_are_a_half_plane_without_gaps() -> None:
    arch = GenerativeArchitecture(8, 8, 1, 4, (8,), 2, 3, 1, (0, 1, 2))
    v = positions(8, 8, arch.octaves)
    first = first_features(v, arch, np, exact_cos_sin)
    vectors = frequency_set(6, 6).vectors
    horizontal, vertical = vectors[:, 0::2] @ [1, 2, 4], vectors[:, 1::2] @ [1, 2, -4]
    assert {*zip(horizontal, vertical, strict=True)} == {(x, y) for x in range(8) for y in range(-4, 4)}
    rows, columns = np.divmod(np.arange(64), 8)
    angles = 2 * np.pi * (np.outer(horizontal, columns) + np.outer(vertical, rows)) / 8
    np.testing.assert_allclose(first, np.concatenate([np.cos(angles), np.sin(angles)[1:]]), atol=1e-5)


def test_fast_cosine_and_sine_are_close_and_have_the_right_slope() -> None:
    v = jnp.linspace(-3, 3, 10_001)
    for fast, exact in zip(fast_cos_sin(v), exact_cos_sin(np.asarray(v)), strict=True):
        assert float(np.abs(np.asarray(fast) - exact).max()) < 1e-5
    slope = jax.vmap(jax.grad(lambda x: fast_cos_sin(x)[1]))(v)
    np.testing.assert_allclose(slope, 2 * np.pi * np.cos(2 * np.pi * np.asarray(v)), atol=1e-3)


@pytest.mark.slow
def test_moved_positions_are_those_of_moved_images() -> None:
    """The features are those of the moved inputs, the targets what a smooth image is there."""
    architecture = GenerativeArchitecture(24, 32, 1, 4, (), 2, 3, 1, (-1, 0, 1))
    first, v = pixel_inputs(architecture)

    def image(v: np.ndarray) -> np.ndarray:
        x1, x2 = v[2:4]  # of octave 0
        return 0.5 * np.cos(TAU * (3 * x1 + 2 * x2))

    for seed in range(3):
        turned, moved, targets = subpixel.moved(
            first, v, jnp.asarray(image(v), jnp.float32)[None, None], architecture, 1.0, jax.random.key(seed)
        )
        step = (np.asarray(moved) - v)[2:4] * [[32], [24]]
        assert np.ptp(step, axis=1).max() < 1e-4
        assert 0 < step.min() < step.max() < 1
        np.testing.assert_allclose(
            turned, first_features(np.asarray(moved), architecture, np, exact_cos_sin), atol=2e-5
        )
        error = (np.asarray(targets)[0, 0] - image(np.asarray(moved))).reshape(24, 32)[3:-3, 3:-3]
        assert np.abs(error).max() < 0.01
    still = subpixel.moved(first, v, jnp.ones((1, 1, v.shape[1])), architecture, 0.0, jax.random.key(0))
    np.testing.assert_allclose(still[0], first, atol=1e-6)
    np.testing.assert_allclose(still[1], v)


@pytest.mark.slow
def test_training_learns_and_samples_are_of_its_kind() -> None:
    trained, held_out = model_after(1500), patches(200, seed=1)
    reconstructed = trained.paint(trained.encode(held_out))
    assert psnr(held_out.reshape(-1, SIDE, 1), reconstructed.reshape(-1, SIDE, 1)) > 19
    samples = trained.paint(trained.density.sample(200, np.random.default_rng(0)))
    flat = [images.reshape(200, -1).astype(float) for images in (samples, held_out)]
    noise = np.random.default_rng(0).integers(0, 256, flat[0].shape).astype(float)
    assert measures.frechet_distance(flat[0], flat[1]) < 0.2 * measures.frechet_distance(noise, flat[1])


def table_model(steps: int) -> tuple[GenerativeModel, np.ndarray, np.ndarray]:
    """A model without an encoder, its images and their codes."""
    architecture, recipe = small("table", channels=3)
    images = patches(200, rgb=True)
    trainer = Trainer(images, architecture, replace(recipe, steps=steps), 0)
    trainer.run(1e9)
    codes = trainer.codes(images)
    return GenerativeModel(architecture, trainer.parameters(), fit_density(codes, 4)).rounded(), images, codes


def inversion_errors(model: GenerativeModel, codes: np.ndarray, steps: int) -> tuple[float, float]:
    """Squared errors of held-out images by codes that are searched for, and by the mean code."""
    held_out = patches(20, rgb=True, seed=1)
    means = np.repeat(codes.mean(axis=0, keepdims=True), len(held_out), axis=0)
    by_search, by_mean = (
        float(((held_out.astype(float) - model.paint(found)) ** 2).mean())
        for found in (codes_of(model, held_out, steps), means)
    )
    return by_search, by_mean


@pytest.mark.slow
def test_table_variant_has_no_encoder_and_inverts_held_out_images() -> None:
    model, images, codes = table_model(60)
    assert not model.has_encoder
    assert codes.shape == (len(images), model.architecture.code_dim)
    by_search, by_mean = inversion_errors(model, codes, 20)
    assert by_search < by_mean
    with pytest.raises(ConfigError, match="no encoder"):
        model.encode(images)


@pytest.mark.slow
def test_table_variant_learns_codes() -> None:
    model, images, codes = table_model(1000)
    assert psnr(images.reshape(-1, SIDE, 3), model.paint(codes).reshape(-1, SIDE, 3)) > 20
    by_search, by_mean = inversion_errors(model, codes, 100)
    assert by_search < 0.25 * by_mean


@pytest.mark.slow
def test_training_goes_on_as_if_it_had_not_stopped(tmp_path: Path) -> None:
    architecture, recipe = small()
    recipe, images, kept = replace(recipe, steps=50), patches(100), tmp_path / "kept.npz"
    complete = Trainer(images, architecture, recipe, 0)
    assert (complete.run(1e9), complete.state.steps) == ("steps", 50)  # no multiple of a chunk's

    def keep(state: object, psnr_db: float) -> None:
        if stopped.state.steps == 20:
            stopped.save(kept)

    stopped = Trainer(images, architecture, recipe, 0)
    stopped.run(1e9, keep)
    resumed = Trainer(images, architecture, recipe, 0)
    resumed.restore(kept)
    assert resumed.state.steps == 20
    resumed.run(1e9)
    for name, value in complete.parameters().items():
        np.testing.assert_allclose(resumed.parameters()[name], value, atol=1e-6)
    with pytest.raises(ConfigError, match="other images or settings"):
        Trainer(images, architecture, recipe, 1).restore(kept)
    kept.write_bytes(kept.read_bytes()[:500])
    with pytest.raises(ConfigError, match="damaged"):
        Trainer(images, architecture, recipe, 0).restore(kept)


@pytest.mark.slow
def test_published_recipes_take_steps() -> None:
    for name in ("mnist-published", "cifar10-published"):
        preset = replace(PRESETS[name], hidden=(32,), machine_width=3)
        channels = 3 if "cifar" in name else 1
        trainer = Trainer(
            patches(64, rgb=channels == 3),
            preset.architecture(SIDE, SIDE, channels),
            replace(preset.recipe, steps=20),
            0,
        )
        before = trainer.parameters()
        trainer.run(1e9)
        assert any(np.abs(value - before[name]).max() > 1e-4 for name, value in trainer.parameters().items())


@pytest.mark.slow
def test_painting_at_another_size_shows_the_same_image(trained: GenerativeModel) -> None:
    codes = trained.density.sample(4, np.random.default_rng(0))
    np.testing.assert_array_equal(trained.paint(codes, 3 * SIDE, 2 * SIDE)[:, ::3, ::2], trained.paint(codes))


def test_density_of_known_clusters() -> None:
    rng = np.random.default_rng(0)
    centres = np.array([[5.0, 0, 0], [-5, 0, 0], [0, 5, 0]])
    codes = np.concatenate([rng.normal(centre, (1, 0.5, 0.1), (400, 3)) for centre in centres]).astype(np.float32)
    density = fit_density(codes, 3)
    drawn = density.sample(4000, rng)
    for centre in centres:
        near = drawn[np.abs(drawn - centre).max(axis=1) < 4]
        assert abs(len(near) / 4000 - 1 / 3) < 0.05
        np.testing.assert_allclose(near.std(axis=0), (1, 0.5, 0.1), rtol=0.25)
    assert {tuple(np.round(code)) for code in density.sample(50, rng, 0.0)} <= {
        tuple(c) for c in np.round(density.means)
    }


def test_density_of_equal_codes() -> None:
    codes = np.repeat(np.arange(6, dtype=np.float32).reshape(2, 3), [1999, 1], axis=0)
    density = fit_density(codes)
    assert all(np.isfinite(part).all() for part in vars(density).values())
    np.testing.assert_allclose(density.sample(10, np.random.default_rng(0)).mean(axis=0), codes[0], atol=1)


def test_measures_of_known_sets() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(0, 1, (4000, 4))
    assert measures.frechet_distance(x, x) < 1e-9
    assert measures.frechet_distance(x, 2 * x + 3) == pytest.approx(4 * 9 + 4, rel=0.1)  # |3|^2 + (2 - 1)^2, four times
    assert measures.precision_recall(x[:500], x[500:1000])[0] > 0.85
    assert measures.precision_recall(x[:500], x[:500] + 100) == (0, 0)
    narrow = measures.precision_recall(x[:500], 0.1 * x[500:1000])
    assert narrow[0] > 0.95
    assert narrow[1] < 0.2
    assert measures.classifier_score(np.eye(5)) == pytest.approx(5)
    assert measures.classifier_score(np.full((7, 5), 0.2)) == pytest.approx(1)


# Files of models


def test_model_file_keeps_a_model(trained: GenerativeModel) -> None:
    again = read_model(trained.file_bytes)
    assert again.id == trained.id
    codes = trained.density.sample(3, np.random.default_rng(0))
    np.testing.assert_array_equal(again.paint(codes), trained.paint(codes))


def test_id_is_of_the_file_as_it_is(trained: GenerativeModel) -> None:
    data = trained.file_bytes
    size = struct.unpack_from("<I", data, 6)[0]
    head = msgpack.unpackb(data[10 : 10 + size])
    packed = msgpack.packb(dict(reversed(head.items())))  # another file that says the same
    content = data[:10] + packed + data[10 + size : -4]
    other = content + struct.pack("<I", zlib.crc32(content))
    assert read_model(other).id == zlib.crc32(content) != trained.id


def test_damaged_model_files_are_refused(trained: GenerativeModel) -> None:
    data = trained.file_bytes
    rng = np.random.default_rng(0)
    for position in rng.integers(6, len(data), 40):
        flipped = bytearray(data)
        flipped[position] ^= 1 << int(rng.integers(8))
        with pytest.raises(CorruptError):
            read_model(bytes(flipped))
    for length in rng.integers(0, len(data), 20):
        with pytest.raises(FormatError):
            read_model(data[:length])
    with pytest.raises(BadMagicError):
        read_model(b"\x89PNG" + data)
    with pytest.raises(UnsupportedVersionError, match="version 2"):
        read_model(data[:5] + b"\2" + data[6:])
    with pytest.raises(TruncatedError):
        read_model(data[:9])


def test_model_files_with_a_hostile_head_and_a_right_checksum_are_refused(trained: GenerativeModel) -> None:

    data = trained.file_bytes
    size = struct.unpack_from("<I", data, 6)[0]
    head, body = msgpack.unpackb(data[10 : 10 + size]), data[10 + size : -4]
    first, *others = head["arrays"]
    hostile = [
        head | {"architecture": head["architecture"] | {"channels": 1.0}},
        head | {"architecture": head["architecture"] | {"height": 8.5}},
        head | {"arrays": [[first[0], [float("inf"), 1]], *others]},
        head | {"report": {"x": bytes(1 << 20)}},
        head | {"architecture": head["architecture"] | {"code_dim": 1 << 40}},
        head | {"architecture": head["architecture"] | {"hidden": [8000] * 16}},
        head | {"architecture": 7},
        head | {"arrays": [["decoder_w0", [1 << 40, 1 << 40]]]},
        head | {"arrays": [["decoder_w0", [-1, -1]]]},
        head | {"arrays": head["arrays"][1:]},
        {},
        [],
    ]
    for changed in hostile:
        packed = msgpack.packb(changed)
        content = data[:6] + struct.pack("<I", len(packed)) + packed + body
        with pytest.raises(CorruptError, match="damaged"):
            read_model(content + struct.pack("<I", zlib.crc32(content)))
    density = trained.density
    for changed in (
        {"weights": np.zeros_like(density.weights)},
        {"weights": np.where(np.arange(len(density.weights)) == 0, -1, 1).astype(np.float32)},
        {"deviations": -density.deviations},
        {"means": density.means * 1e9},  # beyond half precision
    ):
        with pytest.raises(CorruptError, match="damaged"), np.errstate(over="ignore"):
            replace(trained, density=replace(density, **changed), source=None).rounded()


# Codes


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_code_section_keeps_symbols(data: st.DataObject) -> None:
    dim = data.draw(st.integers(1, 12))
    deviations = data.draw(st.lists(st.floats(2.0**-13, 2.0**10), min_size=dim, max_size=dim))
    symbols = data.draw(st.lists(st.integers(-(1 << 20), 1 << 20) | st.integers(-3, 3), min_size=dim, max_size=dim))
    step_index = data.draw(st.integers(0, 255))
    density = CodeDensity(
        np.ones(1, np.float32), np.zeros((1, dim), np.float32), np.eye(dim, dtype=np.float32)[None],
        np.array([deviations], np.float32),
    )  # fmt: skip
    code = CodeSymbols(0, step_index, np.array(symbols, np.int32))
    assert np.array_equal(read_code(write_code(code, density), density).symbols, code.symbols)


def test_code_of_nothing_is_short_and_damage_is_reported(trained: GenerativeModel) -> None:
    density = trained.density
    code = CodeSymbols(1, 128 + 20, np.zeros(density.means.shape[1], np.int32))
    assert len(write_code(code, density)) <= 3
    np.testing.assert_allclose(code.dequantize(density), density.means[1])
    with pytest.raises(CorruptError, match="component 9"):
        read_code(b"\x09\x80", density)
    with pytest.raises(CorruptError, match="fewer than 2"):
        read_code(b"\0", density)
    many = CodeDensity(*(np.tile(part[:1], (257, *[1] * (part.ndim - 1))) for part in vars(density).values()))
    of_last = replace(code, component=256)
    assert len(write_code(of_last, many)) == len(write_code(code, density)) + 1
    assert read_code(write_code(of_last, many), many).component == 256


def test_no_bound_of_scales_is_near_a_half_precision_number() -> None:
    halves = np.arange(1, 0x7C00, dtype=np.uint16).view(np.float16).astype(np.float32)
    for part in (-1, 1):  # one unit in the last place of a double either way changes no scale index
        moved = np.nextafter(halves.astype(np.float64), part * np.inf)
        assert np.array_equal(scale_indices(halves), np.searchsorted(_bounds(), moved, side="right") - 64)


def _bounds() -> np.ndarray:
    from dfmcodec.codecs.generative import sections as code_section

    return code_section._BOUNDS


@pytest.mark.slow
@pytest.mark.parametrize("target", ["size", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("psnr", "rate"))])
def test_images_as_codes_meet_their_target(trained: GenerativeModel, target: str) -> None:
    for pixels in patches(3, seed=2):
        image = Image(pixels)
        floor_db = reached_db(trained, image) - 1 if target == "psnr" else 0.0
        config = EncoderConfig(**{target: {"size": 37, "psnr": floor_db, "rate": 0.18}[target]})
        result = encode_image(image, config, generator=trained)
        decoded = decoder.decode_image(result.data, decoder.DecodeRequest(generator=trained))
        assert psnr(pixels, decoded.pixels) == pytest.approx(result.report.psnr_db)
        assert result.report.psnr_db >= floor_db
        if target != "psnr":
            assert len(result.data) <= (37 if target == "size" else 0.18 * pixels.size)
        assert result.report.file_bytes == result.report.estimated_bytes


@pytest.mark.slow
def test_codes_trade_rate_for_distortion(trained: GenerativeModel) -> None:
    pixels = patches(1, seed=3)[0]
    small, large = (
        encode_image(Image(pixels), EncoderConfig(size=size), generator=trained).report for size in (23, 47)
    )
    assert small.psnr_db < large.psnr_db
    assert small.file_bytes < large.file_bytes
    with pytest.raises(TargetUnreachableError):
        encode_image(Image(pixels), EncoderConfig(size=19), generator=trained)
    with pytest.raises(TargetUnreachableError, match=r"70\.00 dB is out of reach: the best code reaches \d+\.\d\d dB"):
        encode_image(Image(pixels), EncoderConfig(psnr=70), generator=trained)


def test_codes_of_any_length_come_back_with_what_is_beside_them(trained: GenerativeModel) -> None:
    of_model = CodeArchitecture(1, trained.id)
    for length, sides, bits in ((0, 1, 8), (127, 256, 16), (128, 16, 8), (1 << 14, 16, 8), (1 << 21, 7, 16)):
        image = CodedImage(of_model, sides, 3, bytes(length - 1) + b"\x01" if length else b"", bits)
        for metadata in (b"", bytes(100), bytes(1 << 20)):
            given = container.Ancillary(Metadata(icc=metadata or None), gray_as_rgb=bool(metadata))
            sections = container.ancillary_sections(given)
            data = container.write(image, sections)
            again, ancillary = container.read(data)
            assert (again, ancillary.metadata.icc or b"") == (image, metadata)
            assert ancillary.gray_as_rgb == bool(metadata)
            of_file = code_file_bytes(image) + container.sections_file_bytes(sections)
            has_checks = container.Section.CHECKS in container.read_header(data).sections
            assert len(data) == of_file + (container.checks_file_bytes(1 + len(sections), 0) if has_checks else 0)
            assert has_checks == (length + len(metadata) > 1 << 13)
    assert code_file_bytes(CodedImage(of_model, 1, 1, bytes(20))) == 18 + 20
    data = container.write(CodedImage(of_model, 1, 1, b"abc"), {container.Section.RGB: b""})
    for cut in range(13, len(data)):
        with pytest.raises(TruncatedError):
            container.read(data[:cut])
    with pytest.raises(CorruptError, match="occurs twice"):
        container.read(data.replace(b"\x07\0\0\0\0", b"\x09\0\0\0\0"))
    with pytest.raises(CorruptError, match="more than 4 bytes"):
        container.read(data[:13] + b"\x80" * 5 + data[14:])


@pytest.mark.slow
def test_a_model_of_equal_deviations_has_codes(trained: GenerativeModel) -> None:
    density = replace(trained.density, deviations=np.ones_like(trained.density.deviations))
    model = replace(trained, density=density, source=None).rounded()
    pixels = patches(1)[0]
    result = encode_image(Image(pixels), EncoderConfig(size=60), generator=model)
    assert result.report.psnr_db > max(psnr(pixels, image) for image in model.paint(density.means))


@pytest.mark.slow
def test_what_nobody_sees_costs_nothing(trained: GenerativeModel) -> None:
    pixels = max(patches(20, seed=2), key=np.std).copy()
    alpha = np.full((SIDE, SIDE), 255, np.uint8)
    floor = EncoderConfig(psnr=reached_db(trained, Image(pixels)) - 1)
    opaque = encode_image(Image(pixels, alpha=alpha), floor, generator=trained).report
    pixels[:, SIDE // 2 :], alpha[:, SIDE // 2 :] = np.random.default_rng(0).integers(0, 256, (SIDE, 8, 1)), 0
    hidden = encode_image(Image(pixels, alpha=alpha), floor, generator=trained)
    assert hidden.report.section_bytes["code"] < opaque.section_bytes["code"]
    assert psnr(pixels, hidden.decoded.pixels, alpha > 0) == pytest.approx(hidden.report.psnr_db)
    assert hidden.report.psnr_db >= floor.psnr
    nothing = encode_image(Image(pixels, alpha=0 * alpha), floor, generator=trained)
    assert nothing.report.section_bytes["code"] <= 3


@pytest.mark.slow
def test_searches_for_codes_end_when_they_are_asked_to(trained: GenerativeModel) -> None:
    image, reported = Image(patches(1)[0]), []
    for config, stop, reason in (
        (EncoderConfig(size=60, time_limit_s=1e-3), False, "time limit"),
        (EncoderConfig(size=60), True, "interrupted"),
        (EncoderConfig(size=60), False, "done"),
    ):
        result = encode_image(image, config, reported.append, lambda stop=stop: stop, trained)
        assert result.report.stop_reason == reason
        assert len(result.data) <= 60
    assert [round(10 * progress.fraction) for progress in reported] == [0, 10, 0, 10, *range(11)]


def test_regions_and_scales_of_codes(trained: GenerativeModel) -> None:
    from dfmcodec.image.region import Region

    pixels = patches(1, seed=2)[0]
    data = encode_image(Image(pixels), EncoderConfig(size=60), generator=trained).data
    complete = decoder.decode_image(data, decoder.DecodeRequest(generator=trained)).pixels
    region = decoder.decode_image(data, decoder.DecodeRequest(region=Region(3, 5, 10, 14), generator=trained)).pixels
    np.testing.assert_array_equal(region, complete[3:10, 5:14])
    assert decoder.decode_image(data, decoder.DecodeRequest(scale=2, generator=trained)).pixels.shape == (
        2 * SIDE,
        2 * SIDE,
        1,
    )


def test_codes_need_their_model(trained: GenerativeModel, model_file: Path, tmp_path: Path) -> None:
    image, coded, other = tmp_path / "a.png", tmp_path / "a.dfm", tmp_path / "other.dfmg"
    PilImage.fromarray(patches(1, seed=2)[0, :, :, 0]).save(image)
    assert run("encode", image, "--generator", model_file, "--size", 60, "-o", coded)[0] == 0
    assert coded.stat().st_size <= 60
    code, output = run("decode", coded, "-o", tmp_path / "b.png")
    assert (code, f"{trained.id:08x}" in output, "--generator" in output) == (3, True, True)
    assert "not checked" in run("verify", coded, coded)[1]
    for command, source in (("encode", image), ("decode", coded)):
        code, output = run(command, source, source, "--generator", tmp_path / "none.dfmg", "-O", tmp_path)
        assert (code, output.count("\n"), "none.dfmg" in output) == (1, 1, True), output
    other.write_bytes(replace(trained, report={"another": 1}, source=None).file_bytes)
    code, output = run("decode", coded, "--generator", other, "-o", tmp_path / "b.png")
    assert (code, "the given one is" in output) == (3, True)
    assert run("verify", coded, "--generator", model_file)[0] == 0
    assert "generative" in run("info", coded)[1]
    assert not (tmp_path / "b.png").exists()
    with pytest.raises(MissingModelError):
        decoder.decode_image(coded.read_bytes())
    again = dfmcodec.encode(image, size=60, generator=model_file).data
    np.testing.assert_array_equal(
        dfmcodec.decode(again, generator=model_file), dfmcodec.decode(coded, generator=model_file)
    )
    assert dfmcodec.decode_best_effort(again, generator=model_file)[1] == []
    rgb = tmp_path / "rgb.png"
    PilImage.fromarray(skimage.data.astronaut()[100:116, 200:216]).save(rgb)
    assert "gray" in run("encode", rgb, "--generator", model_file)[1]
    PilImage.fromarray(skimage.data.camera()).save(image)
    code, output = run("encode", image, "--generator", model_file, "-f")
    assert (code, "16x16" in output) == (1, True)
    model_file.write_bytes(model_file.read_bytes()[:-9])
    code, output = run("encode", image, "--generator", model_file, "-f")
    assert (code, "damaged or truncated" in output) == (3, True)


def test_decoding_a_code_imports_no_jax(trained: GenerativeModel, model_file: Path, tmp_path: Path) -> None:
    data = encode_image(Image(patches(1)[0]), EncoderConfig(size=60), generator=trained).data
    (tmp_path / "a.dfm").write_bytes(data)
    program = (
        "import sys; from dfmcodec.cli import main; main(sys.argv[1:], standalone_mode=False); "
        "sys.exit(any(name.split('.')[0] in ('jax', 'optax') for name in sys.modules))"
    )
    for arguments in (
        ["decode", "a.dfm", "--generator", "patches.dfmg", "-o", "a.png"],
        ["generate", "sample", "patches.dfmg", "-n", "4", "-o", "grid.png"],
    ):
        subprocess.run([sys.executable, "-c", program, *arguments], cwd=tmp_path, check=True, capture_output=True)


# Sets of images and commands


def idx_of(images: np.ndarray) -> bytes:
    return struct.pack(">BBBB3I", 0, 0, 8, 3, *images.shape[:3]) + images.tobytes()


def test_sets_of_images_are_read_alike(tmp_path: Path) -> None:
    images, labels = patches(60), np.arange(60) % 3
    (tmp_path / "x-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx_of(images)))
    (tmp_path / "x-labels-idx1-ubyte.gz").write_bytes(
        gzip.compress(struct.pack(">BBBBI", 0, 0, 8, 1, 60) + labels.astype(np.uint8).tobytes())
    )
    np.savez(tmp_path / "x.npz", images=images[..., 0], labels=labels)
    for index, image in enumerate(images):
        folder = tmp_path / "folder" / f"class{labels[index]}"
        folder.mkdir(parents=True, exist_ok=True)
        PilImage.fromarray(image[:, :, 0]).save(folder / f"{index:03}.png")
    for path in (tmp_path / "x-images-idx3-ubyte.gz", tmp_path / "x.npz"):
        found = read_images(path)
        np.testing.assert_array_equal(found.images, images)
        np.testing.assert_array_equal(found.labels, labels)
    found = read_images(tmp_path / "folder")
    assert sorted(map(bytes, found.images)) == sorted(map(bytes, images))
    assert found.labels is not None
    assert np.bincount(found.labels).tolist() == [20, 20, 20]
    train, held_out = found.split()
    assert (len(train), len(held_out)) == (48, 12)
    both = np.concatenate([train.images, held_out.images])
    assert sorted(map(bytes, both)) == sorted(map(bytes, images))


@pytest.mark.parametrize("labels", [np.arange(1000) % 10, np.arange(1000) // 100, np.arange(1000) // 10 % 2])
def test_all_classes_are_held_out_alike(labels: np.ndarray) -> None:
    held_out = ImageSet(np.zeros((1000, 1, 1, 1), np.uint8), labels).split()[1].labels
    assert held_out is not None
    counts = np.bincount(held_out)
    assert counts.sum() == 200
    assert counts.min() >= 0.8 * counts.max()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("cut-idx3", idx_of(patches(60))[:-5], "its header declares"),
        ("cut.gz", gzip.compress(idx_of(patches(60)), mtime=0)[:-50], "cannot be read"),
        ("labels-idx1", struct.pack(">BBBBI", 0, 0, 8, 1, 60) + bytes(60), "is expected"),
        ("floats-idx3", struct.pack(">BBBB3I", 0, 0, 13, 3, 60, 2, 2) + bytes(960), "neither an IDX file"),
        ("huge-idx3", struct.pack(">BBBB3I", 0, 0, 8, 3, 1 << 31, 1 << 31, 1 << 31), "its header declares"),
        ("few-idx3", idx_of(patches(49)), "at least 50"),
        ("large-idx3", struct.pack(">BBBB3I", 0, 0, 8, 3, 60, 1, 300) + bytes(18000), "up to 256"),
        ("text.txt", b"not images", "neither an IDX file"),
        ("bad.npz", b"PK\x03\x04 not a zip", "not a readable .npz"),
    ],
)
def test_bad_sets_are_reported_in_one_line(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    code, output = run("generate", "train", tmp_path / name, "--preset", "mnist", "-o", tmp_path / "m.dfmg")
    assert (code, output.count("\n"), message in output) == (1, 1, True), output
    assert not (tmp_path / "m.dfmg").exists()


def test_bad_arrays_and_folders_are_reported(tmp_path: Path) -> None:
    for arrays, message in (
        ({"pictures": patches(60)}, "no array `images`"),
        ({"images": patches(60).astype(np.float32)}, "uint8"),
        ({"images": patches(60)[..., [0, 0]]}, "uint8"),
        ({"images": patches(60), "labels": np.arange(59)}, "labels"),
    ):
        np.savez(tmp_path / "x.npz", **arrays)
        with pytest.raises(ImageError, match=message):
            read_images(tmp_path / "x.npz")
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    for index in range(60):
        PilImage.new("L", (16, 16 + index // 59)).save(mixed / f"{index:02}.png")
    with pytest.raises(ImageError, match="all must have one size"):
        read_images(mixed)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageError, match="no images"):
        read_images(tmp_path / "empty")
    with pytest.raises(ImageError, match="does not exist"):
        read_images(tmp_path / "nowhere")
    PilImage.new("L", (1000, 1000)).save(mixed / "00.png")
    with pytest.raises(ImageError, match="takes sides of up to 256"):
        read_images(mixed)


def test_folders_lose_nothing_silently(tmp_path: Path) -> None:
    """Alpha is refused unless it is opaque; an animation gives its first frame, with a notice."""
    for index in range(60):
        gray = PilImage.new("L", (16, 16), index)
        gray.putalpha(255)
        gray.save(tmp_path / f"{index:02}.png")
    assert read_images(tmp_path).images.shape == (60, 16, 16, 1)
    frames = [PilImage.new("L", (16, 16), value) for value in (0, 255)]
    frames[0].save(tmp_path / "01.gif", save_all=True, append_images=frames[1:])
    notices: list[str] = []
    assert len(read_images(tmp_path, notices.append)) == 61
    (notice,) = notices
    assert "01.gif: only the first of several frames" in notice
    gray.putalpha(254)
    gray.save(tmp_path / "30.png")
    with pytest.raises(ImageError, match=r"30\.png has alpha"):
        read_images(tmp_path)


def test_labels_of_any_integers_are_classes(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", images=patches(60), labels=np.where(np.arange(60) % 3 == 0, -1, 10**9))
    labels = read_images(tmp_path / "x.npz").labels
    assert labels is not None
    assert np.array_equal(labels, np.arange(60) % 3 != 0)


@pytest.mark.slow
def test_a_classifier_is_of_its_labels(tmp_path: Path) -> None:
    images, kept = patches(60), tmp_path / "classifier.npz"
    sets = [ImageSet(images, np.arange(60) % 2), ImageSet(images, np.arange(60) // 30)]
    features.classifier(sets[0], sets[0], kept)
    features.classifier(sets[0], sets[0], kept)
    with pytest.raises(ImageError, match="not a classifier trained on these images and classes"):
        features.classifier(sets[1], sets[1], kept)


def test_nearest_is_that_of_all_pairs() -> None:
    """Also beyond the block of rows that is looked at together; of equals the first."""
    rng = np.random.default_rng(0)
    among = rng.integers(0, 256, (1300, 3, 3, 1), dtype=np.uint8)
    among[900] = among[1200] = among[40]
    images = np.concatenate([among[[40, 1299, 700]], rng.integers(0, 256, (20, 3, 3, 1), dtype=np.uint8)])
    squared = ((images[:, None] / 255 - among[None] / 255) ** 2).mean(axis=(2, 3, 4))
    indices, errors = measures.nearest(images, among)
    assert np.array_equal(indices, squared.argmin(axis=1))
    np.testing.assert_allclose(errors, squared.min(axis=1), atol=1e-12)


def test_a_grid_that_cannot_be_written_is_not_painted(model_file: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(GenerativeModel, "paint", lambda *arguments: pytest.fail("painted"))
    for words, expected, message in (
        (("sample", "-n", 64, "--height", 2100, "-o", tmp_path / "g.webp"), 1, "its sides have up to 16383 pixels"),
        (("interpolate", "-n", 64, "--height", 1100, "-o", tmp_path / "g.png"), 1, "at most 65535 pixels"),
        (("sample", "-o", "-"), 2, "-o - is not a file"),
    ):
        code, output = run("generate", words[0], model_file, *words[1:])
        assert (code, message in output) == (expected, True), output


@pytest.mark.slow
def test_a_training_that_is_stopped_before_its_model_is_written_is_kept(tmp_path: Path, monkeypatch) -> None:
    np.savez(tmp_path / "x.npz", images=patches(60))
    words = ("generate", "train", tmp_path / "x.npz", "--preset", "mnist", "--training-steps", 20, "-o")
    assert run(*words, tmp_path / "whole.dfmg")[0] == 0
    with monkeypatch.context() as patched:
        patched.setattr("dfmcodec.codecs.generative.density.fit_density", Mock(side_effect=KeyboardInterrupt))
        assert run(*words, tmp_path / "m.dfmg")[0] != 0
    assert not (tmp_path / "m.dfmg").exists()
    code, output = run(*words, tmp_path / "m.dfmg")
    assert (code, "continuing after 20 steps" in output) == (0, True), output
    models = [read_model((tmp_path / name).read_bytes()) for name in ("whole.dfmg", "m.dfmg")]
    assert len({model.report["data"] for model in models}) == 1
    first, second = (model.parameters for model in models)
    assert all(np.array_equal(first[name], second[name]) for name in first)
    code, output = run(*words, "-")
    assert (code, "-o - is not a file" in output) == (2, True), output


def test_commands(tmp_path: Path) -> None:
    images = patches(120)
    np.savez(tmp_path / "x.npz", images=images, labels=(images.mean(axis=(1, 2, 3)) > 128).astype(np.int64))
    model = tmp_path / "m.dfmg"
    arguments = ("generate", "train", tmp_path / "x.npz", "--preset", "mnist", "--training-steps", 10, "-o", model)
    code, output = run(*arguments, "--quiet")
    assert (code, model.exists()) == (0, True), output
    code, output = run(*arguments)
    assert (code, "exists" in output) == (1, True)
    for arguments, size in (
        (("sample", model, "-n", 6), (2 * 17 - 1, 3 * 17 - 1)),
        (("sample", model, "-n", 4, "--height", 40), (81, 81)),
        (("interpolate", model, "-n", 2, "--between", 3), (5 * 17 - 1, 2 * 17 - 1)),
        (("reconstruct", model, tmp_path / "x.npz", "-n", 8), (4 * 17 - 1, 4 * 17 - 1)),
    ):
        code, output = run("generate", *arguments, "-o", tmp_path / "grid.png", "-f")
        assert code == 0, output
        with PilImage.open(tmp_path / "grid.png") as image:
            assert image.size == size or image.size == size[::-1]
    again = tmp_path / "again.png"
    run("generate", "sample", model, "--seed", 3, "-o", again)
    run("generate", "sample", model, "--seed", 3, "-o", tmp_path / "twice.png")
    run("generate", "sample", model, "--seed", 4, "-o", tmp_path / "other.png")
    assert again.read_bytes() == (tmp_path / "twice.png").read_bytes() != (tmp_path / "other.png").read_bytes()
    kept = tmp_path / "classifier.npz"
    for _ in range(2):
        code, output = run("generate", "eval", model, tmp_path / "x.npz", "--classifier", kept, "--json")
        assert (code, kept.exists(), '"frechet_distance"' in output) == (0, True, True), output
    few = tmp_path / "few.png"
    code, output = run("generate", "reconstruct", model, tmp_path / "x.npz", "-n", 500, "-o", few)
    assert (code, "24 held-out" in output, "trained on other" in output) == (0, True, False), output
    other = tmp_path / "y.npz"
    np.savez(other, images=images[:90], labels=np.arange(90) % 2)
    code, output = run("generate", "eval", model, other, "--classifier", kept)
    assert (code, "trained on other images" in output, "not a classifier trained" in output) == (1, True, True)
    for option, path, expected in (("--neighbors", "n.xyz", 2), ("--classifier", tmp_path / "none" / "c.npz", 1)):
        code, output = run("generate", "eval", tmp_path / "no-model", tmp_path / "x.npz", option, path)
        assert (code, "no-model" in output) == (expected, False), output  # before anything is read
    for arguments in (("sample", model, "--temperature", "nan"), ("train", other, "--time-limit", "nan")):
        assert run("generate", *arguments, "-o", tmp_path / "nan.png")[0] == 2
    wrong = tmp_path / "wrong.npz"
    np.savez(wrong, images=patches(60, rgb=True))
    code, output = run("generate", "eval", model, wrong)
    assert (code, "was trained on" in output) == (1, True), output


def test_sets_without_classes_need_other_features(trained: GenerativeModel, model_file: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", images=patches(60))
    code, output = run("generate", "eval", model_file, tmp_path / "x.npz")
    assert (code, "no classes" in output) == (1, True)
    assert ImageSet(patches(60)).split()[1].labels is None


GOLDEN = GENERATIVE


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.dfm")), ids=lambda path: path.stem)
def test_golden_codes_decode_as_ever(path: Path) -> None:
    model = read_model((GOLDEN / f"{path.stem.split('-')[0]}.dfmg").read_bytes())
    decoded = decoder.decode_image(path.read_bytes(), decoder.DecodeRequest(generator=model)).pixels
    with PilImage.open(path.with_suffix(".png")) as golden:
        expected = np.asarray(golden).reshape(decoded.shape)
    assert int(np.abs(decoded.astype(int) - expected).max()) <= 1
