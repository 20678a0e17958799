"""Command `dfm desktop`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dfmcodec.cli._common import (
    STANDARD,
    display_name,
    echo,
    errors_named,
    make_folder,
    notify,
    output_name,
    read_source,
    write_output,
)
from dfmcodec.cli._options import NamedPath
from dfmcodec.cli._same_file import check_outputs_apart
from dfmcodec.errors import ConfigError, DfmError, OutputError

if TYPE_CHECKING:
    from dfmcodec.viewer.desktop import DesktopFile

_LARGEST_THUMBNAIL = 1024  # maximum thumbnail size of freedesktop.org, in pixels


@click.command("desktop")
@click.option("--install", is_flag=True, help="Write the files that register .dfm files.")
@click.option("--remove", is_flag=True, help="Delete the files that --install wrote.")
@click.option(
    "--user/--system",
    "user",
    default=True,
    show_default=True,
    help="For this user, under $XDG_DATA_HOME (~/.local/share), or for all, under /usr/local/share.",
)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option(
    "--thumbnail",
    metavar="FILE PNG SIDE",
    nargs=3,
    type=(NamedPath(), NamedPath(), click.IntRange(1, _LARGEST_THUMBNAIL)),
    help="Write a PNG with at most SIDE pixels on its longer side; file managers call this.",
)
def command(install: bool, remove: bool, user: bool, yes: bool, thumbnail: tuple[Path, Path, int] | None) -> None:
    """Register .dfm files with the desktop: type, thumbnails, viewer, manual page, completion.

    \b
    dfm desktop --install                          asks before it writes
    dfm desktop --remove                           deletes exactly these files
    sudo dfm desktop --install --system            for all users
    dfm desktop --thumbnail a.dfm a.png 256        a small image

    Linux only. Files with these names that dfm did not write are neither replaced nor deleted.
    """
    if install + remove + (thumbnail is not None) != 1:
        msg = "give one of --install, --remove and --thumbnail"
        raise ConfigError(msg)
    if thumbnail is not None:
        _write_thumbnail(*thumbnail)
        return
    from dfmcodec.cli._manual import manual_page
    from dfmcodec.viewer.desktop import SYSTEM_DATA, desktop_files, own_program, update_databases, user_data

    if sys.platform != "linux":
        msg = f"dfm desktop --install and --remove need Linux, this is {sys.platform}; dfm view works everywhere"
        raise ConfigError(msg)
    data = user_data() if user else SYSTEM_DATA
    files = desktop_files(data, own_program(), manual_page(), _completions())
    if install:
        _install(files, yes)
    elif not _remove(files, yes):
        return
    for notice in update_databases(data):
        notify(notice)


def _write_thumbnail(source: Path, target: Path, side: int) -> None:
    from dfmcodec.viewer.thumbnail import thumbnail

    check_outputs_apart({"PNG": target}, [source])
    if target != STANDARD and os.path.isfile(target) and os.path.getsize(target):  # file managers name an empty one
        msg = f"{target} exists; name another file"
        raise OutputError(msg)
    data = read_source(source)
    with errors_named(display_name(source)):
        small = thumbnail(data, side)
    write_output(target, small)
    echo(f"{output_name(target)}: {len(small):,} bytes", err=target == STANDARD)


def _install(files: Sequence[DesktopFile], yes: bool) -> None:
    from dfmcodec.viewer.desktop import hidden_from_thumbnailers

    foreign = [file.path for file in files if file.is_foreign]
    if foreign:
        msg = f"{foreign[0]} was not written by dfm desktop; move it away first"
        raise OutputError(msg)
    echo("dfm desktop --install writes:")
    for file in files:
        echo(f"  {file.path}  ({file.purpose}{', replaced' if file.exists else ''})")
    hidden = hidden_from_thumbnailers()
    if hidden:
        notify(
            f"GNOME's thumbnailers see only programs under /usr, and {hidden[0]} is not there; "
            "docs/viewer.md says where to install for thumbnails"
        )
    _ask("Write them?", yes)
    for file in files:
        make_folder(file.path.parent)
        write_output(file.path, file.text.encode())
        echo(f"wrote {file.path}")


def _remove(files: Sequence[DesktopFile], yes: bool) -> bool:
    """Deletes own files. Returns whether there were any."""
    own = []
    for file in files:
        if file.is_foreign:
            notify(f"{file.path} was not written by dfm desktop, and stays")
        elif file.exists:
            own.append(file)
    if not own:
        echo("nothing to remove")
        return False
    echo("dfm desktop --remove deletes:")
    for file in own:
        echo(f"  {file.path}  ({file.purpose})")
    _ask("Delete them?", yes)
    for file in own:
        try:
            file.path.unlink()
        except OSError as error:
            msg = f"cannot delete {file.path}: {error.strerror or error}"
            raise DfmError(msg) from error
        echo(f"deleted {file.path}")
    return True


def _completions() -> dict[str, str]:
    """Returns the completion script of each shell. It calls the dfm on the PATH."""
    from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

    from dfmcodec.cli._group import main

    of_shells = [shell(main, {}, "dfm", "_DFM_COMPLETE") for shell in (BashComplete, ZshComplete, FishComplete)]
    # BashComplete.source itself would start bash.
    return {shell.name: ShellComplete.source(shell) for shell in of_shells}


def _ask(question: str, yes: bool) -> None:
    """Asks for confirmation, unless --yes is given. Raises an error if the answer is not yes."""
    agreed = yes
    if not yes:
        try:
            agreed = click.confirm(question)
        except click.Abort as abort:  # end of input, or Ctrl-C
            if isinstance(abort.__context__, KeyboardInterrupt):
                raise KeyboardInterrupt from None
    if not agreed:
        msg = "nothing was changed; -y answers yes"
        raise DfmError(msg)
