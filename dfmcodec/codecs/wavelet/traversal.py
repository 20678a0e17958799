"""The loop that encoder and decoder share: all symbols of a tile in coding order, pass by pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol

import numpy as np

from dfmcodec._types import Int32, Symbols
from dfmcodec.codecs.wavelet.context import ContextModel, TableChoice
from dfmcodec.codecs.wavelet.geometry import Geometry
from dfmcodec.codecs.wavelet.neighbourhood import CausalContext
from dfmcodec.codecs.wavelet.passes import CodingPass, Rows, level_passes, pass_slice
from dfmcodec.codecs.wavelet.quantizer import log_step, low_units
from dfmcodec.codecs.wavelet.trellis import States
from dfmcodec.entropy.streams import EndOfSymbols
from dfmcodec.threads import in_threads


class Source(Protocol):
    """The source of symbols of a traversal: a stream in decoders, decisions in encoders."""

    def low_symbols(self, shape: tuple[int, int, int]) -> Symbols:
        """Returns the symbols of the coarsest low-pass band, int32 [C, h, w]."""

    def symbols(self, coding_pass: CodingPass, choice: TableChoice, causal: CausalContext) -> Symbols:
        """Returns the symbols of a pass, int32 [N]. Raises EndOfSymbols if there are no more
        symbols.
        """


def traverse(
    geometry: Geometry,
    q_step: int,
    context: ContextModel,
    source: Source,
    finest_level: int = 0,
    known: Mapping[CodingPass, Symbols] | None = None,
    observe: Callable[[CodingPass, CausalContext, States], TableChoice] | None = None,
    out: Int32 | None = None,
) -> tuple[Symbols, Int32]:
    """Takes all symbols of a tile from a source and synthesises the tile, down to a finest
    decomposition level. Returns all symbols in coding order, int32 [H * W * C], and the samples
    that they synthesise to, int32 [C, H, W] in units of 1/`UNITS_PER_CODE_VALUE` code value. If
    `finest_level` is above 0, H and W are those of the low-pass band after its synthesis.

    If the symbols of all passes are `known` in advance, the tables of a level are chosen together,
    on all cores. `observe` chooses the tables of a pass in place of the context model, and observes
    the context. `out` receives the samples, if given; see `synthesise_fine`.
    """
    low = source.low_symbols((geometry.channels, *geometry.low_sizes[-1]))
    all_symbols = np.empty(geometry.symbol_count(finest_level), dtype=np.int32)
    start = low.size
    all_symbols[:start] = low.ravel()
    causal = CausalContext(geometry, q_step, low_units(low, q_step, geometry.levels))
    coding_passes = causal.coding_passes(finest_level, out)
    choices: dict[CodingPass, TableChoice] = {}
    choose = observe or partial(tables_of_pass, context, log_step=log_step(q_step))
    try:
        for coding_pass in coding_passes:
            if known is not None and coding_pass not in choices:
                choices = _choices_of_level(context, causal, coding_pass.level, known, log_step(q_step), observe)
            choice = choices.get(coding_pass) or choose(coding_pass, causal, causal.quantizers(coding_pass))
            symbols = source.symbols(coding_pass, choice, causal)
            causal.accept(coding_pass, symbols, choice.table, choice.sign, context.offsets)
            all_symbols[start : start + len(symbols)] = symbols
            start += len(symbols)
    except EndOfSymbols:
        all_symbols[start:] = 0
        for _ in coding_passes:  # synthesises the remaining levels with zeros
            pass
    return all_symbols, causal.low


def tables_of_pass(
    context: ContextModel, coding_pass: CodingPass, causal: CausalContext, quantizers: States, log_step: int
) -> TableChoice:
    """Returns the tables of a pass after all earlier passes of its level are decoded."""
    choose = partial(_choose_tables, context, causal, coding_pass, quantizers, log_step)
    return TableChoice.join(in_threads(choose, causal.row_blocks(coding_pass)))


def _choices_of_level(
    context: ContextModel,
    causal: CausalContext,
    level: int,
    known: Mapping[CodingPass, Symbols],
    log_step: int,
    observe: Callable[[CodingPass, CausalContext, States], TableChoice] | None,
) -> dict[CodingPass, TableChoice]:
    """Returns the tables of all passes of a level before the first pass is decoded.

    A pass does not depend on symbols of later passes, so their presence does not matter.
    """
    quantizers: dict[CodingPass, States] = {}
    for coding_pass in level_passes(causal.geometry, level):
        quantizers[coding_pass] = causal.quantizers(coding_pass)
        causal.accept_context(coding_pass, known[coding_pass])
    causal.rewind()
    if observe is not None:
        return {coding_pass: observe(coding_pass, causal, of_pass) for coding_pass, of_pass in quantizers.items()}
    blocks = [
        (coding_pass, of_pass, log_step, rows)
        for coding_pass, of_pass in quantizers.items()
        for rows in causal.row_blocks(coding_pass)
    ]
    parts: dict[CodingPass, list[TableChoice]] = {}
    chosen = in_threads(lambda block: _choose_tables(context, causal, *block), blocks)
    for (coding_pass, *_), choice in zip(blocks, chosen, strict=True):
        parts.setdefault(coding_pass, []).append(choice)
    return {coding_pass: TableChoice.join(of_pass) for coding_pass, of_pass in parts.items()}


def _choose_tables(
    context: ContextModel, causal: CausalContext, coding_pass: CodingPass, quantizers: States, log_step: int, rows: Rows
) -> TableChoice:
    """Returns the tables of the symbols in some rows of a pass."""
    of_rows = quantizers[pass_slice(rows, causal.shape(coding_pass)[1])]
    return context.choose_tables(causal, coding_pass, rows, of_rows, log_step)
