"""Record of an output folder: the source and the settings of each output.

With it, a run decides whether an existing output is kept, made again, or refused. It also gives the
source of a file that is to be decoded.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields, replace
from enum import Enum, auto
from pathlib import Path
from typing import Any, BinaryIO

from dfmcodec.cli._same_file import identity
from dfmcodec.errors import OutputError
from dfmcodec.files.atomic import check_writable, is_stream, lock, unwritable_message, write_atomic

_HELD = 2  # records held in memory, for the folders of inputs and of outputs
RECORD = ".dfm-sources.jsonl"  # in the output folder, with a row for each write of an output
_ADVICE = "name another folder, or use -f to replace it"

# Values of "status" in records and reports.
DONE, INTERRUPTED, MISSED, FAILED, LARGER = "done", "interrupted", "missed", "failed", "larger"
ADOPTED = "adopted"  # of an existing output that the user declared to be made from its input
_WHY_AGAIN = {
    INTERRUPTED: "its encoding was interrupted",
    MISSED: "it missed its target",
    FAILED: "it is what was left of a damaged file",
}


@dataclass(frozen=True, slots=True)
class Origin:
    """Source and settings of an output. None stands for what is not known."""

    source: str  # the absolute path
    source_bytes: int | None  # None for a pipe
    source_mtime_ns: int | None
    source_sha256: str | None
    settings: str | None = None  # that the output was made with, as one text
    output_bytes: int | None = None  # as it was written
    output_sha256: str | None = None
    output_mtime_ns: int | None = None
    status: str = DONE  # as in the report file; `FAILED` for the rest of a damaged file

    @classmethod
    def of(cls, source: Path, settings: str | None) -> Origin:
        """Returns the origin of an output to be made from the current version of a source."""
        with suppress(OSError):  # reported when the source is read
            state = source.stat()
            if not is_stream(source):
                return cls(os.path.realpath(source), state.st_size, state.st_mtime_ns, _sha256(source), settings)
        return cls(os.path.realpath(source), None, None, None, settings)

    def has_path_of(self, source: Path) -> bool:
        """Indicates whether a file has the path of the source."""
        return self.source == os.path.realpath(source)

    def has_contents_of(self, file: Path) -> bool:
        """Indicates whether a file has the same contents as the source."""
        with suppress(OSError):
            return self.source_bytes == file.stat().st_size and self.source_sha256 == _sha256(file)
        return False

    def is_of(self, source: Path) -> bool:
        """Indicates whether the output was made from the current version of a file, according to
        path, size and time, or to contents.
        """
        with suppress(OSError):
            state = source.stat()
            is_same = self.has_path_of(source) and state.st_mtime_ns == self.source_mtime_ns
            return state.st_size == self.source_bytes and (is_same or self.has_contents_of(source))
        return False


class MadeMeanwhileError(OutputError):
    """Another run has made the output since this run started, from the same contents with the same
    settings.
    """


class Claim(Enum):
    """Relation of an existing output to a source."""

    DONE = auto()  # made from this source with these settings
    OUTDATED = auto()  # made from this source, but with other settings or not completely
    OLDER = auto()  # made from this source before that changed
    ADOPTED = auto()  # declared by the user to be made from this source
    UNKNOWN = auto()  # no record of its source
    CHANGED = auto()  # no longer as it was written, or adopted as made from another source
    FOREIGN = auto()  # made from another source, or not readable


@dataclass(frozen=True)
class Standing:
    """Relation of an existing output to a source, with the reason."""

    claim: Claim
    why: str = ""  # for people: why the output is made again, or why it is in the way
    is_complete: bool = False  # whether the record says that the file is complete


class Records:
    """Records of folders. A record is read when first needed. If it lacks an existing file, it is
    read again, because another run may have written both.
    """

    def __init__(self, notify: Callable[[str], None] = lambda notice: None) -> None:
        self._notify = notify
        self._records: dict[Path, _Record] = {}  # most recently used

    def standing(self, source: Path, target: Path, settings: str, reported: Origin | None = None) -> Standing:
        """Returns the relation of an existing output to a source and the settings of this run. The
        origin according to a report is used if the record has none.
        """
        try:
            size = target.stat().st_size
        except OSError:
            return Standing(Claim.FOREIGN, f"{target} cannot be read; name another folder")
        origins = self._origins(target, size) or ([] if reported is None else [reported])
        unknown = f"{target} exists, and no record says that it was made from {source}; {_ADVICE}, or --adopt if it was"
        if not origins:
            return Standing(Claim.UNKNOWN, unknown)
        origin = _origin_of(target, origins)
        if origin is None:
            last = origins[-1]
            sizes = f" ({last.output_bytes:,} bytes then, {size:,} now)" if last.output_bytes != size else ""
            why = f"{target} has changed since it was made from {last.source}{sizes}; {_ADVICE}"
            return Standing(Claim.CHANGED, why)
        if origin.status == ADOPTED:
            other = f"{target} was made from {origin.source}, as --adopt said, not from this {source}; {_ADVICE}"
            return Standing(Claim.ADOPTED) if origin.is_of(source) else Standing(Claim.CHANGED, other)
        return _standing_of(origin, source, target, settings)

    def origin_of(self, target: Path) -> Origin | None:
        """Returns the origin of an existing file; None where the record has none."""
        try:
            return _origin_of(target, self._origins(target, target.stat().st_size))
        except OSError:
            return None

    def is_source_of(self, file: Path, output: Path) -> bool:
        """Indicates whether a file is the source of another one, according to the record of that
        file's folder. Files are compared by real path, ignoring case, and by contents.
        """
        with suppress(OSError):
            origins = self._origins(output, output.stat().st_size)
            return any(is_source(origin, file) for origin in origins if origin.status != ADOPTED)
        return False

    def _origins(self, output: Path, size: int) -> list[Origin]:
        """Returns the rows of an output, the latest last."""
        folder = output.parent
        record = self._records.pop(folder, None) or _Record(folder, self._notify)
        self._records[folder] = record
        if len(self._records) > _HELD:
            del self._records[next(iter(self._records))]
        if all(origin.output_bytes != size for origin in record.rows.get(output.name, [])):
            record.read_new_rows()
        return record.rows.get(output.name, [])


def is_source(origin: Origin, file: Path) -> bool:
    """Indicates whether a file is the source in an origin, or a copy of it."""
    ours, theirs = identity(file), identity(Path(origin.source))
    return (ours is not None and ours == theirs) or origin.has_contents_of(file)


def _standing_of(origin: Origin, source: Path, target: Path, settings: str) -> Standing:
    is_complete = origin.status == DONE
    if not origin.is_of(source):
        if origin.has_path_of(source):
            return Standing(Claim.OLDER, f"{source} has changed since", is_complete)
        return Standing(Claim.FOREIGN, f"{target} was made from {origin.source}, not from {source}; {_ADVICE}")
    if not is_complete:
        return Standing(Claim.OUTDATED, _WHY_AGAIN.get(origin.status, "it is not complete"))
    if origin.settings not in (None, settings):
        return Standing(Claim.OUTDATED, "it was made with other settings", is_complete)
    return Standing(Claim.DONE, is_complete=is_complete)


def _origin_of(target: Path, origins: list[Origin]) -> Origin | None:
    """Returns the origin of an existing output: the latest that wrote a file of its size and time,
    or else of its contents; None if none did. A run that was killed between row and output leaves a
    row of another file.
    """
    state = target.stat()
    possible = [origin for origin in reversed(origins) if origin.output_bytes in (state.st_size, None)]
    for origin in possible:
        if origin.output_mtime_ns == state.st_mtime_ns:
            return origin
    digest = _sha256(target) if any(origin.output_sha256 is not None for origin in possible) else None
    return next((origin for origin in possible if origin.output_sha256 in (digest, None)), None)


class _Record:
    """Rows of the record of a folder, by the name of the output."""

    def __init__(self, folder: Path, notify: Callable[[str], None]) -> None:
        self.rows: dict[str, list[Origin]] = {}
        self._folder = folder
        self._notify = notify
        self._read_bytes = 0
        self.read_new_rows()

    def read_new_rows(self) -> None:
        """Reads the rows added since the last call."""
        path = self._folder / RECORD
        if is_stream(path) or path.is_symlink():
            return
        ignored = 0
        with suppress(OSError), path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size < self._read_bytes:  # the file was replaced
                self.rows, self._read_bytes = {}, 0
            file.seek(self._read_bytes)
            data = file.read(size - self._read_bytes)
            end = data.rfind(b"\n") + 1  # an incomplete row is still being written, or was left by a killed run
            self._read_bytes += end
            for line in filter(None, data[:end].splitlines()):
                try:
                    name, origin = _read_row(self._folder, json.loads(line))
                except (ValueError, KeyError, TypeError, RecursionError):
                    ignored += 1
                else:
                    self.rows.setdefault(name, []).append(origin)
        if ignored:
            self._notify(f"ignored {ignored} row{'s' * (ignored != 1)} of {path}: they are not valid")


def _read_row(folder: Path, row: dict[str, Any]) -> tuple[str, Origin]:
    """Reads a row, which is untrusted. Raises ValueError, KeyError or TypeError if the row is
    invalid.
    """
    values = {field.name: row[field.name] for field in fields(Origin)}
    texts = [row["output"], values["source"], values["status"]]
    optional = [values["source_sha256"], values["output_sha256"], values["settings"]]
    numbers = [values[name] for name in ("output_bytes", "output_mtime_ns", "source_bytes", "source_mtime_ns")]
    if not (
        all(isinstance(text, str) and "\0" not in text for text in texts)
        and all(text is None or isinstance(text, str) for text in optional)
        and all(number is None or type(number) is int for number in numbers)
    ):
        raise ValueError(row)
    source = os.path.normpath(os.path.join(os.path.realpath(folder), values["source"]))
    return row["output"], Origin(**values | {"source": source})


def _row(target: Path, origin: Origin) -> bytes:
    """Returns a row of the record. Its paths are relative to the folder, which may be moved."""
    try:
        source = os.path.relpath(origin.source, os.path.realpath(target.parent))
    except ValueError:  # on another drive
        source = origin.source
    row = {"output": target.name, **asdict(origin), "source": source}
    return json.dumps(row).encode()  # with escapes for bytes that are not UTF-8


def write_recorded(
    target: Path, data: bytes, force: bool, origin: Origin, status: str = DONE, follow: bool = False
) -> None:
    """Writes an output with `write_atomic`, after writing the row with its origin.

    If a run is killed in between, the row describes an output that does not exist or, with `force`,
    has other contents. Such a row does not affect existing files. Raises OutputError if the output
    cannot be written; MadeMeanwhileError, without `force`, if another run has just made it.
    """
    if follow and is_stream(target):
        write_atomic(target, data, force)
        return
    now = time.time_ns()
    digest = hashlib.sha256(data).hexdigest()
    written = replace(origin, output_bytes=len(data), output_sha256=digest, output_mtime_ns=now, status=status)
    with _locked(target.parent / RECORD) as record:
        if not force and _is_made(target, origin):
            msg = f"another run has made {target} from {origin.source}; it is kept"
            raise MadeMeanwhileError(msg)
        check_writable(target, force, follow)  # before the row of a file that another run has made meanwhile
        _append(record, target, _row(target, written))
        write_atomic(target, data, force, follow, now)


def _is_made(target: Path, origin: Origin) -> bool:
    """Indicates whether a complete output exists with the source and the settings of an origin."""
    made = Records().origin_of(target)
    if made is None or made.status != DONE or made.source_sha256 is None:
        return False
    return (made.source_sha256, made.settings) == (origin.source_sha256, origin.settings)


def adopt(target: Path, origin: Origin) -> None:
    """Records an existing file as made from a source with unknown settings."""
    state, digest = target.stat(), _sha256(target)
    kept = replace(origin, output_bytes=state.st_size, output_sha256=digest, output_mtime_ns=state.st_mtime_ns)
    with _locked(target.parent / RECORD) as record:
        _append(record, target, _row(target, replace(kept, settings=None, status=ADOPTED)))


def _append(record: BinaryIO, target: Path, row: bytes) -> None:
    with writing(target.parent / RECORD):
        if record.seek(0, os.SEEK_END):
            record.seek(-1, os.SEEK_END)
            if record.read(1) != b"\n":
                record.write(b"\n")
        record.write(row + b"\n")
        record.flush()


@contextmanager
def _locked(path: Path) -> Iterator[BinaryIO]:
    """Opens a record with an exclusive lock, if the system supports locks."""
    with writing(path):
        if is_stream(path):
            raise OSError(None, "it is not a file")
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        record = os.fdopen(os.open(path, flags, 0o666), "r+b")
    try:
        lock(record.fileno())
        yield record
    finally:
        with suppress(OSError):  # of a row that could not be written, already reported
            record.close()


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Converts errors of the operating system while a file is opened or written."""
    try:
        yield
    except OSError as error:
        raise OutputError(unwritable_message(str(path), error)) from error


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
