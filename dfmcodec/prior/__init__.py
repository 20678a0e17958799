"""The shipped priors: what every file may take for granted and none pays for.

Context networks with their probability tables, and the Fourier machine that improves on the linear synthesis, trained
once on photographs (`python -m dfmcodec.prior.train`; MODEL_CARD.md). A file names its prior by `Prior.checksum`: new
files are made with `CURRENT`, and those made with earlier priors stay readable.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import as_file, files
from typing import Any

import numpy as np
import numpy.typing as npt

from dfmcodec.arrays import read_arrays
from dfmcodec.entropy.context import ContextModel
from dfmcodec.errors import DfmError, InstallationError, UnsupportedVersionError
from dfmcodec.synthesis import Machine

Arrays = Mapping[str, npt.NDArray[Any]]
CURRENT = 0xA25C47C2
SHIPPED = (CURRENT, 0x63FD10FF, 0xF8E970FA)


@dataclass(frozen=True)
class Prior:
    """A trained prior.

    Args:
        context: Chooses probability tables for latent symbols.
        machine: Corrects the linear synthesis.
        checksum: CRC-32 over names and contents of its arrays; what a file's header holds.
    """

    context: ContextModel
    machine: Machine
    checksum: int

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Prior:
        """From the arrays of a prior's file.

        Raises:
            DfmError: They do not give the same symbols on all machines; see `ContextModel.from_arrays`.
        """
        return cls(ContextModel.from_arrays(arrays), Machine.from_arrays(arrays), checksum(arrays))


def checksum(arrays: Arrays) -> int:
    """CRC-32 of all arrays, by name."""
    value = 0
    for name in sorted(arrays):
        array = arrays[name]
        little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        value = zlib.crc32(little.tobytes(), zlib.crc32(name.encode(), value))
    return value


def shipped() -> Prior:
    """The prior that this version of the program makes files with."""
    return prior_of(CURRENT)


@lru_cache(maxsize=2)
def prior_of(wanted: int) -> Prior:
    """The prior that a file names.

    Raises:
        UnsupportedVersionError: This program does not have it.
        InstallationError: It is damaged or was lost.
    """
    resource = files("dfmcodec.prior") / f"prior-{wanted:08x}.npz"
    if not resource.is_file():
        if wanted in SHIPPED:
            msg = f"prior {wanted:08x} is missing in this installation; install dfmcodec again"
            raise InstallationError(msg)
        msg = f"the file needs prior {wanted:08x}, which this program does not have; update dfmcodec"
        raise UnsupportedVersionError(msg)
    damaged = f"prior {wanted:08x} is damaged in this installation; install dfmcodec again"
    try:
        with as_file(resource) as path:
            arrays = read_arrays(path)
    except DfmError as error:
        raise InstallationError(damaged) from error
    if checksum(arrays) != wanted:
        raise InstallationError(damaged)
    return Prior.from_arrays(arrays)
