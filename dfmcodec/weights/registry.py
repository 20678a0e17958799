"""Registry of the pretrained weights, and access to their arrays.

A file refers to pretrained weights by a weights id, the CRC-32 over their arrays. MODEL_CARD.md
describes each set of weights; docs/results lists their gains.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import as_file, files
from typing import Any

import numpy as np
import numpy.typing as npt

from dfmcodec.errors import DfmError, InstallationError, UnsupportedVersionError
from dfmcodec.files.arrays import read_arrays
from dfmcodec.models import Model

Arrays = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class ShippedWeights:
    """Row of the registry."""

    id: int
    model: Model  # whose files refer to the weights
    used_for: str  # images and Lagrange multipliers
    trained: str  # the module that trained the weights; MODEL_CARD.md has the commands

    @property
    def file_name(self) -> str:
        """Returns the file name of the archive in this folder."""
        return f"{self.model.value}-{self.id:08x}.npz"


_FITS = "research.training.overfitted"
WAVELET = ShippedWeights(0xE7F2DA25, Model.WAVELET, "all images", "research.training.train, then .refine")
OVERFITTED_SMALL = ShippedWeights(0xEB165D9B, Model.OVERFITTED, "small or smooth images, multipliers from 5e-4", _FITS)
OVERFITTED_FINE = ShippedWeights(0x4E35BDA5, Model.OVERFITTED, "images of medium size, multipliers below 5e-4", _FITS)
OVERFITTED_LARGE = ShippedWeights(0xFC9EDFFA, Model.OVERFITTED, "larger images, high multipliers", _FITS)
OVERFITTED_WIDE = ShippedWeights(0x4BFFFCAF, Model.OVERFITTED, "large images, multipliers below 8e-4", _FITS)
OVERFITTED_DETAILED = ShippedWeights(0x44CF48F6, Model.OVERFITTED, "large images full of details, below 2e-3", _FITS)
REGISTRY = (WAVELET, OVERFITTED_SMALL, OVERFITTED_FINE, OVERFITTED_LARGE, OVERFITTED_WIDE, OVERFITTED_DETAILED)


def shipped_ids(model: Model) -> tuple[int, ...]:
    """Returns the weights ids of a codec, in the order of the registry."""
    return tuple(row.id for row in REGISTRY if row.model is model)


def checksum(arrays: Arrays) -> int:
    """Returns the CRC-32 over all arrays, in ascending order of their names."""
    value = 0
    for name in sorted(arrays):
        array = arrays[name]
        little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        value = zlib.crc32(little.tobytes(), zlib.crc32(name.encode(), value))
    return value


def shipped_arrays(model: Model, weights_id: int) -> Arrays:
    """Reads the arrays of pretrained weights of a codec from the installation. Raises
    UnsupportedVersionError if this version does not have these weights, and InstallationError if
    the weights are damaged or missing in this installation.
    """
    row = next((row for row in REGISTRY if (row.model, row.id) == (model, weights_id)), None)
    if row is None:
        msg = (
            f"the file needs weights {weights_id:08x}, which this version does not have; if a later version wrote it, "
            "update dfmcodec; if it is from before version 0.1.0, encode its source again"
        )
        raise UnsupportedVersionError(msg)
    resource = files("dfmcodec.weights") / row.file_name
    if not resource.is_file():
        msg = f"weights {weights_id:08x} are missing in this installation; install dfmcodec again"
        raise InstallationError(msg)
    damaged = f"weights {weights_id:08x} are damaged in this installation; install dfmcodec again"
    try:
        with as_file(resource) as path:
            arrays = read_arrays(path)
    except DfmError as error:
        raise InstallationError(damaged) from error
    if checksum(arrays) != weights_id:
        raise InstallationError(damaged)
    return arrays
