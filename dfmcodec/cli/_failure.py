"""What a command says of an exception, and the exit code: the only place that decides this, for a
whole command and for one file of many.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from dfmcodec.errors import (
    NO_MEMORY,
    OUT_OF_MEMORY,
    PACKAGES,
    DfmError,
    InstallationError,
    is_lack_of_memory,
    missing_package,
)

_PACKAGE = Path(__file__).parents[1]
_LIMIT = re.compile(r"\((max_pixels|max_multiply_adds)\)")  # parameters in messages, of which the command has options


@dataclass(frozen=True)
class Failure:
    """What went wrong.

    Args:
        kind: The name of the error's class.
        message: What was found and what to do, in one line.
        exit_code: The exit code of a command that ends because of it.
    """

    kind: str
    message: str
    exit_code: int

    def of_file(self, source: Path) -> str:
        """The message with the name of the file that it is about."""
        return self.message if source.name in self.message else f"{source}: {self.message}"


def failure_of(error: Exception, command: str = "dfm") -> Failure:
    """The failure that an exception stands for. One that no part of this program raises on purpose
    is a bug; the message says where it happened.

    Args:
        error: The exception.
        command: The name of the command that met it.
    """
    kind = type(error).__name__
    if is_lack_of_memory(error):
        return Failure(MemoryError.__name__, NO_MEMORY, OUT_OF_MEMORY)
    if isinstance(error, DfmError):
        return Failure(kind, _LIMIT.sub(_option, str(error)), error.exit_code)
    if isinstance(error, OSError):
        why = error.strerror or str(error)
        what = "the operating system reports" if error.filename is None else _text(error.filename)
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


def _option(parameter: re.Match[str]) -> str:
    return f"(--{parameter[1].replace('_', '-')})"


def _text(name: str | bytes | int) -> str:
    return name.decode(errors="surrogateescape") if isinstance(name, bytes) else str(name)


def _place(error: Exception) -> str:
    """Where this package raised an exception or called what did; empty where it did neither."""
    import traceback  # most commands do without

    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _PACKAGE in Path(frame.filename).parents]
    if not frames:
        return ""
    return f" at line {frames[-1].lineno} of {Path(frames[-1].filename).relative_to(_PACKAGE).as_posix()}"
