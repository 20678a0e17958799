"""The contents of a file of the overfitted codec."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from dfmcodec._types import Symbols
from dfmcodec.models import Model

if TYPE_CHECKING:
    from dfmcodec.codecs.overfitted.weights import WeightDeltas


@dataclass(frozen=True)
class OverfittedArchitecture:
    """The architecture of an overfitted codec, without pretrained weights and weight deltas."""

    channels: int  # 1 (gray) or 3 (RGB)
    levels: int  # the number of latent grids
    depth: int  # the number of Fourier layers of the synthesis network
    width: int  # the dimension to which the synthesis network lifts vectors
    order: int  # the largest |k|_1 of those layers
    weights_id: int  # the checksum of the pretrained weights with which the file was made
    model: ClassVar[Model] = Model.OVERFITTED

    def as_dict(self) -> dict[str, Any]:
        """Returns plain values for reports."""
        return {
            "model": self.model.value,
            "channels": self.channels,
            "grids": self.levels,
            "depth": self.depth,
            "layer_width": self.width,
            "order": self.order,
            "weights_id": f"{self.weights_id:08x}",
        }


@dataclass(frozen=True)
class QuantizedGrids:
    """The latent grids of an image as integers, and the weight deltas of its networks."""

    architecture: OverfittedArchitecture
    height: int
    width: int
    lmbda_code: int  # see `grids`
    grids: tuple[Symbols, ...]  # int32 [h_l, w_l], from the finest to the coarsest
    deltas: WeightDeltas | None = None  # from the pretrained weights
    bit_depth: int = 8
