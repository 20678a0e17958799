"""The loop over all symbols of latent grids by wavefronts, which encoder and decoder share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from dfmcodec._types import Symbols
from dfmcodec.codecs.overfitted.context import GridChoice, GridContext, GridNetwork, Wavefront, wavefronts
from dfmcodec.entropy.streams import EndOfSymbols


class GridSource(Protocol):
    """A source of the symbols of a traversal: a decoder reads its stream, an encoder its grids."""

    def symbols(self, front: Wavefront, choice: GridChoice) -> Symbols:
        """Returns the symbols of a wavefront, int32 [N], in the order of rows. Raises EndOfSymbols
        if there are no more symbols.
        """


def traverse_grids(sizes: Sequence[tuple[int, int]], network: GridNetwork, source: GridSource) -> list[Symbols]:
    """Takes the symbols of all grids, of sizes (rows, columns) from the finest to the coarsest,
    from a source: int32 [h_l, w_l]. Symbols after the end of a source are 0.
    """
    grids: list[Symbols] = [np.zeros(size, dtype=np.int32) for size in sizes]
    try:
        for level in reversed(range(len(sizes))):
            context = GridContext(network, level, grids[level], grids[level + 1 :])
            for front in wavefronts(level, sizes[level]):
                choice = context.choose_tables(front)
                context.accept(front, source.symbols(front, choice))
    except EndOfSymbols:
        pass
    return grids
