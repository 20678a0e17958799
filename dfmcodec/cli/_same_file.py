"""Checks for outputs that would replace an input or each other."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from dfmcodec.cli._common import STANDARD, output_name
from dfmcodec.errors import ConfigError

Identity = tuple[int, int] | str


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
    found = (identity(path) for path in paths if path is not None and path != STANDARD)
    return {one for one in found if one is not None}


@cache
def ignores_case(folder: str) -> bool:
    """Indicates whether names in a folder are case-insensitive. It is tested with the first entry
    whose name contains letters. A folder without one is tested with its own name, and a missing
    folder with its parent.
    """
    parent = os.path.dirname(folder)
    try:
        with os.scandir(folder) as entries:
            path = next((entry.path for entry in entries if entry.name.swapcase() != entry.name), folder)
    except OSError:
        return parent != folder and ignores_case(parent)
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
        one = None if path is None else identity(path)
        if path is None or one is None:
            continue
        if path != STANDARD and one in read:
            msg = f"{option} is {path}, which the command reads and never replaces; name another file"
            raise ConfigError(msg)
        if one in written:
            msg = f"{written[one]} and {option} both name {output_name(path)}; name two different files"
            raise ConfigError(msg)
        written[one] = option
