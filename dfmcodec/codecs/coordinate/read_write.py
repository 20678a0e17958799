"""Conversion between the sections of a file of the coordinate codec and a quantised network."""

from __future__ import annotations

from typing import Any

from dfmcodec.codecs.coordinate.contents import QuantizedNetwork
from dfmcodec.codecs.coordinate.sections import read_weights, write_weights
from dfmcodec.container.integrity import FileState
from dfmcodec.container.layout import Section
from dfmcodec.container.section_form import Losses, Read, SectionForm, Sections, complete_region
from dfmcodec.image.region import Region


def _write(model: QuantizedNetwork) -> Sections:
    return {Section.WEIGHTS: write_weights(model)}


def _read(state: FileState, _region: Region | None, _level: int, _losses: Losses) -> Read:
    header, body = state.header, state.section(Section.WEIGHTS)
    architecture: Any = header.architecture
    return read_weights(body, architecture, header.height, header.width, header.bit_depth), complete_region(state)


SECTIONS = SectionForm(_write, _read)
