"""Opens files in the system's default program."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from dfmcodec.errors import DfmError
from dfmcodec.processes import installed_program

_OPENERS = {"darwin": "open", "win32": "explorer"}
_INSTEAD = "write the image to a file instead: dfm decode"


def opener() -> str:
    """Returns the path of the program that opens files with their default application, or raises
    DfmError.
    """
    name = _OPENERS.get(sys.platform, "xdg-open")
    program = installed_program(name)
    if program is None:
        msg = f"{name}, which opens the system's viewer, is not installed; {_INSTEAD}"
        raise DfmError(msg)
    return program


def open_file(program: str, path: Path) -> None:
    """Opens a file, without a shell; some viewers make it wait. Raises DfmError without one."""
    arguments = [program, str(path)]
    done = subprocess.run(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if done.returncode and sys.platform != "win32":  # explorer never returns 0
        msg = f"no viewer for {path.suffix} files was started ({program} ended with {done.returncode}); {_INSTEAD}"
        raise DfmError(msg)
