"""Runs on a single file: the decision about its output, and writing the output with its record."""

from __future__ import annotations

from dfmcodec.cli._batch import planned_line, remake_notice
from dfmcodec.cli._common import STANDARD, Output, check_output, echo, echo_json, write_output
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
            echo(f"{task.target} is up to date: it was made from {task.source} with these settings (-f makes it again)")
        return None
    if is_dry:
        echo(planned_line(task, decision))
        return None
    if decision.needs_notice and not quiet:
        echo(f"dfm: {remake_notice(task, decision)}", err=True)
    return decision


def origin_of_one(task: Task, given: Output | None, settings: str) -> Origin | None:
    """Returns the origin of the output if it has to be recorded: if the user named a folder, or if
    the output folder already has a record.

    Args:
        task: The source and the output.
        given: The output as the user gave it; None if not given.
        settings: The settings of the output, as text.
    """
    is_named_folder = given is not None and given.is_folder
    if task.target == STANDARD or not (is_named_folder or (task.target.parent / RECORD).exists()):
        return None
    return Origin.of(task.source, settings)


def write_one(task: Task, data: bytes, force: bool, origin: Origin | None, status: str = DONE) -> None:
    """Writes the output of a run on one file, and records it if an origin is given.

    Raises:
        OutputError: The output or its record cannot be written.
    """
    if origin is None:
        write_output(task.target, data, force, follow=task.is_named)
    else:
        write_recorded(task.target, data, force, origin, status, follow=task.is_named)
