"""Files of named arrays (.npz), which are read without being trusted."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dfmcodec.errors import DfmError
from dfmcodec.files.atomic import read_file, write_atomic


def read_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Reads the arrays of an .npz file, by name.

    Raises:
        DfmError: The file cannot be read, is not an .npz file, or is damaged.
    """
    data = read_file(path)
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except MemoryError:
        raise
    except Exception as error:  # zipfile, zlib and NumPy raise a dozen kinds for damaged bytes
        msg = f"{path} is not a readable .npz file: {error}"
        raise DfmError(" ".join(msg.split())) from error


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Writes an .npz file, whole or not at all.

    Raises:
        OutputError: The file cannot be written.
    """
    file = io.BytesIO()
    np.savez(file, **dict(arrays))
    write_atomic(path, file.getvalue())
