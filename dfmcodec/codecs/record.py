"""The record of a codec: the interface between a codec and the rest of the package."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from dfmcodec.container.layout import HeaderForm
from dfmcodec.models import Model

if TYPE_CHECKING:
    from dfmcodec.codecs.renderer import Renderer
    from dfmcodec.container.section_form import SectionForm
    from dfmcodec.search.encoder import Encoder


@dataclass(frozen=True)
class Codec:
    """The parts and properties of a codec. `models` has the properties that options depend on.

    The modules of parts have the same names in each codec's folder. They are imported on first use,
    so reading a header imports neither decoder nor encoder, and decoding does not import encoding.
    """

    header: HeaderForm  # fields of the header, and the sections of files

    def section_form(self) -> SectionForm:
        """Returns the section form."""
        form: SectionForm = self._part("read_write", "SECTIONS")
        return form

    def renderer(self) -> Renderer:
        """Returns the renderer, which evaluates quantised models."""
        renderer: Renderer = self._part("decode", "RENDERER")
        return renderer

    def encoder(self) -> Encoder:
        """Returns the encoder."""
        encoder: Encoder = self._part("encode.encoder", "ENCODER")
        return encoder

    def _part(self, module: str, name: str) -> Any:
        return getattr(import_module(f"dfmcodec.codecs.{self.header.model.value}.{module}"), name)


def codec_of(model: Model) -> Codec:
    """Returns the record of a codec."""
    codec: Codec = model.record()
    return codec
