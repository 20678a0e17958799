"""The fit of a picture's own correction of the context networks: gradient descent on bits, weights at a price."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, isfinite, pi

import numpy as np
import numpy.typing as npt

from dfmcodec.context_correction import CONSTANT_UNIT, ContextCorrection, bands_of
from dfmcodec.entropy.context import OUTPUT_SHIFT, ContextModel
from dfmcodec.entropy.tables import RADIUS
from dfmcodec.latents import Tiling
from dfmcodec.model import Symbols
from dfmcodec.scan import Place
from dfmcodec.trellis import States

Float32 = npt.NDArray[np.float32]
Int32 = npt.NDArray[np.int32]

_SYMBOLS_OF_LEVEL = 120_000  # that are looked at
_BATCH = 4096
_STEPS = 120
_RATES = (0.1, 0.4)  # of maps and constants, units
_UNIT_PRICE = 4.0  # bits, about what 1 instead of 0 costs
_SECTION_BYTES = 9  # section entry, and the coder's last word
_LEAST_GAIN = 1.5  # over what it costs: symbols that were chosen under other tables flatter a correction
_MOMENTUM = 0.9
_WARM_UP = 10  # steps that only measure gradients


@dataclass(frozen=True)
class _Seen:
    """Symbols of one phase, N of them.

    Args:
        hidden: uint8 [N, hidden_2].
        sums: float32 [N, 2]: what the last layer makes of them, without a correction, before the shift.
        band: intp [N], among `bands_of`.
        symbols: int32 [N].
        quantizer: int8 [N].
        weight: float32 [N]: how many each stands for.
    """

    hidden: npt.NDArray[np.uint8]
    sums: Float32
    band: npt.NDArray[np.intp]
    symbols: Symbols
    quantizer: States
    weight: Float32


class SymbolSample:
    """A random part of a picture's symbols with what the last layers see of their contexts.

    Args:
        context: The prior's model, not corrected.
        tiling: The picture's tiles.
        log_step: See `scan.log_step`.
    """

    def __init__(self, context: ContextModel, tiling: Tiling, log_step: int) -> None:
        self.context = context
        self.geometry = tiling.tiles[0].geometry  # all tiles have the same bands
        self._symbols_of_finest_level = tiling.height * tiling.width * tiling.colours
        self._log_step = log_step
        self._rng = np.random.default_rng(0)
        self._parts: dict[int, list[_Seen]] = {}
        self._numbers = {band: number for number, band in enumerate(bands_of(self.geometry))}

    def add(
        self, features: Float32, known: npt.NDArray[np.intp], place: Place, symbols: Symbols, quantizers: States
    ) -> None:
        """Takes some of N symbols of a pass; features float32 [K, N] as of `Scan.features`."""
        part = min(1.0, _SYMBOLS_OF_LEVEL / (self._symbols_of_finest_level / 4**place.level))
        kept = np.flatnonzero(self._rng.random(symbols.size) < part)
        network = self.context.networks[place.phase]
        hidden = network.hidden(features[:, kept], known, place, self._log_step, np)
        constants = network.last_constants(place, self._log_step)
        self._parts.setdefault(place.phase, []).append(
            _Seen(
                np.ascontiguousarray(hidden.T.astype(np.uint8)),
                np.ascontiguousarray((network.w3 @ hidden + constants[:, None]).T),
                np.full(kept.size, self._numbers[place.band], dtype=np.intp),
                symbols[kept],
                quantizers[kept],
                np.full(kept.size, 1 / part, dtype=np.float32),
            )
        )

    def by_phase(self) -> dict[int, _Seen]:
        """All of each phase that has any."""
        names = _Seen.__dataclass_fields__
        return {
            phase: _Seen(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})
            for phase, parts in self._parts.items()
        }


def fit_correction(sample: SymbolSample, start: ContextCorrection | None) -> ContextCorrection | None:
    """The correction that lowers the bits of symbols and of itself most; None where none lowers them.

    Args:
        sample: Of the picture's symbols.
        start: To go on from.

    Raises:
        FloatingPointError: Gradients are not finite.
    """
    context = sample.context
    nothing = ContextCorrection.none(context, sample.geometry)
    first = start or nothing
    maps, constants = nothing.maps.copy(), nothing.constants.copy()
    saved = 0.0
    for phase, seen in sample.by_phase().items():
        found = _descend(context, seen, first.maps[phase], first.constants[phase], phase)
        gain = _bits(context, seen, nothing.maps[phase], nothing.constants[phase]) - _bits(context, seen, *found)
        if gain > _LEAST_GAIN * 8 * ContextCorrection(found[0][None], found[1][None]).file_bytes:
            maps[phase], constants[phase] = found
            saved += gain
    chosen = ContextCorrection(maps, constants)
    return chosen if saved > _LEAST_GAIN * 8 * (chosen.file_bytes + _SECTION_BYTES) else None


def _bits(context: ContextModel, seen: _Seen, maps: Int32, constants: Int32) -> float:
    """Bits of the symbols under the tables that corrected sums choose."""
    sums = _corrected(seen, slice(None), maps, constants)
    groups = context.groups_of_outputs(np.floor((sums + OUTPUT_SHIFT // 2) / OUTPUT_SHIFT).T, seen.quantizer)
    entry = np.clip(seen.symbols * groups.sign, -RADIUS, RADIUS) + RADIUS
    return float((context.cost_bits[groups.table, entry] * seen.weight).sum(dtype=np.float64))


def _corrected(seen: _Seen, chosen: slice | npt.NDArray[np.intp], maps: Int32, constants: Int32) -> Float32:
    change = (CONSTANT_UNIT * constants).astype(np.float32)[seen.band[chosen]]
    found: Float32 = seen.sums[chosen] + seen.hidden[chosen].astype(np.float32) @ maps.T.astype(np.float32) + change
    return found


def _descend(context: ContextModel, seen: _Seen, maps: Int32, constants: Int32, seed: int) -> tuple[Int32, Int32]:
    """Stochastic gradient descent on bits, with a soft threshold for the price of each unit (proximal gradient).

    Gradients are scaled by their root mean square over all steps so far: bits have rare large gradients, which a mean
    that forgets, as Adam's, would let the frequent small ones outweigh.
    """
    rng = np.random.default_rng(seed)
    shares = np.cumsum(seen.weight, dtype=np.float64)
    values = [maps.astype(np.float32), constants.astype(np.float32)]
    means = [np.zeros_like(value) for value in values]
    squares = [np.zeros_like(value) for value in values]
    for step in range(1, _STEPS + 1):
        chosen = np.searchsorted(shares, rng.random(_BATCH) * shares[-1])
        rounded = [np.rint(value).astype(np.int32) for value in values]
        outputs = _corrected(seen, chosen, *rounded).T * np.float32(1 / OUTPUT_SHIFT)
        by_outputs = context.slopes(outputs, seen.symbols[chosen], seen.quantizer[chosen]).T
        by_outputs *= np.float32(shares[-1] / _BATCH / OUTPUT_SHIFT)
        by_constants = np.stack(
            [np.bincount(seen.band[chosen], by_outputs[:, output], len(constants)) for output in (0, 1)], axis=1
        )
        if not isfinite(by_outputs.sum()):
            msg = "gradients of the correction"
            raise FloatingPointError(msg)
        gradients = [by_outputs.T @ seen.hidden[chosen].astype(np.float32), CONSTANT_UNIT * by_constants]
        for number, gradient in enumerate(gradients):
            rate = _RATES[number] * 0.5 * (1 + cos(pi * step / _STEPS))
            means[number] += (1 - _MOMENTUM) * (gradient - means[number])
            squares[number] += (gradient**2 - squares[number]) / step
            if step > _WARM_UP:
                size = np.sqrt(squares[number]) + 1e-3
                moved = values[number] - rate * means[number] / size
                values[number] = np.copysign(np.maximum(np.abs(moved) - rate * _UNIT_PRICE / size, 0), moved)
    rounded = [np.rint(value).astype(np.int32) for value in values]
    return rounded[0], rounded[1]
