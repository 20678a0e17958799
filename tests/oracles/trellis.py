"""The trellis search of the wavelet codec, in NumPy; see `trellis_search`."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from dfmcodec._types import Float32, Symbols
from dfmcodec.codecs.wavelet.context import DIRECT_TABLES, TABLES_PER_QUANTIZER
from dfmcodec.codecs.wavelet.encode.trellis_search import _BRANCH, _SOURCE, PathChooser, pass_coefficients
from dfmcodec.codecs.wavelet.neighbourhood import COMPANDED
from dfmcodec.codecs.wavelet.passes import CodingPass
from dfmcodec.codecs.wavelet.trellis import QUANTIZERS, STATES
from dfmcodec.entropy.tables import RADIUS, TABLE_SIZE
from dfmcodec.threads import in_threads

_LAST = len(COMPANDED) - 1
_BLOCK_CELLS = 4096
_UNREACHED = 1e30


def symbols_of_level(chooser: PathChooser, coding_passes: list[CodingPass]) -> dict[CodingPass, Symbols]:
    """Returns the symbols of the passes of a level."""
    shapes, rows, columns = chooser._shapes(coding_passes)
    inputs = [_inputs(chooser, coding_pass, shape) for coding_pass, shape in zip(coding_passes, shapes, strict=True)]
    found = [np.empty(shape, dtype=np.int32) for shape in shapes]
    block_rows = max(1, _BLOCK_CELLS // columns)

    def choose(first: int) -> None:
        _block(chooser, inputs, shapes, first, min(rows, first + block_rows), columns, found)

    in_threads(choose, range(0, rows, block_rows))
    return {coding_pass: symbols.ravel() for coding_pass, symbols in zip(coding_passes, found, strict=True)}


def _pass_weights(chooser: PathChooser, coding_pass: CodingPass, shape: tuple[int, int]) -> Float32:
    if chooser.weights is None:
        return np.ones(shape, dtype=np.float32)
    return chooser.weights.of_pass(coding_pass, shape)


def _inputs(chooser: PathChooser, coding_pass: CodingPass, shape: tuple[int, int]) -> list[npt.NDArray[Any]]:
    choice = chooser.tables(coding_pass)
    table, sign = np.abs(choice) - 1, np.sign(choice).astype(np.float32)
    c = pass_coefficients(chooser.pyramid, chooser.q_step, coding_pass) * sign
    weights = _pass_weights(chooser, coding_pass, shape)
    inputs: list[npt.NDArray[Any]] = [c, sign, chooser._rescaled[table], weights]
    if chooser.dependency_costs is not None:
        signed, magnitude = chooser.dependency_costs.slopes(coding_pass)
        inputs += [signed * sign * np.float32(chooser.bit_cost), magnitude * np.float32(chooser.bit_cost)]
    return [values.reshape(shape) for values in inputs]


def _block(
    chooser: PathChooser,
    inputs: list[list[npt.NDArray[Any]]],
    shapes: list[tuple[int, int]],
    first: int,
    last: int,
    columns: int,
    found: list[Symbols],
) -> None:
    """Writes the symbols of the optimal paths of all cells in some rows of cells to `found`."""
    count = (last - first) * columns
    cost = np.full((STATES, count), _UNREACHED, dtype=np.float32)
    cost[0] = 0
    took_second = np.zeros((len(inputs), STATES, count), dtype=bool)
    candidates = np.zeros((len(inputs), 2 * QUANTIZERS, count), dtype=np.int32)
    present = [np.flatnonzero(_within(shape, first, last, columns)) for shape in shapes]
    for number, (arrays, here) in enumerate(zip(inputs, present, strict=True)):
        c, _, table, weight, *slopes = (values[first:last].ravel() for values in arrays)
        has_all = len(here) == count
        chosen, branch_cost = _candidates(chooser, c, table, weight, slopes)
        before = cost if has_all else cost[:, here]
        by_first = before[_SOURCE[:, 0]] + branch_cost[_BRANCH[:, 0]]
        by_second = before[_SOURCE[:, 1]] + branch_cost[_BRANCH[:, 1]]
        second, least = by_second < by_first, np.minimum(by_first, by_second)
        if has_all:
            cost, took_second[number], candidates[number] = least, second, chosen
        else:
            cost[:, here] = least
            took_second[number][:, here], candidates[number][:, here] = second, chosen
    state = cost.argmin(axis=0)
    for number in reversed(range(len(inputs))):
        here = present[number]
        at = state[here]
        transition = took_second[number][at, here].astype(np.intp)
        sign = inputs[number][1][first:last].ravel()
        symbols = candidates[number][_BRANCH[at, transition], here] * sign.astype(np.int32)
        width = shapes[number][1]
        found[number][first:last] = symbols.reshape(-1, width)
        state[here] = _SOURCE[at, transition]


def _candidates(
    chooser: PathChooser, c: Float32, table: npt.NDArray[np.int16], weight: Float32, slopes: list[Float32]
) -> tuple[Symbols, Float32]:
    """Returns the best symbols of each quantiser and parity, [2 quantiser + parity, N], and
    their costs.
    """
    direct = table < DIRECT_TABLES
    of_quantizer = TABLES_PER_QUANTIZER
    toward = np.copysign(np.float32(1), c)
    symbols = np.empty((2 * QUANTIZERS, c.size), dtype=np.int32)
    costs = np.empty((2 * QUANTIZERS, c.size), dtype=np.float32)
    for quantizer in range(QUANTIZERS):
        own = np.where(direct, table % of_quantizer + quantizer * of_quantizer, table)
        near = np.rint((c + toward * np.float32(quantizer)) / 2)
        zero = np.zeros_like(near)
        even = near % 2 == 0
        of_near, of_zero, of_less, of_more = (
            _cost(chooser, c, q, quantizer, own, weight, slopes) for q in (near, zero, near - toward, near + toward)
        )
        use_zero = of_zero < of_near
        same, same_cost = np.where(use_zero, zero, near), np.minimum(of_zero, of_near)
        use_less = of_less < of_more
        other, other_cost = np.where(use_less, near - toward, near + toward), np.minimum(of_less, of_more)
        better = ~even & (of_zero < other_cost)  # zero has the parity of the other candidates
        other, other_cost = np.where(better, zero, other), np.where(better, of_zero, other_cost)
        same, same_cost = np.where(even, same, near), np.where(even, same_cost, of_near)
        symbols[2 * quantizer] = np.where(even, same, other)
        symbols[2 * quantizer + 1] = np.where(even, other, same)
        costs[2 * quantizer] = np.where(even, same_cost, other_cost)
        costs[2 * quantizer + 1] = np.where(even, other_cost, same_cost)
    return symbols, costs


def _cost(
    chooser: PathChooser,
    c: Float32,
    q: Float32,
    quantizer: int,
    table: npt.NDArray[np.int16],
    weight: Float32,
    slopes: list[Float32],
) -> Float32:
    entry = (np.clip(q, -RADIUS, RADIUS) + RADIUS).astype(np.int32)
    entry += table.astype(np.int32) * TABLE_SIZE
    multiple = 2 * q
    if quantizer:
        multiple -= np.sign(q)
    cost = weight * (c - multiple - chooser._offsets[entry]) ** 2 + chooser._bits[entry]
    if slopes:
        magnitude = COMPANDED[np.minimum(np.abs(multiple), _LAST).astype(np.int32)]
        cost += slopes[0] * np.copysign(magnitude, multiple) + slopes[1] * magnitude
    return np.asarray(cost)


def _within(shape: tuple[int, int], first: int, last: int, columns: int) -> npt.NDArray[np.bool_]:
    """Indicates which cells of some rows have symbols in a pass, as a flat array."""
    rows = np.arange(first, last)[:, None] < shape[0]
    return np.asarray(rows & (np.arange(columns) < shape[1])).ravel()
