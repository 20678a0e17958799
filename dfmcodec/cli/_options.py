"""Options and arguments of the commands, and the types of their values."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from dfmcodec.cli._common import STANDARD

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")
F = TypeVar("F", bound=Callable[..., Any])

_STANDARD_OUTPUTS = ("/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")  # other names of standard output


def refuse_empty_name(value: Any) -> None:
    """Raises an error for an empty name, for example from an unset variable. `Path` would interpret
    it as the current folder.
    """
    if value == "":
        msg = "the name is empty; name a file or folder"
        raise click.BadParameter(msg)


class NamedPath(click.Path):
    """A path whose name is not empty."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        refuse_empty_name(value)
        return super().convert(value, param, ctx)


def value_type(name: str, parse: Callable[[Any], Any]) -> click.ParamType[Any]:
    """Returns the type of values that a function parses, with its name in the help."""
    kind = click.types.FuncParamType(parse)
    kind.name = name
    return kind


def is_url(text: str) -> bool:
    """Indicates whether text looks like a URL."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", text) is not None


def _local_path(instead: str) -> Callable[[Any], Path]:
    """Returns the function that parses a path. URLs are refused, because a path would lose a slash;
    the message says what to do instead.
    """

    def parse(value: Any) -> Path:
        refuse_empty_name(value)
        if isinstance(value, str) and is_url(value):
            msg = f"{value} is a URL{instead.format(value)}"
            raise click.BadParameter(msg)
        return Path(value)

    return parse


_source = _local_path("; download it first: curl -L {} | dfm encode - -o a.dfm")
_folder = _local_path(", not a folder; dfm corpus writes to object stores")


def fraction(text: str) -> float:
    """Parses a number or a percentage: 0.18 or 18%. Raises ValueError if the text is neither."""
    text = text.strip()
    return float(text[:-1]) / 100 if text.endswith("%") else float(text)


def number(low: float = -1e9, high: float = 1e9, parse: Callable[[str], float] = float) -> click.ParamType[float]:
    """Returns the type of numbers in a range. NaN and infinity are refused."""

    def convert(value: Any) -> float:
        try:
            parsed = parse(str(value))
        except ValueError:
            msg = f"{value!r} is not a number"
            raise click.BadParameter(msg) from None
        if not low <= parsed <= high:
            msg = f"{value} is not a number from {low:g} to {high:g}"
            raise click.BadParameter(msg)
        return parsed

    return value_type(parse.__name__, convert)


def integer(value: Any) -> int:
    """Parses an integer of up to 18 digits. The range is checked elsewhere."""
    if re.fullmatch(r"[+-]?[0-9]{1,18}", str(value).strip()) is None:
        msg = f"{value!r} is not an integer of up to 18 digits"
        raise click.BadParameter(msg)
    return int(value)


INTEGER = value_type("integer", integer)


@dataclass(frozen=True)
class Output:
    """Destination of one or several outputs."""

    path: Path
    is_folder: bool  # the path is an existing folder or ends in a slash


def _output(value: str) -> Output:
    refuse_empty_name(value)
    separators = tuple(filter(None, (os.sep, os.altsep)))
    path = STANDARD if value in _STANDARD_OUTPUTS else Path(value)
    return Output(path, value.endswith(separators) or path.is_dir())


def taken(kind: type[T], arguments: Mapping[str, Any], **others: Any) -> T:
    """Creates a dataclass from the arguments of a command that are its fields, and others."""
    return kind(**{field.name: arguments[field.name] for field in fields(kind) if field.name in arguments}, **others)


def _strip_kinds(_context: click.Context, _parameter: click.Parameter, given: tuple[str, ...]) -> frozenset[str]:
    if not given:
        return frozenset()
    from dfmcodec.image.strip import strip_kinds

    return strip_kinds(given)


def in_order(*options: Callable[[F], F]) -> Callable[[F], F]:
    """Returns a decorator that adds several options, which the help shows in this order."""

    def add(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return add


sources = click.argument("sources", metavar="FILE...", nargs=-1, required=True, type=value_type("path", _source))
optional_sources = click.argument("sources", metavar="[FILE]...", nargs=-1, type=value_type("path", _source))
json = click.option(
    "--json", "as_json", is_flag=True, help="Print the report as a JSON object; for several files, one per line."
)
force = click.option("-f", "--force", is_flag=True, help="Replace existing outputs.")
quiet = click.option("--quiet", is_flag=True, help="Print errors only.")
files_from = click.option(
    "--files-from",
    metavar="LIST",
    type=NamedPath(),
    help="Take further files from this text file, one per line; - is standard input.",
)
report = click.option(
    "--report",
    "report_path",
    metavar="FILE",
    type=NamedPath(),
    help="Append a row for each file to this .jsonl or .csv file.",
)
existing_outputs = in_order(
    force,
    click.option(
        "--skip-existing",
        is_flag=True,
        help="Keep existing outputs that are intact; make damaged and empty ones again. Continues an interrupted run.",
    ),
)
folder = click.option(
    "-O",
    "--output-folder",
    "folder",
    type=value_type("path", _folder),
    help="Write the outputs to this folder, in the same subfolders as the inputs.",
)
recursive = click.option("-r", "--recursive", is_flag=True, help="Process subfolders too.")
processes = click.option(
    "-j",
    "--jobs",
    "processes",
    type=click.IntRange(1, 1024),
    default=1,
    show_default=True,
    help="Process this many files at a time.",
)
max_pixels = click.option(
    "--max-pixels",
    type=click.IntRange(1, 1 << 32),
    default=89_478_485,  # same as image.MAX_PIXELS, because that module imports NumPy
    show_default=True,
    help="Refuse images with more pixels before allocating memory for them.",
)
strip = click.option(
    "--strip",
    multiple=True,
    metavar="KINDS",
    callback=_strip_kinds,
    help="Leave out metadata: gps (the position in Exif and XMP), exif, xmp, icc (the profile: colours may look "
    "different), gainmap, or all (Exif, XMP and gain map). Several with commas: gps,xmp.",
)


def output(what: str) -> Callable[[F], F]:
    """Returns the option -o with its help text."""
    return click.option("-o", "--output", type=NamedPath(), help=what)


def output_or_folder(what: str) -> Callable[[F], F]:
    """Returns the option -o, which may name a folder, with its help text."""
    return click.option("-o", "--output", type=value_type("path", _output), help=what)
