"""Independent pieces of array work on all cores, in order: NumPy releases the interpreter while it computes."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Found = TypeVar("Found")

_MAX_WORKERS = 8  # beyond, memory is the limit


def workers() -> int:
    """How many threads work: one for each core that this process may use, or fewer if OMP_NUM_THREADS says so."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return min(cores, int(wanted) if wanted.isdigit() and int(wanted) else cores, _MAX_WORKERS)


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(workers(), thread_name_prefix="dfmcodec")


def in_order(work: Callable[[Item], Found], items: Iterable[Item]) -> Iterator[Found]:
    """work(item) of all items, in their order; only as many are begun ahead as keep the threads busy.

    The work must not itself use this function.
    """
    if workers() == 1:
        yield from map(work, items)
        return
    rest = iter(items)
    first = list(islice(rest, 2 * workers()))
    if len(first) == 1:
        yield work(first[0])
        return
    waiting = deque(_pool().submit(work, item) for item in first)
    while waiting:
        found = waiting.popleft().result()
        for item in islice(rest, 1):
            waiting.append(_pool().submit(work, item))
        yield found
