"""Messages and exit codes for exceptions, for entire commands and for single files of a batch."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dfmcodec.errors import (
    NO_MEMORY,
    OUT_OF_MEMORY,
    PACKAGES,
    ConfigError,
    DfmError,
    InstallationError,
    is_lack_of_memory,
    missing_package,
)
from dfmcodec.options import options_of

SOME_FAILED = 5  # exit code if some of several files failed
_PACKAGE = Path(__file__).parents[1]
# Parameters in messages that correspond to options of the command.
_LIMIT = re.compile(r"\((max_pixels|max_multiply_adds)\)")


@dataclass(frozen=True)
class Failure:
    """Description of an error."""

    error_type: str  # the class name of the error
    message: str  # one line: what was found and what to do
    exit_code: int  # if the command ends with this error

    def as_dict(self) -> dict[str, Any]:
        """Returns the type and the exit code, by their names in JSON."""
        return {"error_type": self.error_type, "exit_code": self.exit_code}

    def message_for(self, source: Path) -> str:
        """Returns the message with the name of the file in front."""
        return self.message if source.name in self.message else f"{source}: {self.message}"


def failure_of(error: Exception, command: str = "dfm") -> Failure:
    """Converts an exception to a failure. Exceptions that the program does not raise on purpose are
    bugs; the message says where they occurred.
    """
    kind = type(error).__name__
    if is_lack_of_memory(error):
        return Failure(MemoryError.__name__, NO_MEMORY, OUT_OF_MEMORY)
    if isinstance(error, DfmError):
        message = _LIMIT.sub(lambda limit: f"(--{limit[1].replace('_', '-')})", str(error))
        return Failure(kind, _with_flags(message) if isinstance(error, ConfigError) else message, error.exit_code)
    if isinstance(error, OSError):
        why = error.strerror or str(error)
        name = os.fsdecode(error.filename) if isinstance(error.filename, bytes) else error.filename
        what = "the operating system reports" if name is None else name
        return Failure(kind, f"{what}: {why}", DfmError.exit_code)
    if isinstance(error, ImportError):
        package = (error.name or "").partition(".")[0]
        if isinstance(error, ModuleNotFoundError) and package in PACKAGES:
            return failure_of(missing_package(command, package))
        message = f"cannot load a part of the program: {error}; install dfmcodec again"
        return Failure(kind, message, InstallationError.exit_code)
    said = f": {error}" if str(error) else ""
    message = f"unexpected {kind}{_place(error)}{said}; this is a bug of dfmcodec, please report it"
    return Failure(kind, message, DfmError.exit_code)


def _with_flags(message: str) -> str:
    """Replaces names of settings in Python that the command spells differently by its options."""
    options = [(name, option) for name, option, _ in options_of() if option.in_command and "_" in name]
    flags = {name: (option.flags or (f"--{name.replace('_', '-')}",))[-1] for name, option in options}
    names = "|".join(flags)
    return re.sub(rf"(?<!\S)({names})(?= )", lambda name: flags[name[1]], message)


def _place(error: Exception) -> str:
    """Returns the location in this package where an exception was raised or passed; empty if there
    is none.
    """
    import traceback  # not needed by most commands

    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _PACKAGE in Path(frame.filename).parents]
    if not frames:
        return ""
    return f" at line {frames[-1].lineno} of {Path(frames[-1].filename).relative_to(_PACKAGE).as_posix()}"
