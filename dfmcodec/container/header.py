"""The header of a `.dfm` file: all that is known of an image before decoding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dfmcodec.container.contents import Architecture, QuantizedModel
from dfmcodec.container.layout import (
    CRC,
    FIRST_SKIPPED,
    MODELS,
    SECTION_ENTRY,
    VERSION,
    HeaderForm,
    Section,
    header_form,
    read_fields,
    refuse_unknown,
    require,
    write_fields,
)
from dfmcodec.errors import BadMagicError, ConfigError, CorruptError, ImageError, LimitError, TruncatedError
from dfmcodec.files.atomic import MAGIC
from dfmcodec.image import MAX_PIXELS, check_image_size


@dataclass(frozen=True, eq=False)
class Header:
    """The header of a file, as `read_header` returns it."""

    fields: Mapping[str, int]  # their values, by the names of docs/format.md
    architecture: Architecture
    sections: dict[Section, tuple[int, int]]  # the (offset, length) in the file, in bytes
    file_bytes: int  # according to the header

    @property
    def format_version(self) -> int:
        """The format version."""
        return self.fields["version"]

    @property
    def bit_depth(self) -> int:
        """The bits per sample, 8 or 16."""
        return self.fields["bit_depth"]

    @property
    def height(self) -> int:
        """The height of the image, in pixels."""
        return self.fields["height"]

    @property
    def width(self) -> int:
        """The width of the image, in pixels."""
        return self.fields["width"]

    @property
    def raw_bytes(self) -> int:
        """The size of the raw samples in bytes, alpha included."""
        return self.height * self.width * (self.channels + self.has_alpha) * self.bit_depth // 8

    @property
    def channels(self) -> int:
        """The number of channels of the decoded image without alpha, 1 or 3."""
        return 3 if Section.RGB in self.sections else self.architecture.channels

    @property
    def has_alpha(self) -> bool:
        """Indicates whether the file has an alpha section."""
        return Section.ALPHA in self.sections

    @property
    def symbol_check_count(self) -> int:
        """The number of symbol checks in a checks section."""
        return header_form(self.architecture.model).check_count(self.architecture)

    def section_bytes(self) -> dict[str, int]:
        """Returns the sizes of the container and of each section, whose sum is the file size."""
        lengths = {section.title: length for section, (_, length) in self.sections.items()}
        return {"container": self.file_bytes - sum(lengths.values()), **lengths}


def write_header(model: QuantizedModel, sections: Mapping[Section, bytes]) -> bytes:
    """Returns the bytes before the first section: magic, fields and section table."""
    form = header_form(model.architecture.model)
    image = {"bit_depth": model.bit_depth, "width": model.width, "height": model.height}
    values = {"version": VERSION, "model": form.model.code, "channels": model.architecture.channels, **image}
    values |= {"section_count": len(sections), **form.values(model)}
    values["further_bytes"] = sum(field.size for field in form.further if field.name in values)
    table = b"".join(SECTION_ENTRY.pack(section, len(body)) for section, body in sections.items())
    return write_fields(values) + table


def read_header(data: bytes, max_pixels: int = MAX_PIXELS) -> Header:
    """Reads the header alone, from a file or a prefix. Sections and CRC-32 are not checked.

    Raises FormatError if it is not one of a .dfm file, truncated, damaged, of a newer version or
    beyond the limits.
    """
    if not data:
        msg = "the file is empty"
        raise TruncatedError(msg)
    if not (data.startswith(MAGIC) or MAGIC.startswith(data)):
        msg = f"not a .dfm file: its first bytes are {data[:4]!r}, not {MAGIC!r}; name a file that dfm encode wrote"
        raise BadMagicError(msg)
    values, table = read_fields(data)
    form = header_form(MODELS[values["model"]])
    try:
        check_image_size(values["height"], values["width"], max_pixels)
        architecture = form.architecture(values)
    except ImageError as error:  # too many pixels: `read_fields` refuses other sides
        raise LimitError(str(error)) from error
    except ConfigError as error:
        msg = f"the header is invalid: {error}"
        raise CorruptError(msg) from error
    sections, file_bytes = _read_section_table(data, table, values["section_count"])
    _check_sections(sections, architecture, form)
    return Header(values, architecture, sections, file_bytes)


def _check_sections(sections: Mapping[Section, tuple[int, int]], architecture: Architecture, form: HeaderForm) -> None:
    """Raises CorruptError for combinations of sections that no encoder writes."""
    known = [section for section in sections if section < FIRST_SKIPPED]
    foreign = next((section for section in known if section not in form.sections), None)
    problem = None
    if form.main_section not in sections:
        problem = f"no {form.main_section.title} section"
    elif foreign is not None:
        problem = f"the {foreign.title} section of another model"
    elif Section.RGB in sections and (sections[Section.RGB][1] or architecture.channels != 1):
        problem = "an rgb section that is not empty, or not of gray"
    if problem:
        msg = f"the file has {problem}; it is damaged"
        raise CorruptError(msg)


def _read_section_table(data: bytes, table: int, count: int) -> tuple[dict[Section, tuple[int, int]], int]:
    """Returns the (offset, length) of each section, and the length of the file."""
    start = table + count * SECTION_ENTRY.size
    require(data, start)
    sections: dict[Section, tuple[int, int]] = {}
    for entry in range(count):
        section_id, length = SECTION_ENTRY.unpack_from(data, table + entry * SECTION_ENTRY.size)
        try:
            section = Section(section_id)
        except ValueError:
            refuse_unknown(f"section {section_id}", data)
        if section in sections:
            msg = f"section {section_id} occurs twice; the file is damaged"
            raise CorruptError(msg)
        sections[section] = (start, length)
        start += length
    return sections, start + CRC.size
