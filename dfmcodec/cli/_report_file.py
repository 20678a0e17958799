"""The report of a run of files: a row for each, appended as the run goes on, by which a later run
knows what it need not do again.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from dfmcodec.cli._common import json_text
from dfmcodec.cli._inputs import Task
from dfmcodec.errors import ConfigError, DfmError, OutputError
from dfmcodec.files.atomic import NOT_A_FILE, is_stream, unwritable_message

COLUMNS = (
    "source",
    "output",
    "status",
    "bytes_before",
    "bytes_after",
    "psnr_db",
    "seconds",
    "error",
    "source_bytes",
    "source_mtime_ns",
    "settings",
)
DONE, LARGER, FAILED, INTERRUPTED = "done", "larger", "failed", "interrupted"  # values of "status"
_SUFFIXES = (".jsonl", ".csv")
_STATE = ("source", "source_bytes", "source_mtime_ns", "settings")  # what an output depends on


@contextmanager
def report_file(path: Path | None, settings: str) -> Iterator[ReportFile | None]:
    """Opens a report for a run; None without a path. See `ReportFile`."""
    if path is None:
        yield None
        return
    report = ReportFile(path, settings)
    try:
        yield report
    finally:
        report.close()


class ReportFile:
    """A .jsonl or .csv file of rows with the values of `COLUMNS`; those without a value are null,
    or empty.

    A row has the state of its source when it was read, and the settings, so that an output of
    another state is known to be out of date.

    Args:
        path: The file. Rows are added to those that are there.
        settings: The settings of this run, as one text.

    Raises:
        ConfigError: The extension is unknown, or the file is not such a report.
        OutputError: It cannot be written.
    """

    def __init__(self, path: Path, settings: str) -> None:
        self._path = path
        self._is_csv = path.suffix.lower() == ".csv"
        self._settings = settings
        if path.suffix.lower() not in _SUFFIXES:
            msg = f"{path} has the extension of no report; name it {' or '.join(_SUFFIXES)}"
            raise ConfigError(msg)
        if is_stream(path):
            msg = f"{path} is {NOT_A_FILE}, and a report is read before it is added to; name a file"
            raise ConfigError(msg)
        self._states: dict[int, int] = {}  # of what was done, by output: both as hashes
        self._left_out: set[int] = set()  # outputs that were larger than their sources
        try:
            self._file: BinaryIO = open(path, "r+b" if path.exists() else "xb")
        except OSError as error:
            raise OutputError(unwritable_message(str(path), error)) from error
        try:
            self._begin()
        except BaseException:
            self.close()
            raise

    def _begin(self) -> None:
        """Takes the states of the rows that are there, and the place after them."""
        _lock(self._file, self._path)
        whole_bytes = self._read()
        try:
            self._file.truncate(whole_bytes)  # a run that was killed may have left a part of a row
            self._file.seek(whole_bytes)
        except OSError as error:
            raise OutputError(unwritable_message(str(self._path), error)) from error
        if self._is_csv and not whole_bytes:
            self._write(_csv_line(COLUMNS))

    def close(self) -> None:
        """Ends the report."""
        with suppress(OSError):  # of a row that could not be written, which was told
            self._file.close()

    def knows(self, task: Task) -> bool:
        """Whether a row says that the output of a task was made."""
        return hash(str(task.target)) in self._states

    def was_left_out(self, task: Task) -> bool:
        """Whether there is no output as it would have been larger than this source with these
        settings.
        """
        return hash(str(task.target)) in self._left_out and self.is_current(task)

    def is_current(self, task: Task) -> bool:
        """Whether the output of a task was made of this source with these settings."""
        return self._states.get(hash(str(task.target))) == _state_hash(self.state(task.source))

    def state(self, source: Path) -> dict[str, Any]:
        """What an output depends on: its source as it is now, and the settings."""
        try:
            stat = os.stat(source)
        except OSError:
            return {"source": str(source), "settings": self._settings}
        return {
            "source": str(source),
            "source_bytes": stat.st_size,
            "source_mtime_ns": stat.st_mtime_ns,
            "settings": self._settings,
        }

    def add(self, row: dict[str, Any]) -> None:
        """Appends a row.

        Raises:
            OutputError: It cannot be written.
        """
        whole = {name: row.get(name) for name in COLUMNS}
        self._write(_csv_line(list(whole.values())) if self._is_csv else json_text(whole) + "\n")

    def _write(self, line: str) -> None:
        try:
            self._file.write(line.encode("utf-8", "surrogateescape"))
            self._file.flush()
        except OSError as error:
            raise OutputError(unwritable_message(str(self._path), error)) from error

    def _read(self) -> int:
        """Takes the states of the rows that are there.

        Returns:
            The bytes of whole rows.
        """
        try:
            data = self._path.read_bytes()
        except OSError as error:
            msg = f"cannot read {self._path}: {error.strerror}"
            raise DfmError(msg) from error
        whole = data[: self._end_of_rows(data)]
        start = (_csv_line(COLUMNS) if self._is_csv else json_text({COLUMNS[0]: ""})[:-2]).encode()
        try:
            if not whole and not (data.startswith(start) or start.startswith(data)):  # no row that was cut off
                raise ValueError
            for row in self._rows(whole.decode("utf-8", "surrogateescape")):
                key = hash(row["output"])
                self._left_out.discard(key)
                if row["status"] in (DONE, LARGER):
                    self._states[key] = _state_hash(row)
                elif row["status"] == INTERRUPTED or row["bytes_after"]:  # failed, with what could be made out
                    self._states[key] = 0  # to be done again
                if row["status"] == LARGER:
                    self._left_out.add(key)
        except (ValueError, KeyError, TypeError, csv.Error) as error:
            msg = f"{self._path} is not a report of an earlier run; name another file"
            raise ConfigError(msg) from error
        return len(whole)

    def _end_of_rows(self, data: bytes) -> int:
        """The bytes of whole rows. In CSV a line end within quotation marks is part of a name."""
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


def _lock(file: BinaryIO, path: Path) -> None:
    """Keeps a report for this run until it is closed, where the system can do so.

    Raises:
        OutputError: Another run has it.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        msg = f"another run writes {path}; give each run a report of its own"
        raise OutputError(msg) from error
    except OSError:  # a file system without locks
        return


def _state_hash(row: dict[str, Any]) -> int:
    return hash(tuple(str(row.get(name)) for name in _STATE))


def _csv_line(values: Any) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(values)  # which it quotes in values, each of the two
    return line.getvalue().removesuffix("\r\n") + "\n"
