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
    """Returns a hash of the package's code, kernels and pretrained weights, because results can
    change within a version.
    """
    import dfmcodec

    root = Path(dfmcodec.__file__).parent
    digest = hashlib.sha256()
    for path in sorted([*root.rglob("*.py"), *root.glob("weights/*.npz"), *_kernels(root)]):
        if "bench" not in path.relative_to(root).parts and "cli" not in path.relative_to(root).parts:
            digest.update(path.relative_to(root).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _kernels(root: Path) -> list[Path]:
    """Returns the sources of the kernels and the compiled files."""
    return [path for path in root.glob("kernels/*") if path.suffix in (".c", ".h", ".so", ".pyd")]


class Cache:
    """Measurements, stored by everything that determines them: image, codec, settings, versions.

    Args:
        folder: Created with the first measurement.

    Attributes:
        problem: The reason why a measurement could not be stored, in one line; None if there was
            none.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.problem: str | None = None

    def get(self, decisive: dict[str, Any]) -> Measurement | None:
        """Returns the measurement for exactly these conditions; None if there is none."""
        try:
            return Measurement.from_json(self._path(decisive).read_text())
        except (OSError, ValueError, KeyError, TypeError):  # missing, damaged, or in another layout
            return None

    def put(self, decisive: dict[str, Any], measurement: Measurement) -> None:
        """Stores a measurement. On failure, sets `problem` instead of raising an error, to keep the
        measurement itself.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_atomic(self._path(decisive), measurement.to_json().encode())
        except OSError as error:
            self.problem = f"cannot make the folder {self.folder}: {error.strerror or error}"
        except OutputError as error:
            self.problem = str(error)

    def _path(self, decisive: dict[str, Any]) -> Path:
        key = hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()
        return self.folder / f"{key[:40]}.json"
