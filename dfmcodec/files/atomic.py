"""Reads with clear errors, and atomic writes: the old or the complete new contents of a file."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO

from dfmcodec.errors import DfmError, LimitError, MissingFileError, OutputError

EXTENSION = ".dfm"
MAGIC = b"\x89DFM"  # the first bytes of a `.dfm` file
MEDIA_TYPE = "image/x-dfm"
NOT_A_FILE = "a device, pipe or socket, not a file"
_PIECE_BYTES = 1 << 20  # size of the pieces in which a pipe is read
MAX_NAME_BYTES = 255  # limit for a file or folder name
_LONGEST_NAME = MAX_NAME_BYTES - len("..01234567.tmp")  # leaves space for the prefix and suffix of a temporary file


def read_file(path: Path) -> bytes:
    """Reads a file. Raises MissingFileError if it does not exist, DfmError if it cannot be read."""
    with _reading(path):
        return path.read_bytes()


def read_at_most(path: Path, most_bytes: int) -> bytes:
    """Reads a file up to a maximum size, which is checked before reading; for a pipe, meanwhile.

    Raises DfmError if the file cannot be read, LimitError if it is larger.
    """
    with _reading(path), path.open("rb") as file:
        state = os.fstat(file.fileno())
        if stat.S_ISREG(state.st_mode):
            if state.st_size <= most_bytes:
                return file.read(state.st_size)
            found = f"{state.st_size} bytes, more than"
        else:
            data = bytearray()
            while (piece := file.read(_PIECE_BYTES)) and len(data) <= most_bytes:
                data += piece
            if len(data) <= most_bytes:
                return bytes(data)
            found = "more bytes than"
    msg = f"{path} has {found} the limit of {most_bytes}"
    raise LimitError(msg)


def open_file(path: Path) -> BinaryIO:
    """Opens a file to read bytes. Raises MissingFileError or DfmError, like `read_file`."""
    with _reading(path):
        return path.open("rb")


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Converts OS errors while reading to errors that name the file and the reason."""
    try:
        yield
    except OSError as error:
        kind = MissingFileError if isinstance(error, FileNotFoundError) else DfmError
        msg = f"cannot read {path}: {error.strerror or error}"
        raise kind(msg) from error


def is_stream(path: Path) -> bool:
    """Indicates whether a path is a device, pipe or socket, which are never replaced."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):  # missing, or not a valid name
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def check_writable(path: Path, force: bool, follow: bool = True) -> None:
    """Raises OutputError, before any work, for an output that exists or cannot be written.

    With `force` a file may be replaced. With `follow` the path may be a link, device or pipe: True
    for names given by the user, False for names derived from inputs.
    """
    path = destination(path, follow)
    folder = path.parent
    if is_stream(path):
        return
    if path.is_dir():
        msg = f"{path} is a folder; name another output"
    elif path.exists() and not force:
        msg = exists_message(path)
    elif (file := next(filter(Path.is_file, path.parents), None)) is not None:
        msg = f"{file} is a file, not a folder; name another output"
    elif not folder.is_dir():
        msg = f"the folder {folder} does not exist; make it first"
    elif not os.access(folder, os.W_OK | os.X_OK):
        read_only = hasattr(os, "statvfs") and os.statvfs(folder).f_flag & os.ST_RDONLY
        why = f"{folder} is on a read-only file system" if read_only else f"no permission to write in {folder}"
        msg = f"{why}; name another folder"
    else:
        return
    raise OutputError(msg)


def destination(path: Path, follow: bool) -> Path:
    """Resolves a path to the file to write. The target of a link is replaced, the link remains.

    Raises OutputError for a circular link, or, without `follow`, any link, device or pipe.
    """
    is_link = os.path.islink(path)
    if not follow and (is_link or is_stream(path)):
        what = f"a link to {os.path.realpath(path)}" if is_link else NOT_A_FILE
        msg = f"{path} is {what}, which only an output named with -o may be; remove it or name another output"
        raise OutputError(msg)
    if not is_link or is_stream(path):  # a pipe behind /dev/stdout has no other name
        return path
    with suppress(OSError, RuntimeError):
        followed = path.resolve()
        if not followed.is_symlink():
            return followed
    msg = f"{path} is a link that leads back to itself; name another file"
    raise OutputError(msg)


def exists_message(path: Path) -> str:
    return f"{path} exists; give another name, or use -f to replace it"


def write_atomic(path: Path, data: bytes, force: bool = True, follow: bool = True) -> None:
    """Writes a file so that at any moment either the old file or the complete new one is there.

    This holds even if the process is killed. Data for a device or pipe is written directly. The
    target of a link is replaced. The new file inherits the mode of a replaced file, and its owner
    if permitted. For `force` and `follow` see `check_writable`. Raises OutputError if the file
    cannot be written. An existing file is unchanged.
    """
    path = destination(path, follow)
    try:
        if is_stream(path):
            path.write_bytes(data)
            return
        if not (hasattr(os, "O_TMPFILE") and _write_unnamed(path, data, force)):
            _write_named(path, data, force)
    except FileExistsError as error:
        raise OutputError(exists_message(path)) from error
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(unwritable_message(str(path), error)) from error


def unwritable_message(name: str, error: OSError) -> str:
    """Returns the message that something cannot be written, with advice."""
    advice = "free some space or name another place"
    if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        advice = "name another place"
    return f"cannot write {name}: {error.strerror or error}; {advice}"


def _write_unnamed(path: Path, data: bytes, force: bool) -> bool:
    """Writes a file without a name, which leaves no rest; names it once it is complete.

    Returns False if the file system does not support this.
    """
    try:
        handle = os.open(path.parent, os.O_TMPFILE | os.O_WRONLY, 0o666)
    except OSError:  # file system without unnamed files
        return False
    with os.fdopen(handle, "wb") as file:
        _keep_access(handle, path)
        _write_all(file, data)
        try:
            _name(file.fileno(), path)
        except FileExistsError:
            if not force:
                raise
            with _temporary(path) as temporary:
                _name(file.fileno(), temporary)
                os.replace(temporary, path)
        except OSError:
            return False
    return True


def _name(handle: int, path: Path) -> None:
    """Gives an unnamed file a name (open(2), O_TMPFILE)."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:  # Python follows the link to the file only with a folder handle
        os.link(f"/proc/self/fd/{handle}", path.name, dst_dir_fd=folder, follow_symlinks=True)
    finally:
        os.close(folder)


def _write_all(file: BinaryIO, data: bytes) -> None:
    file.write(data)
    file.flush()
    os.fsync(file.fileno())


def _write_named(path: Path, data: bytes, force: bool) -> None:
    """Writes a temporary file, and renames it once it is complete."""
    with _temporary(path) as temporary:
        mode = 0o600 if path.exists() else 0o666  # keeps a private file private while it is being written
        with open(temporary, "xb", opener=partial(os.open, mode=mode)) as file:
            _keep_access(file.fileno(), path)
            _write_all(file, data)
        if force:
            os.replace(temporary, path)
            return
        try:
            os.link(temporary, path)
        except FileExistsError:
            raise
        except OSError:  # file system without links
            if path.exists():
                raise FileExistsError from None
            os.replace(temporary, path)


def _keep_access(handle: int, path: Path) -> None:
    """Copies mode and, if permitted, owner and group of the file to be replaced."""
    if not hasattr(os, "fchown"):
        return
    with suppress(OSError):  # nothing to replace, or a file system without modes
        old = os.stat(path)
        for owner, group in ((-1, old.st_gid), (old.st_uid, -1)):
            with suppress(PermissionError):
                os.fchown(handle, owner, group)
        os.fchmod(handle, old.st_mode & 0o777)


@contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    """Provides a hidden temporary path in the same folder, and removes the file at the end."""
    name = os.fsdecode(os.fsencode(path.name)[:_LONGEST_NAME])
    temporary = path.with_name(f".{name}.{os.urandom(4).hex()}.tmp")
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)
