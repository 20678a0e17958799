"""Work that is spread over processes or other workers and continues when one of them dies.

What makes processes is imported where they are made: most commands make none.
"""

from __future__ import annotations

import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from itertools import islice
from threading import Event, Thread
from types import FrameType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from dfmcodec.errors import ConfigError
from dfmcodec.threads import limit_threads, thread_count

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future
    from multiprocessing.process import BaseProcess

Job = TypeVar("Job")
Result = TypeVar("Result")

_stop_asked = Event()  # in this process


def keep_current_folder_out() -> None:
    """Keeps the current folder off the module path of all child processes from now on, so that no
    file there is taken for a module. Python starts workers with `-c`, which puts that folder first.

    Raises:
        ConfigError: Python ignores the environment variable that does this.
    """
    if sys.flags.safe_path:  # which children inherit
        return
    if sys.flags.ignore_environment:
        msg = "with Python's option -E, child processes import modules of the current folder; add the option -P"
        raise ConfigError(msg)
    os.environ["PYTHONSAFEPATH"] = "1"


def ask_to_stop() -> None:
    """Asks this process and those that work for it to end what they do with the best so far."""
    _stop_asked.set()
    for child in _children():
        if child.pid is not None:
            with suppress(OSError):
                os.kill(child.pid, signal.SIGINT)


def _children() -> list[BaseProcess]:
    """The processes that work for this one: none where nothing has made any."""
    multiprocessing = sys.modules.get("multiprocessing")
    return [] if multiprocessing is None else list(multiprocessing.active_children())


def is_asked_to_stop() -> bool:
    """Whether `ask_to_stop` was called here, or in the process that this one works for."""
    return _stop_asked.is_set()


def forget_to_stop() -> None:
    """Takes `ask_to_stop` back, in this process."""
    _stop_asked.clear()


class _Waiting(Generic[Job]):
    """Jobs that have not begun, taken from an iterable as late as possible."""

    def __init__(self, jobs: Iterable[Job]) -> None:
        self._rest = iter(jobs)
        self._taken = deque[Job]()
        self._last = deque[Job]()

    def __bool__(self) -> bool:
        if not self._taken:
            self._taken.extend(islice(self._rest, 1))
        if not self._taken and self._last:
            self._taken.append(self._last.popleft())
        return bool(self._taken)

    def first(self) -> Job:
        """The next job, which stays."""
        assert self
        return self._taken[0]

    def take(self) -> Job:
        """The next job."""
        assert self
        return self._taken.popleft()

    def add(self, jobs: Sequence[Job]) -> None:
        """Puts jobs before the others."""
        self._taken.extendleft(reversed(jobs))

    def add_last(self, jobs: Sequence[Job]) -> None:
        """Puts jobs after the others."""
        self._last.extend(jobs)


def run_jobs(
    perform: Callable[[Job], Result],
    jobs: Iterable[Job],
    processes: int,
    following: Callable[[Job, Result | None], Sequence[Job]],
    should_stop: Callable[[], bool] = lambda: False,
) -> None:
    """Performs jobs, in this process if `processes` is 1.

    If a process dies, the jobs that were running are tried again, one at a time. A
    KeyboardInterrupt kills all processes at once.

    Args:
        perform: Performs a job. With several processes it is pickled, as jobs and results are.
        jobs: The jobs, performed in about this order. They are taken from the iterable as the work
            goes on.
        processes: The number of processes that work at a time.
        following: Takes a job and its result, which is None if a process died of the job. It
            returns further jobs.
        should_stop: Called before each job. If it returns True, jobs that have not begun are
            skipped.
    """
    if processes == 1:
        waiting = _Waiting(jobs)
        while not should_stop() and waiting:
            job = waiting.take()
            waiting.add(following(job, perform(job)))
        return

    @contextmanager
    def pool(alone: bool) -> Iterator[tuple[Executor, Callable[[], int]]]:
        count = 1 if alone else processes
        with _pool(count) as executor, killed_on_interrupt():
            yield executor, lambda: count

    run_in_executors(pool, perform, jobs, following, should_stop)


def run_in_executors(
    make: Callable[[bool], AbstractContextManager[tuple[Executor, Callable[[], int]]]],
    perform: Callable[[Job], Result],
    jobs: Iterable[Job],
    following: Callable[[Job, Result | None], Sequence[Job]],
    should_stop: Callable[[], bool],
    of_error: Callable[[Job, Exception], Result | None] | None = None,
    poll_s: float | None = None,
) -> None:
    """Performs jobs in an executor, and in another one if it breaks. Those that were in work then
    are done one at a time, so that the death of one does not count against the others.

    Args:
        make: Gives an executor, and how many jobs it is to have at a time; takes whether it is for
            a job alone.
        perform: As in `run_jobs`.
        jobs: As in `run_jobs`.
        following: As in `run_jobs`; what it returns after a death is done last.
        should_stop: As in `run_jobs`.
        of_error: Gives the result of a job for which the executor raised an error, None if its
            worker was lost. Without it, such errors are raised here.
        poll_s: How often `should_stop` is asked while jobs are in work, in seconds; only when one
            ends if None.
    """
    from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, wait

    waiting, suspects = _Waiting(jobs), deque[Job]()
    while not should_stop() and (waiting or suspects):
        alone = not waiting
        if alone:
            waiting.add([suspects.popleft()])
        with make(alone) as (executor, capacity):
            running: dict[Future[Result], Job] = {}
            broken = False
            while running or (not broken and not should_stop() and waiting):
                while len(running) < capacity() and not broken and not should_stop() and waiting:
                    try:
                        future = executor.submit(perform, waiting.first())
                    except BrokenExecutor:
                        broken = True
                    else:
                        running[future] = waiting.take()
                for future in wait(running, poll_s, FIRST_COMPLETED).done:
                    job, result = running.pop(future), None
                    try:
                        result = future.result()
                    except BrokenExecutor:
                        broken = True
                        if not alone:
                            suspects.append(job)
                            continue
                    except Exception as error:
                        if of_error is None:
                            raise
                        result = of_error(job, error)
                    (waiting.add_last if result is None else waiting.add)(following(job, result))


@contextmanager
def killed_on_interrupt() -> Iterator[None]:
    """Kills all processes that Python started for this one when a KeyboardInterrupt passes."""
    try:
        yield
    except KeyboardInterrupt:
        for child in _children():
            child.kill()
        raise


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Holds Ctrl-C back while processes start, and in these until they can take it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(threads: int) -> None:
    """Prepares a new process: it ends when its parent is gone, and takes Ctrl-C for a question, as
    its parent decides what that means.
    """

    def on_interrupt(_signal: int, _frame: FrameType | None) -> None:
        _stop_asked.set()

    limit_threads(threads)
    signal.signal(signal.SIGINT, on_interrupt)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    from multiprocessing import parent_process

    parent = parent_process()
    if parent is not None:
        Thread(target=_end_after, args=(parent,), daemon=True).start()


def _end_after(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)


def _pool(processes: int) -> Executor:
    """Makes a pool whose processes share the cores: each has its part of the threads for NumPy."""
    keep_current_folder_out()
    threads = max(1, thread_count() // processes)
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, str(threads))
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    class Pool(ProcessPoolExecutor):
        def submit(self, *arguments: Any, **named: Any) -> Any:
            with _without_interrupts():  # it starts processes
                return super().submit(*arguments, **named)

    return Pool(processes, mp_context=get_context("spawn"), initializer=_begin, initargs=(threads,))
