"""The `.dfm` container: a quantised model and ancillary data <-> the bytes of a file.

`header` and `layout` define the header, `section_form` the sections of each codec.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence

from dfmcodec.container.alpha import read_alpha, write_alpha
from dfmcodec.container.checks import CHECKS_FRACTION, checks_bytes, write_checks
from dfmcodec.container.contents import Ancillary, QuantizedModel
from dfmcodec.container.header import read_header, write_header
from dfmcodec.container.integrity import FileState, examine, record_loss
from dfmcodec.container.layout import CRC, Section, header_form, sections_file_bytes
from dfmcodec.container.metadata import pack_metadata, unpack_metadata
from dfmcodec.container.section_form import section_form
from dfmcodec.image import MAX_PIXELS, Metadata
from dfmcodec.image.region import Region

_EARLY_METADATA_FRACTION = 1 / 8  # of the main section; longer metadata goes to the end of the file


def write(model: QuantizedModel, ancillary: Mapping[Section, bytes] | None = None, checked: bool = True) -> bytes:
    """Serialises a quantised model, and sections of ancillary data, to the bytes of a `.dfm` file.

    Checks are written if they take at most `CHECKS_FRACTION` of the file.
    """
    codec = model.architecture.model
    header, form = header_form(codec), section_form(codec)
    sections = {**form.write(model), **(ancillary or {})}
    order = list(Section)
    if len(sections.get(Section.METADATA, b"")) > _EARLY_METADATA_FRACTION * len(sections[header.main_section]):
        order.remove(Section.METADATA)
        order.append(Section.METADATA)
    sections = _ordered(sections, order)
    head = write_header(model, sections)
    if checked:
        symbol_checks = form.symbol_checks(model)
        placeholder = bytes(checks_bytes(len(sections), len(symbol_checks)))
        added = sections_file_bytes({Section.CHECKS: placeholder})
        if added <= CHECKS_FRACTION * (len(head) + sum(map(len, sections.values())) + CRC.size + added):
            head = write_header(model, _ordered({Section.CHECKS: placeholder, **sections}, order))
            checks = write_checks(head, list(sections.values()), symbol_checks)
            sections = _ordered({Section.CHECKS: checks, **sections}, order)
    content = head + b"".join(sections.values())
    return content + CRC.pack(zlib.crc32(content))


def ancillary_sections(ancillary: Ancillary) -> dict[Section, bytes]:
    """Returns the sections of ancillary data. Raises ConfigError for too much metadata."""
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


def read(data: bytes, max_pixels: int = MAX_PIXELS) -> tuple[QuantizedModel, Ancillary]:
    """Reads model and ancillary data of an intact file. Inverts `write`; see `read_region`."""
    model, ancillary, _ = read_region(data, None, max_pixels)
    return model, ancillary


def read_region(
    data: bytes,
    region: Region | None,
    max_pixels: int = MAX_PIXELS,
    finest_level: int = 0,
    losses: list[str] | None = None,
) -> tuple[QuantizedModel, Ancillary, Region]:
    """Reads a region, or all, of a file's image. Latents of tiles outside it are not decoded.

    An image with more than `max_pixels` is refused before memory is allocated for it. With a
    `finest_level` above 0, the model is of an image that is smaller by a factor of 2^finest_level.
    With a list of `losses`, a sentence is added for each missing or damaged part, if the rest of
    the image can be read; without, a file that is not intact is refused.

    Returns:
        The model; the ancillary data, with the alpha of the region only; and the region of the
        model's samples: all complete tiles that the requested region touches.

    Raises:
        FormatError: The file is not a .dfm file, or is truncated, damaged, of a newer version or
            beyond the limits. With `losses`: the header, or a part that every image needs, is
            missing or damaged.
    """
    header = read_header(data, max_pixels)
    state = examine(data, header)
    if losses is None:
        state.refuse_damage()
    else:
        state.refuse_damaged_header()
        losses += [*state.file_problems, *state.section_problems(Section.CHECKS)]
    ancillary = _ancillary_of(state, region, losses)
    model, covered = section_form(header.architecture.model).read(state, region, finest_level, losses)
    return model, ancillary, covered


def read_model(data: bytes, region: Region, max_pixels: int = MAX_PIXELS) -> tuple[QuantizedModel, Region]:
    """Reads the model of an intact file without the ancillary data; see `read_region`."""
    state = _complete(data, max_pixels)
    return section_form(state.header.architecture.model).read(state, region, 0, None)


def read_ancillary(data: bytes, region: Region | None, max_pixels: int = MAX_PIXELS) -> Ancillary:
    """Reads the ancillary data of an intact file, with the alpha of a region; see `read_region`."""
    return _ancillary_of(_complete(data, max_pixels), region, None)


def _complete(data: bytes, max_pixels: int) -> FileState:
    state = examine(data, read_header(data, max_pixels))
    state.refuse_damage()
    return state


def _ancillary_of(state: FileState, region: Region | None, losses: list[str] | None) -> Ancillary:
    header = state.header
    alpha, metadata = None, Metadata()
    if Section.ALPHA in header.sections:
        with record_loss(losses, "the image is opaque"):
            body = state.section(Section.ALPHA)
            alpha = read_alpha(body, header.height, header.width, header.bit_depth, region)
    if Section.METADATA in header.sections:
        with record_loss(losses, "the image has no metadata"):
            metadata = unpack_metadata(state.section(Section.METADATA), header.bit_depth)
    return Ancillary(metadata, alpha, Section.RGB in header.sections)
