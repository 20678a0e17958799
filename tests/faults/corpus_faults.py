"""Kills real workers of a corpus at random moments and reports the result.

python tests/faults/corpus_faults.py --runs 20                the table of docs/scale.md
python tests/faults/corpus_faults.py --runs 3 --only dask

In each run, 40 tiny images are encoded to tars in 10 shards. At a random moment, the command
(serial) or one of its processes is killed. A command that ends with an error is called again. Then
the store must have the files of an undisturbed run, and no process may be left.
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
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where common.py is

import corpora
import numpy as np
import PIL.Image
from common import PATIENCE_S, run_for, wait_until

DFM = (sys.executable, "-m", "dfmcodec")
FAST = ("--effort", "1", "--quality", "50", "--format", "tar", "--shard-size", "4", "--quiet")
ENGINES = {"serial": (), "-j 2": ("-j", "2"), "dask": ("--engine", "dask", "-j", "2")}
_HELPERS = ("resource_tracker", "forkserver")  # processes of Python's own that do no work


def write_images(folder: Path, number: int) -> None:
    """Writes images of 4x4 pixels."""
    folder.mkdir()
    for i in range(number):
        pixels = np.random.default_rng(i).integers(0, 255, (4, 4, 3), np.uint8)
        PIL.Image.fromarray(pixels).save(folder / f"{i:03d}.png")


def start(source: Path, store: Path, options: tuple[str, ...]) -> subprocess.Popen[bytes]:
    """Starts the command in a session of its own, by which its processes are known."""
    command = [*DFM, "corpus", str(source), "-O", str(store), *FAST, *options]
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


def kill_one(command: subprocess.Popen[bytes], store: Path, is_alone: bool, chance: random.Random) -> str:
    """Kills a process at a random moment, after a random number of shards; says when."""
    at = chance.randrange(9)
    wait_until(lambda: command.poll() is not None or len(list(store.glob("*.tar"))) >= at)
    run_for(command, chance.random())
    victims = [command.pid] if is_alone else processes_of(command.pid)
    if command.poll() is not None or not victims:
        return "nobody, all was done"
    with suppress(ProcessLookupError):
        os.kill(chance.choice(victims), signal.SIGKILL)
    return f"at {len(list(store.glob('*.tar')))} shards"


def run(engine: str, source: Path, store: Path, chance: random.Random) -> dict[str, object]:
    """One run, with what came of it."""
    command = start(source, store, ENGINES[engine])
    sessions = [command.pid]
    killed = kill_one(command, store, engine == "serial", chance)
    _, errors = command.communicate(timeout=PATIENCE_S)
    while command.returncode != 0:
        assert len(sessions) < 5, errors.decode()
        command = start(source, store, ENGINES[engine])
        sessions.append(command.pid)
        _, errors = command.communicate(timeout=PATIENCE_S)
    row = {"engine": engine, "killed": killed, "called again": len(sessions) - 1}
    return row | {"survivors": survivors(sessions)}


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
        start(top / "in", top / "whole", ()).communicate(timeout=PATIENCE_S)
        complete = corpora.objects(top / "whole")
        for number in range(given.runs):
            for engine in [given.only] if given.only else ENGINES:
                store = top / f"{engine.strip('-')}{number}"
                row = run(engine, top / "in", store, random.Random(f"{given.seed} {engine} {number}"))
                row["same files"] = corpora.objects(store) == complete
                bad += not row["same files"] or bool(row["survivors"])
                print(json.dumps(row), flush=True)
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
