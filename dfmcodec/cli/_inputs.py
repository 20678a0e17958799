"""What a run is to do: its inputs, found while it goes on, and the names of their outputs."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dfmcodec.cli._common import STANDARD, Output, make_folder, standard_input
from dfmcodec.cli._same_file import identities, identity
from dfmcodec.errors import ConfigError, DfmError, OutputError
from dfmcodec.files.atomic import is_stream

_SHOWN_NAMES = 5


@dataclass(frozen=True)
class Task:
    """An input file and the output file to make from it."""

    source: Path
    target: Path


@dataclass(frozen=True)
class Unusable:
    """An input that cannot be worked on, and why."""

    source: str
    error: str


@dataclass
class Skipped:
    """Files in folders that are no inputs.

    Args:
        which: What they have in common, as the notice says it.
        count: How many.
        names: Those of the first few.
    """

    which: str
    count: int = 0
    names: list[str] = field(default_factory=list)

    def add(self, path: Path) -> None:
        """Counts a file."""
        self.count += 1
        if self.count <= _SHOWN_NAMES:
            self.names.append(path.name)

    def notice(self) -> str:
        """The number of files and the first names; empty if there are none."""
        names = ", ".join(self.names) + (", ..." if self.count > len(self.names) else "")
        return f"skipped {self.count} file{'s' * (self.count != 1)} {self.which}: {names}" if self.count else ""


def special_files() -> Skipped:
    """Files that would be waited for, or have no end."""
    return Skipped("of kinds that are not read (device, pipe, socket)")


@dataclass(frozen=True)
class Naming:
    """How the outputs of a command are named after its inputs, whatever else is there.

    Args:
        is_wanted: Tells by its path which files of a folder are inputs.
        target_name: Gives the name of an output, without its folder, by that of its input.
        advice: What to do where two inputs have the same output.
    """

    is_wanted: Callable[[Path], bool]
    target_name: Callable[[str], str]
    advice: str

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

    def single_output(self, source: Path, output: Output | None) -> Path:
        """The output of a command on one file. A folder that is missing is made.

        Raises:
            ConfigError: The name of a folder does not give that of a file.
            OutputError: The folder cannot be made.
        """
        if output is None:
            return STANDARD if source == STANDARD else self.target(source)
        if not output.is_folder:
            return output.path
        if source == STANDARD:
            msg = f"{output.path} is a folder; name a file for what comes from standard input"
            raise ConfigError(msg)
        make_folder(output.path)
        return self.target(source, output.path)


class Inputs:
    """The inputs of a run of several files, in order.

    Files and folders are read while the run goes on: what is kept of a folder does not grow with
    the number of its files, unless there are other sources.

    Args:
        sources: Files and folders.
        files_from: A text file that names more of them, one in each line; "-" for standard input.
        folder: The folder for the outputs, which get the subfolders of their inputs (of a list: its
            relative paths); None to write each output next to its input.
        recursive: Whether to search subfolders too.
        naming: Which files are inputs, and how outputs are named.
        kept: Files besides the inputs that no output may replace; None for those not given.

    Attributes:
        skipped: The files of folders that are no inputs, so far.
    """

    def __init__(
        self,
        sources: Sequence[Path],
        files_from: Path | None,
        folder: Path | None,
        recursive: bool,
        naming: Naming,
        kept: Sequence[Path | None] = (),
    ) -> None:
        self._sources = sources
        self._files_from = files_from
        self._folder = folder
        self._recursive = recursive
        self._naming = naming
        self._named = Counter(
            _place_of(self._naming.target(source, folder)) for source in sources if not os.path.isdir(source)
        )
        self._claimed: set[int] | None = None
        if files_from is not None or len(sources) > 1:
            self._claimed = set()
        self._kept = identities([*sources, files_from, *kept])
        self.skipped = Skipped("with other extensions"), special_files()

    def __iter__(self) -> Iterator[Task | Unusable]:
        for source in self._sources:
            if os.path.isdir(source):
                yield from self._unclaimed(self._of_folder(source, source))
                continue
            task = Task(source, self._naming.target(source, self._folder))
            if self._named[_place_of(task.target)] > 1:
                yield self._collision(task.source, task.target)
            else:
                yield from self._unclaimed([task])
        for source in () if self._files_from is None else map(Path, listed_names(self._files_from)):
            if os.path.isdir(source):
                yield from self._unclaimed(self._of_folder(source, source))
            else:
                is_below = not source.is_absolute() and ".." not in source.parts
                folder = self._folder / source.parent if self._folder is not None and is_below else self._folder
                yield from self._unclaimed([Task(source, self._naming.target(source, folder))])

    def count(self) -> int | None:
        """The number of inputs; None where it is not known before they are read."""
        if self._files_from is not None:
            return None
        number = 0
        for source in self._sources:
            if os.path.isdir(source):
                folders = files_of_folders(source, self._recursive, lambda unusable: None, lambda special: None)
                number += sum(map(self._naming.is_wanted, (path for paths in folders for path in paths)))
            else:
                number += 1
        return number

    def _of_folder(self, top: Path, source: Path) -> Iterator[Task | Unusable]:
        unusable: list[Unusable] = []
        others, special = self.skipped
        for paths in files_of_folders(source, self._recursive, unusable.append, special.add):
            wanted = []
            for path in paths:
                if self._naming.is_wanted(path):
                    wanted.append(path)
                else:
                    others.add(path)
            of_name = Counter(self._naming.target_name(path.name) for path in wanted)
            for path in wanted:
                name = self._naming.target_name(path.name)
                parent = path.parent if self._folder is None else self._folder / path.parent.relative_to(top)
                target = parent / name
                yield Task(path, target) if of_name[name] == 1 else self._collision(path, target)
        yield from unusable

    def _unclaimed(self, found: Iterator[Task | Unusable] | Sequence[Task]) -> Iterator[Task | Unusable]:
        """Tasks whose outputs neither are inputs nor those of other tasks; the others cannot be
        worked on. Which files of folders and lists are inputs is told by their names, as not all
        are known yet.
        """
        for task in found:
            if isinstance(task, Unusable):
                yield task
                continue
            replaced = identity(task.target)
            if replaced is not None and (replaced in self._kept or replaced == identity(task.source)):
                yield Unusable(str(task.source), f"{task.source} has an input as its output, {task.target}")
                continue
            if os.path.islink(task.target):
                behind = os.path.realpath(task.target)
                if self._naming.is_wanted(Path(behind)):
                    link = f"{task.target}, a link to {behind}"
                    yield Unusable(str(task.source), f"{task.source} has as its output {link}, which may be an input")
                    continue
            if self._claimed is None:
                yield task
                continue
            key = _place_of(task.target)
            yield self._collision(task.source, task.target) if key in self._claimed else task
            self._claimed.add(key)

    def _collision(self, source: Path, target: Path) -> Unusable:
        return Unusable(str(source), f"{source} has the same output as another input, {target}; {self._naming.advice}")


def _place_of(target: Path) -> int:
    """Where a path leads, as a hash: the same for all ways to write it."""
    return hash(os.path.realpath(target))


def listed_names(files_from: Path) -> Iterator[str]:
    """The names in the lines of a file, or of standard input for "-", as the operating system has
    them, in any encoding.

    Raises:
        DfmError: It cannot be read.
        ConfigError: It has a zero byte.
    """
    if files_from == STANDARD:
        yield from _names_of(standard_input())
        return
    try:
        with open(files_from, "rb") as lines:
            yield from _names_of(lines)
    except OSError as error:
        msg = f"cannot read {files_from}: {error.strerror}"
        raise DfmError(msg) from error


def _names_of(lines: Iterable[bytes]) -> Iterator[str]:
    for line in lines:
        if b"\0" in line:
            msg = "the list of files has a zero byte; write one path in each line (find -print, not -print0)"
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


def check_standard_input(sources: Sequence[Path]) -> None:
    """Refuses standard input beside other files.

    Raises:
        ConfigError: It is one of several sources.
    """
    if STANDARD in sources and len(sources) > 1:
        msg = "standard input (-) is a single file; do not combine it with others"
        raise ConfigError(msg)


def is_single(sources: Sequence[Path], files_from: Path | None, output: Output | None, folder: Path | None) -> bool:
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
