"""The context model: integer networks that choose a probability table for every latent symbol.

A network of three layers, one for each phase of a pass (see `scan`), sees the context features of a symbol and where
it stands (level, colour, orientation, step). It gives the scale of the symbol's distribution and its mean, the mean
in units of the scale: what decoded surroundings tell of a coefficient's sign is worth as many bits as what they
tell of its size. Both are rounded to an index into tables that were counted when the network was trained.

All numbers are integers and all sums stay below 2^24, so that float32 matrix products are exact in any order:

    a1 = W1 f + c1[place] + s1[level] k,   h1 = clip(floor(a1 / 64), 0, 127)
    a2 = W2 h1 + c2,                       h2 = clip(floor(a2 / 64), 0, 127)
    a3 = W3 h2 + c3[place] + s3[level] k,  (scale, mean) = floor((a3 + 128) / 256)

with int8 weights W, features f in -127..127 and the log of the step k (`scan.log_step`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from dfmcodec.entropy.tables import ESCAPE, LAPLACE_COUNT, LAST_DIRECT, RADIUS, UNIT_SCALE_INDEX, Table, laplace
from dfmcodec.scan import FINE, Place, symbol_features

Float32 = npt.NDArray[np.float32]
Int32 = npt.NDArray[np.int32]

ACTIVATION_SHIFT = 64
ACTIVATION_MAX = 127
OUTPUT_SHIFT = 256
MEAN_CLASSES = 6  # |mean| = 0, 1/4 .. 5/4 of the scale
MEANS_PER_SCALE = 4
OFFSET_SYMBOLS = 3  # reconstruction offsets are for symbols -3..3; beyond, as for +-3
DIRECT_GROUPS = (LAST_DIRECT + 1) * MEAN_CLASSES
GROUPS = DIRECT_GROUPS + LAPLACE_COUNT - LAST_DIRECT - 1


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

    def outputs(self, features: Any, place: Place, log_step: int, xp: ModuleType) -> Any:
        """Whole numbers (scale, mean) as float32 [2, N] for features [K, N]."""
        c1 = self.c1[place.band] + self.s1[place.level] * log_step
        c3 = self.c3[place.band] + self.s3[place.level] * log_step
        hidden = _layer(self.w1, features, c1, xp)
        hidden = _layer(self.w2, hidden, self.c2, xp)
        sums = self.w3 @ hidden
        sums += c3[:, None] + OUTPUT_SHIFT // 2
        return xp.floor(sums * np.float32(1 / OUTPUT_SHIFT))

    def gradient(self, features: Float32, place: Place, log_step: int, outputs_gradient: Float32) -> Float32:
        """Derivative of a cost by the features of symbols, float32 [K', N], from that by (scale, mean), [2, N].

        The floors count as identities.
        """
        c1 = self.c1[place.band] + self.s1[place.level] * log_step
        sums_1 = self.w1 @ features + c1[:, None]
        sums_2 = self.w2 @ _activation(sums_1, np) + self.c2[:, None]
        by_2 = _slope(sums_2) * (self.w3.T @ (outputs_gradient * np.float32(1 / OUTPUT_SHIFT)))
        of_symbols = self.w1[:, : symbol_features(place.phase)]
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


class ContextModel:
    """Networks and tables of a prior.

    Args:
        networks: One for each phase.
        frequencies: int64 [DIRECT_GROUPS, TABLE_SIZE], rows (scale, |mean|), each summing to 2^24.
        offsets: int32 [DIRECT_GROUPS, 2 OFFSET_SYMBOLS + 1]: where a symbol's coefficients lie on average, from
            the symbol, in 1/FINE steps.
    """

    def __init__(self, networks: Sequence[ContextNetwork], frequencies: npt.NDArray[np.int64], offsets: Int32) -> None:
        self.networks = tuple(networks)
        self.tables = [Table(row) for row in frequencies]
        self.tables += [laplace(index) for index in range(LAST_DIRECT + 1, LAPLACE_COUNT)]
        no_offset = np.zeros((GROUPS - DIRECT_GROUPS, offsets.shape[1]), dtype=np.int32)
        self.offsets = np.concatenate([offsets.astype(np.int32), no_offset])

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> ContextModel:
        """From the arrays of a prior's file: `context_<name>_<phase>`, `context_frequencies`, `context_offsets`."""
        names = ContextNetwork.__dataclass_fields__
        networks = [
            ContextNetwork(**{name: arrays[f"context_{name}_{phase}"].astype(np.float32) for name in names})
            for phase in range(4)
        ]
        return cls(networks, arrays["context_frequencies"].astype(np.int64), arrays["context_offsets"])

    @cached_property
    def cost_bits(self) -> Float32:
        """Bits of every entry of every direct table, float32 [DIRECT_GROUPS, TABLE_SIZE]."""
        return np.stack([table.entry_bits for table in self.tables[:DIRECT_GROUPS]]).astype(np.float32)

    def groups(self, features: Float32, place: Place, log_step: int) -> Groups:
        """Chooses tables from features of symbols of a pass, float32 [K, N]."""
        return groups_of_outputs(self.networks[place.phase].outputs(features, place, log_step, np))

    @cached_property
    def _outputs_slopes(self) -> tuple[Float32, Float32]:
        """Change of every entry's bits per unit of scale and of mean, each [DIRECT_GROUPS, TABLE_SIZE]."""
        bits = self.cost_bits.reshape(-1, MEAN_CLASSES, self.cost_bits.shape[1])
        by_scale: Float32 = np.asarray(np.gradient(bits, axis=0))
        mirrored = np.concatenate([bits[:, 1:2, ESCAPE - 1 :: -1], bits[:, 1:2, ESCAPE:]], axis=2)
        by_mean: Float32 = np.asarray(np.gradient(np.concatenate([mirrored, bits], axis=1), axis=1))[:, 1:]
        return by_scale.reshape(self.cost_bits.shape), by_mean.reshape(self.cost_bits.shape)

    def features_gradient(
        self, features: Float32, place: Place, log_step: int, groups: Groups, symbols: Int32
    ) -> Float32:
        """Derivative of the bits of a pass's symbols by the features that are symbols, float32 [K', N].

        Symbols under tables of large scales, which hardly depend on their context, count as independent of it.
        """
        entry = np.clip(symbols * groups.sign, -RADIUS, RADIUS) + RADIUS
        table = np.minimum(groups.table, DIRECT_GROUPS - 1)
        by_scale, by_mean = self._outputs_slopes
        slopes = np.stack([by_scale[table, entry], by_mean[table, entry] * groups.sign])
        slopes *= groups.table < DIRECT_GROUPS
        return self.networks[place.phase].gradient(features, place, log_step, slopes)

    def dequantize(self, symbols: Int32, groups: Groups) -> Int32:
        """Coefficients in 1/FINE steps, int32 [N]."""
        entry = np.clip(symbols * groups.sign, -OFFSET_SYMBOLS, OFFSET_SYMBOLS) + OFFSET_SYMBOLS
        fine: Int32 = symbols * FINE + self.offsets[groups.table, entry] * groups.sign
        return fine


def groups_of_outputs(outputs: Float32) -> Groups:
    """The groups of a network's outputs, float32 [2, N]."""
    scale = np.clip(outputs[0] + UNIT_SCALE_INDEX, 0, LAPLACE_COUNT - 1).astype(np.int16)
    mean = outputs[1]
    size = np.minimum(np.abs(mean), MEAN_CLASSES - 1).astype(np.int16)
    direct = scale <= LAST_DIRECT
    table = np.where(direct, scale * MEAN_CLASSES + size, scale + (DIRECT_GROUPS - LAST_DIRECT - 1)).astype(np.int16)
    return Groups(table, np.where(mean < 0, -1, 1).astype(np.int32))
