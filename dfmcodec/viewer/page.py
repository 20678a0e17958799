"""The viewer's page as one HTML file, built from the folder `web/`."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

from dfmcodec.errors import InstallationError

ALIVE = "alive"  # the address, relative to the page, that the page keeps open
FILES = "files"  # the folder of the files' addresses


def standalone_page() -> bytes:
    """The page without files, which works from any place, also from a folder.

    Raises:
        InstallationError: The page is missing.
    """
    return _built(None, None)


def served_page(names: Sequence[str]) -> bytes:
    """The page that shows files as soon as it is opened.

    Args:
        names: The names to show. Each file has an address of its own, see `file_address`.

    Raises:
        InstallationError: The page is missing.
    """
    return _built([{"name": name, "url": file_address(number)} for number, name in enumerate(names)], ALIVE)


def file_address(number: int) -> str:
    """The address of a file relative to the page, in which nothing of its name occurs."""
    return f"{FILES}/{number}"


def _built(files: list[dict[str, str]] | None, alive: str | None) -> bytes:
    try:
        builder = importlib.import_module("dfmcodec.web.build")
        page: str = builder.build(files, alive=alive)
    except (ModuleNotFoundError, FileNotFoundError) as error:
        msg = f"a part of the viewer's page is missing ({error}); install dfmcodec again"
        raise InstallationError(msg) from error
    return page.encode()
