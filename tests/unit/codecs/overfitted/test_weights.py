"""Tests of the pretrained weights of the overfitted codec, and of weight deltas in files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from overfitted_parts import some_weight_arrays

import dfmcodec
from dfmcodec.codecs.overfitted.context import GridNetwork
from dfmcodec.codecs.overfitted.grids import LMBDA_CODES, code_of_lmbda, lmbda_of_code, symbol_step
from dfmcodec.codecs.overfitted.weights import (
    CONTEXT_DELTAS,
    DELTA_NAMES,
    EXPONENTS,
    SYNTHESIS_DELTAS,
    OverfittedWeights,
    WeightDeltas,
    overfitted_weights_of,
)
from dfmcodec.entropy.tables import LAPLACE_COUNT, MAX_SYMBOL
from dfmcodec.errors import DfmError, UnsupportedVersionError
from dfmcodec.models import Model
from dfmcodec.weights.registry import shipped_ids

FOLDER = Path(dfmcodec.__file__).parent / "weights"


@pytest.fixture(scope="module")
def weights() -> OverfittedWeights:
    return OverfittedWeights.from_arrays(some_weight_arrays())


def first_of_kind(weights: OverfittedWeights, kind: int) -> tuple[int, int]:
    """The numbers of the weights of a kind, from the first up to the one after the last."""
    assert tuple(name for name, _ in weights.shapes) == DELTA_NAMES
    ends = np.cumsum([0, *(int(np.prod(shape)) for _, shape in weights.shapes)])
    return int(ends[kind]), int(ends[kind + 1])


# Multipliers


def test_codes_of_multipliers() -> None:
    """A quarter octave each; the nearest code of any multiplier, and the last ones beyond all."""
    assert lmbda_of_code(0) == 1e-3
    for code in LMBDA_CODES:
        assert code_of_lmbda(lmbda_of_code(code)) == code
        assert code_of_lmbda(lmbda_of_code(code) * 2**0.12) == code
        assert lmbda_of_code(code) == pytest.approx(1e-3 * 2 ** (code / 4))
        assert symbol_step(code) == pytest.approx(symbol_step(0) * 2 ** (code / 8))
    assert (code_of_lmbda(1e-9), code_of_lmbda(1e3)) == (LMBDA_CODES[0], LMBDA_CODES[-1])


# Changes


def test_each_kind_of_change_has_its_own_weights(weights: OverfittedWeights) -> None:
    """In the order of the names; the bypasses of synthesis and contexts are two kinds."""
    kinds = weights.kinds()
    assert kinds.shape == (weights.weight_count,)
    for kind in range(len(DELTA_NAMES)):
        first, end = first_of_kind(weights, kind)
        assert np.flatnonzero(kinds == kind).tolist() == list(range(first, end)), DELTA_NAMES[kind]


def test_no_changes_are_the_networks_of_the_weights(weights: OverfittedWeights) -> None:
    none = WeightDeltas((0,) * len(DELTA_NAMES), np.zeros(weights.weight_count, dtype=np.int32))
    for deltas in (None, none):
        network, synthesis = weights.networks_of(deltas)
        assert all(np.array_equal(*pair) for pair in zip(synthesis, weights.synthesis, strict=True))
        for name in GridNetwork.LIMITS:
            assert np.array_equal(getattr(network, name), getattr(weights.network, name))


@pytest.mark.parametrize("exponent", [EXPONENTS[0], -3, 0, EXPONENTS[-1]])
def test_changes_of_contexts_are_integer_steps_within_limits(weights: OverfittedWeights, exponent: int) -> None:
    """clip(w + q step), with step = max(1, round(2^e d)) in integers: the largest symbols do not
    wrap around.
    """
    rng = np.random.default_rng(2)
    symbols = rng.integers(-9, 10, weights.weight_count).astype(np.int32)
    for kind in range(len(SYNTHESIS_DELTAS), len(DELTA_NAMES)):
        first, _ = first_of_kind(weights, kind)
        symbols[first : first + 2] = MAX_SYMBOL, -MAX_SYMBOL
    network, _ = weights.networks_of(WeightDeltas((exponent,) * len(DELTA_NAMES), symbols))
    assert {getattr(network, name).dtype for name in network.LIMITS} == {np.dtype(np.float32)}
    network.check_exact()
    steps = np.maximum(np.rint(weights.steps.astype(np.float64) * 2.0**exponent), 1).astype(np.int64)
    added = weights.split(symbols * steps)[len(SYNTHESIS_DELTAS) :]
    for name, change in zip(CONTEXT_DELTAS, added, strict=True):
        limit = GridNetwork.LIMITS[name]
        wanted = getattr(weights.network, name).astype(np.int64) + change
        assert np.array_equal(getattr(network, name), np.clip(wanted, -limit, limit)), name


def test_changes_of_the_synthesis_are_steps_by_kind(weights: OverfittedWeights) -> None:
    """Each kind by its own exponent."""
    exponents = tuple(range(-8, -8 + len(DELTA_NAMES)))
    symbols = np.random.default_rng(3).integers(-9, 10, weights.weight_count).astype(np.int32)
    _, synthesis = weights.networks_of(WeightDeltas(exponents, symbols))
    for kind, (found, start) in enumerate(zip(synthesis, weights.synthesis, strict=True)):
        first, end = first_of_kind(weights, kind)
        change = symbols[first:end] * weights.steps[first:end] * 2.0 ** exponents[kind]
        assert np.allclose(found, start + change.reshape(start.shape), atol=1e-5), DELTA_NAMES[kind]


def test_tables_go_an_octave_further_for_half_the_step(weights: OverfittedWeights) -> None:
    exponents = tuple(EXPONENTS[5 * kind % len(EXPONENTS)] for kind in range(len(DELTA_NAMES)))
    found = weights.table_indices(exponents)
    for kind, exponent in enumerate(exponents):
        own = slice(*first_of_kind(weights, kind))
        wanted = np.clip(weights.tables[own].astype(int) - 4 * exponent, 0, LAPLACE_COUNT - 1)
        assert np.array_equal(found[own], wanted), DELTA_NAMES[kind]


# Arrays and files


@pytest.mark.parametrize(
    ("name", "factor", "message"),
    [
        ("context_w1", 1000, "w1 of the pretrained context network .* beyond 1023"),
        ("context_bypass", 1000, "bypass of the pretrained context network .* beyond"),
        ("context_c1", 100_000, "c1 of the pretrained context network .* beyond"),
        ("context_c2", 0.3, "c2 of a context network .* not integers"),
    ],
)
def test_weights_that_are_not_exact_are_refused(name: str, factor: float, message: str) -> None:
    arrays = some_weight_arrays()
    arrays[name] = arrays[name] * factor
    with pytest.raises(DfmError, match=message):
        OverfittedWeights.from_arrays(arrays)


def test_weights_whose_arrays_do_not_fit_is_refused() -> None:
    arrays = some_weight_arrays()
    for name in GridNetwork.LIMITS:
        name = f"context_{name}"
        with pytest.raises(DfmError, match="has the shape"):
            OverfittedWeights.from_arrays(arrays | {name: arrays[name][:-1]})


def test_the_weights_id_is_that_of_its_arrays(weights: OverfittedWeights) -> None:
    arrays = some_weight_arrays()
    assert OverfittedWeights.from_arrays(arrays).checksum == weights.checksum
    arrays["change_tables"][0] ^= 1
    assert OverfittedWeights.from_arrays(arrays).checksum != weights.checksum


def test_shipped_weights_have_the_ids_of_the_registry() -> None:
    for weights_id in shipped_ids(Model.OVERFITTED):
        assert overfitted_weights_of(weights_id).checksum == weights_id
    with pytest.raises(UnsupportedVersionError, match="needs weights 12345678"):
        overfitted_weights_of(0x12345678)
