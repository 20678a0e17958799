"""Rules for existing outputs, for one file and for many.

An output that was made from the same source with the same settings is kept. One that was made from
it with other settings or not completely is made again. Any other existing file is refused without
`-f`. A file from which the input was made is never replaced, with or without `-f`, unless
`--overwrite-source` is given.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

from dfmcodec.cli._inputs import Task
from dfmcodec.cli._origins import Claim, Origin, Records, adopt, is_source
from dfmcodec.cli._report_file import ReportFile
from dfmcodec.errors import DfmError, OutputError
from dfmcodec.files.atomic import EXTENSION, destination, exists_message, is_stream, read_file


class Action(Enum):
    """Actions for an output."""

    MAKE = auto()  # does not exist yet
    REPLACE = auto()
    REPLACE_IDENTICAL = auto()  # may be a source; replaced only if the contents are identical
    KEEP = auto()
    REFUSE = auto()


@dataclass(frozen=True)
class Decision:
    """Decision about an output.

    Args:
        action: What it does.
        why: For people: why the output is made again, kept or refused.
        replaces_complete: Whether the existing file is known to be complete.
    """

    action: Action
    why: str = ""
    replaces_complete: bool = False

    @property
    def may_replace(self) -> bool:
        """Indicates whether an existing file may be replaced."""
        return self.action in (Action.REPLACE, Action.REPLACE_IDENTICAL)

    @property
    def needs_notice(self) -> bool:
        """Indicates whether the output is made again for a reason that needs a notice."""
        return self.action is Action.REPLACE and bool(self.why)

    def checked(self, target: Path, data: bytes) -> bool:
        """Returns whether an existing file may be replaced by the given contents.

        Raises:
            OutputError: The existing file may be a source, and its contents differ.
        """
        if self.action is Action.REPLACE_IDENTICAL:
            try:
                is_same = target.read_bytes() == data
            except OSError:  # removed in the meantime
                is_same = False
            if not is_same:
                raise OutputError(self.why)
        return self.may_replace


class ExistingOutputs:
    """Rules that decide about existing outputs.

    Args:
        settings: Those that decide the outputs besides the inputs, as one text.
        force: Whether outputs are made again, and files of other origin replaced.
        adopts: Whether files of unknown origin are taken for made from the inputs.
        overwrites_source: Whether the file that an input was made from may be replaced.
        is_dry: Whether nothing may be written.
        may_be_source: Indicates whether the existing output of a task may be the file that its
            input was made from.
        notify: Receives notices of damaged records, and of inputs that were decoded from `.dfm`
            files.
        report: The report of this run.
    """

    def __init__(
        self,
        settings: str,
        force: bool,
        adopts: bool = False,
        overwrites_source: bool = False,
        is_dry: bool = False,
        may_be_source: Callable[[Task], bool] = lambda task: False,
        notify: Callable[[str], None] = lambda notice: None,
        report: ReportFile | None = None,
    ) -> None:
        self._settings = settings
        self._force = force
        self._adopts = adopts
        self._overwrites_source = overwrites_source
        self._is_dry = is_dry
        self._may_be_source = may_be_source
        self._notify = notify
        self._records = Records(notify)
        self._report = report

    def decide(self, task: Task) -> Decision:
        """Returns what is done about the output of a task."""
        decision = self._decided(task)
        if decision.action not in (Action.KEEP, Action.REFUSE) and task.source.suffix.lower() != EXTENSION:
            origin = self._records.origin_of(task.source)
            if origin is not None and origin.source.lower().endswith(EXTENSION):
                self._notify(f"{task.source} was decoded from {origin.source}: the losses of both encodings add up")
        return decision

    def _decided(self, task: Task) -> Decision:
        source, target = task.source, task.target
        try:
            task.check_links()
            destination(target, follow=task.is_named)
        except OutputError as error:
            return Decision(Action.REFUSE, str(error))
        if os.path.isdir(target):
            return Decision(Action.REFUSE, f"{target} is a folder; name another output")
        if not os.path.exists(target) or is_stream(target):
            return Decision(Action.MAKE)
        try:
            self.check_source(task)
        except OutputError as error:
            return Decision(Action.REFUSE, str(error))
        standing = self._records.standing(source, target, self._settings, self._reported(target))
        claim, complete = standing.claim, standing.is_complete
        if claim is Claim.DONE:
            made = f"made from {source} with these settings"
            return Decision(Action.REPLACE, "", complete) if self._force else Decision(Action.KEEP, made)
        if claim is Claim.OUTDATED:
            return Decision(Action.REPLACE, standing.why, complete)
        if claim is Claim.OLDER:
            if self._force or self._report is not None:
                return Decision(Action.REPLACE, standing.why, complete)
            older = f"{target} was made from an older {source}, and may be all that is left of that"
            return Decision(Action.REFUSE, f"{older}; -f makes it again, and so does a run with --report")
        if claim is Claim.ADOPTED and not self._force:
            return Decision(Action.KEEP, "adopted")
        if claim is Claim.UNKNOWN and self._adopts and not self._force:
            return self._adopted(task)
        if claim is not Claim.FOREIGN and not self._overwrites_source and self._may_be_source(task):
            why = f"{target} may be the file that {source} was made from{_advice(task)}"
            return Decision(Action.REPLACE_IDENTICAL if self._force else Action.REFUSE, why)
        if self._force:
            return Decision(Action.REPLACE)
        is_alone = claim is Claim.UNKNOWN and task.is_named
        return Decision(Action.REFUSE, exists_message(target) if is_alone else standing.why)

    def _adopted(self, task: Task) -> Decision:
        """Records an existing file as made from the input of a task."""
        fault = _fault_of(task.target)
        if fault is not None:
            return Decision(Action.REFUSE, f"{task.target} is not adopted: {fault}; use -f to replace it")
        if not self._is_dry:
            adopt(task.target, Origin.of(task.source, None))
        return Decision(Action.KEEP, "adopted")

    def origin_of(self, target: Path) -> Origin | None:
        """Returns the origin of an existing output by the record of its folder, None if unknown."""
        return self._records.origin_of(target)

    def check_source(self, task: Task) -> None:
        """Raises an error if the output is known to be the source of its input.

        Raises:
            OutputError: The output is the source of the input.
        """
        if not self._overwrites_source and self._is_source(task.target, task.source):
            msg = f"{task.target} is the file that {task.source} was made from{_advice(task)}"
            raise OutputError(msg)

    def _is_source(self, file: Path, output: Path) -> bool:
        """Indicates whether a file is the source of another one, according to the record of that
        file's folder or the report.
        """
        reported = self._reported(output)
        return self._records.is_source_of(file, output) or (reported is not None and is_source(reported, file))

    def _reported(self, output: Path) -> Origin | None:
        return None if self._report is None else self._report.origin(output)


def _fault_of(output: Path) -> str | None:
    """Returns why an existing file cannot be an output; None if it can."""
    from dfmcodec.corpus.tasks import check_intact

    try:
        check_intact(read_file(output), output.name)
    except DfmError as error:
        return str(error)
    return None


def _advice(task: Task) -> str:
    """Returns advice on writing the output elsewhere and on replacing the source anyway."""
    other, number = task.target.with_stem(f"{task.target.stem}.new"), 2
    while os.path.lexists(other):
        other, number = task.target.with_stem(f"{task.target.stem}.new{number}"), number + 1
    elsewhere = f"-o {other}" if task.is_alone else "another folder with -O"
    return f", and is not replaced; use {elsewhere} (-f --overwrite-source replaces it)"
