"""What the commands share: option decorators, derived output names, and messages."""

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
    from dfmcodec.generative.model import GenerativeModel
    from dfmcodec.model import Architecture

F = TypeVar("F", bound=Callable[..., Any])

STANDARD = Path("-")  # standard input or output

input_argument = click.argument("source", metavar="FILE", type=click.Path(path_type=Path))
json_option = click.option("--json", "as_json", is_flag=True, help="Report as one JSON object on stdout.")
force_option = click.option("-f", "--force", is_flag=True, help="Replace an existing output.")
sources_argument = click.argument(
    "sources", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
folder_option = click.option(
    "-O", "--output-folder", "folder", type=click.Path(path_type=Path), help="Folder for the outputs of several files."
)
recursive_option = click.option("-r", "--recursive", is_flag=True, help="Folders within folders too, the tree kept.")
processes_option = click.option(
    "-j", "--jobs", "processes", type=click.IntRange(1), default=1, show_default=True, help="Files at a time."
)
max_pixels_option = click.option(
    "--max-pixels",
    type=click.IntRange(1),
    default=89_478_485,  # image.MAX_PIXELS, whose module is not light
    show_default=True,
    help="Larger pictures are refused before any memory is spent on them.",
)
prior_option = click.option(
    "--prior",
    metavar="MODEL",
    type=click.Path(path_type=Path),
    help="A generative model (.dfmg, see dfm generate) of which pictures are codes.",
)
quiet_option = click.option("-q", "--quiet", is_flag=True, help="Say nothing unless something is wrong.")


def output_option(what: str) -> Callable[[F], F]:
    return click.option("-o", "--output", type=click.Path(path_type=Path), help=what)


def derived_output(source: Path, suffix: str) -> Path:
    """The output beside the input, with another suffix.

    Raises:
        ConfigError: The input is a folder, which has no such name.
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
    from dfmcodec.io import read_file

    if source != STANDARD:
        return read_file(source)
    if sys.stdin is None:
        msg = "standard input is closed; name a file"
        raise DfmError(msg)
    return sys.stdin.buffer.read()


def generator_of(prior: Path | None) -> GenerativeModel | None:
    """The generative model that is the prior, if one is given.

    Raises:
        FormatError: The file is not one.
    """
    if prior is None:
        return None
    state = prior.stat() if prior.exists() else None
    return _generator_of(prior, None if state is None else (state.st_mtime_ns, state.st_size))


@lru_cache(maxsize=1)
def _generator_of(prior: Path, _state: tuple[int, int] | None) -> GenerativeModel:
    """Once for all files of a run."""
    from dfmcodec.generative.model import read_model_file

    return read_model_file(prior)


def name_of(source: Path) -> str:
    """For messages."""
    return "standard input" if source == STANDARD else str(source)


def check_output(output: Path, force: bool) -> None:
    """Refuses, before any work, an output that cannot be written or may not be replaced.

    Raises:
        OutputError: What is in the way.
    """
    from dfmcodec.errors import OutputError
    from dfmcodec.io import check_writable

    if output != STANDARD:
        check_writable(output, force)
    elif sys.stdout is None:
        msg = "standard output is closed; name a file with -o"
        raise OutputError(msg)
    elif sys.stdout.isatty():
        msg = "a terminal shows no pictures; send standard output to a file or a program"
        raise OutputError(msg)


def write_output(output: Path, data: bytes, force: bool = True) -> None:
    """Writes a file, or standard output.

    Args:
        output: The file.
        data: All of it.
        force: Whether a file that has come to be there is replaced.

    Raises:
        OutputError: It cannot be written.
    """
    from dfmcodec.io import write_atomic

    if output == STANDARD:
        left = memoryview(data)
        while left:  # without a buffer (PYTHONUNBUFFERED) a write may take only a part
            left = left[sys.stdout.buffer.write(left) :]
        sys.stdout.buffer.flush()
    else:
        write_atomic(output, data, force)


def echo_json(report: dict[str, Any], err: bool = False) -> None:
    """One JSON object on stdout, or on stderr where stdout is the output."""
    click.echo(json.dumps(report), err=err)


def describe_architecture(architecture: Architecture) -> str:
    """One line for people."""
    described = architecture.as_dict()
    model = described.pop("model")
    described.pop("channels")
    return f"{model}, " + ", ".join(f"{name} {value}" for name, value in described.items())
