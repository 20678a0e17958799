"""What flows between encoder, bitstream and decoder: the network's architecture and its quantised weights."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from math import comb
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from dfmcodec.errors import ConfigError

if TYPE_CHECKING:
    from dfmcodec.context_correction import ContextCorrection
    from dfmcodec.picture_filter import PictureFilter

Symbols = npt.NDArray[np.int32]
POSITION_DIM = 2  # x1, x2

MAX_DEPTH = 64
MAX_WIDTH = 64
MAX_FREQUENCIES = 1 << 16
MAX_WEIGHTS = 1 << 22
MAX_SYMBOL = 1 << 23  # bounds the coder's escapes
MAX_LEVELS = 6  # of a latent pyramid
MAX_STEP = (1 << 16) - 1  # of latents, 1/64 levels
MAX_TILES = 64  # along an axis
MAX_CHROMA_ANGLE = 255  # of the colour basis, 1/256 of half a turn


class Model(Enum):
    """The families of networks; the value is the name that `--model` takes."""

    LATENT = "latent"
    COORDINATE = "coordinate"
    GENERATIVE = "generative"


@dataclass(frozen=True)
class LayerShape:
    """One Fourier layer R^m -> R^n over the frequencies |k|_1 <= order of {0,1}^m."""

    inputs: int
    outputs: int
    order: int

    @property
    def frequency_count(self) -> int:
        return sum(comb(self.inputs, ones) for ones in range(self.order + 1))

    @property
    def weight_count(self) -> int:
        """Number of a_k and b_k that matter: b_0 multiplies sin(0) and is left out."""
        return (2 * self.frequency_count - 1) * self.outputs


@dataclass(frozen=True)
class CoordinateArchitecture:
    """All that rebuilds the published network: x in [0,1)^2 -> `depth` Fourier layers of `width` -> `channels`.

    Args:
        channels: Outputs of the last layer, 1 (gray) or 3 (RGB).
        depth: Number of Fourier layers, at least 1.
        width: Dimension between layers.
        order: Largest |k|_1; an order >= the layer's input dimension is the published full set {0,1}^m.

    Raises:
        ConfigError: A value is outside what the file format can hold.
    """

    channels: int
    depth: int
    width: int
    order: int
    model: ClassVar[Model] = Model.COORDINATE

    def __post_init__(self) -> None:
        for name, low, high in (("depth", 1, MAX_DEPTH), ("width", 1, MAX_WIDTH), ("order", 1, MAX_WIDTH)):
            value = getattr(self, name)
            if not low <= value <= high:
                msg = f"{name} {value} is outside {low}..{high}"
                raise ConfigError(msg)
        _check_channels(self.channels)
        largest = max(layer.frequency_count for layer in self.layers())
        if largest > MAX_FREQUENCIES:
            msg = (
                f"width {self.width} with order {self.order} needs {largest} frequencies a layer, "
                f"more than {MAX_FREQUENCIES}; lower the width or the order"
            )
            raise ConfigError(msg)
        if self.weight_count > MAX_WEIGHTS:
            msg = f"the network has {self.weight_count} weights, more than {MAX_WEIGHTS}"
            raise ConfigError(msg)

    def layers(self) -> tuple[LayerShape, ...]:
        """Shapes of the layers, first to last."""
        dims = [POSITION_DIM] + [self.width] * (self.depth - 1) + [self.channels]
        return tuple(LayerShape(m, n, min(self.order, m)) for m, n in pairwise(dims))

    def layer_sizes(self) -> tuple[int, ...]:
        """Numbers of weights of the layers, in file order."""
        return tuple(layer.weight_count for layer in self.layers())

    @property
    def weight_count(self) -> int:
        return sum(layer.weight_count for layer in self.layers())

    @property
    def float_bytes(self) -> int:
        """Size of the weights as float32, as the publication counts it (b_0 included)."""
        return 4 * sum(2 * layer.frequency_count * layer.outputs for layer in self.layers())

    @property
    def macs_per_pixel(self) -> int:
        """Multiply-adds of the layers' sums over k, features not counted."""
        return self.weight_count

    def as_dict(self) -> dict[str, Any]:
        """Plain values for reports."""
        return {
            "model": self.model.value,
            "channels": self.channels,
            "depth": self.depth,
            "width": self.width,
            "order": self.order,
            "weights": self.weight_count,
        }


@dataclass(frozen=True)
class LatentArchitecture:
    """All that rebuilds a latent model beside the prior itself.

    Args:
        channels: 1 (gray) or 3 (RGB).
        levels: Of the latent pyramid.
        depth: Fourier layers of the correcting machine.
        width: Its dimension between layers.
        order: Largest |k|_1 of its layers.
        prior: Checksum of the prior that the file was made with.
        tile_rows: Number of tiles one above the other; see `latents.Tiling`.
        tile_columns: Number of tiles side by side.

    Raises:
        ConfigError: A value is outside what the file format can hold.
    """

    channels: int
    levels: int
    depth: int
    width: int
    order: int
    prior: int
    tile_rows: int = 1
    tile_columns: int = 1
    model: ClassVar[Model] = Model.LATENT

    def __post_init__(self) -> None:
        _check_channels(self.channels)
        if not 1 <= self.levels <= MAX_LEVELS:
            msg = f"{self.levels} levels; 1 to {MAX_LEVELS} are possible"
            raise ConfigError(msg)
        if not (1 <= self.tile_rows <= MAX_TILES and 1 <= self.tile_columns <= MAX_TILES):
            msg = f"{self.tile_rows} x {self.tile_columns} tiles; 1 to {MAX_TILES} along an axis are possible"
            raise ConfigError(msg)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for reports."""
        return {
            "model": self.model.value,
            "channels": self.channels,
            "levels": self.levels,
            "depth": self.depth,
            "width": self.width,
            "order": self.order,
            "prior": f"{self.prior:08x}",
            "tiles": self.tile_rows * self.tile_columns,
        }


@dataclass(frozen=True)
class CodeArchitecture:
    """What a file says of the generative model under which its picture is a code.

    Args:
        channels: 1 (gray) or 3 (RGB).
        generator: Id of the model, the checksum of its file.
    """

    channels: int
    generator: int
    model: ClassVar[Model] = Model.GENERATIVE

    def __post_init__(self) -> None:
        _check_channels(self.channels)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for reports."""
        return {
            "model": self.model.value,
            "channels": self.channels,
            "generator": f"{self.generator:08x}",
        }


Architecture = CoordinateArchitecture | LatentArchitecture | CodeArchitecture


def _check_channels(channels: int) -> None:
    if channels not in (1, 3):
        msg = f"{channels} channels; only 1 (gray) and 3 (colour) are coded"
        raise ConfigError(msg)


@dataclass(frozen=True)
class QuantizedNetwork:
    """A fitted coordinate network as integers: what the file holds and all that the decoder needs.

    Args:
        architecture: The network.
        height: Height of the picture in pixels.
        width: Width of the picture in pixels.
        symbols: int32 [weight_count], layer after layer; of each layer a [|K|, n], then b without its
            idle row for k = 0, [|K| - 1, n], both row by row in the order of `fourier.FrequencySet`.
        step_indices: Index into `quantize.q_step` for each layer.
        bit_depth: Of the picture's samples, 8 or 16.

    Raises:
        ConfigError: The symbols or steps do not fit the architecture.
    """

    architecture: CoordinateArchitecture
    height: int
    width: int
    symbols: Symbols
    step_indices: tuple[int, ...]
    bit_depth: int = 8

    def __post_init__(self) -> None:
        if self.symbols.dtype != np.int32 or self.symbols.shape != (self.architecture.weight_count,):
            msg = (
                f"symbols must be int32 [{self.architecture.weight_count}], "
                f"found {self.symbols.dtype} {list(self.symbols.shape)}"
            )
            raise ConfigError(msg)
        if len(self.step_indices) != self.architecture.depth:
            msg = f"{self.architecture.depth} steps are needed, found {len(self.step_indices)}"
            raise ConfigError(msg)


@dataclass(frozen=True)
class QuantizedLatents:
    """A picture's latents as integers, and what they synthesise to.

    Args:
        architecture: Of the model.
        height: Height of the picture in pixels.
        width: Width of the picture in pixels.
        step: Quantisation step in 1/64 levels, 1..65535.
        chroma_angle: Of the colour basis, 0..255; see `latents.colour_basis`.
        symbols: int32 [H * W * channels], tile after tile, each in the order of `pyramid_coding`.
        samples: int32 [channels, H, W], units of `latents.UNITS_PER_LEVEL`: the linear synthesis. It follows from
            the symbols, but only by the walk that codes them, so it is kept.
        picture_filter: The picture's own filter; None for none.
        correction: The picture's own correction of the context networks; None for none.
        bit_depth: Of the picture's samples, 8 or 16.
        body: The latents section, where it is there already: it too follows from the symbols, but only by the walk.

    Raises:
        ConfigError: The symbols or the step do not fit the architecture.
    """

    architecture: LatentArchitecture
    height: int
    width: int
    step: int
    chroma_angle: int
    symbols: Symbols
    samples: Symbols
    picture_filter: PictureFilter | None = None
    correction: ContextCorrection | None = None
    bit_depth: int = 8
    body: bytes | None = None

    def __post_init__(self) -> None:
        shape = self.architecture.channels, self.height, self.width
        count = shape[0] * shape[1] * shape[2]
        if self.symbols.shape != (count,) or self.samples.shape != shape:
            msg = f"{count} symbols are needed, found {list(self.symbols.shape)}"
            raise ConfigError(msg)
        if not 1 <= self.step <= MAX_STEP:
            msg = f"step {self.step} is outside 1..{MAX_STEP}"
            raise ConfigError(msg)
        if not 0 <= self.chroma_angle <= MAX_CHROMA_ANGLE:
            msg = f"chroma angle {self.chroma_angle} is outside 0..{MAX_CHROMA_ANGLE}"
            raise ConfigError(msg)


@dataclass(frozen=True)
class CodedPicture:
    """A picture's code, which says nothing without its generative model.

    Args:
        architecture: Of the model.
        height: Height of the picture in pixels.
        width: Width of the picture in pixels.
        body: The code section, see `generative.codec`.
        bit_depth: Of the picture's samples, 8 or 16.
    """

    architecture: CodeArchitecture
    height: int
    width: int
    body: bytes
    bit_depth: int = 8


QuantizedModel = QuantizedNetwork | QuantizedLatents | CodedPicture
