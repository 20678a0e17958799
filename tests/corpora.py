"""Corpora for tests: tiny images, and runs of all their shards."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

import dfmcodec
from dfmcodec.corpus.engines import run_shards
from dfmcodec.corpus.shards import ShardResult
from dfmcodec.corpus.sources import shards_of


def png(number: int, size: int = 32) -> bytes:
    """The bytes of a PNG file of a small image, another one for each number."""
    ramp = np.add.outer(np.arange(size), np.arange(size))[:, :, None] * np.array([1, 2, 3])
    file = io.BytesIO()
    PIL.Image.fromarray((ramp + 7 * number).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def dfm_file(number: int) -> bytes:
    """The bytes of a .dfm file of a small image, another one for each number."""
    return dfmcodec.encode(np.full((8, 8), 7 * number, np.uint8), effort=1, quality=50).data


def write_images(folder: Path, number: int) -> Path:
    """Writes images, every second one into a subfolder, and returns the folder."""
    for i in range(number):
        path = folder / ("", "more")[i % 2] / f"{i:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(i))
    return folder


def write_tar(path: Path, members: dict[str, bytes]) -> Path:
    """Writes a tar of members, by name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def read_tar(data: bytes) -> dict[str, bytes]:
    """The members of a tar, by name."""
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}


def run(
    store: Path | str,
    *sources: Path | str,
    form: str | None = None,
    recursive: bool = True,
    size: int = 3,
    engine: str = "local",
    processes: int = 1,
    **options: Any,
) -> list[ShardResult]:
    """Encodes a corpus at effort 1. Returns the results of its shards."""
    shards = shards_of([str(source) for source in sources], str(store), form, recursive=recursive, shard_size=size)
    results: list[ShardResult] = []
    options = {"effort": 1, "quality": 50.0, **options}
    run_shards(shards, lambda shard, result: results.append(result), engine, processes, **options)
    return results


def failures(results: Sequence[ShardResult]) -> list[str]:
    """Returns the messages of all images that failed."""
    return [failure["error"] for result in results for failure in result.failures]


def counts(results: Sequence[ShardResult]) -> tuple[int, int, int]:
    """Returns the numbers of images that were encoded, that exist, and that failed."""
    assert [result.error for result in results if result.error] == []
    totals = [(result.images_done, result.images_existing, len(result.failures)) for result in results]
    return tuple(map(sum, zip(*totals, strict=True)))


def objects(folder: Path) -> dict[str, bytes]:
    """Returns the files in a folder, by their paths."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def only_output(folder: Path) -> bytes:
    """Returns the contents of the only file in a folder."""
    (data,) = objects(folder).values()
    return data
