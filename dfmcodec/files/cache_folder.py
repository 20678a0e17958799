"""The user's folders for what this package can make again, and for data."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder(purpose: str) -> Path | None:
    """The folder `$XDG_CACHE_HOME/dfmcodec/<purpose>`, by default in `~/.cache`.

    Args:
        purpose: What is kept, the name of the last folder.

    Returns:
        The folder, which need not be there; None for a user without a home folder.
    """
    base = base_folder("XDG_CACHE_HOME", ".cache")
    return None if base is None else base / "dfmcodec" / purpose


def base_folder(variable: str, below_home: str) -> Path | None:
    """A folder of the XDG Base Directory Specification.

    A relative path in the variable is ignored, as the specification demands.

    Args:
        variable: The environment variable that names the folder.
        below_home: The folder in the user's home if it does not.

    Returns:
        The folder, which need not be there; None for a user without a home folder.
    """
    given = os.environ.get(variable, "")
    if os.path.isabs(given):
        return Path(given)
    try:
        return Path.home() / below_home
    except RuntimeError:
        return None
