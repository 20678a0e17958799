"""Sources of symbols for the traversal, chosen in advance. One of them observes the contexts."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from dfmcodec._types import Float32, Symbols, UInt8
from dfmcodec.codecs.wavelet.context import ContextModel, TableChoice
from dfmcodec.codecs.wavelet.encode.adaptation_fit import SymbolSample
from dfmcodec.codecs.wavelet.encode.dependency_costs import GatheredCosts
from dfmcodec.codecs.wavelet.geometry import Geometry
from dfmcodec.codecs.wavelet.neighbourhood import CausalContext
from dfmcodec.codecs.wavelet.passes import CodingPass, Rows, pass_slice
from dfmcodec.codecs.wavelet.quantizer import log_step
from dfmcodec.codecs.wavelet.sections.latents import SymbolWriter, low_differences
from dfmcodec.codecs.wavelet.trellis import States
from dfmcodec.entropy import best_laplace_index, laplace
from dfmcodec.kernels import compiled
from dfmcodec.kernels.arguments import ContextPass
from dfmcodec.threads import in_threads_apart

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

    def observe(self, coding_pass: CodingPass, causal: CausalContext, quantizers: States) -> TableChoice:
        """Chooses the tables of a pass, and adds the derivatives of its bits to the costs of its
        context.
        """
        rows, columns = causal.shape(coding_pass)
        symbols, slopes = self.chosen[coding_pass], self.observed.slopes_seen(coding_pass)
        choice = TableChoice.empty(rows * columns)
        units = len(self._context.networks[coding_pass.phase].c2)
        hidden = np.empty((rows * columns if self._sample else 0, units), dtype=np.uint8)

        def add(block: Rows) -> None:
            of_block = pass_slice(block, columns)
            given = self._context.context_pass(causal, coding_pass, block, quantizers[of_block], self._log_step)
            found = TableChoice(choice.table[of_block], choice.sign[of_block])
            add_gradient(self._context, given, symbols[of_block], slopes, hidden[of_block], found)

        in_threads_apart(add, range(rows), _ROWS_APART)
        if self._sample is not None:
            self._sample.add(coding_pass, hidden, symbols, quantizers)
        return choice


def add_gradient(
    context: ContextModel,
    coding_pass: ContextPass,
    symbols: Symbols,
    slopes: tuple[Float32, Float32],
    hidden: UInt8,
    choice: TableChoice,
) -> None:
    """Chooses the tables of the symbols in some rows of a pass, like `ContextModel.choose_tables`,
    and accumulates the derivative of their bits with respect to their context.

    The floor function counts as the identity, and the derivative of an empty context is 0. Other
    threads must stay at least two rows away.

    Args:
        context: The context model.
        coding_pass: The rows.
        symbols: The symbols of the rows, int32 [N].
        slopes: The accumulated derivatives with respect to symbols of the level and to their
            magnitudes, float32 [2, ...], each of the shape of `CausalContext.planes`[0]; and those
            with respect to the coarser level. They are modified.
        hidden: Receives the inputs of the last layer, uint8 [N, hidden_2], EMPTY_CONTEXT for
            symbols whose context is empty; ignored if empty.
        choice: Receives the tables.
    """
    compiled.add_context_gradient(
        coding_pass=coding_pass,
        table=choice.table,
        sign=choice.sign,
        hidden=hidden,
        symbols=np.ascontiguousarray(symbols),
        bits=context.bits_of_outputs,
        scales=context.bits_of_outputs.shape[1],
        means=context.bits_of_outputs.shape[2],
        grad_symbols=slopes[0],
        grad_coarser=slopes[1],
    )
