"""The contents of a file of the coordinate codec."""

from __future__ import annotations

from dataclasses import dataclass

from dfmcodec._types import Symbols
from dfmcodec.fourier.network import CoordinateArchitecture


@dataclass(frozen=True)
class QuantizedNetwork:
    """A fitted coordinate network as integers: all that a decoder needs."""

    architecture: CoordinateArchitecture
    height: int
    width: int
    symbols: Symbols  # the quantised weights in the order of `fourier.network.unpack`, int32 [weight_count]
    step_indices: tuple[int, ...]  # the index of each layer's step, for `fourier.quantize.step_size`
    bit_depth: int = 8  # of the image, 8 or 16
