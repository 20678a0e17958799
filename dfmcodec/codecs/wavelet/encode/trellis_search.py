"""Rate-distortion optimised quantisation: symbols as paths through the trellis, with rates from the
context model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dfmcodec._types import Float32, Symbols
from dfmcodec.codecs.wavelet.context import (
    OFFSET_SYMBOLS,
    TABLES_PER_QUANTIZER,
    ContextModel,
)
from dfmcodec.codecs.wavelet.encode.dependency_costs import DependencyCosts
from dfmcodec.codecs.wavelet.geometry import Geometry
from dfmcodec.codecs.wavelet.neighbourhood import COMPANDED
from dfmcodec.codecs.wavelet.passes import PHASES, CodingPass, Rows, level_passes, pass_shape
from dfmcodec.codecs.wavelet.quantizer import FINE, band_step, low_step
from dfmcodec.codecs.wavelet.transform import BAND_NORMS, UNITS_PER_CODE_VALUE, Pyramid
from dfmcodec.codecs.wavelet.trellis import NEXT_STATE, QUANTIZERS, STATES, quantizer_of
from dfmcodec.entropy.tables import RADIUS, TABLE_SIZE
from dfmcodec.kernels import compiled
from dfmcodec.kernels.arguments import PathPass
from dfmcodec.perception.distortion import CoefficientWeights
from dfmcodec.threads import in_threads, parts_of

STEP_UNIT = 1 << 8  # the steps of bands are in 1/256 units
_CERTAIN = np.float32(0.999)  # of a limit, which rounding may move


def _transitions() -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Returns the two transitions into each state: [state, transition] -> the previous state, and 2
    * quantiser + parity of the symbol.
    """
    source, branch = np.zeros((2, STATES, 2), dtype=np.intp)
    quantizers = quantizer_of(np.arange(STATES, dtype=np.int8))
    for state in range(STATES):
        for transition, (before, parity) in enumerate(np.argwhere(NEXT_STATE == state)):
            source[state, transition], branch[state, transition] = before, 2 * quantizers[before] + parity
    return source, branch


_SOURCE, _BRANCH = _transitions()


def pass_coefficients(pyramid: Pyramid, q_step: int, coding_pass: CodingPass) -> Float32:
    """Returns the coefficients of a coding pass in steps of their band, float32 [N]."""
    y, x = PHASES[coding_pass.phase]
    band = pyramid.bands[coding_pass.level][coding_pass.orientation][coding_pass.channel][y::2, x::2]
    steps: Float32 = (band * _per_step(q_step, coding_pass)).ravel()
    return steps


def _per_step(q_step: int, coding_pass: CodingPass) -> np.float32:
    """Returns the factor that converts coefficients of a pass to steps of their band."""
    of_band = band_step(q_step, BAND_NORMS[coding_pass.level][coding_pass.orientation])
    return np.float32(STEP_UNIT * UNITS_PER_CODE_VALUE / of_band)


def round_low(pyramid: Pyramid, q_step: int) -> Symbols:
    """Returns the symbols of the coarsest low-pass band, rounded to nearest, int32 [C, h, w]."""
    scale = np.float32(STEP_UNIT * UNITS_PER_CODE_VALUE / low_step(q_step, len(pyramid.bands)))
    symbols: Symbols = np.rint(pyramid.low * scale).astype(np.int32)
    return symbols


@dataclass
class PathChooser:
    """The choice of a tile's symbols by rate and distortion, as paths through the trellis (Viterbi
    1967).

    For a coefficient c, in steps, the cost of a symbol q is w (c - r(q))^2 + bit_cost * bits(q),
    where r is the reconstructed value and w the weight. Tables are guesses, or come from an earlier
    iteration with similar symbols. Bits are those of the symbol and, with `DependencyCosts`, the
    change of the bits of its neighbours. `tables` returns the tables of a pass, `packed`; the
    quantiser of direct tables is ignored. `rescaled` is the table to use in place of each of them;
    see `ContextModel.rescaled`.
    """

    pyramid: Pyramid
    geometry: Geometry
    q_step: int
    bit_cost: float
    context: ContextModel
    tables: Callable[[CodingPass], npt.NDArray[np.int16]]
    dependency_costs: DependencyCosts | None = None
    weights: CoefficientWeights | None = None
    rescaled: npt.NDArray[np.int16] | None = None

    def __post_init__(self) -> None:
        self._rescaled = np.arange(len(self.context.tables), dtype=np.int16) if self.rescaled is None else self.rescaled
        self._bits = (self.context.cost_bits * np.float32(self.bit_cost)).ravel()
        entries = np.clip(np.arange(TABLE_SIZE) - RADIUS, -OFFSET_SYMBOLS, OFFSET_SYMBOLS) + OFFSET_SYMBOLS
        offsets = self.context.offsets[:, entries].astype(np.float32) / np.float32(FINE)
        self._offsets = offsets.ravel()
        self._zero_limits = zero_limits(self.context.cost_bits, offsets)

    def symbols(self) -> dict[CodingPass, Symbols]:
        """Returns the symbols of all passes."""
        by_pass: dict[CodingPass, Symbols] = {}
        for level in range(self.geometry.levels):
            if coding_passes := level_passes(self.geometry, level):
                by_pass.update(self._level(coding_passes))
        return by_pass

    def _level(self, coding_passes: list[CodingPass]) -> dict[CodingPass, Symbols]:
        """Returns the symbols of the passes of a level."""
        shapes, rows, columns = self._shapes(coding_passes)
        by_pass = {
            coding_pass: np.empty(shape, dtype=np.int32)
            for coding_pass, shape in zip(coding_passes, shapes, strict=True)
        }
        passes = [self._path_pass(coding_pass, symbols) for coding_pass, symbols in by_pass.items()]
        transitions = np.concatenate([_SOURCE, _BRANCH], axis=1).astype(np.int8)

        def choose(block: Rows) -> None:
            compiled.choose_paths(
                passes=passes,
                has_costs=self.dependency_costs is not None,
                bit_cost=float(np.float32(self.bit_cost)),
                rescaled=self._rescaled,
                bits=self._bits,
                offsets=self._offsets,
                zero_limits=self._zero_limits,
                companded=COMPANDED,
                transitions=transitions,
                columns=columns,
                first_row=block.start,
                last_row=block.stop,
            )

        in_threads(choose, parts_of(range(rows)))
        return {coding_pass: symbols.ravel() for coding_pass, symbols in by_pass.items()}

    def _path_pass(self, coding_pass: CodingPass, symbols: Symbols) -> PathPass:
        """Returns the arrays of a pass for the kernel, which writes its symbols, int32 [rows,
        columns].
        """
        level, (y, x) = coding_pass.level, PHASES[coding_pass.phase]
        band = self.pyramid.bands[level][coding_pass.orientation][coding_pass.channel]
        none = np.zeros((0, 0), dtype=np.uint16)
        weights, factor = none, 1.0
        if self.weights is not None:
            weights = self.weights.of_channel(level, coding_pass.channel)[coding_pass.orientation]
            factor = self.weights.factors[coding_pass.channel]
        return PathPass(
            rows=symbols.shape[0],
            columns=symbols.shape[1],
            band=np.ascontiguousarray(band),
            band_start=y * band.shape[1] + x,
            band_stride=2 * band.shape[1],
            per_step=float(_per_step(self.q_step, coding_pass)),
            weights=weights,
            weights_start=y * weights.shape[1] + x,
            weights_stride=2 * weights.shape[1],
            weight_factor=factor,
            tables=self.tables(coding_pass),
            costs=none if self.dependency_costs is None else self.dependency_costs.halves(coding_pass),
            symbols=symbols,
        )

    def _shapes(self, coding_passes: list[CodingPass]) -> tuple[list[tuple[int, int]], int, int]:
        """Returns the shapes of passes, and the rows and columns of their cells."""
        shapes = [pass_shape(self.geometry, coding_pass) for coding_pass in coding_passes]
        rows, columns = (max(sides) for sides in zip(*shapes, strict=True))
        return shapes, rows, columns


def zero_limits(bits: Float32, offsets: Float32) -> Float32:
    """Returns the magnitude of a coefficient, in steps, up to which no symbol costs less than zero
    under a table, with any quantiser and weight; -1 if there is none. float32 [tables].

    A path whose symbols are all zero keeps the first quantiser, so no other path costs less if all
    coefficients of a cell are within these limits. `bits` and `offsets` are those of each entry,
    float32 [tables, TABLE_SIZE].
    """
    q = np.arange(TABLE_SIZE) - RADIUS
    by_quantizer = []
    for table in range(QUANTIZERS):
        rows = slice(table * TABLES_PER_QUANTIZER, (table + 1) * TABLES_PER_QUANTIZER)
        by_quantizer.append((bits[rows], 2 * q - np.sign(q) * table + offsets[rows]))
    zero_bits, zero_values = by_quantizer[0][0][:, RADIUS], by_quantizer[0][1][:, RADIUS]
    limits = np.full(TABLES_PER_QUANTIZER, np.inf, dtype=np.float32)
    for entry_bits, values in by_quantizer:
        middles = np.where(values == zero_values[:, None], np.inf, np.sign(q) * (values + zero_values[:, None]) / 2)
        middles[:, RADIUS][values[:, RADIUS] != zero_values] = -1
        is_least = zero_bits <= entry_bits.min(axis=1)
        limits = np.minimum(limits, np.where(is_least, _CERTAIN * middles.min(axis=1), -1))
    beyond = np.full(len(bits) - QUANTIZERS * TABLES_PER_QUANTIZER, -1, dtype=np.float32)
    return np.concatenate([*QUANTIZERS * [limits], beyond]).astype(np.float32)
