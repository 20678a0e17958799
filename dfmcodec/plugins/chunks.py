"""Chunks of an array as `.dfm` files, for the Zarr codec.

docs/zarr_codec.md is its specification.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from math import prod
from numbers import Real
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from dfmcodec._types import Pixels, Tune
from dfmcodec.errors import ConfigError, CorruptError
from dfmcodec.image import BIT_DEPTHS, check_image_size, peak_value

if TYPE_CHECKING:
    from dfmcodec.search.config import EncoderConfig

CODEC_NAME = "dfm"
_TARGETS = ("quality", "ssimulacra2", "psnr", "lmbda")
_AXES = ("yx", "yxc", "cyx")
_CHANNELS = (1, 3)


@dataclass(frozen=True, kw_only=True)
class ChunkSettings:
    """Settings for encoding and decoding chunks of an array.

    The targets, the effort and the tune are those of `dfmcodec.EncoderConfig`, for each chunk.
    Chunks are encoded by the wavelet codec at every effort, so no chunk needs JAX. A chunk is uint8
    or uint16 and has 1 or 3 channels. An alpha channel is not supported, because an encoder may
    change colours under transparent pixels.

    Args:
        tune: None selects "visual" for the target ssimulacra2 and otherwise "psnr", because arrays
            usually contain measurements.
        axes: The meaning of the last axes of a chunk: "yx", "yxc" or "cyx". Axes before them have
            length 1. None selects "yxc" for chunks with at least three axes of which the last has
            length 1 or 3, and otherwise "yx".

    Raises:
        ConfigError: Not exactly one of quality, ssimulacra2, psnr and lmbda is given, or a value is
            invalid.
    """

    quality: float | None = None
    ssimulacra2: float | None = None
    psnr: float | None = None
    lmbda: float | None = None
    effort: int = 5
    tune: str | None = None
    axes: str | None = None

    def __post_init__(self) -> None:
        given = [name for name in _TARGETS if getattr(self, name) is not None]
        if len(given) != 1:
            msg = f"the dfm codec takes exactly one of {', '.join(_TARGETS)}; found {' and '.join(given) or 'none'}"
            raise ConfigError(msg)
        for name in (*given, "effort"):
            value: Any = getattr(self, name)
            if not isinstance(value, Real) or isinstance(value, bool):
                msg = f"{name} of the dfm codec is {value!r}; give a number"
                raise ConfigError(msg)
        if self.axes is not None and self.axes not in _AXES:
            msg = f"axes of the dfm codec are {self.axes!r}; choose one of {', '.join(_AXES)}"
            raise ConfigError(msg)
        self.encoder_config()
        for name in given:  # NumPy numbers cannot be stored in JSON
            object.__setattr__(self, name, float(getattr(self, name)))
        object.__setattr__(self, "effort", int(self.effort))

    @classmethod
    def of(cls, configuration: Mapping[str, Any]) -> Self:
        """Creates the settings from the metadata of an array. Raises ConfigError."""
        names = [field.name for field in fields(cls)]
        unknown = [name for name in configuration if name not in names]
        if unknown:
            msg = f"{unknown[0]!r} is not a parameter of the dfm codec; it has {', '.join(names)}"
            raise ConfigError(msg)
        return cls(**configuration)

    def configuration(self) -> dict[str, Any]:
        """Returns the settings as stored in the metadata of an array."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None}

    def encoder_config(self) -> EncoderConfig:
        """Returns the settings of the encoder for each chunk. Raises ConfigError."""
        from dfmcodec.search.config import EncoderConfig

        targets = {name: getattr(self, name) for name in _TARGETS}
        # All samples of an array have the same scale, so the range is not derived for each chunk.
        tune = self.tune or (Tune.PSNR if self.ssimulacra2 is None else Tune.VISUAL).value
        full_range = peak_value(BIT_DEPTHS[-1])
        return EncoderConfig(**targets, effort=self.effort, tune=tune, model="wavelet", sample_max=full_range)

    def image_shape(self, chunk_shape: Sequence[int]) -> tuple[int, int, int]:
        """Returns height, width and channels of the image in a chunk.

        Raises ConfigError for another shape, ImageError for an empty or too large image.
        """
        shape = tuple(chunk_shape)
        axes = self.axes or ("yxc" if len(shape) >= 3 and shape[-1] in _CHANNELS else "yx")
        last = 3 if axes == "yxc" else 2
        others, (height, width, channels) = prod(shape[:-last]), (*shape[-last:], 1, 1, 1)[:3]
        if axes == "cyx":
            others, channels = 1, others
        if len(shape) < last or others != 1 or channels not in _CHANNELS:
            msg = (
                f"a chunk of shape {list(shape)} is not an image with axes {axes!r}; choose chunks of "
                "[H, W] (axes yx), [H, W, C] (yxc) or [C, H, W] (cyx), C = 1 or 3, after axes of length 1"
            )
            raise ConfigError(msg)
        check_image_size(height, width)
        return height, width, channels

    def encode_chunk(self, chunk: npt.NDArray[Any]) -> bytes:
        """Encodes a chunk, uint8 or uint16 of any byte order, to a `.dfm` file.

        Raises ConfigError for another type or shape, TargetUnreachableError for too high a PSNR.
        """
        import dfmcodec

        check_type(chunk.dtype)
        height, width, channels = self.image_shape(chunk.shape)
        is_planar = self.axes == "cyx"
        samples = chunk.reshape((channels, height, width) if is_planar else (height, width, channels))
        samples = samples.transpose(1, 2, 0) if is_planar else samples
        return dfmcodec.encode(np.ascontiguousarray(samples), self.encoder_config()).data

    def decode_chunk(self, data: bytes, chunk_shape: Sequence[int], dtype: np.dtype[Any]) -> Pixels:
        """Decodes a `.dfm` file to a chunk.

        Raises FormatError for a damaged file, or, before decoding, for another size or type.
        """
        import dfmcodec

        height, width, channels = self.image_shape(chunk_shape)
        header = dfmcodec.read_info(data)
        found = (header.height, header.width, header.channels + header.has_alpha, header.bit_depth)
        if found != (height, width, channels, 8 * dtype.itemsize):
            msg = (
                f"the file of a chunk is {found[1]}x{found[0]} with {found[2]} channels of {found[3]} bits; "
                f"the array's chunks are {width}x{height} with {channels} of {8 * dtype.itemsize}"
            )
            raise CorruptError(msg)
        pixels = dfmcodec.decode(data, max_pixels=height * width).pixels
        samples = np.ascontiguousarray(pixels.transpose(2, 0, 1) if self.axes == "cyx" else pixels)
        return samples.reshape(tuple(chunk_shape)).astype(dtype, copy=False)


def check_type(dtype: np.dtype[Any]) -> None:
    """Raises ConfigError for arrays that are neither uint8 nor uint16."""
    if dtype.kind != "u" or dtype.itemsize > 2:
        msg = f"the array is of the type {dtype}; the dfm codec takes uint8 and uint16: convert it first"
        raise ConfigError(msg)
