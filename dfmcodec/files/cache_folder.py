"""Folders of the user for caches and data."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder(purpose: str) -> Path | None:
    """Returns `$XDG_CACHE_HOME/dfmcodec/<purpose>`, by default in ~/.cache; None without a home."""
    base = base_folder("XDG_CACHE_HOME", ".cache")
    return None if base is None else base / "dfmcodec" / purpose


def base_folder(variable: str, below_home: str) -> Path | None:
    """Returns a base folder of the XDG Base Directory Specification; None without a home folder.

    A relative path in the variable is ignored, as the specification requires.
    """
    given = os.environ.get(variable, "")
    if os.path.isabs(given):
        return Path(given)
    try:
        return Path.home() / below_home
    except RuntimeError:
        return None
