"""Runs of files that are interrupted at random moments and continued.

python tests/faults/continued.py --runs 1000           the figures of docs/results/trust.md

Each run encodes or decodes a folder, some of whose outputs exist already with other settings. It is
ended by Ctrl-C or by SIGKILL at a moment of its duration, in one process or two, with and without a
report. Then the same command runs to its end. Lost: a source that changed or is gone, or an output
that is not complete. Wrongly done: an output that differs from that of an undisturbed run.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import signal
import tempfile
from collections import Counter
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import PIL.Image
import skimage.data
from common import run_for
from faults import contents, dfm, ended, seconds_of, start

_FILES = 4
_SIGNALS = (signal.SIGINT, signal.SIGKILL)
_COMMANDS = {
    "encode": (("--effort", "3", "--quality", "60"), ("--effort", "1", "--quality", "30")),
    "decode": (("--resize", "50%"), ()),
}  # options of the run, and of the one before it


def _visible(folder: Path) -> dict[str, bytes]:
    """The files of a folder but for its record; none is temporary."""
    found = {name: data for name, data in contents(folder).items() if name != ".dfm-sources.jsonl"}
    return {name: data for name, data in found.items() if not name.endswith(".tmp")}


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
        options, self._other_options = _COMMANDS[command]
        self._command = (command, self._sources, "-O", self._out)
        self._run = (*self._command, *options, "-j", jobs, *(("--report", self._report) if has_report else ()))
        seconds_of(*self._run)
        shutil.rmtree(self._out)
        self._report.unlink(missing_ok=True)
        self.seconds = seconds_of(*self._run)
        self._kept, self._expected = contents(self._sources), _visible(self._out)
        self._before = [folder / f"before-{existing}" for existing in range(3)]
        for existing, before in enumerate(self._before):
            shutil.rmtree(self._out)
            self._out.mkdir()
            for name in sorted(self._kept)[:existing]:
                source = self._sources / name
                assert dfm(command, source, *self._command[2:], *self._other_options).code == 0
            shutil.copytree(self._out, before)  # with the times of the files

    def interrupt(self, ending: signal.Signals, moment: float, existing: int) -> Counter[str]:
        """Interrupts the run at a moment, continues it, and counts what is wrong.

        Args:
            ending: The signal.
            moment: Seconds from the start.
            existing: How many outputs exist with other settings.
        """
        shutil.rmtree(self._out)
        self._report.unlink(missing_ok=True)
        shutil.copytree(self._before[existing], self._out)
        before = _visible(self._out)
        found = Counter[str]()
        with start(*self._run, start_new_session=True, preexec_fn=_heed_interrupts) as process:
            run_for(process, moment)
            if process.poll() is None:
                os.killpg(process.pid, ending)
                found["interrupted"] += 1
            ended(process)
        after = _visible(self._out)
        found["outputs then"] += len(after)
        found["lost"] += len(before.keys() - after.keys()) + (contents(self._sources) != self._kept)
        again = dfm(*self._run)
        found["failed"] += again.code != 0
        outputs = _visible(self._out)
        found["lost"] += len(self._expected.keys() - outputs.keys()) + (contents(self._sources) != self._kept)
        found["wrong"] += sum(outputs.get(name) != data for name, data in self._expected.items())
        found["temporary files"] += len(list(self._out.glob(".*.tmp")))
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000, help="How many runs are interrupted.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--only", help="Only runs whose name matches this pattern, such as 'decode*SIGINT'.", default=""
    )
    given = parser.parse_args()
    moments = np.random.default_rng(given.seed)
    kinds = list(itertools.product(_COMMANDS, (1, 2), (False, True)))
    with tempfile.TemporaryDirectory() as folder:
        trials = []
        for number, kind in enumerate(kinds):
            place = Path(folder, str(number))
            place.mkdir()
            trials.append(Trial(place, *kind))
        total = Counter[tuple[str, str]]()
        for run in itertools.count():
            if sum(count for (_, what), count in total.items() if what == "interrupted") >= given.runs:
                break
            trial, (command, jobs, has_report) = trials[run % len(trials)], kinds[run % len(trials)]
            ending = _SIGNALS[run // len(trials) % len(_SIGNALS)]
            report = "report" if has_report else "no report"
            name = f"{command} -j {jobs}, {report}, {ending.name}"
            if not fnmatch(name, f"*{given.only}*"):
                continue
            found = trial.interrupt(ending, moments.uniform(0.1, 0.95) * trial.seconds, int(moments.integers(0, 3)))
            total.update({(name, what): count for what, count in found.items()} | {(name, "runs"): 1})
            if found["lost"] or found["wrong"] or found["failed"]:
                print(f"run {run}: {name}: {dict(found)}", flush=True)
    columns = ("runs", "interrupted", "outputs then", "lost", "wrong", "failed", "temporary files")
    print("| run | " + " | ".join(columns) + " |")
    for name in sorted({name for name, _ in total}):
        print(f"| {name} | " + " | ".join(str(total[name, column]) for column in columns) + " |")


if __name__ == "__main__":
    main()
