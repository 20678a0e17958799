"""What was measured before, so that a run goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from dfmcodec.bench.measurement import Measurement
from dfmcodec.io import write_atomic


def default_folder() -> Path:
    """$XDG_CACHE_HOME/dfmcodec/bench."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "dfmcodec" / "bench"


def code_fingerprint() -> str:
    """Hash of the package's code and priors: another codec has other results, whatever its version says."""
    import dfmcodec

    root = Path(dfmcodec.__file__).parent
    digest = hashlib.sha256()
    for path in sorted([*root.rglob("*.py"), *root.glob("prior/*.npz")]):
        if "bench" not in path.relative_to(root).parts and "cli" not in path.relative_to(root).parts:
            digest.update(path.relative_to(root).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


class Cache:
    """Measurements by all that decides them: picture, codec, settings, versions.

    Args:
        folder: Made when something is kept.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, decisive: dict[str, Any]) -> Measurement | None:
        """What was measured under just these conditions; None where nothing was."""
        try:
            return Measurement.from_json(self._path(decisive).read_text())
        except (OSError, ValueError, KeyError, TypeError):  # absent, or of another layout: measured again
            return None

    def put(self, decisive: dict[str, Any], measurement: Measurement) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomic(self._path(decisive), measurement.to_json().encode())

    def _path(self, decisive: dict[str, Any]) -> Path:
        key = hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()
        return self.folder / f"{key[:40]}.json"
