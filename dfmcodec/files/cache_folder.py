"""The folder of the user for caches."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder(purpose: str) -> Path | None:
    """Returns `$XDG_CACHE_HOME/dfmcodec/<purpose>`, by default in ~/.cache; None without a home.

    A relative path in the variable is ignored, as the XDG Base Directory Specification requires.
    """
    given = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(given):
        return Path(given) / "dfmcodec" / purpose
    try:
        return Path.home() / ".cache" / "dfmcodec" / purpose
    except RuntimeError:
        return None
