"""Writes the pretrained weights to weights.bin, for the decoder in the browser; src/weights.js
reads it.

    python web/make_weights.py -o web

The file starts with the 6 bytes of `MAGIC`; the last one is the version of this layout. The rest is
one zlib stream:

    length of the head (4 bytes, little-endian) | head (JSON) | the bodies of all arrays

The head is {"weights": [{"model": .., "id": .., "arrays": [[name, type, shape, offset], ..]}, ..]},
with offsets from the start of the first body. A body stores the bytes of its numbers plane by
plane: first the lowest byte of every number, then the second one, and so on. Signed numbers of more
than one byte are stored as 2 n for n >= 0 and as -2 n - 1 for n < 0, so that their upper bytes are
zeros. Both make the zlib stream shorter. The id is `dfmcodec.weights.registry.checksum` over the
arrays, with which the reader checks them.
"""

from __future__ import annotations

import argparse
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dfmcodec.weights.registry import REGISTRY, shipped_arrays

MAGIC = b"\x89DFMP\x03"
_LENGTH = struct.Struct("<I")


def weights_bytes() -> bytes:
    """Returns the contents of the file.

    Raises:
        InstallationError: Weights are damaged or missing in this installation.
    """
    bodies: list[bytes] = []
    all_weights: list[dict[str, Any]] = []
    end = 0
    for row in REGISTRY:
        entries = []
        for key, array in sorted(shipped_arrays(row.model, row.id).items()):
            entries.append([key, f"{array.dtype.kind}{array.itemsize}", list(array.shape), end])
            bodies.append(_body(array))
            end += len(bodies[-1])
        all_weights.append({"model": row.model.value, "id": row.id, "arrays": entries})
    head = json.dumps({"weights": all_weights}, separators=(",", ":")).encode()
    return MAGIC + zlib.compress(b"".join([_LENGTH.pack(len(head)), head, *bodies]), 9)


def _body(array: npt.NDArray[Any]) -> bytes:
    """Returns the numbers of an array, plane by plane."""
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    if array.dtype.kind == "i" and array.itemsize > 1:
        little = (little << 1) ^ (little >> 8 * array.itemsize - 1)
    return np.frombuffer(little.tobytes(), np.uint8).reshape(-1, array.itemsize).T.tobytes()


def main() -> None:
    """Writes the file and prints its size."""
    parser = argparse.ArgumentParser(description="Write the pretrained weights for the decoder in the browser.")
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).parent, help="the folder")
    path = parser.parse_args().output / "weights.bin"
    path.write_bytes(weights_bytes())
    print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
