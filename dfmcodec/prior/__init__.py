"""The shipped priors: what every file can rely on and none pays for.

A prior holds context networks with their probability tables, and the Deep Fourier Machine that
improves on the linear synthesis. It is trained on photographs by `dfmcodec.training.prior.train`
and `refine`; see MODEL_CARD.md. A file names its prior by its prior id, `Prior.checksum`. New files
are made with `CURRENT`; files made with earlier priors stay readable.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import as_file, files
from typing import Any

import numpy as np
import numpy.typing as npt

from dfmcodec.entropy.context import ContextModel
from dfmcodec.errors import DfmError, InstallationError, UnsupportedVersionError
from dfmcodec.files.arrays import read_arrays
from dfmcodec.synthesis.machine import DeepFourierMachine

Arrays = Mapping[str, npt.NDArray[Any]]
CURRENT = 0x6A93A5F3  # the prior id of new files
SHIPPED = (CURRENT, 0xA25C47C2, 0x63FD10FF, 0xF8E970FA)  # the prior ids of all readable files


@dataclass(frozen=True)
class Prior:
    """A trained prior.

    Args:
        context: Chooses the probability tables of latent symbols.
        machine: Corrects the linear synthesis.
        checksum: The prior id: the CRC-32 over the names and contents of its arrays, which the
            header of a file holds.
    """

    context: ContextModel
    machine: DeepFourierMachine
    checksum: int

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Prior:
        """Makes a prior of its arrays.

        Raises:
            DfmError: The arrays do not give the same symbols on all hosts; see
                `ContextModel.from_arrays`.
        """
        return cls(ContextModel.from_arrays(arrays), DeepFourierMachine.from_arrays(arrays), checksum(arrays))


def checksum(arrays: Arrays) -> int:
    """Returns the CRC-32 over all arrays, in ascending order of their names."""
    value = 0
    for name in sorted(arrays):
        array = arrays[name]
        little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        value = zlib.crc32(little.tobytes(), zlib.crc32(name.encode(), value))
    return value


def shipped() -> Prior:
    """Returns the prior that this version of the program makes files with."""
    return prior_of(CURRENT)


@lru_cache(maxsize=2)
def prior_of(prior_id: int) -> Prior:
    """Returns the prior that a file names.

    Raises:
        UnsupportedVersionError: This program does not have the prior.
        InstallationError: The prior is damaged or missing in this installation.
    """
    return Prior.from_arrays(shipped_arrays("prior", prior_id, SHIPPED))


def shipped_arrays(kind: str, prior_id: int, shipped_ids: Sequence[int]) -> Arrays:
    """Reads the arrays of a prior from the installation.

    Args:
        kind: The start of the file's name.
        prior_id: The prior id that a file names.
        shipped_ids: The prior ids of this version of the program.

    Raises:
        UnsupportedVersionError: This program does not have the prior.
        InstallationError: The prior is damaged or missing in this installation.
    """
    resource = files("dfmcodec.prior") / f"{kind}-{prior_id:08x}.npz"
    if not resource.is_file():
        if prior_id in shipped_ids:
            msg = f"prior {prior_id:08x} is missing in this installation; install dfmcodec again"
            raise InstallationError(msg)
        msg = f"the file needs prior {prior_id:08x}, which this program does not have; update dfmcodec"
        raise UnsupportedVersionError(msg)
    damaged = f"prior {prior_id:08x} is damaged in this installation; install dfmcodec again"
    try:
        with as_file(resource) as path:
            arrays = read_arrays(path)
    except DfmError as error:
        raise InstallationError(damaged) from error
    if checksum(arrays) != prior_id:
        raise InstallationError(damaged)
    return arrays
