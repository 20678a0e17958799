"""`dfm verify`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dfmcodec.cli._batch import SOME_FAILED, files_below
from dfmcodec.cli._common import (
    echo_json,
    generator_of,
    json_option,
    max_pixels_option,
    prior_option,
    quiet_option,
    recursive_option,
    sources_argument,
)
from dfmcodec.errors import NO_MEMORY, OUT_OF_MEMORY, BadMagicError, CorruptError, DfmError, TruncatedError

if TYPE_CHECKING:
    from dfmcodec.generative.model import GenerativeModel

_DAMAGED = BadMagicError, CorruptError, TruncatedError  # others could not be checked


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
    """Check that .dfm files are whole, by decoding them. Writes nothing.

    \b
    dfm verify photo.dfm
    dfm verify -r archive/

    Exit code 0 when all are whole, 3 when the one file given is not, 5 when some of several are not.
    """
    failures: list[str] = []
    paths = [
        path
        for source in sources
        for path in (
            (p for p in files_below(source, recursive, failures) if p.suffix.lower() == ".dfm")
            if source.is_dir()
            else [source]
        )
    ]
    generator = generator_of(prior)
    reports = [_verified(path, max_pixels, generator) for path in paths]
    bad = [report for report in reports if "error" in report]
    whole, damaged = len(reports) - len(bad), sum(report["damaged"] for report in bad)
    unchecked = len(bad) - damaged
    for failure in failures:
        click.echo(f"dfm: {failure}", err=True)
    if as_json:
        echo_json(
            {"files": reports, "whole": whole, "damaged": damaged, "unchecked": unchecked, "unreadable": failures}
        )
    for report in [] if as_json else reports:
        if "error" in report:
            click.echo(f"dfm: {report['file']}: {report['error']}", err=True)
        elif not quiet:
            click.echo(f"{report['file']}: whole, {report['width']}x{report['height']}, {report['bytes']} bytes")
    if not quiet and not as_json and len(reports) != 1:
        click.echo(f"{whole} whole, {damaged} damaged" + (f", {unchecked} not checked" if unchecked else ""))
    if bad or failures:
        sys.exit(bad[0]["code"] if len(reports) == 1 and not failures else SOME_FAILED)


def _verified(path: Path, max_pixels: int, generator: GenerativeModel | None) -> dict[str, Any]:
    """What is found out about a file, as plain values."""
    from dfmcodec.decoder import decode_image
    from dfmcodec.io import read_file

    try:
        data = read_file(path)
        image = decode_image(data, max_pixels=max_pixels, generator=generator)
    except DfmError as error:
        return _failure(path, error, str(error), error.exit_code, isinstance(error, _DAMAGED))
    except MemoryError as error:
        return _failure(path, error, NO_MEMORY, OUT_OF_MEMORY, False)
    return {"file": str(path), "bytes": len(data), "width": image.width, "height": image.height}


def _failure(path: Path, error: Exception, message: str, code: int, is_damaged: bool) -> dict[str, Any]:
    return {"file": str(path), "error": message, "kind": type(error).__name__, "code": code, "damaged": is_damaged}
