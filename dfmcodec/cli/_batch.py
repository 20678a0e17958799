"""Many files through one command: which there are, where each goes, work in processes, and what came of it."""

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


@dataclass(frozen=True)
class Task:
    """One file to be made of another."""

    source: Path
    target: Path


@dataclass(frozen=True)
class Done:
    """What came of a task.

    Args:
        report: Plain values, for JSON; None where it failed.
        line: For people.
        notices: What was converted or left out.
        error: What went wrong, in one line.
    """

    report: dict[str, Any] | None
    line: str
    notices: tuple[str, ...] = ()
    error: str | None = None


@dataclass
class Batch:
    """The tasks of a run, and what it leaves alone.

    Args:
        tasks: What to do.
        skipped: Files in folders that are of another kind.
        failures: What cannot be looked into.
        kept: Targets that are there already.
    """

    tasks: list[Task] = field(default_factory=list)
    skipped: list[Path] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    kept: int = 0


def collect(
    sources: Sequence[Path],
    folder: Path | None,
    recursive: bool,
    force: bool,
    is_wanted: Callable[[Path], bool],
    suffix: str,
) -> Batch:
    """Finds the files of a run and names their targets.

    Args:
        sources: Files and folders.
        folder: Where the targets go, the trees below source folders kept; None for beside the sources.
        recursive: Whether folders within folders are looked into.
        force: Whether targets that are there are made again.
        is_wanted: Which files of a folder count.
        suffix: Of targets. Sources of one folder that differ only in their suffix keep it before the new one.
    """
    batch = Batch()
    found: dict[Path, Path] = {}  # source -> target without its name's end
    for source in sources:
        if source.is_dir():
            for path in files_below(source, recursive, batch.failures):
                if is_wanted(path):
                    found[path] = path if folder is None else folder / path.relative_to(source)
                else:
                    batch.skipped.append(path)
        else:
            found[source] = source if folder is None else folder / source.name
    stems = Counter(target.with_suffix("") for target in found.values())
    makers: dict[Path, Path] = {}  # target -> source
    for source, target in found.items():
        alone = stems[target.with_suffix("")] == 1
        named = target.with_suffix(suffix) if alone else target.with_name(target.name + suffix)
        maker = makers.setdefault(named, source)
        if maker != source:
            batch.failures.append(f"{source}: its output {named} is that of {maker} too; give it a folder of its own")
        elif named.exists() and not force:
            batch.kept += 1
        else:
            batch.tasks.append(Task(source, named))
    return batch


def files_below(folder: Path, recursive: bool, failures: list[str]) -> Iterable[Path]:
    """Files without hidden ones, in order."""

    def on_error(error: OSError) -> None:
        failures.append(f"cannot read {error.filename}: {error.strerror}")

    for root, folders, names in os.walk(folder, onerror=on_error):
        folders[:] = sorted(name for name in folders if not name.startswith(".")) if recursive else []
        yield from (Path(root, name) for name in sorted(names) if not name.startswith("."))


def run(
    batch: Batch,
    perform: Callable[[Task], Done],
    processes: int,
    what: str,
    as_json: bool,
    quiet: bool,
    should_stop: Callable[[], bool] = lambda: False,
) -> None:
    """Does the tasks, tells of each, and ends the command with exit code 5 if some failed.

    Args:
        batch: What to do.
        perform: Does a task; to be pickled where there are several processes.
        processes: How many work at a time.
        what: The verb of the summary, as "encoded".
        as_json: One JSON object on stdout instead of lines.
        quiet: Only failures are told.
        should_stop: Asked before each task; True leaves out the rest.
    """
    from dfmcodec.cli._common import echo_json
    from dfmcodec.processes import run_jobs

    reports: list[dict[str, Any]] = []
    failures = [{"file": "", "error": error} for error in batch.failures]
    if batch.skipped and not quiet:
        names = ", ".join(path.name for path in batch.skipped[:5]) + (", ..." if len(batch.skipped) > 5 else "")
        click.echo(f"dfm: skipped, by their names not of the kind: {len(batch.skipped)} ({names})", err=True)

    def take(task: Task, done: Done | None) -> list[Task]:
        for notice in done.notices if done and not quiet else ():
            click.echo(f"dfm: {notice}", err=True)
        if done is None or done.error is not None:
            died = f"{task.source}: the process died, as where memory is short; run fewer (-j)"
            error = died if done is None else str(done.error)
            failures.append({"file": str(task.source), "error": error})
            click.echo(f"dfm: failed: {error}", err=True)
        elif done.report is not None:
            reports.append(done.report)
            if not (quiet or as_json):
                click.echo(done.line)
        return []

    for failure in failures:
        click.echo(f"dfm: failed: {failure['error']}", err=True)
    run_jobs(partial(_guarded, perform), batch.tasks, processes, take, should_stop)
    left = len(batch.tasks) - len(reports) - len(failures) + len(batch.failures)
    counts = [(len(reports), what), (batch.kept, "there already (-f makes them again)"), (left, "left out")]
    counts.append((len(failures), "failed"))
    if as_json:
        echo_json({"files": reports, "kept": batch.kept, "skipped": len(batch.skipped), "failed": failures})
    elif not quiet:
        click.echo(", ".join(f"{count} {name}" for count, name in counts if count or name == what))
    if failures:
        sys.exit(SOME_FAILED)


def _guarded(perform: Callable[[Task], Done], task: Task) -> Done:
    """A task whose failure does not stop the rest."""
    from dfmcodec.io import check_writable

    try:
        task.target.parent.mkdir(parents=True, exist_ok=True)
        check_writable(task.target, force=True)
        return perform(task)
    except DfmError as error:
        message = str(error)
        return Done(None, "", error=message if task.source.name in message else f"{task.source}: {message}")
    except OSError as error:
        return Done(None, "", error=f"{task.source}: {error.strerror or error}")
    except MemoryError:
        return Done(None, "", error=f"{task.source}: {NO_MEMORY}")


def check_single(sources: Sequence[Path], output: Path | None, folder: Path | None) -> bool:
    """Whether the command is about one file, not a batch.

    Raises:
        ConfigError: The options contradict each other.
        OutputError: The folder for the outputs is a file.
    """
    several = len(sources) > 1 or folder is not None or any(source.is_dir() for source in sources)
    if several and output is not None:
        msg = "-o names the output of one file; use -O for the folder of several"
        raise ConfigError(msg)
    if several and Path("-") in sources:
        msg = "standard input (-) is one file; it cannot be among several"
        raise ConfigError(msg)
    if folder is not None and folder.exists() and not folder.is_dir():
        msg = f"{folder} is a file; -O takes a folder"
        raise OutputError(msg)
    return not several
