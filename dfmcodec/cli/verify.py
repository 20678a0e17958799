"""`dfm verify`."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click

from dfmcodec.cli._batch import SOME_FAILED
from dfmcodec.cli._common import (
    display_name,
    json_option,
    json_text,
    max_pixels_option,
    prior_option,
    processes_option,
    quiet_option,
    read_generator,
    read_source,
    recursive_option,
    sources_argument,
)
from dfmcodec.cli._inputs import Unusable, check_standard_input, files_of_folders
from dfmcodec.cli._progress import FilesBar
from dfmcodec.errors import (
    NO_MEMORY,
    OUT_OF_MEMORY,
    BadMagicError,
    CorruptError,
    DfmError,
    TruncatedError,
)

# Errors that show damage. After any other error, the file counts as not checked.
_DAMAGE_ERRORS = BadMagicError, CorruptError, TruncatedError
_WHOLE, _DAMAGED, _UNCHECKED = "whole", "damaged", "not checked"


@click.command("verify")
@sources_argument
@recursive_option
@processes_option
@prior_option
@max_pixels_option
@json_option
@quiet_option
def command(
    sources: tuple[Path, ...],
    recursive: bool,
    processes: int,
    prior: Path | None,
    max_pixels: int,
    as_json: bool,
    quiet: bool,
) -> None:
    """Check that .dfm files are intact by decoding them. Nothing is written.

    \b
    dfm verify photo.dfm
    dfm verify -r archive/ -j 2
    cat photo.dfm | dfm verify -

    The exit code is 0 if all files are intact, 3 if the one file given is not, and 5 if some of
    several are not.
    """
    from dfmcodec.processes import run_jobs

    check_standard_input(sources)
    read_generator(prior)  # report a bad model once, not for each file
    unusable: list[Unusable] = []
    run = _Run(FilesBar(lambda: sum(1 for _ in _dfm_files(sources, recursive, [])), not quiet), as_json, quiet)
    try:
        verify = partial(_verify, max_pixels, prior)
        run_jobs(verify, _dfm_files(sources, recursive, unusable), processes, run.take)
    finally:
        run.bar.close()
    for folder in unusable:
        click.echo(f"dfm: {folder.error}", err=True)
    files = run.counts.total()
    if not quiet and files != 1:
        unchecked = f", {run.counts[_UNCHECKED]} not checked" if run.counts[_UNCHECKED] else ""
        click.echo(f"{run.counts[_WHOLE]} whole, {run.counts[_DAMAGED]} damaged{unchecked}", err=as_json)
    if not files and not unusable:
        click.echo("dfm: error: there are no .dfm files here (-r looks into subfolders)", err=True)
        sys.exit(1)
    if unusable or files > run.counts[_WHOLE]:
        sys.exit(run.first_code if files == 1 and not unusable else SOME_FAILED)


def _dfm_files(sources: Sequence[Path], recursive: bool, unusable: list[Unusable]) -> Iterator[Path]:
    """Yields the sources that are files, and the .dfm files of those that are folders."""
    for source in sources:
        if source.is_dir():
            for paths in files_of_folders(source, recursive, unusable.append):
                yield from (path for path in paths if path.suffix.lower() == ".dfm")
        else:
            yield source


@dataclass
class _Run:
    """The files of a run so far.

    Args:
        bar: How far it is.
        as_json: Whether reports are printed as JSON.
        quiet: Whether only failures are printed.
        first_code: The exit code of the first file that is not whole.
    """

    bar: FilesBar
    as_json: bool
    quiet: bool
    first_code: int = 0

    def __post_init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def take(self, path: Path, report: dict[str, Any] | None) -> list[Path]:
        """Counts and prints the report on a file; None if the process died of it."""
        report = report or _failure(path, MemoryError(), NO_MEMORY, OUT_OF_MEMORY, False)
        state = _WHOLE
        if "error" in report:
            state = _DAMAGED if report["damaged"] else _UNCHECKED
            self.first_code = self.first_code or report["code"]
        self.counts[state] += 1
        if self.as_json:
            self.bar.echo(json_text(report))
        elif "error" in report:
            self.bar.echo(f"dfm: {report['file']}: {report['error']}", err=True)
        elif not self.quiet:
            self.bar.echo(f"{report['file']}: whole, {report['width']}x{report['height']}, {report['bytes']} bytes")
        self.bar.done()
        return []


def _verify(max_pixels: int, prior: Path | None, path: Path) -> dict[str, Any]:
    """The report on a file, as plain values."""
    from dfmcodec.decoder import decode_image

    try:
        data = read_source(path)
        image = decode_image(data, max_pixels=max_pixels, generator=read_generator(prior))
    except DfmError as error:
        return _failure(path, error, str(error), error.exit_code, isinstance(error, _DAMAGE_ERRORS))
    except MemoryError as error:
        return _failure(path, error, NO_MEMORY, OUT_OF_MEMORY, False)
    return {"file": display_name(path), "bytes": len(data), "width": image.width, "height": image.height}


def _failure(path: Path, error: Exception, message: str, code: int, is_damaged: bool) -> dict[str, Any]:
    return {
        "file": display_name(path),
        "error": message,
        "kind": type(error).__name__,
        "code": code,
        "damaged": is_damaged,
    }
