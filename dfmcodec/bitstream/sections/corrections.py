"""The corrections section: a correction (`entropy.correction`) <-> bytes."""

from __future__ import annotations

import numpy as np

from dfmcodec.entropy import LAPLACE_COUNT, SymbolDecoder, SymbolEncoder, best_laplace_index, laplace
from dfmcodec.entropy.context import ContextModel
from dfmcodec.entropy.correction import OUTPUTS, ContextCorrection
from dfmcodec.errors import ConfigError, CorruptError
from dfmcodec.latents.geometry import Geometry

_TABLES = 2 * OUTPUTS


def correction_bytes(correction: ContextCorrection) -> float:
    """The estimated size of the section's body, in bytes."""
    bits = sum(float(laplace(best_laplace_index(part)).cost_bits(part).sum()) for part in correction.parts())
    return _TABLES + bits / 8


def write_correction(correction: ContextCorrection) -> bytes:
    """The corrections section: four Laplace indices, then the range-coded stream."""
    tables = bytearray()
    encoder = SymbolEncoder()
    for part in correction.parts():
        tables.append(best_laplace_index(part))
        encoder.encode(part, laplace(tables[-1]))
    return bytes(tables) + encoder.to_bytes()


def read_correction(body: bytes, context: ContextModel, geometry: Geometry) -> ContextCorrection:
    """The inverse of `write_correction`.

    Args:
        body: The corrections section.
        context: The context model that is to be corrected.
        geometry: The sizes of a tile of the image.

    Raises:
        CorruptError: The section is not valid.
    """
    tables = body[:_TABLES]
    if len(tables) < _TABLES or max(tables) >= LAPLACE_COUNT:
        msg = "the corrections section does not start with its tables; the file is damaged"
        raise CorruptError(msg)
    decoder = SymbolDecoder(body[_TABLES:])
    nothing = ContextCorrection.none(context, geometry)
    parts = [decoder.decode(part.size, laplace(index)) for index, part in zip(tables, nothing.parts(), strict=True)]
    map_shape = nothing.maps.shape[0], nothing.maps.shape[2]
    maps = np.stack([part.reshape(map_shape) for part in parts[:OUTPUTS]], axis=1)
    constants = np.stack([part.reshape(nothing.constants.shape[:2]) for part in parts[OUTPUTS:]], axis=2)
    try:
        return ContextCorrection(maps, constants)
    except ConfigError as error:
        msg = f"the corrections section is invalid: {error}; the file is damaged"
        raise CorruptError(msg) from error
