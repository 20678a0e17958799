"""The record of a codec: the interface between a codec and the rest of the package."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dfmcodec.codecs.registry import Model
from dfmcodec.container.layout import HeaderForm

if TYPE_CHECKING:
    from dfmcodec.codecs.renderer import Renderer
    from dfmcodec.container.section_form import SectionForm
    from dfmcodec.search.encoder import Encoder


@dataclass(frozen=True)
class Codec:
    """The functions and properties of a codec. `codecs.registry` has the properties that options
    depend on.

    Modules that decode or encode are imported when a function of the record is called. So reading a
    header imports neither, and decoding does not import encoding.
    """

    header: HeaderForm  # fields of the header, and the sections of files
    section_form: Callable[[], SectionForm]  # imports and returns the section form
    renderer: Callable[[], Renderer]  # imports and returns the renderer, which evaluates quantised models
    encoder: Callable[[], Encoder]  # imports and returns the encoder
    step_unit: str  # of the steps of an encoding, for reports
    needs_generator: bool = False  # whether decoding and encoding need the file of a generative model


def codec_of(model: Model) -> Codec:
    """Returns the record of a codec."""
    codec: Codec = model.record()
    return codec
