"""Conversion between the sections of a file of the generative codec and the coded image."""

from __future__ import annotations

from typing import Any

from dfmcodec.codecs.generative.contents import CodedImage
from dfmcodec.container.integrity import FileState
from dfmcodec.container.layout import Section
from dfmcodec.container.section_form import Losses, Read, SectionForm, Sections, complete_region
from dfmcodec.image.region import Region


def _write(model: CodedImage) -> Sections:
    return {Section.CODE: model.body}


def _read(state: FileState, _region: Region | None, _level: int, _losses: Losses) -> Read:
    header, body = state.header, state.section(Section.CODE)
    architecture: Any = header.architecture
    return CodedImage(architecture, header.height, header.width, body, header.bit_depth), complete_region(state)


SECTIONS = SectionForm(_write, _read)
