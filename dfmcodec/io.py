"""Files: reads with clear errors, and writes that leave the old file or the whole new one."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from dfmcodec.errors import DfmError, OutputError

EXTENSION = ".dfm"


def read_file(path: Path) -> bytes:
    """The bytes of a file.

    Raises:
        DfmError: It cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        msg = f"cannot read {path}: {error.strerror or error}"
        raise DfmError(msg) from error


def check_writable(path: Path, force: bool) -> None:
    """Refuses, before any work, an output that exists (without `force`) or that cannot be written.

    Raises:
        OutputError: What is in the way.
    """
    folder = path.parent
    if path.is_dir():
        msg = f"{path} is a folder; name a file"
    elif path.exists() and not force:
        msg = f"{path} exists; use -f to replace it or -o to name another file"
    elif not folder.is_dir():
        msg = f"the folder {folder} does not exist; make it first"
    elif not os.access(folder, os.W_OK | os.X_OK):
        msg = f"no permission to write in {folder}"
    else:
        return
    raise OutputError(msg)


def write_atomic(path: Path, data: bytes) -> None:
    """Writes a file so that at any moment, even if the process is killed, either the old or the whole new one is there.

    Raises:
        OutputError: It cannot be written; an existing file is as it was.
    """
    try:
        if hasattr(os, "O_TMPFILE") and _write_unnamed(path, data):
            return
        _write_renamed(path, data)
    except OSError as error:
        msg = f"cannot write {path}: {error.strerror or error}"
        raise OutputError(msg) from error


def _write_unnamed(path: Path, data: bytes) -> bool:
    """Gives the file a name when it is whole, so that nothing is left over whatever happens. False where it cannot."""
    try:
        handle = os.open(path.parent, os.O_TMPFILE | os.O_WRONLY, 0o666)
    except OSError:  # a file system that does not know how
        return False
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
        try:
            _name(file.fileno(), path)
        except FileExistsError:
            temporary = _temporary_name(path)
            _name(file.fileno(), temporary)
            _replace(temporary, path)
        except OSError:
            return False
    return True


def _name(handle: int, path: Path) -> None:
    """Gives an unnamed file a name (open(2), O_TMPFILE)."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:  # only with a folder's handle does Python follow the link to the file
        os.link(f"/proc/self/fd/{handle}", path.name, dst_dir_fd=folder, follow_symlinks=True)
    finally:
        os.close(folder)


def _write_renamed(path: Path, data: bytes) -> None:
    temporary = _temporary_name(path)
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _replace(temporary, path)


def _replace(temporary: Path, path: Path) -> None:
    try:
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _temporary_name(path: Path) -> Path:
    """A name beside the path that nothing has."""
    with tempfile.NamedTemporaryFile(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent) as taken:
        return Path(taken.name)
