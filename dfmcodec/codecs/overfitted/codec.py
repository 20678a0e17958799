"""The overfitted codec: latent grids and small networks, fitted to one image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dfmcodec.codecs.overfitted.header import HEADER
from dfmcodec.codecs.record import Codec

if TYPE_CHECKING:
    from dfmcodec.codecs.renderer import Renderer
    from dfmcodec.container.section_form import SectionForm
    from dfmcodec.search.encoder import Encoder


def _section_form() -> SectionForm:
    from dfmcodec.codecs.overfitted.read_write import SECTIONS

    return SECTIONS


def _renderer() -> Renderer:
    from dfmcodec.codecs.overfitted.decode import OverfittedRenderer

    return OverfittedRenderer()


def _encoder() -> Encoder:
    from dfmcodec.codecs.overfitted.encode.encoder import ENCODER

    return ENCODER


CODEC = Codec(HEADER, _section_form, _renderer, _encoder, step_unit="steps")
