"""Command `dfm verify`."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import click

from dfmcodec.cli import _options
from dfmcodec.cli._common import STANDARD, decode_file, display_name, echo, read_source
from dfmcodec.cli._failure import failure_of
from dfmcodec.cli._inputs import DfmFiles, listed_names
from dfmcodec.cli._progress import FilesBar
from dfmcodec.errors import BadMagicError, ConfigError, CorruptError, DfmError, TruncatedError
from dfmcodec.processes import run_jobs

# Errors that indicate damage. Files with any other error count as not checked.
_DAMAGE_ERRORS = BadMagicError, CorruptError, TruncatedError
_INTACT, _DAMAGED, _UNCHECKED = "intact", "damaged", "not checked"


@click.command("verify")
@_options.optional_sources
@_options.files_from
@_options.recursive
@_options.processes
@_options.max_pixels
@_options.json
@_options.quiet
def command(
    sources: tuple[Path, ...],
    recursive: bool,
    processes: int,
    max_pixels: int,
    as_json: bool,
    quiet: bool,
    files_from: Path | None,
) -> None:
    """Check that .dfm files are intact by decoding them. Nothing is written.

    \b
    dfm verify photo.dfm
    dfm verify -r archive/ -j 2
    find archive -name '*.dfm' -size +1M | dfm verify --files-from -
    cat photo.dfm | dfm verify -

    The result of each file is a line on standard output; with --quiet only damaged files have one.
    Files that could not be checked are named on standard error. The exit code is 0 if all files are
    intact. It is 3 if a single file is damaged, and 5 if some of several files are.
    """
    sources = _with_listed(sources, files_from)
    files = DfmFiles(sources, recursive)
    at_once = 1 if STANDARD in sources else processes  # other processes cannot read standard input
    paths = list(files)
    run = _Run(FilesBar(len(paths), not quiet), as_json, quiet)
    try:
        run_jobs(partial(_verify, max_pixels), paths, at_once, run.take)
    finally:
        run.bar.close()
    files.report_others(quiet)
    if not quiet and len(run.codes) > 1:
        unchecked = f", {run.counts[_UNCHECKED]} not checked" if run.counts[_UNCHECKED] else ""
        echo(f"{run.counts[_INTACT]} intact, {run.counts[_DAMAGED]} damaged{unchecked}", err=as_json)
    files.end(run.codes)


def _with_listed(sources: tuple[Path, ...], files_from: Path | None) -> tuple[Path, ...]:
    """Returns the sources, followed by those of a list."""
    if files_from is None:
        if not sources:
            msg = "name a file or a folder"
            raise ConfigError(msg)
        return sources
    if files_from == STANDARD and STANDARD in sources:
        msg = "standard input (-) is the list of files; it cannot be one of the files too"
        raise ConfigError(msg)
    listed = tuple(map(Path, listed_names(files_from)))
    if not listed:
        msg = f"the list of files is empty: {display_name(files_from)}; write the name of a file on each line"
        raise DfmError(msg)
    return *sources, *listed


@dataclass
class _Run:
    """State of a run over several files."""

    bar: FilesBar
    as_json: bool
    quiet: bool
    codes: list[int] = field(default_factory=list)  # exit codes of the files; 0 if intact
    counts: Counter[str] = field(default_factory=Counter)

    def take(self, path: Path, checked: dict[str, Any] | None) -> list[Path]:
        """Counts a file and prints its report; None means that the process died."""
        report = _report_of_failure(path, MemoryError()) if checked is None else checked
        self.codes.append(report.get("exit_code", 0))
        name = display_name(path)
        self.counts[_INTACT if "error" not in report else _DAMAGED if report["damaged"] else _UNCHECKED] += 1
        if self.as_json:
            self.bar.echo_json(report)
        elif "error" not in report:
            if not self.quiet:
                size = f"{report['width']}x{report['height']}, {report['file_bytes']} bytes"
                self.bar.echo(f"{name}: intact, {size}")
        elif report["damaged"]:  # a result of the check, not an error of the command
            self.bar.echo(f"{name}: damaged: {report['error']}")
        else:
            self.bar.notify(f"{name}: {report['error']}")
        self.bar.done()
        return []


def _verify(max_pixels: int, path: Path) -> dict[str, Any]:
    """Decodes a file and returns a report of plain values."""
    try:
        data = read_source(path)
        image = decode_file(data, max_pixels)
    except Exception as error:  # any error concerns only this file
        return _report_of_failure(path, error)
    return {"source": str(path), "file_bytes": len(data), "width": image.width, "height": image.height}


def _report_of_failure(path: Path, error: Exception) -> dict[str, Any]:
    failure = failure_of(error)
    return {
        "source": str(path),
        "error": failure.message,
        **failure.as_dict(),
        "damaged": isinstance(error, _DAMAGE_ERRORS),
    }
