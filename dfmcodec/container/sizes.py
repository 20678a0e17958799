"""The sizes of files and sections, computed from their contents without writing them."""

from __future__ import annotations

from collections.abc import Mapping

from dfmcodec.container.checks import checks_bytes
from dfmcodec.container.layout import SECTION_ENTRY, Section

STREAM_SECTION_BYTES = SECTION_ENTRY.size + 4  # overhead of a range-coded section: its table entry and the last word


def checks_file_bytes(sections: int, symbol_checks: int) -> int:
    """Returns the number of bytes that a checks section adds to a file; see `checks_bytes`."""
    return SECTION_ENTRY.size + checks_bytes(sections, symbol_checks)


def sections_file_bytes(sections: Mapping[Section, bytes]) -> int:
    """Returns the number of bytes that sections add to a file."""
    return sum(len(body) + SECTION_ENTRY.size for body in sections.values())


def section_file_bytes(body_bytes: float) -> float:
    """Returns the number of bytes that a section adds to a file, from the size of its body."""
    return body_bytes + SECTION_ENTRY.size
