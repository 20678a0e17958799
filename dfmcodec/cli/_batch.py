"""Many files through one command: share the work among processes, keep what is there, and report
as it goes.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from dfmcodec.cli._common import display_name, echo, json_text, output_name
from dfmcodec.cli._failure import failure_of
from dfmcodec.cli._inputs import Inputs, Task, Unusable
from dfmcodec.cli._interrupt import EXIT_AFTER_INTERRUPT
from dfmcodec.cli._origins import Claim, Origin, Records, adopt
from dfmcodec.cli._progress import FilesBar
from dfmcodec.cli._report_file import DONE, FAILED, INTERRUPTED, LARGER, ReportFile
from dfmcodec.files.names import printable

SOME_FAILED = 5
_FAILED = 1
_PLANNED = "planned"  # the status of what a dry run would do
_NOTHING_TO_DO = 1


@dataclass(frozen=True)
class TaskResult:
    """The outcome of a task.

    Args:
        report: Plain values for JSON; None if the task failed.
        line: The report for people.
        notices: Messages about what was converted or left out.
        error: One line that says what went wrong; None if nothing did.
        row: Values for the report file.
        status: What became of it: a status of the report file.
    """

    report: dict[str, Any] | None
    line: str
    notices: tuple[str, ...] = ()
    error: str | None = None
    row: dict[str, Any] = field(default_factory=dict)
    status: str = DONE


@dataclass(frozen=True)
class Work:
    """How to perform the tasks of a run.

    Args:
        perform: Performs a task; gets whether it may replace the output. It must be picklable if
            there are several processes.
        processes: The number of tasks to perform at a time.
        verb: The verb of the summary, such as "encoded".
        noun: What inputs are, such as "images".
        settings: What decides the outputs besides the inputs, as one text.
        is_dry: Whether the tasks are shown, not performed.
        adopts: Whether outputs that nothing is known of are taken for made of their inputs.
        leaves_larger: Whether no file is made that is no smaller than its source.
        should_stop: Asked before each task. If it returns True, the remaining tasks are not
            started.
    """

    perform: Callable[[Task, bool], TaskResult]
    processes: int
    verb: str
    noun: str
    settings: str
    is_dry: bool = False
    adopts: bool = False
    leaves_larger: bool = False
    should_stop: Callable[[], bool] = lambda: False


@dataclass(frozen=True)
class Display:
    """What a run prints.

    Args:
        as_json: One JSON object for each file on stdout, instead of lines.
        quiet: Failures only.
    """

    as_json: bool
    quiet: bool


class _Run:
    """A run of files; see `run`."""

    def __init__(self, inputs: Inputs, work: Work, display: Display, force: bool, report: ReportFile | None) -> None:
        self._inputs = inputs
        self._work = work
        self._display = display
        self._force = force
        self._report = report
        self._is_shown = not display.quiet
        self._bar = FilesBar(inputs.count, self._is_shown)
        self._records = Records()
        self._states: dict[Task, dict[str, Any]] = {}  # of sources that are worked on, for the report
        self.counts: Counter[str] = Counter()  # by status; "kept" ones, too
        self._of_other_settings = 0  # of those that are kept

    def perform(self) -> None:
        """Performs all tasks, or shows them."""
        from dfmcodec.processes import run_jobs

        if self._work.is_dry:
            for task, _ in self._tasks():
                self._show(task)
            self._bar.close()
            return

        perform = partial(_perform_guarded, self._work.perform)
        try:
            run_jobs(perform, self._tasks(), self._work.processes, self._finish, self._work.should_stop)
        finally:
            self._bar.close()

    def _tasks(self) -> Iterator[tuple[Task, bool]]:
        """The tasks that are to be performed, and whether each may replace its output."""
        for task in self._inputs:
            if isinstance(task, Unusable):
                self._fail(task.source, None, task.error)
                continue
            may_replace = self._may_replace(task)
            if may_replace is not None:
                if self._report is not None:
                    self._states[task] = self._report.state(task.source)
                yield task, may_replace

    def _show(self, task: Task) -> None:
        """Shows a task that would be performed."""
        if not os.path.exists(task.source):
            self._fail(str(task.source), None, f"cannot read {task.source}: there is no such file")
            return
        self.counts[DONE] += 1
        if self._display.as_json:
            self._bar.echo(json_text({"input": str(task.source), "output": str(task.target), "status": _PLANNED}))
        elif self._is_shown:
            self._echo(planned_line(task.source, task.target))

    def _may_replace(self, task: Task) -> bool | None:
        """Whether the output of a task may be replaced; None if it is not to be made."""
        report = self._report
        if self._force:
            return True
        if self._work.leaves_larger and report is not None and report.was_left_out(task):
            self._keep()
            return None
        if not os.path.exists(task.target):
            return False
        reported = None if report is None else report.origin(task)
        standing = self._records.standing(task.source, task.target, reported)
        claim, is_reported = standing.claim, report is not None and reported is not None
        if claim is Claim.UNKNOWN and self._work.adopts:
            if not self._work.is_dry:
                adopt(task.target, Origin.of(task.source, None))
        elif claim in (Claim.UNKNOWN, Claim.FOREIGN) or (claim is Claim.CHANGED and not is_reported):
            self._fail(str(task.source), None, standing.why)
            return None
        elif claim in (Claim.PART, Claim.CHANGED):
            return True
        elif is_reported and report is not None and report.is_of_other_settings(task):
            return True  # which a report is there for
        self._keep()
        self._of_other_settings += standing.settings not in (None, self._work.settings)
        return None

    def _keep(self) -> None:
        self.counts["kept"] += 1
        self._bar.left_out()

    def _finish(self, job: tuple[Task, bool], result: TaskResult | None) -> list[tuple[Task, bool]]:
        task, _ = job
        if result is None:
            died = "the process died, perhaps for lack of memory; use a lower -j"
            result = TaskResult(None, "", error=f"{task.source}: {died}")
        for notice in result.notices if self._is_shown else ():
            self._echo(f"dfm: {notice}", err=True)
        if result.error is not None:
            self._fail(str(task.source), task, result.error, result.row)
            return []
        self.counts[result.status] += 1
        self._add_row(task, {"status": result.status, **result.row})
        if self._display.as_json:
            self._bar.echo(json_text({**(result.report or {}), "status": result.status}))
        elif self._is_shown:
            self._echo(result.line)
        self._bar.done()
        return []

    def _echo(self, line: str, err: bool = False) -> None:
        self._bar.echo(printable(line), err=err)

    def _fail(self, source: str, task: Task | None, error: str, row: dict[str, Any] | None = None) -> None:
        self.counts[FAILED] += 1
        self._echo(f"dfm: failed: {error}", err=True)
        if self._display.as_json:
            self._bar.echo(json_text({"input": source, "status": FAILED, "error": error}))
        self._add_row(task or source, {**(row or {}), "status": FAILED, "error": error})
        self._bar.done()

    def _add_row(self, task: Task | str, row: dict[str, Any]) -> None:
        if self._report is None:
            return
        if isinstance(task, str):
            self._report.add({"source": task, **row})
        else:
            self._report.add({**self._states.pop(task), "output": str(task.target), **row})

    def summary(self) -> str:
        """The numbers of files, for people."""
        counts = self.counts
        would_be = "would be " if self._work.is_dry else ""
        parts = [f"{counts[DONE] + counts[INTERRUPTED]} {would_be}{self._work.verb}"]
        if counts["kept"]:
            others = self._of_other_settings
            made = f", {others} of them made with other settings" if others else ""
            parts.append(f"{counts['kept']} already there{made} (-f overwrites them)")
        if counts[LARGER]:
            parts.append(f"{counts[LARGER]} left out as larger than their sources")
        if counts[FAILED]:
            parts.append(f"{counts[FAILED]} failed")
        if self._work.should_stop():
            parts.append("interrupted: the rest not started")
        return ", ".join(parts)


def tell_of_slow_coder(quiet: bool) -> None:
    """Says it once for all files where Python codes symbol by symbol."""
    from dfmcodec.entropy.range_coders import is_slow

    if not quiet and is_slow():
        echo(
            "dfm: without compiled kernels and constriction, entropy coding takes about a second for 300,000 pixels; "
            "pip install constriction helps",
            err=True,
        )


def run(inputs: Inputs, work: Work, display: Display, force: bool, report: ReportFile | None = None) -> None:
    """Performs the tasks of inputs, reports on each, and ends the command with exit code 5 if some
    of several failed, 1 if the only one did, 130 after Ctrl-C, and 1 if there was nothing to do.

    Args:
        inputs: The inputs.
        work: How to perform them.
        display: What is printed.
        force: Whether outputs that exist are made again.
        report: A row for each file goes here, and outputs that it knows to be out of date are made
            again.
    """
    this = _Run(inputs, work, display, force, report)
    this.perform()
    if not display.quiet:
        for notice in (skipped.notice() for skipped in inputs.skipped):
            if notice:
                echo(f"dfm: {notice}", err=True)
        echo(this.summary(), err=display.as_json)
    if work.should_stop():
        sys.exit(EXIT_AFTER_INTERRUPT)
    if not this.counts:
        echo(f"dfm: error: there are no {work.noun} here (-r looks into subfolders)", err=True)
        sys.exit(_NOTHING_TO_DO)
    if this.counts[FAILED]:
        sys.exit(SOME_FAILED if this.counts.total() > 1 else _FAILED)


def planned_line(source: Path, target: Path) -> str:
    """What a dry run says of an output that would be made."""
    return f"{display_name(source)} -> {output_name(target)}"


def _perform_guarded(perform: Callable[[Task, bool], TaskResult], job: tuple[Task, bool]) -> TaskResult:
    """Performs a task and turns its exceptions into a result, so that a failure does not stop the
    other tasks.
    """
    from dfmcodec.files.atomic import check_writable

    task, force = job
    try:
        task.target.parent.mkdir(parents=True, exist_ok=True)
        check_writable(task.target, force=True)
        return perform(task, force)
    except Exception as error:  # whatever it is, it is about this file alone
        return TaskResult(None, "", error=failure_of(error).of_file(task.source))
