"""A cache of measurements, so that a run continues where an earlier one stopped."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from dfmcodec.bench.measurement import Measurement
from dfmcodec.files.atomic import write_atomic


def default_folder() -> Path:
    """The folder `$XDG_CACHE_HOME/dfmcodec/bench`."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "dfmcodec" / "bench"


def code_fingerprint() -> str:
    """A hash of the package's code and priors, since results may change without a change of
    version.
    """
    import dfmcodec

    root = Path(dfmcodec.__file__).parent
    digest = hashlib.sha256()
    for path in sorted([*root.rglob("*.py"), *root.glob("prior/*.npz")]):
        if "bench" not in path.relative_to(root).parts and "cli" not in path.relative_to(root).parts:
            digest.update(path.relative_to(root).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


class Cache:
    """Measurements, found again by everything that decides them: image, codec, settings, versions.

    Args:
        folder: Created with the first measurement.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, decisive: dict[str, Any]) -> Measurement | None:
        """The measurement under exactly these conditions; None if there is none."""
        try:
            return Measurement.from_json(self._path(decisive).read_text())
        except (OSError, ValueError, KeyError, TypeError):  # absent, damaged, or of another layout
            return None

    def put(self, decisive: dict[str, Any], measurement: Measurement) -> None:
        """Keeps a measurement."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomic(self._path(decisive), measurement.to_json().encode())

    def _path(self, decisive: dict[str, Any]) -> Path:
        key = hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()
        return self.folder / f"{key[:40]}.json"
