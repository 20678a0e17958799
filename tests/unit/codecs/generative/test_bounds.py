"""Tests of untrusted generative models: work, memory and numbers are limited, and text is
escaped.
"""

from __future__ import annotations

import struct
import tracemalloc
import zlib
from itertools import pairwise

import msgpack
import numpy as np
import pytest

from dfmcodec.codecs.decode import DecodeRequest, decode_image
from dfmcodec.codecs.generative.model import MAGIC, MAX_MODEL_BYTES, GenerativeModel, read_model, read_model_file
from dfmcodec.errors import CorruptError, LimitError


def with_crc(content: bytes) -> bytes:
    return content + struct.pack("<I", zlib.crc32(content))


def model_bytes(octaves=(0,), side=8, hidden=(), value=0.0, report=None, names=None, **architecture) -> bytes:
    """The file of a model with one dimension of code, all of whose parameters are the same."""
    sizes = [1, *hidden, 2 * 4 ** len(octaves) - 1]
    arrays = {}
    for index, (inputs, outputs) in enumerate(pairwise(sizes)):
        arrays[f"decoder_w{index}"] = np.full((inputs, outputs), value)
        arrays[f"decoder_b{index}"] = np.full(outputs, value)
    for name, shape in (("weights", 1), ("means", (1, 1)), ("axes", (1, 1, 1)), ("deviations", (1, 1))):
        arrays[f"density_{name}"] = np.ones(shape)
    head = {
        "architecture": {
            **{"height": side, "width": side, "channels": 1, "code_dim": 1, "hidden": list(hidden)},
            **{"depth": 1, "machine_width": 1, "order": 1, "octaves": list(octaves)},
            **architecture,
        },
        "arrays": names or [[name, list(array.shape)] for name, array in arrays.items()],
        "report": {} if report is None else report,
    }
    packed = msgpack.packb(head)
    body = b"".join(array.astype("<f2").tobytes() for array in arrays.values())
    return with_crc(b"\x89DFMG\x01" + struct.pack("<I", len(packed)) + packed + body)


def code_bytes(model: bytes, side: int, code: bytes = bytes([0, 128])) -> bytes:
    head = struct.pack(
        "<4sBBIBBBB", b"\x89DFM", 1, 2, *struct.unpack("<I", model[-4:]), side - 1, side - 1, 0, len(code)
    )
    return with_crc(head + code)


def test_memory_does_not_grow_with_the_frequencies():
    data = model_bytes(octaves=range(5), side=128)  # 1,024 frequencies: 650 MB for all positions at once
    model = read_model(data)
    tracemalloc.start()
    try:
        decode_image(code_bytes(data, 128), DecodeRequest(generator=model))
        assert tracemalloc.get_traced_memory()[1] < 128 << 20
    finally:
        tracemalloc.stop()


def test_images_do_not_depend_on_the_blocks():
    rng = np.random.default_rng(0)
    model = read_model(model_bytes(octaves=range(4), side=96))
    parameters = {name: 0.1 * rng.standard_normal(w.shape).astype(np.float32) for name, w in model.parameters.items()}
    drawn = GenerativeModel(model.architecture, parameters, model.density)
    codes = rng.standard_normal((3, 1)).astype(np.float32)
    images = drawn.paint(codes, 300, 400)
    assert np.ptp(images) > 20
    at = np.arange(300) / 300, np.arange(400) / 400
    for index, code in enumerate(codes):
        np.testing.assert_array_equal(drawn.paint_at(code[None], *at)[0], images[index])
        part = drawn.paint_at(code[None], at[0][100:110], at[1][:7])[0]
        assert np.abs(part.astype(int) - images[index, 100:110, :7]).max() <= 1


def test_a_model_that_takes_too_long_is_refused_before_it_is_evaluated(monkeypatch):
    data = model_bytes(octaves=range(3), side=16)
    model = read_model(data)
    work = model.architecture.multiply_adds * 16 * 16
    assert decode_image(code_bytes(data, 16), DecodeRequest(generator=model, max_multiply_adds=work)).pixels.shape == (
        16,
        16,
        1,
    )
    monkeypatch.setattr(GenerativeModel, "paint_at", lambda *_: pytest.fail("it is evaluated"))
    with pytest.raises(LimitError, match="max_multiply_adds"):
        decode_image(code_bytes(data, 16), DecodeRequest(generator=model, max_multiply_adds=work - 1))
    with pytest.raises(LimitError, match="max_multiply_adds"):
        decode_image(code_bytes(data, 16), DecodeRequest(generator=model, scale=2, max_multiply_adds=work))


@pytest.mark.parametrize(("hidden", "value"), [([1] * 16, 65504.0), ([8], 65504.0)])
def test_networks_whose_numbers_are_too_large_are_refused_without_a_warning(hidden, value):
    data = model_bytes(hidden=hidden, value=value)
    with pytest.raises(CorruptError, match="gives numbers beyond 8388608"):
        decode_image(code_bytes(data, 8, bytes([0, 255, 0xF0])), DecodeRequest(generator=read_model(data)))


def deep(depth: int) -> list:
    return [] if depth == 1 else [deep(depth - 1)]


@pytest.mark.parametrize(
    "report",
    [
        [1],
        "text",
        {"a": "x" * 1025},
        {"a": b"x"},
        {"a": deep(3)},
        {b"a": 1},
        {str(i): 1 for i in range(129)},
        {"a": [0] * 129},
        {"a": msgpack.ExtType(1, b"x")},
    ],
    ids=["list", "text", "long text", "bytes", "deep", "bytes as name", "many", "long list", "extension"],
)
def test_a_report_that_is_not_a_map_of_plain_values_is_refused(report):
    with pytest.raises(CorruptError, match="it is damaged"):
        read_model(model_bytes(report=report))


def test_a_report_of_plain_values_is_read():
    report = {"steps": 5, "recipe": {"rates": [0.1, 1], "name": "x" * 1024}, "a": None, "b": True}
    assert read_model(model_bytes(report=report)).report == report


def test_an_array_of_the_same_name_twice_is_refused():
    names = [[name, [1]] for name in ("decoder_w0", "decoder_w0")]
    with pytest.raises(CorruptError, match="array decoder_w0"):
        read_model(model_bytes(names=names))


@pytest.mark.parametrize(
    "options", [{"\x1b]0;pwned\x07\nsecond line\x1b[2J": 1}, {"names": [["\x1b[2J", [1 << 40]]]}, {"height": "\x1b[2J"}]
)
def test_text_of_the_file_is_escaped_in_messages(options):
    with pytest.raises(CorruptError) as caught:
        read_model(model_bytes(**options))
    assert str(caught.value).isprintable()
    assert "\\x1b" in str(caught.value)


def test_a_file_beyond_the_limit_is_not_read(tmp_path):
    with (tmp_path / "large.dfmg").open("wb") as file:
        file.write(MAGIC)
        file.truncate(MAX_MODEL_BYTES + 1)  # with a hole
    with pytest.raises(LimitError, match=r"large.dfmg has 268435457 bytes, more than the limit of 268435456"):
        read_model_file(tmp_path / "large.dfmg")
