"""Tests that decoding needs at most the memory stated in SECURITY.md, and that hostile files cause
no warnings.
"""

from __future__ import annotations

import struct
import tracemalloc
from functools import partial

import numpy as np
import pytest
from common import with_crc

from dfmcodec import container
from dfmcodec.codecs.decode import DecodeRequest, decode_image, render
from dfmcodec.codecs.overfitted import decode as fitted
from dfmcodec.codecs.overfitted.contents import OverfittedArchitecture, QuantizedGrids
from dfmcodec.codecs.overfitted.grids import GRID_LEVELS, grid_sizes
from dfmcodec.weights.registry import OVERFITTED_SMALL, WAVELET

WIDTH = 256


def file_of(model: int, height: int, channels: int, further: bytes, section: int, body: bytes) -> bytes:
    """A file of one section. Its stream holds zeros, which any tables decode."""
    fields = channels, 8, WIDTH, height, 1, 60, 1, len(further), 1
    head = b"\x89DFM" + bytes([1, model]) + struct.pack("<BBHHBBBBB", *fields) + further
    return with_crc(head + struct.pack("<BI", section, len(body)) + body)


def latents_of(height: int, channels: int, levels: int) -> bytes:
    further = struct.pack("<BHBI", levels, 640, 0, WAVELET.id)
    return file_of(1, height, channels, further, 3, bytes([16] * channels) + bytes(40))


def grids_of(height: int, channels: int) -> bytes:
    """A file of symbols that are all zero."""
    arch = OverfittedArchitecture(channels, GRID_LEVELS, 1, 60, 1, OVERFITTED_SMALL.id)
    grids = tuple(np.zeros(size, np.int32) for size in grid_sizes(height, WIDTH, GRID_LEVELS))
    return container.write(QuantizedGrids(arch, height, WIDTH, 24, grids))


def peak_bytes(data: bytes) -> int:
    tracemalloc.start()
    try:
        decode_image(data)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("make", "bytes_per_pixel"),
    [
        (lambda height: latents_of(height, 3, 1), 3 * 64),
        (lambda height: latents_of(height, 1, 6), 64),
        *(pytest.param(partial(grids_of, channels=channels), 80, marks=pytest.mark.slow) for channels in (3, 1)),
    ],
    ids=["latents of one level", "gray latents", "grids", "gray grids"],
)
def test_memory_to_decode_is_as_documented(make, bytes_per_pixel, monkeypatch):
    monkeypatch.setattr("dfmcodec.threads._limit", 1)
    low, high = 256, 768
    decode_image(make(64))  # loads the pretrained weights
    more = peak_bytes(make(high)) - peak_bytes(make(low))
    assert more < bytes_per_pixel * WIDTH * (high - low)


@pytest.mark.parametrize("channels", [1, 3])
def test_colours_of_any_numbers_give_pixels_without_a_warning(channels, monkeypatch):
    arch = OverfittedArchitecture(channels, GRID_LEVELS, 1, 60, 1, OVERFITTED_SMALL.id)
    grids = tuple(np.zeros(size, np.int32) for size in grid_sizes(1, 5, GRID_LEVELS))
    colours = np.array([[[np.inf, -np.inf, np.nan, 3e38, 0.5]]] * 3, np.float32)
    monkeypatch.setattr(fitted, "synthesise_grids", lambda *_: colours.copy())
    model = QuantizedGrids(arch, 1, 5, 0, grids)
    pixels = render(model)
    assert pixels[0].tolist() == [[value] * channels for value in (255, 0, 0, 255, 128)]
    for value, expected in ((np.inf, 255), (-np.inf, 0), (np.nan, 0), (3e38, 255), (0.25, 64)):
        colours = np.full((3, 1, 5), value, np.float32)
        larger = decode_image(container.write(model), DecodeRequest(size=(8, 2))).pixels
        assert larger.tolist() == [[[expected] * channels] * 8] * 2
    colours = np.array([[[np.inf, -np.inf, np.nan, 3e38, 0.5]]] * 3, np.float32)
    assert decode_image(container.write(model), DecodeRequest(size=(8, 2))).pixels[0, [0, 2], 0].tolist() == [255, 0]
