"""Tests of untrusted image sets: decompression is limited, and only the requested arrays are
read.
"""

from __future__ import annotations

import gzip
import io
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

from dfmcodec.errors import DfmError, ImageError
from dfmcodec.files.arrays import read_arrays
from research.generative import data
from research.generative.data import read_images

IMAGES = np.random.default_rng(0).integers(0, 256, (60, 8, 8)).astype(np.uint8)
HEAD = struct.pack(">BBBB3I", 0, 0, 8, 3, *IMAGES.shape)


def npy_of(array) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def write_npz(path, **members: bytes) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, body in members.items():
            file.writestr(f"{name}.npy", body)


@pytest.mark.parametrize(
    ("head", "message"), [(b"\0\0\0\0", "neither an IDX file"), (HEAD, "more data"), (HEAD[:9], "neither an IDX")]
)
def test_a_packed_file_is_not_unpacked_beyond_its_header(tmp_path, head, message):
    path = tmp_path / "images-idx3.gz"
    with gzip.open(path, "wb") as file:
        file.write(head + bytes(IMAGES.size))
        if len(head) != 9:
            for _ in range(32):
                file.write(bytes(1 << 20))
    if len(head) == 9:
        path.write_bytes(gzip.compress(head))
    tracemalloc.start()
    try:
        with pytest.raises(ImageError, match=message):
            read_images(path)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_a_packed_file_is_read_and_its_damage_is_reported(tmp_path):
    path = tmp_path / "images-idx3.gz"
    packed = gzip.compress(HEAD + IMAGES.tobytes())
    path.write_bytes(packed)
    assert np.array_equal(read_images(path).images[..., 0], IMAGES)
    for wrong in (packed[:-20], packed[:100] + bytes(20) + packed[120:]):
        path.write_bytes(wrong)
        with pytest.raises(ImageError, match=r"cannot be read|bytes of data"):
            read_images(path)


def test_sets_beyond_the_limit_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "_MAX_BYTES", IMAGES.size - 1)
    (tmp_path / "images-idx3").write_bytes(HEAD)
    with pytest.raises(ImageError, match="limit"):
        read_images(tmp_path / "images-idx3")
    np.savez_compressed(tmp_path / "set.npz", images=IMAGES)
    with pytest.raises(DfmError, match="limit"):
        read_images(tmp_path / "set.npz")


def test_members_that_are_not_asked_for_are_not_read(tmp_path):
    write_npz(tmp_path / "set.npz", images=npy_of(IMAGES), other=b"not an array", huge=bytes(1 << 26))
    tracemalloc.start()
    try:
        assert np.array_equal(read_images(tmp_path / "set.npz").images[..., 0], IMAGES)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "body",
    [
        b"not an array",
        npy_of(IMAGES)[:-1],
        npy_of(IMAGES) + b"\0",
        npy_of(IMAGES).replace(b"(60, 8, 8)", b"(1<<40,)  ")[:200],
        npy_of(IMAGES).replace(b"(60, 8, 8), }", b"(9**9, 8, 8)}"),
        npy_of(IMAGES).replace(b"(60, 8, 8)", b"(6" + b"0" * 7 + b",)"),
    ],
)
def test_arrays_that_are_none_are_refused_before_they_are_made(tmp_path, body):
    write_npz(tmp_path / "set.npz", images=body)
    tracemalloc.start()
    try:
        with pytest.raises(DfmError, match="is not a readable"):
            read_images(tmp_path / "set.npz")
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_arrays_are_those_that_were_saved_and_may_be_changed(tmp_path):
    arrays = {"a": np.asfortranarray(np.arange(6.0).reshape(2, 3)), "b": np.array(3, "<f2"), "c": np.zeros((0, 4))}
    np.savez(tmp_path / "arrays.npz", **arrays)
    read = read_arrays(tmp_path / "arrays.npz")
    assert list(read) == list(arrays)
    for name, array in arrays.items():
        assert read[name].dtype == array.dtype
        np.testing.assert_array_equal(read[name], array)
        assert read[name].flags.writeable


def test_names_of_members_are_not_printed(tmp_path):
    write_npz(tmp_path / "set.npz", **{"\x1b]0;pwned\x07": npy_of(IMAGES)})
    with pytest.raises(ImageError, match="no array `images`; save it") as caught:
        read_images(tmp_path / "set.npz")
    assert str(caught.value).isprintable()
