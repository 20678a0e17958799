"""Parallel work on blocks of arrays in threads, each of which uses one core.

The BLAS libraries behind NumPy can spread one matrix product over all cores. For a few thousand
columns this gains little, and their threads wait for each other in busy loops: while another
program kept a core busy, an encoding took six times as long. Threads with separate blocks do not
wait.
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

SIDE_BY_SIDE = 4  # maximum number of tiles at a time; each takes about 100 MB
_limit: int | None = None
_executor: ThreadPoolExecutor | None = None
_lock = threading.Lock()
_own = threading.local()  # `is_worker` is set in threads of the executor, and in threads that called `stay_in_thread`


def limit_threads(count: int) -> None:
    """Sets the number of threads that `in_threads` uses in this process."""
    global _limit
    _limit = max(1, count)
    _forget()


def thread_count() -> int:
    """Returns the number of threads to use: at most one for each core that the process may use."""
    if _limit is not None:
        return _limit
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def stay_in_thread() -> None:
    """Makes `in_threads` use only the current thread when called from it."""
    _own.is_worker = True


@contextmanager
def in_one_thread() -> Iterator[None]:
    """Makes `in_threads` use only the current thread while the context is active."""
    before = getattr(_own, "is_worker", False)
    _own.is_worker = True
    try:
        yield
    finally:
        _own.is_worker = before


def in_threads(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Returns the results of a function for all items, in order.

    In a thread of the executor it is a plain loop. No item may modify data of another.
    """
    all_items = list(items)
    if len(all_items) < 2 or thread_count() < 2 or getattr(_own, "is_worker", False):
        return [function(item) for item in all_items]
    return list(_threads().map(function, all_items))


def in_rounds(
    function: Callable[[Item], Result], items: Iterable[Item], on_round: Callable[[int], None] = lambda done: None
) -> list[Result]:
    """Returns the results of a function that itself uses `in_threads`, for all items, in order.

    Items are processed in rounds of as many as there are threads, at most `SIDE_BY_SIDE`, with one
    thread each, and the remaining ones one after another, each on all threads. `on_round` receives
    the number of finished items.
    """
    all_items, results = list(items), list[Result]()
    round_size = min(thread_count(), SIDE_BY_SIDE)
    complete_rounds = len(all_items) // round_size * round_size
    for first in range(0, complete_rounds, round_size):
        results += in_threads(function, all_items[first : first + round_size])
        on_round(len(results))
    for item in all_items[complete_rounds:]:
        results.append(function(item))
        on_round(len(results))
    return results


def parts_of(rows: range, parts: int | None = None) -> list[range]:
    """Splits rows into parts of about equal size; None for one part per thread."""
    parts = max(1, min(len(rows), thread_count() if parts is None else parts))
    edges = [rows.start + len(rows) * part // parts for part in range(parts + 1)]
    return [range(first, last) for first, last in pairwise(edges)]


def in_threads_apart(function: Callable[[range], None], rows: range, least: int) -> None:
    """Calls a function for blocks of at least `least` rows, never for adjacent ones at a time."""
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
    """Limits NumPy's matrix products to one core each while any thread is in this context."""
    _limited.enter()
    try:
        yield
    finally:
        _limited.leave()


class _LimitedProducts:
    """Limit of all threads in `one_core_products`, from the first to the last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._counts: list[tuple[Any, int]] = []  # libraries, and the number of threads of each before

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
    """Returns the BLAS libraries that this process has loaded so far."""
    try:
        from threadpoolctl import ThreadpoolController
    except ImportError:
        return []
    return [library for library in ThreadpoolController().lib_controllers if library.user_api == "blas"]


def _set_threads(library: Any, count: int) -> None:
    """Sets the number of threads of a library, so that another thread can set it later."""
    library.set_num_threads(count)
    if hasattr(library, "clear_controlling_thread"):  # newer releases of threadpoolctl
        library.clear_controlling_thread()


def _begin_copy() -> None:
    """Resets the state after a fork: the child has no copies of the parent's threads and locks."""
    global _limited
    _forget()
    _limited = _LimitedProducts()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_copy)
