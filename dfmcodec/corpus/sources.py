"""Converts the named sources of a corpus to the items of a plan's lists."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import PurePosixPath
from typing import Any

from dfmcodec.corpus.job import Job
from dfmcodec.corpus.store import is_folder, list_files, local_path, matching, scheme_of
from dfmcodec.errors import ConfigError

FILES, TAR, PARQUET = FORMS = ("files", "tar", "parquet")
RECORDS = "_dfm"  # folder of the plan in a store; it contains neither sources nor outputs
LIST, BEGAN, ROWS, COMMIT = "list", "began", "rows.parquet", "json"  # records of a shard in it
_FORM_OF_SUFFIX = {".tar": TAR, ".parquet": PARQUET}
_RANGE = re.compile(r"(\d{1,18})\.\.(\d{1,18})")
_MAX_NAMES = 10_000_000  # limit for one pattern


def record_name(number: int, kind: str) -> str:
    """Returns the name of a record of a shard, such as `LIST`."""
    return f"{RECORDS}/{number:05d}.{kind}"


@dataclass(frozen=True, slots=True)
class Item:
    """Line of a list: a file, a tar, or rows of a Parquet file."""

    source: str  # absolute path or URL
    name: str = ""  # path in its folder, with slashes; empty for tars and Parquet files
    start: int = 0  # first row
    stop: int = 0  # row after the last one
    same_as: str = ""  # another source with the same output
    clashes: dict[str, list[str]] = field(default_factory=dict)  # of members or rows: outputs with several sources

    def as_dict(self) -> dict[str, Any]:
        """Returns the fields that differ from their defaults."""
        return {name: value for name, value in asdict(self).items() if value}


def absolute_sources(named: Sequence[str]) -> tuple[tuple[str, ...], str]:
    """Makes the local paths among files, folders and patterns absolute. Returns them with their
    common form, which follows from the extensions. Raises ConfigError if there are no sources, or
    they have several forms.
    """
    forms = {_FORM_OF_SUFFIX.get(PurePosixPath(name).suffix.lower(), FILES) for name in named}
    if len(forms) != 1:
        found = " and ".join(sorted(forms)) or "none"
        msg = f"the sources must have one form, images, tars or Parquet; found {found}"
        raise ConfigError(msg)
    absolute = (local_path(name).absolute().as_posix() if scheme_of(name) is None else name for name in named)
    return tuple(absolute), forms.pop()


def shards_of(
    job: Job, is_wanted: Callable[[str], bool], output_of: Callable[[str], str], rows_of: Callable[[str], int]
) -> Iterator[list[Item]]:
    """Splits the sources of a job into shards, in order. A tar is one shard, and no shard contains
    rows of two Parquet files. A source named twice is used once. `is_wanted` indicates whether a
    file of a folder is used, and `output_of` returns the name of its output, both by its name;
    `rows_of` returns the number of rows of a Parquet file. Raises DfmError if a source is missing
    or cannot be read, and ConfigError if a pattern expands to too many names.
    """
    if job.source_format == FILES:
        items = iter(_distinct(_files(job, is_wanted), output_of))
        while shard := list(islice(items, job.shard_size)):
            yield shard
        return
    for source in _once(_found(job)):
        if job.source_format == TAR:
            yield [Item(source)]
            continue
        rows, size = rows_of(source), job.shard_size
        yield from ([Item(source, "", start, min(rows, start + size))] for start in range(0, rows, size))


def _files(job: Job, is_wanted: Callable[[str], bool]) -> Iterator[Item]:
    for pattern in job.sources:
        if not _is_pattern(pattern) and is_folder(pattern):
            folder = f"{pattern.rstrip('/')}/"
            for name in list_files(pattern, job.recursive):
                if name.split("/", 1)[0] != RECORDS and not _skips(job, folder, name) and is_wanted(name):
                    yield Item(folder + name, name)
        else:
            yield from _matching(job, pattern)


def _found(job: Job) -> Iterator[str]:
    for pattern in job.sources:
        if not _is_pattern(pattern):
            is_folder(pattern)  # raises an error if it does not exist
        yield from (item.source for item in _matching(job, pattern))


def _matching(job: Job, pattern: str) -> Iterator[Item]:
    """Yields the files that match a pattern. Their names start after the part common to all."""
    folder = _fixed_folder(pattern)
    items = (Item(source, source[len(folder) :]) for source in _expanded(pattern))
    return (item for item in items if not _skips(job, folder, item.name))


def _skips(job: Job, folder: str, name: str) -> bool:
    """Indicates whether a file is skipped because it or a folder in its path is a link."""
    if not job.skips_links or scheme_of(folder) is not None:
        return False
    ends = [*(match.start() for match in re.finditer("/", name)), len(name)]
    return any(os.path.islink(local_path(folder + name[:end])) for end in ends)


def same_outputs(named: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Returns the outputs with several sources, each with these sources, of pairs of the two."""
    sources: dict[str, list[str]] = {}
    for output, source in named:
        sources.setdefault(output, []).append(source)
    return {output: found for output, found in sources.items() if len(found) > 1}


def another(source: str, sources: Sequence[str]) -> str:
    """Returns another one of several sources, for a message."""
    return next((other for other in sources if other != source), "another one of its name")


def _distinct(found: Iterable[Item], output_of: Callable[[str], str]) -> list[Item]:
    """Removes duplicate files. Files with the same output refer to another one with this output."""
    items: dict[tuple[str, str], Item] = {}
    for item in found:
        items.setdefault((output_of(item.name), _place_of(item.source)), item)
    same = same_outputs((output, item.source) for (output, _), item in items.items())
    return [
        replace(item, same_as=another(item.source, same[output])) if output in same else item
        for (output, _), item in items.items()
    ]


def _once(sources: Iterable[str]) -> Iterator[str]:
    """Yields sources without duplicates."""
    taken: set[str] = set()
    for source in sources:
        if (place := _place_of(source)) not in taken:
            taken.add(place)
            yield source


def _place_of(source: str) -> str:
    """Returns the location of a source, equal for all spellings of a local path."""
    return os.path.realpath(local_path(source)) if scheme_of(source) is None else source


def _is_pattern(text: str) -> bool:
    return bool(re.search(r"[*?\[{]", text)) and not (scheme_of(text) is None and os.path.exists(local_path(text)))


def _fixed_folder(pattern: str) -> str:
    """Returns the folder, with a slash, that is common to all matches of a pattern."""
    fixed = re.split(r"[*?\[{]", pattern, maxsplit=1)[0] if _is_pattern(pattern) else pattern
    return fixed[: fixed.rfind("/") + 1]


def _expanded(pattern: str) -> Iterator[str]:
    if not _is_pattern(pattern):
        yield pattern
        return
    for number, name in enumerate(braces(pattern)):
        if number == _MAX_NAMES:
            msg = f"{pattern} stands for more than {_MAX_NAMES} names; use several runs, each with its own store"
            raise ConfigError(msg)
        is_web = scheme_of(name) in ("http", "https")  # in these, ? starts a query, and nothing can be listed
        yield from [name] if is_web or not re.search(r"[*?\[]", name) else matching(name)


def braces(pattern: str) -> Iterator[str]:
    """Yields the expansions of a pattern, as in shells: `{a,b}` and `{08..11}`.

    >>> list(braces("{a,b}/{08..10}.tar"))
    ['a/08.tar', 'a/09.tar', 'a/10.tar', 'b/08.tar', 'b/09.tar', 'b/10.tar']
    """
    match = re.search(r"\{([^{}]*)\}", pattern)
    span = None if match is None else _RANGE.fullmatch(match[1])
    if match is None or (span is None and "," not in match[1]):
        yield pattern
        return
    parts: Iterator[str] = iter(match[1].split(","))
    if span is not None:
        width = len(span[1]) if span[1].startswith("0") else 0
        parts = (f"{number:0{width}d}" for number in range(int(span[1]), int(span[2]) + 1))
    for part in parts:
        for rest in braces(pattern[match.end() :]):
            yield pattern[: match.start()] + part + rest
