"""The loop that encoder and decoder of latent grids share: all symbols, wavefront by wavefront."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from dfmcodec._types import Symbols
from dfmcodec.codecs.overfitted.context import GridChoice, GridContext, GridNetwork, Wavefront, wavefronts
from dfmcodec.entropy.streams import EndOfSymbols


class GridSource(Protocol):
    """Gives the symbols of a traversal: a decoder from its stream, an encoder from its grids."""

    def symbols(self, front: Wavefront, choice: GridChoice) -> Symbols:
        """Returns the symbols of a wavefront, int32 [N], from the top on.

        Raises:
            EndOfSymbols: There are no more symbols.
        """


def traverse_grids(sizes: Sequence[tuple[int, int]], network: GridNetwork, source: GridSource) -> list[Symbols]:
    """Takes the symbols of all grids from a source.

    Args:
        sizes: The (rows, columns) of the grids, from the finest on.
        network: The context network of the image.
        source: Gives the symbols.

    Returns:
        The grids, int32 [h_l, w_l]. Symbols after the end of a source are 0.
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
