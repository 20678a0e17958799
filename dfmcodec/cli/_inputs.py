"""Inputs of a run, found while it proceeds, and the names of their outputs."""

from __future__ import annotations

import os
import sys
from codecs import BOM_UTF8
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from dfmcodec.cli._common import STANDARD, make_folder, notify, read_source
from dfmcodec.cli._failure import SOME_FAILED
from dfmcodec.cli._options import FileList, Output
from dfmcodec.cli._same_file import Identity, identities, identity, ignores_case
from dfmcodec.errors import ConfigError, OutputError
from dfmcodec.files.atomic import EXTENSION, is_stream

_SHOWN_NAMES = 5


@dataclass(frozen=True)
class Task:
    """Input file and the output file to make from it."""

    source: Path
    target: Path
    # The output folder that the user named, which contains the target directly or in a subfolder.
    # None if the target is beside the input.
    folder: Path | None = None
    is_named: bool = False  # whether the user named the target
    is_alone: bool = False  # whether this is the only input of the command

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
class RunOptions:
    """Arguments of a command that makes an output of each input."""

    sources: tuple[Path, ...]  # files and folders
    files_from: FileList | None  # a list of further sources
    output: Output | None  # the output of one file, or the folder for it
    folder: Path | None  # for the outputs of several files
    recursive: bool
    skips_links: bool
    processes: int  # the number of files to process at a time
    strip: frozenset[str]  # kinds of metadata to remove
    max_pixels: int
    report_path: Path | None  # the report file, with a row for each file
    force: bool  # whether to overwrite outputs
    overwrites_source: bool  # whether the source of an input may be replaced
    adopt: bool  # whether to assume that outputs of unknown origin were made from the inputs
    dry_run: bool  # whether to show what would be done without doing it
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
        is_listed = len(sources) > 1 or self.files_from is not None
        is_batch = is_listed or folder is not None or any(map(os.path.isdir, sources))
        if not is_batch and self.skips_links and os.path.islink(sources[0]):
            msg = f"{sources[0]} is a symbolic link, which --skip-links leaves out"
            raise OutputError(msg)
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


@dataclass(frozen=True)
class Unusable:
    """Input that cannot be processed, with the reason."""

    source: str
    error: str


@dataclass
class Skipped:
    """Files that are skipped."""

    which: str = ""  # their common property, as in the notice
    kind: str = "file"  # the noun of the notice
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
        kind = f"{self.kind}{'s' * (self.count != 1)}"
        return f"skipped {self.count} {' '.join(filter(None, (kind, self.which)))}: {names}"


def special_files() -> Skipped:
    """Creates a counter of special files, which could block or have no end."""
    return Skipped("of kinds that are not read (device, pipe, socket)")


def _counters() -> tuple[Skipped, Skipped, Skipped]:
    """Creates counters of files that are no inputs, special files and links."""
    return Skipped("with other extensions"), special_files(), Skipped(kind="symbolic link")


@dataclass(frozen=True)
class Naming:
    """Rules for naming outputs after inputs."""

    is_wanted: Callable[[Path], bool]  # indicates whether a file in a folder is an input
    is_output: Callable[[Path], bool]  # whether another file may be an output, which can be beside the inputs
    target_name: Callable[[str], str]  # the name of an output for the name of an input, without folders
    advice: Callable[[str, str], str]  # advice for two inputs, given by name, that have the same output

    def target(self, source: Path, folder: Path | None = None) -> Path:
        """Returns the output path for a file, beside it or in a folder."""
        if os.path.isdir(source):
            msg = f"{source} is a folder; name a file"
            raise ConfigError(msg)
        name = self.target_name(source.name)
        return source.with_name(name) if folder is None else folder / name

    def single_task(self, source: Path, output: Output | None) -> Task:
        """Returns the task of a command on one file. Creates a missing folder."""
        if output is None:
            target = STANDARD if source == STANDARD else self.target(source)
            return Task(source, target, is_alone=True)
        if not output.is_folder:
            return Task(source, output.path, is_named=True, is_alone=True)
        if source == STANDARD:
            msg = f"{output.path} is a folder; name a file for what comes from standard input"
            raise ConfigError(msg)
        make_folder(output.path)
        return Task(source, self.target(source, output.path), output.path, is_alone=True)


@dataclass
class Inputs:
    """Inputs of a run on several files, in order.

    If several different inputs have the same output, none of them is processed; this is known
    before the first one starts. Files of folders are found while the run proceeds. If a folder is
    the only source, memory does not grow with the number of its files.

    `skipped` counts skipped files so far: other extensions, special files, links.
    """

    sources: Sequence[Path]  # files and folders
    files_from: FileList | None  # a list of further sources
    # The output folder, in which the subfolders of inputs (for a list: its relative paths) are
    # repeated. None writes each output beside its input.
    folder: Path | None
    recursive: bool
    naming: Naming
    kept: Sequence[Path | None] = ()  # files other than inputs that must not be replaced
    skips_links: bool = False

    def __post_init__(self) -> None:
        listed = None if self.files_from is None else self.files_from.path
        self._kept = identities([*self.sources, listed, *self.kept])
        self.skipped = _counters()

    @cached_property
    def _listed(self) -> list[Path]:
        """Returns the paths of the list. A list may be readable only once."""
        return [] if self.files_from is None else [Path(name) for name in listed_names(self.files_from)]

    def __iter__(self) -> Iterator[Task | Unusable]:
        if len(self.sources) == 1 and self.files_from is None:
            for group in self._groups(self.skipped):
                yield from self._usable(group, _Claims.of(group))
            return
        # Iterated twice, so notices are given only once.
        tasks = [task for group in self._groups(_counters()) for task in group]
        claims = _Claims.of(tasks)
        self._kept |= identities(task.source for task in tasks if isinstance(task, Task))
        del tasks
        for group in self._groups(self.skipped):
            yield from self._usable(group, claims)

    def listed(self) -> Iterator[Path]:
        """Yields the files of the run."""
        return (task.source for group in self._groups(_counters()) for task in group if isinstance(task, Task))

    def nothing_message(self, noun: str) -> str:
        """Returns the message that there are no inputs. The noun is that of the inputs."""
        sources = [*self.sources, *self._listed]
        if not sources:
            return f"there are no {noun}: the list names no files"
        folders = [source for source in sources if os.path.isdir(source)]
        if self.skips_links and not folders:
            return f"there are no {noun}: all names are symbolic links, which --skip-links leaves out"
        return _nothing_in(noun, folders or sources)

    def _groups(self, skipped: tuple[Skipped, Skipped, Skipped]) -> Iterator[list[Task | Unusable]]:
        """Yields the inputs, those of each folder together, and counts skipped files."""
        named = [(source, False) for source in self.sources] + [(source, True) for source in self._listed]
        for source, is_listed in named:
            if self.skips_links and os.path.islink(source):
                skipped[2].add(source)
            elif os.path.isdir(source):
                yield from self._folder_inputs(source, *skipped)
            else:
                is_below = is_listed and not source.is_absolute() and ".." not in source.parts
                folder = self.folder / source.parent if self.folder is not None and is_below else self.folder
                yield [Task(source, self.naming.target(source, folder), self.folder)]

    def _folder_inputs(
        self, top: Path, others: Skipped, special: Skipped, links: Skipped
    ) -> Iterator[list[Task | Unusable]]:
        unusable: list[Unusable] = []
        for paths in files_of_folders(top, self.recursive, unusable.append, special):
            group: list[Task | Unusable] = []
            for path in paths:
                if not self.naming.is_wanted(path):
                    if not self.naming.is_output(path):
                        others.add(path)
                elif self.skips_links and os.path.islink(path):
                    links.add(path)
                else:
                    parent = path.parent if self.folder is None else self.folder / path.parent.relative_to(top)
                    group.append(Task(path, parent / self.naming.target_name(path.name), self.folder))
            yield group
        yield [*unusable]

    def _usable(self, group: list[Task | Unusable], claims: _Claims) -> Iterator[Task | Unusable]:
        """Yields tasks. A task becomes unusable if its output is an input or the output of another
        task. Inputs in folders not read yet are recognised by name.
        """
        kept = self._kept | identities(task.source for task in group if isinstance(task, Task))
        for task in group:
            if isinstance(task, Unusable):
                yield task
            elif claims.take(task):
                yield self._unusable_reason(task, claims, kept) or task

    def _unusable_reason(self, task: Task, claims: _Claims, kept: set[Identity]) -> Unusable | None:
        """Returns the reason why an input cannot be processed; None if it can."""
        source, target = task.source, task.target
        other = claims.other(task)
        if other is not None:
            why = f"{source} has the same output as {other}, {target}; {self.naming.advice(source.name, other.name)}"
            return Unusable(str(source), why)
        replaced = identity(target)
        if replaced is not None and replaced in kept:
            why = f"the output of {source} would replace an input, {target}; name another folder with -O"
            return Unusable(str(source), why)
        return None


class _Claims:
    """Assignment of outputs to inputs. Paths are stored as hashes of real paths, so that all
    spellings of a path are equal.
    """

    def __init__(self) -> None:
        self._sources: dict[int, int] = {}  # hash of the first input, by hash of its output
        self._shared: dict[int, list[Path]] = {}  # inputs that share an output
        self._taken: set[int] = set()  # outputs of tasks already returned

    @classmethod
    def of(cls, tasks: Iterable[Task | Unusable]) -> _Claims:
        claims = cls()
        firsts: dict[int, Path] = {}
        for task in tasks:
            if isinstance(task, Unusable):
                continue
            target, source = _place_of(task.target), _place_of(task.source)
            if claims._sources.setdefault(target, source) == source:
                firsts.setdefault(target, task.source)
            else:
                claims._shared.setdefault(target, [firsts[target]]).append(task.source)
        return claims

    def other(self, task: Task) -> Path | None:
        """Returns another input with the same output as a task; None if there is none."""
        source = _place_of(task.source)
        shared = self._shared.get(_place_of(task.target), ())
        return next((path for path in shared if _place_of(path) != source), None)

    def take(self, task: Task) -> bool:
        """Indicates whether an input is new. An input that is named twice is processed once."""
        target = _place_of(task.target)
        if target in self._shared:
            return True
        is_new = target not in self._taken
        self._taken.add(target)
        return is_new


def _place_of(path: Path) -> int:
    real = os.path.realpath(path)
    return hash(real.casefold() if ignores_case(os.path.dirname(real)) else real)


def listed_names(files_from: FileList) -> list[str]:
    """Reads the names in a list as the operating system encodes them."""
    data = read_source(files_from.path)
    if files_from.is_zero_terminated:
        names = [os.fsdecode(name) for name in data.split(b"\0") if name]
    elif b"\0" in data:
        msg = "the list of files has a zero byte; --files0-from reads such lists (find -print0)"
        raise ConfigError(msg)
    else:
        lines = data.removeprefix(BOM_UTF8).split(b"\n")
        names = [os.fsdecode(line.rstrip(b"\r")) for line in lines if line.strip()]
    if any(Path(name) == STANDARD for name in names):
        msg = "the list of files has the name -, standard input; write the absolute path of a file of that name"
        raise ConfigError(msg)
    return names


def files_of_folders(
    folder: Path, recursive: bool, on_unusable: Callable[[Unusable], None], special: Skipped
) -> Iterator[list[Path]]:
    """Yields the files of a folder and then of each subfolder, in order, without hidden files.
    Special files, such as devices, are counted and skipped.
    """

    def on_error(error: OSError) -> None:
        on_unusable(Unusable(str(error.filename), f"cannot read {error.filename}: {error.strerror}"))

    for root, folders, names in os.walk(folder, onerror=on_error):
        folders[:] = sorted(name for name in folders if not name.startswith(".")) if recursive else []
        paths = []
        for path in (Path(root, name) for name in sorted(names) if not name.startswith(".")):
            if is_stream(path):
                special.add(path)
            else:
                paths.append(path)
        yield paths


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
                for paths in files_of_folders(source, self._recursive, self.unusable.append, self.special):
                    yield from (path for path in paths if path.suffix.lower() == EXTENSION)
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
