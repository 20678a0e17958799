"""What the commands share: options, input and output, and reports."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from dfmcodec.errors import ConfigError

if TYPE_CHECKING:
    from dfmcodec.bitstream.contents import Architecture
    from dfmcodec.generative.model import GenerativeModel

F = TypeVar("F", bound=Callable[..., Any])

STANDARD = Path("-")  # standard input or output

input_argument = click.argument("source", metavar="FILE", type=click.Path(path_type=Path))
json_option = click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
force_option = click.option("-f", "--force", is_flag=True, help="Overwrite existing outputs.")
sources_argument = click.argument(
    "sources", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
folder_option = click.option(
    "-O",
    "--output-folder",
    "folder",
    type=click.Path(path_type=Path),
    help="Write the outputs to this folder, in the same subfolders as the inputs.",
)
recursive_option = click.option("-r", "--recursive", is_flag=True, help="Process subfolders too.")
processes_option = click.option(
    "-j",
    "--jobs",
    "processes",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Process this many files at a time.",
)
max_pixels_option = click.option(
    "--max-pixels",
    type=click.IntRange(1),
    default=89_478_485,  # image.MAX_PIXELS, repeated here because that module imports NumPy
    show_default=True,
    help="Refuse images with more pixels before allocating memory for them.",
)
prior_option = click.option(
    "--prior",
    metavar="MODEL",
    type=click.Path(path_type=Path),
    help="Generative model (.dfmg file, see dfm generate) under which the images are coded.",
)
quiet_option = click.option("-q", "--quiet", is_flag=True, help="Print errors only.")


def output_option(what: str) -> Callable[[F], F]:
    """The option -o with its help text."""
    return click.option("-o", "--output", type=click.Path(path_type=Path), help=what)


def derived_output(source: Path, suffix: str) -> Path:
    """The path next to the input with another extension.

    Raises:
        ConfigError: The input is a folder.
    """
    if source.is_dir():
        msg = f"{source} is a folder; name a file"
        raise ConfigError(msg)
    return source.with_suffix(suffix)


def read_source(source: Path) -> bytes:
    """The bytes of a file or of standard input.

    Raises:
        DfmError: It cannot be read.
    """
    from dfmcodec.errors import DfmError
    from dfmcodec.files.atomic import read_file

    if source != STANDARD:
        return read_file(source)
    if sys.stdin is None:
        msg = "standard input is closed; name a file"
        raise DfmError(msg)
    return sys.stdin.buffer.read()


def read_generator(path: Path | None) -> GenerativeModel | None:
    """The generative model that --prior names; None without the option.

    Raises:
        FormatError: The file is not a generative model.
    """
    if path is None:
        return None
    state = path.stat() if path.exists() else None
    return _read_generator_once(path, None if state is None else (state.st_mtime_ns, state.st_size))


@lru_cache(maxsize=1)
def _read_generator_once(path: Path, _state: tuple[int, int] | None) -> GenerativeModel:
    """Reads a model once for all files of a run, and again if its file changes."""
    from dfmcodec.generative.model import read_model_file

    return read_model_file(path)


def display_name(source: Path) -> str:
    """The name of an input in messages."""
    return "standard input" if source == STANDARD else str(source)


def check_output(output: Path, force: bool) -> None:
    """Refuses, before any work, an output that cannot be written or may not be overwritten.

    Raises:
        OutputError: What is in the way.
    """
    from dfmcodec.errors import OutputError
    from dfmcodec.files.atomic import check_writable

    if output != STANDARD:
        check_writable(output, force)
    elif sys.stdout is None:
        msg = "standard output is closed; name a file with -o"
        raise OutputError(msg)
    elif sys.stdout.isatty():
        msg = "standard output is a terminal; redirect it to a file or a program"
        raise OutputError(msg)


def write_output(output: Path, data: bytes, force: bool = True) -> None:
    """Writes a file or to standard output.

    Args:
        output: The file.
        data: Its contents.
        force: Whether to overwrite a file that was created since `check_output`.

    Raises:
        OutputError: It cannot be written.
    """
    from dfmcodec.files.atomic import write_atomic

    if output == STANDARD:
        rest = memoryview(data)
        while rest:  # an unbuffered stream (PYTHONUNBUFFERED) may write only a part
            rest = rest[sys.stdout.buffer.write(rest) :]
        sys.stdout.buffer.flush()
    else:
        write_atomic(output, data, force)


def echo_json(report: dict[str, Any], err: bool = False) -> None:
    """Prints one JSON object on stdout, or on stderr if stdout carries the output."""
    click.echo(json.dumps(report), err=err)


def describe_architecture(architecture: Architecture) -> str:
    """One line for people."""
    described = architecture.as_dict()
    model = described.pop("model")
    described.pop("channels")
    return f"{model}, " + ", ".join(f"{name} {value}" for name, value in described.items())
