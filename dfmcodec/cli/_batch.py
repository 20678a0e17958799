"""Runs on many files: distributes the work over processes, keeps existing outputs, and reports
continuously.
"""

from __future__ import annotations

import errno
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from dfmcodec.cli._common import display_name, echo, json_text, output_name
from dfmcodec.cli._existing import Action, Decision, ExistingOutputs
from dfmcodec.cli._failure import failure_of
from dfmcodec.cli._inputs import Inputs, Task, Unusable
from dfmcodec.cli._interrupt import EXIT_AFTER_INTERRUPT
from dfmcodec.cli._origins import DONE, FAILED, INTERRUPTED, LARGER, MISSED
from dfmcodec.cli._progress import FilesBar
from dfmcodec.cli._report_file import ReportFile
from dfmcodec.errors import TargetUnreachableError
from dfmcodec.files.names import printable

SOME_FAILED = 5
_FAILED = 1
_PLANNED = "planned"  # the status of what a dry run would do
_KEPT = "kept"  # that of an output that exists already
_NOTHING_TO_DO = 1
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class TaskResult:
    """Result of a task.

    Args:
        report: Plain values for JSON; None if the task failed.
        line: The report as text.
        notices: Messages about conversions and losses.
        error: An error message of one line; None if the task succeeded.
        row: Values for the report file.
        status: A status of the report file.
        is_disk_full: Whether it failed for lack of space.
        warning: A message that is printed even if the run is quiet; None for none.
    """

    report: dict[str, Any] | None
    line: str
    notices: tuple[str, ...] = ()
    error: str | None = None
    row: dict[str, Any] = field(default_factory=dict)
    status: str = DONE
    is_disk_full: bool = False
    warning: str | None = None


@dataclass(frozen=True)
class Work:
    """Description of the work of a run.

    Args:
        perform: Performs a task according to the decision about its output. Must be picklable if
            there are several processes.
        existing: Decides about existing outputs.
        processes: The number of tasks to perform at a time.
        verb: The verb of the summary, such as "encoded".
        noun: The name of the inputs, such as "images".
        is_dry: Whether to show the tasks instead of performing them.
        leaves_larger: Whether to write only files that are smaller than their source.
        should_stop: Called before each task. If it returns True, the remaining tasks are not
            started.
    """

    perform: Callable[[Task, Decision], TaskResult]
    existing: ExistingOutputs
    processes: int
    verb: str
    noun: str
    is_dry: bool = False
    leaves_larger: bool = False
    should_stop: Callable[[], bool] = lambda: False


@dataclass(frozen=True)
class Display:
    """Display options of a run.

    Args:
        as_json: Whether to print one JSON object per file to stdout, instead of text.
        quiet: Whether to print only failures.
    """

    as_json: bool
    quiet: bool


_Job = tuple[Task, Decision]


class _Run:
    """Run on several files; see `run`."""

    def __init__(self, inputs: Inputs, work: Work, display: Display, report: ReportFile | None) -> None:
        self._inputs = inputs
        self._work = work
        self._display = display
        self._report = report
        self._is_shown = not display.quiet
        self._bar = FilesBar(inputs.count, self._is_shown)
        self._states: dict[Task, dict[str, Any]] = {}  # states of the sources in progress, for the report
        self._is_disk_full = False
        self.counts: Counter[str] = Counter()  # by status, including "kept"

    def perform(self) -> None:
        """Performs all tasks, or shows them."""
        from dfmcodec.processes import run_jobs

        if self._work.is_dry:
            for task, decision in self._tasks():
                self._show(task, decision)
            self._bar.close()
            return

        perform = partial(_perform_guarded, self._work.perform)
        try:
            run_jobs(perform, self._tasks(), self._work.processes, self._finish, self._should_stop)
        finally:
            self._bar.close()

    def _should_stop(self) -> bool:
        return self._is_disk_full or self._work.should_stop()

    def _tasks(self) -> Iterator[_Job]:
        """Yields the tasks to perform, with the decisions about their outputs."""
        for task in self._inputs:
            if isinstance(task, Unusable):
                self._fail(task.source, None, task.error)
                continue
            if self._work.leaves_larger and self._report is not None and self._report.was_left_out(task):
                self._keep(LARGER)
                continue
            decision = self._work.existing.decide(task)
            if decision.action is Action.KEEP:
                self._keep(_KEPT)
                self._note_kept(task)
            elif decision.action is Action.REFUSE:
                self._fail(str(task.source), None, decision.why)
            else:
                if self._report is not None:
                    self._states[task] = self._report.state(task.source)
                yield task, decision

    def _note_kept(self, task: Task) -> None:
        """Prints the JSON object of a kept output, and adds the row that a report lacks."""
        if self._display.as_json:
            self._bar.echo(json_text({"input": str(task.source), "output": str(task.target), "status": _KEPT}))
        if self._report is None or self._work.is_dry or self._report.origin(task.target) is not None:
            return
        origin = self._work.existing.origin_of(task.target)
        if origin is not None and origin.status == DONE:
            row = {"output": str(task.target), "status": DONE, "bytes_before": origin.source_bytes}
            made = {"bytes_after": origin.output_bytes, "output_sha256": origin.output_sha256}
            state = {**self._report.state(task.source), "settings": origin.settings}
            self._report.add({**state, **row, **made})

    def _keep(self, status: str) -> None:
        self.counts[status] += 1
        self._bar.left_out()

    def _show(self, task: Task, decision: Decision) -> None:
        """Prints a task that would be performed."""
        if not os.path.exists(task.source):
            self._fail(str(task.source), None, f"cannot read {task.source}: there is no such file")
            return
        if decision.action is Action.REPLACE_IDENTICAL:
            self._fail(str(task.source), None, decision.why)
            return
        self.counts[DONE] += 1
        if self._display.as_json:
            self._bar.echo(json_text({"input": str(task.source), "output": str(task.target), "status": _PLANNED}))
        elif self._is_shown:
            self._echo(planned_line(task, decision))

    def _finish(self, job: _Job, result: TaskResult | None) -> list[_Job]:
        task, decision = job
        if result is None:
            died = "the process died, perhaps for lack of memory; use a lower -j"
            result = TaskResult(None, "", error=f"{task.source}: {died}")
        self._is_disk_full = self._is_disk_full or result.is_disk_full
        for notice in result.notices if self._is_shown else ():
            self._echo(f"dfm: {notice}", err=True)
        if result.error is not None:
            self._fail(str(task.source), task, result.error, result.row)
            return []
        self.counts[result.status] += 1
        self._add_row(task, {"status": result.status, **result.row})
        if result.warning is not None:
            self._echo(f"dfm: {result.warning}", err=True)
        if decision.needs_notice and result.status != LARGER and self._is_shown:
            self._echo(f"dfm: {remake_notice(task, decision)}", err=True)
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
        """Returns a summary with the numbers of files."""
        counts = self.counts
        would_be = "would be " if self._work.is_dry else ""
        parts = [f"{counts[DONE] + counts[INTERRUPTED] + counts[MISSED]} {would_be}{self._work.verb}"]
        if counts[MISSED]:
            parts.append(f"{counts[MISSED]} of them below their target")
        if counts[_KEPT]:
            parts.append(f"{counts[_KEPT]} already there (-f overwrites them)")
        if counts[LARGER]:
            parts.append(f"{counts[LARGER]} left out as larger than their sources")
        if counts[FAILED]:
            parts.append(f"{counts[FAILED]} failed")
        if self._work.should_stop():
            parts.append("interrupted: the rest not started")
        elif self._is_disk_full:
            parts.append("the disk is full: the rest not started")
        return ", ".join(parts)


def warn_about_slow_coder(quiet: bool) -> None:
    """Warns once per run if symbols are coded one by one in Python."""
    from dfmcodec.entropy.range_coders import is_slow

    if not quiet and is_slow():
        echo(
            "dfm: without compiled kernels and constriction, entropy coding takes about a second for 300,000 pixels; "
            "pip install constriction helps",
            err=True,
        )


def run(inputs: Inputs, work: Work, display: Display, report: ReportFile | None = None) -> None:
    """Performs the tasks of inputs, reports each one, and ends the command. The exit code is 5 if
    some of several tasks failed or missed their target, 1 if the only one failed, 4 if it missed
    its target, 130 after Ctrl-C, and 1 if there was nothing to do.

    Args:
        inputs: The inputs.
        work: Describes how to perform the tasks.
        display: Display options.
        report: Receives a row for each file.
    """
    this = _Run(inputs, work, display, report)
    this.perform()
    if not display.quiet:
        for notice in (skipped.notice() for skipped in inputs.skipped):
            if notice:
                echo(f"dfm: {notice}", err=True)
        echo(this.summary(), err=display.as_json)
    if work.should_stop():
        sys.exit(EXIT_AFTER_INTERRUPT)
    if not this.counts:
        where = "the list names no files" if inputs.is_empty_list else "-r looks into subfolders"
        echo(f"dfm: error: there are no {work.noun} here ({where})", err=True)
        sys.exit(_NOTHING_TO_DO)
    if this.counts[FAILED] or this.counts[MISSED]:
        alone = _FAILED if this.counts[FAILED] else TargetUnreachableError.exit_code
        sys.exit(SOME_FAILED if this.counts.total() > 1 else alone)


def planned_line(task: Task, decision: Decision) -> str:
    """Returns the line of a dry run for an output that would be made."""
    again = f" (again: {decision.why})" if decision.needs_notice else ""
    return f"{display_name(task.source)} -> {output_name(task.target)}{again}"


def remake_notice(task: Task, decision: Decision) -> str:
    """Returns the notice that an output is made again."""
    return f"{output_name(task.target)} is made again: {decision.why}"


def _perform_guarded(perform: Callable[[Task, Decision], TaskResult], job: _Job) -> TaskResult:
    """Performs a task and converts exceptions to a result, so that a failure does not stop other
    tasks.
    """
    from dfmcodec.files.atomic import check_writable

    task, decision = job
    try:
        task.target.parent.mkdir(parents=True, exist_ok=True)
        task.check_links()
        check_writable(task.target, force=True, follow=False)
        return perform(task, decision)
    except Exception as error:  # any error concerns only this file
        return TaskResult(None, "", error=failure_of(error).message_for(task.source), is_disk_full=_is_disk_full(error))


def _is_disk_full(error: BaseException | None) -> bool:
    """Indicates whether an error was caused by a full disk."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _NO_SPACE:
            return True
        error = error.__cause__
    return False
