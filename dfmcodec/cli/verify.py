"""Command `dfm verify`."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click

from dfmcodec.cli._batch import SOME_FAILED
from dfmcodec.cli._common import (
    STANDARD,
    FileList,
    display_name,
    echo,
    file_list,
    files_from_option,
    generator_option,
    json_option,
    json_text,
    limit_of_multiply_adds,
    max_pixels_option,
    optional_sources_argument,
    processes_option,
    quiet_option,
    read_generator,
    read_source,
    recursive_option,
)
from dfmcodec.cli._failure import failure_of
from dfmcodec.cli._inputs import Unusable, check_standard_input, dfm_files, listed_names, special_files
from dfmcodec.cli._progress import FilesBar
from dfmcodec.errors import BadMagicError, ConfigError, CorruptError, DfmError, TruncatedError
from dfmcodec.files.names import printable

# Errors that indicate damage. Files with any other error count as not checked.
_DAMAGE_ERRORS = BadMagicError, CorruptError, TruncatedError
_INTACT, _DAMAGED, _UNCHECKED = "intact", "damaged", "not checked"


@click.command("verify")
@optional_sources_argument
@files_from_option
@recursive_option
@processes_option
@generator_option
@max_pixels_option
@limit_of_multiply_adds(1 << 34)  # a few seconds; this command is often used on folders of untrusted files
@json_option
@quiet_option
def command(
    sources: tuple[Path, ...],
    recursive: bool,
    processes: int,
    generator: Path | None,
    max_pixels: int,
    max_multiply_adds: int,
    as_json: bool,
    quiet: bool,
    **lists: Path | None,
) -> None:
    """Check that .dfm files are intact by decoding them. Nothing is written.

    \b
    dfm verify photo.dfm
    dfm verify -r archive/ -j 2
    find archive -name '*.dfm' -size +1M -print0 | dfm verify --files0-from -
    cat photo.dfm | dfm verify -

    The exit code is 0 if all files are intact. It is 3 if a single file is damaged, and 5 if some
    of several files are.
    """
    from dfmcodec.processes import run_jobs

    sources = _with_listed(sources, file_list(lists))
    check_standard_input(sources)
    read_generator(generator)  # report an invalid model once, not for each file
    unusable: list[Unusable] = []
    special = special_files()
    count = partial(dfm_files, sources, recursive, lambda unusable: None, lambda special: None)
    run = _Run(FilesBar(lambda: sum(1 for _ in count()), not quiet), as_json, quiet)
    try:
        at_once = 1 if STANDARD in sources else processes  # other processes cannot read standard input
        verify = partial(_verify, max_pixels, max_multiply_adds, generator)
        run_jobs(verify, dfm_files(sources, recursive, unusable.append, special.add), at_once, run.take)
    finally:
        run.bar.close()
    for folder in unusable:
        echo(f"dfm: {folder.error}", err=True)
    if special.count and not quiet:
        echo(f"dfm: {special.notice()}", err=True)
    files = run.counts.total()
    if not quiet and files != 1:
        unchecked = f", {run.counts[_UNCHECKED]} not checked" if run.counts[_UNCHECKED] else ""
        echo(f"{run.counts[_INTACT]} intact, {run.counts[_DAMAGED]} damaged{unchecked}", err=as_json)
    if not files and not unusable:
        echo("dfm: error: there are no .dfm files here (-r looks into subfolders)", err=True)
        sys.exit(1)
    if unusable or files > run.counts[_INTACT]:
        sys.exit(run.first_code if files == 1 and not unusable else SOME_FAILED)


def _with_listed(sources: tuple[Path, ...], files_from: FileList | None) -> tuple[Path, ...]:
    """Returns the sources, followed by those of a list.

    Raises:
        ConfigError: There is neither a source nor a list, or standard input is used for both.
        DfmError: The list cannot be read, or is empty.
    """
    if files_from is None:
        if not sources:
            msg = "name a file or a folder"
            raise ConfigError(msg)
        return sources
    if files_from.path == STANDARD and STANDARD in sources:
        msg = "standard input (-) is the list of files; it cannot be one of the files too"
        raise ConfigError(msg)
    listed = tuple(map(Path, listed_names(files_from)))
    if not listed:
        msg = f"the list of files is empty: {display_name(files_from.path)}; write the name of a file on each line"
        raise DfmError(msg)
    return *sources, *listed


@dataclass
class _Run:
    """State of a run over several files.

    Args:
        bar: The progress bar.
        as_json: Whether to print reports as JSON.
        quiet: Whether to print only failures.
        first_code: The exit code of the first file that is not intact.
    """

    bar: FilesBar
    as_json: bool
    quiet: bool
    first_code: int = 0

    def __post_init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def take(self, path: Path, report: dict[str, Any] | None) -> list[Path]:
        """Counts a file and prints its report; None means that the process died."""
        report = report or _report_of_failure(path, MemoryError())
        state = _INTACT
        if "error" in report:
            state = _DAMAGED if report["damaged"] else _UNCHECKED
            self.first_code = self.first_code or report["code"]
        self.counts[state] += 1
        if self.as_json:
            self.bar.echo(json_text(report))
        elif "error" in report:
            self.bar.echo(printable(f"dfm: {report['file']}: {report['error']}"), err=True)
        elif not self.quiet:
            size = f"{report['width']}x{report['height']}, {report['bytes']} bytes"
            self.bar.echo(printable(f"{report['file']}: intact, {size}"))
        self.bar.done()
        return []


def _verify(max_pixels: int, max_multiply_adds: int, generator: Path | None, path: Path) -> dict[str, Any]:
    """Decodes a file and returns a report of plain values."""
    from dfmcodec.codecs.decode import DecodeRequest, decode_image

    try:
        data = read_source(path)
        image = decode_image(
            data,
            DecodeRequest(
                max_pixels=max_pixels, generator=read_generator(generator), max_multiply_adds=max_multiply_adds
            ),
        )
    except Exception as error:  # any error concerns only this file
        return _report_of_failure(path, error)
    return {"file": display_name(path), "bytes": len(data), "width": image.width, "height": image.height}


def _report_of_failure(path: Path, error: Exception) -> dict[str, Any]:
    failure = failure_of(error)
    return {
        "file": display_name(path),
        "error": failure.message,
        "kind": failure.kind,
        "code": failure.exit_code,
        "damaged": isinstance(error, _DAMAGE_ERRORS),
    }
