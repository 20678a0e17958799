"""The context model: integer networks that select a probability table for each latent symbol.

Each phase has a network of three layers. Its inputs are the context features of a symbol
(`CausalContext.features`), the symbol's band (decomposition level, channel and orientation) and the
quantisation step. Its outputs are the scale of the symbol's distribution and its mean in units of
the scale. In bits, the context says about as much about the sign of a coefficient as about its
size. Both outputs are rounded to an index into tables that were counted during training.

Half to three quarters of all symbols have only zeros among the symbols of their context. For these
empty contexts, the network would cost time and save less than 0.1 % of the bits. They get scale
index 0 and mean 0: the first table of their quantiser.

All numbers are integers and all sums stay below 2^24, so float32 matrix products are exact in any
order (`ContextNetwork.check_exact`):

    a1 = W1 f + c1[band] + s1[level] k,   h1 = clip(floor(a1 / 64), 0, 127)
    a2 = W2 h1 + c2,                      h2 = clip(floor(a2 / 64), 0, 127)
    a3 = W3 h2 + c3[band] + s3[level] k,  (scale, mean) = floor((a3 + 128) / 256)

with int8 weights W, features f in -127..127 and the logarithm k of the step (`quantizer.log_step`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import pairwise
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from dfmcodec._types import Float32, Int8, Int32
from dfmcodec.codecs.wavelet.neighbourhood import CausalContext, symbol_features
from dfmcodec.codecs.wavelet.passes import CodingPass, Rows
from dfmcodec.codecs.wavelet.quantizer import MAX_STEP, log_step
from dfmcodec.codecs.wavelet.trellis import QUANTIZERS, States
from dfmcodec.entropy.context_networks import MAX_FEATURE, activation, check_integers, check_sums
from dfmcodec.entropy.table_set import TableSet
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
from dfmcodec.kernels import by_kernels, compiled
from dfmcodec.kernels.arguments import ContextPass

Indices = npt.NDArray[np.intp]
ACTIVATION_MAX = 127
EMPTY_CONTEXT = 255  # in place of activations
EMPTY_OUTPUTS = np.array([[-UNIT_SCALE_INDEX], [0]], dtype=np.float32)  # (scale, mean) of empty contexts
MAX_WEIGHT = 127
OUTPUT_SHIFT = 256
MAX_ADAPTATION = 1 << 20  # the largest delta of a constant of the last layer
MAX_LOG_STEP = max(abs(log_step(1)), abs(log_step(MAX_STEP)))
MEANS_PER_SCALE = 4
MEANS = (0, 1, 2, 3, 4, 5, 6, 8, 11, 15)  # the least |mean| of each class of tables, in quarters of the scale
SCALES = LAST_DIRECT + 1
TABLES_PER_QUANTIZER = SCALES * len(MEANS)
DIRECT_TABLES = QUANTIZERS * TABLES_PER_QUANTIZER  # the other tables are for larger scales
_CLASS_OF_MEAN = (np.searchsorted(MEANS, np.arange(MEANS[-1] + 1), side="right") - 1).astype(np.int16)
LARGEST_MEAN = 20  # the largest |mean| of `ContextModel.bits_of_outputs`, in quarters of the scale
OFFSET_SYMBOLS = 3  # reconstruction offsets exist for symbols -3..3; larger symbols use those of +-3


@dataclass(frozen=True)
class ContextNetwork:
    """The network of one phase. The weights are integers, kept as float32 for matrix products."""

    w1: Float32  # [hidden_1, features]
    c1: Float32  # [bands, hidden_1]
    s1: Float32  # [levels, hidden_1]
    w2: Float32  # [hidden_2, hidden_1]
    c2: Float32  # [hidden_2]
    w3: Float32  # [2, hidden_2]
    c3: Float32  # [bands, 2]
    s3: Float32  # [levels, 2]

    def largest_sums(self) -> tuple[float, float, float]:
        """Returns bounds on the magnitude of all partial sums of each layer, in any order.

        The bounds are sums of the largest magnitudes of all terms. No image, step or adaptation can
        exceed them: `ContextAdaptation` limits weights and constants.
        """

        def largest_row(weights: Float32) -> float:
            return float(np.abs(weights).sum(axis=1, dtype=np.float64).max())

        def largest(numbers: Float32) -> float:
            return float(np.abs(numbers).max())

        first = MAX_FEATURE * largest_row(self.w1) + largest(self.c1) + MAX_LOG_STEP * largest(self.s1)
        second = ACTIVATION_MAX * largest_row(self.w2) + largest(self.c2)
        adapted = ACTIVATION_MAX * MAX_WEIGHT * self.w3.shape[1] + largest(self.c3) + MAX_ADAPTATION
        return first, second, adapted + MAX_LOG_STEP * largest(self.s3) + OUTPUT_SHIFT // 2

    def check_exact(self) -> None:
        """Checks that `outputs` is exact in float32 for every order of summation.

        Sums of integers are exact as long as no partial sum exceeds 2^24. Raises DfmError if a
        number is not an integer, a weight is too large, or a sum may become too large.
        """
        for field in fields(self):
            numbers = getattr(self, field.name)
            check_integers(field.name, numbers)
            if field.name.startswith("w") and np.abs(numbers).max() > MAX_WEIGHT:
                msg = f"{field.name} of a pretrained context network has weights beyond {MAX_WEIGHT}"
                raise DfmError(msg)
        check_sums(self.largest_sums())

    def outputs(self, features: Any, available: Indices, coding_pass: CodingPass, log_step: int, xp: ModuleType) -> Any:
        """Computes scale and mean for the symbols of a pass: integers (scale, mean) as float32 [2,
        N]. `features` are the available ones, float32 [K, N], and `available` are their indices
        among all, intp [K]. `xp` is numpy or jax.numpy.
        """
        outputs = self.evaluated(features, available, coding_pass, log_step, xp)
        return xp.where(is_empty(features, available, coding_pass.phase), EMPTY_OUTPUTS, outputs)

    def evaluated(
        self, features: Any, available: Indices, coding_pass: CodingPass, log_step: int, xp: ModuleType
    ) -> Any:
        """Computes `outputs` by the network, also for empty contexts."""
        sums = self.w3 @ self.hidden(features, available, coding_pass, log_step, xp)
        sums += self.last_constants(coding_pass, log_step)[:, None] + OUTPUT_SHIFT // 2
        return xp.floor(sums * np.float32(1 / OUTPUT_SHIFT))

    def hidden(self, features: Any, available: Indices, coding_pass: CodingPass, log_step: int, xp: ModuleType) -> Any:
        """Computes the inputs of the last layer: integers in 0..ACTIVATION_MAX as float32
        [hidden_2, N]. The arguments are those of `outputs`.
        """
        hidden = _layer(self.w1[:, available], features, self.first_constants(coding_pass, log_step), xp)
        return _layer(self.w2, hidden, self.c2, xp)

    def first_constants(self, coding_pass: CodingPass, log_step: int) -> Float32:
        """Returns the constants of the first layer for a pass, [hidden_1]."""
        return np.asarray(self.c1[coding_pass.band] + self.s1[coding_pass.level] * log_step)

    def last_constants(self, coding_pass: CodingPass, log_step: int) -> Float32:
        """Returns the constants of the last layer for a pass, [2]."""
        return np.asarray(self.c3[coding_pass.band] + self.s3[coding_pass.level] * log_step)

    @cached_property
    def weight_bytes(self) -> tuple[Int8, Int8, Int8]:
        """w1, w2 and w3 as int8, for the kernel."""
        w1, w2, w3 = (np.ascontiguousarray(weights, dtype=np.int8) for weights in (self.w1, self.w2, self.w3))
        return w1, w2, w3

    def constants(self, coding_pass: CodingPass, log_step: int) -> tuple[Int32, Int32, Int32]:
        """Returns the constants of the three layers for a pass, for the kernel: int32 [hidden_1],
        [hidden_2], [2].
        """
        key = coding_pass.band, log_step
        found = self._constants.get(key)
        if found is None:
            first, last = self.first_constants(coding_pass, log_step), self.last_constants(coding_pass, log_step)
            found = first.astype(np.int32), self.c2.astype(np.int32), last.astype(np.int32)
            self._constants[key] = found
        return found

    @cached_property
    def _constants(self) -> dict[tuple[int, int], tuple[Int32, Int32, Int32]]:
        """The cache of `constants`, by band and step. A search uses some hundred steps."""
        return {}


def is_empty(features: Any, available: Indices, phase: int) -> Any:
    """Indicates for each symbol whether its context is empty, bool [N]: there are features that are
    symbols, and all of them are zero. `features` are the available ones, [K, N], and `available`
    are their indices among all, intp [K].
    """
    count = int(np.searchsorted(available, symbol_features(phase)))
    return ~(features[:count] != 0).any(axis=0) & (count > 0)


def _layer(weights: Float32, inputs: Any, constants: Float32, xp: ModuleType) -> Any:
    sums = weights @ inputs
    sums += constants[:, None]
    return activation(sums, ACTIVATION_MAX, xp)


@dataclass(frozen=True)
class TableChoice:
    """The probability table of each symbol of a pass."""

    table: npt.NDArray[np.int16]  # int16 [N], the index into `ContextModel.tables`
    sign: Int32  # int32 [N], 1 or -1. The table applies to the symbol times the sign

    @classmethod
    def empty(cls, count: int) -> TableChoice:
        """Returns arrays for the given number of symbols."""
        return cls(np.empty(count, dtype=np.int16), np.empty(count, dtype=np.int32))

    @classmethod
    def join(cls, parts: Sequence[TableChoice]) -> TableChoice:
        """Joins the choices of parts of a pass, in order."""
        if len(parts) == 1:
            return parts[0]
        return cls(np.concatenate([part.table for part in parts]), np.concatenate([part.sign for part in parts]))

    @property
    def packed(self) -> npt.NDArray[np.int16]:
        """Tables and signs, packed into one number each, int16 [N]."""
        return np.asarray((self.table + np.int16(1)) * self.sign.astype(np.int16))


def class_middles() -> list[float]:
    """Returns the |mean| in the middle of each class of `MEANS`, in quarters of the scale."""
    beyond = 2 * MEANS[-1] - MEANS[-2] + 1  # assumed end of the last class
    return [(first + after - 1) / 2 for first, after in pairwise([*MEANS, beyond])]


class ContextModel:
    """The pretrained context networks and probability tables.

    Args:
        frequencies: int64 [DIRECT_TABLES, TABLE_SIZE], with rows in the order (quantiser,
            scale, class of mean) that each sum to 2^24.
        offsets: int32 [rows of `frequencies`, 2 OFFSET_SYMBOLS + 1], the reconstruction
            offsets: the mean distance of a symbol's coefficients from the multiple of the step
            for the symbol, in 1/FINE steps.
    """

    def __init__(self, networks: Sequence[ContextNetwork], frequencies: npt.NDArray[np.int64], offsets: Int32) -> None:
        self.networks = tuple(networks)
        self.tables = [Table(row) for row in frequencies]
        self.tables += [laplace(index) for index in range(LAST_DIRECT + 1, LAPLACE_COUNT)]
        no_offset = np.zeros((len(self.tables) - DIRECT_TABLES, offsets.shape[1]), dtype=np.int32)
        self.offsets = np.concatenate([offsets.astype(np.int32), no_offset])

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> ContextModel:
        """Creates a context model from arrays of pretrained weights.

        The arrays are `context_<name>_<phase>`, `context_frequencies` and `context_offsets`. Raises
        DfmError if the networks are not exact in float32 (`ContextNetwork.check_exact`), a table is
        invalid, or the number of tables is wrong.
        """
        names = ContextNetwork.__dataclass_fields__
        networks = [
            ContextNetwork(**{name: arrays[f"context_{name}_{phase}"].astype(np.float32) for name in names})
            for phase in range(4)
        ]
        for network in networks:
            network.check_exact()
        frequencies = arrays["context_frequencies"].astype(np.int64)
        if frequencies.shape != (DIRECT_TABLES, TABLE_SIZE):
            msg = f"the pretrained tables are {frequencies.shape}, not {DIRECT_TABLES, TABLE_SIZE}"
            raise DfmError(msg)
        if frequencies.min() < 1 or np.any(frequencies.sum(axis=1) != 1 << PRECISION_BITS):
            msg = f"a pretrained table does not consist of positive numbers that sum to {1 << PRECISION_BITS}"
            raise DfmError(msg)
        return cls(networks, frequencies, arrays["context_offsets"])

    def with_networks(self, networks: Sequence[ContextNetwork]) -> ContextModel:
        """Returns a model with the same tables and other networks."""
        changed = copy(self)
        changed.networks = tuple(networks)
        return changed

    @cached_property
    def table_set(self) -> TableSet:
        """The tables for the range coder."""
        return TableSet.of(self.tables)

    @cached_property
    def cost_bits(self) -> Float32:
        """The bits of each entry of each table, float32 [tables, TABLE_SIZE].

        Tables beyond the direct ones have zeros. Their symbols are coded in two parts, and the cost
        hardly depends on the symbol.
        """
        direct = np.stack([table.entry_bits for table in self.tables[:DIRECT_TABLES]])
        others = np.zeros((len(self.tables) - DIRECT_TABLES, direct.shape[1]))
        return np.concatenate([direct, others]).astype(np.float32)

    def _choose_tables_by_kernel(
        self, causal: CausalContext, coding_pass: CodingPass, rows: Rows, quantizers: States, log_step: int
    ) -> TableChoice:
        choice = TableChoice.empty(len(quantizers))
        compiled.choose_tables(
            coding_pass=self.context_pass(causal, coding_pass, rows, quantizers, log_step),
            table=choice.table,
            sign=choice.sign,
            hidden=np.empty(0, dtype=np.uint8),
        )
        return choice

    def bits_of_entries(self, table: npt.NDArray[np.int16], entry: Int32) -> Float32:
        """Returns the bits of one entry of each given table; see `cost_bits`."""
        return np.asarray(self.cost_bits.ravel().take(table.astype(np.intp) * TABLE_SIZE + entry))

    def bits_of(self, symbols: Int32, choice: TableChoice) -> float:
        """Returns the bits of symbols, int32 [N], under their tables."""
        total = np.empty(1)
        others = compiled.count_bits(
            symbols=symbols, table=choice.table, sign=choice.sign, bits=self.cost_bits, total=total
        )
        return float(total[0]) + (self._bits_beyond(symbols * choice.sign, choice.table) if others else 0.0)

    def _bits_beyond(self, q: Int32, table: npt.NDArray[np.int16]) -> float:
        """Returns the bits of symbols times their signs that are no entries of direct tables."""
        others = (table >= DIRECT_TABLES) | (np.abs(q) > RADIUS)
        return sum(
            float(self.tables[number].cost_bits(q[others & (table == number)]).sum())
            for number in np.unique(table[others])
        )

    @by_kernels(_choose_tables_by_kernel)
    def choose_tables(
        self, causal: CausalContext, coding_pass: CodingPass, rows: Rows, quantizers: States, log_step: int
    ) -> TableChoice:
        """Chooses the tables of the symbols in some rows of a pass, given the state of the tile
        before the pass and the quantiser of each of these symbols, int8 [N].
        """
        available = causal.available(coding_pass)
        features = causal.features(coding_pass, rows)
        outputs = self.networks[coding_pass.phase].outputs(features, available, coding_pass, log_step, np)
        return self.choose_tables_from_outputs(outputs, quantizers)

    def context_pass(
        self, causal: CausalContext, coding_pass: CodingPass, rows: Rows, quantizers: States, log_step: int
    ) -> ContextPass:
        """Returns the rows of a pass for kernels; the arguments are those of `choose_tables`."""
        network = self.networks[coding_pass.phase]
        w1, w2, w3 = network.weight_bytes
        c1, c2, c3 = network.constants(coding_pass, log_step)
        views, symbol_count = causal.views(coding_pass)
        if rows.start > 0:
            views = views.copy()
            views[:, 1] += rows.start * views[:, 2]
        symbols, coarser, differences = causal.planes
        return ContextPass(
            w1=w1,
            c1=c1,
            w2=w2,
            c2=c2,
            w3=w3,
            c3=c3,
            available=causal.available_numbers(coding_pass),
            signed_count=symbol_count,
            symbols=symbols,
            coarser=coarser,
            differences=differences,
            views=views,
            rows=len(rows),
            columns=causal.shape(coding_pass)[1],
            quantizers=np.ascontiguousarray(quantizers),
            class_of_mean=_CLASS_OF_MEAN,
        )

    def choose_tables_from_outputs(self, outputs: Float32, quantizers: States) -> TableChoice:
        """Chooses tables from the outputs of a network, integers (scale, mean) as float32 [2, N],
        and the quantiser of each symbol, int8 [N].
        """
        scale = np.clip(outputs[0] + UNIT_SCALE_INDEX, 0, LAPLACE_COUNT - 1).astype(np.int16)
        mean = outputs[1]
        size = _CLASS_OF_MEAN[np.minimum(np.abs(mean), MEANS[-1]).astype(np.int16)]
        direct = quantizers * np.int16(TABLES_PER_QUANTIZER) + scale * np.int16(len(MEANS)) + size
        beyond = scale + np.int16(DIRECT_TABLES - LAST_DIRECT - 1)
        table = np.where(scale <= LAST_DIRECT, direct, beyond)
        return TableChoice(table, np.where(mean < 0, -1, 1).astype(np.int32))

    def rescaled(self, octaves: float) -> npt.NDArray[np.int16]:
        """Returns the table to use in place of each table if the symbols are larger by a factor of
        2^octaves, int16 [tables].

        Tables beyond the direct ones do not change.
        """
        tables = np.arange(len(self.tables), dtype=np.int16)
        rest, size = np.divmod(tables, np.int16(len(MEANS)))
        quantizer, scale = np.divmod(rest, np.int16(SCALES))
        scale = np.clip(scale + np.int16(round(octaves * SCALES_PER_OCTAVE)), 0, LAST_DIRECT)
        changed = quantizer * np.int16(TABLES_PER_QUANTIZER) + scale * np.int16(len(MEANS)) + size
        return np.where(tables < DIRECT_TABLES, changed, tables).astype(np.int16)

    @cached_property
    def bits_of_outputs(self) -> Float32:
        """The bits of each entry for integers (scale, mean), for gradient descent: float32
        [QUANTIZERS, SCALES, 2 LARGEST_MEAN + 1, TABLE_SIZE], interpolated between the middles of
        the classes of mean.
        """
        classes = self.cost_bits[:DIRECT_TABLES].reshape(QUANTIZERS, SCALES, len(MEANS), TABLE_SIZE)
        position = np.interp(np.arange(LARGEST_MEAN + 1), class_middles(), np.arange(len(MEANS)))
        low = np.minimum(position.astype(np.intp), len(MEANS) - 2)
        part = (position - low).astype(np.float32)[:, None]
        positive = (1 - part) * classes[:, :, low] + part * classes[:, :, low + 1]
        negative = positive[:, :, :0:-1].copy()
        negative[..., :ESCAPE] = negative[..., ESCAPE - 1 :: -1]
        return np.concatenate([negative, positive], axis=2)
