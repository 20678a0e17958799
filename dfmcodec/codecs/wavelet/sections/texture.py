"""The texture section: amplitude codes (`codecs.wavelet.texture`) <-> bytes."""

from __future__ import annotations

import numpy as np

from dfmcodec._types import Int8, Int32
from dfmcodec.codecs.wavelet.texture import CELL_BITS, MAX_CODE, Texture, amplitude_count, cell_counts
from dfmcodec.entropy import LAPLACE_COUNT, SymbolDecoder, SymbolEncoder, best_laplace_index, laplace
from dfmcodec.errors import CorruptError

_HEAD_BYTES = 3  # seed, strength, base-2 logarithm of the cell


def code_differences(codes: Int8) -> Int32:
    """Returns the differences between the codes of an array, int8 [rows, columns], and their
    predictions, int32 [rows, columns].

    The prediction is the mean of the code above and the code to the left, rounded down; the other
    one in the first row and column.
    """
    wide = codes.astype(np.int32)
    predictions = np.zeros_like(wide)
    predictions[1:, 1:] = wide[:-1, 1:] + wide[1:, :-1] >> 1
    predictions[0, 1:], predictions[1:, 0] = wide[0, :-1], wide[:-1, 0]
    return wide - predictions


def _codes(differences: Int32) -> Int32:
    """Inverts `code_differences`."""
    codes = np.zeros_like(differences)
    for row, column in np.ndindex(codes.shape):
        neighbours = [codes[row - 1, column]] * (row > 0) + [codes[row, column - 1]] * (column > 0)
        prediction = sum(neighbours) // len(neighbours) if neighbours else 0
        codes[row, column] = np.clip(prediction + differences[row, column], 0, MAX_CODE)
    return codes


def write_texture(texture: Texture) -> bytes:
    """Returns the texture section: seed, strength, size of a cell, Laplace indices, range-coded
    stream.
    """
    tables = bytearray()
    encoder = SymbolEncoder()
    for codes in texture.codes:
        differences = code_differences(codes).ravel()
        tables.append(best_laplace_index(differences))
        encoder.encode(differences, laplace(tables[-1]))
    return bytes([texture.seed, texture.strength, texture.cell_bits, *tables]) + encoder.to_bytes()


def read_texture(body: bytes, height: int, width: int, channels: int) -> Texture:
    """Reads a texture section of an image with coded channels. Inverts `write_texture`. Raises
    CorruptError if the section is not valid.
    """
    head = body[: _HEAD_BYTES + amplitude_count(channels)]
    indices = head[_HEAD_BYTES:]
    if len(indices) < amplitude_count(channels) or head[2] not in CELL_BITS or max(indices) >= LAPLACE_COUNT:
        msg = "the texture section does not start with the size of its cells and its tables; the file is damaged"
        raise CorruptError(msg)
    rows, columns = cell_counts(height, width, head[2])
    decoder = SymbolDecoder(body[len(head) :])
    differences = [decoder.decode(rows * columns, laplace(index)).reshape(rows, columns) for index in indices]
    codes = np.stack([_codes(of_band) for of_band in differences])
    return Texture(head[0], head[1], head[2], codes.astype(np.int8))
