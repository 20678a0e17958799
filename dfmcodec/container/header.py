"""The header of a `.dfm` file: what it says of an image before anything is decoded.

`layout` defines the fields; this module maps them to and from what they describe, by a form for
each model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dfmcodec._types import Model
from dfmcodec.codecs.coordinate.contents import QuantizedNetwork
from dfmcodec.codecs.generative.contents import CodeArchitecture, CodedImage
from dfmcodec.codecs.overfitted.contents import OverfittedArchitecture, QuantizedGrids
from dfmcodec.codecs.wavelet.colour import Luma
from dfmcodec.codecs.wavelet.contents import QuantizedLatents, WaveletArchitecture
from dfmcodec.codecs.wavelet.geometry import TILE_GRID
from dfmcodec.container.contents import Architecture, QuantizedModel
from dfmcodec.container.layout import (
    CRC,
    MAGIC,
    MAIN_SECTION,
    MODEL_CODES,
    MODELS,
    MODELS_OF_SECTION,
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
        return _FORMS[self.architecture.model].check_count(self.architecture)

    def section_bytes(self) -> dict[str, int]:
        """The sizes of container and sections by name, in bytes; they add up to the file."""
        lengths = {section.title: length for section, (_, length) in self.sections.items()}
        return {"container": self.file_bytes - sum(lengths.values()), **lengths}


def write_header(model: QuantizedModel, sections: Mapping[Section, bytes]) -> bytes:
    """The bytes of a file before its first section: magic, fields and section table."""
    in_table = {section: body for section, body in sections.items() if section is not Section.CODE}
    of_model = model.architecture.model
    values = {"version": VERSION, "model": MODEL_CODES[of_model], "width": model.width, "height": model.height}
    values |= _FORMS[of_model].values(model, len(in_table))
    table = b"".join(SECTION_ENTRY.pack(section, len(body)) for section, body in in_table.items())
    return write_fields(values) + table


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
        architecture = _FORMS[MODELS[values["model"]]].architecture(values)
    except ImageError as error:  # too many pixels: `read_fields` refuses other sides
        raise LimitError(str(error)) from error
    except ConfigError as error:
        msg = f"the header is invalid: {error}"
        raise CorruptError(msg) from error
    count = values["section_count"] if "section_count" in values else values["kinds"] >> 2
    sections, file_bytes = _read_section_table(data, table, count, values.get("code_bytes"))
    _check_sections(sections, architecture)
    bit_depth = values["bit_depth"] if "bit_depth" in values else 16 if values["kinds"] & 2 else 8
    return Header(values, bit_depth, architecture, sections, file_bytes)


def _check_sections(sections: Mapping[Section, tuple[int, int]], architecture: Architecture) -> None:
    """Refuses sections that no writer may write.

    Raises:
        CorruptError: The main section of the model is missing, one is of another model, or the rgb
            section is not empty, or of an image of three channels.
    """
    main = MAIN_SECTION[architecture.model]
    known = {section: MODELS_OF_SECTION[section] for section in sections if section in MODELS_OF_SECTION}
    foreign = next((section for section, models in known.items() if architecture.model not in models), None)
    problem = None
    if main not in sections:
        problem = f"no {main.title} section"
    elif foreign is not None:
        problem = f"the {foreign.title} section of another model"
    elif Section.RGB in sections and (sections[Section.RGB][1] or architecture.channels != 1):
        problem = "an rgb section that is not empty, or not of gray"
    if problem:
        msg = f"the file has {problem}; it is damaged"
        raise CorruptError(msg)


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


def _long_values(model: QuantizedNetwork | QuantizedLatents | QuantizedGrids, section_count: int) -> dict[str, int]:
    """The fields that all models but codes have."""
    arch = model.architecture
    values = {"channels": arch.channels, "bit_depth": model.bit_depth, "section_count": section_count}
    return values | {"depth": arch.depth, "layer_width": arch.width}


def _network_values(model: QuantizedNetwork, section_count: int) -> dict[str, int]:
    return _long_values(model, section_count) | {"order": model.architecture.order, "further_bytes": 0}


def _network_architecture(values: Mapping[str, int]) -> CoordinateArchitecture:
    return CoordinateArchitecture(values["channels"], values["depth"], values["layer_width"], values["order"])


def _wavelet_values(model: QuantizedLatents, section_count: int) -> dict[str, int]:
    arch = model.architecture
    return _long_values(model, section_count) | {
        "further_bytes": further_bytes(Model.WAVELET, (arch.tile_rows, arch.tile_columns) != (1, 1)),
        "luma": arch.luma,
        "levels": arch.levels,
        "q_step": model.q_step,
        "chroma_angle": model.chroma_angle,
        "weights_id": arch.weights_id,
        "tile_rows": arch.tile_rows,
        "tile_columns": arch.tile_columns,
    }


def _wavelet_architecture(values: Mapping[str, int]) -> WaveletArchitecture:
    """The architecture that fields describe.

    Raises:
        ConfigError: There are more tiles than the image's sides allow.
    """
    tiles = values.get("tile_rows", 1), values.get("tile_columns", 1)
    for side, number in zip((values["height"], values["width"]), tiles, strict=True):
        if number > max(1, side // TILE_GRID):
            msg = f"{number} tiles along {side} pixels; at most {max(1, side // TILE_GRID)} are possible"
            raise ConfigError(msg)
    machine = values["depth"], values["layer_width"]
    luma = Luma(values["luma"])
    return WaveletArchitecture(values["channels"], values["levels"], *machine, luma, values["weights_id"], *tiles)


def _overfitted_values(model: QuantizedGrids, section_count: int) -> dict[str, int]:
    arch = model.architecture
    return _long_values(model, section_count) | {
        "order": arch.order,
        "further_bytes": further_bytes(Model.OVERFITTED, is_tiled=False),
        "grids": arch.levels,
        "lmbda_code": model.lmbda_code,
        "weights_id": arch.weights_id,
    }


def _overfitted_architecture(values: Mapping[str, int]) -> OverfittedArchitecture:
    machine = values["depth"], values["layer_width"], values["order"]
    return OverfittedArchitecture(values["channels"], values["grids"], *machine, values["weights_id"])


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


def _code_architecture(values: Mapping[str, int]) -> CodeArchitecture:
    return CodeArchitecture(3 if values["kinds"] & 1 else 1, values["generator_id"])


@dataclass(frozen=True)
class _Form:
    """How the header describes a model.

    Args:
        values: From a quantised model and the number of sections in the table to its fields.
        architecture: From the fields to the architecture.
        check_count: From the architecture to the number of checks of symbols.
    """

    values: Callable[[Any, int], dict[str, int]]
    architecture: Callable[[Mapping[str, int]], Architecture]
    check_count: Callable[[Any], int] = lambda arch: 0


_FORMS = {
    Model.COORDINATE: _Form(_network_values, _network_architecture),
    Model.WAVELET: _Form(
        _wavelet_values,
        _wavelet_architecture,
        lambda arch: arch.tile_rows * arch.tile_columns * (arch.levels + 1),
    ),
    Model.GENERATIVE: _Form(_code_values, _code_architecture),
    Model.OVERFITTED: _Form(_overfitted_values, _overfitted_architecture, lambda arch: arch.levels),
}
