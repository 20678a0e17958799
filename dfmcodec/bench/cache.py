"""Cache of measurements, with which a run continues where an earlier one stopped."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from dfmcodec.bench.measurement import Measurement
from dfmcodec.errors import OutputError
from dfmcodec.files.atomic import write_atomic


def code_fingerprint() -> str:
    """Returns a hash of code, kernels and pretrained weights, which can change within a version."""
    import dfmcodec

    root = Path(dfmcodec.__file__).parent
    digest = hashlib.sha256()
    kernels = (path for path in root.glob("kernels/*") if path.suffix in (".c", ".h", ".so", ".pyd"))
    for path in sorted([*root.rglob("*.py"), *root.glob("weights/*.npz"), *kernels]):
        if "bench" not in path.relative_to(root).parts and "cli" not in path.relative_to(root).parts:
            digest.update(path.relative_to(root).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


class Cache:
    """Measurements, stored by everything that determines them: image, codec, settings, versions."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder  # created with the first measurement; None for no cache
        self.problem: str | None = None  # why a measurement could not be stored, in one line

    def get(self, decisive: dict[str, Any]) -> Measurement | None:
        """Returns the measurement for exactly these conditions; None if there is none."""
        if self._folder is None:
            return None
        try:
            return Measurement.from_json((self._folder / _name(decisive)).read_text())
        except (OSError, ValueError, KeyError, TypeError):  # missing, damaged, or in another layout
            return None

    def put(self, decisive: dict[str, Any], measurement: Measurement) -> None:
        """Stores a measurement. A failure sets `problem`, as the measurement itself is kept."""
        if self._folder is None:
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            write_atomic(self._folder / _name(decisive), measurement.to_json().encode())
        except OSError as error:
            self.problem = f"cannot make the folder {self._folder}: {error.strerror or error}"
        except OutputError as error:
            self.problem = str(error)


def _name(decisive: dict[str, Any]) -> str:
    return f"{hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:40]}.json"
