"""Named arrays as files (.npz), read without trusting them."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dfmcodec.errors import ImageError
from dfmcodec.io import read_file, write_atomic


def read_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """The arrays of an .npz file.

    Raises:
        ImageError: It is not one, or damaged.
        DfmError: It cannot be read.
    """
    try:
        with np.load(io.BytesIO(read_file(path)), allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, EOFError, AttributeError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        msg = f"{path} is not a readable .npz file: {error}"
        raise ImageError(msg) from error


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Writes an .npz file, in one piece or not at all."""
    file = io.BytesIO()
    np.savez(file, **dict(arrays))
    write_atomic(path, file.getvalue())
