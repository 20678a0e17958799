"""Where this package keeps what it can make again."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder(purpose: str) -> Path | None:
    """The folder `$XDG_CACHE_HOME/dfmcodec/<purpose>`, by default in `~/.cache`.

    A relative XDG_CACHE_HOME is ignored, as the XDG Base Directory Specification demands.

    Args:
        purpose: What is kept, the name of the last folder.

    Returns:
        The folder, which need not be there; None for a user without a home folder.
    """
    given = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(given):
        return Path(given, "dfmcodec", purpose)
    try:
        return Path.home() / ".cache" / "dfmcodec" / purpose
    except RuntimeError:
        return None
