"""The adaptation section: an adaptation (`codecs.wavelet.adaptation`) <-> bytes."""

from __future__ import annotations

import numpy as np

from dfmcodec.codecs.wavelet.adaptation import OUTPUTS, ContextAdaptation
from dfmcodec.codecs.wavelet.context import ContextModel
from dfmcodec.codecs.wavelet.geometry import Geometry
from dfmcodec.entropy import LAPLACE_COUNT, SymbolDecoder, SymbolEncoder, best_laplace_index, laplace
from dfmcodec.errors import ConfigError, CorruptError

_TABLES = 2 * OUTPUTS


def adaptation_bytes(adaptation: ContextAdaptation) -> float:
    """Returns the estimated size of the section's body, in bytes."""
    bits = sum(float(laplace(best_laplace_index(part)).cost_bits(part).sum()) for part in adaptation.parts())
    return _TABLES + bits / 8


def write_adaptation(adaptation: ContextAdaptation) -> bytes:
    """Returns the adaptation section: four Laplace indices, then the range-coded stream."""
    tables = bytearray()
    encoder = SymbolEncoder()
    for part in adaptation.parts():
        tables.append(best_laplace_index(part))
        encoder.encode(part, laplace(tables[-1]))
    return bytes(tables) + encoder.to_bytes()


def read_adaptation(body: bytes, context: ContextModel, geometry: Geometry) -> ContextAdaptation:
    """Reads an adaptation section. Inverts `write_adaptation`. Raises CorruptError if the section
    is not valid.
    """
    tables = body[:_TABLES]
    if len(tables) < _TABLES or max(tables) >= LAPLACE_COUNT:
        msg = "the adaptation section does not start with its tables; the file is damaged"
        raise CorruptError(msg)
    decoder = SymbolDecoder(body[_TABLES:])
    nothing = ContextAdaptation.none(context, geometry)
    parts = [decoder.decode(part.size, laplace(index)) for index, part in zip(tables, nothing.parts(), strict=True)]
    map_shape = nothing.maps.shape[0], nothing.maps.shape[2]
    maps = np.stack([part.reshape(map_shape) for part in parts[:OUTPUTS]], axis=1)
    constants = np.stack([part.reshape(nothing.constants.shape[:2]) for part in parts[OUTPUTS:]], axis=2)
    try:
        return ContextAdaptation(maps, constants)
    except ConfigError as error:
        msg = f"the adaptation section is invalid: {error}; the file is damaged"
        raise CorruptError(msg) from error
