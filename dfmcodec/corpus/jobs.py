"""Progress of a corpus, determined from its store.

All functions raise a DfmError if the store cannot be used, or if a package that it needs is not
installed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache, partial
from typing import Any, TypeVar

from dfmcodec.corpus.forms import read_entries
from dfmcodec.corpus.forms.entry import require_pyarrow
from dfmcodec.corpus.job import Job
from dfmcodec.corpus.outputs import archive
from dfmcodec.corpus.plan import Plan, read_plan
from dfmcodec.corpus.records import DONE, FAILED, Commit, ImageRow, forget, read_commit, read_rows
from dfmcodec.corpus.sources import BEGAN, COMMIT, FILES, RECORDS, Item, record_name
from dfmcodec.corpus.store import Store, scheme_of, version_of
from dfmcodec.errors import ConfigError, DfmError
from dfmcodec.files.names import as_unicode

T = TypeVar("T")
_THREADS = 16  # for waiting on a store


@dataclass(frozen=True)
class Progress:
    """Progress of a corpus or a part of it."""

    shards: int
    shards_done: int
    shards_begun: int  # started and not finished
    shards_lost: int  # finished, but with outputs that are missing or of another size
    images: int | None  # None if tars were not read to the end
    total: Commit

    @property
    def is_complete(self) -> bool:
        """Indicates whether all shards are finished."""
        return self.shards_done == self.shards

    def as_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON."""
        values = asdict(self)
        counts: dict[str, Any] = values.pop("total")
        return values | counts


@dataclass(frozen=True)
class Part:
    """Shards for one of several hosts: each `of`-th, starting with the `number`-th. Raises
    ConfigError if the part does not exist.
    """

    number: int = 1  # from 1
    of: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of:
            msg = f"there is no part {self.number} of {self.of}; parts are counted from 1 to {max(1, self.of)}"
            raise ConfigError(msg)

    def shards(self, plan: Plan) -> range:
        """Returns the numbers of the shards in this part."""
        return range(self.number - 1, plan.shards, self.of)


def plan_of(store: Store) -> Plan:
    """Returns the plan of a store. Raises ConfigError if the store has no plan."""
    plan = read_plan(store)
    if plan is None:
        msg = f"{store.url} holds no dfmcodec plan; give the store that -O named"
        raise ConfigError(msg)
    return plan


def open_shards(store: Store, numbers: Sequence[int]) -> list[int]:
    """Returns the shards that are not finished, according to a new listing."""
    done = set(_done(store, numbers))
    return [number for number in numbers if number not in done]


def progress(store: Store, plan: Plan, part: Part, lost: Collection[int] = ()) -> Progress:
    """Returns the progress of a part of a corpus. Shards of `lost_outputs` do not count as done."""
    numbers, names = [number for number in part.shards(plan) if number not in lost], set(store.names(RECORDS))
    commits = _commits(store, [number for number in numbers if f"{number:05d}.{COMMIT}" in names])
    begun = sum(f"{number:05d}.{BEGAN}" in names for number in numbers)
    total = sum(commits.values(), Commit())
    images = plan.images if part.of == 1 else None
    shards = len(part.shards(plan))
    if images is None and len(commits) == shards:
        images = total.images
    return Progress(shards, len(commits), begun - len(commits), len(lost), images, total)


def lost_outputs(store: Store, plan: Plan, part: Part) -> dict[int, list[str]]:
    """Returns the outputs of done shards that are missing or of another size than was recorded, by
    the number of their shard. Lists each folder once."""
    require_pyarrow()

    @cache
    def sizes(folder: str) -> dict[str, int]:
        return {store.key(name): size for name, size in store.sizes(folder).items()}

    def is_lost(output: str, size: int) -> bool:
        folder, _, name = output.rpartition("/")
        return sizes(folder).get(store.key(name)) != size

    done = _done(store, part.shards(plan))
    recorded = _of_each(partial(_recorded_outputs, store, plan), done)
    lost = {number: [name for name, size in outputs if is_lost(name, size)] for number, outputs in recorded}
    return {number: names for number, names in lost.items() if names}


def _recorded_outputs(store: Store, plan: Plan, number: int) -> list[tuple[str, int]]:
    """The outputs of a shard and their sizes, by its records."""
    if plan.job.format == FILES:
        rows = read_rows(store, number)
        return [(_unescaped(row.output or ""), row.output_bytes or 0) for row in rows if row.status == DONE]
    commit = read_commit(store, number)
    return [] if commit is None else [(name, commit.archive_bytes) for name in archive(plan.job, number)]


def _unescaped(output: str) -> str:
    """Reverses `as_unicode` of the name of an output, which never has a backslash."""
    return re.sub(r"\\x([0-9a-f]{2})", lambda match: chr(0xDC00 + int(match[1], 16)), output)


def do_again(store: Store, numbers: Iterable[int]) -> None:
    """Takes back that shards are done. It stays noted which images killed their workers."""
    for number in numbers:
        store.delete(record_name(number, COMMIT))


def check_sources(store: Store, plan: Plan, part: Part) -> None:
    """Refuses local sources that were replaced after their outputs were made. Those with another
    size or modification time are read, and their images compared by SHA-256. Sources of images that
    failed may be replaced, to be tried again. Raises ConfigError if a source was replaced.
    """
    if all(scheme_of(source) is not None for source in plan.job.sources):
        return
    for number, changed in _of_each(partial(_changed_source, store, plan), _done(store, part.shards(plan))):
        if changed is not None:
            source, output = changed
            output = (archive(plan.job, number) or [output])[0]
            msg = f"{source} was replaced after {store.url}/{output} was made from it"
            msg = f"{msg}; name another store, or delete that output to make it again"
            raise ConfigError(msg)


def _changed_source(store: Store, plan: Plan, number: int) -> tuple[str, str] | None:
    """The first source of a shard that was replaced, and an output that was made from it."""
    rows = read_rows(store, number)
    of_source = {row.source: [row] for row in rows}
    for item in plan.list_of(store, number):
        ours = of_source.get(as_unicode(item.source), []) if plan.job.source_format == FILES else rows
        version, failed = version_of(item.source), any(row.status == FAILED for row in ours)
        changed = [row for row in ours if row.source_version not in (None, version)]
        if version is not None and changed and not failed and not _holds_recorded_images(plan.job, item, ours):
            return item.source, changed[0].output or record_name(number, COMMIT)
    return None


def _holds_recorded_images(job: Job, item: Item, rows: Sequence[ImageRow]) -> bool:
    """Whether the images of an item are those that rows were made from, byte by byte."""
    recorded = {row.source: row.source_sha256 for row in rows}
    try:
        entries = read_entries(job, item)
        found = {
            as_unicode(entry.source): hashlib.sha256(entry.read()).hexdigest() for entry in entries if entry.is_image
        }
    except DfmError:
        return False
    return found == recorded


def failures(store: Store, plan: Plan) -> Iterator[tuple[str, str]]:
    """Yields the source and the error message of each image that failed."""
    require_pyarrow()
    for _, rows in _of_each(partial(read_rows, store), _with_failures(store, range(plan.shards))):
        yield from ((row.source, row.error or "") for row in rows if row.status == FAILED)


def retry_failed(store: Store, plan: Plan, part: Part) -> int:
    """Resets the shards of a part in which images failed, so that they are processed again. Returns
    their number."""
    with_failures = _with_failures(store, part.shards(plan))
    for number in with_failures:
        forget(store, number)
    return len(with_failures)


def _with_failures(store: Store, numbers: Sequence[int]) -> list[int]:
    return [number for number, commit in _commits(store, _done(store, numbers)).items() if commit.images_failed]


def _done(store: Store, numbers: Sequence[int]) -> list[int]:
    names = set(store.names(RECORDS))
    return [number for number in numbers if f"{number:05d}.{COMMIT}" in names]


def _commits(store: Store, numbers: Sequence[int]) -> dict[int, Commit]:
    commits = _of_each(partial(read_commit, store), numbers)
    return {number: commit for number, commit in commits if commit is not None}


def _of_each(function: Callable[[int], T], numbers: Sequence[int]) -> Iterator[tuple[int, T]]:
    """Yields the values of a function for shards. Those of a few shards are held at a time."""
    with ThreadPoolExecutor(_THREADS) as threads:
        for at in range(0, len(numbers), _THREADS):
            some = numbers[at : at + _THREADS]
            yield from zip(some, threads.map(function, some), strict=True)
