"""The shipped priors: a row each, and their arrays.

A file names its prior by a prior id, which is the CRC-32 over the prior's arrays. MODEL_CARD.md
describes each prior; docs/results has what they are worth.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import as_file, files
from typing import Any

import numpy as np
import numpy.typing as npt

from dfmcodec._types import Model
from dfmcodec.errors import DfmError, InstallationError, UnsupportedVersionError
from dfmcodec.files.arrays import read_arrays

Arrays = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class ShippedPrior:
    """A row of the registry.

    Args:
        id: The prior id.
        model: The model whose files name it.
        used_for: The images and Lagrange multipliers that new files name it for.
        trained: The module that trained it; MODEL_CARD.md has the commands.
    """

    id: int
    model: Model
    used_for: str
    trained: str

    @property
    def file_name(self) -> str:
        """The name of its archive in this folder."""
        return f"{self.model.value}-{self.id:08x}.npz"


_FITS = "training.fitted"
LATENT = ShippedPrior(0xF86AEBEB, Model.LATENT, "all images", "training.train, then .refine")
FITTED_SMALL = ShippedPrior(0xEB165D9B, Model.FITTED, "small or smooth images, multipliers from 5e-4", _FITS)
FITTED_FINE = ShippedPrior(0x4E35BDA5, Model.FITTED, "images of medium size, multipliers below 5e-4", _FITS)
FITTED_LARGE = ShippedPrior(0xFC9EDFFA, Model.FITTED, "larger images, high multipliers", _FITS)
FITTED_WIDE = ShippedPrior(0x4BFFFCAF, Model.FITTED, "large images, multipliers below 8e-4", _FITS)
FITTED_DETAILED = ShippedPrior(0x44CF48F6, Model.FITTED, "large images full of details, below 2e-3", _FITS)
REGISTRY = (LATENT, FITTED_SMALL, FITTED_FINE, FITTED_LARGE, FITTED_WIDE, FITTED_DETAILED)


def shipped_ids(model: Model) -> tuple[int, ...]:
    """Returns the prior ids of a model, in the order of the registry."""
    return tuple(row.id for row in REGISTRY if row.model is model)


def checksum(arrays: Arrays) -> int:
    """Returns the CRC-32 over all arrays, in ascending order of their names."""
    value = 0
    for name in sorted(arrays):
        array = arrays[name]
        little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        value = zlib.crc32(little.tobytes(), zlib.crc32(name.encode(), value))
    return value


def shipped_arrays(model: Model, prior_id: int) -> Arrays:
    """Reads the arrays of a prior from the installation.

    Args:
        model: The model of the file that names it.
        prior_id: The prior id that the file names.

    Raises:
        UnsupportedVersionError: This program does not have the prior.
        InstallationError: The prior is damaged or missing in this installation.
    """
    row = next((row for row in REGISTRY if (row.model, row.id) == (model, prior_id)), None)
    if row is None:
        msg = (
            f"the file needs prior {prior_id:08x}, which this program does not have; if a later version wrote it, "
            "update dfmcodec; if it is from before version 0.1.0, encode its source again"
        )
        raise UnsupportedVersionError(msg)
    resource = files("dfmcodec.weights") / row.file_name
    if not resource.is_file():
        msg = f"prior {prior_id:08x} is missing in this installation; install dfmcodec again"
        raise InstallationError(msg)
    damaged = f"prior {prior_id:08x} is damaged in this installation; install dfmcodec again"
    try:
        with as_file(resource) as path:
            arrays = read_arrays(path)
    except DfmError as error:
        raise InstallationError(damaged) from error
    if checksum(arrays) != prior_id:
        raise InstallationError(damaged)
    return arrays
