"""The record of a codec: all that the rest of the package asks of it."""

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
    """A codec. `codecs.registry` has what options depend on.

    The modules that decode or encode are imported when a function of the record is called, so that
    reading a header imports neither, and decoding does not import encoding.

    Args:
        header: The fields of the header, and which sections files have.
        section_form: Imports and returns how sections hold quantised models.
        renderer: Imports and returns what evaluates quantised models.
        encoder: Imports and returns what encodes images.
        step_unit: What the steps of an encoding are called, in reports.
        needs_generator: Whether files are decoded, and images encoded, with the file of a
            generative model.
    """

    header: HeaderForm
    section_form: Callable[[], SectionForm]
    renderer: Callable[[], Renderer]
    encoder: Callable[[], Encoder]
    step_unit: str
    needs_generator: bool = False


def codec_of(model: Model) -> Codec:
    """Returns the record of a codec."""
    codec: Codec = model.record()
    return codec
