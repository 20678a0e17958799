"""Kills real workers of a corpus at random moments and reports the result.

python tests/faults/corpus_faults.py --runs 20                the table of docs/scale.md
python tests/faults/corpus_faults.py --runs 3 --only dask

In each run, 40 tiny images are encoded by two workers, one of which is killed at a random moment;
alone, it is the command itself. A command that is gone is called again. Then every image must be
there once, with the bytes of an undisturbed run, no other object, and no process.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where common.py is

import corpora
import numpy as np
import PIL.Image
import pyarrow.parquet
from common import PATIENCE_S, run_for, wait_until

DFM = (sys.executable, "-m", "dfmcodec")
FAST = ("--effort", "1", "--quality", "50", "--shard-size", "4", "--quiet")
ENGINES = {
    "serial": [("--engine", "local")],
    "-j 2": [("--engine", "local", "-j", "2")],
    "dask": [("--engine", "dask", "-j", "2")],
    "--part": [("--part", "1/2"), ("--part", "2/2")],
}
_HELPERS = ("resource_tracker", "forkserver")  # processes of Python's own that do no work


def write_images(folder: Path, number: int) -> None:
    """Writes images of 4x4 pixels."""
    folder.mkdir()
    for i in range(number):
        pixels = np.random.default_rng(i).integers(0, 255, (4, 4, 3), np.uint8)
        PIL.Image.fromarray(pixels).save(folder / f"{i:03d}.png")


def start(source: Path, store: Path, options: tuple[str, ...]) -> subprocess.Popen[bytes]:
    """Starts the command in a session of its own, by which its processes are known."""
    command = [*DFM, "encode", str(source), "-O", str(store), *FAST, *options]
    return subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE)


def processes_of(session: int) -> list[int]:
    """The processes of a session that do work, without its first one."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ProcessLookupError):
            fields = (path / "stat").read_text().rpartition(")")[2].split()
            line = (path / "cmdline").read_bytes().decode()
            is_helper = any(helper in line for helper in _HELPERS)
            if int(fields[3]) == session != int(path.name) and fields[0] != "Z" and not is_helper:
                found.append(int(path.name))
    return found


def survivors(sessions: list[int]) -> int:
    """How many processes of sessions go on after their commands."""
    with suppress(AssertionError):
        wait_until(lambda: not any(map(processes_of, sessions)))
    return sum(len(processes_of(session)) for session in sessions)


def commits(store: Path) -> int:
    """The number of shards that are done."""
    return sum(1 for path in store.glob("_dfm/?????.json"))


def kill_one(commands: list[subprocess.Popen[bytes]], store: Path, is_alone: bool, chance: random.Random) -> str:
    """Kills a worker at a random moment; says which."""
    at = chance.randrange(9)
    command = commands[0]
    wait_until(lambda: command.poll() is not None or (commits(store) >= at and any(store.glob("_dfm/*.began"))))
    run_for(command, chance.random())
    victims = [command.pid for command in commands] if is_alone else processes_of(commands[0].pid)
    if not victims:
        return f"nobody, all was done, at {commits(store)} shards"
    victim = chance.choice(victims)
    with suppress(ProcessLookupError):
        os.kill(victim, signal.SIGKILL)
    return f"process {victim} at {commits(store)} shards"


def run(engine: str, source: Path, store: Path, chance: random.Random) -> dict[str, object]:
    """One run, with what came of it."""
    options = ENGINES[engine]
    started = time.monotonic()
    commands = [start(source, store, each) for each in options]
    sessions = [command.pid for command in commands]
    killed = kill_one(commands, store, engine in ("serial", "--part"), chance)
    again = 0
    for command, each in zip(commands, options, strict=True):
        _, errors = command.communicate(timeout=PATIENCE_S)
        while command.returncode != 0:
            assert again < 5, errors.decode()
            again += 1
            command = start(source, store, each)
            sessions.append(command.pid)
            _, errors = command.communicate(timeout=PATIENCE_S)
    row = {"engine": engine, "killed": killed, "called again": again, **outcome(store)}
    row["seconds"] = round(time.monotonic() - started, 1)
    return row | {"survivors": survivors(sessions)}


def outcome(store: Path) -> dict[str, object]:
    """How many images of a store are done, by its rows, and whether each is there once."""
    rows = [row for path in store.glob("_dfm/*.rows.parquet") for row in pyarrow.parquet.read_table(path).to_pylist()]
    of_source = Counter(row["source"] for row in rows if row["status"] == "done")
    return {"done": len(of_source), "each once": set(of_source.values()) == {1} and len(rows) == len(of_source)}


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--only", choices=ENGINES)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder)
        write_images(top / "in", given.images)
        undisturbed = start(top / "in", top / "whole", ("--engine", "local"))
        undisturbed.communicate(timeout=PATIENCE_S)
        complete = corpora.objects(top / "whole")
        for number in range(given.runs):
            for engine in [given.only] if given.only else ENGINES:
                store = top / f"{engine.strip('-')}{number}"
                row = run(engine, top / "in", store, random.Random(f"{given.seed} {engine} {number}"))
                row["same objects"] = corpora.objects(store) == complete
                good = row["done"] == given.images and row["each once"] and row["same objects"] and not row["survivors"]
                bad += not good
                print(json.dumps(row), flush=True)
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
