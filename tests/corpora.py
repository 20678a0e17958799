"""Corpora for tests: tiny images, jobs, and runs of all their shards."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

import dfmcodec
from dfmcodec.corpus.engines import LOCAL, Engine
from dfmcodec.corpus.job import Job
from dfmcodec.corpus.jobs import Part, Progress, open_shards, progress
from dfmcodec.corpus.places import places_of
from dfmcodec.corpus.plan import Plan, make_plan
from dfmcodec.corpus.shards import Shard, ShardResult
from dfmcodec.corpus.sources import absolute_sources
from dfmcodec.corpus.store import Store
from dfmcodec.corpus.tasks import encode_settings, task_of
from dfmcodec.search.config import EncoderConfig

HERE = Engine(LOCAL, 1)


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


def pack_job(
    *sources: Path | str,
    form: str | None = None,
    column: str | None = None,
    places: Sequence[Path | str] = (),
    size: int = 3,
    skips_links: bool = False,
) -> Job:
    """A job that packs."""
    named, source_format = absolute_sources([str(source) for source in sources])
    followed = places_of([str(place) for place in places])
    form = form or source_format
    return Job("pack", {}, named, True, source_format, form, column, followed, size, skips_links)


def encode_job(*sources: Path | str, form: str | None = None, size: int = 3, **config: Any) -> Job:
    """A job that encodes at effort 1."""
    settings = encode_settings(
        EncoderConfig(**{"effort": 1, "quality": 50.0, **config}),
        strip=frozenset(),
        page=None,
        max_pixels=10**6,
        keeps_extension=False,
        skips_larger=False,
    )
    named, source_format = absolute_sources([str(source) for source in sources])
    return Job("encode", settings, named, True, source_format, form or source_format, None, (), size, False)


def planned(store: Store, job: Job, keeps_lists: bool = False) -> Plan:
    """The plan of a job."""
    task = task_of(job.task, job.settings)
    return make_plan(store, job, task.is_wanted, task.target_name, keeps_lists)


def run(store: Store, job: Job, engine: Engine = HERE, part: Part | None = None) -> tuple[list[ShardResult], Progress]:
    """Does what is not done of a job; gives the results, and how far it is."""
    plan, part = planned(store, job), part or Part()
    results: list[ShardResult] = []
    shards = [Shard(store.url, number) for number in open_shards(store, part.shards(plan))]
    engine.run(shards, results.append, lambda: False)
    return results, progress(store, plan, part)


def failures(results: Sequence[ShardResult]) -> list[str]:
    """The lines of all images that failed."""
    return [line for result in results for line in result.failures]


def objects(folder: Path) -> dict[str, bytes]:
    """What lies in a local store, by name, less what depends on when and by whom it was made."""
    names = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    changing = (".rows.parquet", ".began")
    return {name: b"" if name.endswith(changing) else path.read_bytes() for name, path in names.items()}


def forking_pool() -> ProcessPoolExecutor:
    """An executor whose workers begin with what a test has patched."""
    return ProcessPoolExecutor(2, mp_context=get_context("fork"))
