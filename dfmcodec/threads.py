"""Work on blocks of arrays that is spread over threads, each of which uses one core.

The libraries behind NumPy can spread one matrix product over all cores, but products of a few
thousand columns gain little by that, and their threads wait for each other in busy loops: beside
another program that keeps a core busy an encoding took six times as long. Threads that have blocks
of their own do not wait.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

SIDE_BY_SIDE = 4  # tiles in work at most: each takes about 100 MB
_limit: int | None = None
_executor: ThreadPoolExecutor | None = None
_lock = threading.Lock()
_own = threading.local()  # `is_worker` in threads of the executor, and in those that stay


def limit_threads(count: int) -> None:
    """Sets how many threads `in_threads` uses in this process."""
    global _limit
    _limit = max(1, count)
    _forget()


def thread_count() -> int:
    """How many threads work is spread over: one for each core that the process may use, at most."""
    if _limit is not None:
        return _limit
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def stay_in_thread() -> None:
    """Has `in_threads` use this thread alone, where it is called from it."""
    _own.is_worker = True


@contextmanager
def in_one_thread() -> Iterator[None]:
    """Has `in_threads` use this thread alone for a time."""
    before = getattr(_own, "is_worker", False)
    _own.is_worker = True
    try:
        yield
    finally:
        _own.is_worker = before


def in_threads(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """The results of a function for all items, in their order. In a thread of its own it is a
    loop.

    Args:
        function: Must not change what other items use.
        items: What it is called with.
    """
    given = list(items)
    if len(given) < 2 or thread_count() < 2 or getattr(_own, "is_worker", False):
        return [function(item) for item in given]
    return list(_threads().map(function, given))


def in_rounds(
    function: Callable[[Item], Result], items: Iterable[Item], on_round: Callable[[int], None] = lambda done: None
) -> list[Result]:
    """The results of a function that spreads its own work over threads, for all items, in their
    order. As many items as there are threads, but no more than `SIDE_BY_SIDE`, have one thread
    each, round after round; items that are too few for a round come one by one, each on all
    threads.

    Args:
        function: Must not change what other items use.
        items: What it is called with.
        on_round: Called after each round, with the number of items that are done.
    """
    given, results = list(items), list[Result]()
    round_size = min(thread_count(), SIDE_BY_SIDE)
    whole = len(given) // round_size * round_size
    for first in range(0, whole, round_size):
        results += in_threads(function, given[first : first + round_size])
        on_round(len(results))
    for item in given[whole:]:
        results.append(function(item))
        on_round(len(results))
    return results


def parts_of(rows: range, parts: int | None = None) -> list[range]:
    """Rows in some parts of about the same size; None for as many as there are threads."""
    parts = max(1, min(len(rows), thread_count() if parts is None else parts))
    edges = [rows.start + len(rows) * part // parts for part in range(parts + 1)]
    return [range(first, last) for first, last in pairwise(edges)]


def in_threads_apart(function: Callable[[range], None], rows: range, least: int) -> None:
    """Calls a function for all rows in blocks of at least `least` rows, of which two that are next
    to each other are never in work at the same time.
    """
    blocks = parts_of(rows, 2 * thread_count() if len(rows) >= 2 * least * thread_count() else 1)
    in_threads(function, blocks[0::2])
    in_threads(function, blocks[1::2])


def _threads() -> ThreadPoolExecutor:
    global _executor
    with _lock:
        if _executor is None:
            _executor = ThreadPoolExecutor(thread_count(), "dfmcodec", stay_in_thread)
        return _executor


def _forget() -> None:
    global _executor, _lock
    _executor, _lock = None, threading.Lock()


@contextmanager
def one_core_products() -> Iterator[None]:
    """Keeps the matrix products of NumPy to one core each, in the whole process, while any thread
    is inside; without threadpoolctl they are as they are.
    """
    _limited.enter()
    try:
        yield
    finally:
        _limited.leave()


class _LimitedProducts:
    """The limit that all who are inside `one_core_products` share: the first sets it, and the last
    takes it away.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._counts: list[tuple[Any, int]] = []  # libraries, and how many threads each had

    def enter(self) -> None:
        with self._lock:
            if self._users == 0:
                self._counts = [(library, library.get_num_threads()) for library in _libraries()]
                for library, _ in self._counts:
                    _set_threads(library, 1)
            self._users += 1

    def leave(self) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                for library, count in self._counts:
                    _set_threads(library, count)


_limited = _LimitedProducts()


def _libraries() -> list[Any]:
    """The libraries of matrix products that this process has loaded by now."""
    try:
        from threadpoolctl import ThreadpoolController
    except ImportError:
        return []
    return [library for library in ThreadpoolController().lib_controllers if library.user_api == "blas"]


def _set_threads(library: Any, count: int) -> None:
    """Sets how many threads a library uses, so that another thread can set it later."""
    library.set_num_threads(count)
    if hasattr(library, "clear_controlling_thread"):  # newer releases of threadpoolctl listen to one thread alone
        library.clear_controlling_thread()


def _begin_copy() -> None:
    """A copy of the process has no copies of its threads, nor what they hold."""
    global _limited
    _forget()
    _limited = _LimitedProducts()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_copy)
