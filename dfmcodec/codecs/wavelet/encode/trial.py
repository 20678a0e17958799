"""What an iteration comes to."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from dfmcodec.codecs.wavelet.contents import QuantizedLatents
from dfmcodec.metrics import psnr_of_mse
from dfmcodec.search.job import Encoded


@dataclass(frozen=True)
class Trial:
    """The image after an iteration.

    Args:
        number: The number of the iteration, from 1.
        model: Latents, filter and adaptation.
        file_bytes: Estimated size of the file, which moves smoothly with the q_step.
        written_bytes: Its size.
        mse: Mean squared error of the decoded image, squared code values of 8 bits; infinite where
            the trial was not finished.
        ssimulacra2: That of the decoded image; None where the tune is not `visual`, the trial was
            not finished, or a side is below 8 pixels.
        made: What a decoder would make of it, where that is kept.
    """

    number: int
    model: QuantizedLatents
    file_bytes: float
    written_bytes: int
    mse: float
    ssimulacra2: float | None = None
    made: Encoded | None = None

    @property
    def psnr_db(self) -> float:
        return psnr_of_mse(self.mse) if self.mse < inf else -inf

    @property
    def quality(self) -> float:
        """What trials of equal size are compared by: SSIMULACRA2, or else PSNR."""
        return self.psnr_db if self.ssimulacra2 is None else self.ssimulacra2
