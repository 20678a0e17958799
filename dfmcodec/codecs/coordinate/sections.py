"""The weights section: the weights of a coordinate network, range-coded."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from dfmcodec.codecs.coordinate.contents import QuantizedNetwork
from dfmcodec.container.layout import container_bytes
from dfmcodec.entropy import LAPLACE_COUNT, SymbolDecoder, SymbolEncoder, best_laplace_index, laplace
from dfmcodec.errors import CorruptError
from dfmcodec.fourier.layer import ones_per_weight
from dfmcodec.fourier.network import CoordinateArchitecture
from dfmcodec.models import Model


def coding_groups(architecture: CoordinateArchitecture) -> Iterator[tuple[slice, list[npt.NDArray[np.int64]]]]:
    """Groups the weights that share a probability table: those of equal |k|_1 in each layer.

    Yields:
        The slice of the symbols of each layer, and the positions in that slice for each |k|_1 =
        0..order, int64.
    """
    start = 0
    for layer in architecture.layers():
        ones = ones_per_weight(layer)
        groups = [np.flatnonzero(ones == count) for count in range(layer.order + 1)]
        yield slice(start, start + layer.weight_count), groups
        start += layer.weight_count


def side_bytes(architecture: CoordinateArchitecture) -> int:
    """Returns the size of the weights section in bytes without its range-coded stream."""
    return sum(1 + layer.order + 1 for layer in architecture.layers())


def network_file_bytes(architecture: CoordinateArchitecture) -> int:
    """Returns the size of a file without its range-coded stream and ancillary data."""
    return container_bytes(Model.COORDINATE) + side_bytes(architecture)


def estimate_network_bytes(model: QuantizedNetwork) -> float:
    """Estimates the size of a file of the coordinate codec from the costs of its tables.

    The error is at most the last word of the range coder.
    """
    bits = 0.0
    for layer, groups in coding_groups(model.architecture):
        for group in groups:
            symbols = model.symbols[layer][group]
            bits += float(laplace(best_laplace_index(symbols)).cost_bits(symbols).sum())
    return network_file_bytes(model.architecture) + bits / 8


def write_weights(model: QuantizedNetwork) -> bytes:
    """Returns the weights section: step and Laplace indices of each layer, then the stream."""
    side = bytearray()
    encoder = SymbolEncoder()
    for step_index, (layer, groups) in zip(model.step_indices, coding_groups(model.architecture), strict=True):
        side.append(step_index)
        for group in groups:
            symbols = model.symbols[layer][group]
            index = best_laplace_index(symbols)
            side.append(index)
            encoder.encode(symbols, laplace(index))
    return bytes(side) + encoder.to_bytes()


def read_weights(
    body: bytes, architecture: CoordinateArchitecture, height: int, width: int, bit_depth: int
) -> QuantizedNetwork:
    """Decodes the weights section: the inverse of `write_weights`. Raises CorruptError if the
    section is not valid.
    """
    size = side_bytes(architecture)
    if len(body) < size:
        msg = f"the weights section has {len(body)} bytes, fewer than the {size} of its tables; the file is damaged"
        raise CorruptError(msg)
    side = iter(body[:size])
    decoder = SymbolDecoder(body[size:])
    symbols = np.zeros(architecture.weight_count, dtype=np.int32)
    steps = []
    for layer, groups in coding_groups(architecture):
        steps.append(next(side))
        layer_symbols = symbols[layer]
        for group in groups:
            index = next(side)
            if index >= LAPLACE_COUNT:
                msg = f"probability table {index} does not exist; the file is damaged"
                raise CorruptError(msg)
            layer_symbols[group] = decoder.decode(group.size, laplace(index))
    return QuantizedNetwork(architecture, height, width, symbols, tuple(steps), bit_depth)
