"""Runs on one file or many: distributes the work over processes, follows the rule for existing
outputs, and reports continuously.
"""

from __future__ import annotations

import errno
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dfmcodec.cli import outputs
from dfmcodec.cli._common import STANDARD, echo, echo_json, make_folder, notify, write_output
from dfmcodec.cli._failure import SOME_FAILED, failure_of
from dfmcodec.cli._inputs import Inputs, Naming, RunOptions, Task, Unusable
from dfmcodec.cli._progress import FilesBar
from dfmcodec.cli._report_file import ReportFile, report_file
from dfmcodec.cli.outputs import Action
from dfmcodec.errors import OutputError, TargetUnreachableError
from dfmcodec.processes import prepare_process, run_jobs

# Values of "status".
DONE, MISSED, LARGER, KEPT, FAILED = "done", "missed", "larger", "kept", "failed"
_FAILED = 1
_NOTHING_TO_DO = 1
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class TaskResult:
    """Result of a task."""

    report: dict[str, Any] = field(default_factory=dict)  # plain values for JSON
    line: str = ""  # the report as text
    data: bytes | None = None  # the output; None if nothing is to be written
    status: str = DONE
    notices: tuple[str, ...] = ()  # messages about conversions and losses
    warning: str | None = None  # a message that is printed even if the run is quiet
    row: dict[str, Any] = field(default_factory=dict)  # values for the report file
    exit_code: int = 0  # of a run of this task alone
    is_disk_full: bool = False  # whether it failed for lack of space


@dataclass(frozen=True)
class Work:
    """Work of a run. If there are several processes, it is pickled."""

    perform: Callable[[Task], TaskResult]  # makes the output of a task, which the run writes
    is_intact: Callable[[Path], bool]  # as in `outputs.action_for`
    options: RunOptions
    verb: str  # of the summary, such as "encoded"
    noun: str  # of the inputs, such as "images"

    def done(self, task: Task) -> TaskResult:
        """Performs a task, unless its output is kept, and writes the output."""
        action = self._action(task)
        if action is Action.KEEP:
            return _kept(task)
        result = self.perform(task)
        data = result.data
        if data is None:
            return result
        if action is Action.REPLACE and not self.options.force:
            again = f"{task.target} was damaged or empty, and is made again"
            result = replace(result, notices=(*result.notices, again))
        try:
            write_output(task.target, data, action is Action.REPLACE, follow=task.is_named)
        except OutputError:
            # Another run of the same files may have made it meanwhile.
            if self.options.skip_existing and self._action(task) is Action.KEEP:
                return _kept(task)
            raise
        return replace(result, data=None)

    def guarded(self, task: Task) -> TaskResult:
        """Performs a task and converts exceptions to a result, so that a failure does not stop
        other tasks.
        """
        try:
            return self.done(task)
        except Exception as error:  # any error concerns only this file
            return _failed(task, failure_of(error).message_for(task.source), _is_disk_full(error))

    def _action(self, task: Task) -> Action:
        task.check_links()
        if not task.is_named and task.target != STANDARD:
            make_folder(task.target.parent)
        options = self.options
        return outputs.action_for(task.target, task.is_named, options.force, options.skip_existing, self.is_intact)


def _kept(task: Task) -> TaskResult:
    return TaskResult({**task.names}, f"{task.target} exists and is intact", status=KEPT)


def _failed(task: Task | Unusable, error: str, is_disk_full: bool = False) -> TaskResult:
    report = {"source": str(task.source), "error": error}
    row = {"error": error}
    return TaskResult(report, status=FAILED, warning=f"failed: {error}", row=row, is_disk_full=is_disk_full)


class _Run:
    """Run on several files; see `run`."""

    def __init__(self, inputs: Inputs, work: Work, report: ReportFile | None) -> None:
        self._inputs = inputs
        self._work = work
        self._report = report
        self._bar = FilesBar(len(inputs.tasks), not work.options.quiet)
        self._is_disk_full = False
        self.counts: Counter[str] = Counter()  # by status
        self._source_bytes = self._output_bytes = 0  # of the outputs of this run

    def perform(self) -> None:
        """Performs all tasks."""
        try:
            run_jobs(
                self._work.guarded,
                self._tasks(),
                self._work.options.processes,
                self._finish,
                lambda: self._is_disk_full,
            )
        finally:
            self._bar.close()

    def _tasks(self) -> Iterator[Task]:
        for task in self._inputs.tasks:
            if isinstance(task, Unusable):
                self._take(task, _failed(task, task.error))
            else:
                yield task

    def _finish(self, task: Task, result: TaskResult | None) -> list[Task]:
        if result is None:
            result = _failed(task, f"{task.source}: the process died, perhaps for lack of memory; use a lower -j")
        self._take(task, result)
        return []

    def _take(self, task: Task | Unusable, result: TaskResult) -> None:
        """Counts and reports a result."""
        self.counts[result.status] += 1
        self._is_disk_full = self._is_disk_full or result.is_disk_full
        if result.status in (DONE, MISSED):
            self._source_bytes += result.row["source_bytes"]
            self._output_bytes += result.row["output_bytes"]
        _add_row(self._report, task, result)
        options = self._work.options
        for notice in () if options.quiet else result.notices:
            self._bar.notify(notice)
        if result.warning is not None:
            self._bar.notify(result.warning)
        if options.as_json:
            self._bar.echo_json({**result.report, "status": result.status})
        elif result.line and result.status != KEPT and not options.quiet:
            self._bar.echo(result.line)
        if result.status == KEPT:
            self._bar.left_out()
        else:
            self._bar.done()

    def summary(self, is_interrupted: bool) -> str:
        """Returns a summary with the numbers of files."""
        counts = self.counts
        parts = [f"{counts[DONE] + counts[MISSED]} {self._work.verb}"]
        for status, text in (
            (MISSED, "of them below their target"),
            (KEPT, "already there"),
            (LARGER, "left out as larger than their sources"),
            (FAILED, "failed"),
        ):
            if counts[status]:
                parts.append(f"{counts[status]} {text}")
        if is_interrupted:
            parts.append("interrupted (--skip-existing continues)")
        elif self._is_disk_full:
            parts.append("the disk is full: the rest not started")
        return ", ".join(parts) + self._bytes_text()

    def _bytes_text(self) -> str:
        """Returns the bytes before and after if some are saved."""
        before, after = self._source_bytes, self._output_bytes
        if after >= before:
            return ""
        return f"; {before:,} -> {after:,} bytes ({100 * after / before:.0f} %, {before - after:,} saved)"


def run(work: Work, naming: Naming, report_path: Path | None = None) -> None:
    """Performs the tasks of all inputs, reports each one, and ends the command.

    A single file ends with its own error. The exit code of several is 5 if some of them failed or
    missed their target, 1 if the only one failed, 4 if it missed its target, and 1 if there was
    nothing to do.
    """
    options = work.options
    listed, named = options.files_from, options.output
    output = None if named is None or named.is_folder else named.path
    outputs.check_outputs_apart({"-o": output, "--report": report_path}, [])
    outputs.check_outputs_apart({"--report": report_path}, [*options.sources, listed])
    inputs = Inputs(options, naming, (report_path,))
    prepare_process()
    with report_file(report_path) as report:
        if options.is_single():
            (task,) = inputs.tasks
            _run_alone(task, work, report)
            return
        this = _Run(inputs, work, report)
        try:
            this.perform()
        except KeyboardInterrupt:
            if not options.quiet:
                echo(this.summary(is_interrupted=True), err=options.as_json)
            raise
    if not options.quiet:
        for notice in filter(None, (skipped.notice() for skipped in inputs.skipped)):
            notify(notice)
        if this.counts:
            echo(this.summary(is_interrupted=False), err=options.as_json)
    if not this.counts:
        notify(f"error: {inputs.nothing_message(work.noun)}")
        sys.exit(_NOTHING_TO_DO)
    if this.counts[FAILED] or this.counts[MISSED]:
        alone = _FAILED if this.counts[FAILED] else TargetUnreachableError.exit_code
        sys.exit(SOME_FAILED if this.counts.total() > 1 else alone)


def _run_alone(task: Task | Unusable, work: Work, report: ReportFile | None) -> None:
    """Performs the only task of a run. Its error ends the command."""
    if isinstance(task, Unusable):
        raise OutputError(task.error)
    quiet, to_stdout = work.options.quiet, task.target == STANDARD
    try:
        result = work.done(task)
    except Exception as error:
        _add_row(report, task, _failed(task, failure_of(error).message_for(task.source)))
        raise
    _add_row(report, task, result)
    for notice in result.notices:
        notify(notice, quiet)
    if result.warning is not None:
        notify(result.warning)
    if work.options.as_json:
        echo_json({**result.report, "status": result.status}, err=to_stdout)
    elif not quiet:
        echo(result.line, err=to_stdout)
    if result.exit_code:
        sys.exit(result.exit_code)


def _add_row(report: ReportFile | None, task: Task | Unusable, result: TaskResult) -> None:
    if report is not None:
        names = task.names if isinstance(task, Task) else {"source": str(task.source)}
        report.add({**names, "status": result.status, **result.row})


def _is_disk_full(error: BaseException | None) -> bool:
    """Indicates whether an error was caused by a full disk."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _NO_SPACE:
            return True
        error = error.__cause__
    return False
