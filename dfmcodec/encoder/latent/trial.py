"""What an iteration comes to."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from dfmcodec.bitstream.contents import QuantizedLatents
from dfmcodec.metrics import psnr_of_mse

CODER_SLACK_BYTES = 9  # the last words of a stream, by which a section may be larger than estimated


@dataclass(frozen=True)
class Trial:
    """The image after an iteration.

    Args:
        number: The number of the iteration, from 1.
        model: Latents, filter and correction.
        file_bytes: Estimated size of the file.
        mse: Mean squared error of the decoded image, squared code values of 8 bits; infinite where
            the trial was not finished.
        tiles: How many streams the latents have.
    """

    number: int
    model: QuantizedLatents
    file_bytes: float
    mse: float
    tiles: int

    @property
    def psnr_db(self) -> float:
        return psnr_of_mse(self.mse) if self.mse < inf else -inf

    @property
    def most_bytes(self) -> float:
        """What the file will surely not exceed."""
        streams = self.tiles + (self.model.image_filter is not None) + (self.model.correction is not None)
        return self.file_bytes + streams * CODER_SLACK_BYTES
