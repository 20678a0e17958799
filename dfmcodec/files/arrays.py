"""Arrays from outside: samples of images, and untrusted files of named arrays (.npz)."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Collection, Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dfmcodec._types import Pixels
from dfmcodec.errors import DfmError, ImageError
from dfmcodec.files.atomic import read_file, write_atomic

_CHANNELS = range(1, 5)
MAX_ARRAYS_BYTES = 1 << 32  # of all arrays of an .npz file


def image_array(source: Any) -> Pixels:
    """Converts an array, or an object that NumPy can convert, to the samples of an image.

    Samples are uint8 or uint16 of any byte order, [H, W] or [H, W, C] with C = 1, 2, 3 or 4. Raises
    ImageError for another type or shape, with the expression that converts it.
    """
    try:
        array = np.asarray(source)
    except MemoryError:
        raise
    except Exception as error:  # conversions of other libraries raise errors of any type
        msg = f"the image, a {type(source).__name__}, is not a NumPy array and cannot be made one: {error}"
        raise ImageError(" ".join(msg.split())) from error
    if array.ndim == 0 or array.dtype.kind in "OSUMm":
        found = type(source).__name__ + (f" of {array.dtype}" if array.ndim else "")
        msg = f"an image is needed: a path, bytes, a binary file, a Pillow image or an array; found {found}"
        raise ImageError(msg)
    shape = list(array.shape)
    if array.size == 0:
        msg = f"the array has the shape {shape} and no pixels"
        raise ImageError(msg)
    if array.ndim == 4:
        msg = f"the array has the shape {shape}; encode the images of a batch one by one"
        raise ImageError(msg)
    expression = "array"
    if array.ndim == 3 and shape[2] not in _CHANNELS and shape[0] in _CHANNELS:  # channels first, as in PyTorch
        expression = "array.transpose(1, 2, 0)"
    elif array.ndim not in (2, 3) or (array.ndim == 3 and shape[2] not in _CHANNELS):
        msg = f"an array of an image is [H, W] or [H, W, C] with C = 1, 2, 3 or 4; found the shape {shape}"
        raise ImageError(msg)
    if array.dtype.kind == "u" and array.dtype.itemsize <= 2:
        if expression != "array":
            msg = f"the array has the shape {shape}, but channels come last; encode {expression}"
            raise ImageError(msg)
        return array
    msg = f"an array of an image is uint8 or uint16; {_conversion(array, expression)}"
    raise ImageError(msg)


def _conversion(array: npt.NDArray[Any], expression: str) -> str:
    """Describes an array of an unsupported type, not empty, and how to convert it."""
    found, kind = f"this one is {array.dtype.name}", array.dtype.kind
    if kind == "b":
        return f"{found}; encode {expression}.astype(np.uint8) * 255"
    if kind not in "iuf":
        return f"{found}; convert it to one of these first"
    low, high = array.min(), array.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        return f"{found} with NaN or infinite values; replace these first, for example by np.nan_to_num"
    found += f" with values in {low:g}..{high:g}"
    if kind == "f" and low >= 0 and high <= 1:
        deep = f", or np.rint({expression} * 65535).astype(np.uint16) for 16 bits"
        return f"{found}; encode np.rint({expression} * 255).astype(np.uint8){deep if array.itemsize > 2 else ''}"
    if kind == "f" and low >= -1 and high <= 1:
        return f"{found}; encode np.rint(({expression} + 1) * 127.5).astype(np.uint8)"
    if low < 0 or high > 65_535:
        return f"{found}; scale it to 0..255 or 0..65535 first"
    rounded = f"np.rint({expression})" if kind == "f" else expression
    return f"{found}; encode {rounded}.astype(np.{'uint8' if high <= 255 else 'uint16'})"


def read_arrays(
    path: Path, names: Collection[str] | None = None, max_bytes: int = MAX_ARRAYS_BYTES
) -> dict[str, npt.NDArray[Any]]:
    """Reads the arrays of an .npz file, or those with some names, by name.

    Other arrays are not decompressed; all decompressed ones have at most `max_bytes`. Raises
    DfmError if the file cannot be read, is not an .npz file, is damaged, or exceeds the limit.
    """
    data = read_file(path)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as members:
            wanted = {info.filename.removesuffix(".npy"): info for info in members.infolist()}
            wanted = {name: info for name, info in wanted.items() if names is None or name in names}
            unpacked = sum(info.file_size for info in wanted.values())
            if unpacked > max_bytes:
                msg = f"its arrays have {unpacked} bytes, more than the limit of {max_bytes}"
                raise ValueError(msg)
            return {name: _read_array(members.read(info)) for name, info in wanted.items()}
    except MemoryError:
        raise
    except Exception as error:  # zipfile, zlib and NumPy raise many types of errors for damaged data
        msg = f"{path} is not a readable .npz file: {error}"
        raise DfmError(" ".join(msg.split())) from error


def _read_array(data: bytes) -> npt.NDArray[Any]:
    """Reads an .npy file. The shape is checked against the size before memory is allocated."""
    file = io.BytesIO(data)
    version = np.lib.format.read_magic(file)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read_header(file)
    if dtype.hasobject or prod(shape) * dtype.itemsize != len(data) - file.tell():
        msg = f"an array of {dtype} {list(shape)} in {len(data)} bytes"
        raise ValueError(msg)
    file.seek(0)
    return np.asarray(np.lib.format.read_array(file, allow_pickle=False))


def write_arrays(path: Path, arrays: Mapping[str, Any], is_compressed: bool = False) -> None:
    """Writes an .npz file atomically; no extension is added. Raises OutputError."""
    file = io.BytesIO()
    save = np.savez_compressed if is_compressed else np.savez
    save(file, **dict(arrays))
    write_atomic(path, file.getvalue())
