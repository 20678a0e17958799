"""The numcodecs codec "dfm", for arrays of Zarr v2: each chunk is an ordinary `.dfm` file.

zarr.create_array("mosaic.zarr", shape=(40_000, 60_000, 3), chunks=(1024, 1024, 3), dtype="uint8",
                  compressors=DfmCodec(quality=75), filters=None, zarr_format=2)

numcodecs finds the codec by its entry point. docs/zarr_codec.md is its specification.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numcodecs.abc import Codec
from numcodecs.compat import ensure_bytes, ensure_ndarray_like, ndarray_copy

from dfmcodec._types import Pixels
from dfmcodec.errors import ConfigError
from dfmcodec.image import MAX_PIXELS
from dfmcodec.plugins.chunks import CODEC_NAME, ChunkSettings, check_sample_bytes


@dataclass(frozen=True, kw_only=True)
class DfmCodec(ChunkSettings, Codec):  # type: ignore[misc]  # of any type for mypy
    """The compressor of an array, without filters: `compressors=DfmCodec(quality=75)`; see
    `ChunkSettings`.

    numcodecs shows a codec nothing of the array before its first chunk, so an array that is no
    image is refused when it is written first.
    """

    codec_id = CODEC_NAME

    def get_config(self) -> dict[str, Any]:
        """The codec as an array's metadata hold it."""
        return {"id": CODEC_NAME, **self.configuration()}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The codec of an array's metadata.

        Raises:
            ConfigError: See `ChunkSettings`.
        """
        return cls.of({name: value for name, value in config.items() if name != "id"})

    def encode(self, buf: Any) -> bytes:
        """The `.dfm` file of a chunk.

        Args:
            buf: uint8 or little-endian uint16, of a shape that `image_shape` takes, in C order.

        Raises:
            ConfigError: The chunk is of another type, shape or order.
            ImageError: The image is empty or too large.
            TargetUnreachableError: The PSNR cannot be reached.
        """
        chunk = np.asarray(buf)
        if chunk.flags.fnc or chunk.dtype != chunk.dtype.newbyteorder("<"):
            msg = "the dfm codec takes chunks in C order and little-endian samples; make the array with order C and <u2"
            raise ConfigError(msg)
        return self.encode_chunk(chunk)

    def decode(self, buf: Any, out: Any = None) -> Pixels:
        """The samples of a `.dfm` file, uint8 or little-endian uint16, in the order of the chunk.

        Args:
            buf: The file.
            out: A writable buffer of the size of the samples, which is filled; None for none.

        Returns:
            [H, W, C], or [C, H, W] with the axes "cyx".

        Raises:
            FormatError: The file is damaged or no `.dfm` file, or its samples are not as many bytes
                as the buffer takes; that is found before anything is decoded.
        """
        data = ensure_bytes(buf)
        if out is not None:
            check_sample_bytes(data, ensure_ndarray_like(out).nbytes)
        samples = self.decode_samples(data, MAX_PIXELS)
        decoded: Pixels = ndarray_copy(samples.astype(samples.dtype.newbyteorder("<"), copy=False), out)
        return decoded
