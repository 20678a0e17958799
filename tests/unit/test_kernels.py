"""Tests of the compiled kernels: same symbols as NumPy with every instruction set of this
processor, and no accesses outside arrays.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from common import GOLDEN, by, without_kernels
from numpy.lib.stride_tricks import as_strided

from dfmcodec import container
from dfmcodec._types import Tune
from dfmcodec.codecs.decode import decode_image
from dfmcodec.codecs.overfitted import context as grid_context
from dfmcodec.codecs.overfitted import synthesis as fitted
from dfmcodec.codecs.overfitted.contents import OverfittedArchitecture, QuantizedGrids
from dfmcodec.codecs.overfitted.context import GridContext, wavefronts
from dfmcodec.codecs.overfitted.encode.windows import WINDOW
from dfmcodec.codecs.overfitted.grids import GRID_LEVELS
from dfmcodec.codecs.overfitted.weights import overfitted_weights_of
from dfmcodec.codecs.wavelet import context, neighbourhood, quantizer, trellis
from dfmcodec.codecs.wavelet import correction as machine
from dfmcodec.codecs.wavelet import transform as wavelet
from dfmcodec.codecs.wavelet.adaptation import ContextAdaptation
from dfmcodec.codecs.wavelet.colour import ColourBasis, pixels_to_planes
from dfmcodec.codecs.wavelet.contents import WaveletArchitecture
from dfmcodec.codecs.wavelet.context import DIRECT_TABLES, TABLES_PER_QUANTIZER, TableChoice
from dfmcodec.codecs.wavelet.encode.adaptation_fit import SymbolSample, _gradient
from dfmcodec.codecs.wavelet.encode.dependency_costs import GatheredCosts
from dfmcodec.codecs.wavelet.encode.distortion import CoefficientWeights
from dfmcodec.codecs.wavelet.encode.sources import ObservedSymbols
from dfmcodec.codecs.wavelet.encode.trellis_search import PathChooser, round_low
from dfmcodec.codecs.wavelet.geometry import Geometry, Tiling
from dfmcodec.codecs.wavelet.neighbourhood import CausalContext
from dfmcodec.codecs.wavelet.quantizer import log_step
from dfmcodec.codecs.wavelet.transform import analyse
from dfmcodec.codecs.wavelet.traversal import traverse
from dfmcodec.codecs.wavelet.weights import shipped
from dfmcodec.entropy import table_set, tables
from dfmcodec.image.region import CHANNELS
from dfmcodec.kernels import SWITCH, compiled, has_kernels
from dfmcodec.metrics import ssimulacra2
from dfmcodec.weights.registry import OVERFITTED_SMALL

pytestmark = pytest.mark.skipif(compiled is None, reason="no kernels were built, or not for this processor")
INSTRUCTION_SETS = [] if compiled is None else compiled.instruction_sets()
SERVED = WaveletArchitecture | OverfittedArchitecture
FILES = [
    path
    for path in sorted(GOLDEN.rglob("*.dfm"))
    if isinstance(container.read_header(path.read_bytes()).architecture, SERVED)
]


def test_this_machine_has_files_and_instruction_sets():
    assert len(FILES) > 5
    assert INSTRUCTION_SETS


# files of which others have the same parts, and fewer symbols
LARGE = ("checked-tiles", "wavelet-adaptation", "wavelet-tiles")


def symbols_of(data: bytes) -> np.ndarray:
    model = container.read(data)[0]
    return (
        np.concatenate([grid.ravel() for grid in model.grids]) if isinstance(model, QuantizedGrids) else model.symbols
    )


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, marks=[pytest.mark.slow] * path.stem.startswith(LARGE)) for path in FILES],
    ids=lambda path: path.stem,
)
def test_golden_files_decode_as_with_numpy(path):
    data = path.read_bytes()
    with without_kernels():
        expected, expected_pixels = symbols_of(data), decode_image(data).pixels
    for instruction_set in INSTRUCTION_SETS:
        with by(instruction_set):
            assert np.array_equal(symbols_of(data), expected)
            pixels = decode_image(data).pixels
        assert np.abs(pixels.astype(int) - expected_pixels).max() <= 1
        assert np.mean(pixels != expected_pixels) < (1e-3 if pixels.itemsize == 1 else 1e-2)


def _paths(pixels, q_step, dependency_costs=None, tune=Tune.PSNR):
    """The symbols of an image under guessed tables."""
    geometry = Geometry(*pixels.shape, 4)
    pyramid = analyse(pixels_to_planes(pixels, ColourBasis()), 4)
    context = shipped().context
    rng = np.random.default_rng(0)

    def tables(coding_pass):
        rows, columns = CausalContext(geometry, q_step, np.zeros((3, 1, 1), np.int32)).shape(coding_pass)
        table = rng.integers(0, DIRECT_TABLES, rows * columns).astype(np.int16)
        return TableChoice(table, rng.choice(np.array([-1, 1], dtype=np.int32), rows * columns))

    return round_low(pyramid, q_step), PathChooser(
        pyramid, geometry, q_step, 0.26, context, tables, dependency_costs, CoefficientWeights.of(pyramid, tune)
    ).symbols()


def _slopes(geometry):
    dependency_costs = GatheredCosts(geometry)
    rng = np.random.default_rng(1)
    for slopes in (*dependency_costs._by_level, *dependency_costs._by_finer):
        slopes += rng.normal(0, 0.01, slopes.shape).astype(np.float32)
    return dependency_costs.scaled(1.0)


@pytest.mark.parametrize(("has_slopes", "tune"), [(False, Tune.PSNR), (True, Tune.PSNR), (True, Tune.VISUAL)])
def test_paths_are_those_of_numpy(chelsea, has_slopes, tune):
    pixels = chelsea.pixels[1:78, 2:93]  # odd sides: passes have different sizes
    slopes = _slopes(Geometry(*pixels.shape, 4)) if has_slopes else None
    found = _paths(pixels, 640, slopes, tune)[1]
    with without_kernels():
        expected = _paths(pixels, 640, slopes, tune)[1]
    differ = sum(int(np.count_nonzero(found[each] != expected[each])) for each in expected)
    assert sum(symbols.size for symbols in found.values()) == pixels.size - 3 * 5 * 6
    assert differ <= 20  # costs that are equal but for rounding: none of 21,000 on the processors tried


def _observed(pixels, q_step, low, chosen):
    geometry, context = Geometry(*pixels.shape, 4), shipped().context
    source = ObservedSymbols(low, chosen, context, geometry, q_step)
    traverse(geometry, q_step, context, source, observe=source.observe)
    return source.observed


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (7, 1), (2, 2), (3, 5), (2, 9), (64, 48), (65, 47)])
def test_the_wavelet_is_that_of_numpy(size):
    planes = np.random.default_rng(0).normal(0, 100, (3, *size)).astype(np.float32)
    with without_kernels():
        low, bands = wavelet._analyse_level(planes)
    for instruction_set in INSTRUCTION_SETS:
        with by(instruction_set):
            found_low, found_bands = wavelet._analyse_level(planes)
        for ours, theirs in zip((found_low, *found_bands), (low, *bands), strict=True):
            assert ours.shape == theirs.shape
            assert np.allclose(ours, theirs, atol=1e-3)


def test_dependency_costs_are_about_that_of_numpy(chelsea):
    """Of the same symbols; kernels round derivatives to bytes. (Measured: correlations
    of 0.9998, deviations that differ by 0.1 %, the same for all instruction sets.)
    """
    pixels = chelsea.pixels[1:78, 2:93]
    with without_kernels():
        paths = _paths(pixels, 640)
        expected = _observed(pixels, 640, *paths)
    for instruction_set in INSTRUCTION_SETS:
        with by(instruction_set):
            found = _observed(pixels, 640, *paths)
        for ours, theirs in zip(found._by_level[:3], expected._by_level[:3], strict=True):
            assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.99
            assert 0.98 < np.std(ours) / np.std(theirs) < 1.02
        for ours, theirs in zip(found._by_finer[1:3], expected._by_finer[1:3], strict=True):
            assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.99


def test_dependency_costs_do_not_depend_on_the_instruction_set(chelsea):
    pixels = chelsea.pixels[1:78, 2:93]
    paths = _paths(pixels, 640)
    slopes = []
    for instruction_set in INSTRUCTION_SETS:
        with by(instruction_set):
            observed = _observed(pixels, 640, *paths)
        slopes.append([*observed._by_level, *observed._by_finer])
    for others in slopes[1:]:
        for ours, theirs in zip(others, slopes[0], strict=True):
            assert np.allclose(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("wanted", ["numpy", *INSTRUCTION_SETS])
def test_the_environment_chooses(wanted):
    program = "from dfmcodec.kernels import compiled; print(compiled is not None)"
    result = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, SWITCH: wanted}, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == str(wanted != "numpy")


def test_the_best_instruction_set_is_taken():
    assert compiled.chosen_instruction_set() == os.environ.get(SWITCH, INSTRUCTION_SETS[0])
    with by(INSTRUCTION_SETS[-1]):
        assert compiled.chosen_instruction_set() == INSTRUCTION_SETS[-1]
    with pytest.raises(ValueError, match="no instruction set sse"):
        compiled.use_instruction_set("sse")


def test_an_unknown_instruction_set_is_one_line(tmp_path):
    path = tmp_path / "a.dfm"
    path.write_bytes(FILES[0].read_bytes())
    result = subprocess.run(
        [sys.executable, "-m", "dfmcodec", "decode", str(path), "-o", str(tmp_path / "a.png")],
        env={**os.environ, SWITCH: "sse"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert "DFMCODEC_KERNELS is 'sse'; possible here: numpy, " in result.stderr
    assert len(result.stderr.splitlines()) == 1


def _arguments_of_tables():
    """Valid arguments of `choose_tables`, by name."""
    geometry, context = Geometry(64, 48, 3, 2), shipped().context
    causal = CausalContext(geometry, 640, np.zeros((3, 16, 12), dtype=np.int32))
    coding_pass = next(each for each in causal.coding_passes() if (each.level, each.channel, each.phase) == (0, 1, 3))
    rows, columns = causal.shape(coding_pass)
    given = context._kernel_arguments(causal, coding_pass, range(rows), np.zeros(rows * columns, dtype=np.int8), 0)
    hidden = np.zeros((rows * columns, len(context.networks[3].c2)), dtype=np.uint8)
    return [*given, np.zeros(rows * columns, dtype=np.int16), np.zeros(rows * columns, dtype=np.int32), hidden]


def test_tables_are_chosen_of_valid_arguments_alone():
    good = _arguments_of_tables()
    compiled.choose_tables(*good)
    compiled.choose_tables(*good[:-1], good[-1][:0])  # which asks for none
    with pytest.raises(ValueError, match="hidden"):
        compiled.choose_tables(*good[:-1], good[-1][1:])
    for number, argument in enumerate(good[:-1]):
        if isinstance(argument, np.ndarray) and number not in (1, 3, 6):  # whose lengths say the sizes of others
            with pytest.raises(ValueError):  # noqa: PT011
                compiled.choose_tables(*good[:number], argument[:0], *good[number + 1 :])
    for change in (
        (11, 1, -1),
        (11, 1, 10**9),
        (11, 1, 1 << 62),
        (11, 2, -5),
        (11, 2, 1 << 40),
        (11, 0, 3),
        (11, 0, -1),
    ):
        number, column, value = change
        views = good[number].copy()
        views[0, column] = value
        with pytest.raises(ValueError, match="plane"):
            compiled.choose_tables(*good[:number], views, *good[number + 1 :])
    for number, value in ((7, -1), (7, 10**6), (12, -1), (12, 10**6), (13, 0), (13, 10**6), (13, -5)):
        with pytest.raises(ValueError):  # noqa: PT011
            compiled.choose_tables(*good[:number], value, *good[number + 1 :])
    beyond = good[6].copy()
    beyond[-1] = 10**6
    with pytest.raises(ValueError, match="does not have"):
        compiled.choose_tables(*good[:6], beyond, *good[7:])


def _plane_that_claims(count):
    """An array that says it has `count` bytes, and has one: for calls that read none."""
    return as_strided(np.zeros(1, dtype=np.int8), (count,), (1,))


def test_features_may_lie_beyond_the_first_gibibyte_of_a_plane():
    """An image of 60 megapixels in one tile has so many differences."""
    end = (1 << 30) + 5
    arguments = _arguments_of_tables()
    arguments[10], arguments[11], arguments[12] = _plane_that_claims(end), arguments[11].copy(), 0
    for index in ((1 << 30) + 1, end):
        arguments[11][-1, 1] = index
        compiled.choose_tables(*arguments)
    arguments[11][-1, 1] = end + 1
    with pytest.raises(ValueError, match="plane"):
        compiled.choose_tables(*arguments)


def test_an_encoder_writes_into_its_room_alone():
    tables = shipped().context.table_set
    start = np.array([0, 2**64 - 1, 0, 0], dtype=np.uint64)
    numbers, order, entries = np.zeros(9, dtype=np.int16), np.zeros(9, dtype=np.int32), np.zeros(9, dtype=np.int32)
    out = np.zeros(9, dtype=np.uint32)
    arguments = [start.copy(), tables.cumulative, numbers, True, order, entries, out]
    assert 0 < compiled.encode_entries(*arguments) <= 9
    for bad in (len(tables.tables), -1):
        with pytest.raises(ValueError, match="table"):
            compiled.encode_entries(*arguments[:2], np.full(9, bad, dtype=np.int16), *arguments[3:])
    for bad in (130, -1):
        with pytest.raises(ValueError, match="entry"):
            compiled.encode_entries(*arguments[:5], np.full(9, bad, dtype=np.int32), out)
    for short in (0, 4, 5, 6):
        with pytest.raises(ValueError, match=r"too few|no room"):
            compiled.encode_entries(*arguments[:short], arguments[short][:1], *arguments[short + 1 :])
    for waiting in (1, 2**63, 2**64 - 1):
        with pytest.raises(ValueError, match="no room"):
            compiled.encode_entries(np.array([0, 2**64 - 1, waiting, 0], dtype=np.uint64), *arguments[1:])
    with pytest.raises(ValueError, match="no range"):
        compiled.encode_entries(np.zeros(4, dtype=np.uint64), *arguments[1:])
    for bits in (-1, 0, 25):
        with pytest.raises(ValueError, match="bits"):
            compiled.encode_bits(start.copy(), bits, entries, out)
    with pytest.raises(ValueError, match="no room"):
        compiled.encode_bits(start.copy(), 5, entries, out[:8])
    with pytest.raises(ValueError, match="no room"):
        compiled.end_encoding(start, out[:1])
    assert compiled.end_encoding(start, out) == 0  # nothing is encoded


def _sample(shape, low, chosen):
    """A sample of the symbols of phase 3 of an image."""
    geometry, context = Geometry(*shape, 4), shipped().context
    sample = SymbolSample(context, Tiling(*shape, 4, *shape[:2]), log_step(640))
    source = ObservedSymbols(low, chosen, context, geometry, 640, sample)
    traverse(geometry, 640, context, source, observe=source.observe)
    return sample.by_phase()[3]


def _adaptation(shape):
    """A map and constants of some units for phase 3 of an image."""
    rng = np.random.default_rng(0)
    nothing = ContextAdaptation.none(shipped().context, Geometry(*shape, 4))
    maps = rng.integers(-20, 21, nothing.maps[3].shape).astype(np.int32)
    return maps, rng.integers(-9, 10, nothing.constants[3].shape).astype(np.int32)


def test_the_gradient_of_an_adaptation_is_that_of_numpy(chelsea):
    pixels = chelsea.pixels[1:78, 2:93]
    low, chosen = _paths(pixels, 640)
    seen, (maps, constants) = _sample(pixels.shape, low, chosen), _adaptation(pixels.shape)
    some = np.random.default_rng(1).integers(0, len(seen.symbols), 2000)
    found = _gradient(shipped().context, seen, some, maps, constants)
    with without_kernels():
        numpy_seen = _sample(pixels.shape, low, chosen)
        expected = _gradient(shipped().context, seen, some, maps, constants)
    assert np.array_equal(seen.hidden, numpy_seen.hidden)
    assert np.array_equal(seen.sums, numpy_seen.sums)
    for ours, theirs in zip(found, expected, strict=True):
        assert np.abs(theirs).max() > 0
        assert np.allclose(ours, theirs, rtol=1e-4, atol=1e-4 * np.abs(theirs).max())


def test_the_gradient_of_an_adaptation_takes_valid_arguments_alone(chelsea):
    pixels = chelsea.pixels[1:78, 2:93]
    seen, (maps, constants) = _sample(pixels.shape, *_paths(pixels, 640)), _adaptation(pixels.shape)
    bits = shipped().context.bits_of_outputs
    sample = [seen.hidden, seen.sums, seen.band, seen.symbols, seen.quantizer]
    chosen, of_adaptation = np.arange(5), (maps, constants, 1)
    sizes = *bits.shape[1:3], 3
    out = np.zeros_like(maps, dtype=np.float32), np.zeros_like(constants, dtype=np.float32)
    compiled.adaptation_gradient(tuple(sample), chosen, of_adaptation, bits, sizes, *out)
    for number in (0, 1, 2, 4):
        short = (*sample[:number], sample[number][:-1], *sample[number + 1 :])
        with pytest.raises(ValueError, match="too few"):
            compiled.adaptation_gradient(short, chosen, of_adaptation, bits, sizes, *out)
    for number in (0, 1):
        short = [*out]
        short[number] = out[number][:1]
        with pytest.raises(ValueError, match="too few"):
            compiled.adaptation_gradient(tuple(sample), chosen, of_adaptation, bits, sizes, *short)
    for bad in (-1, len(seen.symbols)):
        with pytest.raises(ValueError, match="does not exist"):
            compiled.adaptation_gradient(tuple(sample), np.array([0, bad]), of_adaptation, bits, sizes, *out)
    for number, bad in ((2, -1), (2, len(constants)), (4, -1), (4, 2)):
        wrong = [*sample]
        wrong[number] = np.full_like(sample[number], bad)
        with pytest.raises(ValueError, match="does not exist"):
            compiled.adaptation_gradient(tuple(wrong), chosen, of_adaptation, bits, sizes, *out)
    for wrong_sizes in ((0, 41, 3), (41, 0, 3), (10**6, 41, 3)):
        with pytest.raises(ValueError, match="not possible"):
            compiled.adaptation_gradient(tuple(sample), chosen, of_adaptation, bits, wrong_sizes, *out)
    with pytest.raises(ValueError, match="does not exist"):
        compiled.adaptation_gradient(tuple(sample), chosen, of_adaptation, bits[:0], sizes, *out)


def test_a_decoder_reads_what_is_there_alone():
    words, state = np.zeros(0, dtype=np.uint32), np.zeros(4, dtype=np.uint64)
    compiled.start_decoding(state, words)
    values = np.empty(50, dtype=np.int32)
    assert compiled.decode_bits(state, words, 5, values)  # beyond the end there are zeros
    assert not values.any()
    tables = shipped().context.table_set
    numbers, room = np.zeros(9, dtype=np.int16), np.zeros(9, dtype=np.int32)
    arguments = [state, words, tables.cumulative, tables.guide, tables.shifts, numbers, True, room, room.copy()]
    assert compiled.decode_highs(*arguments) >= 0
    for bad in (len(tables.tables), -1):
        with pytest.raises(ValueError, match="table"):
            compiled.decode_highs(*arguments[:5], np.full(9, bad, dtype=np.int16), *arguments[6:])
    wild = [*arguments[:3], np.full_like(tables.guide, 255), *arguments[4:]]
    assert compiled.decode_highs(*wild) in (-1, 9)  # the last entry, or an invalid stream
    for short in (2, 7, 8):
        with pytest.raises(ValueError, match="too few"):
            compiled.decode_highs(*arguments[:short], arguments[short][:1], *arguments[short + 1 :])
    with pytest.raises(ValueError, match="no range"):
        compiled.decode_highs(np.zeros(4, dtype=np.uint64), *arguments[1:])
    for bits in (-1, 25):
        with pytest.raises(ValueError, match="bits"):
            compiled.decode_bits(state, words, bits, values)


def test_other_kernels_refuse_arrays_that_are_too_short():
    ints, floats = np.zeros(100, dtype=np.int32), np.zeros(100, dtype=np.float32)
    shorts, small = np.zeros(100, dtype=np.int16), np.zeros(100, dtype=np.int8)
    with pytest.raises(ValueError, match="too few"):
        compiled.synthesise_channel(ints, ints, ints, ints, (1, 1, 1), 40, 40, ints.copy())
    with pytest.raises(ValueError, match="sizes"):
        compiled.synthesise_channel(ints, ints, ints, ints, (0, 1, 1), 4, 4, ints.copy())
    split = [floats, 10, 10, *(floats.copy() for _ in range(4))]
    compiled.analyse_channel(*split)
    for number in (0, 3, 4, 5, 6):
        with pytest.raises(ValueError, match="too few"):
            compiled.analyse_channel(*split[:number], floats[:9], *split[number + 1 :])
    for height, width in ((0, 10), (10, -1), (1 << 31, 4)):
        with pytest.raises(ValueError, match="sizes"):
            compiled.analyse_channel(floats, height, width, *split[3:])
    with pytest.raises(ValueError, match="too few"):
        compiled.low_differences(ints, 10, 10, 64, np.zeros((24, 2), np.int32), ints, 0, 10, small)
    with pytest.raises(ValueError, match="padding"):
        compiled.low_differences(ints, 10, 10, 64, np.full((1, 2), 3, np.int32), ints, 0, 10, small)
    machine, filled = shipped().machine, np.zeros(3 * 36 * 36, dtype=np.int32)
    shape = machine.width, machine.depth
    arguments = [machine.flat_weights, shape, filled, (3, 36, 36), 64.0, 0.0, 16, 16, np.zeros(768, dtype=np.float32)]
    compiled.machine_change(*arguments)
    for number in (0, 2, 8):
        with pytest.raises(ValueError, match="too few"):
            compiled.machine_change(*arguments[:number], arguments[number][:9], *arguments[number + 1 :])
    for number, bad in (
        (1, (4000, 4)),
        (1, (60, 9)),
        (3, (4, 36, 36)),
        (6, 18),
        (4, 0.0),
        (4, float("nan")),
    ):
        with pytest.raises(ValueError, match="sizes"):
            compiled.machine_change(*arguments[:number], bad, *arguments[number + 1 :])
    with pytest.raises(ValueError, match="too few"):
        compiled.filter_change(floats, np.zeros((12, 2), np.int32), 2, ints, (3, 20, 20), floats.copy())
    with pytest.raises(ValueError, match="radius"):
        compiled.filter_change(floats, np.full((1, 2), 3, np.int32), 2, ints, (1, 2, 2), floats.copy())
    with pytest.raises(ValueError, match="too few"):
        compiled.planes_to_pixels(floats, (3, 20, 20), floats, 1.0, 0.0, 255.0, np.zeros(1200, np.uint8))
    offsets = np.zeros((3, 7), dtype=np.int32)
    place = (0, 10), (0, 20)
    accept = [ints, shorts, ints, offsets, np.zeros((8, 2), np.int8), 5, 5, small.copy(), 5, small, small.copy()]
    with pytest.raises(ValueError, match="does not exist"):
        compiled.accept_symbols(ints, shorts + np.int16(3), *accept[2:], place[0], ints.copy(), place[1])
    with pytest.raises(ValueError, match="too few"):
        compiled.accept_symbols(*accept, (90, 10), ints.copy(), place[1])
    for bad in ((0, 50), (1, 1 << 33), (-1, 20), (1 << 62, 1)):
        with pytest.raises(ValueError, match=r"too few|sizes"):
            compiled.accept_symbols(*accept, place[0], ints.copy(), bad)
    with pytest.raises(ValueError, match="sizes"):
        compiled.accept_symbols(*accept[:5], 1 << 32, 1 << 32, *accept[7:], place[0], ints.copy(), place[1])
    for height, width in ((1 << 32, 1 << 32), (1 << 31, 4), (-4, 4)):
        with pytest.raises(ValueError, match="sizes"):
            compiled.synthesise_channel(ints, ints, ints, ints, (1, 1, 1), height, width, ints.copy())


def test_wavefronts_refuse_what_is_beyond_their_grids():
    network = overfitted_weights_of(OVERFITTED_SMALL.id).network
    grid = np.zeros((9, 11), dtype=np.int32)
    context = GridContext(network, 0, grid, [np.zeros((5, 6), dtype=np.int32)])
    front = list(wavefronts(0, grid.shape))[12]
    choice = context.choose_tables(front)
    count, stride = len(front.rows), context._stride
    first, step = front.places(stride)
    outputs = choice.table, choice.sign, choice.middle
    good = [context._network.arrays, context._plane, context._causal, (context._origin + first, step), context._coarser]
    good += [front.places(11), count, (16, 111, 28, 8192), *outputs]
    compiled.choose_front(*good)
    changes: list[tuple[int, Any]] = [
        (3, (-1, step)),
        (3, (10**9, step)),
        (3, (first, -1)),
        (3, (0, step)),
        (5, (98, 9)),
    ]
    changes += [(5, (-1, 9)), (6, 0), (6, 10**6), (7, (16, 20, 28, 8192)), (1, context._plane[:2]), (4, good[4][:3])]
    changes += [(2, context._causal + 9), (2, context._causal * 1000), (8, outputs[0][:1]), (9, outputs[1][:1])]
    for number, bad in changes:
        with pytest.raises(ValueError):  # noqa: PT011
            compiled.choose_front(*good[:number], bad, *good[number + 1 :])
    symbols, numbers = np.zeros(count, dtype=np.int32), np.zeros(64, dtype=np.float32)
    accept = [symbols, numbers, grid, front.places(11), context._plane, (context._origin + first, step)]
    compiled.accept_front(*accept)
    for number, bad in ((3, (98, 9)), (3, (-1, 9)), (5, (10**9, 1)), (0, symbols[:0]), (1, numbers[:0]), (2, grid[:1])):
        with pytest.raises(ValueError, match="beyond"):
            compiled.accept_front(*accept[:number], bad, *accept[number + 1 :])


def _two_images(height, width):
    """In linear light."""
    rng = np.random.default_rng(height)
    first = rng.random((3, height, width), dtype=np.float32)
    return first, np.clip(first + 0.1 * rng.standard_normal(first.shape, dtype=np.float32), 0, 1)


@pytest.mark.parametrize(("item_bytes", "channels"), [(1, 1), (1, 3), (2, 1), (2, 3)])
def test_values_of_samples_are_those_of_numpy(item_bytes, channels):
    rng = np.random.default_rng(0)
    table = rng.random(1 << 8 * item_bytes, dtype=np.float32)
    pixels = rng.integers(len(table), size=(5, 14, channels)).astype(f"u{item_bytes}")[:, 1:]
    with without_kernels():
        expected = ssimulacra2._look_up(table, pixels)
    for instruction_set in INSTRUCTION_SETS:
        with by(instruction_set):
            assert np.array_equal(ssimulacra2._look_up(table, pixels), expected)
    good = table, pixels.copy(), 0, (65, channels), np.zeros(65, dtype=np.float32)
    compiled.values_of_samples(*good)
    for number, bad in (
        (0, table[:255]),
        (1, pixels[:2].copy()),
        (2, channels),
        (2, -1),
        (3, (-1, 1)),
        (4, good[4][1:]),
    ):
        with pytest.raises(ValueError, match=r"too few|channel"):
            compiled.values_of_samples(*good[:number], bad, *good[number + 1 :])


@pytest.mark.parametrize("size", [(8, 8), (9, 33), (70, 61), (3, 40_000)])
def test_ssimulacra2_has_the_sums_of_numpy(size):
    images = _two_images(*size)
    rows = slice(0, size[0])
    with without_kernels():
        expected = ssimulacra2._sums(*images, rows)
    for instruction_set in INSTRUCTION_SETS:
        with by(instruction_set):
            assert np.allclose(ssimulacra2._sums(*images, rows), expected, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("size", [(8, 8), (9, 33), (70, 61), (3, 40_000)])
def test_ssimulacra2_has_the_slopes_of_numpy(size):
    images = _two_images(*size)
    parts = np.random.default_rng(1).random((3, 2, 3), dtype=np.float32)
    with without_kernels():
        expected = ssimulacra2._slopes(*images, parts)
    for instruction_set in INSTRUCTION_SETS:
        with by(instruction_set):
            found = ssimulacra2._slopes(*images, parts)
            assert np.mean(np.abs(found - expected) < 0.005 * np.std(expected)) > 0.999  # else at a kink of an error


@pytest.mark.parametrize("name", ["sums", "slopes"])
def test_ssimulacra2_refuses_what_does_not_fit(name):
    first, second = _two_images(8, 9)
    taps, results = np.zeros(5, np.float32), [np.zeros(18)]
    if name == "slopes":
        results = [np.zeros(18, np.float32), np.zeros_like(first)]
    good = [first, second, (8, 9), (0, 8), np.zeros(9, np.float32), 0.1, 0.4, taps, 0.1, *results]
    called = getattr(compiled, f"ssimulacra2_{name}")
    called(*good)
    short = [(9 + n, result.ravel()[:-1]) for n, result in enumerate(results)]
    for number, bad in ((0, first[:2]), (1, second[0]), (2, (8, 10)), (4, taps), (7, taps[:4]), *short):
        with pytest.raises(ValueError, match="too few"):
            called(*good[:number], bad, *good[number + 1 :])
    for number, bad in (
        (2, (0, 9)),
        (2, (8, 0)),
        (2, (-1, 9)),
        (2, (8, 2**62)),
        (3, (-1, 8)),
        (3, (5, 4)),
        (3, (0, 9)),
    ):
        with pytest.raises(ValueError, match="sizes"):
            called(*good[:number], bad, *good[number + 1 :])


def test_paths_refuse_what_does_not_fit():
    context = shipped().context
    bits = context.cost_bits.ravel()
    none = np.zeros(0, dtype=np.float32)
    ways = np.zeros((8, 4), dtype=np.int8)
    sizes = DIRECT_TABLES, TABLES_PER_QUANTIZER
    arrays = np.zeros(16, np.float32), np.ones(16, np.float32), np.ones(16, np.int32), np.zeros(16, np.int16)
    arrays = *arrays, none, none, np.zeros(16, np.int32)
    numbers = [bits, bits, np.zeros(512, np.float32), ways]
    compiled.choose_paths([(4, 4, *arrays)], False, *numbers, sizes, 4, 0, 4)
    with pytest.raises(ValueError, match="too few"):
        compiled.choose_paths([(4, 5, *arrays)], False, *numbers, sizes, 5, 0, 4)
    with pytest.raises(ValueError, match="too few"):
        compiled.choose_paths([(4, 4, *arrays)], True, *numbers, sizes, 4, 0, 4)
    wrong = *arrays[:3], np.full(16, 9999, np.int16), *arrays[4:]
    with pytest.raises(ValueError, match="does not exist"):
        compiled.choose_paths([(4, 4, *wrong)], False, *numbers, sizes, 4, 0, 4)
    with pytest.raises(ValueError, match="sizes"):
        compiled.choose_paths([(4, 4, *arrays)] * 37, False, *numbers, sizes, 4, 0, 4)
    with pytest.raises(ValueError, match="sizes"):
        compiled.choose_paths([(4, 4, *arrays)], False, *numbers[:3], ways + np.int8(8), sizes, 4, 0, 4)
    with pytest.raises(TypeError):
        compiled.choose_paths(5, False, *numbers, sizes, 4, 0, 4)


# The files in C

KERNELS = Path(__file__).parents[2] / "dfmcodec" / "kernels"


def constants_of(name):
    """The integers of the enums of a file, as far as they are numbers or sums of them."""
    found = {}
    text = re.sub(r"/\*.*?\*/", "", (KERNELS / name).read_text(), flags=re.DOTALL)
    for body in re.findall(r"enum \{(.*?)\}", text, re.DOTALL):
        for constant, value in re.findall(r"(\w+) = ([^,]+)", body):
            if set(re.findall(r"[A-Z_a-z]\w*", value)) <= found.keys():
                found[constant] = eval(value, {}, found)
    return found


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "coder.c",
            {
                "PRECISION": tables.PRECISION_BITS,
                "RADIUS": tables.RADIUS,
                "ESCAPE": tables.ESCAPE,
                "ENTRIES": tables.TABLE_SIZE,
                "GUIDE_BITS": table_set.GUIDE_BITS,
            },
        ),
        (
            "context_gradient.c",
            {"ENTRY_COUNT": tables.TABLE_SIZE, "LARGEST_SYMBOL": tables.RADIUS, "REACH": context._SLOPE_REACH},
        ),
        (
            "grid.c",
            {
                "CAUSAL": len(grid_context.CAUSAL),
                "COARSER": grid_context.FEATURES - len(grid_context.CAUSAL),
                "FEATURES": grid_context.FEATURES,
                "MEAN_PARTS": tables.MEAN_PARTS,
                "MEANS": tables.MEANS,
            },
        ),
        (
            "synthesis.c",
            {
                "FINE": quantizer.FINE,
                "LAST_OFFSET": context.OFFSET_SYMBOLS,
                "FRACTION_BITS": wavelet.FRACTION_BITS,
                "ALPHA": wavelet._ALPHA,
                "BETA": wavelet._BETA,
                "GAMMA": wavelet._GAMMA,
                "DELTA": wavelet._DELTA,
                "LOW_GAIN": wavelet._LOW_GAIN,
                "MAX_UNITS": wavelet.MAX_UNITS,
                "PAD": neighbourhood._PAD,
            },
        ),
        (
            "trellis.c",
            {
                "STATES": trellis.STATES,
                "QUANTIZERS": trellis.QUANTIZERS,
                "RADIUS": tables.RADIUS,
                "ENTRIES": tables.TABLE_SIZE,
            },
        ),
        (
            "machine.c",
            {
                "CHANNELS": CHANNELS,
                "SAMPLES": machine.CELL_SAMPLES,
                "AROUND": machine.CELLS_AROUND**2,
                "FEATURES": machine.FEATURES,
                "MOVED_PART": machine._MOVED_PART,
            },
        ),
        (
            "fit.c",
            {
                "LEVELS": GRID_LEVELS,
                "WINDOW": WINDOW,
                "HALO": fitted.HALO,
                "TAPS": fitted.TAPS,
                "STAGES": fitted.STAGES,
                "CHANNELS": CHANNELS,
                "CAUSAL": len(grid_context.CAUSAL),
                "CELL": len(neighbourhood.SQUARE),
                "COARSER": grid_context.COARSER,
                "FEATURES": grid_context.FEATURES,
            },
        ),
    ],
)
def test_constants_are_those_of_python(name, expected):
    found = constants_of(name)
    assert {constant: found.get(constant) for constant in expected} == expected


def test_kernels_know_nothing_of_python():
    """All files but `module.c`: WebAssembly and others can have them."""
    texts = {path.name: path.read_text() for path in KERNELS.glob("*.[ch]")}
    assert [name for name, text in texts.items() if re.search(r"Python\.h|\bPy[A-Z_]", text)] == ["module.c"]


@pytest.mark.skipif(not shutil.which("cc"), reason="no C compiler")
def test_kernels_compile_without_the_headers_of_python():
    """Those for AVX2 and AVX-512 are the same files once more."""
    sources = [str(path) for path in KERNELS.glob("*.c") if path.name != "module.c" and "_avx" not in path.name]
    command = ["cc", "-fsyntax-only", "-Wno-psabi", *sources]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc" or not has_kernels() or "LD_PRELOAD" in os.environ,
    reason="another allocator than that of glibc, or no kernels",
)
def test_threads_of_a_program_take_memory_from_one_place():
    program = """import re, threading, numpy as np, ctypes
from dfmcodec.kernels import share_memory
assert share_memory()
threads = [threading.Thread(target=lambda: kept.append(np.ones(2000))) for kept in [[]] for _ in range(4)]
[thread.start() for thread in threads], [thread.join() for thread in threads]
ctypes.CDLL(None).malloc_stats()"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stderr.count("Arena ") == 1
