"""Stores of a corpus: local folders, and object stores through fsspec.

Every object is written atomically: it exists completely or not at all. All functions raise a
DfmError if a file or object cannot be read or listed.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, cast
from unicodedata import normalize

from dfmcodec.errors import ConfigError, DfmError, MissingPackageError, OutputError, is_installed, is_lack_of_memory
from dfmcodec.files.atomic import NOT_A_FILE, is_stream, open_file, read_at_most, read_file, write_atomic
from dfmcodec.image.open_image import MAX_HELD_BYTES

# Stores that publish an object only when it is complete. Others, such as file servers, show partial
# objects while they are written, and keep them if the writer dies.
ATOMIC_SCHEMES = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "memory")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_CASELESS = ("win32", "darwin")  # systems with folders that usually do not distinguish a.dfm from A.dfm
_WEB = ("http", "https")
_PIECE_BYTES = 1 << 20  # size of the pieces in which a response is read
_MAX_KEY_BYTES = 1024  # limit for the name of an object, including the prefix of the store
# Errors that a file system reports for a single name while it accepts others: a file where a folder
# is needed or vice versa, and invalid names.
_OF_NAMES = {errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.EINVAL, errno.EILSEQ, errno.ELOOP}


class UnusableNameError(OutputError):
    """The store does not accept an object of this name, but may accept others."""


class Store(ABC):
    """Storage of objects with names that can contain slashes, such as `a/b.dfm`.

    Its methods raise a DfmError if the store cannot be read, and an OutputError if it cannot be
    changed.
    """

    def __init__(self, url: str) -> None:
        self.url = url  # with which another process or host can open the store

    @abstractmethod
    def read(self, name: str) -> bytes | None:
        """Reads an object; returns None if it does not exist."""

    @abstractmethod
    def write(self, name: str, data: bytes) -> None:
        """Writes an object atomically. Replaces an existing object of this name. Raises
        UnusableNameError if the store does not accept this name.
        """

    @abstractmethod
    def delete(self, name: str) -> None:
        """Deletes an object if it exists."""

    @abstractmethod
    def holds(self, name: str) -> bool:
        """Indicates whether an object or a folder of this name exists."""

    def key(self, name: str) -> str:
        """Returns a key that is equal for names that are the same in the store."""
        return name

    def names(self, folder: str) -> list[str]:
        """Returns the current names of the objects directly in a folder, without the folder."""
        return sorted(self.sizes(folder))

    @abstractmethod
    def sizes(self, folder: str) -> dict[str, int]:
        """Returns the sizes in bytes of the objects directly in a folder, by name."""


class _LocalStore(Store):
    """Local folder, created with the first object.

    The folder may be or be behind a symbolic link. Below it, no link is followed for writing or
    deleting, because names of outputs come from untrusted sources, and links may have been created
    by other users of the folder.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(str(folder))
        self._folder = folder

    def read(self, name: str) -> bytes | None:
        path = self._folder / name
        if is_stream(path):
            msg = f"{path} is {NOT_A_FILE}; remove it, or name another store"
            raise DfmError(msg)
        return read_file(path) if path.exists() else None

    def write(self, name: str, data: bytes) -> None:
        path = self._folder / name
        with _write_errors(str(path)):
            self._check_path(path)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, data, follow=False)

    def delete(self, name: str) -> None:
        path = self._folder / name
        with _store_errors("delete", str(path), OutputError):
            self._check_path(path.parent)
            path.unlink(missing_ok=True)

    def _check_path(self, path: Path) -> None:
        """Raises an UnusableNameError if a path or one of its folders below the store is a symbolic
        link, device, pipe or socket.
        """
        ancestors = [path, *path.parents]
        for ancestor in reversed(ancestors[: ancestors.index(self._folder)]):
            try:
                mode = os.lstat(ancestor).st_mode
            except FileNotFoundError:
                return
            found = "a symbolic link" if stat.S_ISLNK(mode) else NOT_A_FILE
            if stat.S_ISLNK(mode) or not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                msg = f"{ancestor} is {found}, which no output is written to; remove it, or name another store"
                raise UnusableNameError(msg)

    def holds(self, name: str) -> bool:
        return os.path.lexists(self._folder / name)

    def key(self, name: str) -> str:
        return normalize("NFC", name).casefold() if sys.platform in _CASELESS else name

    def sizes(self, folder: str) -> dict[str, int]:
        path = self._folder / folder
        found: dict[str, int] = {}
        with _store_errors("list", str(path), DfmError):
            for entry in os.scandir(path) if os.path.isdir(path) else ():
                with suppress(FileNotFoundError):  # another process may rename or remove it meanwhile
                    if entry.is_file():
                        found[entry.name] = entry.stat().st_size
        return found


class _RemoteStore(Store):
    """Prefix of an object store."""

    def __init__(self, url: str) -> None:
        super().__init__(url.rstrip("/"))
        self._files, self._root = _file_system(self.url)

    def read(self, name: str) -> bytes | None:
        with _store_errors("read", f"{self.url}/{name}", DfmError):
            try:
                return bytes(self._files.cat_file(self._path(name)))
            except FileNotFoundError:
                return None

    def write(self, name: str, data: bytes) -> None:
        with _write_errors(f"{self.url}/{name}"):
            path = self._path(name)
            if len(path.encode()) > _MAX_KEY_BYTES:
                raise OSError(errno.ENAMETOOLONG, f"its name has more than {_MAX_KEY_BYTES} bytes")
            self._files.pipe_file(path, data)

    def delete(self, name: str) -> None:
        with _store_errors("delete", f"{self.url}/{name}", OutputError):
            with suppress(FileNotFoundError):
                self._files.rm_file(self._path(name))

    def holds(self, name: str) -> bool:
        with _store_errors("read", f"{self.url}/{name}", DfmError):
            return bool(self._files.exists(self._path(name)))

    def sizes(self, folder: str) -> dict[str, int]:
        with _store_errors("list", f"{self.url}/{folder}", DfmError):
            self._files.invalidate_cache()
            try:
                found = self._files.ls(self._path(folder), detail=True)
            except FileNotFoundError:
                return {}
            files = (entry for entry in found if entry["type"] == "file")
            return {entry["name"].rsplit("/", 1)[-1]: int(entry["size"] or 0) for entry in files}

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"


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
    Raises ConfigError if the scheme is unknown, or does not support atomic writes;
    MissingPackageError if a required package is not installed; OutputError if the path is a file.
    """
    scheme = scheme_of(url)
    if scheme is None:
        folder = local_path(url).absolute()
        if folder.exists() and not folder.is_dir():
            msg = f"{folder} is a file; outputs go to a folder"
            raise OutputError(msg)
        return _LocalStore(folder)
    file_system_class(scheme)
    if scheme not in ATOMIC_SCHEMES:
        schemes = ", ".join(f"{one}://" for one in ATOMIC_SCHEMES)
        msg = f"{scheme}:// does not support atomic writes; name a local folder or one of {schemes}"
        raise ConfigError(msg)
    return _RemoteStore(url)


def read_url(url: str, redirects: bool = True) -> bytes:
    """Reads a file or object, up to the size limit of an image. Servers may redirect by default.
    Raises DfmError if the object cannot be read, is larger than `MAX_HELD_BYTES`, or is a device or
    pipe.
    """
    scheme = scheme_of(url)
    if scheme is None:
        file = local_path(url)
        if is_stream(file):
            msg = f"{url} is {NOT_A_FILE}"
            raise DfmError(msg)
        return read_at_most(file, MAX_HELD_BYTES)
    with _store_errors("read", url, DfmError):
        files, path = _file_system(url)
        if scheme in _WEB:
            return _from_web(files, url, redirects)
        _check_size(url, files.info(path).get("size") or 0)  # not all servers report it
        return bytes(files.cat_file(path))


def _from_web(files: Any, url: str, redirects: bool) -> bytes:
    """Reads the response of a server. Passing a size keeps fsspec from requesting it."""
    with files.open(url, "rb", block_size=0, size=1, allow_redirects=redirects) as answer:
        if answer.r.status in range(300, 400):
            msg = f"{url} leads to {answer.r.headers.get('Location')}, which is not followed; name that URL"
            raise DfmError(msg)
        data = bytearray()
        while piece := answer.read(_PIECE_BYTES):
            data += piece
            _check_size(url, len(data))
        return bytes(data)


def _check_size(url: str, size: int) -> None:
    if size > MAX_HELD_BYTES:
        msg = f"{url} has more than {MAX_HELD_BYTES >> 20} MiB, the limit for an image"
        raise DfmError(msg)


def open_url(url: str) -> BinaryIO:
    """Opens a file or object for reading. Objects are fetched in blocks."""
    if scheme_of(url) is None:
        return open_file(local_path(url))
    with _store_errors("read", url, DfmError):
        files, path = _file_system(url)
        return cast("BinaryIO", files.open(path, "rb"))


def version_of(source: str) -> str | None:
    """Returns the size and modification time of a local file as text; None for a URL or no file."""
    if scheme_of(source) is not None:
        return None
    try:
        found = os.stat(local_path(source))
    except (OSError, ValueError):
        return None
    return f"{found.st_size} {found.st_mtime_ns}"


def is_folder(url: str) -> bool:
    """Indicates whether a source is a folder. URLs with http and https always count as files.
    Raises DfmError if the source does not exist, or cannot be accessed.
    """
    scheme = scheme_of(url)
    if scheme in _WEB:
        return False
    if scheme is None:
        path = local_path(url)
        is_there, is_dir = os.path.exists(path), os.path.isdir(path)
    else:
        with _store_errors("read", url, DfmError):
            files, inner = _file_system(url)
            is_dir = bool(files.isdir(inner))
            is_there = is_dir or bool(files.exists(inner))
    if not is_there:
        msg = f"{url} is not there; name a file, a folder or a pattern"
        raise DfmError(msg)
    return is_dir


def list_files(folder: str, recursive: bool) -> Iterator[str]:
    """Yields the names of the files of a folder in order, relative to it, without hidden files."""
    with _store_errors("list", folder, DfmError):
        if scheme_of(folder) is None:
            names = list(_local_names(local_path(folder), recursive))
        else:
            files, path = _file_system(folder)
            found = files.find(path, maxdepth=None if recursive else 1)
            names = [name[len(path.rstrip("/")) + 1 :] for name in found]
        yield from sorted(name for name in names if not any(part.startswith(".") for part in name.split("/")))


def matching(pattern: str) -> list[str]:
    """Returns the files that match a pattern with `*`, `?` and `[...]`, in order."""
    with _store_errors("list", pattern, DfmError):
        if scheme_of(pattern) is None:
            import glob

            found = glob.glob(str(local_path(pattern)), recursive=True)
            return sorted(Path(path).as_posix() for path in found if os.path.isfile(path))
        files, inner = _file_system(pattern)
        found, before = sorted(files.glob(inner)), f"{scheme_of(pattern)}://"
        if inner.lstrip("/") in pattern:  # after the scheme and host, if there are any
            before = pattern[: pattern.index(inner.lstrip("/"))]
        return [before + path.lstrip("/") for path in found]


def _local_names(folder: Path, recursive: bool) -> Iterator[str]:
    def fail(error: OSError) -> None:
        raise error

    for root, folders, names in os.walk(folder, onerror=fail):
        folders[:] = folders if recursive else []
        paths = (Path(root, name) for name in names)
        yield from (path.relative_to(folder).as_posix() for path in paths if not is_stream(path))


def file_system_class(scheme: str) -> Any:
    """Returns the class of fsspec that reads a scheme. Raises ConfigError if the scheme is unknown,
    and MissingPackageError if a required package is not installed.
    """
    missing = f"{scheme}:// needs a package that is not installed; install it: pip install 'dfmcodec[cloud]'"
    if not is_installed("fsspec"):
        raise MissingPackageError(missing)
    import fsspec

    try:
        return fsspec.get_filesystem_class(scheme)
    except ValueError as error:
        msg = f"the scheme {scheme}:// is unknown; name a local path, s3://, gs://, az:// or, to read, https://"
        raise ConfigError(msg) from error
    except ImportError as error:
        raise MissingPackageError(missing) from error


def _file_system(url: str) -> tuple[Any, str]:
    """Returns the file system of a URL, without a cache of listings, and the path in it."""
    kind = file_system_class(cast("str", scheme_of(url)))
    return kind(use_listings_cache=False, **kind._get_kwargs_from_urls(url)), kind._strip_protocol(url)


@contextmanager
def _write_errors(url: str) -> Iterator[None]:
    """Distinguishes errors of a single name, as UnusableNameError, from errors of the store."""
    try:
        with _store_errors("write", url, OutputError):
            yield
    except OutputError as error:
        cause = error.__cause__
        if isinstance(cause, ValueError) or (isinstance(cause, OSError) and cause.errno in _OF_NAMES):
            said = getattr(cause, "strerror", None) or cause
            msg = f"cannot write {url}: {said}; rename the source"
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
        said = " ".join(str(getattr(error, "strerror", None) or error).split()) or type(error).__name__
        advice = "check that it exists, and the credentials and permissions there"
        msg = f"cannot {what} {url}: {said}; {advice}"
        raise kind(msg) from error
