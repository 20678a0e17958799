"""Writes the priors as files for the decoder in the browser, which reads them in src/prior.js.

    python web/make_prior.py -o web

`prior.bin` has the priors of new files and all those of the fitted model, which are small. It lists
the others, of older files: each is in a file of its own beside it, `prior-<id>.bin`.

A file starts with the 6 bytes of `MAGIC`; the last of them is the version of this layout. The rest
is one zlib stream:

    length of the head (4 bytes, little-endian) | head (JSON) | the bodies of all arrays

The head is {"priors": [{"model": .., "id": .., "arrays": [[name, type, shape, offset], ..]}, ..],
"beside": [{"model": .., "id": ..}, ..]}, with offsets from the first body on. Arrays that two
priors share are stored once. A body has the bytes of its numbers plane by plane: first the lowest
byte of every number, then the second one, and so on. Signed numbers of more than one byte are
stored as 2 n for n >= 0 and as -2 n - 1 for n < 0, so that their upper bytes are zeros. Both make
the zlib stream shorter. `dfmcodec.prior.checksum` over the arrays of a prior gives its id, by which
the reader tells that all is right.
"""

from __future__ import annotations

import argparse
import json
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dfmcodec.prior import CURRENT, SHIPPED, shipped_arrays
from dfmcodec.prior.fitted import SHIPPED_FITTED

MAGIC = b"\x89DFMP\x02"
_LENGTH = struct.Struct("<I")
_LATENT, _FITTED = "latent", "fitted"
_SHIPPED = {_LATENT: ("prior", SHIPPED), _FITTED: ("fitted", SHIPPED_FITTED)}  # kind and ids of each model


class _Name(NamedTuple):
    """What a prior is found by."""

    model: str
    id: int


_ALL = [_Name(model, prior_id) for model, (_, ids) in _SHIPPED.items() for prior_id in ids]


def prior_bytes() -> bytes:
    """One file with all priors that a decoder needs.

    Raises:
        InstallationError: A prior is damaged or missing in this installation.
    """
    return _packed(_ALL, [])


def prior_files() -> dict[str, bytes]:
    """The same priors in files that are loaded when they are needed, by their names.

    Raises:
        InstallationError: A prior is damaged or missing in this installation.
    """
    beside = [name for name in _ALL if name.model == _LATENT and name.id != CURRENT]
    first = [name for name in _ALL if name not in beside]
    return {"prior.bin": _packed(first, beside), **{f"prior-{each.id:08x}.bin": _packed([each], []) for each in beside}}


def _packed(names: Sequence[_Name], beside: Sequence[_Name]) -> bytes:
    """A file with some priors, which lists those beside it."""
    offsets: dict[tuple[str, bytes], int] = {}
    bodies: list[bytes] = []
    priors: list[dict[str, Any]] = []
    end = 0
    for name in names:
        entries = []
        kind, ids = _SHIPPED[name.model]
        for key, array in sorted(shipped_arrays(kind, name.id, ids).items()):
            content = f"{array.dtype.kind}{array.itemsize}", _body(array)
            if content not in offsets:
                offsets[content] = end
                bodies.append(content[1])
                end += len(content[1])
            entries.append([key, content[0], list(array.shape), offsets[content]])
        priors.append({**name._asdict(), "arrays": entries})
    listed = [name._asdict() for name in beside]
    head = json.dumps({"priors": priors, "beside": listed}, separators=(",", ":")).encode()
    return MAGIC + zlib.compress(b"".join([_LENGTH.pack(len(head)), head, *bodies]), 9)


def _body(array: npt.NDArray[Any]) -> bytes:
    """The numbers of an array, plane by plane."""
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    if array.dtype.kind == "i" and array.itemsize > 1:
        little = (little << 1) ^ (little >> 8 * array.itemsize - 1)
    return np.frombuffer(little.tobytes(), np.uint8).reshape(-1, array.itemsize).T.tobytes()


def main() -> None:
    """Writes the files and prints their sizes."""
    parser = argparse.ArgumentParser(description="Write the priors for the decoder in the browser.")
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).parent, help="the folder")
    folder = parser.parse_args().output
    for name, data in prior_files().items():
        (folder / name).write_bytes(data)
        print(f"{folder / name}: {len(data)} bytes")


if __name__ == "__main__":
    main()
