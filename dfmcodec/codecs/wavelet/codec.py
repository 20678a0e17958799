"""The wavelet codec: trellis-coded wavelet coefficients and a correction network."""

from __future__ import annotations

from dfmcodec.codecs.record import Codec
from dfmcodec.codecs.wavelet.header import HEADER

CODEC = Codec(HEADER)
