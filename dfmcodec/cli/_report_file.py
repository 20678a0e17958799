"""Report file of a run: an append-only list of results, with a row for each file."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from dfmcodec.cli._common import json_text
from dfmcodec.errors import ConfigError, OutputError
from dfmcodec.files.atomic import NOT_A_FILE, is_stream, unwritable_message

COLUMNS = (
    *("source", "output", "status", "source_bytes", "output_bytes"),
    *("psnr_db", "ssimulacra2", "total_s", "error"),
)
_SUFFIXES = (".jsonl", ".csv")


class ReportFile:
    """Report file, .jsonl or .csv, whose rows have the values of `COLUMNS`. Missing values are null
    or empty. Several runs may append to one report.
    """

    def __init__(self, path: Path, file: io.FileIO) -> None:
        self._path = path
        self._file = file
        self._is_csv = path.suffix.lower() == ".csv"
        header = _csv_line(COLUMNS).encode()
        with _writing(path):
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            if self._is_csv and size and file.readline().rstrip(b"\r\n") != header.rstrip(b"\n"):
                msg = f"{path} has other columns than a report; name another file"
                raise ConfigError(msg)
            if size:
                file.seek(size - 1)
            if size and file.read(1) != b"\n":  # a full disk cut the last row
                file.write(b"\n")
            elif self._is_csv and not size:
                file.write(header)

    def add(self, row: dict[str, Any]) -> None:
        """Appends a row."""
        values = {name: row.get(name) for name in COLUMNS}
        line = _csv_line(values.values()) if self._is_csv else json_text(values) + "\n"
        with _writing(self._path):
            self._file.write(line.encode("utf-8", "surrogateescape"))


@contextmanager
def report_file(path: Path | None) -> Iterator[ReportFile | None]:
    """Opens a report to append rows; None without a path. Raises ConfigError if the extension is
    unknown or a CSV file has other columns, and OutputError if the file cannot be written.
    """
    if path is None:
        yield None
        return
    if path.suffix.lower() not in _SUFFIXES:
        msg = f"{path} is not named as a report; name it {' or '.join(_SUFFIXES)}"
        raise ConfigError(msg)
    if is_stream(path):
        msg = f"{path} is {NOT_A_FILE}; name a file for the report"
        raise ConfigError(msg)
    with _writing(path):
        file = path.open("a+b", buffering=0)  # each row is one write, at the end
    try:
        yield ReportFile(path, file)
    finally:
        with suppress(OSError):  # of a row that could not be written, already reported
            file.close()


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Converts errors of the operating system while a report is opened or written."""
    try:
        yield
    except OSError as error:
        raise OutputError(unwritable_message(str(path), error)) from error


def _csv_line(values: Any) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(values)  # as Python's csv module quotes them
    return line.getvalue().removesuffix("\r\n") + "\n"
