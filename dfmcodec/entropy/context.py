"""The context model: integer networks that choose a probability table for every latent symbol.

A network of three layers, one for each phase of a pass (see `scan`), sees the context features of a symbol and where
it stands (level, colour, orientation, step). It gives the scale of the symbol's distribution and its mean, the mean
in units of the scale: what decoded surroundings tell of a coefficient's sign is worth as many bits as what they
tell of its size. Both are rounded to an index into tables that were counted when the network was trained.

All numbers are integers and all sums stay below 2^24, so that float32 matrix products are exact in any order
(`ContextNetwork.check_exact`):

    a1 = W1 f + c1[place] + s1[level] k,   h1 = clip(floor(a1 / 64), 0, 127)
    a2 = W2 h1 + c2,                       h2 = clip(floor(a2 / 64), 0, 127)
    a3 = W3 h2 + c3[place] + s3[level] k,  (scale, mean) = floor((a3 + 128) / 256)

with int8 weights W, features f in -127..127 and the log of the step k (`scan.log_step`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, fields
from functools import cached_property, partial
from itertools import pairwise
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from dfmcodec.entropy.tables import (
    ESCAPE,
    LAPLACE_COUNT,
    LAST_DIRECT,
    PRECISION_BITS,
    RADIUS,
    SCALES_PER_OCTAVE,
    TABLE_SIZE,
    UNIT_SCALE_INDEX,
    Table,
    laplace,
)
from dfmcodec.errors import DfmError
from dfmcodec.model import MAX_STEP
from dfmcodec.scan import Place, log_step, symbol_features
from dfmcodec.trellis import States

Float32 = npt.NDArray[np.float32]
Int32 = npt.NDArray[np.int32]
Known = npt.NDArray[np.intp]

ACTIVATION_SHIFT = 64
ACTIVATION_MAX = 127
MAX_WEIGHT = 127
OUTPUT_SHIFT = 256
MAX_FEATURE = 127
MAX_CORRECTION = 1 << 20  # that a picture may add to a constant of the last layer
MAX_EXACT = 1 << 24  # float32 holds all whole numbers up to here
MAX_LOG_STEP = max(abs(log_step(1)), abs(log_step(MAX_STEP)))
MEANS_PER_SCALE = 4
MEANS = (0, 1, 2, 3, 4, 5, 6, 8, 11, 15)  # least |mean| of each class of tables, in quarters of the scale
OLDEST_MEANS = (0, 1, 2, 3, 4, 5)  # of priors that do not say
SCALES = LAST_DIRECT + 1
LARGEST_MEAN = 20  # of `ContextModel.bits_of_outputs`, quarters of the scale
_SLOPE_REACH = 2  # of the differences that stand for slopes: what changing one symbol does to outputs; measured best
OFFSET_SYMBOLS = 3  # reconstruction offsets are for symbols -3..3; beyond, as for +-3


@dataclass(frozen=True)
class ContextNetwork:
    """The network of one phase. Weights are whole numbers, kept as float32 for the matrix products.

    Args:
        w1: [hidden_1, features].
        c1: [places, hidden_1].
        s1: [levels, hidden_1].
        w2: [hidden_2, hidden_1].
        c2: [hidden_2].
        w3: [2, hidden_2].
        c3: [places, 2].
        s3: [levels, 2].
    """

    w1: Float32
    c1: Float32
    s1: Float32
    w2: Float32
    c2: Float32
    w3: Float32
    c3: Float32
    s3: Float32

    def largest_sums(self) -> tuple[float, float, float]:
        """Bounds on the magnitude of every partial sum of each layer, in any order of summation.

        They are the sums of the largest magnitudes of all terms: no picture, step or correction of the last layer
        (`context_correction`, which limits weights and constants) can exceed them.
        """

        def of_rows(weights: Float32) -> float:
            return float(np.abs(weights).sum(axis=1, dtype=np.float64).max())

        def of_all(numbers: Float32) -> float:
            return float(np.abs(numbers).max())

        first = MAX_FEATURE * of_rows(self.w1) + of_all(self.c1) + MAX_LOG_STEP * of_all(self.s1)
        second = ACTIVATION_MAX * of_rows(self.w2) + of_all(self.c2)
        corrected = ACTIVATION_MAX * MAX_WEIGHT * self.w3.shape[1] + of_all(self.c3) + MAX_CORRECTION
        return first, second, corrected + MAX_LOG_STEP * of_all(self.s3) + OUTPUT_SHIFT // 2

    def check_exact(self) -> None:
        """Makes sure that float32 computes `outputs` exactly, whatever the order of its sums.

        Sums of whole numbers are exact as long as no partial sum exceeds 2^24.

        Raises:
            DfmError: A number is not whole, a weight is too large, or a layer's sums may be.
        """
        for field in fields(self):
            numbers = getattr(self, field.name)
            if not np.array_equal(numbers, np.rint(numbers)):  # nor is NaN
                msg = f"{field.name} of a context network of the prior has numbers that are not whole"
                raise DfmError(msg)
            if field.name.startswith("w") and np.abs(numbers).max() > MAX_WEIGHT:
                msg = f"{field.name} of a context network of the prior has weights beyond {MAX_WEIGHT}"
                raise DfmError(msg)
        for layer, bound in enumerate(self.largest_sums(), start=1):
            if bound > MAX_EXACT:
                msg = (
                    f"sums of layer {layer} of a context network of the prior may reach {bound:.0f}; "
                    f"beyond {MAX_EXACT} they are not the same on all machines"
                )
                raise DfmError(msg)

    def outputs(self, features: Any, known: Known, place: Place, log_step: int, xp: ModuleType) -> Any:
        """Whole numbers (scale, mean) as float32 [2, N].

        Args:
            features: float32 [K, N], those that are not zero for all symbols.
            known: Which ones they are, intp [K].
            place: The pass.
            log_step: See `scan.log_step`.
            xp: numpy or jax.numpy.
        """
        sums = self.w3 @ self.hidden(features, known, place, log_step, xp)
        sums += self.last_constants(place, log_step)[:, None] + OUTPUT_SHIFT // 2
        return xp.floor(sums * np.float32(1 / OUTPUT_SHIFT))

    def hidden(self, features: Any, known: Known, place: Place, log_step: int, xp: ModuleType) -> Any:
        """What the last layer sees, whole numbers in 0..ACTIVATION_MAX as float32 [hidden_2, N]."""
        hidden = _layer(self.w1[:, known], features, self.first_constants(place, log_step), xp)
        return _layer(self.w2, hidden, self.c2, xp)

    def first_constants(self, place: Place, log_step: int) -> Float32:
        """What a pass adds in the first layer, [hidden_1]."""
        return np.asarray(self.c1[place.band] + self.s1[place.level] * log_step)

    def last_constants(self, place: Place, log_step: int) -> Float32:
        """What a pass adds in the last layer, [2]."""
        return np.asarray(self.c3[place.band] + self.s3[place.level] * log_step)

    def gradient(
        self,
        features: Float32,
        known: Known,
        place: Place,
        log_step: int,
        slopes: Callable[[Float32], Float32],
    ) -> Float32:
        """Derivative of a cost by the features that are symbols, float32 [K', N].

        The floors count as identities.

        Args:
            features, known, place, log_step: As of `outputs`.
            slopes: Derivative of the cost by (scale, mean) from (scale, mean) before they are rounded, both [2, N].
        """
        w1 = self.w1[:, known]
        sums_1 = w1 @ features + self.first_constants(place, log_step)[:, None]
        sums_2 = self.w2 @ _activation(sums_1, np) + self.c2[:, None]
        sums_3 = self.w3 @ _activation(sums_2, np) + self.last_constants(place, log_step)[:, None]
        outputs = sums_3 * np.float32(1 / OUTPUT_SHIFT)
        by_2 = _slope(sums_2) * (self.w3.T @ (slopes(outputs) * np.float32(1 / OUTPUT_SHIFT)))
        of_symbols = w1[:, : np.searchsorted(known, symbol_features(place.phase))]
        found: Float32 = of_symbols.T @ (_slope(sums_1) * (self.w2.T @ by_2))
        return found


def _slope(sums: Float32) -> Float32:
    """Derivative of `_activation`."""
    active = (sums > 0) & (sums < ACTIVATION_SHIFT * ACTIVATION_MAX)
    return active.astype(np.float32) * np.float32(1 / ACTIVATION_SHIFT)


def _layer(weights: Float32, inputs: Any, constants: Float32, xp: ModuleType) -> Any:
    sums = weights @ inputs
    sums += constants[:, None]
    if xp is not np:
        return _activation(sums, xp)
    sums *= np.float32(1 / ACTIVATION_SHIFT)  # the same without new arrays
    np.floor(sums, out=sums)
    return np.clip(sums, 0, ACTIVATION_MAX, out=sums)


def _activation(sums: Any, xp: ModuleType) -> Any:
    return xp.clip(xp.floor(sums * np.float32(1 / ACTIVATION_SHIFT)), 0, ACTIVATION_MAX)


@dataclass(frozen=True)
class Groups:
    """Which table each symbol of a pass is coded with.

    Args:
        table: int16 [N], index into `ContextModel.tables`.
        sign: int32 [N], 1 or -1: the symbol times this is what the table is for.
    """

    table: npt.NDArray[np.int16]
    sign: Int32

    def part(self, chosen: slice) -> Groups:
        """Those of some of the symbols."""
        return Groups(self.table[chosen], self.sign[chosen])

    @classmethod
    def join(cls, parts: Sequence[Groups]) -> Groups:
        """Those of parts of a pass, in order."""
        if len(parts) == 1:
            return parts[0]
        return cls(np.concatenate([part.table for part in parts]), np.concatenate([part.sign for part in parts]))


def class_middles(means: Sequence[int]) -> list[float]:
    """The middle |mean| of each class, in quarters of the scale."""
    beyond = 2 * means[-1] - means[-2] + 1  # as if the last class ended there
    return [(first + after - 1) / 2 for first, after in pairwise([*means, beyond])]


class ContextModel:
    """Networks and tables of a prior.

    Args:
        networks: One for each phase.
        frequencies: int64 [quantizers * SCALES * len(means), TABLE_SIZE], rows (quantizer, scale, class of mean), each
            summing to 2^24. Two quantisers mean that symbols are trellis-coded.
        offsets: int32 [as many, 2 OFFSET_SYMBOLS + 1]: where a symbol's coefficients lie on average, from the multiple
            of the step that it stands for, in 1/FINE steps.
        means: Least |mean| of each class, ascending from 0.
    """

    def __init__(
        self,
        networks: Sequence[ContextNetwork],
        frequencies: npt.NDArray[np.int64],
        offsets: Int32,
        means: Sequence[int] = MEANS,
    ) -> None:
        self.networks = tuple(networks)
        self.means = tuple(means)
        self.direct_groups = len(frequencies)
        self.quantizer_groups = SCALES * len(self.means)
        self.trellis = self.direct_groups > self.quantizer_groups
        self.tables = [Table(row) for row in frequencies]
        self.tables += [laplace(index) for index in range(LAST_DIRECT + 1, LAPLACE_COUNT)]
        no_offset = np.zeros((len(self.tables) - self.direct_groups, offsets.shape[1]), dtype=np.int32)
        self.offsets = np.concatenate([offsets.astype(np.int32), no_offset])
        largest = np.arange(self.means[-1] + 1)
        self._class_of_mean = (np.searchsorted(self.means, largest, side="right") - 1).astype(np.int16)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> ContextModel:
        """From the arrays of a prior's file.

        `context_<name>_<phase>`, `context_frequencies`, `context_offsets`, and `context_means`, which the oldest
        priors do not have.

        Raises:
            DfmError: The networks are not exact in float32 (`ContextNetwork.check_exact`), or the tables are none.
        """
        names = ContextNetwork.__dataclass_fields__
        networks = [
            ContextNetwork(**{name: arrays[f"context_{name}_{phase}"].astype(np.float32) for name in names})
            for phase in range(4)
        ]
        for network in networks:
            network.check_exact()
        means = [int(mean) for mean in arrays.get("context_means", OLDEST_MEANS)]
        frequencies = arrays["context_frequencies"].astype(np.int64)
        if frequencies.min() < 1 or np.any(frequencies.sum(axis=1) != 1 << PRECISION_BITS):
            msg = f"a table of the prior does not consist of positive numbers that sum to {1 << PRECISION_BITS}"
            raise DfmError(msg)
        return cls(networks, frequencies, arrays["context_offsets"], means)

    def with_networks(self, networks: Sequence[ContextNetwork]) -> ContextModel:
        """The same tables chosen by other networks."""
        changed = copy(self)
        changed.networks = tuple(networks)
        return changed

    @cached_property
    def cost_bits(self) -> Float32:
        """Bits of every entry of every table, float32 [tables, TABLE_SIZE].

        Zeros for tables beyond the direct ones, whose symbols are coded in two parts: what they cost hardly depends
        on the symbol.
        """
        direct = np.stack([table.entry_bits for table in self.tables[: self.direct_groups]])
        others = np.zeros((len(self.tables) - self.direct_groups, direct.shape[1]))
        return np.concatenate([direct, others]).astype(np.float32)

    def groups(self, features: Float32, known: Known, place: Place, log_step: int, quantizers: States) -> Groups:
        """Chooses tables from features of symbols of a pass (`ContextNetwork.outputs`) and quantisers, int8 [N]."""
        outputs = self.networks[place.phase].outputs(features, known, place, log_step, np)
        return self.groups_of_outputs(outputs, quantizers)

    def groups_of_outputs(self, outputs: Float32, quantizers: States) -> Groups:
        """The groups of a network's outputs, float32 [2, N]."""
        scale = np.clip(outputs[0] + UNIT_SCALE_INDEX, 0, LAPLACE_COUNT - 1).astype(np.int16)
        mean = outputs[1]
        size = self._class_of_mean[np.minimum(np.abs(mean), self.means[-1]).astype(np.int16)]
        direct = quantizers * np.int16(self.quantizer_groups) + scale * np.int16(len(self.means)) + size
        beyond = scale + np.int16(self.direct_groups - LAST_DIRECT - 1)
        table = np.where(scale <= LAST_DIRECT, direct, beyond)
        return Groups(table, np.where(mean < 0, -1, 1).astype(np.int32))

    def rescaled(self, groups: Groups, octaves: float) -> Groups:
        """Groups for symbols that are larger by a factor 2^octaves; tables beyond the direct ones stay."""
        change = round(octaves * SCALES_PER_OCTAVE)
        if change == 0:
            return groups
        rest, size = np.divmod(groups.table, np.int16(len(self.means)))
        quantizer, scale = np.divmod(rest, np.int16(SCALES))
        scale = np.clip(scale + np.int16(change), 0, LAST_DIRECT)
        table = quantizer * np.int16(self.quantizer_groups) + scale * np.int16(len(self.means)) + size
        return Groups(np.where(groups.table < self.direct_groups, table, groups.table), groups.sign)

    @cached_property
    def bits_of_outputs(self) -> Float32:
        """Bits of every entry for whole numbers (scale, mean) as the networks give them: what fits descend on.

        Returns:
            float32 [quantizers, SCALES, 2 LARGEST_MEAN + 1, TABLE_SIZE], between the middles of classes interpolated.
        """
        classes = self.cost_bits[: self.direct_groups].reshape(-1, SCALES, len(self.means), TABLE_SIZE)
        position = np.interp(np.arange(LARGEST_MEAN + 1), class_middles(self.means), np.arange(len(self.means)))
        low = np.minimum(position.astype(np.intp), len(self.means) - 2)
        part = (position - low).astype(np.float32)[:, None]
        positive = (1 - part) * classes[:, :, low] + part * classes[:, :, low + 1]
        negative = positive[:, :, :0:-1].copy()
        negative[..., :ESCAPE] = negative[..., ESCAPE - 1 :: -1]
        return np.concatenate([negative, positive], axis=2)

    def slopes(self, outputs: Float32, symbols: Int32, quantizers: States) -> Float32:
        """Change of the bits of N symbols by (scale, mean), as central differences.

        Where the tables end, bits stay as they are: an output far outside has no slope.

        Args:
            outputs: (scale, mean) before they are rounded, float32 [2, N].
            symbols: int32 [N].
            quantizers: int8 [N].

        Returns:
            float32 [2, N].
        """
        bits = self.bits_of_outputs
        last_scale, last_mean = SCALES - 1, 2 * LARGEST_MEAN
        scale, mean = np.rint(outputs).astype(np.intp) + np.array([[UNIT_SCALE_INDEX], [LARGEST_MEAN]])
        entry = np.clip(symbols, -RADIUS, RADIUS) + RADIUS
        lower, here, upper = (np.clip(scale + change, 0, last_scale) for change in (-_SLOPE_REACH, 0, _SLOPE_REACH))
        less, near, more = (np.clip(mean + change, 0, last_mean) for change in (-_SLOPE_REACH, 0, _SLOPE_REACH))
        by_scale = bits[quantizers, upper, near, entry] - bits[quantizers, lower, near, entry]
        by_mean = bits[quantizers, here, more, entry] - bits[quantizers, here, less, entry]
        return np.asarray(np.stack([by_scale, by_mean]) / (2 * _SLOPE_REACH), dtype=np.float32)

    def features_gradient(
        self, features: Float32, known: Known, log_step: int, place: Place, symbols: Int32, quantizers: States
    ) -> Float32:
        """Derivative of the bits of a pass's symbols by the features that are symbols, float32 [K', N].

        Symbols under tables of large scales, which hardly depend on their context, count as independent of it.
        """
        slopes = partial(self.slopes, symbols=symbols, quantizers=quantizers)
        return self.networks[place.phase].gradient(features, known, place, log_step, slopes)

    def offsets_of(self, symbols: Int32, groups: Groups) -> Int32:
        """How far coefficients lie from the multiples that their symbols stand for, int32 [N], 1/FINE steps."""
        entry = np.clip(symbols * groups.sign, -OFFSET_SYMBOLS, OFFSET_SYMBOLS) + OFFSET_SYMBOLS
        return np.asarray(self.offsets[groups.table, entry] * groups.sign)
