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
from pathlib import Path
from typing import Any

from dfmcodec.cli._common import display_name, echo, make_folder, notify, output_name
from dfmcodec.cli._existing import Action, Decision, ExistingOutputs
from dfmcodec.cli._failure import SOME_FAILED, failure_of
from dfmcodec.cli._inputs import Inputs, Naming, RunOptions, Task, Unusable
from dfmcodec.cli._interrupt import EXIT_AFTER_INTERRUPT
from dfmcodec.cli._origins import DONE, FAILED, INTERRUPTED, LARGER, MISSED, MadeMeanwhileError
from dfmcodec.cli._progress import FilesBar
from dfmcodec.cli._remaining import RemainingTime, Timed, pixels_of, timed
from dfmcodec.cli._report_file import ReportFile, report_file
from dfmcodec.cli._same_file import check_outputs_apart
from dfmcodec.errors import TargetUnreachableError
from dfmcodec.files.atomic import check_writable
from dfmcodec.processes import is_asked_to_stop, run_jobs

KEPT = "kept"  # the status of an output that exists already
PLANNED = "planned"  # the status of what a dry run would do
_FAILED = 1
_NOTHING_TO_DO = 1
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class TaskResult:
    """Result of a task."""

    report: dict[str, Any] = field(default_factory=dict)  # plain values for JSON
    line: str = ""  # the report as text
    notices: tuple[str, ...] = ()  # messages about conversions and losses
    error: str | None = None  # one line; None if there is an output
    losses: tuple[str, ...] = ()  # what a damaged input lacks, if its rest was written
    row: dict[str, Any] = field(default_factory=dict)  # values for the report file
    status: str = DONE  # as in the report file
    is_disk_full: bool = False  # whether it failed for lack of space
    warning: str | None = None  # a message that is printed even if the run is quiet
    exit_code: int = 0  # of a run of this task alone


@dataclass(frozen=True)
class Work:
    """Work of a run. `perform` performs a task according to the decision about its output; it must
    be picklable if there are several processes.
    """

    perform: Callable[[Task, Decision], TaskResult]
    naming: Naming
    settings: str  # that determine the outputs besides the inputs
    verb: str  # of the summary, such as "encoded"
    noun: str  # of the inputs, such as "images"
    # Indicates whether the existing output of a task may be the file that its input was made from.
    may_be_source: Callable[[Task], bool] = lambda task: False
    leaves_larger: bool = False  # whether to write only files that are smaller than their source


_Job = tuple[Task, Decision]


class _Run:
    """Run on several files; see `run`."""

    def __init__(self, inputs: Inputs, work: Work, options: RunOptions, report: ReportFile | None) -> None:
        self._inputs = inputs
        self._work = work
        self._options = options
        self._report = report
        self._existing = ExistingOutputs(options, work.settings, report, work.may_be_source)
        self._bar = FilesBar(partial(_remaining_time, inputs, options.processes), not options.quiet)
        self._states: dict[Task, dict[str, Any]] = {}  # states of the sources in progress, for the report
        self._is_disk_full = False
        self.counts: Counter[str] = Counter()  # by status, including "kept"
        self._source_bytes = self._output_bytes = 0  # of the outputs of this run

    def perform(self) -> None:
        """Performs all tasks, or shows them."""
        try:
            if self._options.dry_run:
                for task, decision in self._tasks():
                    self._show(task, decision)
            else:
                perform = partial(timed, partial(_perform_guarded, self._work.perform))
                jobs, processes = self._tasks(), self._options.processes
                run_jobs(perform, jobs, processes, self._finish, lambda: self._is_disk_full or is_asked_to_stop())
        finally:
            self._bar.close()

    def _tasks(self) -> Iterator[_Job]:
        """Yields the tasks to perform, with the decisions about their outputs."""
        for task in self._inputs:
            if isinstance(task, Unusable):
                self._fail(task, task.error)
                continue
            if self._work.leaves_larger and self._report is not None and self._report.was_left_out(task):
                self._keep(task, LARGER)
                continue
            decision = self._existing.decide(task)
            if decision.action is Action.KEEP:
                self._keep(task, KEPT)
                self._note_kept(task)
            elif decision.action is Action.REFUSE:
                self._fail(task, decision.why)
            else:
                if self._report is not None:
                    self._states[task] = self._report.state(task.source)
                self._bar.started(task.source)
                yield task, decision

    def _note_kept(self, task: Task) -> None:
        """Prints the JSON object of a kept output, and adds the row that a report lacks."""
        if self._options.as_json:
            self._bar.echo_json({**task.names, "status": KEPT})
        if self._report is None or self._options.dry_run or self._report.origin(task.target) is not None:
            return
        origin = self._existing.records.origin_of(task.target)
        if origin is not None and origin.status == DONE:
            row = {"output": str(task.target), "status": DONE, "source_bytes": origin.source_bytes}
            made = {"output_bytes": origin.output_bytes, "output_sha256": origin.output_sha256}
            state = {**self._report.state(task.source), "settings": origin.settings}
            self._report.add({**state, **row, **made})

    def _keep(self, task: Task, status: str) -> None:
        self.counts[status] += 1
        self._bar.left_out(task.source)

    def _show(self, task: Task, decision: Decision) -> None:
        """Prints a task that would be performed."""
        if not os.path.exists(task.source):
            self._fail(task, f"cannot read {task.source}: there is no such file")
        elif decision.action is Action.REPLACE_IDENTICAL:
            self._fail(task, decision.why)
        else:
            self.counts[DONE] += 1
            self._print({**task.names, "status": PLANNED}, planned_line(task, decision))

    def _finish(self, job: _Job, timed_result: Timed[TaskResult] | None) -> list[_Job]:
        task, decision = job
        if timed_result is None:
            died = "the process died, perhaps for lack of memory; use a lower -j"
            timed_result = Timed(TaskResult(error=f"{task.source}: {died}"), 0.0)
        result = timed_result.result
        self._is_disk_full = self._is_disk_full or result.is_disk_full
        if result.losses:
            self._fail(task, f"{task.source}: {'; '.join(result.losses)}; written as {task.target}", result.row)
            return []
        for notice in () if self._options.quiet else result.notices:
            self._bar.notify(notice)
        if result.error is not None:
            self._fail(task, result.error, result.row)
            return []
        self.counts[result.status] += 1
        if result.status == KEPT:
            self._states.pop(task, None)
            self._note_kept(task)
            self._bar.done(source=task.source)
            return []
        if result.status != LARGER:
            self._source_bytes += result.row["source_bytes"]
            self._output_bytes += result.row["output_bytes"]
        self._add_row(task, {"status": result.status, **result.row})
        if result.warning is not None:
            self._bar.notify(result.warning)
        if decision.needs_notice and result.status != LARGER and not self._options.quiet:
            self._bar.notify(remake_notice(task, decision))
        self._print({**result.report, "status": result.status}, result.line)
        self._bar.done(source=task.source, seconds=timed_result.seconds)
        return []

    def _print(self, report: dict[str, Any], line: str) -> None:
        if self._options.as_json:
            self._bar.echo_json(report)
        elif not self._options.quiet:
            self._bar.echo(line)

    def _fail(self, task: Task | Unusable, error: str, row: dict[str, Any] | None = None) -> None:
        self.counts[FAILED] += 1
        self._bar.notify(f"failed: {error}")
        if self._options.as_json:
            self._bar.echo_json({"source": str(task.source), "status": FAILED, "error": error})
        self._add_row(task, {**(row or {}), "status": FAILED, "error": error})
        self._bar.done(source=Path(task.source))

    def _add_row(self, task: Task | Unusable, row: dict[str, Any]) -> None:
        if self._report is None:
            return
        if isinstance(task, Task) and task in self._states:
            begun = {**self._states.pop(task), "output": str(task.target)}
        else:
            begun = {"source": str(task.source)}
        self._report.add({**begun, **row})

    def summary(self) -> str:
        """Returns a summary with the numbers of files."""
        counts = self.counts
        would_be = "would be " if self._options.dry_run else ""
        parts = [f"{counts[DONE] + counts[INTERRUPTED] + counts[MISSED]} {would_be}{self._work.verb}"]
        for status, text in (
            (MISSED, "of them below their target"),
            (KEPT, "already there (-f overwrites them)"),
            (LARGER, "left out as larger than their sources"),
            (FAILED, "failed"),
        ):
            if counts[status]:
                parts.append(f"{counts[status]} {text}")
        if is_asked_to_stop():
            parts.append("interrupted: the rest not started")
        elif self._is_disk_full:
            parts.append("the disk is full: the rest not started")
        return ", ".join(parts) + self._bytes_text()

    def _bytes_text(self) -> str:
        """Returns the bytes before and after if some are saved."""
        before, after = self._source_bytes, self._output_bytes
        if after >= before:
            return ""
        return f"; {before:,} -> {after:,} bytes ({100 * after / before:.0f} %, {before - after:,} saved)"


def run(work: Work, options: RunOptions) -> None:
    """Performs the tasks of all inputs, reports each one, and ends the command. The exit code is 5
    if some of several tasks failed or missed their target, 1 if the only one failed, 4 if it missed
    its target, 130 after Ctrl-C, and 1 if there was nothing to do.
    """
    folder = options.folder if options.output is None else options.output.path
    kept = (options.report_path,)
    inputs = Inputs(
        options.sources, options.files_from, folder, options.recursive, work.naming, kept, options.skips_links
    )
    listed = None if options.files_from is None else options.files_from.path
    check_outputs_apart({"--report": options.report_path}, [*options.sources, listed])
    with report_file(options.report_path, work.settings, options.dry_run) as report:
        this = _Run(inputs, work, options, report)
        this.perform()
    if not options.quiet:
        for notice in filter(None, (skipped.notice() for skipped in inputs.skipped)):
            notify(notice)
        if this.counts or is_asked_to_stop():
            echo(this.summary(), err=options.as_json)
    if is_asked_to_stop():
        sys.exit(EXIT_AFTER_INTERRUPT)
    if not this.counts:
        notify(f"error: {inputs.nothing_message(work.noun)}")
        sys.exit(_NOTHING_TO_DO)
    if this.counts[FAILED] or this.counts[MISSED]:
        alone = _FAILED if this.counts[FAILED] else TargetUnreachableError.exit_code
        sys.exit(SOME_FAILED if this.counts.total() > 1 else alone)


def _remaining_time(inputs: Inputs, processes: int) -> RemainingTime:
    return RemainingTime(inputs.listed(), processes, pixels_of)


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
    task, decision = job
    try:
        make_folder(task.target.parent)
        task.check_links()
        check_writable(task.target, force=True, follow=False)
        return perform(task, decision)
    except MadeMeanwhileError:
        return TaskResult(status=KEPT)
    except Exception as error:  # any error concerns only this file
        return TaskResult(error=failure_of(error).message_for(task.source), is_disk_full=_is_disk_full(error))


def _is_disk_full(error: BaseException | None) -> bool:
    """Indicates whether an error was caused by a full disk."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _NO_SPACE:
            return True
        error = error.__cause__
    return False
