"""The coordinate codec: the published Deep Fourier Machine, fitted to one image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dfmcodec.codecs.coordinate.header import HEADER
from dfmcodec.codecs.record import Codec

if TYPE_CHECKING:
    from dfmcodec.codecs.renderer import Renderer
    from dfmcodec.container.section_form import SectionForm
    from dfmcodec.search.encoder import Encoder


def _section_form() -> SectionForm:
    from dfmcodec.codecs.coordinate.read_write import SECTIONS

    return SECTIONS


def _renderer() -> Renderer:
    from dfmcodec.codecs.coordinate.decode import CoordinateRenderer

    return CoordinateRenderer()


def _encoder() -> Encoder:
    from dfmcodec.codecs.coordinate.encode.encoder import ENCODER

    return ENCODER


CODEC = Codec(HEADER, _section_form, _renderer, _encoder, step_unit="training steps")
