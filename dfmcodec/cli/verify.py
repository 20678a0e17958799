"""`dfm verify`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dfmcodec.cli._batch import SOME_FAILED, files_below
from dfmcodec.cli._common import (
    echo_json,
    json_option,
    max_pixels_option,
    prior_option,
    quiet_option,
    read_generator,
    recursive_option,
    sources_argument,
)
from dfmcodec.errors import NO_MEMORY, OUT_OF_MEMORY, BadMagicError, CorruptError, DfmError, TruncatedError

if TYPE_CHECKING:
    from dfmcodec.generative.model import GenerativeModel

# Errors that show damage. After any other error, the file counts as not checked.
_DAMAGE_ERRORS = BadMagicError, CorruptError, TruncatedError


@click.command("verify")
@sources_argument
@recursive_option
@prior_option
@max_pixels_option
@json_option
@quiet_option
def command(
    sources: tuple[Path, ...], recursive: bool, prior: Path | None, max_pixels: int, as_json: bool, quiet: bool
) -> None:
    """Check that .dfm files are intact by decoding them. Nothing is written.

    \b
    dfm verify photo.dfm
    dfm verify -r archive/

    The exit code is 0 if all files are intact, 3 if the one file given is not, and 5 if some of
    several are not.
    """
    failures: list[str] = []
    paths = list(_dfm_files(sources, recursive, failures))
    generator = read_generator(prior)
    reports = [_verify(path, max_pixels, generator) for path in paths]
    bad = [report for report in reports if "error" in report]
    whole, damaged = len(reports) - len(bad), sum(report["damaged"] for report in bad)
    unchecked = len(bad) - damaged
    for failure in failures:
        click.echo(f"dfm: {failure}", err=True)
    if as_json:
        echo_json(
            {"files": reports, "whole": whole, "damaged": damaged, "unchecked": unchecked, "unreadable": failures}
        )
    else:
        _echo_reports(reports, quiet)
        if not quiet and len(reports) != 1:
            click.echo(f"{whole} whole, {damaged} damaged" + (f", {unchecked} not checked" if unchecked else ""))
    if bad or failures:
        sys.exit(bad[0]["code"] if len(reports) == 1 and not failures else SOME_FAILED)


def _dfm_files(sources: tuple[Path, ...], recursive: bool, failures: list[str]) -> Iterator[Path]:
    """Yields the sources that are files, and the .dfm files of those that are folders."""
    for source in sources:
        if source.is_dir():
            yield from (path for path in files_below(source, recursive, failures) if path.suffix.lower() == ".dfm")
        else:
            yield source


def _echo_reports(reports: list[dict[str, Any]], quiet: bool) -> None:
    for report in reports:
        if "error" in report:
            click.echo(f"dfm: {report['file']}: {report['error']}", err=True)
        elif not quiet:
            click.echo(f"{report['file']}: whole, {report['width']}x{report['height']}, {report['bytes']} bytes")


def _verify(path: Path, max_pixels: int, generator: GenerativeModel | None) -> dict[str, Any]:
    """The report on a file, as plain values."""
    from dfmcodec.decoder import decode_image
    from dfmcodec.files.atomic import read_file

    try:
        data = read_file(path)
        image = decode_image(data, max_pixels=max_pixels, generator=generator)
    except DfmError as error:
        return _failure(path, error, str(error), error.exit_code, isinstance(error, _DAMAGE_ERRORS))
    except MemoryError as error:
        return _failure(path, error, NO_MEMORY, OUT_OF_MEMORY, False)
    return {"file": str(path), "bytes": len(data), "width": image.width, "height": image.height}


def _failure(path: Path, error: Exception, message: str, code: int, is_damaged: bool) -> dict[str, Any]:
    return {"file": str(path), "error": message, "kind": type(error).__name__, "code": code, "damaged": is_damaged}
