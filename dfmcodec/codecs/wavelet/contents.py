"""The contents of a file of the wavelet codec."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from dfmcodec._types import Int8, Int32, Symbols, UInt8
from dfmcodec.codecs.wavelet.colour import MAX_CHROMA_ANGLE, ColourBasis, Luma
from dfmcodec.codecs.wavelet.geometry import MAX_LEVELS, MAX_TILES, Tiling
from dfmcodec.codecs.wavelet.quantizer import MAX_STEP
from dfmcodec.errors import ConfigError
from dfmcodec.image import check_channels
from dfmcodec.models import Model

if TYPE_CHECKING:
    from dfmcodec.codecs.wavelet.adaptation import ContextAdaptation
    from dfmcodec.codecs.wavelet.filter import ImageFilter
    from dfmcodec.codecs.wavelet.texture import Texture


@dataclass(frozen=True)
class WaveletArchitecture:
    """The header fields from which a decoder rebuilds the codec, besides the pretrained weights.
    Raises ConfigError if a value is outside the range of the file format.
    """

    channels: int  # 1 (gray) or 3 (RGB)
    levels: int  # the number of decomposition levels of the wavelet
    depth: int  # the number of Fourier layers of the correction network
    width: int  # the dimension between the layers of the correction network
    luma: Luma  # the luma weights of the planes
    weights_id: int  # the checksum of the pretrained weights that the file was encoded with
    tile_rows: int = 1  # the number of rows of tiles; see `geometry.Tiling`
    tile_columns: int = 1  # the number of columns of tiles
    model: ClassVar[Model] = Model.WAVELET

    def __post_init__(self) -> None:
        check_channels(self.channels)
        if not 1 <= self.levels <= MAX_LEVELS:
            msg = f"{self.levels} decomposition levels; 1 to {MAX_LEVELS} are possible"
            raise ConfigError(msg)
        if not (1 <= self.tile_rows <= MAX_TILES and 1 <= self.tile_columns <= MAX_TILES):
            msg = f"{self.tile_rows} x {self.tile_columns} tiles; 1 to {MAX_TILES} along an axis are possible"
            raise ConfigError(msg)

    def as_dict(self) -> dict[str, Any]:
        """Returns plain values for reports."""
        return {
            "model": self.model.value,
            "channels": self.channels,
            "levels": self.levels,
            "depth": self.depth,
            "layer_width": self.width,
            "luma": self.luma.name.lower(),
            "weights_id": f"{self.weights_id:08x}",
            "tiles": self.tile_rows * self.tile_columns,
        }


@dataclass(frozen=True)
class TileSymbols:
    """The symbols of a tile in coding order, see `traversal`, in compact form.

    Symbols of coarse levels come first and may be large. Nearly all others fit into bytes.
    """

    first: Symbols  # the symbols up to the last one that does not fit into a byte
    others: Int8  # the remaining symbols

    @classmethod
    def of(cls, values: Symbols) -> TileSymbols:
        """Returns the compact form of symbols, int32 [N]."""
        compact = values.astype(np.int8)
        large = np.flatnonzero(compact != values)
        count = int(large[-1]) + 1 if large.size else 0
        return cls(values[:count].copy(), compact[count:])

    @property
    def values(self) -> Symbols:
        """All symbols, int32 [N]."""
        return np.concatenate([self.first, self.others.astype(np.int32)])

    @property
    def size(self) -> int:
        """The number of symbols."""
        return self.first.size + self.others.size


@dataclass(frozen=True)
class TileStream:
    """The bytes of a tile in the latents section, with the tile's checks."""

    body: bytes  # the bytes that the file still contains
    missing_bytes: int = 0  # the number of bytes that are missing at the end
    # the checks of the low-pass band, then of each decomposition level from the coarsest on; None
    # if the file has none
    checks: Sequence[int] | None = None
    # where symbols are not zero, see `texture.packed_masks`; None if no texture is to be fitted
    nonzero: UInt8 | None = None


@dataclass(frozen=True)
class QuantizedLatents:
    """The quantised latents of an image, and their linear synthesis. Raises ConfigError if the
    symbols or the step do not match the architecture.
    """

    architecture: WaveletArchitecture  # the architecture of the model
    height: int  # the height of the image, in pixels
    width: int  # the width of the image, in pixels
    q_step: int  # the quantisation step in 1/64 code values, 1..65535
    chroma_angle: int  # the chroma angle in 1/256 of half a turn, 0..255; see `colour.ColourBasis`
    tile_symbols: tuple[TileSymbols, ...]  # the symbols of each tile; () if there are tile streams
    # the linear synthesis in units, int32 [channels, H, W], and after it the noise of a texture, of
    # the same shape; None in a model that is only written. It is kept because computing it from
    # the symbols needs a complete traversal
    samples: Int32 | None
    image_filter: ImageFilter | None = None
    adaptation: ContextAdaptation | None = None  # the adaptation of the context networks; None for none
    bit_depth: int = 8  # the bits per sample of the image, 8 or 16
    # the tile streams, with checks, if the symbols were encoded and not kept; () for none
    streams: tuple[TileStream, ...] = ()
    texture: Texture | None = None  # the texture; None for none

    def __post_init__(self) -> None:
        shape = self.architecture.channels * (1 + (self.texture is not None)), self.height, self.width
        count = self.architecture.channels * self.height * self.width
        found = sum(symbols.size for symbols in self.tile_symbols)
        if (found != count and not self.streams) or (self.samples is not None and self.samples.shape != shape):
            msg = f"{count} symbols are needed, found {found}"
            raise ConfigError(msg)
        if not 1 <= self.q_step <= MAX_STEP:
            msg = f"quantisation step {self.q_step} is outside 1..{MAX_STEP}"
            raise ConfigError(msg)
        if not 0 <= self.chroma_angle <= MAX_CHROMA_ANGLE:
            msg = f"chroma angle {self.chroma_angle} is outside 0..{MAX_CHROMA_ANGLE}"
            raise ConfigError(msg)

    @property
    def basis(self) -> ColourBasis:
        """The colour basis of the planes."""
        return ColourBasis(self.chroma_angle, self.architecture.luma)

    @property
    def symbols(self) -> Symbols:
        """All symbols, tile after tile, int32 [H * W * channels]."""
        return np.concatenate([symbols.values for symbols in self.tile_symbols])


def tiling_of(arch: WaveletArchitecture, height: int, width: int) -> Tiling:
    """Returns the tiling of an image of the wavelet codec."""
    return Tiling(height, width, arch.channels, arch.levels, arch.tile_rows, arch.tile_columns)
