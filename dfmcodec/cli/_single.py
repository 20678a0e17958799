"""Runs on a single file: the decision about its output, and the report."""

from __future__ import annotations

import sys
from collections.abc import Callable

from dfmcodec.cli._batch import KEPT, PLANNED, TaskResult, Work, planned_line, remake_notice
from dfmcodec.cli._common import STANDARD, check_output, display_name, echo, echo_json, notify, write_output
from dfmcodec.cli._existing import Action, Decision, ExistingOutputs
from dfmcodec.cli._inputs import RunOptions, Task
from dfmcodec.cli._origins import DONE, RECORD, Origin, write_recorded
from dfmcodec.cli._report_file import report_file
from dfmcodec.errors import OutputError

Perform = Callable[[Task, Decision, ExistingOutputs], TaskResult]


def run_single(task: Task, perform: Perform, work: Work, options: RunOptions) -> None:
    """Performs the only task of a run, unless its output is kept or this is a dry run, and reports
    it. `perform` takes the place of `work.perform`.
    """
    with report_file(options.report_path, work.settings, options.dry_run) as report:
        existing = ExistingOutputs(options, work.settings, report, work.may_be_source)
        decision = _decided(task, existing, options)
        if decision is None:
            return
        state = {} if report is None else report.state(task.source)
        result = perform(task, decision, existing)
        if report is not None and result.error is None:
            error = "; ".join(result.losses) or None
            report.add({**state, "output": str(task.target), "status": result.status, **result.row, "error": error})
    for loss in result.losses:
        notify(f"{display_name(task.source)}: {loss}")
    for message in filter(None, (result.error, result.warning)):
        notify(message)
    for notice in result.notices:
        notify(notice, options.quiet)
    to_stdout = task.target == STANDARD
    if result.error is None and options.as_json:
        echo_json({**result.report, "status": result.status}, err=to_stdout)
    elif result.error is None and not options.quiet:
        echo(result.line, err=to_stdout)
    if result.exit_code:
        sys.exit(result.exit_code)


def _decided(task: Task, existing: ExistingOutputs, options: RunOptions) -> Decision | None:
    """Returns the decision about the output. Returns None if nothing needs to be done, because the
    output is kept or this is a dry run. Prints the reason.
    """
    if task.target == STANDARD:
        decision = Decision(Action.MAKE)
    else:
        decision = existing.decide(task)
        if decision.action is Action.REFUSE or (options.dry_run and decision.action is Action.REPLACE_IDENTICAL):
            raise OutputError(decision.why)
    check_output(task.target, force=True)
    if decision.action is Action.KEEP:
        if options.as_json:
            echo_json({**task.names, "status": KEPT})
        elif not options.quiet:
            echo(f"{task.target} is up to date: it was {decision.why} (-f makes it again)")
        return None
    if options.dry_run:
        if options.as_json:
            echo_json({**task.names, "status": PLANNED})
        elif not options.quiet:
            echo(planned_line(task, decision))
        return None
    if decision.needs_notice:
        notify(remake_notice(task, decision), options.quiet)
    return decision


def write_result(task: Task, data: bytes, force: bool, origin: Origin, status: str = DONE) -> None:
    """Writes the output of a task. That of the only task of a run is recorded if a folder was named
    for it, if its folder has a record, or if it is not complete: a later run has to know that.
    """
    has_folder = not task.is_alone or task.folder is not None
    is_recorded = has_folder or status != DONE or (task.target.parent / RECORD).exists()
    if task.target == STANDARD or not is_recorded:
        write_output(task.target, data, force, follow=task.is_named)
    else:
        write_recorded(task.target, data, force, origin, status, follow=task.is_named)
