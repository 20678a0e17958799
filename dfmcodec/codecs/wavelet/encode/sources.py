"""Sources of symbols for the traversal, chosen in advance. One of them observes the contexts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from dfmcodec._types import Float32, Symbols
from dfmcodec.codecs.wavelet.context import ContextModel, TableChoice
from dfmcodec.codecs.wavelet.encode.adaptation_fit import SymbolSample
from dfmcodec.codecs.wavelet.encode.dependency_costs import GatheredCosts
from dfmcodec.codecs.wavelet.geometry import Geometry
from dfmcodec.codecs.wavelet.neighbourhood import CausalContext
from dfmcodec.codecs.wavelet.passes import CodingPass, Rows, pass_slice
from dfmcodec.codecs.wavelet.quantizer import log_step
from dfmcodec.codecs.wavelet.sections.latents import SymbolWriter, low_differences
from dfmcodec.codecs.wavelet.traversal import tables_of_pass
from dfmcodec.codecs.wavelet.trellis import States
from dfmcodec.entropy import best_laplace_index, laplace
from dfmcodec.kernels import by_kernels
from dfmcodec.threads import in_threads, in_threads_apart

_ROWS_APART = 4  # the least distance between blocks of rows whose contexts do not overlap


class ChosenSymbols:
    """A source of symbols for `codecs.wavelet.traversal.traverse` that encodes them, counts their
    bits and stores their tables. `check` is called at each pass; its exceptions end the traversal.
    """

    def __init__(
        self,
        low: Symbols,
        chosen: Mapping[CodingPass, Symbols],
        context: ContextModel,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._check = check
        self.writer = SymbolWriter(context)
        self.bits = 0.0
        self.choice: dict[CodingPass, TableChoice] = {}
        self.chosen = chosen
        self._low = low
        self._context = context

    def low_symbols(self, shape: tuple[int, int, int]) -> Symbols:
        """Returns the coarsest low-pass band."""
        for band in self._low:
            differences = low_differences(band).ravel()
            self.bits += float(laplace(best_laplace_index(differences)).cost_bits(differences).sum())
        self.writer.write_low(self._low)
        return self._low

    def symbols(self, coding_pass: CodingPass, choice: TableChoice, causal: CausalContext) -> Symbols:
        """Returns the symbols of a pass."""
        self._check()
        chosen = self.chosen[coding_pass]
        self.choice[coding_pass] = choice
        self.writer.write_pass(chosen, choice)
        self.bits += self._context.bits_of(chosen, choice)
        return chosen


class ObservedSymbols(ChosenSymbols):
    """A source of chosen symbols that collects `DependencyCosts` and a sample for the next
    iteration.
    """

    def __init__(
        self,
        low: Symbols,
        chosen: Mapping[CodingPass, Symbols],
        context: ContextModel,
        geometry: Geometry,
        q_step: int,
        sample: SymbolSample | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(low, chosen, context, check)
        self._sample = sample
        self.observed = GatheredCosts(geometry)
        self._log_step = log_step(q_step)

    def _observe_by_kernel(self, coding_pass: CodingPass, causal: CausalContext, quantizers: States) -> TableChoice:
        rows, columns = causal.shape(coding_pass)
        symbols, slopes = self.chosen[coding_pass], self.observed.slopes_seen(coding_pass)
        choice = TableChoice.empty(rows * columns)
        units = len(self._context.networks[coding_pass.phase].c2)
        hidden = np.empty((rows * columns if self._sample else 0, units), dtype=np.uint8)

        def add(block: Rows) -> None:
            of_block = pass_slice(block, columns)
            of_rows = coding_pass, block, quantizers[of_block], self._log_step, symbols[of_block]
            found = self._context.add_gradient(causal, *of_rows, slopes, hidden[of_block])
            choice.table[of_block], choice.sign[of_block] = found.table, found.sign

        in_threads_apart(add, range(rows), _ROWS_APART)
        if self._sample is not None:
            self._sample.add(coding_pass, hidden, symbols, quantizers)
        return choice

    @by_kernels(_observe_by_kernel)
    def observe(self, coding_pass: CodingPass, causal: CausalContext, quantizers: States) -> TableChoice:
        """Chooses the tables of a pass, and adds the derivatives of its bits to the costs of its
        context.
        """
        available, columns = causal.available(coding_pass), causal.shape(coding_pass)[1]
        symbols = self.chosen[coding_pass]

        def gradient(rows: Rows) -> Float32:
            chosen = pass_slice(rows, columns)
            features = causal.features(coding_pass, rows)
            of_rows = coding_pass, symbols[chosen], quantizers[chosen]
            return self._context.features_gradient(features, available, self._log_step, *of_rows)

        blocks = list(causal.row_blocks(coding_pass))
        for rows, of_rows in zip(blocks, in_threads(gradient, blocks), strict=True):
            self.observed.add(coding_pass, rows, columns, of_rows)
        if self._sample is not None:
            hidden = partial(self._context.hidden, causal, coding_pass, log_step=self._log_step)
            self._sample.add(coding_pass, np.concatenate(in_threads(hidden, blocks)), symbols, quantizers)
        return tables_of_pass(self._context, coding_pass, causal, quantizers, self._log_step)
