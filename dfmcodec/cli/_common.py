"""Shared parts of the commands: options, input, output and reports."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from math import isfinite
from pathlib import Path
from threading import Timer
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

import click

from dfmcodec.files.names import printable

if TYPE_CHECKING:
    from dfmcodec.codecs.generative.model import GenerativeModel
    from dfmcodec.container.contents import Architecture
    from dfmcodec.image.source import Source

    PathParam = click.ParamType[Path]
    OutputParam = click.ParamType["Output"]
    IntParam = click.ParamType[int]
    FloatParam = click.ParamType[float]
else:  # older versions of click are not subscriptable
    PathParam = OutputParam = IntParam = FloatParam = click.ParamType

F = TypeVar("F", bound=Callable[..., Any])

STANDARD = Path("-")  # standard input or output
_STANDARD_OUTPUTS = ("/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")  # other names of standard output
_WAIT_S = 2.0  # time to wait silently for the other end of a pipe


def refuse_empty_name(value: Any, param: click.Parameter | None, ctx: click.Context | None) -> None:
    """Raises an error for an empty name, for example from an unset variable. `Path` would interpret
    it as the current folder.

    Raises:
        click.BadParameter: The name is empty.
    """
    if value == "":
        msg = "the name is empty; name a file or folder"
        raise click.BadParameter(msg, ctx, param)


class NamedPath(click.Path):
    """A path whose name is not empty."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        refuse_empty_name(value, param, ctx)
        return super().convert(value, param, ctx)


class _Source(PathParam):
    """Path of an input. URLs are refused, because a path would lose a slash."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        refuse_empty_name(value, param, ctx)
        if isinstance(value, str) and re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", value):
            self.fail(f"{value} is a URL; download it first: curl -L {value} | dfm encode - -o a.dfm", param, ctx)
        return Path(value)


def fraction(text: str) -> float:
    """Parses a number or a percentage: 0.18 or 18%.

    Raises:
        ValueError: The text is neither.
    """
    text = text.strip()
    return float(text[:-1]) / 100 if text.endswith("%") else float(text)


class Number(FloatParam):
    """Number within a range. NaN and infinity are refused.

    Args:
        low: The minimum.
        high: The maximum.
    """

    name = "float"
    parse: Callable[[str], float] = staticmethod(float)

    def __init__(self, low: float = -1e9, high: float = 1e9) -> None:
        self._low = low
        self._high = high

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            number = self.parse(str(value))
        except ValueError:
            self.fail(f"{value!r} is not a number", param, ctx)
        if not self._low <= number <= self._high:
            self.fail(f"{value} is not a number from {self._low:g} to {self._high:g}", param, ctx)
        return number


class Fraction(Number):
    """A number or a percentage: 0.18 or 18%."""

    name = "fraction"
    parse = staticmethod(fraction)


class Integer(IntParam):
    """Integer of up to 18 digits. The range is checked elsewhere."""

    name = "integer"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if re.fullmatch(r"[+-]?[0-9]{1,18}", str(value).strip()) is None:
            self.fail(f"{value!r} is not an integer of up to 18 digits", param, ctx)
        return int(value)


@dataclass(frozen=True)
class Output:
    """Destination of one or several outputs.

    Args:
        path: The file or folder.
        is_folder: Whether the path is an existing folder or ends in a slash.
    """

    path: Path
    is_folder: bool


class _OutputOrFolder(OutputParam):
    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Output:
        if isinstance(value, Output):
            return value
        refuse_empty_name(value, param, ctx)
        separators = tuple(filter(None, (os.sep, os.altsep)))
        path = STANDARD if value in _STANDARD_OUTPUTS else Path(value)
        return Output(path, value.endswith(separators) or path.is_dir())


@dataclass(frozen=True)
class FileList:
    """File with a list of inputs.

    Args:
        path: The file; "-" is standard input.
        is_zero_terminated: Whether names end with a zero byte instead of a line end.
    """

    path: Path
    is_zero_terminated: bool


json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print the report as a JSON object; for several files, one per line."
)
force_option = click.option(
    "-f", "--force", is_flag=True, help="Overwrite existing outputs, but not a file that the input was made from."
)
overwrite_source_option = click.option(
    "--overwrite-source",
    "overwrites_source",
    is_flag=True,
    help="With -f, overwrite also a file that the input was made from, or may have been.",
)
skip_links_option = click.option(
    "--skip-links", "skips_links", is_flag=True, help="Leave out inputs that are symbolic links."
)
sources_argument = click.argument("sources", metavar="FILE...", nargs=-1, required=True, type=_Source())
optional_sources_argument = click.argument("sources", metavar="FILE...", nargs=-1, type=_Source())


def files_from_option(command: F) -> F:
    """Adds the options for lists of inputs; `file_list` evaluates them together."""
    command = click.option(
        "--files0-from",
        metavar="LIST",
        type=NamedPath(),
        help="Likewise, with a zero byte after each (find -print0).",
    )(command)
    return click.option(
        "--files-from",
        metavar="LIST",
        type=NamedPath(),
        help="Take further files from this text file, one per line; - is standard input.",
    )(command)


def file_list(arguments: dict[str, Any]) -> FileList | None:
    """Removes the options for lists from the arguments of a command and returns the list.

    Raises:
        ConfigError: Both options are given.
    """
    from dfmcodec.errors import ConfigError

    lines, zeros = arguments.pop("files_from"), arguments.pop("files0_from")
    if lines is not None and zeros is not None:
        msg = "--files-from and --files0-from both name a list; give one of them"
        raise ConfigError(msg)
    if lines is not None:
        return FileList(lines, False)
    return None if zeros is None else FileList(zeros, True)


dry_run_option = click.option(
    "--dry-run", is_flag=True, help="Show which outputs would be made, and what is in the way; write nothing."
)
adopt_option = click.option(
    "--adopt",
    is_flag=True,
    help="Keep existing outputs of unrecorded origin, and record them as made from these inputs.",
)
report_option = click.option(
    "--report",
    "report_path",
    metavar="FILE",
    type=NamedPath(),
    help="Append a row for each file to this .jsonl or .csv file. A later run with it continues where this one ended.",
)
folder_option = click.option(
    "-O",
    "--output-folder",
    "folder",
    type=NamedPath(),
    help="Write the outputs to this folder, in the same subfolders as the inputs.",
)
recursive_option = click.option("-r", "--recursive", is_flag=True, help="Process subfolders too.")
processes_option = click.option(
    "-j",
    "--jobs",
    "processes",
    type=click.IntRange(1, 1024),
    default=1,
    show_default=True,
    help="Process this many files at a time.",
)
max_pixels_option = click.option(
    "--max-pixels",
    type=click.IntRange(1, 1 << 32),
    default=89_478_485,  # same as image.MAX_PIXELS, because that module imports NumPy
    show_default=True,
    help="Refuse images with more pixels before allocating memory for them.",
)


def limit_of_multiply_adds(default: int) -> Callable[[F], F]:
    """Returns the option --max-multiply-adds with a default."""
    return click.option(
        "--max-multiply-adds",
        type=click.IntRange(1, 1 << 62),
        default=default,
        show_default=True,
        help="Refuse files of the coordinate and generative models that need more multiply-adds to decode.",
    )


# Same as fourier.network.MAX_MULTIPLY_ADDS, because that module imports NumPy.
max_multiply_adds_option = limit_of_multiply_adds(1 << 37)
generator_option = click.option(
    "--generator",
    metavar="MODEL",
    type=NamedPath(),
    help="Generative model that the images are coded with (a .dfmg file, see dfm generate).",
)
quiet_option = click.option("--quiet", is_flag=True, help="Print errors only.")


def _strip_kinds(_context: click.Context, _parameter: click.Parameter, given: tuple[str, ...]) -> frozenset[str]:
    if not given:
        return frozenset()
    from dfmcodec.image.strip import strip_kinds

    return strip_kinds(given)


strip_option = click.option(
    "--strip",
    multiple=True,
    metavar="KINDS",
    callback=_strip_kinds,
    help="Leave out metadata: gps (the position in Exif and XMP), exif, xmp, icc (the profile: colours may look "
    "different), or all (Exif and XMP). Several with commas: gps,xmp.",
)


def output_option(what: str) -> Callable[[F], F]:
    """Returns the option -o with its help text."""
    return click.option("-o", "--output", type=NamedPath(), help=what)


def output_or_folder_option(what: str) -> Callable[[F], F]:
    """Returns the option -o, which may name a folder, with its help text."""
    return click.option("-o", "--output", type=_OutputOrFolder(), help=what)


def read_source(source: Path) -> bytes:
    """Reads the bytes of a file or of standard input.

    Raises:
        DfmError: The source cannot be read.
    """
    from dfmcodec.files.atomic import read_file

    if source == STANDARD:
        return standard_input().read()
    with _report_waiting(source):
        return read_file(source)


def image_source(path: Path) -> Source:
    """Opens an image file or standard input. A file on disk is not read yet.

    Raises:
        DfmError: The file cannot be opened.
        ImageError: The source is a pipe, and its contents are not an image or too long.
    """
    from dfmcodec.image.source import Source

    if path == STANDARD:
        return Source.from_stream(standard_input(), display_name(path))
    with _report_waiting(path):
        return Source.from_path(path)


@contextmanager
def _report_waiting(path: Path) -> Iterator[None]:
    """Prints a message if the command waits long for the other end of a pipe."""
    from dfmcodec.files.atomic import is_stream

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
    """Returns standard input as a binary file.

    Raises:
        DfmError: Standard input is closed.
    """
    from dfmcodec.errors import DfmError

    if sys.stdin is None:
        msg = "standard input is closed; name a file"
        raise DfmError(msg)
    return sys.stdin.buffer


def read_generator(path: Path | None) -> GenerativeModel | None:
    """Reads the generative model of --generator; returns None without the option.

    Raises:
        ConfigError: The path is a device or a pipe, which can be read only once.
        FormatError: The file is not a generative model.
    """
    from dfmcodec.errors import ConfigError
    from dfmcodec.files.atomic import NOT_A_FILE, is_stream

    if path is None:
        return None
    if is_stream(path):
        msg = f"--generator is {path}, {NOT_A_FILE}; save the model to a file first"
        raise ConfigError(msg)
    state = path.stat() if path.exists() else None
    return _read_generator_once(path, None if state is None else (state.st_mtime_ns, state.st_size))


@lru_cache(maxsize=1)
def _read_generator_once(path: Path, _state: tuple[int, int] | None) -> GenerativeModel:
    """Reads a model once for all files of a run, and again if its file changes."""
    from dfmcodec.codecs.generative.model import read_model_file

    return read_model_file(path)


def display_name(source: Path) -> str:
    """Returns the name of an input for messages."""
    return "standard input" if source == STANDARD else str(source)


@contextmanager
def errors_named(name: str) -> Iterator[None]:
    """Adds the name of a file to the front of error messages.

    Args:
        name: The name from `display_name`.
    """
    from dfmcodec.errors import FormatError

    try:
        yield
    except FormatError as error:
        raise type(error)(f"{name}: {error}") from error  # noqa: EM102


def output_name(output: Path) -> str:
    """Returns the name of an output for messages."""
    return "standard output" if output == STANDARD else str(output)


def make_folder(folder: Path) -> None:
    """Creates a folder and its parents if they do not exist.

    Raises:
        OutputError: The folder cannot be created.
    """
    from dfmcodec.errors import OutputError

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        msg = f"cannot make the folder {folder}: {error.strerror or error}; name another one"
        raise OutputError(msg) from error


def check_output(output: Path, force: bool) -> None:
    """Raises an error, before any work, for an output that cannot be written or must not be
    overwritten.

    Raises:
        OutputError: The output cannot be written; the message gives the reason.
    """
    from dfmcodec.errors import OutputError
    from dfmcodec.files.atomic import check_writable

    if output != STANDARD:
        check_writable(output, force)
    elif sys.stdout is None:
        msg = "standard output is closed; name a file"
        raise OutputError(msg)
    elif sys.stdout.isatty():
        msg = "standard output is a terminal; redirect it to a file or a program"
        raise OutputError(msg)


def write_output(output: Path, data: bytes, force: bool = True, follow: bool = True) -> None:
    """Writes to a file or to standard output.

    Args:
        output: The file.
        data: The contents.
        force: Whether to overwrite a file that was created after `check_output`.
        follow: Whether the output may be a link, a device or a pipe.

    Raises:
        OutputError: The output cannot be written.
    """
    from dfmcodec.files.atomic import write_atomic

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


def describe_architecture(architecture: Architecture) -> str:
    """Returns one line that describes an architecture."""
    described = architecture.as_dict()
    model = described.pop("model")
    described.pop("channels")
    return f"{model}, " + ", ".join(f"{name} {value}" for name, value in described.items())
