"""Runs of files that are interrupted at random moments and continued with --skip-existing.

python tests/faults/continued.py --runs 1000           the figures of docs/results/trust.md

Each run encodes or decodes a folder, some of whose outputs exist already: complete, cut or empty.
It is ended by Ctrl-C or by SIGKILL at a moment of its duration, in one process or two. Then the
same command runs to its end. Lost: a source that changed or is gone, or an output that is missing.
Damaged: a file under the name of an output that differs from that of an undisturbed run, after the
interruption or at the end.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import signal
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where common.py is

import numpy as np
import PIL.Image
import skimage.data
from common import run_for
from faults import contents, dfm, ended, seconds_of, start

_FILES = 4
_SIGNALS = (signal.SIGINT, signal.SIGKILL)
_CASES = list(itertools.product(("encode", "decode"), (1, 2), _SIGNALS))
_COLUMNS = ("runs", "interrupted", "outputs then", "lost", "damaged", "failed", "temporary files after Ctrl-C")


def _heed_interrupts() -> None:
    """Undoes what a shell does to jobs in the background, which ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Trial:
    """One command with its undisturbed outputs.

    Args:
        folder: An empty folder.
        command: "encode" or "decode".
        jobs: How many files are processed at a time.
    """

    def __init__(self, folder: Path, command: str, jobs: int) -> None:
        folder.mkdir()
        self._sources, self._out = folder / "in", folder / "out"
        self._sources.mkdir()
        pixels = skimage.data.chelsea()
        for number in range(_FILES):
            part = np.ascontiguousarray(pixels[40 * number : 40 * number + 32, 60 * number : 60 * number + 48])
            PIL.Image.fromarray(part).save(self._sources / f"{number}.png")
        settings = ("--effort", "1", "--quality", "60")
        if command == "decode":
            assert dfm("encode", self._sources, *settings).code == 0
            for path in self._sources.glob("*.png"):
                path.unlink()
            settings = ()
        self._run = (command, self._sources, "-O", self._out, "--skip-existing", *settings, "-j", jobs)
        seconds_of(*self._run)
        shutil.rmtree(self._out)
        self.seconds = seconds_of(*self._run)
        self._kept, self._complete = contents(self._sources), contents(self._out)

    def interrupt(self, ending: signal.Signals, moment: float, existing: int) -> Counter[str]:
        """Interrupts the run at a moment, continues it, and counts what is wrong.

        Args:
            ending: The signal.
            moment: Seconds from the start.
            existing: How many outputs exist: none, a complete one, also a cut one, also an empty
                one.
        """
        shutil.rmtree(self._out)
        self._out.mkdir()
        before = {}
        for number, name in enumerate(sorted(self._complete)[:existing]):
            data = self._complete[name]
            before[name] = (data, data[: len(data) * 2 // 3], b"")[number]
            (self._out / name).write_bytes(before[name])
        counts = Counter[str](runs=1)
        with start(*self._run, start_new_session=True, preexec_fn=_heed_interrupts) as process:
            run_for(process, moment)
            if process.poll() is None:
                os.killpg(process.pid, ending)
                counts["interrupted"] += 1
            ended(process)
        if ending is signal.SIGINT:
            counts["temporary files after Ctrl-C"] += len(list(self._out.glob(".*")))
        after = contents(self._out)
        counts["outputs then"] += len(after)
        counts["lost"] += len(before.keys() - after.keys())
        counts["damaged"] += sum(data not in (self._complete[name], before.get(name)) for name, data in after.items())
        counts["failed"] += dfm(*self._run).code != 0
        outputs = contents(self._out)
        counts["lost"] += len(self._complete.keys() - outputs.keys()) + (contents(self._sources) != self._kept)
        counts["damaged"] += sum(outputs.get(name) != data for name, data in self._complete.items())
        return counts


def interrupted_runs(folder: Path, runs: int, seed: int) -> dict[str, Counter[str]]:
    """Returns the counts of interrupted runs, by a description of the run. There are as many as are
    needed until `runs` have been interrupted.
    """
    rng = np.random.default_rng(seed)
    trials: dict[tuple[str, int], Trial] = {}
    totals: dict[str, Counter[str]] = {}
    for command, jobs, ending in itertools.cycle(_CASES):
        if sum(total["interrupted"] for total in totals.values()) >= runs:
            return totals
        if (command, jobs) not in trials:
            trials[command, jobs] = Trial(folder / f"{command}{jobs}", command, jobs)
        trial, name = trials[command, jobs], f"{command} -j {jobs}, {ending.name}"
        counts = trial.interrupt(ending, rng.uniform(0.1, 0.95) * trial.seconds, int(rng.integers(0, 4)))
        totals.setdefault(name, Counter()).update(counts)
        if counts["lost"] or counts["damaged"] or counts["failed"]:
            print(f"{name}: {dict(counts)}", flush=True)
    raise AssertionError


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000, help="How many runs are interrupted.")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        totals = interrupted_runs(Path(folder), given.runs, given.seed)
    print("| run | " + " | ".join(_COLUMNS) + " |")
    print("|---" * (len(_COLUMNS) + 1) + "|")
    for name, counts in totals.items():
        print(f"| {name} | " + " | ".join(str(counts[column]) for column in _COLUMNS) + " |")
    total = sum(totals.values(), Counter[str]())
    print("| all | " + " | ".join(str(total[column]) for column in _COLUMNS) + " |")


if __name__ == "__main__":
    main()
