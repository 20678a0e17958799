"""The prior of the wavelet codec: what every file can rely on and none pays for.

It holds context networks with their probability tables, and the Deep Fourier Machine that improves
on the linear synthesis. It is trained on photographs by `training.train` and `training.refine`; see
MODEL_CARD.md. `dfmcodec.weights.registry` lists all priors.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from dfmcodec.codecs.registry import Model
from dfmcodec.codecs.wavelet.context import ContextModel
from dfmcodec.codecs.wavelet.correction import CorrectionNetwork
from dfmcodec.weights.registry import WAVELET, Arrays, checksum, shipped_arrays


@dataclass(frozen=True)
class WaveletWeights:
    """A trained prior of the wavelet codec.

    Args:
        context: Chooses the probability tables of latent symbols.
        machine: Corrects the linear synthesis.
        checksum: The weights id: the CRC-32 over the names and contents of its arrays, which the
            header of a file holds.
    """

    context: ContextModel
    machine: CorrectionNetwork
    checksum: int

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> WaveletWeights:
        """Makes a prior of its arrays.

        Raises:
            DfmError: The arrays do not give the same symbols on all hosts; see
                `ContextModel.from_arrays`.
        """
        return cls(ContextModel.from_arrays(arrays), CorrectionNetwork.from_arrays(arrays), checksum(arrays))


def shipped() -> WaveletWeights:
    """Returns the prior that this version of the program makes files with."""
    return prior_of(WAVELET.id)


@lru_cache(maxsize=2)
def prior_of(weights_id: int) -> WaveletWeights:
    """Returns the prior that a file of the wavelet codec names.

    Raises:
        UnsupportedVersionError: This program does not have the prior.
        InstallationError: The prior is damaged or missing in this installation.
    """
    return WaveletWeights.from_arrays(shipped_arrays(Model.WAVELET, weights_id))
