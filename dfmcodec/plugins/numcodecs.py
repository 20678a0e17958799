"""Codec "dfm" for numcodecs and arrays of Zarr v2: each chunk is an ordinary `.dfm` file.

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
    """Compressor of an array without filters: `DfmCodec(quality=75)`; see `ChunkSettings`.

    numcodecs passes no properties of the array before the first chunk, so an array that is not an
    image is refused only when it is first written.
    """

    codec_id = CODEC_NAME

    def get_config(self) -> dict[str, Any]:
        return {"id": CODEC_NAME, **self.configuration()}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Creates the codec from the metadata of an array. Raises ConfigError."""
        return cls.of({name: value for name, value in config.items() if name != "id"})

    def encode(self, buf: Any) -> bytes:
        """Encodes a chunk, uint8 or little-endian uint16 in C order; see `encode_chunk`."""
        chunk = np.asarray(buf)
        if chunk.flags.fnc or chunk.dtype != chunk.dtype.newbyteorder("<"):
            msg = "the dfm codec takes chunks in C order and little-endian samples; make the array with order C and <u2"
            raise ConfigError(msg)
        return self.encode_chunk(chunk)

    def decode(self, buf: Any, out: Any = None) -> Pixels:
        """Decodes a `.dfm` file to uint8 or little-endian uint16; see `decode_samples`.

        `out` is a buffer to fill. Raises FormatError, before decoding, if it has another size.
        """
        data = ensure_bytes(buf)
        if out is not None:
            check_sample_bytes(data, ensure_ndarray_like(out).nbytes)
        samples = self.decode_samples(data, MAX_PIXELS)
        decoded: Pixels = ndarray_copy(samples.astype(samples.dtype.newbyteorder("<"), copy=False), out)
        return decoded
