"""The header of a `.dfm` file: what it tells of an image before anything is decoded.

`layout` defines the fields; this module maps them to and from what they describe.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dfmcodec._types import Model
from dfmcodec.bitstream.contents import (
    Architecture,
    CodeArchitecture,
    CodedImage,
    FittedArchitecture,
    LatentArchitecture,
    QuantizedGrids,
    QuantizedLatents,
    QuantizedModel,
)
from dfmcodec.bitstream.layout import (
    CRC,
    MAGIC,
    MAIN_SECTION,
    MODEL_CODES,
    MODELS,
    SECTION_ENTRY,
    VERSION,
    Section,
    further_bytes,
    read_fields,
    refuse_unknown,
    require,
    write_fields,
)
from dfmcodec.errors import BadMagicError, ConfigError, CorruptError, ImageError, LimitError, TruncatedError
from dfmcodec.fourier.network import CoordinateArchitecture
from dfmcodec.image import MAX_PIXELS, check_image_size
from dfmcodec.latents.colour import Luma
from dfmcodec.latents.geometry import TILE_GRID


@dataclass(frozen=True)
class Header:
    """What `read_header` gives, without decoding anything.

    Args:
        values: The values of the header's fields, by their names in `layout.FIELDS`.
        bit_depth: Bits per sample, 8 or 16.
        architecture: The architecture of the image's model.
        sections: The (offset, length) of each section in the file, in bytes.
        file_bytes: The length of the file that the header declares.
    """

    values: Mapping[str, int]
    bit_depth: int
    architecture: Architecture
    sections: dict[Section, tuple[int, int]]
    file_bytes: int

    @property
    def version(self) -> int:
        """The format version."""
        return self.values["version"]

    @property
    def height(self) -> int:
        """The height of the image, in pixels."""
        return self.values["height"]

    @property
    def width(self) -> int:
        """The width of the image, in pixels."""
        return self.values["width"]

    @property
    def q_step(self) -> int:
        """The quantisation step of the latents, in 1/64 code values; 0 for other models."""
        return self.values.get("q_step", 0)

    @property
    def chroma_angle(self) -> int:
        """The chroma angle of the latents, in 1/256 of half a turn; 0 for other models."""
        return self.values.get("chroma_angle", 0)

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
        """Whether the file has an alpha section."""
        return Section.ALPHA in self.sections

    @property
    def symbol_check_count(self) -> int:
        """The number of checks of symbols in a checks section."""
        arch = self.architecture
        if isinstance(arch, FittedArchitecture):
            return arch.levels
        return arch.tile_rows * arch.tile_columns * (arch.levels + 1) if isinstance(arch, LatentArchitecture) else 0

    def section_bytes(self) -> dict[str, int]:
        """The sizes of container and sections by name, in bytes; they add up to the file."""
        lengths = {section.title: length for section, (_, length) in self.sections.items()}
        return {"container": self.file_bytes - sum(lengths.values()), **lengths}


def write_header(model: QuantizedModel, sections: Mapping[Section, bytes]) -> bytes:
    """The bytes of a file before its first section: magic, fields and section table."""
    in_table = {section: body for section, body in sections.items() if section is not Section.CODE}
    values = {"version": VERSION, "model": MODEL_CODES[model.architecture.model]}
    values |= {"width": model.width, "height": model.height}
    if isinstance(model, CodedImage):
        values |= _code_values(model, len(in_table))
    else:
        arch = model.architecture
        values |= {"channels": arch.channels, "bit_depth": model.bit_depth, "section_count": len(in_table)}
        values |= {"depth": arch.depth, "layer_width": arch.width}
        if isinstance(model, QuantizedLatents):
            values |= _latent_values(model)
        elif isinstance(model, QuantizedGrids):
            values |= _fitted_values(model)
        else:
            values |= {"order": model.architecture.order, "further_bytes": 0}
    table = b"".join(SECTION_ENTRY.pack(section, len(body)) for section, body in in_table.items())
    return write_fields(values) + table


def _latent_values(model: QuantizedLatents) -> dict[str, int]:
    arch = model.architecture
    return {
        "further_bytes": further_bytes(Model.LATENT, (arch.tile_rows, arch.tile_columns) != (1, 1)),
        "luma": arch.luma,
        "levels": arch.levels,
        "q_step": model.q_step,
        "chroma_angle": model.chroma_angle,
        "prior_id": arch.prior_id,
        "tile_rows": arch.tile_rows,
        "tile_columns": arch.tile_columns,
    }


def _fitted_values(model: QuantizedGrids) -> dict[str, int]:
    arch = model.architecture
    return {
        "order": arch.order,
        "further_bytes": further_bytes(Model.FITTED, is_tiled=False),
        "grids": arch.levels,
        "lmbda_code": model.lmbda_code,
        "prior_id": arch.prior_id,
    }


def _code_values(image: CodedImage, section_count: int) -> dict[str, int]:
    """The fields of a code's header.

    Channels, bit depth and the number of sections share a byte. The code comes first among the
    sections and is not in their table.
    """
    arch = image.architecture
    return {
        "generator_id": arch.generator_id,
        "kinds": (arch.channels == 3) | (image.bit_depth == 16) << 1 | section_count << 2,
        "code_bytes": len(image.body),
    }


def read_header(data: bytes, max_pixels: int = MAX_PIXELS) -> Header:
    """Reads the header alone. Neither the sections nor the CRC-32 are examined.

    Args:
        data: The file's bytes, or a prefix of them in which the header is whole.
        max_pixels: The largest number of pixels that an image may have.

    Raises:
        FormatError: The header is foreign, truncated, damaged, of a newer version or beyond the
            limits.
    """
    if not data:
        msg = "the file is empty"
        raise TruncatedError(msg)
    if not (data.startswith(MAGIC) or MAGIC.startswith(data)):
        msg = f"not a .dfm file: its first bytes are {data[:4]!r}, not {MAGIC!r}; name a file that dfm encode wrote"
        raise BadMagicError(msg)
    values, table = read_fields(data)
    try:
        check_image_size(values["height"], values["width"], max_pixels)
        architecture = _architecture(values)
    except ImageError as error:  # too many pixels: `read_fields` refuses other sides
        raise LimitError(str(error)) from error
    except ConfigError as error:
        msg = f"the header is invalid: {error}"
        raise CorruptError(msg) from error
    count = values["section_count"] if "section_count" in values else values["kinds"] >> 2
    sections, file_bytes = _read_section_table(data, table, count, values.get("code_bytes"))
    main = MAIN_SECTION[architecture.model]
    if main not in sections:
        msg = f"the file has no {main.title} section; it is damaged"
        raise CorruptError(msg)
    bit_depth = values["bit_depth"] if "bit_depth" in values else 16 if values["kinds"] & 2 else 8
    return Header(values, bit_depth, architecture, sections, file_bytes)


def _architecture(values: Mapping[str, int]) -> Architecture:
    """The architecture that a header's fields describe.

    Raises:
        ConfigError: The fields contradict each other or the limits.
    """
    model = MODELS[values["model"]]
    if model is Model.GENERATIVE:
        return CodeArchitecture(3 if values["kinds"] & 1 else 1, values["generator_id"])
    network = values["depth"], values["layer_width"]
    if model is Model.COORDINATE:
        return CoordinateArchitecture(values["channels"], *network, values["order"])
    if model is Model.FITTED:
        return FittedArchitecture(values["channels"], values["grids"], *network, values["order"], values["prior_id"])
    tiles = values.get("tile_rows", 1), values.get("tile_columns", 1)
    for side, number in zip((values["height"], values["width"]), tiles, strict=True):
        if number > max(1, side // TILE_GRID):
            msg = f"{number} tiles along {side} pixels; at most {max(1, side // TILE_GRID)} are possible"
            raise ConfigError(msg)
    luma = Luma(values["luma"])
    return LatentArchitecture(values["channels"], values["levels"], *network, luma, values["prior_id"], *tiles)


def _read_section_table(
    data: bytes, table: int, count: int, code_bytes: int | None
) -> tuple[dict[Section, tuple[int, int]], int]:
    """The (offset, length) of each section, and the length of the file.

    Args:
        data: The file's bytes.
        table: The offset of the section table.
        count: The number of its entries.
        code_bytes: The length of the code section, which comes before those of the table; None if
            the model has none.

    Raises:
        TruncatedError: The data ends within the table.
        UnsupportedVersionError: A section is unknown.
        CorruptError: A section occurs twice.
    """
    start = table + count * SECTION_ENTRY.size
    require(data, start)
    sections: dict[Section, tuple[int, int]] = {}
    if code_bytes is not None:
        sections[Section.CODE] = (start, code_bytes)
        start += code_bytes
    for entry in range(count):
        section_id, length = SECTION_ENTRY.unpack_from(data, table + entry * SECTION_ENTRY.size)
        if section_id not in list(Section):
            refuse_unknown(f"section {section_id}", data)
        section = Section(section_id)
        if section in sections:
            msg = f"section {section_id} occurs twice; the file is damaged"
            raise CorruptError(msg)
        sections[section] = (start, length)
        start += length
    return sections, start + CRC.size
