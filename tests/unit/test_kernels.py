"""Tests of the compiled kernels: same symbols as NumPy with every instruction set of this
processor, and no accesses outside arrays.
"""

from __future__ import annotations

import importlib
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import make_kernel_interface
import numpy as np
import pytest
from common import GOLDEN, by, without_kernels
from numpy.lib.stride_tricks import as_strided
from oracles import contexts
from wavelet_parts import random_correction

from dfmcodec import container
from dfmcodec.codecs.decode import decode_image
from dfmcodec.codecs.overfitted.contents import OverfittedArchitecture, QuantizedGrids
from dfmcodec.codecs.overfitted.context import CAUSAL, GridContext, wavefronts
from dfmcodec.codecs.overfitted.weights import overfitted_weights_of
from dfmcodec.codecs.wavelet import transform as wavelet
from dfmcodec.codecs.wavelet.adaptation import ContextAdaptation
from dfmcodec.codecs.wavelet.colour import ColourBasis, Luma, pixels_to_planes
from dfmcodec.codecs.wavelet.contents import WaveletArchitecture
from dfmcodec.codecs.wavelet.context import (
    ACTIVATION_MAX,
    DIRECT_TABLES,
    EMPTY_CONTEXT,
    MEANS,
    OFFSET_SYMBOLS,
    TABLES_PER_QUANTIZER,
    TableChoice,
)
from dfmcodec.codecs.wavelet.encode.adaptation_fit import SymbolSample, _gradient
from dfmcodec.codecs.wavelet.encode.dependency_costs import GatheredCosts
from dfmcodec.codecs.wavelet.encode.sources import ObservedSymbols, add_gradient
from dfmcodec.codecs.wavelet.encode.trellis_search import PathChooser, round_low, zero_limits
from dfmcodec.codecs.wavelet.geometry import Geometry, Tiling
from dfmcodec.codecs.wavelet.neighbourhood import CausalContext
from dfmcodec.codecs.wavelet.quantizer import FINE, log_step, synthesise_fine
from dfmcodec.codecs.wavelet.synthesis import Samples, correction_residual
from dfmcodec.codecs.wavelet.transform import MAX_UNITS, analyse
from dfmcodec.codecs.wavelet.traversal import traverse
from dfmcodec.codecs.wavelet.trellis import QUANTIZERS
from dfmcodec.codecs.wavelet.weights import shipped
from dfmcodec.entropy.tables import RADIUS, TABLE_SIZE
from dfmcodec.kernels import SWITCH, compiled, has_kernels
from dfmcodec.perception import ssimulacra2
from dfmcodec.perception.distortion import CoefficientWeights
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


def _paths(pixels, q_step, dependency_costs=None, is_weighted=False, most_tables=DIRECT_TABLES, every=1):
    """The symbols of an image under guessed tables."""
    geometry = Geometry(*pixels.shape, 4)
    planes = pixels_to_planes(pixels, ColourBasis())
    pyramid = analyse(planes, 4)
    context = shipped().context
    rng = np.random.default_rng(0)

    def tables(coding_pass):
        rows, columns = CausalContext(geometry, q_step, np.zeros((3, 1, 1), np.int32)).shape(coding_pass)
        table = every * rng.integers(0, most_tables // every, rows * columns).astype(np.int16)
        return TableChoice(table, rng.choice(np.array([-1, 1], dtype=np.int32), rows * columns)).packed

    return round_low(pyramid, q_step), PathChooser(
        pyramid,
        geometry,
        q_step,
        0.26,
        context,
        tables,
        dependency_costs,
        CoefficientWeights.of(pyramid, planes, ColourBasis()) if is_weighted else None,
    ).symbols()


def _slopes(geometry):
    dependency_costs = GatheredCosts(geometry)
    rng = np.random.default_rng(1)
    for slopes in (*dependency_costs._by_level, *dependency_costs._by_finer):
        slopes += rng.normal(0, 0.01, slopes.shape).astype(np.float32)
    return dependency_costs.scaled(1.0)


@pytest.mark.parametrize(("has_slopes", "is_weighted"), [(False, False), (True, False), (True, True)])
def test_paths_are_those_of_numpy(chelsea, has_slopes, is_weighted):
    pixels = chelsea.pixels[1:78, 2:93]  # odd sides: passes have different sizes
    slopes = _slopes(Geometry(*pixels.shape, 4)) if has_slopes else None
    found = _paths(pixels, 640, slopes, is_weighted)[1]
    with without_kernels():
        expected = _paths(pixels, 640, slopes, is_weighted)[1]
    differ = sum(int(np.count_nonzero(found[each] != expected[each])) for each in expected)
    assert sum(symbols.size for symbols in found.values()) == pixels.size - 3 * 5 * 6
    assert differ <= 20  # costs that are equal but for rounding: none of 21,000 on the processors tried


@pytest.mark.parametrize("has_slopes", [False, True])
def test_paths_of_zeros_are_those_of_numpy(chelsea, has_slopes):
    """Cells without a coefficient that could be worth its bits skip the search."""
    pixels = chelsea.pixels[1:130, 2:203]
    slopes = GatheredCosts(Geometry(*pixels.shape, 4)).scaled(1.0) if has_slopes else None
    few = {"most_tables": 8 * len(MEANS), "every": len(MEANS)}  # small scales, mean 0
    found = _paths(pixels, 3000, slopes, **few)[1]
    with without_kernels():
        expected = _paths(pixels, 3000, slopes, **few)[1]
    zeros = sum(int(np.count_nonzero(symbols == 0)) for symbols in found.values())
    assert zeros > 0.9 * pixels.size
    assert zeros < sum(symbols.size for symbols in found.values())
    assert sum(int(np.count_nonzero(found[each] != expected[each])) for each in expected) <= 20


def test_zero_is_cheapest_within_the_limits_of_tables():
    context = shipped().context
    entries = np.clip(np.arange(TABLE_SIZE) - RADIUS, -OFFSET_SYMBOLS, OFFSET_SYMBOLS) + OFFSET_SYMBOLS
    offsets = context.offsets[:, entries].astype(np.float32) / np.float32(FINE)
    limits = zero_limits(context.cost_bits, offsets)
    q = np.arange(TABLE_SIZE) - RADIUS
    tables = np.flatnonzero(limits > 0)
    assert len(tables) > 20
    for table in tables.tolist():
        first = table % TABLES_PER_QUANTIZER
        for c in (-limits[table], limits[table], limits[table] / 2):
            of_zero = np.square(c - offsets[first, RADIUS]), context.cost_bits[first, RADIUS]
            for quantizer in range(QUANTIZERS):
                own = first + quantizer * TABLES_PER_QUANTIZER
                errors = np.square(c - (2 * q - quantizer * np.sign(q) + offsets[own]))
                assert errors.min() >= of_zero[0] * (1 - 1e-6)
                assert context.cost_bits[own].min() >= of_zero[1]


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


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (7, 1), (64, 48), (65, 47)])
def test_a_level_can_be_synthesised_into_a_part_of_an_image(size):
    rng = np.random.default_rng(0)
    halves = [((side + 1) // 2, side // 2) for side in size]
    shapes = [(halves[0][y], halves[1][x]) for y, x in ((0, 0), (0, 1), (1, 0), (1, 1))]
    low, *fine = (rng.integers(-90000, 90000, (3, *shape)).astype(np.int32) for shape in shapes)
    with without_kernels():
        expected = synthesise_fine(low, fine, (700, 900, 1))
    for instruction_set in ["numpy", *INSTRUCTION_SETS]:
        image = np.full((3, size[0] + 5, size[1] + 4), 7, dtype=np.int32)
        part = image[:, 2 : 2 + size[0], 3 : 3 + size[1]]
        if instruction_set == "numpy":
            with without_kernels():
                found = synthesise_fine(low, fine, (700, 900, 1), part)
        else:
            with by(instruction_set):
                found = synthesise_fine(low, fine, (700, 900, 1), part)
        assert np.shares_memory(found, image)
        assert np.array_equal(part, expected)
        part[...] = 7
        assert np.all(image == 7)


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


SIZES = [(1, 1), (2, 3), (37, 52), (5, 141)]


@pytest.mark.parametrize("q_step", [1, 37, 640, 65535])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("network", ["shipped", "of other sizes"])
def test_the_correction_network_gives_the_numbers_of_numpy(network, channels, q_step):
    """Exactly, at odd sides and from the smallest to the largest samples."""
    correction = shipped().correction if network == "shipped" else random_correction(21, 2)
    rng = np.random.default_rng(0)
    for size in SIZES:
        for largest in (40, 5000, MAX_UNITS):
            samples = Samples.complete(rng.integers(-largest, largest + 1, (channels, *size)).astype(np.int32))
            with without_kernels():
                expected = correction_residual(samples, samples.at, q_step, correction)
            for instruction_set in INSTRUCTION_SETS:
                with by(instruction_set):
                    found = correction_residual(samples, samples.at, q_step, correction)
                assert np.array_equal(found, expected), (size, largest, instruction_set)


@pytest.mark.parametrize("fraction", [0.0, 0.002, 0.05, 0.6])
def test_tables_and_activations_are_those_of_numpy(fraction):
    """Whatever fraction of the symbols is not zero: contexts that are empty, and others."""
    geometry, context = Geometry(150, 141, 3, 2), shipped().context
    rng = np.random.default_rng(0)
    causal = CausalContext(geometry, 640, rng.integers(-5000, 5000, (3, 38, 36)).astype(np.int32))
    k, empty, count = log_step(640), 0, 0
    for coding_pass in causal.coding_passes():
        rows, columns = causal.shape(coding_pass)
        quantizers = causal.quantizers(coding_pass)
        given = causal, coding_pass, range(rows)
        with without_kernels():
            expected = context.choose_tables(*given, quantizers, k)
            hidden = contexts.hidden(context, *given, k)
        for instruction_set in INSTRUCTION_SETS:
            with by(instruction_set):
                activations = np.empty_like(hidden)
                found = TableChoice.empty(rows * columns)
                context_pass = context.context_pass(*given, quantizers, k)
                compiled.choose_tables(coding_pass=context_pass, table=found.table, sign=found.sign, hidden=activations)
            assert np.array_equal(found.table, expected.table)
            assert np.array_equal(found.sign, expected.sign)
            assert np.array_equal(activations, hidden)
        is_empty = hidden[:, 0] == EMPTY_CONTEXT
        assert (hidden[is_empty] == EMPTY_CONTEXT).all()
        assert (hidden[~is_empty] <= ACTIVATION_MAX).all()
        assert np.array_equal(expected.table[is_empty], quantizers[is_empty] * np.int16(TABLES_PER_QUANTIZER))
        empty, count = empty + int(is_empty.sum()), count + len(is_empty)
        symbols = rng.integers(-9, 10, rows * columns) * (rng.random(rows * columns) < fraction)
        causal.accept(coding_pass, symbols.astype(np.int32), expected.table, expected.sign, context.offsets)
    first_pass = 19 * 18  # has no symbols as features, so no empty contexts
    assert 0 < empty <= count - first_pass
    assert (empty == count - first_pass) == (fraction == 0)


@pytest.mark.parametrize("instruction_set", INSTRUCTION_SETS)
def test_empty_contexts_have_no_gradient(instruction_set):
    geometry, context = Geometry(70, 45, 3, 2), shipped().context
    rng = np.random.default_rng(0)
    causal = CausalContext(geometry, 640, rng.integers(-5000, 5000, (3, 18, 12)).astype(np.int32))
    for coding_pass in causal.coding_passes():
        rows, columns = causal.shape(coding_pass)
        slopes = tuple(np.zeros((2, *plane.shape), dtype=np.float32) for plane in causal.planes[:2])
        quantizers, zeros = causal.quantizers(coding_pass), np.zeros(rows * columns, dtype=np.int32)
        symbols = rng.integers(-9, 10, rows * columns).astype(np.int32)
        hidden, choice = np.empty(0, dtype=np.uint8), TableChoice.empty(rows * columns)
        with by(instruction_set):
            given = context.context_pass(causal, coding_pass, range(rows), quantizers, log_step(640))
            add_gradient(context, given, symbols, slopes, hidden, choice)
        assert not slopes[0].any()
        assert not slopes[1].any()
        causal.accept(coding_pass, zeros, choice.table, choice.sign, context.offsets)


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


def test_encoding_without_kernels_is_one_line(tmp_path):
    result = subprocess.run(
        [sys.executable, "-m", "dfmcodec", "encode", str(GOLDEN / "wavelet-rgb.png"), "-o", str(tmp_path / "a.dfm")],
        env={**os.environ, SWITCH: "numpy"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 6
    assert result.stderr.endswith("there are no compiled kernels, which encoding needs; unset DFMCODEC_KERNELS\n")
    assert len(result.stderr.splitlines()) == 1
    assert not [*tmp_path.iterdir()]


def refuses(kernel, good, error, match=None, **changes):
    """A kernel refuses its valid arguments with some changes."""
    with pytest.raises(error, match=match):
        getattr(compiled, kernel)(**{**good, **changes})


def _arguments_of_tables():
    """Valid arguments of `choose_tables`."""
    geometry, context = Geometry(64, 48, 3, 2), shipped().context
    causal = CausalContext(geometry, 640, np.zeros((3, 16, 12), dtype=np.int32))
    coding_pass = next(each for each in causal.coding_passes() if (each.level, each.channel, each.phase) == (0, 1, 3))
    rows, columns = causal.shape(coding_pass)
    given = context.context_pass(causal, coding_pass, range(rows), np.zeros(rows * columns, dtype=np.int8), 0)
    hidden = np.zeros((rows * columns, len(context.networks[3].c2)), dtype=np.uint8)
    table, sign = np.zeros(rows * columns, dtype=np.int16), np.zeros(rows * columns, dtype=np.int32)
    return {"coding_pass": given, "table": table, "sign": sign, "hidden": hidden}


def test_table_kernel_refuses_invalid_arguments():
    good = _arguments_of_tables()
    given = good["coding_pass"]
    compiled.choose_tables(**good)
    compiled.choose_tables(**{**good, "hidden": good["hidden"][:0]})  # which asks for none

    def refused(match=None, **changes):
        refuses("choose_tables", good, ValueError, match, coding_pass=given._replace(**changes))

    for name in ("table", "sign"):
        refuses("choose_tables", good, ValueError, "too few", **{name: good[name][:0]})
    refuses("choose_tables", good, ValueError, "hidden", hidden=good["hidden"][1:])
    for name, value in given._asdict().items():
        if isinstance(value, np.ndarray) and name not in ("c1", "c2", "available"):  # which say the sizes of others
            refused(**{name: value[:0]})
    for column, value in ((1, -1), (1, 10**9), (1, 1 << 62), (2, -5), (2, 1 << 40), (0, 3), (0, -1)):
        views = given.views.copy()
        views[0, column] = value
        refused("plane", views=views)
    refused(signed_count=-1)
    refused(signed_count=10**6)
    refused(rows=-1)
    refused(rows=10**6)
    for columns in (0, 10**6, -5):
        refused(columns=columns)
    beyond = given.available.copy()
    beyond[-1] = 10**6
    refused("does not have", available=beyond)


def test_arguments_have_names_and_types():
    good = _arguments_of_tables()
    given = good["coding_pass"]
    with pytest.raises(TypeError, match="named arguments"):
        compiled.choose_tables(given, table=good["table"], sign=good["sign"], hidden=good["hidden"])
    with pytest.raises(TypeError, match="sign is missing"):
        compiled.choose_tables(coding_pass=given, table=good["table"], hidden=good["hidden"])
    refuses("choose_tables", good, TypeError, "does not have", other=1)
    refuses("choose_tables", good, TypeError, "tuple of 16 items", coding_pass=given[:-1])
    refuses("choose_tables", good, TypeError, "tuple", coding_pass=None)
    refuses("choose_tables", good, ValueError, "items of 4 bytes", table=good["sign"])
    refuses("choose_tables", good, ValueError, "items of 8 bytes", coding_pass=given._replace(c1=given.views))
    refuses("choose_tables", good, OverflowError, "32 bits", coding_pass=given._replace(signed_count=1 << 31))
    refuses("choose_tables", good, TypeError, coding_pass=given._replace(rows=1.5))
    refuses("choose_tables", good, (ValueError, BufferError), table=np.zeros((999, 2), np.int16)[:, 0])
    compiled.choose_tables(**dict(reversed(good.items())))  # in any order


def _plane_that_claims(count):
    """An array that says it has `count` bytes, and has one: for calls that read none."""
    return as_strided(np.zeros(1, dtype=np.int8), (count,), (1,))


def test_features_may_lie_beyond_the_first_gibibyte_of_a_plane():
    """An image of 60 megapixels in one tile has so many differences."""
    end = (1 << 30) + 5
    arguments = _arguments_of_tables()
    views = arguments["coding_pass"].views.copy()
    given = arguments["coding_pass"]._replace(differences=_plane_that_claims(end), views=views, rows=0)
    arguments["coding_pass"] = given
    for index in ((1 << 30) + 1, end):
        views[-1, 1] = index
        compiled.choose_tables(**arguments)
    views[-1, 1] = end + 1
    with pytest.raises(ValueError, match="plane"):
        compiled.choose_tables(**arguments)


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


def test_decoder_kernels_stay_within_their_stream():
    words, state = np.zeros(0, dtype=np.uint32), np.zeros(4, dtype=np.uint64)
    compiled.start_decoding(state=state, words=words)
    of_bits = {"state": state, "words": words, "bits": 5, "values": np.empty(50, dtype=np.int32)}
    assert compiled.decode_bits(**of_bits)  # beyond the end there are zeros
    assert not of_bits["values"].any()
    tables = shipped().context.table_set
    numbers, numbers_out = np.zeros(9, dtype=np.int16), np.zeros(9, dtype=np.int32)
    good = {"state": state, "words": words, "cumulative": tables.cumulative, "guide": tables.guide}
    good |= {
        "shifts": tables.shifts,
        "numbers": numbers,
        "is_sorted": True,
        "order": numbers_out,
        "highs": numbers_out.copy(),
    }
    assert compiled.decode_highs(**good) >= 0
    for bad in (len(tables.tables), -1):
        refuses("decode_highs", good, ValueError, "table", numbers=np.full(9, bad, dtype=np.int16))
    wild = {**good, "guide": np.full_like(tables.guide, 255)}
    assert compiled.decode_highs(**wild) in (-1, 9)  # the last entry, or an invalid stream
    for short in ("state", "cumulative", "shifts", "order", "highs"):
        refuses("decode_highs", good, ValueError, "too few", **{short: good[short][:1]})
    refuses("decode_highs", good, ValueError, "no range", state=np.zeros(4, dtype=np.uint64))
    for bits in (-1, 25):
        refuses("decode_bits", of_bits, ValueError, "bits", bits=bits)


def test_the_wavelet_refuses_arrays_that_are_too_short():
    ints, floats = np.zeros(100, dtype=np.int32), np.zeros(100, dtype=np.float32)
    joined = {"low": ints, "band_0": ints, "band_1": ints, "band_2": ints, "step_0": 1, "step_1": 1, "step_2": 1}
    joined |= {"height": 10, "width": 10, "stride": 10, "samples": ints.copy()}
    compiled.synthesise_channel(**joined)
    refuses("synthesise_channel", joined, ValueError, "too few", height=40, width=40)
    refuses("synthesise_channel", joined, ValueError, "too few", stride=11)
    refuses("synthesise_channel", joined, ValueError, "sizes", step_0=0)
    refuses("synthesise_channel", joined, ValueError, "sizes", stride=9)
    split = {"plane": floats, "height": 10, "width": 10}
    split |= {name: floats.copy() for name in ("low", "band_0", "band_1", "band_2")}
    compiled.analyse_channel(**split)
    for name in ("plane", "low", "band_0", "band_1", "band_2"):
        refuses("analyse_channel", split, ValueError, "too few", **{name: floats[:9]})
    for name in ("low", "band_0", "band_1", "band_2"):
        refuses("synthesise_channel", joined, ValueError, "too few", **{name: ints[:9]})
    for height, width in ((0, 10), (10, -1), (1 << 31, 4), (1 << 32, 1 << 32)):
        refuses("analyse_channel", split, ValueError, "sizes", height=height, width=width)
        refuses("synthesise_channel", joined, ValueError, "sizes", height=height, width=width)
    low = {"low": ints, "height": 10, "width": 10, "level_step": 64, "offsets": np.zeros((4, 2), np.int32)}
    low |= {"companded": ints, "first_row": 0, "last_row": 10, "differences": np.zeros(400, np.int8)}
    compiled.low_differences(**low)
    for name in ("low", "companded", "differences"):
        refuses("low_differences", low, ValueError, "too few", **{name: low[name][:0]})
    refuses("low_differences", low, ValueError, "padding", offsets=np.full((1, 2), 3, np.int32))
    refuses("low_differences", low, ValueError, "sizes", last_row=11)


def test_the_networks_and_colours_refuse_arrays_that_are_too_short():
    floats = np.zeros(100, dtype=np.float32)
    network, samples = shipped().correction, np.zeros(3 * 36 * 36, dtype=np.int32)
    good = {"weights": network.flat_weights, "factors": network.flat_factors, "depth": network.depth}
    good |= {"first_constants": network.first_constants(0)}
    good |= {"samples": samples, "channels": 3, "height": 36, "width": 36, "step_size": 64}
    good |= {"block_height": 16, "block_width": 16, "residual": np.zeros(768, dtype=np.float32)}
    compiled.correction_residual(**good)
    for name in ("weights", "factors", "samples", "residual"):
        refuses("correction_residual", good, ValueError, "too few", **{name: good[name][:-1]})
    widths = ({"first_constants": np.zeros(count, dtype=np.int32)} for count in (0, 129, 4000))
    sizes = *widths, {"depth": 9}, {"block_height": 14}, {"step_size": 0}, {"step_size": MAX_UNITS + 1}
    for changes in (*sizes, {"step_size": -1}, {"height": -1}, {"channels": 0}, {"depth": -1}):
        refuses("correction_residual", good, ValueError, "sizes", **changes)
    refuses("correction_residual", good, ValueError, r"sizes|too few", channels=4)
    filtering = {"weights": floats, "taps": np.zeros((1, 2), np.int32), "radius": 2, "samples": samples}
    filtering |= {"channels": 3, "height": 5, "width": 5, "residual": floats}
    compiled.filter_residual(**filtering)
    for name in ("weights", "samples", "residual"):
        refuses("filter_residual", filtering, ValueError, "too few", **{name: filtering[name][:5]})
    refuses("filter_residual", filtering, ValueError, "radius", taps=np.full((1, 2), 3, np.int32))
    for changes in ({"radius": -1}, {"radius": 65}, {"channels": 2}, {"height": 0}, {"width": 1 << 31}):
        refuses("filter_residual", filtering, ValueError, r"sizes|too few", **changes)
    colours = {"planes": floats, "channels": 3, "height": 5, "width": 5, "basis": floats, "scale": 1.0, "middle": 0.0}
    colours |= {"peak": 255.0, "pixels": np.zeros(75, np.uint8)}
    compiled.planes_to_pixels(**colours)
    for name in ("planes", "basis", "pixels"):
        refuses("planes_to_pixels", colours, ValueError, "too few", **{name: colours[name][:5]})
    refuses("planes_to_pixels", colours, ValueError, "too few", peak=65535.0)
    for changes in ({"channels": 2}, {"peak": 0.0}, {"peak": 65536.0}, {"peak": float("nan")}):
        refuses("planes_to_pixels", colours, ValueError, "sizes", **changes)


def test_symbols_of_a_pass_refuse_what_does_not_fit():
    ints, small = np.zeros(100, dtype=np.int32), np.zeros(100, dtype=np.int8)
    good = {"symbols": ints, "table": np.zeros(25, dtype=np.int16), "sign": ints, "rows": 5, "columns": 5}
    good |= {"offsets": np.zeros((3, 7), dtype=np.int32), "next_state": np.zeros((8, 2), np.int8)}
    good |= {"states": small.copy(), "state_stride": 5, "companded": small, "plane": small.copy(), "plane_start": 0}
    good |= {"plane_stride": 10, "fine": ints.copy(), "fine_start": 0, "fine_stride": 20}

    def refused(match, **changes):
        refuses("accept_symbols", good, ValueError, match, **changes)

    compiled.accept_symbols(**good)
    for name in ("symbols", "table", "sign", "next_state", "states", "companded", "plane", "fine"):
        refused("too few", **{name: good[name].ravel()[: 0 if name == "companded" else 15]})
    refused("does not exist", table=np.full(25, 3, np.int16))
    refused("does not exist", states=np.full(100, 8, np.int8))
    refused("too few", plane_start=90)
    for start, stride in ((0, 50), (1, 1 << 33), (-1, 20), (1 << 62, 1)):
        refused(r"too few|sizes", fine_start=start, fine_stride=stride)
    refused("sizes", rows=1 << 32, columns=1 << 32)
    for changes in ({"rows": 0}, {"columns": 0}, {"state_stride": 4}):
        refused("sizes", **changes)


def test_wavefronts_refuse_positions_beyond_their_grids():
    network = overfitted_weights_of(OVERFITTED_SMALL.id).network
    grid = np.zeros((9, 11), dtype=np.int32)
    context = GridContext(network, 0, grid, [np.zeros((5, 6), dtype=np.int32)])
    front = list(wavefronts(0, grid.shape))[12]
    choice = context.choose_tables(front)
    count, stride = len(front.rows), context._stride
    first, step = front.places(stride)
    of_plane = {"plane": context._plane, "plane_start": context._origin + first, "plane_stride": step}
    own_start, own_stride = front.places(11)
    good = {"network": context._network.arrays, **of_plane, "causal": context._causal, "count": count}
    good |= {"coarser": context._coarser, "coarser_start": own_start, "coarser_stride": own_stride}
    good |= {"table": choice.table, "sign": choice.sign, "middle": choice.middle}
    compiled.choose_wavefront_tables(**good)
    changes = [{"plane_start": -1}, {"plane_start": 10**9}, {"plane_stride": -1}, {"plane_start": 0}]
    changes += [{"coarser_start": 98, "coarser_stride": 9}, {"coarser_start": -1}, {"count": 0}, {"count": 10**6}]
    changes += [{"plane": context._plane[:2]}, {"coarser": good["coarser"][:3]}, {"table": choice.table[:1]}]
    changes += [{"causal": context._causal + 9}, {"causal": context._causal * 1000}, {"causal": context._causal[:-1]}]
    changes += [{"sign": choice.sign[:1]}, {"middle": choice.middle[:1]}]
    weights, few = good["network"], np.zeros(1, np.float32)
    changes += [{"network": weights._replace(**{name: few})} for name in weights._fields if name != "second_constants"]
    for change in changes:
        refuses("choose_wavefront_tables", good, ValueError, **change)
    symbols, numbers = np.zeros(count, dtype=np.int32), np.zeros(64, dtype=np.float32)
    good = {"symbols": symbols, "companded": numbers, "grid": grid, "grid_start": own_start, "grid_stride": own_stride}
    good |= of_plane
    compiled.accept_wavefront(**good)
    changes = [{"grid_start": 98, "grid_stride": 9}, {"grid_start": -1, "grid_stride": 9}, {"plane_start": 10**9}]
    for change in (*changes, {"symbols": symbols[:0]}, {"companded": numbers[:0]}, {"grid": grid[:1]}):
        refuses("accept_wavefront", good, ValueError, "beyond", **change)


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
    good = {"table": table, "pixels": pixels.copy(), "channel": 0, "count": 65, "channels": channels}
    good |= {"values": np.zeros(65, dtype=np.float32)}
    compiled.look_up_samples(**good)
    for name, bad in (("table", table[:255]), ("pixels", pixels[:2].copy()), ("values", good["values"][1:])):
        refuses("look_up_samples", good, ValueError, "too few", **{name: bad})
    for name, bad in (("channel", channels), ("channel", -1), ("count", -1), ("channels", 0)):
        refuses("look_up_samples", good, ValueError, r"channel|sizes", **{name: bad})


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
def test_ssimulacra2_has_the_gradient_of_numpy(size):
    images = _two_images(*size)
    parts = np.random.default_rng(1).random((3, 2, 3), dtype=np.float32)
    with without_kernels():
        expected = ssimulacra2._slopes(*images, parts)
    for instruction_set in INSTRUCTION_SETS:
        with by(instruction_set):
            found = ssimulacra2._slopes(*images, parts)
            assert np.mean(np.abs(found - expected) < 0.005 * np.std(expected)) > 0.999  # else at a kink of an error


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_planes_are_those_of_numpy(dtype):
    pixels = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (33, 47, 3), dtype=dtype)[1:, ::2]
    basis = ColourBasis(37, Luma.REC_601)
    found = pixels_to_planes(pixels, basis)
    with without_kernels():
        assert np.abs(found - pixels_to_planes(pixels, basis)).max() < 1e-3


def test_bits_are_those_of_numpy():
    rng, context = np.random.default_rng(0), shipped().context
    table = rng.integers(0, len(context.tables), 500).astype(np.int16)
    choice = TableChoice(table, rng.choice(np.array([-1, 1], dtype=np.int32), 500))
    symbols = rng.integers(-2 * RADIUS, 2 * RADIUS, 500).astype(np.int32)
    found = context.bits_of(symbols, choice)
    with without_kernels():
        assert found == pytest.approx(context.bits_of(symbols, choice), rel=1e-6)


# The files in C

KERNELS = Path(__file__).parents[2] / "dfmcodec" / "kernels"


# The module and the expression that define each constant of C.
CONSTANTS = {
    "PRECISION_BITS": "entropy.tables PRECISION_BITS",
    "RADIUS": "entropy.tables RADIUS",
    "ESCAPE": "entropy.tables ESCAPE",
    "TABLE_SIZE": "entropy.tables TABLE_SIZE",
    "LAPLACE_COUNT": "entropy.tables LAPLACE_COUNT",
    "UNIT_SCALE_INDEX": "entropy.tables UNIT_SCALE_INDEX",
    "LAST_DIRECT": "entropy.tables LAST_DIRECT",
    "MEANS_PER_SYMBOL": "entropy.tables MEANS_PER_SYMBOL",
    "SYMBOL_MEANS": "entropy.tables MEANS",
    "GUIDE_BITS": "entropy.table_set GUIDE_BITS",
    "CHANNELS": "image.region CHANNELS",
    "STATES": "codecs.wavelet.trellis STATES",
    "QUANTIZERS": "codecs.wavelet.trellis QUANTIZERS",
    "FINE": "codecs.wavelet.quantizer FINE",
    "OFFSET_SYMBOLS": "codecs.wavelet.context OFFSET_SYMBOLS",
    "TABLES_PER_QUANTIZER": "codecs.wavelet.context TABLES_PER_QUANTIZER",
    "DIRECT_TABLES": "codecs.wavelet.context DIRECT_TABLES",
    "EMPTY_CONTEXT": "codecs.wavelet.context EMPTY_CONTEXT",
    "CONSTANT_UNIT": "codecs.wavelet.adaptation CONSTANT_UNIT",
    "LIFTING_BITS": "codecs.wavelet.transform FRACTION_BITS",
    "ALPHA": "codecs.wavelet.transform _ALPHA",
    "BETA": "codecs.wavelet.transform _BETA",
    "GAMMA": "codecs.wavelet.transform _GAMMA",
    "DELTA": "codecs.wavelet.transform _DELTA",
    "LOW_GAIN": "codecs.wavelet.transform _LOW_GAIN",
    "MAX_UNITS": "codecs.wavelet.transform MAX_UNITS",
    "LOW_PAD": "codecs.wavelet.neighbourhood _PAD",
    "CELL_SAMPLES": "codecs.wavelet.correction CELL_SAMPLES",
    "CELLS_AROUND": "codecs.wavelet.correction CELLS_AROUND**2",
    "CORRECTION_FEATURES": "codecs.wavelet.correction FEATURES",
    "DIMENSIONS_PER_MOVED": "codecs.wavelet.correction _DIMENSIONS_PER_MOVED",
    "GRID_LEVELS": "codecs.overfitted.grids GRID_LEVELS",
    "CAUSAL_FEATURES": "codecs.overfitted.context len(CAUSAL)",
    "CELL_FEATURES": "codecs.overfitted.context len(SQUARE)",
    "COARSER_FEATURES": "codecs.overfitted.context COARSER",
    "GRID_FEATURES": "codecs.overfitted.context FEATURES",
    "MAX_MEAN": "codecs.overfitted.context _MAX_MEAN",
    "HALO": "codecs.overfitted.synthesis HALO",
    "TAPS": "codecs.overfitted.synthesis TAPS",
    "STAGES": "codecs.overfitted.synthesis STAGES",
    "WINDOW": "codecs.overfitted.encode.windows WINDOW",
}


def test_constants_of_c_are_those_of_python():
    values = {}
    for name, place in CONSTANTS.items():
        module, _, expression = place.partition(" ")
        values[name] = int(eval(expression, vars(importlib.import_module(f"dfmcodec.{module}"))))
    header = (KERNELS / "constants.h").read_text()
    assert {name: int(value) for name, value in re.findall(r"(\w+) = (-?\d+),", header)} == values
    offsets = re.findall(r"\{(-?\d+), (-?\d+)\},", header)
    assert [(int(y), int(x)) for y, x in offsets] == [(int(y), int(x)) for y, x in CAUSAL]
    counts = {field.count for kernel in make_kernel_interface.kernels() for field in kernel.fields if field.is_array}
    assert counts == {1, values["GRID_LEVELS"]}


def test_kernels_know_nothing_of_python():
    """All files but `module.c`: WebAssembly and others can have them."""
    texts = {path.name: path.read_text() for path in KERNELS.glob("*.[ch]")}
    assert [name for name, text in texts.items() if re.search(r"Python\.h|\bPy[A-Z_]", text)] == ["module.c"]


@pytest.mark.skipif(not shutil.which("cc"), reason="no C compiler")
def test_kernels_compile_without_the_headers_of_python(tmp_path):
    """Those for AVX2 and AVX-512 are the same files once more."""
    generated = make_kernel_interface.make(tmp_path, has_targets=False)
    sources = [str(path) for path in (*KERNELS.glob("*.c"), *generated) if path.name != "module.c"]
    command = ["cc", "-fsyntax-only", "-Wno-psabi", f"-I{KERNELS}", f"-I{tmp_path}", *sources]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


_of_glibc = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc" or not has_kernels() or "LD_PRELOAD" in os.environ,
    reason="another allocator than that of glibc, or no kernels",
)


@_of_glibc
def test_threads_of_a_program_take_memory_from_one_place():
    program = """import re, threading, numpy as np, ctypes
from dfmcodec.kernels import share_memory
assert share_memory()
threads = [threading.Thread(target=lambda: kept.append(np.ones(2000))) for kept in [[]] for _ in range(4)]
[thread.start() for thread in threads], [thread.join() for thread in threads]
ctypes.CDLL(None).malloc_stats()"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stderr.count("Arena ") == 1


@_of_glibc
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no /proc")
def test_memory_of_freed_arrays_is_returned():
    program = """import numpy as np
from dfmcodec.kernels import return_memory, share_memory
def resident_pages(): return int(open("/proc/self/statm").read().split()[1])
assert share_memory()
arrays = [np.ones(1 << 17) for _ in range(64)]  # 64 MB
kept, arrays = arrays[-1], None
before = resident_pages()
return_memory()
print((before - resident_pages()) * 4096 > 48 << 20)"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout == "True\n"
