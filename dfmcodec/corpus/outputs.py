"""The names of the outputs of a corpus, as far as its plan knows them, and those that several
sources have.
"""

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

_NUMBERED = re.compile(r"(\d{5,18})/(\d{9,18})(\.[^/]*)?")  # what `numbered_output` gives


@dataclass(frozen=True)
class PlannedShard:
    """A shard of a plan.

    Args:
        items: Its items.
        outputs: The names of its outputs, without those that are refused.
        folder: The folder of its outputs that have numbers for names; None if it has none of these.
    """

    items: list[Item]
    outputs: list[str]
    folder: str | None = None


@dataclass(frozen=True)
class _Names:
    """The names that the members of a tar, or rows, give to their outputs.

    Args:
        named: Each name, and the member or row.
        unnamed: The numbers of the rows that give none.
    """

    named: list[tuple[str, str]]
    unnamed: Collection[int] = ()

    def as_outputs(self, target_name: Callable[[str], str]) -> _Names:
        """The names of the outputs, without those that are refused."""
        outputs = ((target_name(name), source) for name, source in self.named)
        return replace(self, named=[(output, source) for output, source in outputs if fault_of_name(output) is None])


def numbered_output(shard: int, name: str) -> str:
    """The name of the output of a row that gives none: no other row of a corpus has it."""
    return f"{shard:05d}/{name}"


def planned_shards(
    job: Job, shards: Iterable[list[Item]], key: Callable[[str], str], target_name: Callable[[str], str]
) -> Iterator[PlannedShard]:
    """Adds their outputs to shards.

    Where outputs are named by members of tars or by rows, all names are read for this, and compared
    as far as they must differ: in the whole corpus if the outputs are files, or in each shard if
    they are tars made of rows. (Of tars made of tars, each shard compares its own.)

    Args:
        job: What is to be done.
        shards: The items of each shard.
        key: Gives what two names have in common that are one in the store.
        target_name: Gives the name of an output by that of a file, member or row.

    Raises:
        DfmError: A source cannot be used.
    """
    if (job.form, job.source_form) in ((FILES, TAR), (FILES, PARQUET), (TAR, PARQUET)):
        yield from _compared(job, [item for (item,) in shards], key, target_name)
        return
    for number, items in enumerate(shards):
        named = (target_name(item.name) for item in items if not item.same_as)
        files = [output for output in named if fault_of_name(output) is None] if job.form == FILES else []
        yield PlannedShard(items, files or archive(job, number))


def archive(job: Job, number: int) -> list[str]:
    """The name of the tar or Parquet file of a shard, if it has one."""
    return [] if job.form == FILES else [f"{number:05d}.{job.form}"]


def _compared(
    job: Job, items: list[Item], key: Callable[[str], str], target_name: Callable[[str], str]
) -> Iterator[PlannedShard]:
    """Shards of one item each, with the outputs that clash."""
    names = _names_of_members(items) if job.source_form == TAR else _names_of_rows(job, items)
    shards = {number: shard.as_outputs(target_name) for number, shard in enumerate(names)}
    is_files = job.form == FILES
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
    """The outputs that several sources have, by their keys, and two of these."""
    same = same_outputs((key(output), source) for output, source in named)
    return {output: list(dict.fromkeys(sources))[:2] for output, sources in same.items()}


def _row_of(output: str, shards: Mapping[int, _Names]) -> tuple[int, int] | None:
    """The shard and the number of a row that gives no name, and may have for its number the output
    that another source names.
    """
    match = _NUMBERED.fullmatch(output)
    if match is None:
        return None
    shard, row = int(match[1]), int(match[2])
    is_number = numbered_output(shard, f"{row:09d}") == f"{match[1]}/{match[2]}"
    return (shard, row) if is_number and shard in shards and row in shards[shard].unnamed else None


def _names_of_members(items: list[Item]) -> Iterator[_Names]:
    """The names in tars, by their headers. What cannot be read fails with its shard."""
    for item in items:
        named: list[tuple[str, str]] = []
        with suppress(DfmError):
            named.extend((entry.name, entry.source) for entry in tars.entries(item) if entry.is_image)
        yield _Names(named)


def _names_of_rows(job: Job, items: list[Item]) -> Iterator[_Names]:
    """Likewise, of rows. Each file is read once, for all its shards."""
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
