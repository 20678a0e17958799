"""The metadata section: ICC profile, Exif block and XMP packet <-> a msgpack map."""

from __future__ import annotations

from typing import Any

import msgpack

from dfmcodec.errors import ConfigError, CorruptError, LimitError
from dfmcodec.image import Metadata

MAX_METADATA_BYTES = 1 << 24


def pack_metadata(metadata: Metadata) -> bytes:
    """The metadata section: a msgpack map from names to bytes.

    Raises:
        ConfigError: The metadata is larger than the format allows.
    """
    packed: bytes = msgpack.packb(metadata.present(), use_bin_type=True)
    if len(packed) > MAX_METADATA_BYTES:
        msg = f"{len(packed)} bytes of metadata, more than the {MAX_METADATA_BYTES} that fit; use --strip to drop it"
        raise ConfigError(msg)
    return packed


def unpack_metadata(body: bytes | None) -> Metadata:
    """The inverse of `pack_metadata`. None, for no section, gives empty metadata.

    Raises:
        CorruptError: The section is not such a map.
        LimitError: The section is too large.
    """
    if body is None:
        return Metadata()
    if len(body) > MAX_METADATA_BYTES:
        msg = f"{len(body)} bytes of metadata, more than the limit of {MAX_METADATA_BYTES}"
        raise LimitError(msg)
    try:
        entries: Any = msgpack.unpackb(body, raw=False, strict_map_key=True)
        if not isinstance(entries, dict) or not all(isinstance(value, bytes) for value in entries.values()):
            raise TypeError
        return Metadata(**entries)
    except (ValueError, TypeError, msgpack.exceptions.UnpackException) as error:
        msg = "the metadata section cannot be read; the file is damaged"
        raise CorruptError(msg) from error
