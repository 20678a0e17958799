"""What an iteration comes to."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from dfmcodec.bitstream.contents import QuantizedLatents
from dfmcodec.metrics import psnr_of_mse


@dataclass(frozen=True)
class Trial:
    """The image after an iteration.

    Args:
        number: The number of the iteration, from 1.
        model: Latents, filter and correction.
        file_bytes: Estimated size of the file, which moves smoothly with the q_step.
        written_bytes: Its size.
        mse: Mean squared error of the decoded image, squared code values of 8 bits; infinite where
            the trial was not finished.
    """

    number: int
    model: QuantizedLatents
    file_bytes: float
    written_bytes: int
    mse: float

    @property
    def psnr_db(self) -> float:
        return psnr_of_mse(self.mse) if self.mse < inf else -inf
