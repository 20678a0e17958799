"""Entropy coding: probability tables, the range coder, and streams that may be truncated."""

from dfmcodec.entropy.coder import SymbolDecoder, SymbolEncoder
from dfmcodec.entropy.table_set import Run, TableSet
from dfmcodec.entropy.tables import LAPLACE_COUNT, Table, best_laplace_index, laplace

__all__ = [
    "LAPLACE_COUNT",
    "Run",
    "SymbolDecoder",
    "SymbolEncoder",
    "Table",
    "TableSet",
    "best_laplace_index",
    "laplace",
]
