"""The sections of each model: a quantised model <-> their bodies, and the checks of its symbols."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dfmcodec._types import Model
from dfmcodec.codecs.coordinate.contents import QuantizedNetwork
from dfmcodec.codecs.coordinate.sections import read_weights, write_weights
from dfmcodec.codecs.generative.contents import CodedImage
from dfmcodec.codecs.overfitted.contents import QuantizedGrids
from dfmcodec.codecs.overfitted.grids import grid_sizes
from dfmcodec.codecs.overfitted.sections.grids import GridsBody, grid_checks, read_grids, write_grids
from dfmcodec.codecs.overfitted.sections.networks import read_networks, write_networks
from dfmcodec.codecs.overfitted.weights import overfitted_weights_of
from dfmcodec.codecs.wavelet.contents import QuantizedLatents, tiling_of
from dfmcodec.codecs.wavelet.salvage import Salvage
from dfmcodec.codecs.wavelet.sections.adaptation import read_adaptation, write_adaptation
from dfmcodec.codecs.wavelet.sections.filter import read_filter, write_filter
from dfmcodec.codecs.wavelet.sections.latents import (
    LatentsBody,
    join_tiles,
    read_symbols,
    read_tile,
    tile_checks,
    write_symbols,
)
from dfmcodec.codecs.wavelet.weights import prior_of
from dfmcodec.container.contents import QuantizedModel
from dfmcodec.container.integrity import FileState, record_loss
from dfmcodec.container.layout import Section
from dfmcodec.image.region import Region

Sections = dict[Section, bytes]
Losses = list[str] | None  # see `read_write.read_region`


@dataclass(frozen=True)
class ModelForm:
    """How the sections of a file hold a model.

    Args:
        write: From a quantised model to the bodies of its sections.
        read: From a file's state, the wanted region, the finest decomposition level and a list of
            losses to the model and the region of its samples; see `read_write.read_region`.
        symbol_checks: From a model to the checks of its symbols.
    """

    write: Callable[[Any], Sections]
    read: Callable[[FileState, Region | None, int, Losses], tuple[QuantizedModel, Region]]
    symbol_checks: Callable[[Any], list[int]] = lambda model: []


def _whole(state: FileState) -> Region:
    return Region(0, 0, state.header.height, state.header.width)


def _write_network(model: QuantizedNetwork) -> Sections:
    return {Section.WEIGHTS: write_weights(model)}


def _read_network(state: FileState, _region: Region | None, _level: int, _losses: Losses) -> tuple[Any, Region]:
    header, body = state.header, state.section(Section.WEIGHTS)
    architecture: Any = header.architecture
    return read_weights(body, architecture, header.height, header.width, header.bit_depth), _whole(state)


def _write_code(model: CodedImage) -> Sections:
    return {Section.CODE: model.body}


def _read_code(state: FileState, _region: Region | None, _level: int, _losses: Losses) -> tuple[Any, Region]:
    header, body = state.header, state.section(Section.CODE)
    architecture: Any = header.architecture
    return CodedImage(architecture, header.height, header.width, body, header.bit_depth), _whole(state)


def _write_grids(model: QuantizedGrids) -> Sections:
    prior = overfitted_weights_of(model.architecture.weights_id)
    network, _ = prior.networks_of(model.deltas)
    sections = {Section.GRIDS: write_grids(model.grids, network)}
    if model.deltas is not None:
        sections[Section.NETWORKS] = write_networks(prior, model.deltas)
    return sections


def _read_grids(state: FileState, _region: Region | None, _level: int, losses: Losses) -> tuple[Any, Region]:
    """Reads the networks and grids of an overfitted codec.

    Raises:
        FormatError: With `losses`, also where the networks are lost: without them the grids mean
            nothing.
    """
    header = state.header
    arch: Any = header.architecture
    prior = overfitted_weights_of(arch.weights_id)
    deltas = None
    if Section.NETWORKS in header.sections:
        deltas = read_networks(state.section(Section.NETWORKS), prior)
    lmbda_code = header.values["lmbda_code"]
    network, _ = prior.networks_of(deltas)
    checks = None if state.checks is None else state.checks.symbols
    body = GridsBody(state.present(Section.GRIDS), state.missing_bytes(Section.GRIDS), checks)
    grids = read_grids(body, grid_sizes(header.height, header.width, arch.levels), network, losses)
    if losses is not None:
        losses += state.section_problems(Section.GRIDS)
    model = QuantizedGrids(arch, header.height, header.width, lmbda_code, tuple(grids), deltas, header.bit_depth)
    return model, _whole(state)


def _grid_checks(model: QuantizedGrids) -> list[int]:
    return grid_checks(model.grids)


def _write_latents(model: QuantizedLatents) -> Sections:
    arch = model.architecture
    if model.streams:
        body = join_tiles([stream.body for stream in model.streams])
    else:
        tiling = tiling_of(arch, model.height, model.width)
        context = prior_of(arch.weights_id).context
        if model.adaptation is not None:
            context = model.adaptation.applied(context, tiling.tiles[0].geometry)
        body = write_symbols(tiling, model.q_step, context, model.tile_symbols)
    sections = {Section.LATENTS: body}
    if model.image_filter is not None:
        sections[Section.FILTER] = write_filter(model.image_filter)
    if model.adaptation is not None:
        sections[Section.ADAPTATION] = write_adaptation(model.adaptation)
    return sections


def _read_latents(state: FileState, region: Region | None, finest_level: int, losses: Losses) -> tuple[Any, Region]:
    """Reads latents, image filter and adaptation."""
    header = state.header
    arch: Any = header.architecture
    tiling = tiling_of(arch, header.height, header.width)
    image_filter, adaptation, context = None, None, prior_of(arch.weights_id).context
    if Section.FILTER in header.sections:
        with record_loss(losses, "the image is decoded without it"):
            image_filter = read_filter(state.section(Section.FILTER), arch.channels)
    if Section.ADAPTATION in header.sections:
        adaptation = read_adaptation(state.section(Section.ADAPTATION), context, tiling.tiles[0].geometry)
        context = adaptation.applied(context, tiling.tiles[0].geometry)
    missing = state.missing_bytes(Section.LATENTS)
    checks = None if state.checks is None else state.checks.symbols
    body = LatentsBody(state.present(Section.LATENTS), missing, checks)
    salvage = Salvage(len(tiling.tiles), "missing" if missing else "damaged")
    read = read_tile if losses is None else salvage.read_tile
    symbols, samples, covered = read_symbols(tiling, header.q_step, context, body, region, finest_level, read)
    if losses is not None:
        losses += state.section_problems(Section.LATENTS) + salvage.losses()
    model = QuantizedLatents(
        arch,
        samples.shape[1],
        samples.shape[2],
        header.q_step,
        header.chroma_angle,
        symbols,
        samples,
        image_filter,
        adaptation,
        header.bit_depth,
    )
    return model, covered


def _wavelet_checks(model: QuantizedLatents) -> list[int]:
    """The checks of all symbols, tile after tile."""
    if model.streams:
        return [check for stream in model.streams for check in stream.checks or ()]
    tiles = tiling_of(model.architecture, model.height, model.width).tiles
    of_tiles = zip(tiles, model.tile_symbols, strict=True)
    return [check for tile, symbols in of_tiles for check in tile_checks(symbols.values, tile.geometry)]


FORMS = {
    Model.COORDINATE: ModelForm(_write_network, _read_network),
    Model.WAVELET: ModelForm(_write_latents, _read_latents, _wavelet_checks),
    Model.GENERATIVE: ModelForm(_write_code, _read_code),
    Model.OVERFITTED: ModelForm(_write_grids, _read_grids, _grid_checks),
}
