"""Processor time that engines of corpora take beside the work itself.

    python benchmarks/corpus_engines.py ../shared/data/imagenet_train --images 100,200 --runs 3

Each run encodes the same photographs with two workers, of local processes and of Dask in turn. The
processor time is that of the command and all of its processes. Its ratio to that of local processes
has the start of an engine in it; what more images take than few has not.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path

import click
from recording import Row, numbers, out_option, record

LOCAL = "local"
ENGINES = {LOCAL: ("--engine", "local", "-j", "2"), "dask": ("--engine", "dask", "-j", "2")}


def used(command: Sequence[str]) -> tuple[float, float]:
    """Runs a command; returns its seconds, and the processor time of it and its children."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return time.perf_counter() - started, usage.ru_utime + usage.ru_stime


def measured(folder: Path, counts: Sequence[int], runs: int, effort: int, shard_size: int) -> Iterator[Row]:
    """Yields a row for each run of an engine with a number of images."""
    photographs = sorted(path for path in folder.iterdir() if path.is_file())[: max(counts)]
    with tempfile.TemporaryDirectory() as temporary:
        for count in counts:
            source = Path(temporary, f"{count}")
            source.mkdir()
            for path in photographs[:count]:
                shutil.copy(path, source)
        for run, count, (name, options) in product(range(runs), counts, ENGINES.items()):
            store = Path(temporary, f"out-{run}-{count}-{name}")
            settings = ("--effort", str(effort), "--quality", "50", "--shard-size", str(shard_size), "--quiet")
            command = (sys.executable, "-m", "dfmcodec", "encode", str(Path(temporary, f"{count}")))
            seconds, processor_s = used((*command, "-O", str(store), *settings, *options))
            files = sum(1 for _ in store.glob("*.dfm"))
            shutil.rmtree(store)
            row: Row = {"engine": name, "images": count, "run": run, "files": files}
            yield row | {"seconds": round(seconds, 2), "processor_s": round(processor_s, 2)}


def ratios(rows: Sequence[Row]) -> Iterator[Row]:
    """Yields the medians of the processor time of each engine over those of local processes: of
    complete runs with the most images, and of what these take more than those with the fewest.
    """
    few, many = min(row["images"] for row in rows), max(row["images"] for row in rows)

    def processor_s(engine: str, images: int) -> float:
        of_runs = (float(row["processor_s"]) for row in rows if (row["engine"], row["images"]) == (engine, images))
        return statistics.median(of_runs)

    for engine in ENGINES:
        row: Row = {"engine": engine, "with its start": processor_s(engine, many) / processor_s(LOCAL, many)}
        if many > few:
            grown, of_local = (processor_s(each, many) - processor_s(each, few) for each in (engine, LOCAL))
            row["without"] = grown / of_local
        yield row


@click.command(help=__doc__)
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--images", default="100,200", show_default=True, help="Numbers of photographs.")
@click.option("--runs", default=3, show_default=True, help="Of each engine with each number.")
@click.option("--effort", default=1, show_default=True)
@click.option("--shard-size", default=10, show_default=True, help="Images of a shard.")
@out_option
def main(folder: Path, images: str, runs: int, effort: int, shard_size: int, out: Path | None) -> None:
    record(ratios(record(measured(folder, numbers(images), runs, effort, shard_size), out)), None)


if __name__ == "__main__":
    main()
