"""Untrusted names of images in tables, read only from places that the user allowed."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from dfmcodec.corpus.store import ATOMIC_SCHEMES, file_system_class, local_path, scheme_of
from dfmcodec.errors import ConfigError, ImageError

# Other schemes of fsspec give access to archives, caches and files of this host.
_SCHEMES = ("http", "https", *ATOMIC_SCHEMES)
_URL = re.compile(r"([^:/]+)://([^/]*)(/?.*)", re.DOTALL)


def places_of(named: Sequence[str]) -> tuple[str, ...]:
    """Converts places named by the user: folders become absolute; schemes such as `https://`, hosts
    such as `https://example.org/`, and longer prefixes that end at a slash are checked. Raises
    ConfigError if a scheme is not allowed, and MissingPackageError if it needs a package that is
    not installed.
    """
    return tuple(map(_place, named))


def _place(text: str) -> str:
    scheme = scheme_of(text)
    if scheme is None:
        return local_path(text).absolute().as_posix()
    if scheme not in _SCHEMES:
        schemes = ", ".join(f"{one}://" for one in _SCHEMES)
        msg = f"names in tables are not followed to {scheme}://; --follow takes folders and {schemes}"
        raise ConfigError(msg)
    file_system_class(scheme)
    return text


def followed(name: str, table: str, places: Sequence[str], skips_links: bool = False) -> str:
    """Returns the path or URL to read for a name in a table. A relative path starts at the folder
    of the table. Raises ImageError if the name is not in a place of `places_of`, or leads there
    over a symbolic link that is to be skipped.
    """
    scheme = scheme_of(name)
    if scheme is not None:
        if any(_is_prefix(place, name) for place in places):
            return name
    elif scheme_of(table) is None:
        path = local_path(table).parent / local_path(name)
        folder = next((Path(one) for one in places if scheme_of(one) is None and _is_below(path, Path(one))), None)
        if folder is not None and skips_links and _leads_over_link(path, folder):
            msg = f"the row names {name}, which leads over a symbolic link; --skip-links leaves it out"
            raise ImageError(msg)
        if folder is not None:
            return str(path)
    msg = f"the row names {name}, which is not read; name its folder or the beginning of its URL with --follow"
    raise ImageError(msg)


def _is_prefix(place: str, url: str) -> bool:
    """Indicates whether a URL is in a place and does not leave it."""
    ours, theirs = _URL.fullmatch(place), _URL.fullmatch(url)
    if ours is None or theirs is None or ours[1].lower() != theirs[1].lower():
        return False
    parts = re.split(r"[/?#]|%2f|%5c", theirs[3].lower().replace("%2e", "."))
    if ".." in parts or re.search(r"[\\\x00-\x20\x7f]", url):
        return False
    folder = ours[3].rstrip("/") + "/"
    return not ours[2] or (ours[2].lower() == theirs[2].lower() and theirs[3].startswith(folder))


def _is_below(path: Path, folder: Path) -> bool:
    """Indicates whether a path is a file below a folder. Paths that are not written as such are not
    accessed, because accessing a network share contacts its host.
    """
    try:
        real = Path(os.path.realpath(folder))
        written = Path(os.path.abspath(path))
        is_written_so = written.is_relative_to(folder) or written.is_relative_to(real)
        return is_written_so and Path(os.path.realpath(path)).is_relative_to(real)
    except (OSError, ValueError):  # not a valid file name
        return False


def _leads_over_link(path: Path, folder: Path) -> bool:
    """Indicates whether a path below a folder, by `_is_below`, contains a symbolic link."""
    real, written = Path(os.path.realpath(folder)), Path(os.path.abspath(path))
    inner = written.relative_to(folder if written.is_relative_to(folder) else real)
    return Path(os.path.realpath(path)) != real / inner
