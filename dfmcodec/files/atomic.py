"""Reads with clear errors, and writes that leave either the old file or the whole new one."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO

from dfmcodec.errors import DfmError, LimitError, MissingFileError, OutputError

try:
    import fcntl
except ImportError:  # Windows, where files that are open cannot be removed
    fcntl = None  # type: ignore[assignment]


EXTENSION = ".dfm"
MEDIA_TYPE = "image/x-dfm"
NOT_A_FILE = "a device, pipe or socket, not a file"
_PIECE_BYTES = 1 << 20  # of what is read from a pipe at a time
_TEMPORARY = re.compile(r"[0-9a-f]{8}\.tmp")  # the end of a temporary file's name
MAX_NAME_BYTES = 255  # of a file or folder
_LONGEST_NAME = MAX_NAME_BYTES - len("..01234567.tmp")  # bytes of a file's name that fit into its temporary file's name


def read_file(path: Path) -> bytes:
    """Reads the bytes of a file.

    Raises:
        MissingFileError: The file does not exist.
        DfmError: The file cannot be read.
    """
    with _reading(path):
        return path.read_bytes()


def read_at_most(path: Path, most_bytes: int) -> bytes:
    """Reads the bytes of a file, if they are not too many; that is found before they are read, or
    of a pipe while they are.

    Raises:
        DfmError: The file cannot be read.
        LimitError: It has more bytes.
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
    """Opens a file to read its bytes.

    Raises:
        MissingFileError: The file does not exist.
        DfmError: The file cannot be opened.
    """
    with _reading(path):
        return path.open("rb")


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Says which file cannot be read, and why.

    Raises:
        MissingFileError: The file does not exist.
        DfmError: The file cannot be read.
    """
    try:
        yield
    except OSError as error:
        kind = MissingFileError if isinstance(error, FileNotFoundError) else DfmError
        msg = f"cannot read {path}: {error.strerror or error}"
        raise kind(msg) from error


def is_stream(path: Path) -> bool:
    """Indicates whether a path names a device, pipe or socket, which is written to and never
    replaced.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):  # not there, or a name that no file can have
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def check_writable(path: Path, force: bool, follow: bool = True) -> None:
    """Refuses, before any work, an output that exists (without `force`) or cannot be written.

    Args:
        path: The output.
        force: Whether an existing file may be replaced.
        follow: Whether the path may be a link to the file, a device or a pipe, as a name that the
            user gave may be; not a name that is derived from that of an input.

    Raises:
        OutputError: The output exists or cannot be written; the message says why.
    """
    path = destination(path, follow)
    folder = path.parent
    if is_stream(path):
        return
    if path.is_dir():
        msg = f"{path} is a folder; name another output"
    elif path.exists() and not force:
        msg = exists_message(path)
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
    """Returns the file that a path stands for: the one behind a link, so that it is replaced and
    the link stays one.

    Raises:
        OutputError: The link leads back to itself; or, without `follow`, the path is a link, device
            or pipe.
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
    """Says that an output exists, and what to do."""
    return f"{path} exists; give another name, or use -f to replace it"


def write_atomic(path: Path, data: bytes, force: bool = True, follow: bool = True, mtime_ns: int | None = None) -> None:
    """Writes a file so that at any moment either the old file or the whole new one is there.

    This holds even if the process is killed.

    Args:
        path: The file. If it is a device or a pipe, the data goes straight to it. If it is a link,
            the file behind it is replaced. A file that is replaced leaves its mode to the new one,
            and its owner where that is permitted.
        data: The whole contents.
        force: Whether an existing file is replaced.
        follow: Whether the path may be a link, a device or a pipe; see `check_writable`.
        mtime_ns: The modification time of the file; None for that of the write. Some systems keep
            it rounded, or not at all.

    Raises:
        OutputError: The file cannot be written. An existing file is unchanged.
    """
    path = destination(path, follow)
    try:
        if is_stream(path):
            path.write_bytes(data)
            return
        _sweep(path)
        if not (hasattr(os, "O_TMPFILE") and _write_unnamed(path, data, force, mtime_ns)):
            _write_named(path, data, force, mtime_ns)
    except FileExistsError as error:
        raise OutputError(exists_message(path)) from error
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(unwritable_message(str(path), error)) from error


def unwritable_message(name: str, error: OSError) -> str:
    """Says why something cannot be written, and what to do."""
    advice = "free some space or name another place"
    if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        advice = "name another place"
    return f"cannot write {name}: {error.strerror or error}; {advice}"


def _write_unnamed(path: Path, data: bytes, force: bool, mtime_ns: int | None) -> bool:
    """Writes a file without a name and names it once it is whole, so that no rest can be left over.

    Returns:
        False where the file system cannot do this.
    """
    try:
        handle = os.open(path.parent, os.O_TMPFILE | os.O_WRONLY, 0o666)
    except OSError:  # a file system without unnamed files
        return False
    with os.fdopen(handle, "wb") as file:
        _keep_access(handle, path)
        _write_all(file, data, mtime_ns)
        try:
            _name(file.fileno(), path)
        except FileExistsError:
            if not force:
                raise
            lock(file.fileno())
            with _temporary(path) as temporary:
                _name(file.fileno(), temporary)
                os.replace(temporary, path)
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


def _write_all(file: BinaryIO, data: bytes, mtime_ns: int | None) -> None:
    """Writes the contents of a file to the disk, and sets its modification time."""
    file.write(data)
    file.flush()
    if mtime_ns is not None and os.utime in os.supports_fd:
        os.utime(file.fileno(), ns=(mtime_ns, mtime_ns))
    os.fsync(file.fileno())


def _write_named(path: Path, data: bytes, force: bool, mtime_ns: int | None) -> None:
    while not _written_named(path, data, force, mtime_ns):
        pass


def _written_named(path: Path, data: bytes, force: bool, mtime_ns: int | None) -> bool:
    """Writes through a temporary file.

    Returns:
        False where another process took the temporary file for a leftover before it was locked.
    """
    with _temporary(path) as temporary:
        mode = 0o600 if path.exists() else 0o666  # nobody reads the rest of a private file meanwhile
        with open(temporary, "xb", opener=partial(os.open, mode=mode)) as file:
            lock(file.fileno())
            if not temporary.exists():
                return False
            _keep_access(file.fileno(), path)
            _write_all(file, data, mtime_ns)
            if force and fcntl is not None:
                os.replace(temporary, path)  # while it is locked
                return True
        if force:
            os.replace(temporary, path)
            return True
        try:
            os.link(temporary, path)
        except FileExistsError:
            raise
        except OSError:  # a file system without links
            if path.exists():
                raise FileExistsError from None
            os.replace(temporary, path)
    return True


def _keep_access(handle: int, path: Path) -> None:
    """Gives the file that is to replace another the mode of that one, and its owner and group where
    this is permitted.
    """
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
    """Gives a hidden name in the folder of a path, and removes that file in the end."""
    temporary = path.with_name(f"{_temporary_prefix(path)}{os.urandom(4).hex()}.tmp")
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def _temporary_prefix(path: Path) -> str:
    return f".{os.fsdecode(os.fsencode(path.name)[:_LONGEST_NAME])}."


def lock(handle: int) -> None:
    """Marks a file as being written, until it is closed or this process ends; waits for another
    process that has marked it.
    """
    if fcntl is not None:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX)


def _sweep(path: Path) -> None:
    """Removes what killed processes left: hidden files of this name that nobody has locked."""
    if fcntl is None or not path.exists():
        return
    prefix, names = _temporary_prefix(path), []
    with suppress(OSError):  # a folder that may not be listed
        names = os.listdir(path.parent)
    for name in names:
        if name.startswith(prefix) and _TEMPORARY.fullmatch(name, len(prefix)):
            with suppress(OSError):
                _remove_unlocked(path.with_name(name))


def _remove_unlocked(path: Path) -> None:
    """Removes a file, unless it is locked or no regular file. A pipe, a device and what a link
    leads to are never opened.
    """
    if not stat.S_ISREG(os.lstat(path).st_mode):
        return
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)  # it may be another by now
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
    finally:
        os.close(handle)
