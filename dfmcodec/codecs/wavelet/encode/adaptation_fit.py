"""The fit of an image's adaptation of the context networks: gradient descent on bits, with a rate
cost for each unit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import cos, isfinite, pi

import numpy as np
import numpy.typing as npt

from dfmcodec._types import Float32, Int32, Symbols
from dfmcodec.codecs.wavelet.adaptation import CONSTANT_UNIT, ContextAdaptation, band_numbers
from dfmcodec.codecs.wavelet.context import EMPTY_CONTEXT, OUTPUT_SHIFT, ContextModel
from dfmcodec.codecs.wavelet.geometry import Tiling
from dfmcodec.codecs.wavelet.passes import CodingPass
from dfmcodec.codecs.wavelet.sections.adaptation import adaptation_bytes
from dfmcodec.codecs.wavelet.trellis import States
from dfmcodec.container.layout import STREAM_SECTION_BYTES
from dfmcodec.entropy.tables import RADIUS
from dfmcodec.kernels import compiled
from dfmcodec.threads import in_threads

_SYMBOLS_OF_LEVEL = 120_000  # the approximate number of samples per decomposition level
_BATCH = 4096
_RATES = (0.1, 0.4)  # learning rates of maps and constants, units
_UNIT_COST = 4.0  # the approximate cost of 1 instead of 0, in bits
_LEAST_GAIN = 1.5  # times the cost: symbols chosen under other tables overstate the gain of an adaptation
_MOMENTUM = 0.9
_WARM_UP = 10  # steps that only measure gradients


@dataclass(frozen=True)
class _Sampled:
    """Symbols of one phase, with the inputs of the last layer."""

    hidden: npt.NDArray[np.uint8]  # the inputs of the last layer, uint8 [N, hidden_2]
    sums: Float32  # the outputs without an adaptation, before the shift, float32 [N, 2]
    band: npt.NDArray[np.int64]  # the position of each symbol's band in `band_numbers`, int64 [N]
    symbols: Symbols  # int32 [N]
    quantizer: States  # the quantiser of each symbol, int8 [N]
    weight: Float32  # the number of symbols that each symbol represents, float32 [N]


class SymbolSample:
    """A random sample of an image's symbols, with the inputs of the last layers."""

    def __init__(self, context: ContextModel, tiling: Tiling, log_step: int, seed: int = 0) -> None:
        self.context = context
        self.geometry = tiling.tiles[0].geometry  # all tiles have the same bands
        self._symbols_of_finest_level = tiling.height * tiling.width * tiling.channels
        self._log_step = log_step
        self._rng = np.random.default_rng(seed)
        self._parts: dict[int, list[_Sampled]] = {}
        self._numbers = {band: number for number, band in enumerate(band_numbers(self.geometry))}

    def add(self, coding_pass: CodingPass, hidden: npt.NDArray[np.uint8], symbols: Symbols, quantizers: States) -> None:
        """Samples the N symbols of a pass whose context is not empty. For `hidden`, see
        `sources.add_gradient`.
        """
        part = min(1.0, _SYMBOLS_OF_LEVEL / (self._symbols_of_finest_level / 4**coding_pass.level))
        drawn = np.flatnonzero((self._rng.random(symbols.size) < part) & (hidden[:, 0] != EMPTY_CONTEXT))
        if not drawn.size:
            return
        network = self.context.networks[coding_pass.phase]
        sampled = hidden[drawn]
        constants = network.last_constants(coding_pass, self._log_step)
        self._parts.setdefault(coding_pass.phase, []).append(
            _Sampled(
                sampled,
                sampled.astype(np.float32) @ network.w3.T + constants,
                np.full(drawn.size, self._numbers[coding_pass.band], dtype=np.int64),
                symbols[drawn],
                quantizers[drawn],
                np.full(drawn.size, 1 / part, dtype=np.float32),
            )
        )

    def extend(self, other: SymbolSample) -> None:
        """Adds the sample of another tile."""
        for phase, parts in other._parts.items():
            self._parts.setdefault(phase, []).extend(parts)

    def by_phase(self) -> dict[int, _Sampled]:
        """Returns the samples of each phase that has any."""
        names = _Sampled.__dataclass_fields__
        return {
            phase: _Sampled(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})
            for phase, parts in self._parts.items()
        }


def fit_adaptation(
    sample: SymbolSample, start: ContextAdaptation | None, steps: int, check: Callable[[], None] = lambda: None
) -> ContextAdaptation | None:
    """Returns the adaptation that minimises the bits of the symbols plus its own bits, by descent
    from `start`; None if no adaptation lowers them. Raises FloatingPointError if gradients are NaN
    or infinite.
    """
    context = sample.context
    nothing = ContextAdaptation.none(context, sample.geometry)
    first = start or nothing
    maps, constants = nothing.maps.copy(), nothing.constants.copy()
    saved = 0.0

    def fit(phase_symbols: tuple[int, _Sampled]) -> tuple[tuple[Int32, Int32], float]:
        """Returns the map and constants of a phase, and the number of bits that they save."""
        phase, sampled = phase_symbols
        fitted = _descend(context, sampled, first.maps[phase], first.constants[phase], steps, seed=phase)
        before = _bits(context, sampled, nothing.maps[phase], nothing.constants[phase])
        return fitted, before - _bits(context, sampled, *fitted)

    by_phase = sample.by_phase()
    check()
    for phase, (fitted, gain) in zip(by_phase, in_threads(fit, by_phase.items()), strict=True):
        if gain > _LEAST_GAIN * 8 * adaptation_bytes(ContextAdaptation(fitted[0][None], fitted[1][None])):
            maps[phase], constants[phase] = fitted
            saved += gain
    chosen = ContextAdaptation(maps, constants)
    return chosen if saved > _LEAST_GAIN * 8 * (adaptation_bytes(chosen) + STREAM_SECTION_BYTES) else None


def _bits(context: ContextModel, sampled: _Sampled, maps: Int32, constants: Int32) -> float:
    """Returns the bits of the symbols under the tables that the adapted sums select."""
    sums = _adapted(sampled, slice(None), maps, constants)
    choice = context.choose_tables_from_outputs(
        np.floor((sums + OUTPUT_SHIFT // 2) / OUTPUT_SHIFT).T, sampled.quantizer
    )
    entry = np.clip(sampled.symbols * choice.sign, -RADIUS, RADIUS) + RADIUS
    return float((context.bits_of_entries(choice.table, entry) * sampled.weight).sum(dtype=np.float64))


def _adapted(sampled: _Sampled, chosen: slice | npt.NDArray[np.int64], maps: Int32, constants: Int32) -> Float32:
    change = (CONSTANT_UNIT * constants).astype(np.float32)[sampled.band[chosen]]
    sums: Float32 = (
        sampled.sums[chosen] + sampled.hidden[chosen].astype(np.float32) @ maps.T.astype(np.float32) + change
    )
    return sums


def _descend(
    context: ContextModel, sampled: _Sampled, maps: Int32, constants: Int32, steps: int, seed: int
) -> tuple[Int32, Int32]:
    """Minimises bits by stochastic gradient descent, with a soft threshold for the rate cost of
    each unit (proximal gradient).

    Gradients are scaled by their root mean square over all previous steps. Bits have rare large
    gradients. A decaying mean, as in Adam, would let frequent small ones outweigh them.
    """
    rng = np.random.default_rng(seed)
    shares = np.cumsum(sampled.weight, dtype=np.float64)
    values = [maps.astype(np.float32), constants.astype(np.float32)]
    means = [np.zeros_like(value) for value in values]
    squares = [np.zeros_like(value) for value in values]
    weight = np.float32(shares[-1] / _BATCH / OUTPUT_SHIFT)
    for step in range(1, steps + 1):
        drawn = np.sort(rng.random(_BATCH)) * shares[-1]  # sorted, for locality in the cache
        chosen = np.searchsorted(shares, drawn).astype(np.int64, copy=False)
        by_maps, by_constants = _gradient(
            context, sampled, chosen, *(np.rint(value).astype(np.int32) for value in values)
        )
        if not isfinite(by_constants.sum()):
            msg = "gradients of the adaptation"
            raise FloatingPointError(msg)
        for number, gradient in enumerate((weight * by_maps, weight * CONSTANT_UNIT * by_constants)):
            rate = _RATES[number] * 0.5 * (1 + cos(pi * step / steps))
            means[number] += (1 - _MOMENTUM) * (gradient - means[number])
            squares[number] += (gradient**2 - squares[number]) / step
            if step > _WARM_UP:
                size = np.sqrt(squares[number]) + 1e-3
                moved = values[number] - rate * means[number] / size
                values[number] = np.copysign(np.maximum(np.abs(moved) - rate * _UNIT_COST / size, 0), moved)
    rounded = [np.rint(value).astype(np.int32) for value in values]
    return rounded[0], rounded[1]


def _gradient(
    context: ContextModel, sampled: _Sampled, chosen: npt.NDArray[np.int64], maps: Int32, constants: Int32
) -> tuple[Float32, Float32]:
    """Returns the derivative of the bits of the chosen symbols with respect to maps, float32 [2,
    hidden_2], and to the constants added to the sums of each band, [bands, 2].
    """
    grad_maps, grad_constants = np.empty(maps.shape, dtype=np.float32), np.empty(constants.shape, dtype=np.float32)
    compiled.adaptation_gradient(
        hidden=sampled.hidden,
        sums=sampled.sums,
        band=sampled.band,
        symbols=sampled.symbols,
        quantizers=sampled.quantizer,
        chosen=chosen,
        maps=maps,
        constants=constants,
        bits=context.bits_of_outputs,
        scales=context.bits_of_outputs.shape[1],
        means=context.bits_of_outputs.shape[2],
        grad_maps=grad_maps,
        grad_constants=grad_constants,
    )
    return grad_maps, grad_constants
