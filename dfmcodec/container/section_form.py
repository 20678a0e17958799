"""The section form of a codec: a quantised model <-> the bodies of sections, and symbol checks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dfmcodec.container.contents import QuantizedModel
from dfmcodec.container.integrity import FileState
from dfmcodec.container.layout import Section
from dfmcodec.image.region import Region
from dfmcodec.models import Model

Sections = dict[Section, bytes]
Losses = list[str] | None  # see `read_write.read_region`
Read = tuple[QuantizedModel, Region]  # a model and the region of its samples


@dataclass(frozen=True)
class SectionForm:
    """The functions that map the models of a codec to sections of a file, and back."""

    write: Callable[[Any], Sections]
    read: Callable[[FileState, Region | None, int, Losses], Read]  # the arguments of `read_write.read_region`
    symbol_checks: Callable[[Any], list[int]] = lambda model: []


def section_form(model: Model) -> SectionForm:
    """Returns the section form of a codec, whose modules are imported if needed."""
    form: SectionForm = model.record().section_form()
    return form


def complete_region(state: FileState) -> Region:
    return Region(0, 0, state.header.height, state.header.width)
