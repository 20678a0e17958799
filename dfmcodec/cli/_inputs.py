"""Inputs of a run and the names of their outputs."""

from __future__ import annotations

import os
import sys
from codecs import BOM_UTF8
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dfmcodec.cli._common import STANDARD, notify, read_source
from dfmcodec.cli._failure import SOME_FAILED
from dfmcodec.cli._options import Output
from dfmcodec.cli.outputs import Identity, identities, identity, place_of
from dfmcodec.errors import ConfigError, OutputError
from dfmcodec.files.atomic import EXTENSION, is_stream

_SHOWN_NAMES = 5


@dataclass(frozen=True)
class Task:
    """Input file and the output file to make from it."""

    source: Path
    target: Path
    # The output folder that the user named, which contains the target directly or in a subfolder.
    # None if the target is beside the input or named itself.
    folder: Path | None = None
    is_named: bool = False  # whether the user named the target

    @property
    def names(self) -> dict[str, str]:
        """Returns the names for JSON reports."""
        return {"source": str(self.source), "output": str(self.target)}

    def check_links(self) -> None:
        """Raises an error if the target is in a subfolder that is a link. Derived names must not
        leave the folder that the user named.
        """
        if self.folder is None or not self.target.is_relative_to(self.folder):
            return
        place = self.folder
        for name in self.target.parent.relative_to(self.folder).parts:
            place /= name
            if os.path.islink(place):
                msg = f"{place} is a link to {os.path.realpath(place)}; remove it, or name that folder with -O"
                raise OutputError(msg)


@dataclass(frozen=True)
class Unusable:
    """Input that cannot be processed, with the reason."""

    source: Path
    error: str


@dataclass(frozen=True)
class RunOptions:
    """Arguments of a command that makes an output of each input."""

    sources: tuple[Path, ...]  # files and folders
    files_from: Path | None  # a list of further sources
    output: Output | None  # the output of one file, or the folder for it
    folder: Path | None  # for the outputs of several files
    recursive: bool
    processes: int  # the number of files to process at a time
    strip: frozenset[str]  # kinds of metadata to remove
    max_pixels: int
    force: bool  # whether to replace existing outputs
    skip_existing: bool  # whether to keep existing outputs that are intact
    as_json: bool
    quiet: bool

    def is_single(self) -> bool:
        """Indicates whether the command processes one file rather than a batch. Refuses options
        that contradict each other.
        """
        sources, output, folder = self.sources, self.output, self.folder
        if not sources and self.files_from is None:
            msg = "name a file or a folder"
            raise ConfigError(msg)
        if self.force and self.skip_existing:
            msg = "-f replaces existing outputs and --skip-existing keeps them; give one of them"
            raise ConfigError(msg)
        is_listed = len(sources) > 1 or self.files_from is not None
        is_batch = is_listed or folder is not None or any(map(os.path.isdir, sources))
        if is_batch and output is not None and not output.is_folder:
            msg = "-o names the output of one file; use -O to name a folder for several"
            raise ConfigError(msg)
        if output is not None and folder is not None:
            msg = "-o and -O both name where the output goes; give one of them"
            raise ConfigError(msg)
        if is_batch and STANDARD in sources:
            msg = "standard input (-) is a single file; do not combine it with others or with -O"
            raise ConfigError(msg)
        if folder is not None and os.path.exists(folder) and not os.path.isdir(folder):
            msg = f"{folder} is a file; -O takes a folder"
            raise OutputError(msg)
        return not is_batch

    @property
    def output_folder(self) -> Path | None:
        """Returns the folder that was named for the outputs."""
        return self.folder if self.output is None or not self.output.is_folder else self.output.path


@dataclass
class Skipped:
    """Files that are skipped."""

    which: str  # their common property, as in the notice
    count: int = 0
    names: list[str] = field(default_factory=list)  # of the first few

    def add(self, path: Path) -> None:
        """Counts a file."""
        self.count += 1
        if self.count <= _SHOWN_NAMES:
            self.names.append(path.name)

    def notice(self) -> str:
        """Returns a notice with the number of files and the first names; empty if there are
        none.
        """
        if not self.count:
            return ""
        names = ", ".join(self.names) + (", ..." if self.count > len(self.names) else "")
        return f"skipped {self.count} file{'s' * (self.count != 1)} {self.which}: {names}"


def special_files() -> Skipped:
    """Creates a counter of special files, which could block or have no end."""
    return Skipped("of kinds that are not read (device, pipe, socket)")


@dataclass(frozen=True)
class Naming:
    """Rules for naming outputs after inputs."""

    is_wanted: Callable[[Path], bool]  # indicates whether a file in a folder is an input
    is_output: Callable[[Path], bool]  # whether another file may be an output, which can be beside the inputs
    # The name of an output for the name of an input, and whether both are in the same folder.
    target_name: Callable[[str, bool], str]
    advice: Callable[[str, str], str]  # advice for two inputs, given by name, that have the same output

    def target(self, source: Path, folder: Path | None) -> Path:
        """Returns the output path for a file, in a folder or beside the file."""
        folder = source.parent if folder is None else folder
        return folder / self.target_name(source.name, _same_folder(folder, source.parent))


def _same_folder(one: Path, other: Path) -> bool:
    return one == other or os.path.realpath(one) == os.path.realpath(other)


class Inputs:
    """Inputs of a run, in order: `tasks` and `skipped`, the counters of skipped files.

    If several different inputs have the same output, none of them is usable, nor is an input whose
    output would replace a file that the run reads.

    Args:
        options: The arguments of the command.
        naming: The rules for names.
        kept: Files other than inputs that must not be replaced.
    """

    def __init__(self, options: RunOptions, naming: Naming, kept: Iterable[Path | None] = ()) -> None:
        self._options, self._naming = options, naming
        self._listed = [] if options.files_from is None else [Path(name) for name in listed_names(options.files_from)]
        self.skipped = Skipped("with other extensions"), special_files()
        if options.is_single():
            tasks: list[Task | Unusable] = [self._single_task()]
        else:
            tasks = list(self._batch())
        self.tasks = _checked(tasks, {*kept, options.files_from}, naming)

    def nothing_message(self, noun: str) -> str:
        """Returns the message that there are no inputs. The noun is that of the inputs."""
        sources = [*self._options.sources, *self._listed]
        if not sources:
            return f"there are no {noun}: the list names no files"
        return _nothing_in(noun, sources)

    def _single_task(self) -> Task:
        (source,), output = self._options.sources, self._options.output
        if output is not None and not output.is_folder:
            return Task(source, output.path, is_named=True)
        if source != STANDARD:
            folder = None if output is None else output.path
            return Task(source, self._naming.target(source, folder), folder)
        if output is not None:
            msg = f"{output.path} is a folder; name a file for what comes from standard input"
            raise ConfigError(msg)
        return Task(source, STANDARD)

    def _batch(self) -> Iterator[Task | Unusable]:
        top = self._options.output_folder
        named = [(source, False) for source in self._options.sources] + [(source, True) for source in self._listed]
        for source, is_listed in named:
            if os.path.isdir(source):
                yield from self._folder_inputs(source)
            else:
                is_below = is_listed and not source.is_absolute() and ".." not in source.parts
                folder = top / source.parent if top is not None and is_below else top
                yield Task(source, self._naming.target(source, folder), top)

    def _folder_inputs(self, folder: Path) -> Iterator[Task | Unusable]:
        unusable, top = list[Unusable](), self._options.output_folder
        others, special = self.skipped
        for path in files_of_folders(folder, self._options.recursive, unusable.append, special):
            if self._naming.is_wanted(path):
                parent = None if top is None else top / path.parent.relative_to(folder)
                yield Task(path, self._naming.target(path, parent), top)
            elif not self._naming.is_output(path):
                others.add(path)
        yield from unusable


def _checked(tasks: Iterable[Task | Unusable], kept: Iterable[Path | None], naming: Naming) -> list[Task | Unusable]:
    """Returns the tasks without inputs that are named twice. A task becomes unusable if its output
    is a file that the run reads, or the output of another task.
    """
    sources: dict[str, dict[str, Path]] = {}  # by the places of output and source
    different: list[tuple[str, Task | Unusable]] = []
    for task in tasks:
        place = ""
        if isinstance(task, Task) and task.target != STANDARD:
            place, source = place_of(task.target), place_of(task.source)
            if source in sources.setdefault(place, {}):
                continue
            sources[place][source] = task.source
        different.append((place, task))
    read = identities([*kept, *(task.source for _, task in different)])
    return [_fault(task, list(sources.get(place, {}).values()), read, naming) or task for place, task in different]


def _fault(
    task: Task | Unusable, sources: Sequence[Path], read: Container[Identity], naming: Naming
) -> Unusable | None:
    """Returns the reason why an input cannot be processed; None if it can.

    Args:
        task: The input.
        sources: All inputs with its output.
        read: The files that the run reads.
        naming: The rules for names.
    """
    if isinstance(task, Unusable) or task.target == STANDARD:
        return None
    source, target = task.source, task.target
    if len(sources) > 1:
        other = sources[sources[0] == source]
        why = f"{source} has the same output as {other}, {target}; {naming.advice(source.name, other.name)}"
        return Unusable(source, why)
    key = identity(target)
    if key is not None and key in read:
        return Unusable(
            source, f"the output of {source} would replace {target}, which is an input; name another output"
        )
    return None


def listed_names(files_from: Path) -> list[str]:
    """Reads the names in a list, one per line, as the operating system encodes them."""
    data = read_source(files_from)
    if b"\0" in data:
        msg = "the list of files has a zero byte; write one name per line"
        raise ConfigError(msg)
    lines = data.removeprefix(BOM_UTF8).split(b"\n")
    names = [os.fsdecode(line.rstrip(b"\r")) for line in lines if line.strip()]
    if any(Path(name) == STANDARD for name in names):
        msg = "the list of files has the name -, standard input; write the absolute path of a file of that name"
        raise ConfigError(msg)
    return names


def files_of_folders(
    folder: Path, recursive: bool, on_unusable: Callable[[Unusable], None], special: Skipped
) -> Iterator[Path]:
    """Yields the files of a folder and then of each subfolder, in order, without hidden files.
    Special files, such as devices, are counted and skipped.
    """

    def on_error(error: OSError) -> None:
        on_unusable(Unusable(Path(error.filename), f"cannot read {error.filename}: {error.strerror}"))

    for root, folders, names in os.walk(folder, onerror=on_error):
        folders[:] = sorted(name for name in folders if not name.startswith(".")) if recursive else []
        for path in (Path(root, name) for name in sorted(names) if not name.startswith(".")):
            if is_stream(path):
                special.add(path)
            else:
                yield path


class DfmFiles:
    """The .dfm files of a command that reads them: the sources that are files, and the .dfm files
    in sources that are folders.
    """

    def __init__(self, sources: Sequence[Path], recursive: bool) -> None:
        check_standard_input(sources)
        self._sources = sources
        self._recursive = recursive
        self.unusable: list[Unusable] = []  # folders that cannot be read, so far
        self.special = special_files()

    def __iter__(self) -> Iterator[Path]:
        for source in self._sources:
            if os.path.isdir(source):
                files = files_of_folders(source, self._recursive, self.unusable.append, self.special)
                yield from (path for path in files if path.suffix.lower() == EXTENSION)
            else:
                yield source

    def report_others(self, quiet: bool = False) -> None:
        """Prints which folders cannot be read and which files were skipped."""
        for folder in self.unusable:
            notify(folder.error)
        if self.special.count:
            notify(self.special.notice(), quiet)

    def end(self, codes: Sequence[int]) -> None:
        """Ends the command with the exit code for those of its files."""
        if not codes and not self.unusable:
            notify(f"error: {_nothing_in('.dfm files', self._sources)}")
            sys.exit(1)
        if self.unusable or any(codes):
            sys.exit(codes[0] if len(codes) == 1 and not self.unusable else SOME_FAILED)


def _nothing_in(noun: str, folders: Sequence[Path]) -> str:
    names = ", ".join(map(str, folders[:_SHOWN_NAMES])) + (", ..." if len(folders) > _SHOWN_NAMES else "")
    return f"there are no {noun} in {names} (-r looks into subfolders)"


def check_standard_input(sources: Sequence[Path]) -> None:
    """Raises an error if standard input is combined with other files."""
    if STANDARD in sources and len(sources) > 1:
        msg = "standard input (-) is a single file; do not combine it with others"
        raise ConfigError(msg)
