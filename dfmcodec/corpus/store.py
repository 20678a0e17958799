"""Where a corpus is read from and written to: local folders, and object stores through fsspec.

Every object is written whole: it is there with all its bytes, or it is not there.
"""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from dfmcodec.errors import (
    ConfigError,
    DfmError,
    MissingPackageError,
    OutputError,
    is_installed,
    is_lack_of_memory,
)
from dfmcodec.files.atomic import is_stream, open_file, read_file, write_atomic

# Stores that publish an object only when all its bytes have arrived. What is written to another one
# (a server of files, for one) is seen while it is written, and stays so if the writer dies.
WHOLE_SCHEMES = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "memory")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")


class Store(ABC):
    """A place for objects, each of which has a name with slashes, such as `a/b.dfm`.

    Args:
        url: How to open it again, in another process or on another host.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    @abstractmethod
    def read(self, name: str) -> bytes | None:
        """The bytes of an object; None if it is not there.

        Raises:
            DfmError: It cannot be read.
        """

    @abstractmethod
    def write(self, name: str, data: bytes) -> None:
        """Writes an object whole. One of this name is replaced.

        Raises:
            OutputError: It cannot be written.
        """

    @abstractmethod
    def delete(self, name: str) -> None:
        """Takes an object away, if it is there.

        Raises:
            OutputError: It cannot be deleted.
        """

    @abstractmethod
    def holds(self, name: str) -> bool:
        """Whether there is an object or a folder of this name.

        Raises:
            DfmError: That cannot be found out.
        """

    @abstractmethod
    def names(self, folder: str) -> list[str]:
        """The names of the objects right in a folder, without the folder, as they are now.

        Raises:
            DfmError: They cannot be listed.
        """


class _LocalStore(Store):
    """A folder, which is made with the first object."""

    def __init__(self, folder: Path) -> None:
        super().__init__(str(folder))
        self._folder = folder

    def read(self, name: str) -> bytes | None:
        path = self._folder / name
        return read_file(path) if path.exists() else None

    def write(self, name: str, data: bytes) -> None:
        path = self._folder / name
        with _reaching("write", str(path), OutputError):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, data)

    def delete(self, name: str) -> None:
        path = self._folder / name
        with _reaching("delete", str(path), OutputError):
            path.unlink(missing_ok=True)

    def holds(self, name: str) -> bool:
        return os.path.lexists(self._folder / name)

    def names(self, folder: str) -> list[str]:
        path = self._folder / folder
        with _reaching("list", str(path), DfmError):
            return sorted(entry.name for entry in os.scandir(path) if entry.is_file()) if os.path.isdir(path) else []


class _RemoteStore(Store):
    """A prefix of an object store."""

    def __init__(self, url: str) -> None:
        super().__init__(url.rstrip("/"))
        self._files, self._root = _file_system(self.url)

    def read(self, name: str) -> bytes | None:
        with _reaching("read", f"{self.url}/{name}", DfmError):
            try:
                return bytes(self._files.cat_file(self._path(name)))
            except FileNotFoundError:
                return None

    def write(self, name: str, data: bytes) -> None:
        with _reaching("write", f"{self.url}/{name}", OutputError):
            self._files.pipe_file(self._path(name), data)

    def delete(self, name: str) -> None:
        with _reaching("delete", f"{self.url}/{name}", OutputError):
            try:
                self._files.rm_file(self._path(name))
            except FileNotFoundError:
                return

    def holds(self, name: str) -> bool:
        with _reaching("read", f"{self.url}/{name}", DfmError):
            return bool(self._files.exists(self._path(name)))

    def names(self, folder: str) -> list[str]:
        with _reaching("list", f"{self.url}/{folder}", DfmError):
            self._files.invalidate_cache()
            try:
                found = self._files.ls(self._path(folder), detail=True)
            except FileNotFoundError:
                return []
            return sorted(entry["name"].rsplit("/", 1)[-1] for entry in found if entry["type"] == "file")

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"


def scheme_of(text: str) -> str | None:
    """The scheme of a URL in lower case; None for a local path, and for `file://`."""
    match = _SCHEME.match(text)
    scheme = None if match is None else match[1].lower()
    return None if scheme == "file" else scheme


def local_path(text: str) -> Path:
    """The path that a text without a scheme, or with `file://`, stands for."""
    return Path(text[len("file://") :] if text.lower().startswith("file://") else text)


def open_store(url: str) -> Store:
    """Opens a store for outputs. Nothing is read or written yet.

    Args:
        url: A folder, or the URL of a prefix of an object store.

    Raises:
        ConfigError: The scheme is unknown, or outputs cannot be written whole there.
        MissingPackageError: A package that it needs is not installed.
        OutputError: It is a file.
    """
    scheme = scheme_of(url)
    if scheme is None:
        folder = local_path(url).absolute()
        if folder.exists() and not folder.is_dir():
            msg = f"{folder} is a file; outputs go to a folder"
            raise OutputError(msg)
        return _LocalStore(folder)
    _file_system_class(scheme)
    if scheme not in WHOLE_SCHEMES:
        schemes = ", ".join(f"{one}://" for one in WHOLE_SCHEMES)
        msg = f"outputs cannot be written whole to {scheme}://; name a local folder or one of {schemes}"
        raise ConfigError(msg)
    return _RemoteStore(url)


def read_url(url: str) -> bytes:
    """The bytes of a file or object.

    Raises:
        DfmError: It cannot be read.
    """
    if scheme_of(url) is None:
        return read_file(local_path(url))
    with _reaching("read", url, DfmError):
        files, path = _file_system(url)
        return bytes(files.cat_file(path))


def open_url(url: str) -> BinaryIO:
    """Opens a file or object to read it; of an object, what is read is fetched in blocks.

    Raises:
        DfmError: It cannot be opened.
    """
    if scheme_of(url) is None:
        return open_file(local_path(url))
    with _reaching("read", url, DfmError):
        files, path = _file_system(url)
        return cast("BinaryIO", files.open(path, "rb"))


def is_folder(url: str) -> bool:
    """Whether a source is a folder. What http and https name is always taken for a file.

    Raises:
        DfmError: It is neither a file nor a folder, or that cannot be found out.
    """
    scheme = scheme_of(url)
    if scheme in ("http", "https"):
        return False
    if scheme is None:
        path = local_path(url)
        is_there, is_dir = path.exists(), path.is_dir()
    else:
        with _reaching("read", url, DfmError):
            files, inner = _file_system(url)
            is_dir = bool(files.isdir(inner))
            is_there = is_dir or bool(files.exists(inner))
    if not is_there:
        msg = f"{url} is not there; name a file, a folder or a pattern"
        raise DfmError(msg)
    return is_dir


def list_files(folder: str, recursive: bool) -> Iterator[str]:
    """The names of the files of a folder in order, without hidden ones, relative to it.

    Raises:
        DfmError: They cannot be listed.
    """
    with _reaching("list", folder, DfmError):
        if scheme_of(folder) is None:
            names = list(_local_names(local_path(folder), recursive))
        else:
            files, path = _file_system(folder)
            found = files.find(path, maxdepth=None if recursive else 1)
            names = [name[len(path.rstrip("/")) + 1 :] for name in found]
        yield from sorted(name for name in names if not any(part.startswith(".") for part in name.split("/")))


def matching(pattern: str) -> list[str]:
    """The files that match a pattern with `*`, `?` and `[...]`, in order.

    Raises:
        DfmError: They cannot be listed.
    """
    with _reaching("list", pattern, DfmError):
        if scheme_of(pattern) is None:
            import glob

            return sorted(path for path in glob.glob(str(local_path(pattern)), recursive=True) if os.path.isfile(path))
        files, inner = _file_system(pattern)
        found, before = sorted(files.glob(inner)), f"{scheme_of(pattern)}://"
        if inner.lstrip("/") in pattern:  # after the scheme, and a host where there is one
            before = pattern[: pattern.index(inner.lstrip("/"))]
        return [before + path.lstrip("/") for path in found]


def _local_names(folder: Path, recursive: bool) -> Iterator[str]:
    def fail(error: OSError) -> None:
        raise error

    for root, folders, names in os.walk(folder, onerror=fail):
        folders[:] = folders if recursive else []
        paths = (Path(root, name) for name in names)
        yield from (path.relative_to(folder).as_posix() for path in paths if not is_stream(path))


def _file_system_class(scheme: str) -> Any:
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
    """The file system of a URL, which keeps no listings, and the path in it."""
    made = _file_system_class(cast("str", scheme_of(url)))
    options = made._get_kwargs_from_urls(url)
    return made(use_listings_cache=False, **options), made._strip_protocol(url)


@contextmanager
def _reaching(what: str, url: str, kind: type[DfmError]) -> Iterator[None]:
    """Makes one line of whatever a store raises: each has errors of its own.

    Raises:
        DfmError: Of the given kind.
        MemoryError: There was too little memory, be it for a library of the store.
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
