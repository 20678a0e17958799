"""What a run is to do: its inputs, found while it goes on, and the names of their outputs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

from dfmcodec.cli._common import STANDARD, FileList, Output, make_folder, standard_input
from dfmcodec.cli._same_file import Identity, identities, identity, ignores_case
from dfmcodec.errors import ConfigError, DfmError, OutputError
from dfmcodec.files.atomic import EXTENSION, is_stream

_SHOWN_NAMES = 5


@dataclass(frozen=True)
class Task:
    """An input file and the output file to make from it.

    Args:
        source: The input.
        target: The output.
        folder: The folder for the outputs that the user named, with the target in it or in its
            subfolders; None where the target lies beside the input.
        is_named: Whether the user named the target itself. The name of another one is derived from
            that of the input.
        is_alone: Whether the command is about this input alone.
    """

    source: Path
    target: Path
    folder: Path | None = None
    is_named: bool = False
    is_alone: bool = False

    def check_links(self) -> None:
        """Refuses a target in a subfolder that is a link. No derived name leads out of the folder
        that the user named.

        Raises:
            OutputError: There is such a link.
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
    """An input that cannot be worked on, and why."""

    source: str
    error: str


@dataclass
class Skipped:
    """Files that are no inputs.

    Args:
        which: A property that they share, as the notice says it.
        kind: The noun of the notice.
        count: How many.
        names: Those of the first few.
    """

    which: str = ""
    kind: str = "file"
    count: int = 0
    names: list[str] = field(default_factory=list)

    def add(self, path: Path) -> None:
        """Counts a file."""
        self.count += 1
        if self.count <= _SHOWN_NAMES:
            self.names.append(path.name)

    def notice(self) -> str:
        """The number of files and the first names; empty if there are none."""
        if not self.count:
            return ""
        names = ", ".join(self.names) + (", ..." if self.count > len(self.names) else "")
        kind = f"{self.kind}{'s' * (self.count != 1)}"
        return f"skipped {self.count} {' '.join(filter(None, (kind, self.which)))}: {names}"


def special_files() -> Skipped:
    """Files that would be waited for, or have no end."""
    return Skipped("of kinds that are not read (device, pipe, socket)")


def links() -> Skipped:
    """Files that are left out because of `--skip-links`."""
    return Skipped(kind="symbolic link")


@dataclass(frozen=True)
class Naming:
    """How the outputs of a command are named after its inputs, whatever else is there.

    Args:
        is_wanted: Indicates by its path which files of a folder are inputs.
        is_output: Indicates which others are outputs, as they may lie beside the inputs.
        target_name: Gives the name of an output, without its folder, by that of its input.
        advice: Gives what to do where two inputs, whose names it takes, have the same output.
    """

    is_wanted: Callable[[Path], bool]
    is_output: Callable[[Path], bool]
    target_name: Callable[[str], str]
    advice: Callable[[str, str], str]

    def target(self, source: Path, folder: Path | None = None) -> Path:
        """The output of a file, next to it or in a folder.

        Raises:
            ConfigError: The input is a folder.
        """
        if os.path.isdir(source):
            msg = f"{source} is a folder; name a file"
            raise ConfigError(msg)
        name = self.target_name(source.name)
        return source.with_name(name) if folder is None else folder / name

    def single_task(self, source: Path, output: Output | None) -> Task:
        """The task of a command on one file. A folder that is missing is made.

        Raises:
            ConfigError: The name of a folder does not give that of a file.
            OutputError: The folder cannot be made.
        """
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


class Inputs:
    """The inputs of a run of several files, in order.

    Of several different inputs with the same output none is worked on, which is known before the
    first one is begun. Files of a folder are found while the run goes on: if it is the only source,
    what is kept does not grow with the number of its files.

    Args:
        sources: Files and folders.
        files_from: A list that names more of them.
        folder: The folder for the outputs, which get the subfolders of their inputs (of a list: its
            relative paths); None to write each output next to its input.
        recursive: Whether to search subfolders too.
        naming: Which files are inputs, and how outputs are named.
        kept: Files besides the inputs that no output may replace; None for those not given.
        skips_links: Whether inputs that are links are left out.

    Attributes:
        skipped: The files that are no inputs, so far: with other extensions, special files, links.
    """

    def __init__(
        self,
        sources: Sequence[Path],
        files_from: FileList | None,
        folder: Path | None,
        recursive: bool,
        naming: Naming,
        kept: Sequence[Path | None] = (),
        skips_links: bool = False,
    ) -> None:
        self._sources = sources
        self._files_from = files_from
        self._folder = folder
        self._recursive = recursive
        self._naming = naming
        self._kept = identities([*sources, None if files_from is None else files_from.path, *kept])
        self._skips_links = skips_links
        self.skipped = Skipped("with other extensions"), special_files(), links()

    @cached_property
    def _listed(self) -> list[Path]:
        """The paths of the list, which may be read only once."""
        return [] if self._files_from is None else [Path(name) for name in listed_names(self._files_from)]

    def __iter__(self) -> Iterator[Task | Unusable]:
        if len(self._sources) == 1 and self._files_from is None:
            for group in self._groups(*self.skipped):
                yield from self._checked(group, _Claims.of(group))
            return
        tasks = [task for group in self._groups(*_unseen()) for task in group]  # gone through twice, noticed once
        claims = _Claims.of(tasks)
        self._kept |= identities(task.source for task in tasks if isinstance(task, Task))
        del tasks
        for group in self._groups(*self.skipped):
            yield from self._checked(group, claims)

    def count(self) -> int | None:
        """The number of inputs; None where it is not known before they are read."""
        if self._files_from is not None:
            return None
        return sum(isinstance(task, Task) for group in self._groups(*_unseen()) for task in group)

    @property
    def is_empty_list(self) -> bool:
        """Whether the only source is a list without names."""
        return self._files_from is not None and not self._sources and not self._listed

    def _groups(self, others: Skipped, special: Skipped, left_links: Skipped) -> Iterator[list[Task | Unusable]]:
        """The inputs: those of each folder together.

        Args:
            others: Takes the files of folders that are no inputs.
            special: Takes those that are not read.
            left_links: Takes links that are left out.
        """
        named = [(source, False) for source in self._sources] + [(source, True) for source in self._listed]
        for source, is_listed in named:
            if self._skips_links and os.path.islink(source):
                left_links.add(source)
            elif os.path.isdir(source):
                yield from self._of_folder(source, others, special, left_links)
            else:
                is_below = is_listed and not source.is_absolute() and ".." not in source.parts
                folder = self._folder / source.parent if self._folder is not None and is_below else self._folder
                yield [Task(source, self._naming.target(source, folder), self._folder)]

    def _of_folder(
        self, top: Path, others: Skipped, special: Skipped, left_links: Skipped
    ) -> Iterator[list[Task | Unusable]]:
        unusable: list[Unusable] = []
        for paths in files_of_folders(top, self._recursive, unusable.append, special.add):
            group: list[Task | Unusable] = []
            for path in paths:
                if self._naming.is_wanted(path):
                    if self._skips_links and os.path.islink(path):
                        left_links.add(path)
                        continue
                    parent = path.parent if self._folder is None else self._folder / path.parent.relative_to(top)
                    group.append(Task(path, parent / self._naming.target_name(path.name), self._folder))
                elif not self._naming.is_output(path):
                    others.add(path)
            yield group
        yield [*unusable]

    def _checked(self, group: list[Task | Unusable], claims: _Claims) -> Iterator[Task | Unusable]:
        """Tasks whose outputs neither are inputs nor those of others; the others cannot be worked
        on. Which files of folders are inputs is known by their names, as not all are known yet.
        """
        kept = self._kept | identities(task.source for task in group if isinstance(task, Task))
        for task in group:
            if isinstance(task, Unusable):
                yield task
            elif claims.take(task):
                yield self._refused(task, claims, kept) or task

    def _refused(self, task: Task, claims: _Claims, kept: set[Identity]) -> Unusable | None:
        """Why an input cannot be worked on; None if it can."""
        source, target = task.source, task.target
        other = claims.other(task)
        if other is not None:
            why = f"{source} has the same output as {other}, {target}; {self._naming.advice(source.name, other.name)}"
            return Unusable(str(source), why)
        replaced = identity(target)
        if replaced is not None and replaced in kept:
            return Unusable(
                str(source), f"the output of {source} would replace an input, {target}; name another folder with -O"
            )
        return None


def _unseen() -> tuple[Skipped, Skipped, Skipped]:
    """Takes what is noticed elsewhere."""
    return Skipped(), Skipped(), Skipped()


class _Claims:
    """Which inputs have which output. Places are hashes of real paths, the same for all ways to
    write them.
    """

    def __init__(self) -> None:
        self._sources: dict[int, int] = {}  # of the first input, by its output
        self._shared: dict[int, list[Path]] = {}  # different inputs of one output
        self._taken: set[int] = set()  # outputs whose input was given

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
        """Another input that has the output of a task; None if there is none."""
        source = _place_of(task.source)
        shared = self._shared.get(_place_of(task.target), ())
        return next((path for path in shared if _place_of(path) != source), None)

    def take(self, task: Task) -> bool:
        """Whether an input was not given before: one that is named twice is worked on once."""
        target = _place_of(task.target)
        if target in self._shared:
            return True
        is_new = target not in self._taken
        self._taken.add(target)
        return is_new


def _place_of(path: Path) -> int:
    real = os.path.realpath(path)
    return hash(real.casefold() if ignores_case(os.path.dirname(real)) else real)


def listed_names(files_from: FileList) -> Iterator[str]:
    """The names in a list, as the operating system has them, in any encoding.

    Raises:
        DfmError: It cannot be read.
        ConfigError: It has lines, and a zero byte.
    """
    if files_from.path == STANDARD:
        yield from _names_of(standard_input(), files_from.is_zero_terminated)
        return
    try:
        with open(files_from.path, "rb") as file:
            yield from _names_of(file, files_from.is_zero_terminated)
    except OSError as error:
        msg = f"cannot read {files_from.path}: {error.strerror}"
        raise DfmError(msg) from error


def _names_of(file: BinaryIO, is_zero_terminated: bool) -> Iterator[str]:
    if is_zero_terminated:
        yield from (os.fsdecode(name) for name in file.read().split(b"\0") if name)
        return
    for line in file:
        if b"\0" in line:
            msg = "the list of files has a zero byte; --files0-from reads such lists (find -print0)"
            raise ConfigError(msg)
        if line.strip():
            yield os.fsdecode(line.rstrip(b"\r\n"))


def files_of_folders(
    folder: Path, recursive: bool, on_unusable: Callable[[Unusable], None], on_special: Callable[[Path], None]
) -> Iterator[list[Path]]:
    """Yields the files of a folder, and then of each of its subfolders, in order, without hidden
    ones.

    Args:
        folder: The folder.
        recursive: Whether to go into subfolders.
        on_unusable: Called with folders that cannot be read.
        on_special: Called with devices, pipes and sockets, which are left out.
    """

    def on_error(error: OSError) -> None:
        on_unusable(Unusable(str(error.filename), f"cannot read {error.filename}: {error.strerror}"))

    for root, folders, names in os.walk(folder, onerror=on_error):
        folders[:] = sorted(name for name in folders if not name.startswith(".")) if recursive else []
        paths = [Path(root, name) for name in sorted(names) if not name.startswith(".")]
        special = set(filter(is_stream, paths))
        for path in sorted(special):
            on_special(path)
        yield [path for path in paths if path not in special]


def dfm_files(
    sources: Sequence[Path],
    recursive: bool,
    on_unusable: Callable[[Unusable], None],
    on_special: Callable[[Path], None],
) -> Iterator[Path]:
    """Yields the sources that are files, and the .dfm files of those that are folders; the
    arguments are those of `files_of_folders`.
    """
    for source in sources:
        if os.path.isdir(source):
            for paths in files_of_folders(source, recursive, on_unusable, on_special):
                yield from (path for path in paths if path.suffix.lower() == EXTENSION)
        else:
            yield source


def check_standard_input(sources: Sequence[Path]) -> None:
    """Refuses standard input beside other files.

    Raises:
        ConfigError: It is one of several sources.
    """
    if STANDARD in sources and len(sources) > 1:
        msg = "standard input (-) is a single file; do not combine it with others"
        raise ConfigError(msg)


def is_single(sources: Sequence[Path], files_from: FileList | None, output: Output | None, folder: Path | None) -> bool:
    """Whether the command is about one file rather than a batch.

    Raises:
        ConfigError: The options contradict each other, or there is no input.
        OutputError: The folder for the outputs is a file.
    """
    if not sources and files_from is None:
        msg = "name a file or a folder"
        raise ConfigError(msg)
    is_batch = len(sources) > 1 or folder is not None or files_from is not None or any(map(os.path.isdir, sources))
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
