"""The overfitted codec: latent grids and small networks, fitted to one image."""

from __future__ import annotations

from dfmcodec.codecs.overfitted.header import HEADER
from dfmcodec.codecs.record import Codec

CODEC = Codec(HEADER)
