"""Tests that a decoder written from docs/format.md alone agrees with the golden files and the
package.
"""

import ast
import functools
import random
import struct
import subprocess
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import msgpack
import numpy as np
import pytest
import reference_decoder as independent
from click.testing import CliRunner
from common import GENERATIVE, GOLDEN, ROOT, with_crc
from overfitted_parts import laplace_grids

import dfmcodec
from dfmcodec import container
from dfmcodec.cli import main as command
from dfmcodec.codecs.overfitted.contents import OverfittedArchitecture, QuantizedGrids
from dfmcodec.codecs.overfitted.weights import DELTA_NAMES, WeightDeltas, overfitted_weights_of
from dfmcodec.container import read_write
from dfmcodec.container.layout import Section
from dfmcodec.container.metadata import unpack_metadata
from dfmcodec.errors import DfmError
from dfmcodec.weights.registry import OVERFITTED_SMALL

FILES = sorted(GOLDEN.glob("*.dfm"))
CODES = sorted(GENERATIVE.glob("*.dfm"))
SMALL = [path for path in FILES if path.stat().st_size < 2000]
# files of which others have the same parts, and fewer symbols
SLOW = ("checked-tiles", "wavelet-adaptation", "wavelet-filter")
names = pytest.mark.parametrize(
    "path",
    [pytest.param(path, marks=[pytest.mark.slow] * path.stem.startswith(SLOW)) for path in FILES],
    ids=lambda path: path.stem,
)
code_names = pytest.mark.parametrize("path", CODES, ids=lambda path: path.stem)


@functools.cache
def decoded(path: Path) -> tuple[independent.File, independent.Symbols]:
    """Decoded once for all tests, as it is slow."""
    file = independent.read_file(path.read_bytes())
    return file, independent.read_symbols(file)


def read_png(data: bytes) -> np.ndarray:
    """Samples [H, W, n] of a PNG file; Pillow would cut 16 bits a sample to 8."""
    header, compressed, position = b"", b"", 8
    while position < len(data):
        (length,) = struct.unpack_from(">I", data, position)
        kind, body = data[position + 4 : position + 8], data[position + 8 : position + 8 + length]
        position += 12 + length
        if kind == b"IHDR":
            header = body
        elif kind == b"IDAT":
            compressed += body
    width, height, bits, colour_type, _, _, interlaced = struct.unpack(">IIBBBBB", header)
    assert bits in (8, 16)
    assert not interlaced
    n = {0: 1, 4: 2, 2: 3, 6: 4}[colour_type]
    step = n * bits // 8
    raw = zlib.decompress(compressed)
    above = bytearray(width * step)
    rows = []
    for y in range(height):
        start = y * (1 + width * step)
        method, row = raw[start], bytearray(raw[start + 1 : start + 1 + width * step])
        for i in range(len(row) if method else 0):
            a, b, c = (row[i - step], above[i], above[i - step]) if i >= step else (0, above[i], 0)
            if method == 1:
                prediction = a
            elif method == 2:
                prediction = b
            elif method == 3:
                prediction = (a + b) // 2
            else:
                prediction = min((abs(b - c), 0, a), (abs(a - c), 1, b), (abs(a + b - 2 * c), 2, c))[2]
            row[i] = (row[i] + prediction) & 255
        rows.append(bytes(row))
        above = row
    return np.frombuffer(b"".join(rows), ">u2" if bits == 16 else "u1").reshape(height, width, n)


@names
def test_image_is_the_golden_one_within_a_level(path: Path) -> None:
    file, symbols = decoded(path)
    image = independent.render(file, symbols).astype(np.int64)
    expected = read_png(path.with_suffix(".png").read_bytes()).astype(np.int64)
    assert image.shape == expected.shape
    difference = np.abs(image - expected)
    if independent.ALPHA in file.sections:
        assert difference[:, :, -1].max() == 0
        difference = difference[expected[:, :, -1] > 0]
    assert difference.max() <= 1


def symbols_in_order(file: independent.File, symbols: independent.Symbols) -> np.ndarray:
    """All symbols of the model as one array, in the order in which the package keeps them."""
    if file.model == independent.COORDINATE:
        return np.concatenate([part.ravel() for layer in symbols.layers for part in (layer.a, layer.b)])
    return np.concatenate([group for tile in symbols.tiles for group in tile.in_order(file.further[0])])


def assert_same_symbols(file: independent.File, symbols: independent.Symbols, model: Any) -> None:
    """Compares all that was decoded with a `QuantizedNetwork`, `QuantizedLatents` or
    `QuantizedGrids` of the package, exactly.
    """
    if file.model == independent.OVERFITTED:
        assert_same_grids(symbols, model)
        return
    np.testing.assert_array_equal(symbols_in_order(file, symbols), model.symbols)
    if file.model == independent.COORDINATE:
        assert tuple(layer.step_index for layer in symbols.layers) == model.step_indices
        return

    arch = model.architecture
    slices = independent.tile_slices(file.height, file.width, arch.tile_rows, arch.tile_columns)
    for tile, (y, x) in zip(symbols.tiles, slices, strict=True):
        np.testing.assert_array_equal(np.stack(tile.planes), model.samples[:, y, x])

    assert (symbols.filter is None) == (model.image_filter is None)
    if symbols.filter is not None:
        assert symbols.filter.radius == model.image_filter.radius
        assert symbols.filter.step_index == model.image_filter.step_index
        taps = np.concatenate(symbols.filter.symbols, axis=1)
        np.testing.assert_array_equal(taps, model.image_filter.symbols)

    own = symbols.adaptation
    assert (own is None) == (model.adaptation is None)
    if own is not None:
        np.testing.assert_array_equal(np.stack([own.scale_weights, own.mean_weights], axis=1), model.adaptation.maps)
        constants = np.stack([own.scale_constants, own.mean_constants], axis=2)
        np.testing.assert_array_equal(constants, model.adaptation.constants)


def assert_same_grids(symbols: independent.Symbols, model: QuantizedGrids) -> None:
    """Compares the grids and the changes of the networks."""
    for own, expected in zip(symbols.grids, model.grids, strict=True):
        np.testing.assert_array_equal(own, expected)
    assert (symbols.deltas is None) == (model.deltas is None)
    if symbols.deltas is not None and model.deltas is not None:
        assert tuple(symbols.deltas.exponents) == model.deltas.exponents
        np.testing.assert_array_equal(symbols.deltas.symbols, model.deltas.symbols)


@names
def test_symbols_are_those_of_the_package(path: Path) -> None:
    assert_same_symbols(*decoded(path), container.read(path.read_bytes())[0])


def test_metadata_are_those_of_the_package() -> None:
    seen = 0
    for path in FILES:
        file = independent.read_file(path.read_bytes())
        if independent.METADATA in file.sections:
            expected = container.read(path.read_bytes())[1].metadata.present()
            if "exif" in expected:  # the package puts the prefix, which files leave out, before it
                expected["exif"] = expected["exif"].removeprefix(b"Exif\0\0")
            found = independent.read_metadata(file.sections[independent.METADATA], file.bits)
            assert found == expected
            seen += 1
    assert seen


CICP = bytes((9, 16, 0, 1))
BITS = b"\x0a"
VALID_POINTS = [(22, 18, 0, 0), (1, 1, 0, 1), (2, 2, 0, 1)]
OTHER_POINTS = [(9, 16, 9, 1), (9, 16, 0, 7), (0, 16, 0, 1), (3, 1, 0, 1), (13, 1, 0, 1), (9, 3, 0, 1), (9, 19, 0, 1)]


@pytest.mark.parametrize("bit_depth", [8, 16])
@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([(b"icc", b"x"), (b"exif", b""), (b"cicp", CICP)], {"icc": b"x", "cicp": CICP}),
        ([(b"icc", b"x"), (b"bits", BITS)], {"icc": b"x", "bits": BITS}),
        ([(b"\xef\xbb\xbficc", b"x")], {}),
        ([(b"\xef\xbb\xbficc", b"x"), (b"icc", b"y")], {"icc": b"y"}),
        ([(b"k" * 64, b"x")], {}),
        ([(b"k" * 65, b"x")], None),
        ([("\u00e9".encode() * 32 + b"k", b"x")], None),
        ([(b"\xff", b"x")], None),
        ([(b"\xed\xa0\x80", b"x")], None),  # half of a surrogate pair
        ([(b"\xc0\x80", b"x")], None),  # longer than it has to be
        ([(b"bits", b"\x10")], None),
        ([(b"cicp", b"\x09")], None),
        ([(b"cicp", b"")], None),
        *(([(b"cicp", bytes(points)), (b"icc", b"x")], {"icc": b"x"}) for points in OTHER_POINTS),
        *(([(b"cicp", bytes(points))], {"cicp": bytes(points)}) for points in VALID_POINTS),
    ],
)
def test_metadata_mean_the_same_to_both(
    entries: list[tuple[bytes, bytes]], expected: dict[str, bytes] | None, bit_depth: int
) -> None:
    """web/test/metadata.test.js has the same cases."""
    section = bytes([0x80 + len(entries)]) + b"".join(
        bytes([0xD9, len(name)]) + name + bytes([0xC4, len(value)]) + value for name, value in entries
    )
    if expected is None:
        with pytest.raises(independent.FormatError):
            independent.read_metadata(section, bit_depth)
        with pytest.raises(DfmError):
            unpack_metadata(section, bit_depth)
        return
    expected = {name: value for name, value in expected.items() if name != "bits" or bit_depth == 16}
    assert independent.read_metadata(section, bit_depth) == expected
    assert unpack_metadata(section, bit_depth).present() == expected


def damaged(complete: bytes, rng: random.Random) -> bytes:
    """A file with bits flipped or Laplace indices set in its sections, and the CRC-32 made right
    again.
    """
    data = bytearray(complete[:-4])
    first = 17 + data[15] + 5 * data[16]
    if rng.random() < 0.5:
        for _ in range(rng.choice((1, 1, 4))):
            data[rng.randrange(first, len(data))] ^= 1 << rng.randrange(8)
    else:
        data[first + rng.randrange(min(4, len(data) - first))] = rng.randrange(112)
    return bytes(data) + struct.pack("<I", zlib.crc32(data))


@pytest.mark.parametrize("seed", [*range(15), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(15, 60))])
def test_damaged_streams_mean_the_same_to_both(seed: int) -> None:
    """Damage leads where no encoder goes: to long escapes, large shifts and values at their limits.

    Files with checks are left out: the document leaves to a reader how much of them it compares.
    """
    rng = random.Random(seed)
    path = rng.choice([path for path in SMALL if not path.name.startswith("checked")])
    assert_same_to_both(damaged(path.read_bytes(), rng))


def read_by_reference(data: bytes) -> None:
    """Decodes a file by the reference decoder, its metadata too."""
    independent.decode(data)
    file = independent.read_file(data)
    independent.read_metadata(file.sections[independent.METADATA], file.bits)


def assert_same_to_both(data: bytes) -> None:
    """Decodes a file by both, to the same symbols or to a refusal."""
    try:
        model = container.read(data)[0]
    except DfmError:
        with pytest.raises(independent.FormatError):
            read_by_reference(data)
    else:
        file = independent.read_file(data)
        assert_same_symbols(file, independent.read_symbols(file), model)


any_seed = pytest.mark.parametrize(
    "seed", [*range(5), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(5, 10))]
)


def overfitted_model(seed: int, scale: float, deltas: WeightDeltas | None) -> QuantizedGrids:
    """Random grids of the overfitted codec under the shipped weights, of an image of any kind."""
    weights = overfitted_weights_of(OVERFITTED_SMALL.id)
    height, width = [(19, 26), (30, 1), (1, 1), (2, 30), (64, 3)][seed % 5]
    channels, bits = (1 if seed % 3 == 0 else 3), (16 if seed % 4 == 0 else 8)
    grids = tuple(np.clip(grid, -(2**23), 2**23) for grid in laplace_grids(height, width, scale, seed))
    arch = OverfittedArchitecture(channels, len(grids), 1, weights.width, 1, weights.checksum)
    return QuantizedGrids(arch, height, width, -24 + 56 * seed % 57, grids, deltas, bits)


def random_deltas(seed: int, exponents: range, scale: float) -> WeightDeltas:
    """Changes of all weights by symbols of this scale."""
    rng = np.random.default_rng(seed)
    symbols = np.rint(rng.laplace(0, scale, overfitted_weights_of(OVERFITTED_SMALL.id).weight_count))
    own = rng.integers(exponents[0], exponents[-1] + 1, len(DELTA_NAMES))
    return WeightDeltas(tuple(own.tolist()), symbols.astype(np.int32))


@any_seed
def test_any_grids_mean_the_same_to_both(seed: int) -> None:
    """Symbols up to the largest, and networks that were changed by anything; whole and damaged."""
    deltas = random_deltas(seed, range(-8, 8), 2.0 ** (seed % 7)) if seed % 4 else None
    data = container.write(overfitted_model(seed, 2.0 ** (2 * seed + 1), deltas), checked=False)
    file = independent.read_file(data)
    assert_same_symbols(file, independent.read_symbols(file), container.read(data)[0])
    rng = random.Random(seed)
    for _ in range(5):
        assert_same_to_both(damaged(data, rng))


@any_seed
def test_images_of_grids_are_those_of_the_package_within_a_level(seed: int) -> None:
    """With networks that were changed by a little."""
    deltas = random_deltas(seed, range(-6, -2), 1.0) if seed % 4 else None
    data = container.write(overfitted_model(seed, 1.0, deltas))
    image, expected = independent.decode(data), dfmcodec.decode(data).pixels
    assert image.dtype == expected.dtype
    assert np.abs(image.astype(np.int64) - expected.reshape(image.shape)).max() <= 1


def test_checks_of_grids_that_do_not_agree_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong check of the header, of each section and grid, and of the checks themselves."""
    monkeypatch.setattr(read_write, "CHECKS_FRACTION", 1.0)  # so small files do not get checks otherwise
    data = container.write(overfitted_model(5, 1.0, random_deltas(5, range(-6, -2), 1.0)))
    file = independent.read_file(data)
    independent.decode(data)
    start = len(file.head)
    assert next(iter(file.sections)) == independent.CHECKS
    assert len(file.sections[independent.CHECKS]) == 2 * (1 + 2 + 7 + 1)
    for i in range(0, 22, 2):
        wrong = bytearray(data[:-4])
        wrong[start + i] ^= 1
        with pytest.raises(independent.FormatError):
            independent.decode(with_crc(bytes(wrong)))


def test_fitted_files_that_the_document_does_not_allow_are_refused() -> None:
    data = container.write(overfitted_model(1, 1.0, random_deltas(1, range(-6, -2), 1.0)), checked=False)[:-4]
    independent.decode(with_crc(data))
    table = 17 + 6
    assert (data[table], data[table + 5]) == (independent.NETWORKS, independent.GRIDS)
    for at, value in (
        (15, 5),  # the length of the further fields
        (17, 6),  # grids
        (18, 57),  # lmbda code
        (19, data[19] ^ 1),  # the pretrained weights
        (table, independent.WEIGHTS),  # another model's section
        (table, 12),  # an unknown section
        (table, independent.GRIDS),  # the same section again
        (table + 5, independent.RGB),  # there are no grids
    ):
        wrong = bytearray(data)
        wrong[at] = value
        with pytest.raises(independent.FormatError):
            independent.decode(with_crc(bytes(wrong)))
    sizes = struct.pack("<HH", 65535, 1365)  # of an image that the section is too short for
    with pytest.raises(independent.FormatError, match="too short"):
        independent.decode(with_crc(data[:8] + sizes + data[12:]))


@pytest.mark.parametrize(("section", "is_first"), [(128, True), (255, False)])
def test_sections_that_change_no_sample_are_skipped(section: int, is_first: bool) -> None:
    data = container.write(overfitted_model(1, 1.0, random_deltas(1, range(-6, -2), 1.0)), checked=False)
    changed = with_section(data, section, is_first)
    assert np.array_equal(independent.decode(changed), independent.decode(data))
    assert np.array_equal(dfmcodec.decode(changed).pixels, dfmcodec.decode(data).pixels)
    assert f"unknown {section}" in dfmcodec.read_info(changed).section_bytes()
    refused = with_section(data, 127, is_first)
    with pytest.raises(independent.FormatError):
        independent.decode(refused)
    with pytest.raises(dfmcodec.UnsupportedVersionError, match="section 127"):
        dfmcodec.decode(refused)


@pytest.mark.parametrize("section", [Section.LATENTS, Section.RGB])
def test_sections_that_no_writer_writes_are_refused(section: int) -> None:
    """One of another model, and an rgb section that is not empty."""
    data = with_section((GOLDEN / "overfitted-small.dfm").read_bytes(), section, False)
    with pytest.raises(independent.FormatError):
        independent.decode(data)
    with pytest.raises(dfmcodec.CorruptError, match=r"of another model|not empty"):
        dfmcodec.decode(data)


def with_section(data: bytes, section: int, is_first: bool) -> bytes:
    """An overfitted file with one section more."""
    table, body = 17 + 6, b"of no decoder"
    first, last = table + 5 * data[16], len(data) - 4
    entry, at = struct.pack("<BI", section, len(body)), (table, first) if is_first else (first, last)
    head = data[:16] + bytes([data[16] + 1]) + data[17 : at[0]]
    return with_crc(head + entry + data[at[0] : at[1]] + body + data[at[1] : last])


@pytest.mark.parametrize("length", [0, 3, 4, 16, 17, 25, -4, -1])
def test_truncated_files_are_refused(length: int) -> None:
    data = SMALL[0].read_bytes()
    with pytest.raises(independent.FormatError):
        independent.decode(data[:length])


def test_flipped_bits_are_refused() -> None:
    for path in (*SMALL, *CODES):
        data = path.read_bytes()
        rng = random.Random(path.name)
        for _ in range(50):
            flipped = bytearray(data)
            flipped[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            with pytest.raises(independent.FormatError):
                independent.read_file(bytes(flipped))


def test_bytes_after_the_end_are_refused() -> None:
    with pytest.raises(independent.FormatError):
        independent.decode(SMALL[0].read_bytes() + b"\0")


@pytest.mark.parametrize("stem", ["wavelet-deep", "wavelet-deep-alpha", "wavelet-alpha", "wavelet-gray"])
def test_command_writes_the_image(stem: str, tmp_path: Path) -> None:
    path = GOLDEN / f"{stem}.dfm"
    assert independent.main([str(path), str(tmp_path / "out.png")]) == 0
    file, symbols = decoded(path)
    np.testing.assert_array_equal(read_png((tmp_path / "out.png").read_bytes()), independent.render(file, symbols))


def test_command_names_what_it_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "no.dfm").write_bytes(b"GIF89a")
    assert independent.main([str(tmp_path / "no.dfm"), str(tmp_path / "out.png")]) == 1
    assert "not a .dfm file" in capsys.readouterr().err
    assert not (tmp_path / "out.png").exists()


def model_path(path: Path) -> Path:
    """The file of the generative model that a golden code is of."""
    return path.with_name(path.name.partition("-")[0] + ".dfmg")


@code_names
def test_code_is_the_golden_one(path: Path) -> None:
    """The image may differ by a level; test_manifest.py compares the symbols."""
    model = model_path(path).read_bytes()
    file = independent.read_file(path.read_bytes())
    symbols = independent.read_symbols(file, model)
    image = independent.render(file, symbols, model).astype(np.int64)
    expected = read_png(path.with_suffix(".png").read_bytes()).astype(np.int64)
    assert image.shape == expected.shape
    assert np.abs(image - expected).max() <= 1


def altered_model(data: bytes, rng: np.random.Generator, components: int = 3) -> bytes:
    """A golden model of so many components (its own, over and over) whose axes are in another
    order, and stronger.

    So each bit of a code is seen.
    """
    arrays = independent.read_model(data).arrays
    for name in arrays:
        if name.startswith("density_"):
            arrays[name] = np.resize(arrays[name], (components, *arrays[name].shape[1:]))
    order = rng.permutation(arrays["density_axes"].shape[2])
    arrays["density_axes"] = 3 * arrays["density_axes"][:, :, order]
    arrays["density_deviations"] = arrays["density_deviations"][:, order]
    head = msgpack.unpackb(data[10 : 10 + int.from_bytes(data[6:10], "little")])
    head["arrays"] = [(name, array.shape) for name, array in arrays.items()]
    packed = msgpack.packb(head)
    body = b"".join(array.astype("<f2").tobytes() for array in arrays.values())
    return with_crc(data[:6] + struct.pack("<I", len(packed)) + packed + body)


def start_and_code(path: Path) -> tuple[bytes, bytes]:
    """Of a golden code the header up to its kinds, and the code section."""
    data = path.read_bytes()
    assert data[12] >> 2 == 0, "it has further sections"
    assert data[13] == len(data) - 14 - 4, "the length of its code is not one byte"
    return data[:13], data[14:-4]


def code_file(start: bytes, code: bytes, others: Sequence[tuple[int, bytes]] = (), spare: int = 0) -> bytes:
    """A file of model 2 with these sections beside the code; `spare` zero bytes lengthen the length
    of the code.
    """
    kinds = start[12] | len(others) << 2
    digits = [len(code) >> shift & 127 for shift in range(0, 28, 7) if shift == 0 or len(code) >> shift]
    digits += [0] * spare
    length = bytes([128 | digit for digit in digits[:-1]] + digits[-1:])
    table = b"".join(struct.pack("<BI", identifier, len(body)) for identifier, body in others)
    bodies = b"".join(body for _, body in others)
    return with_crc(start[:12] + bytes([kinds]) + length + table + code + bodies)


def assert_same_images(files: Sequence[bytes], model: bytes, folder: Path) -> None:
    """Compares the images of files of model 2 with those that the package's command writes, within
    a level.
    """
    (folder / "model.dfmg").write_bytes(model)
    sources = [folder / f"{i}.dfm" for i in range(len(files))]
    for source, data in zip(sources, files, strict=True):
        source.write_bytes(data)
    arguments = ["decode", *map(str, sources), "--generator", str(folder / "model.dfmg"), "-O", str(folder)]
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 0, result.output
    for source, data in zip(sources, files, strict=True):
        image = independent.decode(data, model).astype(np.int64)
        expected = read_png(source.with_suffix(".png").read_bytes())
        assert image.shape == expected.shape
        assert np.abs(image - expected).max() <= 1


@pytest.mark.parametrize("components", [3, 256, 257])
@pytest.mark.parametrize("name", ["gray", "rgb"])
def test_any_code_of_any_axes_means_the_same_to_both(name: str, components: int, tmp_path: Path) -> None:
    """Random streams under models whose axes are not sorted, by the package's command."""
    rng = np.random.default_rng(0)
    golden = next(path for path in CODES if path.name.startswith(f"{name}-"))
    model = altered_model(model_path(golden).read_bytes(), rng, components)
    start = start_and_code(golden)[0]
    start = start[:6] + model[-4:] + start[10:]
    files = []
    for step_index, length in zip(range(90, 133, 6), (0, 1, 10, 23, 32, 125, 126, 20_000), strict=True):
        component = components - 1 if len(files) == 0 else int(rng.integers(components))
        code = component.to_bytes(1 if components <= 256 else 2, "little") + bytes([step_index]) + rng.bytes(length)
        files.append(code_file(start, code))
    assert_same_images(files, model, tmp_path)


def with_checks(start: bytes, code: bytes, others: Sequence[tuple[int, bytes]]) -> bytes:
    """A file of model 2 with these sections beside the code, and checks before them."""
    blank = code_file(start, code, [(independent.CHECKS, bytes(2 * (3 + len(others)))), *others])
    checks = b""
    for part in (independent.read_file(blank).head, code, *(body for _, body in others)):
        checks += struct.pack("<H", zlib.crc32(part) & 0xFFFF)
    checks += struct.pack("<H", zlib.crc32(checks) & 0xFFFF)
    return code_file(start, code, [(independent.CHECKS, checks), *others])


@code_names
def test_sections_beside_a_code_mean_the_same_to_both(path: Path, tmp_path: Path) -> None:
    (start, code), model = start_and_code(path), model_path(path).read_bytes()
    complete = independent.decode(path.read_bytes(), model)
    metadata = independent.METADATA, msgpack.packb({"xmp": b"<x/>"})
    alpha = independent.ALPHA, struct.pack("<BI", 0, 200)
    rgb = [(independent.RGB, b"")] if complete.shape[2] == 1 else []
    deep = start[:12] + bytes([start[12] | 2])
    files = [
        code_file(start, code, [metadata, alpha, *rgb]),
        code_file(start, code, [*rgb, alpha, metadata]),
        with_checks(start, code, [*rgb, metadata, alpha]),
        code_file(start, code + bytes(200), [alpha, *rgb, metadata]),
    ]
    for data in files:
        file = independent.read_file(data)
        assert next(iter(file.sections)) == independent.CODE
        assert independent.read_metadata(file.sections[independent.METADATA], file.bits) == {"xmp": b"<x/>"}
        image = independent.decode(data, model)
        np.testing.assert_array_equal(image[:, :, :3], np.broadcast_to(complete, (16, 16, 3)))
        assert np.all(image[:, :, 3] == 200)
    assert_same_images([*files, code_file(deep, code), code_file(deep, code, [alpha])], model, tmp_path)


def test_checks_of_a_code_that_do_not_agree_are_refused() -> None:
    for path in CODES:
        (start, code), model = start_and_code(path), model_path(path).read_bytes()
        data = with_checks(start, code, [])
        independent.decode(data, model)
        for i in range(1, 7):  # the three checks are the last section
            wrong = bytearray(data[:-4])
            wrong[-i] ^= 1
            with pytest.raises(independent.FormatError):
                independent.decode(with_crc(bytes(wrong)), model)


def test_a_wrong_or_missing_model_is_refused() -> None:
    for path in CODES:
        data, model = path.read_bytes(), model_path(path).read_bytes()
        other = next(m for m in map(Path.read_bytes, path.parent.glob("*.dfmg")) if m != model)
        altered = altered_model(model, np.random.default_rng(0))
        flipped = model[:2000] + bytes([model[2000] ^ 1]) + model[2001:]  # with the id of the right one
        for wrong in (None, b"", other, altered, flipped, model[:-1], model[1:], data, model + b"\0"):
            with pytest.raises(independent.FormatError):
                independent.decode(data, wrong)


def test_models_that_the_document_does_not_allow_are_refused() -> None:
    model = model_path(CODES[0]).read_bytes()[:-4]

    def replaced(old: bytes, new: bytes) -> bytes:
        assert model.count(old) == 1
        return model.replace(old, new)

    independent.read_model(with_crc(model))
    for data in (
        model[:-2],
        model + b"\0\0",
        model[:5] + b"\2" + model[6:],
        model[:6] + b"\xff\xff\xff\xff" + model[10:],
        model[:10] + b"\xc1" + model[11:],  # not msgpack
        model[:-2] + b"\0\x7c",  # infinity
        replaced(b"\xa5depth\x02", b"\xa5depth\x03"),
        replaced(b"\xa5depth\x02", b"\xa5depth\x00"),
        replaced(b"\xa5depth\x02", b"\xa5depth\xc0"),
        replaced(b"\xa5order\x01", b"\xa5order\x00"),
        replaced(b"\xa8code_dim\x10", b"\xa8code_dim\x11"),
        replaced(b"\xa7octaves\x92\x00\x01", b"\xa7octaves\x92\x01\x01"),
        replaced(b"\xa7octaves\x92\x00\x01", b"\xa7octaves\x92\x00\x09"),
        replaced(b"decoder_b0", b"decoder_b1"),
    ):
        with pytest.raises(independent.FormatError):
            independent.read_model(with_crc(data))


def test_codes_that_the_document_does_not_allow_are_refused() -> None:
    code_again, unknown, weights = ((i, b"") for i in (independent.CODE, 12, independent.WEIGHTS))
    metadata, rgb_not_empty = (independent.METADATA, b"\x80"), (independent.RGB, b"\0")
    for path in CODES:
        (start, code), model = start_and_code(path), model_path(path).read_bytes()
        more = start[:12] + bytes([start[12] | 4])  # one section beside the code
        independent.decode(code_file(start, code, [metadata]), model)
        for wrong in (
            code_file(start, b"\3" + code[1:]),  # no such component
            code_file(start, code[:1]),  # too short
            code_file(start, b""),
            code_file(start[:10] + b"\x10" + start[11:], code),  # another width than the model's
            code_file(start[:11] + b"\x10" + start[12:], code),  # another height
            code_file(start[:12] + bytes([start[12] ^ 1]), code),  # other channels
            code_file(start, code, [weights]),  # another model's section
            code_file(start, code, [code_again]),
            code_file(start, code, [metadata, metadata]),
            code_file(start, code, [unknown]),
            code_file(start, code, [rgb_not_empty]),
            with_crc(start + bytes([len(code) + 1]) + code),  # its length is beyond the end
            with_crc(start + bytes([len(code)]) + code + b"\0"),  # a byte after the last section
            with_crc(start + bytes([len(code) | 128, 128, 128, 128, 0]) + code),  # five bytes of length
            with_crc(more + bytes([len(code)])),  # it ends within its table
        ):
            with pytest.raises(independent.FormatError):
                independent.decode(wrong, model)


def test_truncated_codes_are_refused() -> None:
    """With the right CRC-32, so that the header has to tell."""
    for path in CODES:
        (start, code), model = start_and_code(path), model_path(path).read_bytes()
        data = code_file(start, code + bytes(200), [(independent.ALPHA, bytes(5))])
        for length in range(len(data) - 4):
            with pytest.raises(independent.FormatError):
                independent.decode(with_crc(data[:length]), model)


def test_zero_bytes_may_be_missing_at_the_end_of_a_code() -> None:
    """Or be there, until its length takes two and three bytes."""
    for path in CODES:
        (start, code), model = start_and_code(path), model_path(path).read_bytes()
        complete = independent.decode(path.read_bytes(), model)
        assert code_file(start, code) == path.read_bytes()
        for more in (1, 2, 3, 4, 5, 127 - len(code), 128 - len(code), 200, 20_000):
            longer = code_file(start, code + bytes(more))
            np.testing.assert_array_equal(independent.decode(longer, model), complete)


def test_the_length_of_a_code_may_have_spare_bytes(tmp_path: Path) -> None:
    """The document asks for no shortest form."""
    path = CODES[0]
    model = model_path(path).read_bytes()
    files = [code_file(*start_and_code(path), spare=spare) for spare in (1, 2, 3)]
    assert_same_images(files, model, tmp_path)


def test_command_takes_a_generative_model(tmp_path: Path) -> None:
    path, out = CODES[-1], tmp_path / "out.png"
    assert independent.main([str(path), str(out)]) == 1
    assert not out.exists()
    assert independent.main([str(path), str(out), str(model_path(path))]) == 0
    expected = independent.decode(path.read_bytes(), model_path(path).read_bytes())
    np.testing.assert_array_equal(read_png(out.read_bytes()), expected)


def test_reference_decoder_imports_only_numpy_pillow_and_msgpack() -> None:
    def imported(module: ModuleType) -> set[str]:
        found = set()
        for node in ast.walk(ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found.add((node.module or "").partition(".")[0])
        return found

    assert imported(independent) - sys.stdlib_module_names == {"numpy", "PIL", "msgpack"}


def test_reference_decoder_runs_without_the_package() -> None:
    """In a process of its own, as this one has the package already."""
    path = GOLDEN / "wavelet-alpha.dfm"
    code = (
        "import sys, pathlib, reference_decoder\n"
        f"reference_decoder.decode(pathlib.Path({str(path)!r}).read_bytes())\n"
        "print({'dfmcodec', 'constriction', 'jax'} & {name.partition('.')[0] for name in sys.modules})\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT / "conformance", capture_output=True, text=True, check=True
    )
    assert run.stdout == "set()\n"
