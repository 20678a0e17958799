"""Whether a file is whole, and where it is not: the checks section, and what state the bytes of a file are in.

A file's CRC-32 tells that something is wrong with it. Its checks, which larger files hold, tell where: each is the
lower half of the CRC-32 of a part of the file, or of the symbols that are to come out of a part of the latents.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dfmcodec.errors import CorruptError, FormatError, TruncatedError

if TYPE_CHECKING:
    from dfmcodec.bitstream import Header

_CHECK = struct.Struct("<H")
CHECK_BYTES = _CHECK.size
CHECKS_PART = 0.002  # of a file; where the checks would be more of it, they are left out
CRC = struct.Struct("<I")

_ANOTHER_COPY = "get another copy"
_WHAT_IS_THERE = "or take what is there by dfm decode --best-effort"


@dataclass(frozen=True)
class Checks:
    """What the checks section says.

    Args:
        sections: Of each other section, by its id.
        symbols: Of the latents' symbols, as of `pyramid_coding.symbol_checks` of all tiles.
    """

    sections: dict[int, int]
    symbols: tuple[int, ...]


def check_of(part: bytes | memoryview) -> int:
    """The lower half of the CRC-32."""
    return zlib.crc32(part) & 0xFFFF


def checks_bytes(sections: int, symbol_checks: int) -> int:
    """Length of the checks section of a file with so many other sections."""
    return CHECK_BYTES * (1 + sections + symbol_checks + 1)


def write_checks(head: bytes, bodies: Sequence[bytes], symbol_checks: Sequence[int]) -> bytes:
    """The checks section.

    Args:
        head: The file's bytes before its first section.
        bodies: Of the other sections, in the order of the table.
        symbol_checks: As of `pyramid_coding.symbol_checks`.
    """
    checks = [*map(check_of, (head, *bodies)), *symbol_checks]
    body = b"".join(map(_CHECK.pack, checks))
    return body + _CHECK.pack(check_of(body))


@dataclass(frozen=True)
class Condition:
    """What state a file's bytes are in, as far as they tell without being decoded.

    Args:
        data: The file's bytes.
        header: What they start with.
        checks: Where there are any, and they are whole.
        header_damaged: Whether the header is not the one that was written.
        damaged: Ids of sections that are not the ones that were written.
        of_file: What is wrong with the file as a whole, in words.
    """

    data: bytes
    header: Header
    checks: Checks | None
    header_damaged: bool
    damaged: frozenset[int]
    of_file: tuple[str, ...]

    @property
    def problems(self) -> list[str]:
        """All that is wrong, in words; empty where the file is whole."""
        return [*self.of_file, *(problem for key in sorted(self.damaged) for problem in self.problems_of(key))]

    def problems_of(self, key: int) -> list[str]:
        """What is wrong with a section beside that its end may be missing."""
        return [f"{self._place_of(key)} is damaged"] if key in self.damaged else []

    def refuse_damage(self) -> None:
        """Demands a whole file.

        Raises:
            TruncatedError: Bytes are missing at its end.
            CorruptError: Something else is wrong.
        """
        self.refuse_damaged_header()
        if len(self.data) < self.header.file_bytes:
            msg = f"the file is truncated: {'; '.join(self.problems)}; get a whole copy, {_WHAT_IS_THERE}"
            raise TruncatedError(msg)
        if self.problems:
            msg = f"{'; '.join(self.problems)}; {_ANOTHER_COPY}, {_WHAT_IS_THERE}"
            raise CorruptError(msg)

    def refuse_damaged_header(self) -> None:
        """Demands a header that is the one that was written, as far as can be told.

        Raises:
            CorruptError: It is not.
        """
        if self.header_damaged:
            msg = f"{'; '.join(self.problems)}; nothing behind it can be made out, {_ANOTHER_COPY}"
            raise CorruptError(msg)

    def section(self, key: int) -> bytes:
        """The bytes of a section of the file.

        Raises:
            TruncatedError: They are not all there.
            CorruptError: They are not the ones that were written.
        """
        if self.missing_bytes(key):
            msg = f"{self._place_of(key)} {'ends early' if self.present(key) else 'is missing'}"
            raise TruncatedError(msg)
        if key in self.damaged:
            msg = f"{self._place_of(key)} is damaged"
            raise CorruptError(msg)
        return self.present(key)

    def present(self, key: int) -> bytes:
        """What is there of a section of the file."""
        start, length = self.header.sections[key]
        return self.data[start : start + length]

    def missing_bytes(self, key: int) -> int:
        """How many bytes are missing at the end of a section of the file."""
        start, length = self.header.sections[key]
        return min(length, max(0, start + length - len(self.data)))

    def _place_of(self, key: int) -> str:
        start, length = self.header.sections[key]
        return f"the {self.header.name_of(key)} section ({_range(start, start + length)})"


def examine(data: bytes, header: Header, checks_key: int) -> Condition:
    """Finds out what state a file is in.

    Args:
        data: The file's bytes, or a prefix of them in which the header is whole.
        header: Their header.
        checks_key: Id of the checks section.
    """
    missing, end = header.file_bytes - len(data), header.file_bytes - CRC.size
    checks = _read_checks(data, header, checks_key)
    is_right = missing <= 0 and zlib.crc32(memoryview(data)[:end]) == CRC.unpack_from(data, end)[0]
    if is_right and missing == 0:
        return Condition(data, header, checks, False, frozenset(), ())
    head_end = min(start for start, _ in header.sections.values())
    if checks_key in header.sections:
        start, length = header.sections[checks_key]
        if len(data) >= start + CHECK_BYTES <= start + length and (
            _CHECK.unpack_from(data, start)[0] != check_of(data[:head_end])
        ):
            problem = f"the header ({_range(0, head_end)}) is damaged"
            return Condition(data, header, None, True, frozenset(), (problem,))
    damaged = set()
    for key, check in checks.sections.items() if checks else ():
        start, length = header.sections[key]
        if start + length <= len(data) and check_of(data[start : start + length]) != check:
            damaged.add(key)
    of_file = []
    if missing > 0:
        of_file.append(f"{len(data)} bytes of {header.file_bytes}, {missing} are missing")
    elif missing < 0:
        of_file.append(f"{-missing} bytes follow the end of the file at {header.file_bytes}")
    if missing <= 0 and not is_right and not damaged:
        if checks is not None:
            of_file.append(f"the CRC-32 ({_range(end, header.file_bytes)}) is damaged, and nothing else")
        elif checks_key in header.sections:
            damaged.add(checks_key)
        else:
            of_file.append("the CRC-32 does not match: the file is damaged, and has no checks that tell where")
    return Condition(data, header, checks, False, frozenset(damaged), tuple(of_file))


def _read_checks(data: bytes, header: Header, checks_key: int) -> Checks | None:
    """The checks section; None where there is none that can be relied on."""
    if checks_key not in header.sections:
        return None
    start, length = header.sections[checks_key]
    others = [key for key in header.sections if key != checks_key]
    body = data[start : start + length]
    if len(body) < length or length != checks_bytes(len(others), header.symbol_check_count):
        return None
    found = [check for (check,) in _CHECK.iter_unpack(body)]
    if check_of(body[:-CHECK_BYTES]) != found[-1]:
        return None
    return Checks(dict(zip(others, found[1:], strict=False)), tuple(found[1 + len(others) : -1]))


def _range(start: int, stop: int) -> str:
    return f"bytes {start}..{stop - 1}" if stop > start else f"at {start}"


@contextmanager
def or_lost(losses: list[str] | None, consequence: str) -> Iterator[None]:
    """What a picture can do without: where it cannot be read, and losses are put up with, the loss is told.

    Args:
        losses: Where to tell it; None where an error is to stay one.
        consequence: What the loss means.
    """
    try:
        yield
    except FormatError as error:
        if losses is None:
            raise
        losses.append(f"{error}; {consequence}")
