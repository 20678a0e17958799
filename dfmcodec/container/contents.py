"""The contents of a file: architectures, quantised models and ancillary data.

They flow from an encoder to the bitstream, and from the bitstream to the decoder.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dfmcodec._types import Pixels
from dfmcodec.codecs.coordinate.contents import QuantizedNetwork
from dfmcodec.codecs.generative.contents import CodeArchitecture, CodedImage
from dfmcodec.codecs.overfitted.contents import OverfittedArchitecture, QuantizedGrids
from dfmcodec.codecs.wavelet.contents import QuantizedLatents, WaveletArchitecture
from dfmcodec.fourier.network import CoordinateArchitecture
from dfmcodec.image import Metadata

if TYPE_CHECKING:
    pass


Architecture = CoordinateArchitecture | WaveletArchitecture | OverfittedArchitecture | CodeArchitecture


QuantizedModel = QuantizedNetwork | QuantizedLatents | QuantizedGrids | CodedImage


@dataclass(frozen=True)
class Ancillary:
    """What a file holds in addition to the coded pixels.

    Args:
        metadata: ICC profile, Exif block and XMP packet.
        alpha: The alpha of each pixel, uint8 or uint16 [H, W]; None for an opaque image.
        gray_as_rgb: Whether an image that is coded as gray is to be shown as RGB.
    """

    metadata: Metadata = field(default_factory=Metadata)
    alpha: Pixels | None = None
    gray_as_rgb: bool = False
