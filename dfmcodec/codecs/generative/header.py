"""The header of a file of the generative codec."""

from __future__ import annotations

from dfmcodec.codecs.generative.contents import CodeArchitecture, CodedImage
from dfmcodec.container.layout import BYTE, LEB128, MAX_LEB128_BYTES, WORD, Field, HeaderForm, Section, Values
from dfmcodec.models import Model

_FIELDS = (
    Field("generator_id", "I", WORD),
    Field("width", "B", range(1, (1 << 8) + 1), less=1),
    Field("height", "B", range(1, (1 << 8) + 1), less=1),
    Field("kinds", "B", BYTE),
    Field("code_bytes", LEB128, range(1 << 7 * MAX_LEB128_BYTES)),
)


def _values(image: CodedImage, section_count: int) -> dict[str, int]:
    """Returns the fields of the header.

    Channels, bit depth and the number of sections share a byte. The code is the first section and
    is not in the table of sections.
    """
    arch = image.architecture
    return {
        "generator_id": arch.generator_id,
        "kinds": (arch.channels == 3) | (image.bit_depth == 16) << 1 | section_count << 2,
        "code_bytes": len(image.body),
    }


def _architecture(values: Values) -> CodeArchitecture:
    return CodeArchitecture(3 if values["kinds"] & 1 else 1, values["generator_id"])


HEADER = HeaderForm(
    Model.GENERATIVE,
    _FIELDS,
    _values,
    _architecture,
    main_section=Section.CODE,
    main_bytes="code_bytes",
    bit_depth=lambda values: 16 if values["kinds"] & 2 else 8,
    section_count=lambda values: values["kinds"] >> 2,
)
