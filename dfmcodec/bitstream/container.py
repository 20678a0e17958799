"""The `.dfm` container: a quantised model and ancillary data <-> the bytes of a file.

A file consists of the header with its section table, the sections, and a CRC-32. `header` and
`layout` have the header, the modules in `sections` the section bodies.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence

from dfmcodec.bitstream.contents import (
    Ancillary,
    CodeArchitecture,
    CodedImage,
    FittedArchitecture,
    LatentArchitecture,
    QuantizedGrids,
    QuantizedLatents,
    QuantizedModel,
    QuantizedNetwork,
    tiling_of,
)
from dfmcodec.bitstream.header import read_header, write_header
from dfmcodec.bitstream.integrity import FileState, examine, record_loss
from dfmcodec.bitstream.layout import CRC, MAIN_SECTION, SECTION_ORDER, Section
from dfmcodec.bitstream.salvage import Salvage
from dfmcodec.bitstream.sections.alpha import read_alpha, write_alpha
from dfmcodec.bitstream.sections.checks import CHECKS_PART, checks_bytes, write_checks
from dfmcodec.bitstream.sections.corrections import read_correction, write_correction
from dfmcodec.bitstream.sections.filter import read_filter, write_filter
from dfmcodec.bitstream.sections.grids import GridsBody, grid_checks, read_grids, write_grids
from dfmcodec.bitstream.sections.latents import (
    LatentsBody,
    read_symbols,
    read_tile,
    tile_checks,
    write_symbols,
)
from dfmcodec.bitstream.sections.metadata import pack_metadata, unpack_metadata
from dfmcodec.bitstream.sections.networks import read_networks, write_networks
from dfmcodec.bitstream.sections.weights import read_weights, write_weights
from dfmcodec.bitstream.sizes import sections_file_bytes
from dfmcodec.fourier.network import CoordinateArchitecture
from dfmcodec.image import MAX_PIXELS, Metadata
from dfmcodec.latents.geometry import Region
from dfmcodec.latents.grids import grid_sizes
from dfmcodec.prior import prior_of
from dfmcodec.prior.fitted import fitted_prior_of

_EARLY_METADATA_PART = 1 / 8  # of the main section; longer metadata goes to the end of the file


def write(model: QuantizedModel, ancillary: Mapping[Section, bytes] | None = None, checked: bool = True) -> bytes:
    """Serialises a quantised model to the bytes of a `.dfm` file.

    Args:
        model: The model.
        ancillary: Further sections; see `ancillary_sections`.
        checked: Whether the file gets checks if they are at most `CHECKS_PART` of it.

    Returns:
        The bytes of the file.
    """
    main = MAIN_SECTION[model.architecture.model]
    sections = {main: _write_main_section(model)}
    if isinstance(model, QuantizedLatents) and model.image_filter is not None:
        sections[Section.FILTER] = write_filter(model.image_filter)
    if isinstance(model, QuantizedLatents) and model.correction is not None:
        sections[Section.CORRECTIONS] = write_correction(model.correction)
    if isinstance(model, QuantizedGrids) and model.changes is not None:
        sections[Section.NETWORKS] = write_networks(fitted_prior_of(model.architecture.prior_id), model.changes)
    sections |= ancillary or {}
    order = list(SECTION_ORDER)
    if len(sections.get(Section.METADATA, b"")) > _EARLY_METADATA_PART * len(sections[main]):
        order.remove(Section.METADATA)
        order.append(Section.METADATA)
    sections = _ordered(sections, order)
    head = write_header(model, sections)
    if checked:
        symbol_checks = _symbol_checks(model)
        placeholder = bytes(checks_bytes(len(sections), len(symbol_checks)))
        added = sections_file_bytes({Section.CHECKS: placeholder})
        if added <= CHECKS_PART * (len(head) + sum(map(len, sections.values())) + CRC.size + added):
            head = write_header(model, _ordered({Section.CHECKS: placeholder, **sections}, order))
            checks = write_checks(head, list(sections.values()), symbol_checks)
            sections = _ordered({Section.CHECKS: checks, **sections}, order)
    content = head + b"".join(sections.values())
    return content + CRC.pack(zlib.crc32(content))


def ancillary_sections(ancillary: Ancillary) -> dict[Section, bytes]:
    """The sections of ancillary data.

    Raises:
        ConfigError: The metadata is larger than the format allows.
    """
    sections = {}
    if ancillary.metadata:
        sections[Section.METADATA] = pack_metadata(ancillary.metadata)
    if ancillary.alpha is not None:
        sections[Section.ALPHA] = write_alpha(ancillary.alpha)
    if ancillary.gray_as_rgb:
        sections[Section.RGB] = b""
    return sections


def _ordered(sections: Mapping[Section, bytes], order: Sequence[Section]) -> dict[Section, bytes]:
    return {section: sections[section] for section in order if section in sections}


def _symbol_checks(model: QuantizedModel) -> list[int]:
    """The checks of all symbols, tile after tile or grid after grid; none for models without
    latents.
    """
    if isinstance(model, QuantizedGrids):
        return grid_checks(model.grids)
    if not isinstance(model, QuantizedLatents):
        return []
    tiles = tiling_of(model.architecture, model.height, model.width).tiles
    of_tiles = zip(tiles, model.tile_symbols, strict=True)
    return [check for tile, symbols in of_tiles for check in tile_checks(symbols.values, tile.geometry)]


def read(data: bytes, max_pixels: int = MAX_PIXELS) -> tuple[QuantizedModel, Ancillary]:
    """Reads the model and the ancillary data of a whole file, the inverse of `write`.

    Args:
        data: The file's bytes.
        max_pixels: The largest number of pixels that an image may have.

    Raises:
        FormatError: See `read_region`.
    """
    model, ancillary, _ = read_region(data, None, max_pixels)
    return model, ancillary


def read_region(
    data: bytes,
    region: Region | None,
    max_pixels: int = MAX_PIXELS,
    finest_level: int = 0,
    losses: list[str] | None = None,
) -> tuple[QuantizedModel, Ancillary, Region]:
    """Reads a region of a file's image.

    Args:
        data: The file's bytes.
        region: The region to read; None for the whole image. Latents of tiles outside it are not
            decoded.
        max_pixels: The largest number of pixels that an image may have. A larger one is refused
            before any memory is spent on it.
        finest_level: The finest decomposition level to decode. Above 0 the model is that of an
            image that is smaller by a factor of 2^finest_level.
        losses: A list that gets a sentence for everything that is missing or damaged, where the
            rest of the image can be read; None to refuse a file that is not whole.

    Returns:
        The model; the ancillary data, with the alpha of the region only; and the region of the
        model's samples: the whole tiles that the wanted region touches.

    Raises:
        FormatError: The bytes are foreign, truncated, damaged, of a newer version or beyond the
            limits. With `losses`: the header, or a part that no image can do without, is missing or
            damaged.
    """
    header = read_header(data, max_pixels)
    state = examine(data, header)
    if losses is None:
        state.refuse_damage()
    else:
        state.refuse_damaged_header()
        losses += [*state.file_problems, *state.section_problems(Section.CHECKS)]
    alpha, metadata = None, Metadata()
    if Section.ALPHA in header.sections:
        with record_loss(losses, "the image is opaque"):
            body = state.section(Section.ALPHA)
            alpha = read_alpha(body, header.height, header.width, header.bit_depth, region)
    if Section.METADATA in header.sections:
        with record_loss(losses, "the image has no metadata"):
            metadata = unpack_metadata(state.section(Section.METADATA))
    model, covered = _read_main_section(state, region, finest_level, losses)
    return model, Ancillary(metadata, alpha, Section.RGB in header.sections), covered


def _write_main_section(model: QuantizedModel) -> bytes:
    if isinstance(model, QuantizedNetwork):
        return write_weights(model)
    if isinstance(model, CodedImage):
        return model.body
    if isinstance(model, QuantizedGrids):
        network, _ = fitted_prior_of(model.architecture.prior_id).networks_of(model.changes)
        return write_grids(model.grids, network)
    arch = model.architecture
    if model.body is not None:
        return model.body
    tiling = tiling_of(arch, model.height, model.width)
    context = prior_of(arch.prior_id).context
    if model.correction is not None:
        context = model.correction.applied(context, tiling.tiles[0].geometry)
    return write_symbols(tiling, model.q_step, context, model.tile_symbols)


def _read_main_section(
    state: FileState, region: Region | None, finest_level: int, losses: list[str] | None
) -> tuple[QuantizedModel, Region]:
    header = state.header
    arch = header.architecture
    whole = Region(0, 0, header.height, header.width)
    if isinstance(arch, CoordinateArchitecture):
        body = state.section(Section.WEIGHTS)
        return read_weights(body, arch, header.height, header.width, header.bit_depth), whole
    if isinstance(arch, CodeArchitecture):
        body = state.section(Section.CODE)
        return CodedImage(arch, header.height, header.width, body, header.bit_depth), whole
    if isinstance(arch, FittedArchitecture):
        return _read_fitted(state, arch, losses), whole
    return _read_latents(state, arch, region, finest_level, losses)


def _read_fitted(state: FileState, arch: FittedArchitecture, losses: list[str] | None) -> QuantizedGrids:
    """Reads the networks and grids of a fitted model; see `read_region`.

    Raises:
        FormatError: With `losses`, also where the networks are lost: without them the grids mean
            nothing.
    """
    header = state.header
    prior = fitted_prior_of(arch.prior_id)
    changes = None
    if Section.NETWORKS in header.sections:
        changes = read_networks(state.section(Section.NETWORKS), prior)
    lmbda_code = header.values["lmbda_code"]
    network, _ = prior.networks_of(changes)
    checks = None if state.checks is None else state.checks.symbols
    body = GridsBody(state.present(Section.GRIDS), state.missing_bytes(Section.GRIDS), checks)
    grids = read_grids(body, grid_sizes(header.height, header.width, arch.levels), network, losses)
    if losses is not None:
        losses += state.section_problems(Section.GRIDS)
    return QuantizedGrids(arch, header.height, header.width, lmbda_code, tuple(grids), changes, header.bit_depth)


def _read_latents(
    state: FileState,
    arch: LatentArchitecture,
    region: Region | None,
    finest_level: int,
    losses: list[str] | None,
) -> tuple[QuantizedLatents, Region]:
    """Reads latents, image filter and correction; see `read_region`."""
    header = state.header
    tiling = tiling_of(arch, header.height, header.width)
    image_filter, correction, context = None, None, prior_of(arch.prior_id).context
    if Section.FILTER in header.sections:
        with record_loss(losses, "the image goes without this filter"):
            image_filter = read_filter(state.section(Section.FILTER), arch.channels)
    if Section.CORRECTIONS in header.sections:
        correction = read_correction(state.section(Section.CORRECTIONS), context, tiling.tiles[0].geometry)
        context = correction.applied(context, tiling.tiles[0].geometry)
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
        correction,
        header.bit_depth,
    )
    return model, covered
