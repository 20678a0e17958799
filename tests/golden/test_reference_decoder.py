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
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import reference_decoder as independent
from common import GOLDEN, ROOT, with_crc
from overfitted_parts import laplace_grids

import dfmcodec
from dfmcodec import container
from dfmcodec.codecs.overfitted.contents import OverfittedArchitecture, QuantizedGrids
from dfmcodec.codecs.overfitted.weights import DELTA_NAMES, WeightDeltas, overfitted_weights_of
from dfmcodec.container import read_write
from dfmcodec.container.layout import Section
from dfmcodec.container.metadata import unpack_metadata
from dfmcodec.errors import DfmError
from dfmcodec.weights.registry import OVERFITTED_SMALL

FILES = sorted(GOLDEN.glob("*.dfm"))
SMALL = [path for path in FILES if path.stat().st_size < 2000]
# files of which others have the same parts, and fewer symbols
SLOW = ("checked-tiles", "wavelet-adaptation", "wavelet-filter")
names = pytest.mark.parametrize(
    "path",
    [pytest.param(path, marks=[pytest.mark.slow] * path.stem.startswith(SLOW)) for path in FILES],
    ids=lambda path: path.stem,
)


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
        np.testing.assert_array_equal(np.stack(tile.planes), model.samples[: arch.channels, y, x])
        if symbols.texture is not None:
            for channel in range(arch.channels):
                noise = independent.texture_noise(symbols.texture, tile, y.start, x.start, arch.levels, channel)
                np.testing.assert_array_equal(noise, model.samples[arch.channels + channel, y, x])
    assert (symbols.texture is None) == (model.texture is None)
    if symbols.texture is not None:
        np.testing.assert_array_equal(symbols.texture.codes, model.texture.codes)

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
    for path in SMALL:
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


def test_reference_decoder_imports_only_numpy_and_pillow() -> None:
    def imported(module: ModuleType) -> set[str]:
        found = set()
        for node in ast.walk(ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found.add((node.module or "").partition(".")[0])
        return found

    assert imported(independent) - sys.stdlib_module_names == {"numpy", "PIL"}


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
