"""The loop that encoder and decoder of latent grids share: all symbols, pass by pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from dfmcodec._types import Symbols
from dfmcodec.entropy.grid_context import GridChoice, GridContext, GridContexts, GridPass, grid_passes
from dfmcodec.entropy.traversal import EndOfSymbols


class GridSource(Protocol):
    """Gives the symbols of a traversal: a decoder from its stream, an encoder from its grids."""

    def symbols(self, grid_pass: GridPass, choice: GridChoice) -> Symbols:
        """Returns the symbols of a pass, int32 [N], row by row.

        Raises:
            EndOfSymbols: There are no more symbols.
        """


def traverse_grids(sizes: Sequence[tuple[int, int]], contexts: GridContexts, source: GridSource) -> list[Symbols]:
    """Takes the symbols of all grids from a source.

    Args:
        sizes: The (rows, columns) of the grids, from the finest on.
        contexts: The context networks of the image.
        source: Gives the symbols.

    Returns:
        The grids, int32 [h_l, w_l]. Symbols after the end of a source are 0.
    """
    context = GridContext(sizes)
    try:
        for grid_pass in grid_passes(sizes):
            choice = contexts.choose_tables(grid_pass, context)
            context.accept(grid_pass, source.symbols(grid_pass, choice))
    except EndOfSymbols:
        pass
    return context.grids
