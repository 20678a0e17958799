"""A trial: the result of an iteration."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from dfmcodec.codecs.wavelet.contents import QuantizedLatents
from dfmcodec.perception import psnr_of_mse
from dfmcodec.search.job import Encoded


@dataclass(frozen=True)
class Trial:
    """The encoded image after an iteration."""

    number: int  # the number of the iteration, from 1
    model: QuantizedLatents  # latents, filter and adaptation
    file_bytes: float  # estimated size of the file, which moves smoothly with the q_step
    written_bytes: int  # the actual size of the file
    # the mean squared error of the decoded image, squared code values of 8 bits; infinite if the
    # trial was not finished
    mse: float
    # the SSIMULACRA2 of the decoded image; None if the tune is not `visual`, the trial was not
    # finished, or a side is below 8 pixels
    ssimulacra2: float | None = None
    encoded: Encoded | None = None  # the decoded image, if it is stored

    @property
    def has_pixels(self) -> bool:
        """Indicates whether the decoded pixels are stored."""
        return self.encoded is not None and self.encoded.pixels is not None

    @property
    def psnr_db(self) -> float:
        return psnr_of_mse(self.mse) if self.mse < inf else -inf

    @property
    def quality(self) -> float:
        """The quality by which trials of equal size are compared: SSIMULACRA2, or else PSNR."""
        return self.psnr_db if self.ssimulacra2 is None else self.ssimulacra2
