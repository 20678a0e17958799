"""The viewer's page as one HTML file, built from the folder `web/`."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence

from dfmcodec.errors import InstallationError

ALIVE = "alive"  # the address, relative to the page, that the page keeps open
FILES = "files"  # the folder of the files' addresses


def standalone_page() -> bytes:
    """The page without files, which works from any place, also from a folder.

    Raises:
        InstallationError: The page is missing.
    """
    return _built(None, None, None)


def served_page(names: Sequence[str], limits: Mapping[str, int] | None = None) -> bytes:
    """The page that shows files as soon as it is opened.

    Args:
        names: The names to show. Each file has an address of its own, see `file_address`.
        limits: `maxPixels` and `maxMultiplyAdds` of the page; those that are missing are the
            decoder's own.

    Raises:
        InstallationError: The page is missing.
    """
    return _built([{"name": name, "url": file_address(number)} for number, name in enumerate(names)], ALIVE, limits)


def file_address(number: int) -> str:
    """The address of a file relative to the page, in which nothing of its name occurs."""
    return f"{FILES}/{number}"


def _built(files: list[dict[str, str]] | None, alive: str | None, limits: Mapping[str, int] | None) -> bytes:
    try:
        builder = importlib.import_module("dfmcodec.web.build")
        page: str = builder.build(files, alive=alive, limits=limits)
    except (ModuleNotFoundError, FileNotFoundError) as error:
        msg = f"a part of the viewer's page is missing ({error}); install dfmcodec again"
        raise InstallationError(msg) from error
    return page.encode()
