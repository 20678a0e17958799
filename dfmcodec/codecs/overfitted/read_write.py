"""Conversion between the sections of a file of the overfitted codec and quantised grids."""

from __future__ import annotations

from typing import Any

from dfmcodec.codecs.overfitted.contents import QuantizedGrids
from dfmcodec.codecs.overfitted.grids import grid_sizes
from dfmcodec.codecs.overfitted.sections.grids import GridsBody, grid_checks, read_grids, write_grids
from dfmcodec.codecs.overfitted.sections.networks import read_networks, write_networks
from dfmcodec.codecs.overfitted.weights import overfitted_weights_of
from dfmcodec.container.integrity import FileState
from dfmcodec.container.layout import Section
from dfmcodec.container.section_form import Losses, Read, SectionForm, Sections, complete_region
from dfmcodec.image.region import Region


def _write(model: QuantizedGrids) -> Sections:
    weights = overfitted_weights_of(model.architecture.weights_id)
    network, _ = weights.networks_of(model.deltas)
    sections = {Section.GRIDS: write_grids(model.grids, network)}
    if model.deltas is not None:
        sections[Section.NETWORKS] = write_networks(weights, model.deltas)
    return sections


def _read(state: FileState, _region: Region | None, _level: int, losses: Losses) -> Read:
    """Reads the networks, without which nothing can be rendered, and the grids."""
    header = state.header
    arch: Any = header.architecture
    weights = overfitted_weights_of(arch.weights_id)
    deltas = None
    if Section.NETWORKS in header.sections:
        deltas = read_networks(state.section(Section.NETWORKS), weights)
    lmbda_code = header.fields["lmbda_code"]
    network, _ = weights.networks_of(deltas)
    checks = None if state.checks is None else state.checks.symbols
    body = GridsBody(state.present(Section.GRIDS), state.missing_bytes(Section.GRIDS), checks)
    grids = read_grids(body, grid_sizes(header.height, header.width, arch.levels), network, losses)
    if losses is not None:
        losses += state.section_problems(Section.GRIDS)
    model = QuantizedGrids(arch, header.height, header.width, lmbda_code, tuple(grids), deltas, header.bit_depth)
    return model, complete_region(state)


SECTIONS = SectionForm(_write, _read, lambda model: grid_checks(model.grids))
