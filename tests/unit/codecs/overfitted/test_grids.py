"""Tests of files of the overfitted codec: exact inverses, coded sizes, and errors for damage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import TypeVar

import numpy as np
import pytest
from common import with_crc
from overfitted_parts import TableCosts, installed, laplace_grids, random_network, some_weights

from dfmcodec import container
from dfmcodec._types import Symbols
from dfmcodec.codecs.decode import DecodeRequest, decode_best_effort, decode_image
from dfmcodec.codecs.overfitted import read_write as overfitted_read_write
from dfmcodec.codecs.overfitted.contents import OverfittedArchitecture, QuantizedGrids
from dfmcodec.codecs.overfitted.grids import GRID_LEVELS, grid_sizes
from dfmcodec.codecs.overfitted.sections.grids import GridsBody, grid_checks, read_grids, write_grids
from dfmcodec.codecs.overfitted.sections.networks import (
    TABLE_OFFSETS,
    bits_of_steps,
    delta_bits,
    read_networks,
    write_networks,
)
from dfmcodec.codecs.overfitted.traversal import traverse_grids
from dfmcodec.codecs.overfitted.weights import DELTA_NAMES, EXPONENTS, OverfittedWeights, WeightDeltas
from dfmcodec.container import Section, read_write
from dfmcodec.container.checks import checks_bytes
from dfmcodec.container.contents import Ancillary
from dfmcodec.entropy.tables import MAX_SYMBOL, SCALES_PER_OCTAVE, UNIT_SCALE_INDEX
from dfmcodec.errors import CorruptError, FormatError, TruncatedError, UnsupportedVersionError
from dfmcodec.image import Metadata
from dfmcodec.image.region import Region
from dfmcodec.models import Model

SIZES = [(1, 1), (1, 9), (7, 1), (40, 2), (3, 40), (33, 20), (65, 47)]
FIRST_FIELD = 17  # the offset of the further fields
Decoded = TypeVar("Decoded")


def random_deltas(weights: OverfittedWeights, exponents: tuple[int, ...], scale: float, seed: int = 0) -> WeightDeltas:
    symbols = np.rint(np.random.default_rng(seed).laplace(0, scale, weights.weight_count)).astype(np.int32)
    return WeightDeltas(exponents, symbols)


@pytest.fixture(scope="module", autouse=True)
def _weights() -> Iterator[None]:
    with installed(some_weights()):
        yield


def small_deltas(weights: OverfittedWeights) -> WeightDeltas:
    """Changes that leave an image what it is, nearly."""
    exponents = tuple(-4 + number % 3 for number in range(len(DELTA_NAMES)))
    return random_deltas(weights, exponents, scale=0.5)


def some_model(
    height: int = 33, width: int = 20, channels: int = 3, bit_depth: int = 8, changed: bool = True
) -> QuantizedGrids:
    weights = some_weights()
    arch = OverfittedArchitecture(channels, GRID_LEVELS, 1, weights.width, 1, weights.checksum)
    grids = laplace_grids(height, width, scale=1.0)
    return QuantizedGrids(arch, height, width, -6, grids, small_deltas(weights) if changed else None, bit_depth)


def checked_file(model: QuantizedGrids) -> bytes:
    """With checks, which so small files do not get otherwise."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(read_write, "CHECKS_FRACTION", 1.0)
        return container.write(model)


def section(data: bytes, wanted: Section) -> tuple[int, int]:
    """Start and end."""
    start, length = container.read_header(data).sections[wanted]
    return start, start + length


def result_or_refusal(decode: Callable[[], Decoded]) -> Decoded | FormatError:
    """What a call comes to: its result, or an error of one line; anything else is raised."""
    try:
        return decode()
    except FormatError as error:
        refusal = error
    assert "\n" not in str(refusal)
    return refusal


def assert_same_grids(found: list[Symbols] | tuple[Symbols, ...], wanted: tuple[Symbols, ...]) -> None:
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        assert one.dtype == np.int32
        assert np.array_equal(one, other)


# Grids section


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scale", [0.05, 3.0, 1000.0, MAX_SYMBOL / 40])
def test_reading_inverts_writing(size: tuple[int, int], scale: float) -> None:
    """For symbols in and far beyond the tables; and the size is what the tables say."""
    network = random_network()
    grids = tuple(np.clip(grid, -MAX_SYMBOL // 2, MAX_SYMBOL // 2) for grid in laplace_grids(*size, scale))
    given = [grid.copy() for grid in grids]
    body = write_grids(grids, network)
    assert_same_grids(given, grids)
    assert_same_grids(read_grids(GridsBody(body), grid_sizes(*size), network), grids)
    costs = TableCosts(grids, network)
    traverse_grids(grid_sizes(*size), network, costs)
    assert abs(8 * len(body) - sum(costs.bits)) <= 64 + 1e-4 * sum(costs.bits)


def test_a_wrong_symbol_does_not_match_its_check() -> None:
    """Checks are those of the grids from the coarsest on."""
    grids = laplace_grids(33, 20, 3.0)
    network, sizes = random_network(), grid_sizes(33, 20)
    body = write_grids(grids, network)
    checks = grid_checks(grids)
    assert_same_grids(read_grids(GridsBody(body, 0, checks), sizes, network), grids)
    for position in range(GRID_LEVELS):
        wrong = list(checks)
        wrong[position] ^= 1
        with pytest.raises(CorruptError, match=f"grid {GRID_LEVELS - 1 - position} .* please report"):
            read_grids(GridsBody(body, 0, wrong), sizes, network)


def damaged_bodies(body: bytes, count: int, rng: np.random.Generator) -> Iterator[bytes]:
    """With flipped bits, with a part overwritten, cut at any byte, and longer."""
    for number in range(count):
        damaged = bytearray(body)
        if number % 4 == 0:
            damaged = damaged[: rng.integers(len(damaged))]
        elif number % 4 == 1:
            start = rng.integers(len(damaged))
            damaged[start : start + 8] = rng.bytes(8)
        elif number % 4 == 2:
            damaged += rng.bytes(int(rng.integers(1, 9)))
        for _ in range(rng.integers(0 if number % 4 == 0 else 1, 4)):
            if damaged:
                damaged[rng.integers(len(damaged))] ^= 1 << rng.integers(8)
        yield bytes(damaged)


@pytest.mark.parametrize("scale", [0.3, pytest.param(100.0, marks=pytest.mark.slow)])
def test_damaged_grids_are_decoded_to_something_or_refused(scale: float) -> None:
    network, sizes = random_network(), grid_sizes(33, 20)
    body = write_grids(laplace_grids(33, 20, scale), network)
    rng = np.random.default_rng(0)
    outcomes = set()
    for damaged in damaged_bodies(body, 200, rng):
        missing = max(0, len(body) - len(damaged)) if rng.integers(2) else 0
        found = result_or_refusal(partial(read_grids, GridsBody(damaged, missing), sizes, network))
        outcomes.add(type(found))
        if isinstance(found, list):
            assert [grid.shape for grid in found] == sizes
            assert max(int(np.abs(grid).max()) for grid in found) <= MAX_SYMBOL
    assert outcomes == {CorruptError, TruncatedError, list}


def test_a_section_that_is_too_short_for_its_image_is_refused_before_memory_is_spent() -> None:
    with pytest.raises(CorruptError, match="cannot hold"):
        read_grids(GridsBody(bytes(8)), grid_sizes(60_000, 60_000), random_network())


# Networks section


@pytest.mark.parametrize("exponent", EXPONENTS)
@pytest.mark.parametrize("scale", [0.1, 40.0])
def test_changes_come_back(exponent: int, scale: float) -> None:
    """With every exponent at every kind of change; and the size is what the tables say."""
    weights = some_weights()
    kinds = range(len(DELTA_NAMES))
    exponents = tuple(EXPONENTS[(exponent - EXPONENTS[0] + 3 * kind) % len(EXPONENTS)] for kind in kinds)
    deltas = random_deltas(weights, exponents, scale, seed=exponent - EXPONENTS[0])
    body = write_networks(weights, deltas)
    found = read_networks(body, weights)
    assert found.exponents == exponents
    assert found.symbols.dtype == np.int32
    assert np.array_equal(found.symbols, deltas.symbols)
    bits, offsets = delta_bits(weights, deltas)
    assert len(offsets) == len(DELTA_NAMES)
    assert set(offsets) <= set(TABLE_OFFSETS)
    assert abs(8 * (len(body) - len(DELTA_NAMES)) - bits) <= 64


def test_tables_follow_the_steps_and_the_changes() -> None:
    """Half the steps make symbols twice as large, which have an index four further. What an image
    changes less or more than the pretrained weights expects is added to it.
    """
    weights = some_weights()
    weights = replace(weights, tables=np.full_like(weights.tables, UNIT_SCALE_INDEX))
    for exponent in (-2, 0, 1):
        deltas = random_deltas(weights, (exponent,) * len(DELTA_NAMES), 2.0 ** (1 - exponent))
        _, offsets = delta_bits(weights, deltas)
        many = np.bincount(weights.kinds(), minlength=len(DELTA_NAMES)) > 150
        assert many.any()
        assert np.abs(np.array(offsets) - SCALES_PER_OCTAVE)[many].max() <= 1
    nothing = WeightDeltas((0,) * len(DELTA_NAMES), np.zeros(weights.weight_count, dtype=np.int32))
    assert delta_bits(weights, nothing)[1] == (TABLE_OFFSETS[0],) * len(DELTA_NAMES)


@pytest.mark.parametrize("scale", [0.3, 30.0])
def test_the_bits_of_single_steps(scale: float) -> None:
    """Those of all changes are their sum, as long as the tables stay; and steps that are too large
    are not thought of.
    """
    weights = some_weights()
    exponents = (0,) * len(DELTA_NAMES)
    deltas = random_deltas(weights, exponents, scale, seed=3)
    more = bits_of_steps(weights, deltas)
    assert more.shape == (2, weights.weight_count)
    before, offsets = delta_bits(weights, deltas)
    for which, step in enumerate((-1, 1)):
        for at in np.random.default_rng(4).integers(weights.weight_count, size=40):
            symbols = deltas.symbols.copy()
            symbols[at] += step
            after, moved = delta_bits(weights, WeightDeltas(exponents, symbols))
            if moved == offsets:
                assert after - before == pytest.approx(more[which, at], abs=1e-6)
    huge = deltas.symbols.copy()
    huge[5] = -1023
    assert np.isinf(bits_of_steps(weights, WeightDeltas(exponents, huge))[:, 5]).all()


# Whole files


@pytest.mark.parametrize("size", [(1, 1), (33, 20)])
@pytest.mark.parametrize("changed", [False, True])
@pytest.mark.parametrize(("channels", "bit_depth"), [(1, 8), (3, 8), (1, 16), (3, 16)])
def test_a_file_reads_back_equal(size: tuple[int, int], changed: bool, channels: int, bit_depth: int) -> None:
    model = some_model(*size, channels, bit_depth, changed)
    exif = b"Exif\0\0II*\0"
    data = container.write(model, container.ancillary_sections(Ancillary(Metadata(exif=exif))))
    found, ancillary = container.read(data)
    assert isinstance(found, QuantizedGrids)
    assert_same_grids(found.grids, model.grids)
    assert replace(found, grids=model.grids, deltas=None) == replace(model, deltas=None)
    if model.deltas is None:
        assert found.deltas is None
    else:
        assert found.deltas is not None
        assert found.deltas.exponents == model.deltas.exponents
        assert np.array_equal(found.deltas.symbols, model.deltas.symbols)
    assert ancillary.metadata.exif == exif
    header = container.read_header(data)
    names = ["container", "metadata", *(["networks"] if changed else []), "grids"]
    assert sorted(header.section_bytes()) == sorted(names)
    entries = 5 * (len(names) - 2)
    assert header.section_bytes()["container"] == container.container_bytes(Model.OVERFITTED) + entries
    pixels = decode_image(data).pixels
    assert pixels.shape == (*size, channels)
    assert pixels.dtype == (np.uint8 if bit_depth == 8 else np.uint16)


def test_gray_is_the_mean_and_16_bits_are_finer() -> None:
    """The same grids as gray and as RGB, with 8 and with 16 bits."""
    pixels = {
        (channels, bits): decode_image(container.write(some_model(33, 20, channels, bits))).pixels.astype(np.float64)
        for channels in (1, 3)
        for bits in (8, 16)
    }
    pixel_weights = ((pixels[3, 8] > 0) & (pixels[3, 8] < 255)).all(axis=2)
    assert pixel_weights.sum() > 100
    for channels in (1, 3):
        assert np.abs(pixels[channels, 16] / 257 - pixels[channels, 8])[pixel_weights].max() <= 0.51
    assert np.abs(pixels[3, 16].mean(axis=2) - pixels[1, 16][..., 0])[pixel_weights].max() <= 1
    assert np.abs(pixels[3, 16] - pixels[1, 16])[pixel_weights].max() > 257


def test_regions() -> None:
    data = container.write(some_model(65, 47))
    image = decode_image(data)
    region = Region(11, 6, 50, 41)
    assert np.array_equal(
        decode_image(data, DecodeRequest(region=region)).pixels, image.pixels[region.rows, region.columns]
    )


def test_other_sizes() -> None:
    """A smooth image has the same colours in another size."""
    model = some_model(96, 64)
    data = container.write(replace(model, grids=tuple(2 * grid * (grid.shape[0] < 7) for grid in model.grids)))
    image = decode_image(data)
    assert np.ptp(image.pixels) > 8
    smaller = decode_image(data, DecodeRequest(size=(16, 24)))
    assert smaller.pixels.shape == (24, 16, 3)
    means = image.pixels.reshape(24, 4, 16, 4, 3).mean(axis=(1, 3))
    assert np.abs(smaller.pixels - means).mean() < 2


# Checks and damage


def test_checks_of_grids() -> None:
    model = some_model()
    data = checked_file(model)
    header = container.read_header(data)
    assert header.symbol_check_count == GRID_LEVELS
    start, end = section(data, Section.CHECKS)
    assert end - start == checks_bytes(2, GRID_LEVELS)
    checks = np.frombuffer(data[start:end], dtype="<u2")
    assert checks[1 + 2 : -1].tolist() == grid_checks(model.grids)
    found, _ = container.read(data)
    assert isinstance(found, QuantizedGrids)
    assert_same_grids(found.grids, model.grids)


def test_a_check_of_wrong_symbols_refuses_an_intact_file() -> None:
    """As of an encoder whose contexts are not the decoder's: all bytes are right."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(overfitted_read_write, "grid_checks", lambda grids: grid_checks([grids[0] + 1, *grids[1:]]))
        data = checked_file(some_model())
    with pytest.raises(CorruptError, match=r"grid 0 .* please report"):
        container.read(data)


def known_grids(found: tuple[Symbols, ...], wanted: tuple[Symbols, ...]) -> int:
    """The number of grids that are those that were written, from the coarsest on."""
    are_same = [np.array_equal(*pair) for pair in zip(reversed(found), reversed(wanted), strict=True)]
    return [*are_same, False].index(False)


@pytest.mark.parametrize("has_checks", [True, False])
def test_more_bytes_never_decode_fewer_grids(has_checks: bool) -> None:
    """Of a file that is cut off anywhere; and no symbol is wrong: those after the end are 0."""
    model = some_model(20, 14)
    data = checked_file(model) if has_checks else container.write(model, checked=False)
    start, end = section(data, Section.GRIDS)
    known, decoded, refused = 0, 0, 0
    for size in [*range(start, end + 4, 3), len(data) - 1]:
        losses: list[str] = []
        with pytest.raises(TruncatedError):
            container.read(data[:size])
        result = result_or_refusal(partial(container.read_region, data[:size], None, losses=losses))
        if isinstance(result, FormatError):
            assert "grids are missing from the start" in str(result)
            assert decoded == 0
            refused += 1
            continue
        assert losses
        found = result[0]
        assert isinstance(found, QuantizedGrids)
        for one, other in zip(found.grids, model.grids, strict=True):
            assert np.array_equal(one[one != 0], other[one != 0])
        now, symbols = known_grids(found.grids, model.grids), sum(int((grid != 0).sum()) for grid in found.grids)
        assert now >= known
        assert symbols >= decoded
        if now < GRID_LEVELS and size < end:
            assert any(loss.startswith("the finest details") for loss in losses)
        known, decoded = now, symbols
    assert refused > 0
    assert known == GRID_LEVELS


def test_a_prefix_is_a_blurrier_image() -> None:
    """The error falls with what is there of the file; an intact file loses nothing."""
    model = some_model(65, 47)
    data = container.write(model, checked=False)
    image, losses = decode_best_effort(data)
    assert not losses
    assert np.array_equal(image.pixels, decode_image(data).pixels)
    start, end = section(data, Section.GRIDS)
    errors = []
    for part in (0.2, 0.5, 0.8, 1.0):
        preview, losses = decode_best_effort(data[: start + round(part * (end - start))])
        assert losses
        errors.append(float(((preview.pixels.astype(float) - image.pixels) ** 2).mean()))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] == 0 < errors[-2]


def test_damaged_grids_are_used_up_to_the_first_wrong_check() -> None:
    """docs/format.md: the symbols of that grid and of those after it count as 0."""
    model = some_model()
    data = checked_file(model)
    start, end = section(data, Section.GRIDS)
    rng = np.random.default_rng(3)
    numbers = set()
    for number in range(150):
        damaged = bytearray(data)
        first = start if number % 10 == 0 else int(rng.integers(start, end))
        damaged[first : min(end, first + 8)] = rng.bytes(min(end, first + 8) - first)
        if damaged == data:
            continue
        with pytest.raises(CorruptError, match=r"the grids section .* is damaged"):
            container.read(bytes(damaged))
        losses: list[str] = []
        result = result_or_refusal(partial(container.read_region, bytes(damaged), None, losses=losses))
        if isinstance(result, FormatError):
            assert "damaged from the start" in str(result)
            numbers.add(0)
            continue
        found = result[0]
        assert isinstance(found, QuantizedGrids)
        assert any("damaged" in loss for loss in losses)
        known = known_grids(found.grids, model.grids)
        numbers.add(known)
        assert not any(grid.any() for grid in found.grids[: GRID_LEVELS - known])
    assert {0, GRID_LEVELS - 1} <= numbers
    assert len(numbers) >= 4


def test_networks_are_needed_completely() -> None:
    data = checked_file(some_model())
    start, end = section(data, Section.NETWORKS)
    damaged = bytearray(data)
    damaged[(start + end) // 2] ^= 4
    with pytest.raises(CorruptError, match=r"the networks section .* is damaged"):
        decode_best_effort(bytes(damaged))
    for size in (start, end - 1):
        with pytest.raises(TruncatedError, match="the networks section"):
            decode_best_effort(data[:size])


def test_the_largest_changes_give_an_image_or_an_error() -> None:
    """Which no encoder makes, but anyone can: numbers beyond float32 come to no warning either."""
    weights = some_weights()
    rng = np.random.default_rng(5)
    symbols = rng.choice([-MAX_SYMBOL, MAX_SYMBOL], weights.weight_count).astype(np.int32)
    deltas = WeightDeltas((EXPONENTS[-1],) * len(DELTA_NAMES), symbols)
    data = container.write(replace(some_model(), deltas=deltas), checked=False)
    result = result_or_refusal(partial(decode_image, data))
    assert isinstance(result, FormatError) or result.pixels.shape == (33, 20, 3)


@pytest.mark.parametrize(
    ("offset", "value", "error", "message"),
    [
        (15, 8, UnsupportedVersionError, "further bytes 8"),
        (FIRST_FIELD, 6, CorruptError, "grids 6"),
        (FIRST_FIELD, 8, CorruptError, "grids 8"),
        (FIRST_FIELD + 1, 57, CorruptError, "lmbda code 33"),
        (FIRST_FIELD + 1, 255, CorruptError, "lmbda code 231"),
        (FIRST_FIELD + 2, 0, UnsupportedVersionError, "needs weights .* later version .* before version 0.1.0"),
    ],
)
def test_wrong_fields_are_refused(offset: int, value: int, error: type[FormatError], message: str) -> None:
    content = bytearray(container.write(some_model())[:-4])
    if offset == FIRST_FIELD + 2:
        value = content[offset] ^ 0xFF
    content[offset] = value
    with pytest.raises(error, match=message):
        container.read(with_crc(bytes(content)))


def test_the_network_in_the_header_is_only_described() -> None:
    """Depth, layer width and order are the pretrained ones, whatever the header has."""
    data = container.write(some_model())
    content = bytearray(data[:-4])
    content[12:15] = bytes([0, 255, 7])
    assert np.array_equal(decode_image(with_crc(bytes(content))).pixels, decode_image(data).pixels)


def test_a_file_without_grids_is_refused() -> None:
    content = bytearray(container.write(some_model(changed=False))[:-4])
    at = FIRST_FIELD + 6
    assert content[at] == Section.GRIDS
    content[at] = Section.LATENTS
    with pytest.raises(CorruptError, match="no grids section"):
        container.read(with_crc(bytes(content)))
