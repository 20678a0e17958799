"""Progress of a corpus, determined from its store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

from dfmcodec.corpus.forms.entry import require_pyarrow
from dfmcodec.corpus.plan import Plan, read_plan
from dfmcodec.corpus.records import FAILED, Commit, forget, read_commit, read_rows
from dfmcodec.corpus.sources import RECORDS
from dfmcodec.corpus.store import Store
from dfmcodec.errors import ConfigError

_THREADS = 16  # for waiting on a store


@dataclass(frozen=True)
class Progress:
    """Progress of a corpus or a part of it.

    Args:
        shards: The number of shards.
        shards_done: The number of finished shards.
        shards_begun: The number of shards that were started and are not finished.
        images: The number of images; None if tars were not read to the end.
        total: The sum of the commits.
    """

    shards: int
    shards_done: int
    shards_begun: int
    images: int | None
    total: Commit

    @property
    def is_complete(self) -> bool:
        """Indicates whether all shards are finished."""
        return self.shards_done == self.shards

    def as_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON."""
        counts = {name: getattr(self.total, name) for name in Commit.__dataclass_fields__}
        return {
            "shards": self.shards,
            "shards_done": self.shards_done,
            "shards_begun": self.shards_begun,
            "images": self.images,
            **counts,
        }


@dataclass(frozen=True)
class Part:
    """Shards for one of several hosts: each `of`-th, starting with the `number`-th.

    Args:
        number: The number of the part, from 1.
        of: The number of parts.

    Raises:
        ConfigError: The part does not exist.
    """

    number: int = 1
    of: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of:
            msg = f"there is no part {self.number} of {self.of}; parts are counted from 1 to {max(1, self.of)}"
            raise ConfigError(msg)

    def shards(self, plan: Plan) -> range:
        """Returns the numbers of the shards in this part."""
        return range(self.number - 1, plan.shards, self.of)


def plan_of(store: Store) -> Plan:
    """Returns the plan of a store.

    Raises:
        ConfigError: The store has no plan.
    """
    plan = read_plan(store)
    if plan is None:
        msg = f"{store.url} holds no dfmcodec plan; give the store that -O named"
        raise ConfigError(msg)
    return plan


def open_shards(store: Store, numbers: Sequence[int]) -> list[int]:
    """Returns the shards that are not finished, according to a new listing.

    Raises:
        DfmError: The store cannot be listed.
    """
    names = set(store.names(RECORDS))
    return [number for number in numbers if f"{number:05d}.json" not in names]


def progress(store: Store, plan: Plan, part: Part) -> Progress:
    """Returns the progress of a part of a corpus.

    Raises:
        DfmError: The store cannot be read.
    """
    numbers, names = part.shards(plan), set(store.names(RECORDS))
    commits = _commits(store, [number for number in numbers if f"{number:05d}.json" in names])
    begun = sum(f"{number:05d}.began" in names for number in numbers)
    total = sum(commits.values(), Commit())
    images = plan.images if part.of == 1 else None
    if images is None and len(commits) == len(numbers):
        images = total.images
    return Progress(len(numbers), len(commits), begun - len(commits), images, total)


def failures(store: Store, plan: Plan) -> Iterator[tuple[str, str]]:
    """Yields the source and the error message of each image that failed.

    Raises:
        MissingPackageError: pyarrow is not installed.
        DfmError: The store cannot be read.
    """
    require_pyarrow()
    with_failures = _with_failures(store, range(plan.shards))
    rows = chain.from_iterable(_in_threads(partial(read_rows, store), with_failures))
    return ((row.source, row.error or "") for row in rows if row.status == FAILED)


def retry_failed(store: Store, plan: Plan, part: Part) -> int:
    """Resets the shards of a part in which images failed, so that they are processed again.

    Returns:
        The number of these shards.

    Raises:
        DfmError: The store cannot be used.
    """
    with_failures = _with_failures(store, part.shards(plan))
    for number in with_failures:
        forget(store, number)
    return len(with_failures)


def _with_failures(store: Store, numbers: Sequence[int]) -> list[int]:
    names = set(store.names(RECORDS))
    done = [number for number in numbers if f"{number:05d}.json" in names]
    return [number for number, commit in _commits(store, done).items() if commit.failed]


def _commits(store: Store, numbers: Sequence[int]) -> dict[int, Commit]:
    commits = _in_threads(partial(read_commit, store), numbers)
    return {number: commit for number, commit in zip(numbers, commits, strict=True) if commit is not None}


def _in_threads(function: Callable[[int], Any], numbers: Sequence[int]) -> list[Any]:
    with ThreadPoolExecutor(_THREADS) as threads:
        return list(threads.map(function, numbers))
