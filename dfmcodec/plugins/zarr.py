"""Codec "dfm" for Zarr v3: each chunk of an array is an ordinary `.dfm` file.

zarr.create_array("mosaic.zarr", shape=(40_000, 60_000, 3), chunks=(1024, 1024, 3), dtype="uint8",
                  serializer={"name": "dfm", "configuration": {"quality": 75}}, compressors=None)

zarr-python finds the codec by its entry point. docs/zarr_codec.md is its specification,
docs/arrays.md shows its use.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from zarr.abc.codec import ArrayBytesCodec

from dfmcodec.errors import ConfigError
from dfmcodec.plugins.chunks import CODEC_NAME, ChunkSettings, check_type

if TYPE_CHECKING:
    from zarr.core.array_spec import ArraySpec
    from zarr.core.buffer import Buffer, NDBuffer


@dataclass(frozen=True, kw_only=True)
class DfmCodec(ChunkSettings, ArrayBytesCodec):  # type: ignore[misc]  # of any type for mypy
    """Codec of an array: `serializer=DfmCodec(quality=75)`; see `ChunkSettings`.

    Any number of chunks can be encoded and decoded in parallel threads.
    """

    is_fixed_size = False

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Creates the codec from the metadata of an array. Raises ConfigError."""
        return cls.of(data.get("configuration") or {})

    def to_dict(self) -> dict[str, Any]:
        return {"name": CODEC_NAME, "configuration": self.configuration()}

    def evolve_from_array_spec(self, array_spec: ArraySpec) -> Self:
        """Checks the type of the array, also within shards; returns the codec unchanged."""
        check_type(array_spec.dtype.to_native_dtype())
        return self

    def validate(self, *, shape: tuple[int, ...], dtype: Any, chunk_grid: Any) -> None:
        """Raises ConfigError or ImageError unless the chunks are images of one shape."""
        chunk_shape = getattr(chunk_grid, "chunk_shape", None)
        if chunk_shape is None:
            msg = f"the dfm codec takes chunks of one shape; the chunk grid is a {type(chunk_grid).__name__}"
            raise ConfigError(msg)
        self.image_shape(chunk_shape)

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: ArraySpec) -> int:
        """Raises NotImplementedError, as Zarr requires where the size is unknown."""
        raise NotImplementedError

    def _encode_sync(self, chunk_data: NDBuffer, chunk_spec: ArraySpec) -> Buffer:
        return chunk_spec.prototype.buffer.from_bytes(self.encode_chunk(chunk_data.as_numpy_array()))

    def _decode_sync(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        dtype: np.dtype[Any] = chunk_spec.dtype.to_native_dtype()
        chunk = self.decode_chunk(chunk_data.to_bytes(), chunk_spec.shape, dtype)
        return chunk_spec.prototype.nd_buffer.from_numpy_array(chunk)

    async def _encode_single(self, chunk_data: NDBuffer, chunk_spec: ArraySpec) -> Buffer:
        return await asyncio.to_thread(self._encode_sync, chunk_data, chunk_spec)

    async def _decode_single(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        return await asyncio.to_thread(self._decode_sync, chunk_data, chunk_spec)
