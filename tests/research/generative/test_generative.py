"""Tests of generative models on patches of photographs: networks, training, density, files, codes
and commands.
"""

from __future__ import annotations

import gzip
import struct
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import skimage.data
from click.testing import CliRunner
from common import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PilImage

from dfmcodec.errors import ConfigError, CorruptError, DfmError, FormatError, ImageError, TargetUnreachableError
from dfmcodec.files.arrays import read_arrays, write_arrays
from dfmcodec.fourier.layer import frequency_set
from dfmcodec.fourier.network import CoordinateArchitecture, deep_fourier_machine, unpack
from dfmcodec.perception import psnr
from research.generative import code as code_file
from research.generative import measures
from research.generative.__main__ import command
from research.generative.code import CodeSymbols, code_of_file, read_code, scale_indices, write_code
from research.generative.data import ImageSet, read_images
from research.generative.density import CodeDensity, fit_density
from research.generative.inversion import codes_of
from research.generative.jax_backend import fast_cos_sin
from research.generative.model import GenerativeModel, read_model
from research.generative.network import (
    GenerativeArchitecture,
    exact_cos_sin,
    first_features,
    paint,
    positions,
)
from research.generative.recipes import PRESETS
from research.generative.search import encode_image
from research.generative.train import Trainer

GOLDEN = Path(__file__).parent / "golden"
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


@pytest.fixture
def model_file(trained: GenerativeModel, tmp_path: Path) -> Path:
    path = tmp_path / "patches.npz"
    trained.write(path)
    return path


def run(*arguments: object) -> tuple[int, str]:
    """Runs a command; returns its exit code, and its output or error."""
    result = CliRunner().invoke(command, [str(argument) for argument in arguments])
    error = f"{result.exception}\n" if isinstance(result.exception, DfmError) else ""
    return result.exit_code, result.output + error


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


def test_model_file_keeps_a_model(trained: GenerativeModel, model_file: Path) -> None:
    again = read_model(model_file)
    assert again.id == trained.id
    codes = trained.density.sample(3, np.random.default_rng(0))
    np.testing.assert_array_equal(again.paint(codes), trained.paint(codes))
    assert replace(trained, density=replace(trained.density, means=-trained.density.means)).id != trained.id


def test_damaged_and_foreign_model_files_are_refused(model_file: Path, tmp_path: Path) -> None:
    data, arrays = model_file.read_bytes(), read_arrays(model_file)
    negative = np.where(np.arange(len(arrays["density_weights"])) == 0, -1, 1).astype(np.float16)
    for changed in (
        {"about": "not JSON"},
        {"about": '{"report": {}}'},
        {"about": str(arrays["about"]).replace('"channels": 1', '"channels": 1.0')},
        {"about": str(arrays["about"]).replace('"code_dim": 24', '"code_dim": 25')},
        {"decoder_w0": arrays["decoder_w0"][:-1]},
        {"decoder_w0": arrays["decoder_w0"] * np.float16(np.nan)},
        {"density_weights": 0 * arrays["density_weights"]},
        {"density_weights": negative},
        {"density_deviations": -arrays["density_deviations"]},
        {"density_means": arrays["density_means"][:-1]},
    ):
        write_arrays(model_file, arrays | changed)
        with pytest.raises((CorruptError, ConfigError)):
            read_model(model_file)
    model_file.write_bytes(data[:-9])
    with pytest.raises(DfmError, match="not a readable"):
        read_model(model_file)


def test_memory_does_not_grow_with_the_frequencies() -> None:
    arch = GenerativeArchitecture(128, 128, 1, 1, (), 1, 1, 1, tuple(range(5)))  # 650 MB for all positions at once
    parameters = {"decoder_w0": np.zeros((1, arch.coefficient_count), np.float32)}
    parameters["decoder_b0"] = np.zeros(arch.coefficient_count, np.float32)
    ones = (np.ones(shape, np.float32) for shape in ((1,), (1, 1), (1, 1, 1), (1, 1)))
    model = GenerativeModel(arch, parameters, CodeDensity(*ones))
    tracemalloc.start()
    try:
        model.paint(model.density.means)
        assert tracemalloc.get_traced_memory()[1] < 128 << 20
    finally:
        tracemalloc.stop()


def test_networks_whose_numbers_are_too_large_are_refused_without_a_warning(trained: GenerativeModel) -> None:
    large = {name: np.full_like(value, 65504) for name, value in trained.parameters.items()}
    with pytest.raises(CorruptError, match="gives numbers beyond 8388608"):
        replace(trained, parameters=large).paint(trained.density.means + 1)


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
    return code_file._BOUNDS


def test_codes_meet_their_target_and_decode_to_the_reported_quality(trained: GenerativeModel) -> None:
    pixels = patches(1, seed=2)[0]
    small, large = (encode_image(trained, pixels, size=size) for size in (19, 47))
    assert len(small.data) <= 19
    assert len(large.data) <= 47
    assert small.psnr_db < large.psnr_db
    painted = trained.paint(code_of_file(large.data, trained)[None])[0]
    assert psnr(pixels, painted) == pytest.approx(large.psnr_db)
    enough = encode_image(trained, pixels, psnr_db=large.psnr_db - 1)
    assert enough.psnr_db >= large.psnr_db - 1
    with pytest.raises(TargetUnreachableError, match="the best one reaches"):
        encode_image(trained, pixels, psnr_db=70)
    with pytest.raises(TargetUnreachableError, match="the smallest file has"):
        encode_image(trained, pixels, size=14)
    with pytest.raises(ImageError, match="the model takes"):
        encode_image(trained, patches(1, rgb=True)[0], size=47)


def test_files_of_codes_that_are_damaged_or_of_another_model_are_refused(trained: GenerativeModel) -> None:
    data = code_file.file_of_code(CodeSymbols(1, 120, np.arange(24, dtype=np.int32) - 12), trained)
    for at in range(len(data)):
        flipped = bytearray(data)
        flipped[at] ^= 1
        with pytest.raises(FormatError):
            code_of_file(bytes(flipped), trained)
        with pytest.raises(FormatError):
            code_of_file(data[:at], trained)
    other = replace(trained, density=replace(trained.density, means=-trained.density.means))
    with pytest.raises(CorruptError, match=f"model {trained.id:08x}, but the given one is {other.id:08x}"):
        code_of_file(data, other)


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.dfc")), ids=lambda path: path.stem)
def test_golden_codes_decode_unchanged(path: Path) -> None:
    model = read_model(GOLDEN / f"{path.stem.split('-')[0]}.npz")
    decoded = model.paint(code_of_file(path.read_bytes(), model)[None])[0]
    with PilImage.open(path.with_suffix(".png")) as golden:
        expected = np.asarray(golden).reshape(decoded.shape)
    assert int(np.abs(decoded.astype(int) - expected).max()) <= 1


def test_decoding_and_drawing_import_no_jax(tmp_path: Path) -> None:
    program = (
        "import sys; from research.generative.__main__ import command; command(sys.argv[1:], standalone_mode=False); "
        "sys.exit(any(name.split('.')[0] in ('jax', 'optax') for name in sys.modules))"
    )
    model = str(GOLDEN / "rgb.npz")
    for arguments in (["decode", model, str(GOLDEN / "rgb-0.dfc")], ["sample", model, "-n", "4"]):
        line = [sys.executable, "-c", program, *arguments, "-o", str(tmp_path / "a.png"), "-f"]
        subprocess.run(line, cwd=ROOT, check=True, capture_output=True)


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
    code, output = run("train", tmp_path / name, "--preset", "mnist", "-o", tmp_path / "m.npz")
    assert (code, output.count("\n"), message in output) == (1, 1, True), output
    assert not (tmp_path / "m.npz").exists()


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


def test_commands(tmp_path: Path) -> None:
    images = patches(120)
    np.savez(tmp_path / "x.npz", images=images, labels=(images.mean(axis=(1, 2, 3)) > 128).astype(np.int64))
    model = tmp_path / "m.npz"
    arguments = ("train", tmp_path / "x.npz", "--preset", "mnist", "--steps", 10, "-o", model)
    code, output = run(*arguments)
    assert (code, model.exists(), list(tmp_path.glob("*.training"))) == (0, True, []), output
    code, output = run(*arguments)
    assert (code, "exists" in output) == (1, True)
    grid = tmp_path / "grid.png"
    for arguments, size in (
        (("sample", model, "-n", 6), (2 * 17 - 1, 3 * 17 - 1)),
        (("sample", model, "-n", 4, "--height", 40), (81, 81)),
        (("interpolate", model, "-n", 2, "--between", 3), (5 * 17 - 1, 2 * 17 - 1)),
        (("reconstruct", model, tmp_path / "x.npz", "-n", 8), (4 * 17 - 1, 4 * 17 - 1)),
    ):
        code, output = run(*arguments, "-o", grid, "-f")
        assert code == 0, output
        with PilImage.open(grid) as image:
            assert image.size == size or image.size == size[::-1]
    drawn = [tmp_path / f"{number}.png" for number in range(3)]
    for seed, path in zip((3, 3, 4), drawn, strict=True):
        assert run("sample", model, "--seed", seed, "-o", path)[0] == 0
    assert drawn[0].read_bytes() == drawn[1].read_bytes() != drawn[2].read_bytes()
    stored = tmp_path / "classifier.npz"
    for _ in range(2):
        code, output = run("eval", model, tmp_path / "x.npz", "--classifier", stored, "--neighbors", grid, "-f")
        assert (code, stored.exists(), "frechet distance" in output) == (0, True, True), output
    code, output = run("reconstruct", model, tmp_path / "x.npz", "-n", 500, "-o", grid, "-f")
    assert (code, "24 held-out" in output, "trained on other" in output) == (0, True, False), output
    np.savez(tmp_path / "y.npz", images=images[:90], labels=np.arange(90) % 2)
    code, output = run("eval", model, tmp_path / "y.npz", "--classifier", stored)
    assert (code, "trained on other images" in output, "not a classifier trained" in output) == (1, True, True)
    np.savez(tmp_path / "wrong.npz", images=patches(60, rgb=True))
    code, output = run("eval", model, tmp_path / "wrong.npz")
    assert (code, "the model takes" in output) == (1, True), output
    np.savez(tmp_path / "none.npz", images=images)
    code, output = run("eval", model, tmp_path / "none.npz")
    assert (code, "no classes" in output) == (1, True), output


def test_commands_encode_and_decode(model_file: Path, tmp_path: Path) -> None:
    source, coded, decoded = tmp_path / "a.png", tmp_path / "a.dfc", tmp_path / "b.png"
    PilImage.fromarray(patches(1, seed=2)[0, :, :, 0]).save(source)
    code, output = run("encode", model_file, source, "-o", coded, "--size", 60)
    assert (code, output) == (0, f"{coded}: {coded.stat().st_size} bytes, {output.split()[-2]} dB\n")
    assert coded.stat().st_size <= 60
    assert run("decode", model_file, coded, "-o", decoded)[0] == 0
    with PilImage.open(source) as first, PilImage.open(decoded) as second:
        assert f"{psnr(np.asarray(first)[..., None], np.asarray(second)[..., None]):.2f}" in output
    assert run("decode", model_file, coded, "-o", decoded, "--height", 48, "-f")[0] == 0
    with PilImage.open(decoded) as image:
        assert image.size == (48, 48)
    assert "exists" in run("decode", model_file, coded, "-o", decoded)[1]
    assert run("encode", model_file, source, "-o", coded, "--size", 60, "--psnr", 20, "-f")[0] == 2
    PilImage.fromarray(skimage.data.camera()).save(source)
    code, output = run("encode", model_file, source, "-o", coded, "-f")
    assert (code, "the model takes [16, 16, 1]" in output) == (1, True)
