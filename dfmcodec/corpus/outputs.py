"""Names of the outputs of a corpus, as far as the plan knows them, and conflicts between them."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain, groupby, repeat

from dfmcodec.corpus.forms import parquet, tars
from dfmcodec.corpus.job import Job
from dfmcodec.corpus.sources import FILES, PARQUET, TAR, Item, same_outputs
from dfmcodec.errors import DfmError
from dfmcodec.files.names import fault_of_name

_NUMBERED = re.compile(r"(\d{5,18})/(\d{9,18})(\.[^/]*)?")  # results of `numbered_output`


@dataclass(frozen=True)
class PlannedShard:
    """Shard of a plan."""

    items: list[Item]
    outputs: list[str]  # without invalid names
    folder: str | None = None  # of outputs with numbers as names


@dataclass(frozen=True)
class _Names:
    """Names that members of a tar or rows give to their outputs."""

    named: list[tuple[str, str]]  # each name with its member or row
    unnamed: Collection[int] = ()  # numbers of rows without a name

    def as_outputs(self, target_name: Callable[[str], str]) -> _Names:
        """Converts the names to names of outputs, without invalid ones."""
        outputs = ((target_name(name), source) for name, source in self.named)
        return replace(self, named=[(output, source) for output, source in outputs if fault_of_name(output) is None])


def numbered_output(shard: int, name: str) -> str:
    """Returns the name of the output of a row without a name. It is unique in a corpus."""
    return f"{shard:05d}/{name}"


def planned_shards(
    job: Job, shards: Iterable[list[Item]], key: Callable[[str], str], target_name: Callable[[str], str]
) -> Iterator[PlannedShard]:
    """Adds the outputs to shards. `key` returns a key that is equal for names that are the same in
    the store; `target_name` returns the name of an output for the name of a file, member or row.
    Raises DfmError if a source cannot be used.

    If outputs are named by members of tars or by rows, all names are read and compared: in the
    entire corpus if the outputs are files, or in each shard if they are tars made of rows. (For
    tars made of tars, each shard compares its own names.)
    """
    if (job.format, job.source_format) in ((FILES, TAR), (FILES, PARQUET), (TAR, PARQUET)):
        yield from _shards_with_clashes(job, [item for (item,) in shards], key, target_name)
        return
    for number, items in enumerate(shards):
        named = (target_name(item.name) for item in items if not item.same_as)
        files = [output for output in named if fault_of_name(output) is None] if job.format == FILES else []
        yield PlannedShard(items, files or archive(job, number))


def archive(job: Job, number: int) -> list[str]:
    """The name of the tar or Parquet file of a shard, if it has one."""
    return [] if job.format == FILES else [f"{number:05d}.{job.format}"]


def _shards_with_clashes(
    job: Job, items: list[Item], key: Callable[[str], str], target_name: Callable[[str], str]
) -> Iterator[PlannedShard]:
    """Yields shards of one item each, with conflicting outputs."""
    names = _names_of_members(items) if job.source_format == TAR else _names_of_rows(job, items)
    shards = {number: shard.as_outputs(target_name) for number, shard in enumerate(names)}
    is_files = job.format == FILES
    in_all = _clashes(chain.from_iterable(shard.named for shard in shards.values()), key) if is_files else {}
    for number, shard in shards.items():
        clashes = in_all if is_files else _clashes(shard.named, key)
        ours = {at: clashes[at] for output, _ in shard.named if (at := key(output)) in clashes}
        for output, source in shard.named:
            row = _row_of(output, shards if is_files else {number: shard})
            if row is not None:
                ours[key(output)] = [f"{items[row[0]].source}#{row[1]}", source]
        outputs = [output for output, _ in shard.named] if is_files else archive(job, number)
        folder = f"{number:05d}" if is_files and shard.unnamed else None
        yield PlannedShard([replace(items[number], clashes=ours)], outputs, folder)


def _clashes(named: Iterable[tuple[str, str]], key: Callable[[str], str]) -> dict[str, list[str]]:
    """Returns the outputs with several sources, by key, each with two of the sources."""
    same = same_outputs((key(output), source) for output, source in named)
    return {output: list(dict.fromkeys(sources))[:2] for output, sources in same.items()}


def _row_of(output: str, shards: Mapping[int, _Names]) -> tuple[int, int] | None:
    """Returns the shard and number of the row without a name that has this output, or None."""
    match = _NUMBERED.fullmatch(output)
    if match is None:
        return None
    shard, row = int(match[1]), int(match[2])
    is_number = numbered_output(shard, f"{row:09d}") == f"{match[1]}/{match[2]}"
    return (shard, row) if is_number and shard in shards and row in shards[shard].unnamed else None


def _names_of_members(items: list[Item]) -> Iterator[_Names]:
    """Yields the names in tars, from their headers. Errors are reported by their shards."""
    for item in items:
        named: list[tuple[str, str]] = []
        with suppress(DfmError):
            named.extend((entry.name, entry.source) for entry in tars.entries(item) if entry.is_image)
        yield _Names(named)


def _names_of_rows(job: Job, items: list[Item]) -> Iterator[_Names]:
    """Yields the names in rows. Each file is read once for all its shards."""
    for source, ours in groupby(items, key=lambda item: item.source):
        names = chain(_readable(parquet.names(source, job.column)), repeat(""))
        for item in ours:
            rows = range(item.start, item.stop)
            named = {row: name for row, name in zip(rows, names, strict=False) if name}
            unnamed = frozenset(rows).difference(named) if named else rows
            yield _Names([(name, f"{source}#{row}") for row, name in named.items()], unnamed)


def _readable(names: Iterator[str]) -> Iterator[str]:
    with suppress(DfmError):
        yield from names
