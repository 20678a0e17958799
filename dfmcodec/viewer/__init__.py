"""The viewer's page as one HTML file, built from the folder `web/` (`dfmcodec.web`)."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from dfmcodec.errors import InstallationError


def viewer_page(files: Sequence[tuple[str, bytes]] = (), limits: Mapping[str, int] | None = None) -> bytes:
    """Returns the page with files, each a name and its contents; without files, it shows a gallery.

    `limits` may have `maxPixels` and `maxMultiplyAdds`; missing ones have the decoder's defaults.
    """
    try:
        builder = importlib.import_module("dfmcodec.web.build")
        page: str = builder.build(files, limits)
    except (ModuleNotFoundError, FileNotFoundError) as error:
        msg = f"a part of the viewer's page is missing ({error}); install dfmcodec again"
        raise InstallationError(msg) from error
    return page.encode()


def shown_names(paths: Sequence[Path]) -> list[str]:
    """Returns the name of each file, with the fewest folders that distinguish it from others."""
    ends = Counter(path.parts[-depth:] for path in set(paths) for depth in range(1, len(path.parts) + 1))
    names = []
    for path in paths:
        depths = range(1, len(path.parts))
        depth = next((depth for depth in depths if ends[path.parts[-depth:]] == 1), len(path.parts))
        names.append(str(Path(*path.parts[-depth:])))
    return names
