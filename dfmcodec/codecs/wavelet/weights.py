"""The pretrained weights of the wavelet codec, which are not part of files.

They consist of context networks with probability tables, and the correction network. They are
trained on photographs by `train` and `refine` of research/training/; see MODEL_CARD.md.
`dfmcodec.weights.registry` lists all pretrained weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from dfmcodec.codecs.wavelet.context import ContextModel
from dfmcodec.codecs.wavelet.correction import CorrectionNetwork
from dfmcodec.models import Model
from dfmcodec.weights.registry import WAVELET, Arrays, checksum, shipped_arrays


@dataclass(frozen=True)
class WaveletWeights:
    """The pretrained weights of the wavelet codec."""

    context: ContextModel  # the context model, which selects probability tables
    correction: CorrectionNetwork
    checksum: int  # the weights id in the header: the CRC-32 of the names and contents of all arrays

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> WaveletWeights:
        """Creates pretrained weights from arrays. Raises DfmError if symbols would depend on the
        host; see `ContextModel.from_arrays`.
        """
        return cls(ContextModel.from_arrays(arrays), CorrectionNetwork.from_arrays(arrays), checksum(arrays))


def shipped() -> WaveletWeights:
    """Returns the pretrained weights that this version encodes with."""
    return weights_of(WAVELET.id)


@lru_cache(maxsize=2)
def weights_of(weights_id: int) -> WaveletWeights:
    """Returns the pretrained weights of a file, by weights id. Raises UnsupportedVersionError if
    this version does not have these weights; InstallationError if the weights are damaged or
    missing in this installation.
    """
    return WaveletWeights.from_arrays(shipped_arrays(Model.WAVELET, weights_id))
