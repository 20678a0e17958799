"""Runs of files that are interrupted at random moments and continued.

python tests/faults/continued.py --runs 1000           the figures of docs/results/trust.md

Each run encodes or decodes a folder with --skip-existing, some of whose outputs exist already,
empty or truncated. It is ended by Ctrl-C or by SIGKILL at a moment of its duration, in one process
or two, with and without a report. Then the same command runs to its end. Lost: a source or an
output that is gone, or a source that changed. Damaged: an output that differs from that of an
undisturbed run.
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
from fnmatch import fnmatch
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where common.py is

import numpy as np
import PIL.Image
import skimage.data
from common import run_for
from faults import contents, dfm, ended, seconds_of, start

_FILES = 4
_FAULTS = ("unfinished", "lost", "damaged", "failed")
_SIGNALS = (signal.SIGINT, signal.SIGKILL)
_OPTIONS = {"encode": ("--effort", "3", "--quality", "60"), "decode": ("--resize", "50%")}
_KINDS = [
    *itertools.product(["encode"], (1, 2), (False, True)),
    *itertools.product(["decode"], (1, 2), (False,)),
]  # command, processes, whether there is a report


def _visible(folder: Path) -> dict[str, bytes]:
    """The files of a folder that are not temporary."""
    return {name: data for name, data in contents(folder).items() if not name.endswith(".tmp")}


def _heed_interrupts() -> None:
    """Undoes what a shell does to jobs in the background, which ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Trial:
    """One command with its undisturbed outputs.

    Args:
        folder: An empty folder.
        command: "encode" or "decode".
        jobs: How many files are processed at a time.
        has_report: Whether the run has a report.
    """

    def __init__(self, folder: Path, command: str, jobs: int, has_report: bool) -> None:
        self._sources, self._out, self._report = folder / "in", folder / "out", folder / "report.jsonl"
        self._sources.mkdir()
        pixels = skimage.data.chelsea()
        for number in range(_FILES):
            part = np.ascontiguousarray(pixels[40 * number : 40 * number + 72, 60 * number : 60 * number + 88])
            PIL.Image.fromarray(part).save(self._sources / f"{number}.png")
        if command == "decode":
            assert dfm("encode", self._sources, "--effort", "1").code == 0
            for path in self._sources.glob("*.png"):
                path.unlink()
        report = ("--report", self._report) if has_report else ()
        self._run = (command, self._sources, "-O", self._out, *_OPTIONS[command], "-j", jobs, *report)
        self._run += ("--skip-existing",)
        seconds_of(*self._run)
        shutil.rmtree(self._out)
        self.seconds = seconds_of(*self._run)
        self._inputs, self._expected = contents(self._sources), _visible(self._out)

    def interrupt(self, ending: signal.Signals, moment: float, existing: int) -> Counter[str]:
        """Interrupts the run at a moment, continues it, and counts what is wrong.

        Args:
            ending: The signal.
            moment: Seconds from the start.
            existing: How many outputs exist already: the first one empty, the second one truncated.
        """
        shutil.rmtree(self._out)
        self._report.unlink(missing_ok=True)
        self._out.mkdir()
        for number, (name, data) in enumerate(sorted(self._expected.items())[:existing]):
            (self._out / name).write_bytes(data[: number * len(data) // 2])
        before = _visible(self._out)
        counts = Counter[str]()
        with start(*self._run, start_new_session=True, preexec_fn=_heed_interrupts) as process:
            run_for(process, moment)
            if process.poll() is None:
                os.killpg(process.pid, ending)
                counts["interrupted"] += 1
            ended(process)
        after = _visible(self._out)
        counts["outputs then"] += len(after)
        counts["unfinished"] += sum(
            data not in (self._expected[name], before.get(name)) for name, data in after.items()
        )
        counts["lost"] += len(before.keys() - after.keys()) + (contents(self._sources) != self._inputs)
        counts["failed"] += dfm(*self._run).code != 0
        outputs = _visible(self._out)
        counts["lost"] += len(self._expected.keys() - outputs.keys()) + (contents(self._sources) != self._inputs)
        counts["damaged"] += sum(outputs.get(name) != data for name, data in self._expected.items())
        counts["temporary files"] += len(list(self._out.glob(".*.tmp")))
        return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000, help="How many runs are interrupted.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--only", help="Only runs whose name matches this pattern, such as 'decode*SIGINT'.", default=""
    )
    given = parser.parse_args()
    moments = np.random.default_rng(given.seed)
    with tempfile.TemporaryDirectory() as folder:
        trials = []
        for number, kind in enumerate(_KINDS):
            place = Path(folder, str(number))
            place.mkdir()
            trials.append(Trial(place, *kind))
        total = Counter[tuple[str, str]]()
        for run in itertools.count():
            if sum(count for (_, what), count in total.items() if what == "interrupted") >= given.runs:
                break
            trial, (command, jobs, has_report) = trials[run % len(trials)], _KINDS[run % len(trials)]
            ending = _SIGNALS[run // len(trials) % len(_SIGNALS)]
            report = "report" if has_report else "no report"
            name = f"{command} -j {jobs}, {report}, {ending.name}"
            if not fnmatch(name, f"*{given.only}*"):
                continue
            counts = trial.interrupt(ending, moments.uniform(0.1, 0.95) * trial.seconds, int(moments.integers(0, 3)))
            total.update({(name, what): count for what, count in counts.items()} | {(name, "runs"): 1})
            if any(counts[what] for what in _FAULTS):
                print(f"run {run}: {name}: {dict(counts)}", flush=True)
    columns = ("runs", "interrupted", "outputs then", *_FAULTS, "temporary files")
    print("| run | " + " | ".join(columns) + " |")
    for name in sorted({name for name, _ in total}):
        print(f"| {name} | " + " | ".join(str(total[name, column]) for column in columns) + " |")


if __name__ == "__main__":
    main()
