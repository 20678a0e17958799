"""What tests of several tiers need: where things are, and files that pass for whole."""

from __future__ import annotations

import os
import struct
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dfmcodec import kernels

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = ROOT / "tests" / "golden" / "v1"
GENERATIVE = GOLDEN / "generative"
SHARED = ROOT.parent / "shared" / "data"  # only where the project's own data is beside the clone


def names_in(folder: str | Path) -> list[str]:
    """The names in a folder, in order, without hidden ones such as the record of sources."""
    return sorted(name for name in os.listdir(folder) if not name.startswith("."))


def with_crc(content: bytes) -> bytes:
    """Content with the CRC-32 of a whole file."""
    return content + struct.pack("<I", zlib.crc32(content))


@contextmanager
def without_kernels() -> Iterator[None]:
    """NumPy computes everything."""
    users: list[Any] = [
        module
        for path, module in sys.modules.items()
        if path.startswith("dfmcodec.") and module is not kernels
        if getattr(module, "compiled", None) is not None
    ]
    for module in users:
        module.compiled = None
    try:
        yield
    finally:
        for module in users:
            module.compiled = kernels.compiled


@contextmanager
def by(way: str) -> Iterator[None]:
    """Kernels take one of their ways."""
    assert kernels.compiled is not None
    before = kernels.compiled.chosen_way()
    kernels.compiled.use_way(way)
    try:
        yield
    finally:
        kernels.compiled.use_way(before)


def write_crops(folder: Path, side: int) -> None:
    """Writes square crops of three photographs of scikit-image, as the trainers' tests use."""
    import PIL.Image
    import skimage.data

    for name, top in (("astronaut", 0), ("chelsea", 60), ("coffee", 100)):
        pixels = getattr(skimage.data, name)()[top : top + side, 100 : 100 + side]
        PIL.Image.fromarray(pixels).save(folder / f"{name}.png")
