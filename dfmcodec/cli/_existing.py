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

from dfmcodec.cli._common import notify
from dfmcodec.cli._inputs import RunOptions, Task
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
    """Decision about an output."""

    action: Action
    why: str = ""  # for people: why the output is made again, kept or refused
    # Whether the existing file is complete; None if that has to be checked, as no record names it.
    replaces_complete: bool | None = False

    @property
    def may_replace(self) -> bool:
        """Indicates whether an existing file may be replaced."""
        return self.action in (Action.REPLACE, Action.REPLACE_IDENTICAL)

    @property
    def needs_notice(self) -> bool:
        """Indicates whether the output is made again for a reason that needs a notice."""
        return self.action is Action.REPLACE and bool(self.why)

    def keeps(self, target: Path) -> bool:
        """Returns whether an incomplete output must not replace the existing file."""
        return fault_of_file(target) is None if self.replaces_complete is None else self.replaces_complete

    def checked(self, target: Path, data: bytes) -> bool:
        """Returns whether an existing file may be replaced by the given contents. Raises
        OutputError if the existing file may be a source, and its contents differ.
        """
        if self.action is Action.REPLACE_IDENTICAL:
            try:
                is_same = target.read_bytes() == data
            except OSError:  # removed in the meantime
                is_same = False
            if not is_same:
                raise OutputError(self.why)
        return self.may_replace


@dataclass
class ExistingOutputs:
    """Rules that decide about existing outputs, as in `Work`."""

    options: RunOptions
    settings: str
    report: ReportFile | None
    may_be_source: Callable[[Task], bool]

    def __post_init__(self) -> None:
        self.records = Records(self._notify)

    def _notify(self, notice: str) -> None:
        notify(notice, self.options.quiet)

    def decide(self, task: Task) -> Decision:
        """Returns what is done about the output of a task."""
        decision = self._decided(task)
        if decision.action not in (Action.KEEP, Action.REFUSE) and task.source.suffix.lower() != EXTENSION:
            origin = self.records.origin_of(task.source)
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
        standing = self.records.standing(source, target, self.settings, self._reported(target))
        claim, complete = standing.claim, standing.is_complete
        if claim is Claim.DONE:
            made = f"made from {source} with these settings"
            return Decision(Action.REPLACE, "", complete) if self.options.force else Decision(Action.KEEP, made)
        if claim is Claim.OUTDATED:
            return Decision(Action.REPLACE, standing.why, complete)
        if claim is Claim.OLDER:
            if self.options.force or self.report is not None:
                return Decision(Action.REPLACE, standing.why, complete)
            older = f"{target} was made from an older {source}, and may be all that is left of that"
            return Decision(Action.REFUSE, f"{older}; -f makes it again, and so does a run with --report")
        if claim is Claim.ADOPTED and not self.options.force:
            return Decision(Action.KEEP, "adopted")
        if claim is Claim.UNKNOWN and self.options.adopt and not self.options.force:
            return self._adopted(task)
        if claim is not Claim.FOREIGN and not self.options.overwrites_source and self.may_be_source(task):
            why = f"{target} may be the file that {source} was made from{_advice(task)}"
            return Decision(Action.REPLACE_IDENTICAL if self.options.force else Action.REFUSE, why)
        if self.options.force:
            return Decision(Action.REPLACE, replaces_complete=None)
        is_alone = claim is Claim.UNKNOWN and task.is_named
        return Decision(Action.REFUSE, exists_message(target) if is_alone else standing.why)

    def _adopted(self, task: Task) -> Decision:
        """Records an existing file as made from the input of a task."""
        fault = fault_of_file(task.target)
        if fault is not None:
            return Decision(Action.REFUSE, f"{task.target} is not adopted: {fault}; use -f to replace it")
        if not self.options.dry_run:
            adopt(task.target, Origin.of(task.source, None))
        return Decision(Action.KEEP, "adopted")

    def check_source(self, task: Task) -> None:
        """Raises an error if the output is known to be the source of its input."""
        file, output = task.target, task.source
        reported = self._reported(output)
        is_source_of = self.records.is_source_of(file, output) or (reported is not None and is_source(reported, file))
        if is_source_of and not self.options.overwrites_source:
            msg = f"{file} is the file that {output} was made from{_advice(task)}"
            raise OutputError(msg)

    def _reported(self, output: Path) -> Origin | None:
        return None if self.report is None else self.report.origin(output)


def fault_of_file(path: Path) -> DfmError | None:
    """Returns the fault of an existing file, without decoding it; None if it is intact."""
    from dfmcodec.corpus.tasks import check_intact

    try:
        check_intact(read_file(path), path.name)
    except DfmError as fault:
        return fault
    return None


def _advice(task: Task) -> str:
    """Returns advice on writing the output elsewhere and on replacing the source anyway."""
    other, number = task.target.with_stem(f"{task.target.stem}.new"), 2
    while os.path.lexists(other):
        other, number = task.target.with_stem(f"{task.target.stem}.new{number}"), number + 1
    elsewhere = f"-o {other}" if task.is_alone else "another folder with -O"
    return f", and is not replaced; use {elsewhere} (-f --overwrite-source replaces it)"
