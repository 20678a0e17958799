"""A picture's own correction of the context networks: changes of their last layers, sent where they pay.

The prior's networks are trained for photographs at large. A picture's textures may want other scales and means of
what the networks' hidden units see, so a file may hold whole numbers that are added to the weights and constants of
the last layers (as Yang et al. 2021 and others adapt trained codecs, here by integers that keep the sums exact).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from dfmcodec.entropy import LAPLACE_COUNT, SymbolDecoder, SymbolEncoder, best_laplace_index, laplace
from dfmcodec.entropy.context import MAX_CORRECTION, MAX_WEIGHT, ContextModel
from dfmcodec.errors import ConfigError, CorruptError
from dfmcodec.latents import ORIENTATIONS, Geometry
from dfmcodec.scan import PHASES, Place

Int32 = npt.NDArray[np.int32]

CONSTANT_UNIT = 64
_OUTPUTS = 2
_MAX_CONSTANT = MAX_CORRECTION // CONSTANT_UNIT  # sums stay exact
_TABLES = 2 * _OUTPUTS


@dataclass(frozen=True)
class ContextCorrection:
    """What is added to the last layers.

    Args:
        maps: int32 [phases, 2, hidden_2], to w3, the sum limited to +-MAX_WEIGHT.
        constants: int32 [phases, bands, 2], times CONSTANT_UNIT to c3; bands as of `bands_of`.

    Raises:
        ConfigError: A constant is outside what the file format can hold.
    """

    maps: Int32
    constants: Int32

    def __post_init__(self) -> None:
        if self.constants.size and np.abs(self.constants).max() > _MAX_CONSTANT:
            msg = f"a correction of the contexts by more than {_MAX_CONSTANT} units"
            raise ConfigError(msg)

    @classmethod
    def none(cls, context: ContextModel, geometry: Geometry) -> ContextCorrection:
        """The correction that changes nothing."""
        hidden = context.networks[0].w3.shape[1]
        maps = np.zeros((len(PHASES), _OUTPUTS, hidden), dtype=np.int32)
        return cls(maps, np.zeros((len(PHASES), len(bands_of(geometry)), _OUTPUTS), dtype=np.int32))

    def applied(self, context: ContextModel, geometry: Geometry) -> ContextModel:
        """The corrected context model."""
        bands = bands_of(geometry)
        networks = []
        for network, maps, constants in zip(context.networks, self.maps, self.constants, strict=True):
            w3 = np.clip(network.w3 + maps.astype(np.float32), -MAX_WEIGHT, MAX_WEIGHT)
            c3 = network.c3.copy()
            c3[bands] += np.float32(CONSTANT_UNIT) * constants
            networks.append(replace(network, w3=w3, c3=c3))
        return context.with_networks(networks)

    @property
    def file_bytes(self) -> float:
        """Estimated size of its section."""
        parts = self._parts()
        return _TABLES + sum(float(laplace(best_laplace_index(part)).cost_bits(part).sum()) for part in parts) / 8

    def _parts(self) -> list[Int32]:
        """The numbers that share a table, as the section has them."""
        tensors = (self.maps.swapaxes(1, 2), self.constants)
        return [tensor[..., output].ravel() for tensor in tensors for output in range(_OUTPUTS)]


def bands_of(geometry: Geometry) -> list[int]:
    """`Place.band` of all bands of a picture, ascending."""
    return [
        Place(level, colour, orientation, 0).band
        for level in range(geometry.levels)
        for colour in range(geometry.colours)
        for orientation in range(ORIENTATIONS)
    ]


def write_correction(correction: ContextCorrection) -> bytes:
    """The corrections section: four tables, then the range-coded stream."""
    tables = bytearray()
    encoder = SymbolEncoder()
    for part in correction._parts():
        tables.append(best_laplace_index(part))
        encoder.encode(part, laplace(tables[-1]))
    return bytes(tables) + encoder.to_bytes()


def read_correction(body: bytes, context: ContextModel, geometry: Geometry) -> ContextCorrection:
    """Inverse of `write_correction`.

    Raises:
        CorruptError: The section is not one.
    """
    tables = body[:_TABLES]
    if len(tables) < _TABLES or max(tables) >= LAPLACE_COUNT:
        msg = "the corrections section does not start with its tables; the file is damaged"
        raise CorruptError(msg)
    decoder = SymbolDecoder(body[_TABLES:])
    nothing = ContextCorrection.none(context, geometry)
    parts = [decoder.decode(part.size, laplace(index)) for index, part in zip(tables, nothing._parts(), strict=True)]
    of_maps = nothing.maps.shape[0], nothing.maps.shape[2]
    maps = np.stack([part.reshape(of_maps) for part in parts[:_OUTPUTS]], axis=1)
    constants = np.stack([part.reshape(nothing.constants.shape[:2]) for part in parts[_OUTPUTS:]], axis=2)
    try:
        return ContextCorrection(maps, constants)
    except ConfigError as error:
        msg = f"the corrections section is not acceptable: {error}; the file is damaged"
        raise CorruptError(msg) from error
