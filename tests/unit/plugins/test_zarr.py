"""Tests of the Zarr codec: chunks as `.dfm` files, and refused arrays."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint
from typing import Any

import numpy as np
import pytest
from common import ROOT

import dfmcodec
from dfmcodec.errors import ConfigError, FormatError, ImageError
from dfmcodec.models import Model
from dfmcodec.options import EFFORTS
from dfmcodec.perception import psnr

zarr = pytest.importorskip("zarr", reason="zarr is not installed; it is in the extra zarr")

from dfmcodec.plugins import zarr as for_v3  # noqa: E402

HEIGHT, WIDTH = 8, 12


@pytest.fixture(autouse=True)
def _registered() -> None:
    """As the entry points do in an installation."""
    zarr.registry.register_codec("dfm", for_v3.DfmCodec)


@pytest.fixture(scope="module")
def cat() -> Any:
    """A photograph of four chunks, uint8 [16, 24, 3]."""
    import skimage.data

    return np.ascontiguousarray(skimage.data.chelsea()[40:136:6, 100:244:6])


def made(shape, chunks, dtype="uint8", store=None, **settings) -> Any:
    codec = {"name": "dfm", "configuration": {"quality": 75, "effort": 1, **settings}}
    return zarr.create_array(
        {} if store is None else store, shape=shape, chunks=chunks, dtype=dtype, serializer=codec, compressors=None
    )


def test_entry_points_name_the_codecs():
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    assert EntryPoint("dfm", groups["zarr.codecs"]["dfm"], "zarr.codecs").load() is for_v3.DfmCodec


def test_chunks_are_ordinary_files(cat, tmp_path):
    array = made(cat.shape, (HEIGHT, WIDTH, 3), store=tmp_path / "cat.zarr")
    array[:] = cat
    files = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("c/*/*/*"))
    assert files == [f"cat.zarr/c/{row}/{column}/0" for row in range(2) for column in range(2)]
    chunk = dfmcodec.decode(tmp_path / "cat.zarr/c/1/0/0").pixels
    again = zarr.open_array(tmp_path / "cat.zarr", mode="r")  # the codec by its name alone
    assert np.array_equal(again[HEIGHT:, :WIDTH], chunk)
    assert psnr(again[:], cat) > 30
    metadata = json.loads((tmp_path / "cat.zarr/zarr.json").read_text())
    assert metadata["codecs"] == [{"name": "dfm", "configuration": {"quality": 75.0, "effort": 1}}]


def planes(image: Any) -> Any:
    """[H, W, C] -> [C, H, W]."""
    return image.transpose(2, 0, 1)


@pytest.mark.parametrize(
    ("values_of", "chunks", "axes"),
    [
        (lambda image: image[:, :, 0], (HEIGHT, WIDTH), None),
        (lambda image: image[:, :, :1], (HEIGHT, WIDTH, 1), None),
        (lambda image: image, (HEIGHT, WIDTH, 1), None),
        (lambda image: image, (HEIGHT, WIDTH, 3), "yxc"),
        (lambda image: planes(image)[:1], (1, HEIGHT, WIDTH), "cyx"),
        (lambda image: planes(image), (1, HEIGHT, WIDTH), None),
        (lambda image: planes(image), (3, HEIGHT, WIDTH), "cyx"),
        (lambda image: planes(image)[None, :, None], (1, 3, 1, HEIGHT, WIDTH), "cyx"),
        (lambda image: np.stack([image, image[::-1]])[:, None], (1, 1, HEIGHT, WIDTH, 3), None),
    ],
)
def test_layouts_keep_the_image(values_of, chunks, axes, cat):
    values = values_of(cat[:HEIGHT, :WIDTH])
    codec = for_v3.DfmCodec(quality=75, effort=1, axes=axes)
    shape = {"shape": values.shape, "chunks": chunks, "dtype": "uint8"}
    array = zarr.create_array({}, compressors=None, serializer=codec, **shape)
    array[:] = values
    assert psnr(array[:], values) > 30


@pytest.mark.parametrize("dtype", ["uint16", ">u2"])
def test_sixteen_bits(dtype, cat):
    values = (cat[:HEIGHT, :WIDTH, 1].astype(dtype) * 257).astype(dtype)
    array = made(values.shape, (HEIGHT, WIDTH), dtype=dtype, psnr=40, quality=None)
    array[:] = values
    assert array.dtype == np.dtype(dtype)
    assert psnr(array[:].astype(np.uint16), values.astype(np.uint16)) > 39


@pytest.mark.parametrize(
    ("shape", "chunks", "dtype", "axes", "error"),
    [
        ((96, 128), (48, 64), "float32", None, ConfigError),
        ((96, 128), (48, 64), "int16", None, ConfigError),
        ((96, 128), (48, 64), "uint32", None, ConfigError),
        ((96, 128), (48, 64), "bool", None, ConfigError),
        ((96,), (48,), "uint8", None, ConfigError),
        ((96, 128, 4), (48, 64, 4), "uint8", None, ConfigError),
        ((96, 128, 2), (48, 64, 2), "uint8", "yxc", ConfigError),
        ((3, 96, 128), (3, 48, 64), "uint8", None, ConfigError),
        ((4, 96, 128), (2, 48, 64), "uint8", None, ConfigError),
        ((96, 128), (48, 64), "uint8", "yxc", ConfigError),
        ((70_000, 10), (70_000, 10), "uint8", None, ImageError),
        ((20_000, 20_000), (20_000, 20_000), "uint8", None, ImageError),
    ],
)
def test_arrays_that_are_no_images_are_refused_when_they_are_made(shape, chunks, dtype, axes, error, tmp_path):
    settings = {} if axes is None else {"axes": axes}
    with pytest.raises(error) as refused:
        made(shape, chunks, dtype, store=tmp_path / "a.zarr", **settings)
    assert "\n" not in str(refused.value)
    assert not list(tmp_path.rglob("zarr.json"))


@pytest.mark.parametrize(
    ("configuration", "words"),
    [
        ({}, "exactly one of quality, ssimulacra2, psnr, lmbda; found none"),
        ({"effort": 1}, "exactly one"),
        ({"quality": 75, "psnr": 40}, "found quality and psnr"),
        ({"quality": 101}, "0..100"),
        ({"quality": float("nan")}, "0..100"),
        ({"psnr": float("inf")}, "at most 1e"),
        ({"lmbda": 0}, "above 0"),
        ({"quality": "75"}, "give a number"),
        ({"quality": True}, "give a number"),
        ({"quality": 75, "effort": 2}, "one of 1, 3, 5, 7, 9"),
        ({"quality": 75, "effort": 2.5}, "an integer is needed"),
        ({"quality": 75, "axes": "xy"}, "yx, yxc, cyx"),
        ({"quality": 75, "axes": ["y", "x"]}, "yx, yxc, cyx"),
        ({"bpp": 1}, "'bpp' is not a parameter"),
    ],
)
def test_settings_are_checked(configuration, words):
    with pytest.raises(ConfigError) as refused:
        for_v3.DfmCodec.from_dict({"name": "dfm", "configuration": configuration})
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_settings_of_numpy_become_json():
    codec = for_v3.DfmCodec(quality=np.int64(75), effort=np.int64(1))
    assert json.loads(json.dumps(codec.to_dict())) == codec.to_dict()
    assert for_v3.DfmCodec.from_dict(codec.to_dict()) == codec


def test_empty_chunks_are_not_written(cat):
    array = made(cat.shape, (HEIGHT, WIDTH, 3))
    array[:HEIGHT, :WIDTH] = cat[:HEIGHT, :WIDTH]
    assert array.nchunks_initialized == 1
    assert not array[HEIGHT:].any()


def test_edge_chunks_are_padded_with_the_fill_value(cat, tmp_path):
    values = cat[:10, :15]
    array = made(values.shape, (HEIGHT, WIDTH, 3), store=tmp_path / "a.zarr")
    array[:] = values
    edge = dfmcodec.decode(tmp_path / "a.zarr/c/1/1/0").pixels
    assert edge.shape == (HEIGHT, WIDTH, 3)
    assert edge[4:].mean() < 20 < edge[:2, :3].mean()
    assert psnr(array[:], values) > 30


@pytest.mark.parametrize("damage", ["cut", "flipped", "other size", "other depth", "alpha", "no file"])
def test_chunks_that_are_no_such_images_are_refused(damage, cat, tmp_path):
    array = made(cat.shape, (HEIGHT, WIDTH, 3), store=tmp_path / "a.zarr")
    array[:HEIGHT, :WIDTH] = cat[:HEIGHT, :WIDTH]
    path = tmp_path / "a.zarr/c/0/0/0"
    data, part = path.read_bytes(), cat[:HEIGHT, :WIDTH]

    def encoded(samples: Any) -> bytes:
        return dfmcodec.encode(samples, effort=1).data

    path.write_bytes(
        {
            "cut": lambda: data[:-20],
            "flipped": lambda: data[:-9] + bytes([data[-9] ^ 1]) + data[-8:],
            "other size": lambda: encoded(part[:-1]),
            "other depth": lambda: encoded(part.astype(np.uint16) * 257),
            "alpha": lambda: encoded(np.dstack([part, part[:, :, 0]])),
            "no file": lambda: b"no image",
        }[damage]()
    )
    with pytest.raises(FormatError) as refused:
        array[:]
    assert "\n" not in str(refused.value)


def test_no_effort_needs_jax():
    for effort in EFFORTS:
        config = for_v3.DfmCodec(quality=75, effort=effort).encoder_config()
        assert config.models(1024 * 1024) == (Model.WAVELET,)
    program = (
        "import sys, numpy as np\n"
        "from dfmcodec.plugins.zarr import DfmCodec\n"
        "codec, chunk = DfmCodec(quality=75, effort=3), np.arange(64, dtype=np.uint8).reshape(8, 8)\n"
        "codec.decode_chunk(codec.encode_chunk(chunk), (8, 8), chunk.dtype)\n"
        "print(*{'jax', 'jaxlib', 'optax'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == []
