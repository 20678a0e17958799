"""Property tests: writing and reading are inverse for every field at both limits, and the coder
inverts any symbols with any table. The contents are random symbols, not results of an encoder.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import chain, product

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dfmcodec import container
from dfmcodec.codecs.coordinate.contents import QuantizedNetwork
from dfmcodec.codecs.decode import decode_image
from dfmcodec.codecs.wavelet.adaptation import ContextAdaptation
from dfmcodec.codecs.wavelet.colour import MAX_CHROMA_ANGLE, ColourBasis, Luma
from dfmcodec.codecs.wavelet.contents import QuantizedLatents, TileSymbols, WaveletArchitecture, tiling_of
from dfmcodec.codecs.wavelet.filter import MAX_RADIUS, ImageFilter, taps
from dfmcodec.codecs.wavelet.geometry import MAX_LEVELS, MAX_TILES, Geometry, Tiling
from dfmcodec.codecs.wavelet.quantizer import MAX_STEP
from dfmcodec.codecs.wavelet.sections.filter import read_filter, write_filter
from dfmcodec.codecs.wavelet.sections.latents import LatentsBody, read_symbols, write_symbols
from dfmcodec.codecs.wavelet.weights import shipped, weights_of
from dfmcodec.container.alpha import read_alpha, write_alpha
from dfmcodec.container.contents import Ancillary
from dfmcodec.container.metadata import MAX_METADATA_BYTES, _metadata_of, pack_metadata, unpack_metadata
from dfmcodec.entropy import LAPLACE_COUNT, SymbolDecoder, SymbolEncoder, laplace
from dfmcodec.entropy.tables import LAST_DIRECT, MAX_SYMBOL, RADIUS
from dfmcodec.errors import ConfigError, CorruptError, LimitError, UnsupportedVersionError
from dfmcodec.fourier.layer import MAX_WIDTH
from dfmcodec.fourier.network import MAX_DEPTH, CoordinateArchitecture
from dfmcodec.fourier.quantize import STEP_COUNT
from dfmcodec.image import Metadata
from dfmcodec.image.tiles import TILE_GRID
from dfmcodec.weights.registry import WAVELET

LARGEST_SIDE = 65535
MAX_CONSTANT = 1 << 14

property_test = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def ends(low: int, high: int) -> st.SearchStrategy[int]:
    """Integers, both ends often."""
    return st.sampled_from([low, high]) | st.integers(low, high)


def laplacian(seed: int, count: int, scale: float, limit: int) -> np.ndarray:
    values = np.rint(np.random.default_rng(seed).laplace(0, scale, count))
    return np.clip(values, -limit, limit).astype(np.int32)


seeds = st.integers(0, 2**32 - 1)
scales = st.sampled_from([0.0, 0.3, 5.0, 1e3, 1e6])
metadata = st.builds(
    Metadata,
    icc=st.none() | st.binary(min_size=1, max_size=40),
    exif=st.none() | st.binary(min_size=1, max_size=40),
    xmp=st.none() | st.binary(min_size=1, max_size=300),
)


# The coder.

symbols_of_any_size = st.one_of(
    st.integers(-MAX_SYMBOL, MAX_SYMBOL),
    st.integers(-3 * RADIUS, 3 * RADIUS),
    st.builds(
        lambda sign, power, change: sign * max(0, min(MAX_SYMBOL, (1 << power) + change)),
        st.sampled_from([-1, 1]),
        st.integers(0, 23),
        st.integers(-2, 2),
    ),
)


@settings(property_test, max_examples=150)
@given(
    st.lists(st.tuples(ends(0, LAPLACE_COUNT - 1), st.lists(symbols_of_any_size, max_size=12)), min_size=1, max_size=8),
    st.integers(0, 2),
)
def test_the_coder_inverts_runs_under_any_tables(runs, splits):
    """As one array under several tables and as arrays after each other, in one stream."""
    arrays = [np.array(values, dtype=np.int32) for _, values in runs]
    tables = [laplace(index) for index, _ in runs]
    encoder = SymbolEncoder()
    encoder.encode_runs(np.concatenate(arrays), list(zip(tables, map(len, arrays), strict=True)))
    for _ in range(splits):
        for array, table in zip(arrays, tables, strict=True):
            encoder.encode(array, table)
    decoder = SymbolDecoder(encoder.to_bytes())
    together = decoder.decode_runs(list(zip(tables, map(len, arrays), strict=True)))
    assert np.array_equal(together, np.concatenate(arrays))
    for _ in range(splits):
        for array, table in zip(arrays, tables, strict=True):
            assert np.array_equal(decoder.decode(len(array), table), array)


def test_every_table_holds_the_ends_and_the_edges_of_its_escape():
    for index in range(LAPLACE_COUNT):
        table = laplace(index)
        edge = RADIUS << table.shift
        half = (1 << table.shift) >> 1
        near = [at + change for at in (edge - half, edge, edge + half) for change in (-1, 0, 1)]
        sizes = [0, 1, MAX_SYMBOL, MAX_SYMBOL - 1, *near, *(1 << power for power in range(24))]
        values = np.array([sign * size for size in sizes if size <= MAX_SYMBOL for sign in (1, -1)], dtype=np.int32)
        for order in (values, values[::-1], np.repeat(values[:2], 50)):
            encoder = SymbolEncoder()
            encoder.encode(order, table)
            assert np.array_equal(SymbolDecoder(encoder.to_bytes()).decode(len(order), table), order), index


def test_every_table_of_the_weights_holds_every_entry():
    tables = shipped().context.tables
    values = np.array([*range(-RADIUS - 2, RADIUS + 3), MAX_SYMBOL, -MAX_SYMBOL], dtype=np.int32)
    runs = [(table, len(values)) for table in tables]
    encoder = SymbolEncoder()
    encoder.encode_runs(np.tile(values, len(tables)), runs)
    assert np.array_equal(SymbolDecoder(encoder.to_bytes()).decode_runs(runs), np.tile(values, len(tables)))
    assert len(tables) > LAST_DIRECT


# Coordinate networks.


def assert_network_comes_back(model: QuantizedNetwork, ancillary: Ancillary) -> None:
    data = container.write(model, container.ancillary_sections(ancillary))
    again, ancillary_again = container.read(data, max_pixels=LARGEST_SIDE**2)
    header = container.read_header(data, LARGEST_SIDE**2)
    assert (again.architecture, again.height, again.width) == (model.architecture, model.height, model.width)
    assert (again.step_indices, again.bit_depth) == (model.step_indices, model.bit_depth)
    assert np.array_equal(again.symbols, model.symbols)
    assert ancillary_again == ancillary
    assert (header.height, header.width, header.bit_depth) == (model.height, model.width, model.bit_depth)
    assert header.architecture == model.architecture
    assert sum(header.section_bytes().values()) == len(data) == header.file_bytes


def network(channels, depth, width, order, height, image_width, bit_depth, seed, scale, step) -> QuantizedNetwork:
    architecture = CoordinateArchitecture(channels, depth, width, order)
    symbols = laplacian(seed, architecture.weight_count, scale, MAX_SYMBOL)
    steps = tuple((step + layer) % STEP_COUNT for layer in range(depth))
    return QuantizedNetwork(architecture, height, image_width, symbols, steps, bit_depth)


@settings(property_test, max_examples=40)
@given(
    st.sampled_from([1, 3]),
    ends(1, 12),
    ends(1, 7),
    ends(1, MAX_WIDTH),
    ends(1, LARGEST_SIDE),
    ends(1, LARGEST_SIDE),
    st.sampled_from([8, 16]),
    seeds,
    scales,
    ends(0, STEP_COUNT - 1),
    metadata,
    st.booleans(),
)
def test_networks_come_back(
    channels, depth, width, order, height, image_width, bits, seed, scale, step, found, gray_as_rgb
):
    model = network(channels, depth, width, order, height, image_width, bits, seed, scale, step)
    assert_network_comes_back(model, Ancillary(found, None, gray_as_rgb and channels == 1))


@pytest.mark.parametrize(
    ("depth", "width", "order"),
    [(1, 1, 1), (MAX_DEPTH, 1, 1), (MAX_DEPTH, 8, 1), (2, MAX_WIDTH, 1), (2, MAX_WIDTH, 2), (2, 16, 64), (1, 64, 64)],
)
def test_networks_at_their_limits_come_back(depth, width, order):
    for channels, bits in ((1, 16), (3, 8)):
        model = network(channels, depth, width, order, LARGEST_SIDE, 1, bits, 7, 3.0, STEP_COUNT - 1)
        assert_network_comes_back(model, Ancillary())
        symbols = np.where(np.arange(len(model.symbols)) % 2, MAX_SYMBOL, -MAX_SYMBOL).astype(np.int32)
        assert_network_comes_back(replace(model, symbols=symbols), Ancillary())


@pytest.mark.parametrize("order", [1, 2])
def test_the_widest_networks_decode(order):
    """Frequencies of 64 inputs are numbers of 64 bits."""
    data = container.write(network(3, 2, MAX_WIDTH, order, 3, 2, 8, 1, 0.3, 40))
    assert decode_image(data).pixels.shape == (3, 2, 3)


# Latents.


def latents(
    height,
    width,
    colours=1,
    levels=1,
    q_step=640,
    angle=0,
    bits=8,
    tiles=(1, 1),
    seed=0,
    scale=1.0,
    luma=Luma.MEAN,
) -> QuantizedLatents:
    architecture = WaveletArchitecture(colours, levels, 4, 60, luma, WAVELET.id, *tiles)
    symbols = laplacian(seed, height * width * colours, scale, MAX_SYMBOL // 4)
    counts = [tile.geometry.symbol_count() for tile in tiling_of(architecture, height, width).tiles]
    parts = tuple(TileSymbols.of(part) for part in np.split(symbols, np.cumsum(counts)[:-1]))
    samples = np.zeros((colours, height, width), np.int32)
    return QuantizedLatents(architecture, height, width, q_step, angle, parts, samples, None, None, bits)


def some_filter(colours, radius, step_index, seed, scale) -> ImageFilter:
    count = len(taps(radius))
    symbols = laplacian(seed, colours * count * colours, scale, MAX_SYMBOL).reshape(colours, count, colours)
    return ImageFilter(radius, step_index, symbols)


def some_adaptation(model: QuantizedLatents, seed, scale) -> ContextAdaptation:
    tiling = tiling_of(model.architecture, model.height, model.width)
    none = ContextAdaptation.none(weights_of(model.architecture.weights_id).context, tiling.tiles[0].geometry)
    maps = laplacian(seed, none.maps.size, scale, MAX_SYMBOL).reshape(none.maps.shape)
    constants = laplacian(seed + 1, none.constants.size, scale, MAX_CONSTANT).reshape(none.constants.shape)
    return ContextAdaptation(maps, constants)


def assert_latents_come_back(model: QuantizedLatents, ancillary: Ancillary | None = None) -> QuantizedLatents:
    ancillary = ancillary or Ancillary()
    data = container.write(model, container.ancillary_sections(ancillary))
    again, ancillary_again = container.read(data)
    header = container.read_header(data)
    for name in ("architecture", "height", "width", "q_step", "chroma_angle", "bit_depth"):
        assert getattr(again, name) == getattr(model, name), name
    assert np.array_equal(again.symbols, model.symbols)
    assert again.samples.shape == model.samples.shape
    assert (again.image_filter is None) == (model.image_filter is None)
    if model.image_filter is not None:
        for name in ("radius", "step_index"):
            assert getattr(again.image_filter, name) == getattr(model.image_filter, name)
        assert np.array_equal(again.image_filter.symbols, model.image_filter.symbols)
    assert (again.adaptation is None) == (model.adaptation is None)
    if model.adaptation is not None:
        assert np.array_equal(again.adaptation.maps, model.adaptation.maps)
        assert np.array_equal(again.adaptation.constants, model.adaptation.constants)
    assert ancillary_again.metadata == ancillary.metadata
    assert ancillary_again.gray_as_rgb == ancillary.gray_as_rgb
    assert (ancillary_again.alpha is None) == (ancillary.alpha is None)
    if ancillary.alpha is not None:
        assert ancillary_again.alpha.dtype == ancillary.alpha.dtype
        assert np.array_equal(ancillary_again.alpha, ancillary.alpha)
    fields = header.fields["q_step"], header.fields["chroma_angle"], header.bit_depth
    assert fields == (model.q_step, model.chroma_angle, model.bit_depth)
    assert sum(header.section_bytes().values()) == len(data)
    assert container.write(again, container.ancillary_sections(ancillary_again)) == data
    return again


@settings(property_test, max_examples=40)
@given(st.data())
def test_latents_come_back(data):
    draw = data.draw
    height, width = draw(ends(1, 40)), draw(ends(1, 40))
    colours, bits = draw(st.sampled_from([1, 3])), draw(st.sampled_from([8, 16]))
    seed, scale = draw(seeds), draw(scales)
    model = latents(
        height,
        width,
        colours,
        draw(ends(1, MAX_LEVELS)),
        draw(ends(1, MAX_STEP)),
        draw(ends(0, MAX_CHROMA_ANGLE)),
        bits,
        seed=seed,
        scale=scale,
    )
    if draw(st.booleans()):
        chosen = some_filter(colours, draw(ends(1, MAX_RADIUS)), draw(ends(0, STEP_COUNT - 1)), seed, draw(scales))
        model = replace(model, image_filter=chosen)
    if draw(st.booleans()):
        model = replace(model, adaptation=some_adaptation(model, seed, draw(scales)))
    alpha = None
    if draw(st.booleans()):
        largest = draw(ends(0, (1 << bits) - 1))
        values = np.random.default_rng(seed).integers(0, largest + 1, (height, width))
        alpha = values.astype(np.uint8 if bits == 8 else np.uint16)
    assert_latents_come_back(model, Ancillary(draw(metadata), alpha, draw(st.booleans()) and colours == 1))


@pytest.mark.parametrize(("height", "width"), [(1, LARGEST_SIDE), (LARGEST_SIDE, 1)])
@pytest.mark.parametrize("scale", [0.0, 0.05])
def test_the_longest_images_come_back(height, width, scale):
    again = assert_latents_come_back(latents(height, width, 1, MAX_LEVELS, scale=scale))
    if not scale:
        data = container.write(again)
        assert len(data) < 600
        pixels = decode_image(data).pixels
        assert pixels.shape == (height, width, 1)
        assert np.abs(pixels.astype(int) - 128).max() <= 2


@pytest.mark.parametrize(
    ("q_step", "levels"),
    [(1, 1), (MAX_STEP, 1), (2, 2), (64, 3), (65, 4), (MAX_STEP - 1, 5), (1, MAX_LEVELS), (MAX_STEP, MAX_LEVELS)],
)
def test_steps_and_levels_come_back_as_images(q_step, levels):
    """Also with the largest symbols, whose synthesis is limited."""
    for scale in (2.0, 1e7):
        model = latents(9, 14, 3, levels, q_step, q_step % 256, 16, scale=scale)
        again = assert_latents_come_back(model)
        assert np.abs(again.samples).max() <= 1 << 16
        assert decode_image(container.write(again)).pixels.shape == (9, 14, 3)


@pytest.mark.parametrize("angle", [0, 1, 127, 128, 254, 255])
@pytest.mark.parametrize("luma", list(Luma))
def test_colour_bases_come_back_as_images(angle, luma):
    model = assert_latents_come_back(latents(6, 5, 3, 2, angle=angle, luma=luma))
    assert model.basis == ColourBasis(angle, luma)
    other = replace(model.architecture, luma=Luma.MEAN if luma is Luma.REC_601 else Luma.REC_601)
    images = [decode_image(container.write(each)).pixels for each in (model, replace(model, architecture=other))]
    assert not np.array_equal(*images)


def test_an_unknown_luma_is_refused():
    data = bytearray(container.write(latents(6, 5, 3, 2)))
    data[14] = max(Luma) + 1
    with pytest.raises(UnsupportedVersionError, match="luma"):
        container.read_header(bytes(data))


@pytest.mark.parametrize(
    ("height", "width", "tiles"),
    [
        (1, 2 * TILE_GRID, (1, 2)),
        (2 * TILE_GRID, 1, (2, 1)),
        (2, MAX_TILES * TILE_GRID, (1, MAX_TILES)),
        (MAX_TILES * TILE_GRID + 255, 1, (MAX_TILES, 1)),
        (2 * TILE_GRID + 1, 3 * TILE_GRID + 17, (2, 3)),
        (1, LARGEST_SIDE, (1, MAX_TILES)),
    ],
)
def test_tiles_come_back(height, width, tiles):
    model = latents(height, width, 1, 3, tiles=tiles, scale=0.05)
    assert_latents_come_back(replace(model, adaptation=some_adaptation(model, 3, 1.0)))


def test_more_tiles_than_fit_are_refused():
    with pytest.raises(ConfigError, match="tiles"):
        WaveletArchitecture(1, 1, 4, 60, Luma.MEAN, WAVELET.id, 1, MAX_TILES + 1)
    data = container.write(latents(1, 2 * TILE_GRID, 1, 1, tiles=(1, 2)))
    narrow = bytearray(data)
    narrow[8:10] = (2 * TILE_GRID - 1).to_bytes(2, "little")
    with pytest.raises(CorruptError, match="2 tiles along 511 pixels"):
        container.read_header(bytes(narrow))


@settings(property_test, max_examples=30)
@given(
    ends(1, 30),
    ends(1, 30),
    st.sampled_from([1, 3]),
    ends(1, MAX_LEVELS),
    ends(1, MAX_STEP),
    seeds,
    st.lists(st.sampled_from([0, 1, -1, 64, -65, MAX_SYMBOL // 4, -MAX_SYMBOL // 4]), min_size=1, max_size=9),
)
def test_passes_hold_the_largest_symbols_anywhere(height, width, colours, levels, q_step, seed, values):
    """Sequences of ends among zeros, under tables that expect others."""
    tiling = Tiling(height, width, colours, levels)
    count = height * width * colours
    symbols = np.zeros(count, dtype=np.int32)
    chosen = np.random.default_rng(seed).integers(0, count, min(count, 30))
    symbols[chosen] = np.resize(values, len(chosen))
    low = tiling.tiles[0].geometry.symbol_count(levels)
    symbols[:low] //= 64  # sums of differences stay within the symbols
    context = shipped().context
    body = LatentsBody(write_symbols(tiling, q_step, context, [TileSymbols.of(symbols)]))
    (found,), samples, _ = read_symbols(tiling, q_step, context, body)
    assert np.array_equal(found.values, symbols)
    assert np.abs(samples).max() <= 1 << 16


# Sections by themselves.


def test_filters_come_back():
    for case in product(range(1, MAX_RADIUS + 1), (0, STEP_COUNT - 1), (0, 1, MAX_SYMBOL, -MAX_SYMBOL), (1, 3)):
        radius, step_index, value, colours = case
        chosen = ImageFilter(radius, step_index, np.full((colours, len(taps(radius)), colours), value, np.int32))
        again = read_filter(write_filter(chosen), colours)
        assert (again.radius, again.step_index) == (radius, step_index)
        assert np.array_equal(again.symbols, chosen.symbols), case


@pytest.mark.parametrize(("weight", "constant"), [(0, 0), (MAX_SYMBOL, MAX_CONSTANT), (-MAX_SYMBOL, -MAX_CONSTANT)])
def test_adaptations_come_back(weight, constant):
    """Changes beyond what weights can be are limited when they are applied."""
    model = latents(8, 8, 3, 2)
    none = some_adaptation(model, 0, 0.0)
    adaptation = ContextAdaptation(np.full_like(none.maps, weight), np.full_like(none.constants, constant))
    assert_latents_come_back(replace(model, adaptation=adaptation))
    applied = adaptation.applied(shipped().context, Geometry(8, 8, 3, 2))
    for changed in applied.networks:
        changed.check_exact()
    with pytest.raises(ConfigError, match="adaptation"):
        ContextAdaptation(none.maps, np.full_like(none.constants, MAX_CONSTANT + 1))


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 2), (1, 1600), (1600, 1), (1537, 3)])
def test_opacity_comes_back(bits, height, width):
    kind, largest = (np.uint8, 255) if bits == 8 else (np.uint16, 65535)
    for alpha in chain(
        (np.full((height, width), value, kind) for value in (0, 1, largest)),
        [np.random.default_rng(0).integers(0, largest + 1, (height, width)).astype(kind)],
        [(largest * (np.arange(height * width).reshape(height, width) % 2)).astype(kind)],
    ):
        found = read_alpha(write_alpha(alpha), height, width, bits)
        assert found.dtype == kind
        assert np.array_equal(found, alpha)


def test_metadata_are_read_of_pairs_that_come_once():
    """As msgpack without its compiled part gives them."""
    assert _metadata_of(iter([("icc", b"profile"), ("xmp", b"packet")])) == Metadata(icc=b"profile", xmp=b"packet")


def test_metadata_of_any_size_comes_back():
    for size, name in product((1, 31, 255, 256, 65535, 65536, 1 << 20), ("icc", "exif", "xmp")):
        body = (bytes(range(256)) * (size // 256 + 1))[:size]
        assert unpack_metadata(pack_metadata(Metadata(**{name: body}))) == Metadata(**{name: body})


def test_metadata_up_to_the_limit_comes_back():
    overhead = len(pack_metadata(Metadata(icc=bytes(1 << 20)))) - (1 << 20)
    largest = Metadata(icc=bytes(MAX_METADATA_BYTES - overhead))
    packed = pack_metadata(largest)
    assert len(packed) == MAX_METADATA_BYTES
    assert unpack_metadata(packed) == largest
    with pytest.raises(ConfigError, match="metadata"):
        pack_metadata(Metadata(icc=largest.icc + b"x"))
    with pytest.raises(LimitError):
        unpack_metadata(packed + b"x")


@settings(property_test, max_examples=60)
@given(metadata)
def test_metadata_comes_back(found):
    assert unpack_metadata(pack_metadata(found) if found else None) == found
