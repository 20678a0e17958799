"""The rule for existing outputs, for one file and for many.

An existing output is refused. With -f it is replaced. With --skip-existing it is kept if it is
intact, and made again if it is damaged or empty. A file that the run reads is never replaced.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Mapping
from enum import Enum, auto
from functools import cache
from pathlib import Path

from dfmcodec.cli._common import STANDARD, check_output, output_name
from dfmcodec.errors import ConfigError, DfmError, OutputError
from dfmcodec.files.atomic import check_writable, destination, is_stream

Identity = tuple[int, int] | str


class Action(Enum):
    """Actions for an output."""

    CREATE = auto()
    REPLACE = auto()
    KEEP = auto()


def action_for(
    output: Path, is_named: bool, force: bool, skip_existing: bool, is_intact: Callable[[Path], bool]
) -> Action:
    """Returns what is done about an output. Raises OutputError if it must not be written.

    Args:
        output: The path, or `STANDARD`.
        is_named: Whether the user named the output with -o. Derived names never refer to links,
            devices or pipes.
        force: Whether -f is given.
        skip_existing: Whether --skip-existing is given.
        is_intact: Indicates whether an existing file is complete. Raises DfmError if the file is of
            another kind, so that it cannot be a damaged output.
    """
    action = Action.CREATE
    if output == STANDARD:
        check_output(output, force)
        return action
    path = destination(output, is_named)
    if os.path.lexists(path) and not path.is_dir() and not is_stream(path):
        if not force and not skip_existing:
            msg = f"{output} exists; -f replaces it, --skip-existing keeps it"
            raise OutputError(msg)
        if not force and _is_intact(path, is_intact):
            return Action.KEEP
        action = Action.REPLACE
    check_writable(output, force=True, follow=is_named)
    return action


def _is_intact(path: Path, is_intact: Callable[[Path], bool]) -> bool:
    try:
        return path.stat().st_size > 0 and is_intact(path)
    except DfmError as error:
        msg = f"{path} exists and is not known to be an output: {error}; -f replaces it"
        raise OutputError(msg) from error


def identity(path: Path) -> Identity | None:
    """Returns a key that is equal for all names of a file, including hard and symbolic links.
    Returns None for anything but a file, such as a device, which may be used for several outputs.
    """
    try:
        state = path.stat()
    except (OSError, ValueError):  # not existing yet, or not a valid name
        return os.path.realpath(path)
    return (state.st_dev, state.st_ino) if stat.S_ISREG(state.st_mode) else None


def identities(paths: Iterable[Path | None]) -> set[Identity]:
    """Returns the identities of all paths that are files."""
    keys = (identity(path) for path in paths if path is not None and path != STANDARD)
    return {key for key in keys if key is not None}


def place_of(output: Path) -> str:
    """Returns a key that is equal for all spellings of a path, which need not exist."""
    path = os.path.realpath(output)
    return path.casefold() if _ignores_case(os.path.dirname(path)) else path


@cache
def _ignores_case(folder: str) -> bool:
    """Indicates whether names in a folder are case-insensitive. It is tested with the first entry
    whose name contains letters. A folder without one is tested with its own name, and a missing
    folder with its parent.
    """
    parent = os.path.dirname(folder)
    try:
        with os.scandir(folder) as entries:
            path = next((entry.path for entry in entries if entry.name.swapcase() != entry.name), folder)
    except OSError:
        return parent != folder and _ignores_case(parent)
    head, name = os.path.split(path)
    try:
        return name.swapcase() != name and os.path.samefile(path, os.path.join(head, name.swapcase()))
    except OSError:  # no such name
        return False


def check_outputs_apart(outputs: Mapping[str, Path | None], inputs: Iterable[Path | None]) -> None:
    """Raises an error, before any work, if an output is an input or two outputs are the same file.
    Outputs are the paths given by options, such as "-o"; None for an option that is not given.
    """
    read = identities(inputs)
    written: dict[Identity, str] = {}
    for option, path in outputs.items():
        key = None if path is None else identity(path)
        if path is None or key is None:
            continue
        if path != STANDARD and key in read:
            msg = f"{option} is {path}, which the command reads and never replaces; name another file"
            raise ConfigError(msg)
        if key in written:
            msg = f"{written[key]} and {option} both name {output_name(path)}; name two different files"
            raise ConfigError(msg)
        written[key] = option
