"""The generative codec: codes of images under a generative model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dfmcodec.codecs.generative.header import HEADER
from dfmcodec.codecs.record import Codec

if TYPE_CHECKING:
    from dfmcodec.codecs.renderer import Renderer
    from dfmcodec.container.section_form import SectionForm
    from dfmcodec.search.encoder import Encoder


def _section_form() -> SectionForm:
    from dfmcodec.codecs.generative.read_write import SECTIONS

    return SECTIONS


def _renderer() -> Renderer:
    from dfmcodec.codecs.generative.decode import CodeRenderer

    return CodeRenderer()


def _encoder() -> Encoder:
    from dfmcodec.codecs.generative.encode.encoder import ENCODER

    return ENCODER


CODEC = Codec(HEADER, _section_form, _renderer, _encoder, step_unit="codes", needs_generator=True)
