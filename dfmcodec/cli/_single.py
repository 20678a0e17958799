"""A run of one file: the decision about its output, and the output with its record."""

from __future__ import annotations

from dfmcodec.cli._batch import again_line, planned_line
from dfmcodec.cli._common import STANDARD, Output, check_output, echo, echo_json, write_output
from dfmcodec.cli._existing import Action, Decision, ExistingOutputs
from dfmcodec.cli._inputs import Task
from dfmcodec.cli._origins import DONE, RECORD, Origin, write_recorded
from dfmcodec.errors import OutputError


def decided(task: Task, existing: ExistingOutputs, is_dry: bool, as_json: bool, quiet: bool) -> Decision | None:
    """Returns the decision about the output of a run of one file; None if nothing is left to do, as
    it is kept, or as the run is a dry one. Prints why.

    Raises:
        OutputError: The output cannot be written, or may not be replaced.
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
            echo(f"{task.target} is already there, made from {task.source} with these settings (-f makes it again)")
        return None
    if is_dry:
        echo(planned_line(task, decision))
        return None
    if decision.is_again and not quiet:
        echo(f"dfm: {again_line(task, decision)}", err=True)
    return decision


def origin_of_one(task: Task, given: Output | None, settings: str) -> Origin | None:
    """Returns the origin of the output of a run of one file if it is recorded: where a folder was
    named for it, or the folder that gets it has a record.

    Args:
        task: The source, read to be recorded, and the output.
        given: The output as the command names it; None for nothing.
        settings: Those that it is made with.
    """
    is_named_folder = given is not None and given.is_folder
    if task.target == STANDARD or not (is_named_folder or (task.target.parent / RECORD).exists()):
        return None
    return Origin.of(task.source, settings)


def write_one(task: Task, data: bytes, force: bool, origin: Origin | None, status: str = DONE) -> None:
    """Writes the output of a run of one file, and records it if there is an origin.

    Raises:
        OutputError: It cannot be written, or its row.
    """
    if origin is None:
        write_output(task.target, data, force, follow=task.is_named)
    else:
        write_recorded(task.target, data, force, origin, status, follow=task.is_named)
