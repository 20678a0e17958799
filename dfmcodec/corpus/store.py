"""Sources and stores of a corpus: local folders, and object stores through fsspec.

Every object of a store is written atomically: it exists completely or not at all. All functions
raise a DfmError if a file or object cannot be read or listed.
"""

from __future__ import annotations

import errno
import glob
import os
import re
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, cast
from unicodedata import normalize

from dfmcodec.errors import ConfigError, DfmError, ImageError, MissingPackageError, OutputError, is_lack_of_memory
from dfmcodec.files.atomic import NOT_A_FILE, is_stream, open_file, read_at_most, write_atomic
from dfmcodec.image.open_image import MAX_HELD_BYTES

# Stores that publish an object only when it is complete. Others, such as file servers, show partial
# objects while they are written, and keep them if the writer dies.
_ATOMIC_SCHEMES = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
# Errors that a file system reports for a single name while it accepts others: a file where a folder
# is needed or vice versa, and invalid names.
_NAME_ERRORS = {errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.EINVAL, errno.EILSEQ, errno.ELOOP}


class UnusableNameError(ImageError):
    """The store does not accept an object of this name, but may accept others."""


class Store:
    """Local folder for objects with names that can contain slashes, such as `a/b.dfm`.

    The folder may be or be behind a symbolic link. Below it, no link is followed, because names of
    outputs come from untrusted sources, and links may have been created by other users of the
    folder. The methods raise UnusableNameError for a name that leads over a link, device or pipe,
    DfmError if the store cannot be read, and OutputError if it cannot be written.
    """

    _folds_case = sys.platform in ("win32", "darwin")  # where folders usually do not distinguish a.dfm from A.dfm

    def __init__(self, folder: Path) -> None:
        self.url = str(folder)  # with which another process or host can open the store
        self._folder = folder

    def holds(self, name: str) -> bool:
        """Indicates whether an object exists."""
        return os.path.isfile(self._checked_path(name))

    def write(self, name: str, data: bytes) -> None:
        """Writes an object atomically. Replaces an existing object of this name. Raises
        UnusableNameError if the store does not accept this name.
        """
        path = self._checked_path(name)
        with _write_errors(str(path)):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, data, follow=False)

    def key(self, name: str) -> str:
        """Returns a key that is equal for names that are the same in the store."""
        return normalize("NFC", name).casefold() if self._folds_case else name

    def _checked_path(self, name: str) -> Path:
        path = self._folder / name
        ancestors = [path, *path.parents]
        for ancestor in reversed(ancestors[: ancestors.index(self._folder)]):
            mode = os.lstat(ancestor).st_mode if os.path.lexists(ancestor) else stat.S_IFREG
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                kind = "a symbolic link" if stat.S_ISLNK(mode) else NOT_A_FILE
                msg = f"{ancestor} is {kind}, which no output is written to; remove it, or name another store"
                raise UnusableNameError(msg)
        return path


class _RemoteStore(Store):
    """Prefix of an object store."""

    _folds_case = False

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._files, self._root = _file_system(self.url)

    def holds(self, name: str) -> bool:
        with _store_errors("read", f"{self.url}/{name}", DfmError), suppress(FileNotFoundError):
            return bool(self._files.info(f"{self._root}/{name}")["type"] == "file")
        return False

    def write(self, name: str, data: bytes) -> None:
        with _write_errors(f"{self.url}/{name}"):
            self._files.pipe_file(f"{self._root}/{name}", data)


def scheme_of(text: str) -> str | None:
    """Returns the scheme of a URL in lower case; None for local paths and `file://`."""
    match = _SCHEME.match(text)
    scheme = None if match is None else match[1].lower()
    return None if scheme == "file" else scheme


def local_path(text: str) -> Path:
    """Converts text without a scheme, or with `file://`, to a path."""
    return Path(text[len("file://") :] if text.lower().startswith("file://") else text)


def open_store(url: str) -> Store:
    """Opens a store for outputs, a folder or a prefix of an object store, without reading it.
    Raises ConfigError if the scheme does not support atomic writes, MissingPackageError if a
    required package is not installed, and OutputError if the path is a file.
    """
    scheme = scheme_of(url)
    if scheme is None:
        folder = local_path(url).absolute()
        if folder.exists() and not folder.is_dir():
            msg = f"{folder} is a file; outputs go to a folder"
            raise OutputError(msg)
        return Store(folder)
    if scheme not in _ATOMIC_SCHEMES:
        schemes = ", ".join(f"{one}://" for one in _ATOMIC_SCHEMES)
        msg = f"{scheme}:// does not support atomic writes; name a local folder or one of {schemes}"
        raise ConfigError(msg)
    return _RemoteStore(url)


def read_url(url: str) -> bytes:
    """Reads a file or object. Raises DfmError if it cannot be read, is larger than
    `MAX_HELD_BYTES`, or is a device or pipe.
    """
    if scheme_of(url) is None:
        return read_at_most(_file(url), MAX_HELD_BYTES)
    with _store_errors("read", url, DfmError):
        files, path = _file_system(url)
        size = files.info(path)["size"] or 0  # not all servers report it
        data = bytes(files.cat_file(path)) if size <= MAX_HELD_BYTES else b""
    if max(size, len(data)) > MAX_HELD_BYTES:
        msg = f"{url} has more than {MAX_HELD_BYTES >> 20} MiB, the limit for an image"
        raise DfmError(msg)
    return data


def open_url(url: str) -> BinaryIO:
    """Opens a file or object for reading. Objects are fetched in blocks."""
    if scheme_of(url) is None:
        return open_file(_file(url))
    with _store_errors("read", url, DfmError):
        files, path = _file_system(url)
        return cast("BinaryIO", files.open(path, "rb"))


def _file(url: str) -> Path:
    path = local_path(url)
    if is_stream(path):
        msg = f"{url} is {NOT_A_FILE}"
        raise DfmError(msg)
    return path


def is_folder(url: str) -> bool:
    """Indicates whether a source is a folder. URLs with http and https always count as files.
    Raises DfmError if the source does not exist, or cannot be accessed.
    """
    scheme = scheme_of(url)
    if scheme in ("http", "https"):
        return False
    with _store_errors("read", url, DfmError):
        files, path = (os.path, local_path(url)) if scheme is None else _file_system(url)
        is_dir = bool(files.isdir(path))
        if not is_dir and not files.exists(path):
            msg = f"{url} is not there; name a file, a folder or a pattern"
            raise DfmError(msg)
    return is_dir


def list_files(folder: str, recursive: bool) -> list[str]:
    """Returns the names of the files of a folder in order, relative to it, without hidden files."""
    with _store_errors("list", folder, DfmError):
        if scheme_of(folder) is None:
            top, names = local_path(folder), []
            for root, folders, files in os.walk(top, onerror=_raise):
                folders[:] = folders if recursive else []
                paths = (Path(root, name) for name in files)
                names += [path.relative_to(top).as_posix() for path in paths if not is_stream(path)]
        else:
            system, path = _file_system(folder)
            names = system.find(path, maxdepth=None if recursive else 1)
            names = [name[len(path.rstrip("/")) + 1 :] for name in names]
        return sorted(name for name in names if not any(part.startswith(".") for part in name.split("/")))


def matching(pattern: str) -> list[str]:
    """Returns the files that match a pattern with `*`, `?` and `[...]`, in order."""
    with _store_errors("list", pattern, DfmError):
        if scheme_of(pattern) is None:
            paths = glob.glob(str(local_path(pattern)), recursive=True)
            return sorted(Path(path).as_posix() for path in paths if os.path.isfile(path))
        files, inner = _file_system(pattern)
        paths, before = sorted(files.glob(inner)), f"{scheme_of(pattern)}://"
        if inner.lstrip("/") in pattern:  # after the scheme and host, if there are any
            before = pattern[: pattern.index(inner.lstrip("/"))]
        return [before + path.lstrip("/") for path in paths]


def _raise(error: OSError) -> None:
    raise error


def _file_system(url: str) -> tuple[Any, str]:
    """Returns the file system of a URL, without a cache of listings, and the path in it."""
    scheme = cast("str", scheme_of(url))
    try:
        import fsspec

        kind = fsspec.get_filesystem_class(scheme)
    except (ValueError, ImportError) as error:
        msg = f"no package for {scheme}:// is installed; for s3, gs, az and https: pip install 'dfmcodec[cloud]'"
        raise MissingPackageError(msg) from error
    return kind(use_listings_cache=False, **kind._get_kwargs_from_urls(url)), kind._strip_protocol(url)


@contextmanager
def _write_errors(url: str) -> Iterator[None]:
    """Distinguishes errors of a single name, as UnusableNameError, from errors of the store."""
    try:
        with _store_errors("write", url, OutputError):
            yield
    except OutputError as error:
        cause = error.__cause__
        if isinstance(cause, ValueError) or (isinstance(cause, OSError) and cause.errno in _NAME_ERRORS):
            reason = getattr(cause, "strerror", None) or cause
            msg = f"cannot write {url}: {reason}; rename the source"
            raise UnusableNameError(msg) from cause
        raise


@contextmanager
def _store_errors(what: str, url: str, kind: type[DfmError]) -> Iterator[None]:
    """Converts errors of a store, which have many types, to errors of one line. Lack of memory,
    possibly while loading a library, becomes a MemoryError.
    """
    try:
        yield
    except DfmError:
        raise
    except Exception as error:
        if is_lack_of_memory(error):
            raise MemoryError(str(error)) from error
        reason = " ".join(str(getattr(error, "strerror", None) or error).split()) or type(error).__name__
        msg = f"cannot {what} {url}: {reason}; check that it exists, and the credentials and permissions there"
        raise kind(msg) from error
