"""The state of a file: intact, truncated, or damaged, and in which sections.

The CRC-32 shows that a file is damaged. The checks, which larger files have, show where; see
`checks`.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from dfmcodec.container.checks import CHECK, CHECK_BYTES, Checks, read_checks
from dfmcodec.container.header import Header
from dfmcodec.container.layout import CRC, Section
from dfmcodec.entropy.streams import check_of
from dfmcodec.errors import CorruptError, FormatError, TruncatedError

_ANOTHER_COPY = "get another copy"
_BEST_EFFORT = "or decode what is left with dfm decode --best-effort"


@dataclass(frozen=True)
class FileState:
    """The damage of a file, as far as its bytes show it before decoding."""

    data: bytes
    header: Header
    checks: Checks | None  # None if there are none or they are damaged
    header_damaged: bool  # its check does not match
    damaged: frozenset[Section]  # their checks do not match
    file_problems: tuple[str, ...]  # sentences about damage that belongs to no section

    @property
    def problems(self) -> list[str]:
        """All damage, one sentence each; empty for an intact file."""
        damaged = sorted(self.damaged)
        return [*self.file_problems, *(problem for section in damaged for problem in self.section_problems(section))]

    def section_problems(self, section: Section) -> list[str]:
        """Returns sentences about the damage of a section, except for missing bytes at its end."""
        return [f"{self._describe(section)} is damaged"] if section in self.damaged else []

    def refuse_damage(self) -> None:
        """Raises TruncatedError or CorruptError for a file that is not intact."""
        self.refuse_damaged_header()
        if len(self.data) < self.header.file_bytes:
            msg = f"the file is truncated: {'; '.join(self.problems)}; get a complete copy, {_BEST_EFFORT}"
            raise TruncatedError(msg)
        if self.problems:
            msg = f"{'; '.join(self.problems)}; {_ANOTHER_COPY}, {_BEST_EFFORT}"
            raise CorruptError(msg)

    def refuse_damaged_header(self) -> None:
        """Raises CorruptError if the check of the header does not match."""
        if self.header_damaged:
            msg = f"{'; '.join(self.problems)}; nothing after it can be decoded, {_ANOTHER_COPY}"
            raise CorruptError(msg)

    def section(self, section: Section) -> bytes:
        """Returns a section. Raises TruncatedError if it is cut off, CorruptError if damaged."""
        if self.missing_bytes(section):
            msg = f"{self._describe(section)} {'ends early' if self.present(section) else 'is missing'}"
            raise TruncatedError(msg)
        if section in self.damaged:
            msg = f"{self._describe(section)} is damaged"
            raise CorruptError(msg)
        return self.present(section)

    def present(self, section: Section) -> bytes:
        """Returns the bytes of a section that the file still has."""
        start, length = self.header.sections[section]
        return self.data[start : start + length]

    def missing_bytes(self, section: Section) -> int:
        """Returns the number of bytes that are missing at the end of a section."""
        start, length = self.header.sections[section]
        return min(length, max(0, start + length - len(self.data)))

    def _describe(self, section: Section) -> str:
        start, length = self.header.sections[section]
        return f"the {section.title} section ({_range(start, start + length)})"


def examine(data: bytes, header: Header) -> FileState:
    """Determines the state of a file, given its bytes or a prefix with the complete header."""
    missing, end = header.file_bytes - len(data), header.file_bytes - CRC.size
    checks = read_checks(data, header)
    is_right = missing <= 0 and zlib.crc32(memoryview(data)[:end]) == CRC.unpack_from(data, end)[0]
    if is_right and missing == 0:
        return FileState(data, header, checks, False, frozenset(), ())
    head_end = min(start for start, _ in header.sections.values())
    if Section.CHECKS in header.sections:
        start, length = header.sections[Section.CHECKS]
        if len(data) >= start + CHECK_BYTES <= start + length and (
            CHECK.unpack_from(data, start)[0] != check_of(data[:head_end])
        ):
            problem = f"the header ({_range(0, head_end)}) is damaged"
            return FileState(data, header, None, True, frozenset(), (problem,))
    damaged = set()
    for section, check in checks.sections.items() if checks else ():
        start, length = header.sections[section]
        if start + length <= len(data) and check_of(data[start : start + length]) != check:
            damaged.add(section)
    problems = []
    if missing > 0:
        problems.append(f"{len(data)} of {header.file_bytes} bytes, {missing} missing")
    elif missing < 0:
        problems.append(f"{-missing} extra bytes after the expected {header.file_bytes}")
    if missing <= 0 and not is_right and not damaged:
        if checks is not None:
            problems.append(f"only the CRC-32 ({_range(end, header.file_bytes)}) is damaged")
        elif Section.CHECKS in header.sections:
            damaged.add(Section.CHECKS)
        else:
            problems.append("the CRC-32 does not match: the file is damaged, and has no checks that show where")
    return FileState(data, header, checks, False, frozenset(damaged), tuple(problems))


def _range(start: int, stop: int) -> str:
    return f"bytes {start}..{stop - 1}" if stop > start else f"at {start}"


@contextmanager
def record_loss(losses: list[str] | None, consequence: str) -> Iterator[None]:
    """Records a FormatError as a loss, with its consequence; without a list, raises it."""
    try:
        yield
    except FormatError as error:
        if losses is None:
            raise
        losses.append(f"{error}; {consequence}")
