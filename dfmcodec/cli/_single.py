"""Runs on a single file: the decision about its output, and writing the output with its record."""

from __future__ import annotations

from dfmcodec.cli._batch import planned_line, remake_notice
from dfmcodec.cli._common import STANDARD, check_output, echo, echo_json, write_output
from dfmcodec.cli._existing import Action, Decision, ExistingOutputs
from dfmcodec.cli._inputs import Task
from dfmcodec.cli._origins import DONE, RECORD, Origin, write_recorded
from dfmcodec.errors import OutputError


def decided(task: Task, existing: ExistingOutputs, is_dry: bool, as_json: bool, quiet: bool) -> Decision | None:
    """Returns the decision about the output of a run on one file. Returns None if nothing needs to
    be done, because the output is kept or this is a dry run. Prints the reason.

    Raises:
        OutputError: The output cannot be written or must not be replaced.
    """
    if task.target == STANDARD:
        check_output(STANDARD, force=True)
        decision = Decision(Action.MAKE)
    else:
        decision = existing.decide(task)
        if decision.action is Action.REFUSE or (is_dry and decision.action is Action.REPLACE_IDENTICAL):
            raise OutputError(decision.why)
        check_output(task.target, force=True)
    if decision.action is Action.KEEP:
        if as_json:
            echo_json({"input": str(task.source), "output": str(task.target), "status": "kept"})
        elif not quiet:
            echo(f"{task.target} is up to date: it was {decision.why} (-f makes it again)")
        return None
    if is_dry:
        echo(planned_line(task, decision))
        return None
    if decision.needs_notice and not quiet:
        echo(f"dfm: {remake_notice(task, decision)}", err=True)
    return decision


def write_one(task: Task, data: bytes, force: bool, origin: Origin, status: str = DONE) -> None:
    """Writes the output of a run of one file. It is recorded where a folder was named for it, where
    its folder has a record, and if it is not complete: a later run has to know that.

    Raises:
        OutputError: The output or its record cannot be written.
    """
    is_recorded = task.folder is not None or status != DONE or (task.target.parent / RECORD).exists()
    if task.target == STANDARD or not is_recorded:
        write_output(task.target, data, force, follow=task.is_named)
    else:
        write_recorded(task.target, data, force, origin, status, follow=task.is_named)
