"""Files that register `.dfm` files with a Linux desktop: their contents and locations.

They follow freedesktop.org's specifications of shared MIME-info, desktop entries and base
directories, and GNOME's specification of thumbnailers.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dfmcodec.errors import DfmError
from dfmcodec.files.atomic import MEDIA_TYPE, read_file
from dfmcodec.files.cache_folder import base_folder
from dfmcodec.processes import installed_program

MARK = "Written by dfm desktop, which also removes it."  # XML comments must not contain "--"
SYSTEM_DATA = Path("/usr/local/share")
_SHOWN_TO_THUMBNAILERS = tuple(map(Path, ("/usr", "/bin", "/lib", "/lib64", "/sbin")))
_NOT_IN_ENTRIES = frozenset("\"'`$\\\n\r\t")  # quoting rules differ between desktop entries and thumbnailers

_MIME = f"""<?xml version="1.0" encoding="UTF-8"?>
<!-- {MARK} -->
<mime-info xmlns="http://www.freedesktop.org/standards/shared-mime-info">
  <mime-type type="{MEDIA_TYPE}">
    <comment>dfmcodec image</comment>
    <generic-icon name="image-x-generic"/>
    <magic priority="60"><match type="string" offset="0" value="\\x89DFM\\x01"/></magic>
    <glob pattern="*.dfm"/>
  </mime-type>
</mime-info>
"""
_THUMBNAILER = """# {mark}
[Thumbnailer Entry]
TryExec={program}
Exec={command} desktop --thumbnail %i %o %s
MimeType={media_type};
"""
_APPLICATION = """# {mark}
[Desktop Entry]
Type=Application
Name=dfm viewer
GenericName=Image Viewer
Comment=Shows .dfm images in the browser
TryExec={program}
Exec={command} view --web --show-damaged %F
Icon=image-x-generic
Terminal=false
Categories=Graphics;Viewer;
MimeType={media_type};
"""

# Locations of shell completions below the data folder.
_COMPLETIONS = {
    "bash": "bash-completion/completions/dfm",
    "zsh": "zsh/site-functions/_dfm",
    "fish": "fish/vendor_completions.d/dfm.fish",
}
_DATABASES = (("update-mime-database", "mime"), ("update-desktop-database", "applications"))


@dataclass(frozen=True)
class DesktopFile:
    """A file to write; the text includes `MARK`."""

    path: Path
    text: str
    purpose: str

    @property
    def is_foreign(self) -> bool:
        """Indicates whether the path is a file that `dfm desktop` did not write."""
        return self.exists and MARK.encode() not in read_file(self.path)

    @property
    def exists(self) -> bool:
        """Indicates whether the path is a file or a broken link."""
        return os.path.lexists(self.path)


def user_data() -> Path:
    """Returns $XDG_DATA_HOME or its default. Raises DfmError for a user without a home folder."""
    folder = base_folder("XDG_DATA_HOME", ".local/share")
    if folder is None:
        msg = "this user has no home folder; set XDG_DATA_HOME, or use --system"
        raise DfmError(msg)
    return folder


def own_program() -> str:
    """Returns the path of this Python. Raises DfmError if no desktop entry can contain it."""
    program = sys.executable
    if not os.path.isabs(program) or _NOT_IN_ENTRIES & set(program):
        msg = f"the path of Python is {program!r}, which a desktop entry cannot hold; install dfmcodec elsewhere"
        raise DfmError(msg)
    return program


def desktop_files(data: Path, program: str, manual: str, completions: Mapping[str, str]) -> list[DesktopFile]:
    """Returns all files, given the data folder of the user or of the system, and their contents."""
    # -P excludes modules of the current folder. A percent sign starts a field, so it is doubled.
    command = f'"{program}" -P -m dfmcodec'.replace("%", "%%")
    entry = {"mark": MARK, "media_type": MEDIA_TYPE, "program": program, "command": command}
    return [
        DesktopFile(data / "mime/packages/dfmcodec.xml", _MIME, "the file type"),
        DesktopFile(data / "thumbnailers/dfmcodec.thumbnailer", _THUMBNAILER.format(**entry), "thumbnails"),
        DesktopFile(data / "applications/dfmcodec.desktop", _APPLICATION.format(**entry), "opens files with dfm view"),
        DesktopFile(data / "man/man1/dfm.1", f'.\\" {MARK}\n{manual}', "the manual page"),
        *(
            DesktopFile(data / _COMPLETIONS[shell], _marked(script), f"completion in {shell}")
            for shell, script in completions.items()
        ),
    ]


def _marked(script: str) -> str:
    """Inserts the mark after the first line of a script, which zsh interprets."""
    first, _, rest = script.lstrip("\n").partition("\n")
    return f"{first}\n# {MARK}\n{rest}"


def hidden_from_thumbnailers() -> list[Path]:
    """Returns the paths of this installation that GNOME's thumbnailer sandbox cannot access."""
    parts = Path(sys.executable).resolve(), Path(sys.prefix), Path(sys.base_prefix), Path(__file__)
    hidden = [part for part in parts if not any(part.is_relative_to(shown) for shown in _SHOWN_TO_THUMBNAILERS)]
    return list(dict.fromkeys(hidden))


def update_databases(data: Path) -> list[str]:
    """Updates the databases of the desktop; returns messages about failures."""
    notices = []
    for name, folder in _DATABASES:
        program = installed_program(name)
        if not (data / folder).is_dir():
            continue
        if program is None:
            notices.append(f"{name} is not installed; the desktop may notice the change later")
            continue
        done = subprocess.run([program, str(data / folder)], stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode:
            said = done.stderr.strip().splitlines()
            notices.append(f"{name} ended with {done.returncode}{': ' + said[-1] if said else ''}")
    return notices
