"""The adaptation of the context networks to one image: deltas for the weights of their last layers.

The pretrained networks fit many photographs. The textures of one image may need other scales and
means for the same hidden units. So a file can store integers that are added to the weights and
constants of the last layers, if they save more bits than they cost. Yang et al. 2021 and others
adapt trained codecs like this; here the deltas are integers, so sums stay exact.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from dfmcodec._types import Int32
from dfmcodec.codecs.wavelet.context import MAX_ADAPTATION, MAX_WEIGHT, ContextModel
from dfmcodec.codecs.wavelet.geometry import ORIENTATIONS, Geometry
from dfmcodec.codecs.wavelet.passes import PHASES, CodingPass
from dfmcodec.errors import ConfigError

CONSTANT_UNIT = 64
OUTPUTS = 2
_MAX_CONSTANT = MAX_ADAPTATION // CONSTANT_UNIT  # within this, sums stay exact


@dataclass(frozen=True)
class ContextAdaptation:
    """The deltas of the last layers of the context networks. Raises ConfigError if a constant is
    outside the range of the file format.
    """

    maps: Int32  # int32 [phases, 2, hidden_2], added to w3; the sum is limited to +-MAX_WEIGHT
    # int32 [phases, bands, 2], added to c3 in units of CONSTANT_UNIT. The bands are those of
    # `band_numbers`
    constants: Int32

    def __post_init__(self) -> None:
        if self.constants.size and np.abs(self.constants).max() > _MAX_CONSTANT:
            msg = f"an adaptation changes a constant by more than {_MAX_CONSTANT} units"
            raise ConfigError(msg)

    @classmethod
    def none(cls, context: ContextModel, geometry: Geometry) -> ContextAdaptation:
        """Returns an adaptation whose deltas are all 0."""
        hidden = context.networks[0].w3.shape[1]
        maps = np.zeros((len(PHASES), OUTPUTS, hidden), dtype=np.int32)
        return cls(maps, np.zeros((len(PHASES), len(band_numbers(geometry)), OUTPUTS), dtype=np.int32))

    def applied(self, context: ContextModel, geometry: Geometry) -> ContextModel:
        """Returns the adapted context model."""
        bands = band_numbers(geometry)
        networks = []
        for network, maps, constants in zip(context.networks, self.maps, self.constants, strict=True):
            w3 = np.clip(network.w3 + maps.astype(np.float32), -MAX_WEIGHT, MAX_WEIGHT)
            c3 = network.c3.copy()
            c3[bands] += np.float32(CONSTANT_UNIT) * constants
            networks.append(replace(network, w3=w3, c3=c3))
        return context.with_networks(networks)

    def parts(self) -> list[Int32]:
        """Returns the deltas in the order of the adaptation section, one array for each table."""
        tensors = (self.maps.swapaxes(1, 2), self.constants)
        return [tensor[..., output].ravel() for tensor in tensors for output in range(OUTPUTS)]


def band_numbers(geometry: Geometry) -> list[int]:
    """Returns `CodingPass.band` of all bands of an image, ascending."""
    return [
        CodingPass(level, channel, orientation, 0).band
        for level in range(geometry.levels)
        for channel in range(geometry.channels)
        for orientation in range(ORIENTATIONS)
    ]
