"""Outputs that would replace an input, or each other."""

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
    """What all names of one file share, through links of both kinds; None for what is no file,
    such as a device, to which several outputs may go.
    """
    try:
        state = path.stat()
    except (OSError, ValueError):  # not there yet, or a name that no file can have
        return os.path.realpath(path)
    return (state.st_dev, state.st_ino) if stat.S_ISREG(state.st_mode) else None


def identities(paths: Iterable[Path | None]) -> set[Identity]:
    """The identities of those that are files."""
    found = (identity(path) for path in paths if path is not None and path != STANDARD)
    return {one for one in found if one is not None}


@cache
def ignores_case(folder: str) -> bool:
    """Indicates whether names in a folder that differ in the case of letters alone are one name. It
    is asked of the first entry whose name has letters; of a folder without one, its own name; of a
    missing folder, the one above it.
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
    except OSError:  # there is no such name
        return False


def check_outputs_apart(outputs: Mapping[str, Path | None], inputs: Iterable[Path | None]) -> None:
    """Refuses, before any work, an output that is an input, and two outputs that are one file.

    Args:
        outputs: What options name, by option, such as "-o"; None for an option that is not given.
        inputs: The files that the command reads.

    Raises:
        ConfigError: The option, and what it collides with.
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
            msg = f"{written[one]} and {option} both go to {output_name(path)}; name two files"
            raise ConfigError(msg)
        written[one] = option
