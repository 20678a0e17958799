"""The coordinate codec: the published Deep Fourier Machine, fitted to one image."""

from __future__ import annotations

from dfmcodec.codecs.coordinate.header import HEADER
from dfmcodec.codecs.record import Codec

CODEC = Codec(HEADER)
