"""Many files through one command: find the inputs, name the outputs, share the work among
processes, and report.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import click

from dfmcodec.errors import NO_MEMORY, ConfigError, DfmError, OutputError

SOME_FAILED = 5
_SHOWN_NAMES = 5


@dataclass(frozen=True)
class Task:
    """An input file and the output file to make from it."""

    source: Path
    target: Path


@dataclass(frozen=True)
class TaskResult:
    """The outcome of a task.

    Args:
        report: Plain values for JSON; None if the task failed.
        line: The report for people.
        notices: Messages about what was converted or left out.
        error: One line that says what went wrong; None if nothing did.
    """

    report: dict[str, Any] | None
    line: str
    notices: tuple[str, ...] = ()
    error: str | None = None


@dataclass
class Batch:
    """The tasks of a run, and what it leaves alone.

    Args:
        tasks: The work to do.
        skipped: Files in folders whose extension does not suit the command.
        failures: Messages about inputs that cannot be read or have no output of their own.
        kept: The number of outputs that exist and are not overwritten.
    """

    tasks: list[Task] = field(default_factory=list)
    skipped: list[Path] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    kept: int = 0


@dataclass(frozen=True)
class Work:
    """How to perform the tasks of a batch.

    Args:
        perform: Performs a task. It must be picklable if there are several processes.
        processes: The number of tasks to perform at a time.
        verb: The verb of the summary, such as "encoded".
        should_stop: Asked before each task. If it returns True, the remaining tasks are not
            started.
    """

    perform: Callable[[Task], TaskResult]
    processes: int
    verb: str
    should_stop: Callable[[], bool] = lambda: False


def collect(
    sources: Sequence[Path],
    folder: Path | None,
    recursive: bool,
    force: bool,
    is_wanted: Callable[[Path], bool],
    suffix: str,
) -> Batch:
    """Finds the input files of a run and names their outputs.

    Args:
        sources: Files and folders.
        folder: The folder for the outputs, which get the subfolders of their inputs; None to write
            each output next to its input.
        recursive: Whether to search subfolders too.
        force: Whether to make outputs that exist again.
        is_wanted: Tells which files of a folder are inputs.
        suffix: The extension of outputs. Inputs in one folder whose names differ only in the
            extension keep it before the new one.
    """
    batch = Batch()
    unsuffixed: dict[Path, Path] = {}  # input -> output that still has the input's extension
    for source in sources:
        if source.is_dir():
            for path in files_below(source, recursive, batch.failures):
                if is_wanted(path):
                    unsuffixed[path] = path if folder is None else folder / path.relative_to(source)
                else:
                    batch.skipped.append(path)
        else:
            unsuffixed[source] = source if folder is None else folder / source.name
    stems = Counter(path.with_suffix("") for path in unsuffixed.values())
    owners: dict[Path, Path] = {}  # output -> input
    for source, path in unsuffixed.items():
        is_unique = stems[path.with_suffix("")] == 1
        target = path.with_suffix(suffix) if is_unique else path.with_name(path.name + suffix)
        owner = owners.setdefault(target, source)
        if owner != source:
            batch.failures.append(f"{source} and {owner} have the same output {target}; use different output folders")
        elif target.exists() and not force:
            batch.kept += 1
        else:
            batch.tasks.append(Task(source, target))
    return batch


def files_below(folder: Path, recursive: bool, failures: list[str]) -> Iterable[Path]:
    """Yields the files of a folder in order, without hidden ones; what cannot be read is added to
    `failures`.
    """

    def on_error(error: OSError) -> None:
        failures.append(f"cannot read {error.filename}: {error.strerror}")

    for root, folders, names in os.walk(folder, onerror=on_error):
        folders[:] = sorted(name for name in folders if not name.startswith(".")) if recursive else []
        yield from (Path(root, name) for name in sorted(names) if not name.startswith("."))


def run(batch: Batch, work: Work, as_json: bool, quiet: bool) -> None:
    """Performs the tasks, reports on each, and ends the command with exit code 5 if some failed.

    Args:
        batch: The tasks.
        work: How to perform them.
        as_json: Whether to print one JSON object on stdout instead of lines.
        quiet: Whether to print failures only.
    """
    from dfmcodec.cli._common import echo_json
    from dfmcodec.processes import run_jobs

    reports: list[dict[str, Any]] = []
    failures: list[dict[str, str]] = []

    def fail(source: str, error: str) -> None:
        failures.append({"file": source, "error": error})
        click.echo(f"dfm: failed: {error}", err=True)

    def finish(task: Task, result: TaskResult | None) -> list[Task]:
        for notice in result.notices if result and not quiet else ():
            click.echo(f"dfm: {notice}", err=True)
        if result is None:
            fail(str(task.source), f"{task.source}: the process died, perhaps for lack of memory; use fewer (-j)")
        elif result.error is not None:
            fail(str(task.source), result.error)
        elif result.report is not None:
            reports.append(result.report)
            if not (quiet or as_json):
                click.echo(result.line)
        return []

    if batch.skipped and not quiet:
        click.echo(f"dfm: {_skipped_text(batch.skipped)}", err=True)
    for error in batch.failures:
        fail("", error)
    run_jobs(partial(_perform_guarded, work.perform), batch.tasks, work.processes, finish, work.should_stop)
    if as_json:
        echo_json({"files": reports, "kept": batch.kept, "skipped": len(batch.skipped), "failed": failures})
    elif not quiet:
        not_started = len(batch.tasks) - len(reports) - len(failures) + len(batch.failures)
        counts = [f"{batch.kept} already there (-f overwrites them)"] if batch.kept else []
        counts += [f"{not_started} not started"] if not_started else []
        counts += [f"{len(failures)} failed"] if failures else []
        click.echo(", ".join([f"{len(reports)} {work.verb}", *counts]))
    if failures:
        sys.exit(SOME_FAILED)


def _skipped_text(skipped: list[Path]) -> str:
    names = ", ".join(path.name for path in skipped[:_SHOWN_NAMES]) + (", ..." if len(skipped) > _SHOWN_NAMES else "")
    return f"skipped {len(skipped)} file{'s' * (len(skipped) != 1)} with other extensions: {names}"


def _perform_guarded(perform: Callable[[Task], TaskResult], task: Task) -> TaskResult:
    """Performs a task and turns its exceptions into a result, so that a failure does not stop the
    other tasks.
    """
    from dfmcodec.files.atomic import check_writable

    try:
        task.target.parent.mkdir(parents=True, exist_ok=True)
        check_writable(task.target, force=True)
        return perform(task)
    except DfmError as error:
        message = str(error)
        return TaskResult(None, "", error=message if task.source.name in message else f"{task.source}: {message}")
    except OSError as error:
        return TaskResult(None, "", error=f"{task.source}: {error.strerror or error}")
    except MemoryError:
        return TaskResult(None, "", error=f"{task.source}: {NO_MEMORY}")


def is_single(sources: Sequence[Path], output: Path | None, folder: Path | None) -> bool:
    """Whether the command is about one file rather than a batch.

    Raises:
        ConfigError: The options contradict each other.
        OutputError: The folder for the outputs is a file.
    """
    is_batch = len(sources) > 1 or folder is not None or any(source.is_dir() for source in sources)
    if is_batch and output is not None:
        msg = "-o names the output of one file; use -O to name a folder for several"
        raise ConfigError(msg)
    if is_batch and Path("-") in sources:
        msg = "standard input (-) is a single file; do not combine it with others or with -O"
        raise ConfigError(msg)
    if folder is not None and folder.exists() and not folder.is_dir():
        msg = f"{folder} is a file; -O takes a folder"
        raise OutputError(msg)
    return not is_batch
