"""Viewer page as one HTML file, built from the folder `web/`."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from dfmcodec.errors import InstallationError

ALIVE = "alive"  # relative URL of the connection that the page keeps open
FILES = "files"  # folder in the URLs of files


def standalone_page() -> bytes:
    """Returns the page without files. It works from any location, including a local folder."""
    return _built(None, None, None)


def served_page(names: Sequence[str], limits: Mapping[str, int] | None = None) -> bytes:
    """Returns the page that opens files when it is loaded, each from its `file_address`.

    `limits` may have `maxPixels` and `maxMultiplyAdds`; missing ones have the decoder's defaults.
    """
    return _built([{"name": name, "url": file_address(number)} for number, name in enumerate(names)], ALIVE, limits)


def shown_names(paths: Sequence[Path]) -> list[str]:
    """Returns the name of each file, with the fewest folders that distinguish it from others."""
    ends = Counter(path.parts[-depth:] for path in set(paths) for depth in range(1, len(path.parts) + 1))
    names = []
    for path in paths:
        depths = range(1, len(path.parts))
        depth = next((depth for depth in depths if ends[path.parts[-depth:]] == 1), len(path.parts))
        names.append(str(Path(*path.parts[-depth:])))
    return names


def file_address(number: int) -> str:
    """Returns the URL of a file relative to the page. It does not contain the file's name."""
    return f"{FILES}/{number}"


def _built(files: list[dict[str, str]] | None, alive: str | None, limits: Mapping[str, int] | None) -> bytes:
    try:
        builder = importlib.import_module("dfmcodec.web.build")
        page: str = builder.build(files, alive=alive, limits=limits)
    except (ModuleNotFoundError, FileNotFoundError) as error:
        msg = f"a part of the viewer's page is missing ({error}); install dfmcodec again"
        raise InstallationError(msg) from error
    return page.encode()
