"""Tests of the container: exact inverse, every field, and one error for each kind of damage."""

from __future__ import annotations

import numpy as np
import pytest
from common import with_crc
from hypothesis import given, settings
from hypothesis import strategies as st

from dfmcodec import container
from dfmcodec.codecs.coordinate.contents import QuantizedNetwork
from dfmcodec.codecs.coordinate.sections import estimate_network_bytes
from dfmcodec.container.contents import Ancillary
from dfmcodec.errors import (
    BadMagicError,
    CorruptError,
    FormatError,
    LimitError,
    TruncatedError,
    UnsupportedVersionError,
)
from dfmcodec.fourier.network import CoordinateArchitecture
from dfmcodec.image import Metadata
from dfmcodec.models import Model


def some_model(seed=0, depth=3, width=4, order=4, channels=3, height=20, image_width=30):
    arch = CoordinateArchitecture(channels, depth, width, order)
    rng = np.random.default_rng(seed)
    symbols = np.rint(rng.laplace(0, 20, arch.weight_count)).astype(np.int32)
    steps = tuple(int(step) for step in rng.integers(0, 256, depth))
    return QuantizedNetwork(arch, height, image_width, symbols, steps)


def assert_same(model: QuantizedNetwork, other: QuantizedNetwork) -> None:
    assert model.architecture == other.architecture
    assert (model.height, model.width, model.step_indices) == (other.height, other.width, other.step_indices)
    assert np.array_equal(model.symbols, other.symbols)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 12),
    st.integers(1, 6),
    st.integers(1, 8),
    st.sampled_from([1, 3]),
    st.integers(1, 65535),
    st.integers(1, 1000),
    st.none() | st.binary(min_size=1, max_size=50),
)
def test_write_then_read_is_the_identity(seed, depth, width, order, channels, height, image_width, exif):
    model = some_model(seed, depth, width, order, channels, height, image_width)
    ancillary = Ancillary(Metadata(exif=exif))
    data = container.write(model, container.ancillary_sections(ancillary))
    again, ancillary_again = container.read(data)
    assert_same(model, again)
    assert ancillary_again == ancillary
    header = container.read_header(data[: container.container_bytes(Model.COORDINATE) + 20])
    assert header.file_bytes == len(data)
    assert sum(header.section_bytes().values()) == len(data)


def test_estimate_is_the_size():
    for width in (3, 6, 9):
        model = some_model(width=width, order=width)
        assert abs(estimate_network_bytes(model) - len(container.write(model, checked=False))) <= 8


def test_container_overhead():
    model = some_model()
    header = container.read_header(container.write(model))
    assert header.section_bytes()["container"] == container.container_bytes(Model.COORDINATE) == 26


def test_truncation_at_every_byte_is_an_error():
    data = container.write(some_model(), container.ancillary_sections(Ancillary(Metadata(icc=b"profile"))))
    for size in range(len(data)):
        with pytest.raises(TruncatedError):
            container.read(data[:size])


def test_every_flipped_byte_is_an_error():
    data = container.write(some_model(), container.ancillary_sections(Ancillary(Metadata(icc=b"profile"))))
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 0x41
        with pytest.raises(FormatError):
            container.read(bytes(damaged))


def test_foreign_newer_and_longer_files_are_refused():
    data = container.write(some_model())
    with pytest.raises(BadMagicError, match=r"not a \.dfm file"):
        container.read(b"\x89PNG\r\n\x1a\n" + data)
    with pytest.raises(TruncatedError, match="empty"):
        container.read(b"")
    with pytest.raises(UnsupportedVersionError, match="version 2"):
        container.read(data[:4] + b"\x02" + data[5:])
    with pytest.raises(CorruptError, match="3 extra bytes"):
        container.read(data + b"abc")


@pytest.mark.parametrize(
    ("offset", "value", "error"),
    [
        (5, 9, UnsupportedVersionError),  # model
        (6, 2, CorruptError),  # channels
        (7, 12, UnsupportedVersionError),  # bit depth
        (12, 0, CorruptError),  # depth
        (13, 65, CorruptError),  # width of the network
        (14, 0, CorruptError),  # order
        (15, 4, UnsupportedVersionError),  # extension
        (16, 0, CorruptError),  # no section
    ],
)
def test_hostile_fields_with_a_right_checksum(offset, value, error):
    content = bytearray(container.write(some_model())[:-4])
    content[offset] = value
    with pytest.raises(error):
        container.read(with_crc(bytes(content)))


def test_hostile_sizes_are_refused_before_memory_is_spent():
    content = bytearray(container.write(some_model())[:-4])
    content[8:12] = b"\xff\xff\xff\xff"
    with pytest.raises(LimitError, match="limit"):
        container.read(with_crc(bytes(content)))
    content = bytearray(container.write(some_model(width=5, order=5))[:-4])
    content[12:15] = bytes([64, 64, 64])
    with pytest.raises(CorruptError, match="frequencies"):
        container.read(with_crc(bytes(content)))
