"""The wavelet codec: trellis-coded wavelet coefficients and a correction network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dfmcodec.codecs.record import Codec
from dfmcodec.codecs.wavelet.header import HEADER

if TYPE_CHECKING:
    from dfmcodec.codecs.renderer import Renderer
    from dfmcodec.container.section_form import SectionForm
    from dfmcodec.search.encoder import Encoder


def _section_form() -> SectionForm:
    from dfmcodec.codecs.wavelet.read_write import SECTIONS

    return SECTIONS


def _renderer() -> Renderer:
    from dfmcodec.codecs.wavelet.decode import WaveletRenderer

    return WaveletRenderer()


def _encoder() -> Encoder:
    from dfmcodec.codecs.wavelet.encode.encoder import ENCODER

    return ENCODER


CODEC = Codec(HEADER, _section_form, _renderer, _encoder, step_unit="iterations")
