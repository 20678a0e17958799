"""The metadata section: ICC profile, Exif, XMP, code points, significant bits <-> a msgpack map."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, replace
from typing import Any

import msgpack

from dfmcodec.errors import ConfigError, CorruptError, LimitError
from dfmcodec.image import (
    BIT_DEPTHS,
    CODE_POINT_BYTES,
    MAX_METADATA_BYTES,
    MAX_SIGNIFICANT_BITS,
    Metadata,
    are_code_points,
    tiff,
)

_TIFF_SIGNATURES = (b"II*\0", b"MM\0*")
_KEYS = {field.name: field.name for field in fields(Metadata)} | {"significant_bits": "bits"}  # by attribute
_MOST_ENTRIES, _LONGEST_NAME = 64, 64  # of a map; later versions may add entries


def pack_metadata(metadata: Metadata) -> bytes:
    """Returns the metadata section, a msgpack map. Raises ConfigError if it is too large."""
    entries = metadata.present()
    block = entries.get("exif", b"").removeprefix(tiff.EXIF_PREFIX)  # `unpack_metadata` restores it
    if block.startswith(_TIFF_SIGNATURES):
        entries["exif"] = block
    packed: bytes = msgpack.packb(entries, use_bin_type=True)
    if len(packed) > MAX_METADATA_BYTES:
        found = f"{len(packed)} bytes of metadata, more than the {MAX_METADATA_BYTES} that fit"
        msg = f"{found}; leave some out with --strip"
        raise ConfigError(msg)
    return packed


def unpack_metadata(body: bytes | None, bit_depth: int = 16) -> Metadata:
    """Reads a metadata section, if there is one. Inverts `pack_metadata`.

    All 8 bits of 8-bit samples are significant. Raises CorruptError for an invalid map, LimitError
    for one that is too large.
    """
    if body is None:
        return Metadata()
    if len(body) > MAX_METADATA_BYTES:
        msg = f"{len(body)} bytes of metadata, more than the limit of {MAX_METADATA_BYTES}"
        raise LimitError(msg)
    try:
        metadata: Any = msgpack.unpackb(
            body,
            object_pairs_hook=_metadata_of,
            max_map_len=_MOST_ENTRIES,
            max_str_len=_LONGEST_NAME,
            max_array_len=0,
            max_ext_len=0,
        )
    except (ValueError, msgpack.exceptions.UnpackException) as error:
        metadata = error
    if not isinstance(metadata, Metadata):
        msg = "the metadata section cannot be read; the file is damaged"
        raise CorruptError(msg)
    return metadata if bit_depth > BIT_DEPTHS[0] else replace(metadata, significant_bits=None)


def _metadata_of(pairs: Iterable[tuple[Any, Any]]) -> Metadata:
    """Returns the metadata of a map's entries, without unknown names and invalid code points.

    Raises ValueError for an invalid entry. A map within a map is refused as soon as it ends.
    """
    entries = list(pairs)  # msgpack in pure Python passes a generator
    found = dict(entries)
    if len(found) < len(entries) or not all(isinstance(n, str) and isinstance(v, bytes) for n, v in entries):
        raise ValueError
    if len(found.get("cicp", bytes(CODE_POINT_BYTES))) != CODE_POINT_BYTES:
        raise ValueError
    if not are_code_points(found.get("cicp", b"")):
        found.pop("cicp", None)
    if "bits" in found:
        (bits,) = found["bits"]
        if not 1 <= bits <= MAX_SIGNIFICANT_BITS:
            raise ValueError
        found["bits"] = bits
    if found.get("exif", b"").startswith(_TIFF_SIGNATURES):
        found["exif"] = tiff.EXIF_PREFIX + found["exif"]
    return Metadata(**{name: found[key] for name, key in _KEYS.items() if key in found})
