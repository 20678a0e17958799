"""Shared parts of the commands: input, output and messages."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from math import isfinite
from pathlib import Path
from threading import Timer
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from dfmcodec.errors import DfmError, FormatError, OutputError
from dfmcodec.files.atomic import check_writable, is_stream, read_file, write_atomic
from dfmcodec.files.names import printable

if TYPE_CHECKING:
    from dfmcodec.image import Image
    from dfmcodec.image.source import Source

STANDARD = Path("-")  # standard input or output
_WAIT_S = 2.0  # time to wait silently for the other end of a pipe


def read_source(source: Path) -> bytes:
    """Reads the bytes of a file or of standard input."""
    if source == STANDARD:
        return standard_input().read()
    with _report_waiting(source):
        return read_file(source)


def image_source(path: Path) -> Source:
    """Opens an image file or standard input. A file on disk is not read yet. Raises DfmError if the
    file cannot be opened, and ImageError if the source is a pipe, and its contents are not an image
    or too long.
    """
    from dfmcodec.image.source import Source

    if path == STANDARD:
        return Source.from_stream(standard_input(), display_name(path))
    with _report_waiting(path):
        return Source.from_path(path)


@contextmanager
def _report_waiting(path: Path) -> Iterator[None]:
    """Prints a message if the command waits long for the other end of a pipe."""
    if not is_stream(path):
        yield
        return
    notice = Timer(_WAIT_S, echo, [f"dfm: waiting for the program at the other end of {path}"], {"err": True})
    notice.daemon = True
    notice.start()
    try:
        yield
    finally:
        notice.cancel()


def standard_input() -> BinaryIO:
    """Returns standard input as a binary file."""
    if sys.stdin is None:
        msg = "standard input is closed; name a file"
        raise DfmError(msg)
    return sys.stdin.buffer


def decode_file(data: bytes, max_pixels: int) -> Image:
    """Decodes a file within the limits of a command. Raises FormatError if the file is not
    readable.
    """
    from dfmcodec.codecs.decode import DecodeRequest, decode_image

    return decode_image(data, DecodeRequest(max_pixels=max_pixels))


def display_name(source: Path) -> str:
    """Returns the name of an input for messages."""
    return "standard input" if source == STANDARD else str(source)


@contextmanager
def errors_named(name: str) -> Iterator[None]:
    """Adds the name of a file, from `display_name`, to the front of error messages."""
    try:
        yield
    except FormatError as error:
        raise type(error)(f"{name}: {error}") from error  # noqa: EM102


def output_name(output: Path) -> str:
    """Returns the name of an output for messages."""
    return "standard output" if output == STANDARD else str(output)


def make_folder(folder: Path) -> None:
    """Creates a folder and its parents if they do not exist."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        msg = f"cannot make the folder {folder}: {error.strerror or error}; name another one"
        raise OutputError(msg) from error


def check_output(output: Path, force: bool) -> None:
    """Raises an error, before any work, for an output that cannot be written or must not be
    overwritten.
    """
    if output != STANDARD:
        check_writable(output, force)
    elif sys.stdout is None:
        msg = "standard output is closed; name a file"
        raise OutputError(msg)
    elif sys.stdout.isatty():
        msg = "standard output is a terminal; redirect it to a file or a program"
        raise OutputError(msg)


def write_output(output: Path, data: bytes, force: bool = True, follow: bool = True) -> None:
    """Writes to a file or to standard output. Without `force`, a file that was created after
    `check_output` stays. Without `follow`, the output must not be a link, a device or a pipe.
    """
    if output == STANDARD:
        rest = memoryview(data)
        while rest:  # unbuffered streams (PYTHONUNBUFFERED) may write only a part
            rest = rest[sys.stdout.buffer.write(rest) :]
        sys.stdout.buffer.flush()
    else:
        with _report_waiting(output):
            write_atomic(output, data, force, follow)


def echo(line: str, err: bool = False) -> None:
    """Prints one line of text to stdout or stderr. Control characters and line ends, for example in
    file names, are escaped, so that they cannot add lines or control the terminal.
    """
    click.echo(printable(line), err=err)


def notify(notice: str, quiet: bool = False) -> None:
    """Prints a notice to stderr."""
    if not quiet:
        echo(f"dfm: {notice}", err=True)


def echo_json(report: dict[str, Any], err: bool = False) -> None:
    """Prints one JSON object to stdout, or to stderr if stdout carries the output."""
    click.echo(json_text(report), err=err)


def json_text(report: dict[str, Any]) -> str:
    """Formats one line of JSON. Infinite numbers and NaN, which JSON lacks, become null."""
    return json.dumps(_finite(report), allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def counted(number: int, noun: str) -> str:
    """Returns a number and its noun: 1 shard, 2 shards."""
    return f"{number:,} {noun}{'s' * (number != 1)}"
