"""Entropy coding: fixed integer tables (what) and the range coder that uses them (how)."""

from dfmcodec.entropy.coder import Run, SymbolDecoder, SymbolEncoder
from dfmcodec.entropy.tables import LAPLACE_COUNT, Table, best_laplace_index, laplace

__all__ = ["LAPLACE_COUNT", "Run", "SymbolDecoder", "SymbolEncoder", "Table", "best_laplace_index", "laplace"]
