"""The checks section, which indicates where a file is damaged.

Each check is the lower half of a CRC-32: of a part of the file; or of the symbols of one
decomposition level of a tile, or of one grid of the overfitted codec.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from dfmcodec.container.header import Header
from dfmcodec.container.layout import SECTION_ENTRY, Section
from dfmcodec.entropy.streams import check_of

CHECK = struct.Struct("<H")
CHECK_BYTES = CHECK.size
CHECKS_FRACTION = 0.002  # the largest fraction of a file that checks may take; above it they are omitted


@dataclass(frozen=True)
class Checks:
    """The checks of a file: of other sections, and of symbols.

    Those of symbols are, in the wavelet codec, tile by tile (`sections.latents.tile_checks`); in
    the overfitted codec, from the coarsest grid on.
    """

    sections: dict[Section, int]
    symbols: tuple[int, ...]


def checks_bytes(sections: int, symbol_checks: int) -> int:
    """Returns the length of a checks section, in bytes. `sections` excludes the checks section."""
    return CHECK_BYTES * (1 + sections + symbol_checks + 1)


def checks_file_bytes(sections: int, symbol_checks: int) -> int:
    """Returns the number of bytes that a checks section adds to a file; see `checks_bytes`."""
    return SECTION_ENTRY.size + checks_bytes(sections, symbol_checks)


def write_checks(head: bytes, bodies: Sequence[bytes], symbol_checks: Sequence[int]) -> bytes:
    """Returns the checks section.

    `head` is all before the first section, `bodies` are in the order of the section table.
    """
    checks = [*map(check_of, (head, *bodies)), *symbol_checks]
    body = b"".join(map(CHECK.pack, checks))
    return body + CHECK.pack(check_of(body))


def read_checks(data: bytes, header: Header) -> Checks | None:
    """Returns the checks of a file or a prefix; None if it has none or they are damaged."""
    if Section.CHECKS not in header.sections:
        return None
    start, length = header.sections[Section.CHECKS]
    others = [section for section in header.sections if section != Section.CHECKS]
    body = data[start : start + length]
    if len(body) < length or length != checks_bytes(len(others), header.symbol_check_count):
        return None
    checks = [check for (check,) in CHECK.iter_unpack(body)]
    if check_of(body[:-CHECK_BYTES]) != checks[-1]:
        return None
    return Checks(dict(zip(others, checks[1:], strict=False)), tuple(checks[1 + len(others) : -1]))
