"""What outputs were made of, in a record beside them: so a later run neither replaces what came
from another source nor takes it for done.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Any, BinaryIO

from dfmcodec.cli._common import STANDARD, Output, write_output
from dfmcodec.errors import OutputError
from dfmcodec.files.atomic import check_writable, is_stream, lock, unwritable_message, write_atomic

RECORD = ".dfm-sources.jsonl"  # in the folder of the outputs, with a row for each time that one was written
_ADVICE = "name another folder, or use -f to replace it"


@dataclass(frozen=True)
class Origin:
    """What an output was made of.

    Args:
        source: The absolute path of the source.
        source_bytes: The size of the source; None for a pipe.
        source_mtime_ns: The time of its last change.
        source_sha256: The digest of its contents; None where it is not known.
        settings: The settings that the output was made with, as one text; None where they are not
            known.
        output_bytes: The size of the output as it was written; None where it is not known.
        is_whole: Whether the output has all of the source; False for what was left of damaged ones.
    """

    source: str
    source_bytes: int | None
    source_mtime_ns: int | None
    source_sha256: str | None
    settings: str | None = None
    output_bytes: int | None = None
    is_whole: bool = True

    @classmethod
    def of(cls, source: Path, settings: str | None) -> Origin:
        """The origin of an output that is yet to be made of a source, as the source is now."""
        try:
            state = source.stat()
            if is_stream(source):
                return cls(_absolute(source), None, None, None, settings)
            return cls(_absolute(source), state.st_size, state.st_mtime_ns, _sha256(source), settings)
        except OSError:  # which whoever reads the source reports
            return cls(_absolute(source), None, None, None, settings)

    def has_path_of(self, source: Path) -> bool:
        """Whether a source is at the path of this one."""
        return self.source == _absolute(source)

    def is_of(self, source: Path) -> bool:
        """Whether a source is the one that the output was made of: by its path, size and time, or
        by its contents.
        """
        try:
            state = source.stat()
        except OSError:
            return False
        if self.source_bytes is None or state.st_size != self.source_bytes:
            return False
        if self.has_path_of(source) and state.st_mtime_ns == self.source_mtime_ns:
            return True
        with suppress(OSError):
            return self.source_sha256 is not None and _sha256(source) == self.source_sha256
        return False


class Claim(Enum):
    """What a source has to do with a file that is there under the name of its output."""

    MADE = auto()  # it was made of this source
    PART = auto()  # it was made of what a damaged one still held
    CHANGED = auto()  # it was made of this source before that changed
    UNKNOWN = auto()  # nothing says what it was made of
    FOREIGN = auto()  # it was made of another source, or was changed since


@dataclass(frozen=True)
class Standing:
    """What a source has to do with a file that is there under the name of its output.

    Args:
        claim: In a word.
        why: What to say of an output that is not made because of that file.
        settings: Those that the file was made with; None where they are not known.
    """

    claim: Claim
    why: str = ""
    settings: str | None = None


class Records:
    """The records of the folders of outputs. That of a folder is read when it is first asked for,
    and again where it says nothing of a file that is there: another run may have written both.
    """

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._state: tuple[int, int] | None = None
        self._rows: dict[str, list[Origin]] = {}

    def standing(self, source: Path, target: Path, reported: Origin | None = None) -> Standing:
        """What a source has to do with a file that is there under the name of its output.

        Args:
            source: The source.
            target: The output, which is there.
            reported: What a report says that it was made of; asked where the record says nothing.
        """
        try:
            size = target.stat().st_size
        except OSError:
            return Standing(Claim.FOREIGN, f"{target} cannot be read; name another folder")
        origins = self._of(target, size) or ([] if reported is None else [reported])
        written = [origin for origin in origins if origin.output_bytes in (size, None)]
        if not origins:
            why = f"{target} exists, and no record says that it was made from {source}; {_ADVICE}, or --adopt if it was"
            return Standing(Claim.UNKNOWN, why)
        if not written:
            was = f"{origins[-1].output_bytes:,} bytes when it was written, {size:,} now"
            why = f"{target} is not what was made from {origins[-1].source}: it had {was}; {_ADVICE}"
            return Standing(Claim.FOREIGN, why)
        origin = written[-1]
        if origin.is_of(source):
            return Standing(Claim.MADE if origin.is_whole else Claim.PART, settings=origin.settings)
        if origin.has_path_of(source):
            return Standing(Claim.CHANGED, f"{target} was made from an older {source}; -f makes it again")
        return Standing(Claim.FOREIGN, f"{target} was made from {origin.source}, not from {source}; {_ADVICE}")

    def _of(self, target: Path, size: int) -> list[Origin]:
        """The rows of an output, the latest last."""
        folder = target.parent
        if folder != self._folder:
            self._folder, self._state, self._rows = folder, None, {}
        rows = self._rows.get(target.name, [])
        if all(origin.output_bytes != size for origin in rows):
            state = _state_of(folder / RECORD)
            if state != self._state:
                self._state, self._rows = state, _rows_of(folder)
                rows = self._rows.get(target.name, [])
        return rows


def _state_of(record: Path) -> tuple[int, int] | None:
    try:
        state = record.stat()
    except OSError:
        return None
    return state.st_size, state.st_mtime_ns


def _rows_of(folder: Path) -> dict[str, list[Origin]]:
    """The rows of the record in a folder, by the name of the output."""
    rows: dict[str, list[Origin]] = {}
    if is_stream(folder / RECORD):
        return rows
    with suppress(OSError):
        for line in (folder / RECORD).read_bytes().splitlines():
            with suppress(ValueError, KeyError, TypeError):  # the part of a row that a killed run left
                name, origin = _read_row(folder, json.loads(line))
                rows.setdefault(name, []).append(origin)
    return rows


def _read_row(folder: Path, row: dict[str, Any]) -> tuple[str, Origin]:
    return str(row["output"]), Origin(
        os.path.normpath(os.path.join(_absolute(folder), row["source"])),
        row["source_bytes"],
        row["source_mtime_ns"],
        row["source_sha256"],
        row["settings"],
        int(row["output_bytes"]),
        bool(row["is_whole"]),
    )


def _row(target: Path, origin: Origin, output_bytes: int, is_whole: bool) -> bytes:
    """A row of the record. The path is relative to its folder, so that both may be moved."""
    try:
        source = os.path.relpath(origin.source, _absolute(target.parent))
    except ValueError:  # on another drive
        source = origin.source
    row = {
        "output": target.name,
        "output_bytes": output_bytes,
        "source": source,
        "source_bytes": origin.source_bytes,
        "source_mtime_ns": origin.source_mtime_ns,
        "source_sha256": origin.source_sha256,
        "settings": origin.settings,
        "is_whole": is_whole,
    }
    return json.dumps(row).encode()  # with escapes for bytes that are not UTF-8


def write_recorded(target: Path, data: bytes, force: bool, origin: Origin, is_whole: bool = True) -> None:
    """Writes an output as `write_atomic` does, after the row that says what it was made of.

    A run that is killed in between leaves a row of an output that is not there, or, with `force`,
    of another size than the one that is: neither says anything of the file that is there.

    Args:
        target: The output.
        data: Its contents.
        force: Whether an existing file is replaced.
        origin: What it was made of.
        is_whole: Whether it has all of the source.

    Raises:
        OutputError: It cannot be written, or its row.
    """
    if is_stream(target):
        write_atomic(target, data, force)
        return
    with _locked(target.parent / RECORD) as record:
        check_writable(target, force)  # before the row of a file that another run has made meanwhile
        _append(record, target, _row(target, origin, len(data), is_whole))
        write_atomic(target, data, force)


def origin_of_one(source: Path, output: Path, given: Output | None, settings: str) -> Origin | None:
    """The origin of the output of a run of one file, if that is recorded: where a folder was named
    for it, or the folder that gets it has a record.

    Args:
        source: The source, read to be recorded.
        output: The output.
        given: What names it at the command; None for nothing.
        settings: Those that it is made with.
    """
    is_named_folder = given is not None and given.is_folder
    if output == STANDARD or not (is_named_folder or (output.parent / RECORD).exists()):
        return None
    return Origin.of(source, settings)


def write_one(output: Path, data: bytes, force: bool, origin: Origin | None, is_whole: bool = True) -> None:
    """Writes the output of a run of one file, and records it if there is an origin.

    Raises:
        OutputError: It cannot be written, or its row.
    """
    if origin is None:
        write_output(output, data, force)
    else:
        write_recorded(output, data, force, origin, is_whole)


def adopt(target: Path, origin: Origin) -> None:
    """Records a file that is there as made of a source.

    Raises:
        OutputError: The record cannot be written.
    """
    with _locked(target.parent / RECORD) as record:
        _append(record, target, _row(target, origin, target.stat().st_size, True))


def _append(record: BinaryIO, target: Path, row: bytes) -> None:
    try:
        record.seek(0, os.SEEK_END)
        if record.tell() and not _ends_line(record):
            record.write(b"\n")
        record.write(row + b"\n")
        record.flush()
    except OSError as error:
        raise OutputError(unwritable_message(str(target.parent / RECORD), error)) from error


@contextmanager
def _locked(path: Path) -> Iterator[BinaryIO]:
    """Opens a record for one process at a time, where the system can do so.

    Raises:
        OutputError: It cannot be opened.
    """
    try:
        if is_stream(path):
            raise OSError(None, "it is not a file")
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        record = os.fdopen(os.open(path, flags, 0o666), "r+b")
    except OSError as error:
        raise OutputError(unwritable_message(str(path), error)) from error
    with record:
        lock(record.fileno())
        yield record


def _ends_line(record: BinaryIO) -> bool:
    record.seek(-1, os.SEEK_END)
    return record.read(1) == b"\n"


def _absolute(path: Path) -> str:
    return os.path.realpath(path)


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
