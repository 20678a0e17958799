"""The generative codec: codes of images under a generative model."""

from __future__ import annotations

from dfmcodec.codecs.generative.header import HEADER
from dfmcodec.codecs.record import Codec

CODEC = Codec(HEADER, iteration_unit="codes", needs_generator=True)
