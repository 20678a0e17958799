"""Encodes many tiny images with Dask while a worker is killed repeatedly.

    python tests/faults/corpus_many.py --images 10000 --every 60

The command is client and scheduler at once, so its memory is that of both. Every image must be
there once in the end, with the bytes of an undisturbed run, and no process left.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where common.py is

import corpora
from common import PATIENCE_S, run_for
from corpus_faults import outcome, processes_of, start, survivors, write_images

SIZE = ("--shard-size", "20")  # the last one counts
_SAMPLE_S = 1.0
_MEGABYTE = 1e6


def resident_mb(process: int) -> float:
    """The memory of a process, in megabytes; 0 once it has ended."""
    with suppress(OSError, IndexError):
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / _MEGABYTE
    return 0.0


def run(source: Path, store: Path, every_s: float, chance: random.Random) -> dict[str, object]:
    """One run, with what came of it."""
    started = time.monotonic()
    command = start(source, store, ("--engine", "dask", "-j", "2", *SIZE))
    killed, memory, begun = 0, [0.0], None
    while command.poll() is None:
        run_for(command, min(_SAMPLE_S, every_s))
        memory.append(resident_mb(command.pid))
        workers = processes_of(command.pid)
        if begun is None and any(store.glob("_dfm/*.began")):
            begun = time.monotonic()
        if workers and begun is not None and time.monotonic() - begun > every_s * (killed + 1):
            with suppress(ProcessLookupError):
                os.kill(chance.choice(workers), signal.SIGKILL)
            killed += 1
    _, errors = command.communicate(timeout=PATIENCE_S)
    assert command.returncode == 0, errors.decode()
    seconds = time.monotonic() - started
    half = len(memory) // 2
    return {
        "killed": killed,
        **outcome(store),
        "seconds": round(seconds, 1),
        "MB at most, first half": round(max(memory[:half], default=0.0)),
        "second half": round(max(memory[half:])),
        "survivors": survivors([command.pid]),
    }


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--every", type=float, default=60.0, help="seconds between two kills")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder)
        write_images(top / "in", given.images)
        undisturbed = start(top / "in", top / "whole", ("--engine", "local", *SIZE))
        undisturbed.communicate()
        row = run(top / "in", top / "out", given.every, random.Random(given.seed))
        row["same objects"] = corpora.objects(top / "out") == corpora.objects(top / "whole")
    print(json.dumps(row), flush=True)
    is_good = row["done"] == given.images and row["each once"] and row["same objects"] and not row["survivors"]
    sys.exit(not is_good)


if __name__ == "__main__":
    main()
