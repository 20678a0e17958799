"""The filter section: an image filter (`codecs.wavelet.filter`) <-> bytes."""

from __future__ import annotations

import numpy as np

from dfmcodec.codecs.wavelet.filter import MAX_RADIUS, ImageFilter, rings
from dfmcodec.entropy import LAPLACE_COUNT, SymbolDecoder, SymbolEncoder, best_laplace_index, laplace
from dfmcodec.errors import CorruptError

_SIZE_BYTES = 2  # radius, step index


def filter_bytes(image_filter: ImageFilter) -> float:
    """Returns the estimated size of the section's body, in bytes."""
    bits = 0.0
    for ring in rings(image_filter.radius):
        symbols = image_filter.symbols[:, ring].ravel()
        bits += float(laplace(best_laplace_index(symbols)).cost_bits(symbols).sum())
    return _SIZE_BYTES + image_filter.radius + bits / 8


def write_filter(image_filter: ImageFilter) -> bytes:
    """Returns the filter section: radius, step index, Laplace indices by distance, range-coded
    stream.
    """
    tables = bytearray()
    encoder = SymbolEncoder()
    for ring in rings(image_filter.radius):
        symbols = image_filter.symbols[:, ring].ravel()
        tables.append(best_laplace_index(symbols))
        encoder.encode(symbols, laplace(tables[-1]))
    return bytes([image_filter.radius, image_filter.step_index, *tables]) + encoder.to_bytes()


def read_filter(body: bytes, channels: int) -> ImageFilter:
    """Reads a filter section. Inverts `write_filter`. Raises CorruptError if the section is not
    valid.
    """
    radius = body[0] if body else 0
    tables = body[_SIZE_BYTES : _SIZE_BYTES + radius]
    if not 1 <= radius <= MAX_RADIUS or len(tables) < radius or max(tables) >= LAPLACE_COUNT:
        msg = "the filter section does not start with a radius and its tables; the file is damaged"
        raise CorruptError(msg)
    decoder = SymbolDecoder(body[_SIZE_BYTES + radius :])
    ring_symbols = []
    for ring, index in zip(rings(radius), tables, strict=True):
        count = ring.stop - ring.start
        symbols = decoder.decode(channels * count * channels, laplace(index))
        ring_symbols.append(symbols.reshape(channels, count, channels))
    return ImageFilter(radius, body[1], np.concatenate(ring_symbols, axis=1))
