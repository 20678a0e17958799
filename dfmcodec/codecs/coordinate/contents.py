"""The contents of a file of the coordinate codec."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dfmcodec._types import Symbols
from dfmcodec.errors import ConfigError
from dfmcodec.fourier.network import CoordinateArchitecture


@dataclass(frozen=True)
class QuantizedNetwork:
    """A fitted coordinate network as integers: all that a decoder needs.

    Raises:
        ConfigError: The symbols or steps do not fit the architecture.
    """

    architecture: CoordinateArchitecture
    height: int
    width: int
    symbols: Symbols  # the quantised weights in the order of `fourier.network.unpack`, int32 [weight_count]
    step_indices: tuple[int, ...]  # the index of each layer's step, for `fourier.quantize.step_size`
    bit_depth: int = 8  # of the image, 8 or 16

    def __post_init__(self) -> None:
        if self.symbols.dtype != np.int32 or self.symbols.shape != (self.architecture.weight_count,):
            msg = (
                f"symbols must be int32 [{self.architecture.weight_count}], "
                f"found {self.symbols.dtype} {list(self.symbols.shape)}"
            )
            raise ConfigError(msg)
        if len(self.step_indices) != self.architecture.depth:
            msg = f"{self.architecture.depth} step sizes are needed, found {len(self.step_indices)}"
            raise ConfigError(msg)
