"""Array types used throughout the package, and the closed list of tunes."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any

import numpy as np
import numpy.typing as npt

Array = Any  # numpy.ndarray or jax.Array
Bools = npt.NDArray[np.bool_]
Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Floats = npt.NDArray[np.floating[Any]]
Int8 = npt.NDArray[np.int8]
Int16 = npt.NDArray[np.int16]
Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
UInt8 = npt.NDArray[np.uint8]
UInt16 = npt.NDArray[np.uint16]
UInt32 = npt.NDArray[np.uint32]
UInt64 = npt.NDArray[np.uint64]
Pixels = npt.NDArray[np.unsignedinteger[Any]]  # uint8 or uint16
Units = npt.NDArray[np.signedinteger[Any]]  # int16 or int32
Symbols = npt.NDArray[np.int32]
Notify = Callable[[str], None]  # receives a notice of each conversion or loss


class Tune(Enum):
    """Metrics to optimise; the value is the name that `--tune` takes."""

    VISUAL = "visual"
    PSNR = "psnr"
