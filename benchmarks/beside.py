"""Seconds of whole commands alone and beside busy processes, against another checkout.

    git worktree add /tmp/before COMMIT
    python benchmarks/beside.py ../shared/data/kodak/kodim08.png --against /tmp/before --busy 0,2

The commands encode at quality 75 and decode what they wrote. Those of the two checkouts are run in
turn, so that each pair has the same conditions.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click
from recording import Row, numbers, out_option, record

HERE = Path(__file__).parents[1]
_BUSY = "while True: pass"


@contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """Keeps so many cores busy."""
    processes = [subprocess.Popen([sys.executable, "-c", _BUSY]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def seconds_of(tree: Path, arguments: Sequence[str]) -> float:
    """Runs the command of a checkout."""
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    started = time.perf_counter()
    command = [sys.executable, "-m", "dfmcodec", *arguments]
    subprocess.run(command, check=True, cwd=tree, env=environment, capture_output=True)
    return time.perf_counter() - started


def measured(image: Path, trees: dict[str, Path], busy: Sequence[int], efforts: Sequence[int]) -> Iterator[Row]:
    """A row for each command, number of busy processes and checkout."""
    with tempfile.TemporaryDirectory() as folder:
        file, decoded = f"{folder}/x.dfm", f"{folder}/x.ppm"
        commands = {
            f"encode --effort {effort}": [
                *("encode", str(image.resolve()), "-o", file, "-f", "--quality", "75", "--effort", str(effort))
            ]
            for effort in efforts
        }
        commands["decode"] = ["decode", file, "-o", decoded, "-f"]
        for count in busy:
            for name, arguments in commands.items():
                row: Row = {"picture": image.stem, "command": name, "busy": count}
                with busy_processes(count):
                    for label, tree in trees.items():
                        row[f"{label}, s"] = round(seconds_of(tree, arguments), 2)
                yield row


@click.command(help=__doc__)
@click.argument("image", type=click.Path(exists=True, path_type=Path))
@click.option("--against", type=click.Path(exists=True, path_type=Path), help="The folder of another checkout.")
@click.option("--busy", default="0,2", show_default=True, help="Numbers of busy processes.")
@click.option("--efforts", default="1,5", show_default=True, help="Efforts of encoding.")
@out_option
def main(image: Path, against: Path | None, busy: str, efforts: str, out: Path | None) -> None:
    """See the module."""
    trees = {"this": HERE} if against is None else {"this": HERE, "other": against}
    record(measured(image, trees, numbers(busy), numbers(efforts)), out)


if __name__ == "__main__":
    main()
