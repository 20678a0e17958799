"""Report file of a run: a row for each file, appended continuously. Later runs use it to skip
finished work.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import IO, Any

from dfmcodec.cli._common import json_text
from dfmcodec.cli._inputs import Task
from dfmcodec.cli._origins import DONE, FAILED, INTERRUPTED, LARGER, MISSED, RECORD, Origin, writing
from dfmcodec.errors import ConfigError, OutputError
from dfmcodec.files.atomic import NOT_A_FILE, is_stream, read_file

COLUMNS = (
    "source",
    "output",
    "status",
    "source_bytes",
    "output_bytes",
    "psnr_db",
    "ssimulacra2",
    "total_s",
    "error",
    "source_mtime_ns",
    "settings",
    "output_sha256",
)
_STRING, _VALUE = r'"(?:[^"\\]|\\.)*', r"[-+.\w]*"  # prefixes of JSON strings and other values
_SUFFIXES = (".jsonl", ".csv")


@contextmanager
def report_file(path: Path | None, settings: str, is_read_only: bool = False) -> Iterator[ReportFile | None]:
    """Opens a report for a run; see `ReportFile`. Yields None without a path, or if a report to be
    read does not exist.
    """
    if path is None or (is_read_only and not path.exists()):
        yield None
        return
    with closing(ReportFile(path, settings, is_read_only)) as report:
        yield report


class ReportFile:
    """Report file, .jsonl or .csv, whose rows have the values of `COLUMNS`. Missing values are null
    or empty.

    A row contains the state of its source when it was read, and the settings, so that outdated
    outputs are recognised. Raises ConfigError if the extension is unknown, or the file is not such
    a report, and OutputError if the file cannot be written.
    """

    def __init__(self, path: Path, settings: str, is_read_only: bool = False) -> None:
        self._path = path
        self._is_csv = path.suffix.lower() == ".csv"
        self._settings = settings
        if path.suffix.lower() not in _SUFFIXES:
            msg = f"{path} is not named as a report; name it {' or '.join(_SUFFIXES)}"
            raise ConfigError(msg)
        if path.name == RECORD:  # which is locked for each output
            msg = f"{path} has the name of the record of a folder; name the report differently"
            raise ConfigError(msg)
        if is_stream(path):
            msg = f"{path} is {NOT_A_FILE}, and a report is read before it is added to; name a file"
            raise ConfigError(msg)
        self._is_read_only = is_read_only
        self._latest: dict[int, Origin] = {}  # by hash of the output
        self._written: dict[int, Origin] = {}  # likewise, only rows that wrote the output
        mode = "rb" if is_read_only else "r+b" if path.exists() else "xb"
        with writing(path):
            self._file: IO[bytes] = open(path, mode)
        try:
            self._begin()
        except BaseException:
            self.close()
            raise

    def _begin(self) -> None:
        """Reads the existing rows and finds the position after them."""
        if self._is_read_only:
            self._read()
            return
        _lock(self._file, self._path)
        complete_bytes, is_cut = self._read()
        with writing(self._path):
            self._file.truncate(complete_bytes)  # a killed run may have left an incomplete row
            self._file.seek(complete_bytes)
            if is_cut:
                self._file.write(b"\n")
        if self._is_csv and not complete_bytes:
            self._write(_csv_line(COLUMNS))

    def close(self) -> None:
        """Closes the report."""
        with suppress(OSError):  # of a row that could not be written, already reported
            self._file.close()

    def origin(self, output: Path) -> Origin | None:
        """Returns the origin of an output, from the last row that wrote it."""
        return _with_real_path(self._written.get(hash(str(output))))

    def was_left_out(self, task: Task) -> bool:
        """Indicates whether an output was not written because it would have been larger than this
        source with these settings.
        """
        row = _with_real_path(self._latest.get(hash(str(task.target))))
        return row is not None and row.status == LARGER and row.settings == self._settings and row.is_of(task.source)

    def state(self, source: Path) -> dict[str, Any]:
        """Returns the state on which an output depends: the current version of its source, and the
        settings.
        """
        state: dict[str, Any] = {"source": str(source), "settings": self._settings}
        with suppress(OSError):
            stat = os.stat(source)
            state |= {"source_bytes": stat.st_size, "source_mtime_ns": stat.st_mtime_ns}
        return state

    def add(self, row: dict[str, Any]) -> None:
        """Appends a row."""
        if self._is_read_only:
            return
        values = {name: row.get(name) for name in COLUMNS}
        self._write(_csv_line(list(values.values())) if self._is_csv else json_text(values) + "\n")

    def _write(self, line: str) -> None:
        with writing(self._path):
            self._file.write(line.encode("utf-8", "surrogateescape"))
            self._file.flush()

    def _read(self) -> tuple[int, bool]:
        """Reads the existing rows. Returns the number of bytes of complete rows, and whether the
        last row lacks its line end.
        """
        data = read_file(self._path)
        end = self._end_of_rows(data)
        complete, rest = (part.decode("utf-8", "surrogateescape") for part in (data[:end], data[end:]))
        try:
            is_cut = self._is_row(rest)
            for row in chain(self._rows(complete), self._rows(rest) if is_cut else ()):
                self._take(row)
            if not (is_cut or complete or self._begins_row(rest)):
                raise ValueError
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError, csv.Error) as error:
            msg = f"{self._path} is not a report of an earlier run; name another file"
            raise ConfigError(msg) from error
        return (len(data), True) if is_cut else (end, False)

    def _is_row(self, text: str) -> bool:
        """Indicates whether text without a line end is a complete row, for CSV the header."""
        if self._is_csv:
            return text == _csv_line(COLUMNS).removesuffix("\n")
        try:
            return bool(text) and set(json.loads(text)) == set(COLUMNS)
        except (ValueError, TypeError, RecursionError):
            return False

    def _begins_row(self, text: str) -> bool:
        """Indicates whether text can be the beginning of the first row."""
        if self._is_csv:
            return _csv_line(COLUMNS).startswith(text)
        for number, name in enumerate(COLUMNS):
            start = f'{", " if number else "{"}"{name}": '
            if not text.startswith(start):
                return start.startswith(text)
            value = re.match(_STRING if text[len(start) :].startswith('"') else _VALUE, text[len(start) :])
            text = text[len(start) + (value.end() if value else 0) :]
            if text.startswith('"'):  # end of a string
                text = text[1:]
        return text in ("", "}")

    def _take(self, row: dict[str, Any]) -> None:
        is_written = row["status"] in (DONE, INTERRUPTED, MISSED) or (row["status"] == FAILED and row["output_bytes"])
        if not is_written and row["status"] != LARGER:
            return
        if not isinstance(row["source"], str) or "\0" in row["source"]:
            raise ValueError(row)
        names = "source_bytes", "source_mtime_ns", "output_bytes"
        source_bytes, source_mtime_ns, output_bytes = (int(row[name]) if row[name] else None for name in names)
        settings, digest = sys.intern(row["settings"]), row["output_sha256"] or None  # most rows have the same settings
        of_source = row["source"], source_bytes, source_mtime_ns, None
        taken = Origin(*of_source, settings, output_bytes, digest, status=row["status"])
        self._latest[hash(row["output"])] = taken
        if is_written:
            self._written[hash(row["output"])] = taken

    def _end_of_rows(self, data: bytes) -> int:
        """Returns the number of bytes of complete rows. In CSV, a line end within quotation marks
        is part of a name.
        """
        end = data.rfind(b"\n") + 1
        while self._is_csv and data.count(b'"', 0, end) % 2:
            end = data.rfind(b"\n", 0, end - 1) + 1
        return end

    def _rows(self, text: str) -> Iterator[dict[str, Any]]:
        if not self._is_csv:
            yield from map(json.loads, text.splitlines())
            return
        lines = csv.DictReader(io.StringIO(text, newline=""))
        if text and tuple(lines.fieldnames or ()) != COLUMNS:
            raise ValueError
        yield from lines


def _lock(file: IO[bytes], path: Path) -> None:
    """Locks a report for this run until it is closed, if the system supports locks."""
    try:
        import fcntl
    except ImportError:  # Windows
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        msg = f"another run is writing {path}; give each run a report of its own"
        raise OutputError(msg) from error
    except OSError:  # file system without locks
        return


def _with_real_path(origin: Origin | None) -> Origin | None:
    return None if origin is None else replace(origin, source=os.path.realpath(origin.source))


def _csv_line(values: Any) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(values)  # as Python's csv module quotes them
    return line.getvalue().removesuffix("\r\n") + "\n"
