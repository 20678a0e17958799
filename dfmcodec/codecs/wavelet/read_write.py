"""The section form of the wavelet codec: quantised latents <-> sections."""

from __future__ import annotations

from typing import Any

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
from dfmcodec.codecs.wavelet.sections.texture import read_texture, write_texture
from dfmcodec.codecs.wavelet.weights import weights_of
from dfmcodec.container.integrity import FileState, record_loss
from dfmcodec.container.layout import Section
from dfmcodec.container.section_form import Losses, Read, SectionForm, Sections
from dfmcodec.image.region import Region


def _write(model: QuantizedLatents) -> Sections:
    arch = model.architecture
    if model.streams:
        body = join_tiles([stream.body for stream in model.streams])
    else:
        tiling = tiling_of(arch, model.height, model.width)
        context = weights_of(arch.weights_id).context
        if model.adaptation is not None:
            context = model.adaptation.applied(context, tiling.tiles[0].geometry)
        body = write_symbols(tiling, model.q_step, context, model.tile_symbols)
    sections = {Section.LATENTS: body}
    if model.image_filter is not None:
        sections[Section.FILTER] = write_filter(model.image_filter)
    if model.adaptation is not None:
        sections[Section.ADAPTATION] = write_adaptation(model.adaptation)
    if model.texture is not None:
        sections[Section.TEXTURE] = write_texture(model.texture)
    return sections


def _read(state: FileState, region: Region | None, finest_level: int, losses: Losses) -> Read:
    """Reads latents, image filter, adaptation and texture."""
    header = state.header
    arch: Any = header.architecture
    tiling = tiling_of(arch, header.height, header.width)
    image_filter, adaptation, texture, context = None, None, None, weights_of(arch.weights_id).context
    if Section.FILTER in header.sections:
        with record_loss(losses, "the image is decoded without it"):
            image_filter = read_filter(state.section(Section.FILTER), arch.channels)
    if Section.TEXTURE in header.sections:
        with record_loss(losses, "the image is decoded without it"):
            texture = read_texture(state.section(Section.TEXTURE), header.height, header.width, arch.channels)
    if Section.ADAPTATION in header.sections:
        adaptation = read_adaptation(state.section(Section.ADAPTATION), context, tiling.tiles[0].geometry)
        context = adaptation.applied(context, tiling.tiles[0].geometry)
    missing = state.missing_bytes(Section.LATENTS)
    checks = None if state.checks is None else state.checks.symbols
    body = LatentsBody(state.present(Section.LATENTS), missing, checks)
    salvage = Salvage(len(tiling.tiles), "missing" if missing else "damaged")
    read = read_tile if losses is None else salvage.read_tile
    q_step = header.fields["q_step"]
    latents = read_symbols(tiling, q_step, context, body, region, finest_level, read, texture)
    symbols, samples, covered = latents
    if losses is not None:
        losses += state.section_problems(Section.LATENTS) + salvage.losses()
    model = QuantizedLatents(
        arch,
        samples.shape[1],
        samples.shape[2],
        q_step,
        header.fields["chroma_angle"],
        symbols,
        samples,
        image_filter,
        adaptation,
        header.bit_depth,
        texture=texture,
    )
    return model, covered


def _symbol_checks(model: QuantizedLatents) -> list[int]:
    """Returns the symbol checks of all tiles."""
    if model.streams:
        return [check for stream in model.streams for check in stream.checks or ()]
    tiles = tiling_of(model.architecture, model.height, model.width).tiles
    of_tiles = zip(tiles, model.tile_symbols, strict=True)
    return [check for tile, symbols in of_tiles for check in tile_checks(symbols.values, tile.geometry)]


SECTIONS = SectionForm(_write, _read, _symbol_checks)
