"""Parallel work in processes or other workers that continues when a worker dies.

Modules for starting processes are imported only where processes are started, because most commands
start none.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from itertools import islice
from threading import Thread
from types import FrameType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from dfmcodec.errors import ConfigError
from dfmcodec.threads import limit_threads, thread_count

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future
    from multiprocessing.process import BaseProcess

Job = TypeVar("Job")
Result = TypeVar("Result")

_SWITCH_INTERVAL_S = 0.0005
_PATIENCE_S = 2.0  # until workers that do not end after Ctrl-C are killed
_is_performing = False  # in a worker: whether a job is in progress


def installed_program(name: str) -> str | None:
    """Returns the path of a program on the PATH; None if it is not installed. A program of the
    current folder, where Windows looks first, is not returned.
    """
    found = shutil.which(name)
    return found if found is not None and os.path.isabs(found) else None


def program_path(name: str) -> str:
    """Returns the path of a program as `installed_program`. Raises FileNotFoundError without it."""
    found = installed_program(name)
    if found is None:
        raise FileNotFoundError(errno.ENOENT, "no such program on the PATH", name)
    return found


def keep_current_folder_out() -> None:
    """Keeps the current folder off the module path of all child processes started from now on.

    Python starts workers with `-c`, which puts the current folder first, so a file in it could be
    imported as a module. Raises ConfigError if Python ignores the environment variable for this.
    """
    if sys.flags.safe_path:  # children inherit it
        return
    if sys.flags.ignore_environment:
        msg = "with Python's option -E, child processes import modules of the current folder; add the option -P"
        raise ConfigError(msg)
    os.environ["PYTHONSAFEPATH"] = "1"


def _children() -> list[BaseProcess]:
    multiprocessing = sys.modules.get("multiprocessing")
    return [] if multiprocessing is None else list(multiprocessing.active_children())


class _JobQueue(Generic[Job]):
    """Queue of jobs that have not started. It reads from an iterable as late as possible."""

    def __init__(self, jobs: Iterable[Job]) -> None:
        self._rest = iter(jobs)
        self._taken = deque[Job]()

    def __bool__(self) -> bool:
        if not self._taken:
            self._taken.extend(islice(self._rest, 1))
        return bool(self._taken)

    def take(self) -> Job:
        assert self
        return self._taken.popleft()

    def add(self, jobs: Sequence[Job]) -> None:
        self._taken.extendleft(reversed(jobs))


def run_jobs(
    perform: Callable[[Job], Result],
    jobs: Iterable[Job],
    processes: int,
    following: Callable[[Job, Result | None], Sequence[Job]],
    should_stop: Callable[[], bool] = lambda: False,
) -> None:
    """Performs jobs in worker processes, or in this process if `processes` is 1.

    If a process dies, the jobs that were running are tried again, one at a time. A
    KeyboardInterrupt ends all processes, which discard their jobs.

    Args:
        perform: Performs a job. Several processes pickle it, together with jobs and results.
        jobs: The jobs, performed approximately in this order and consumed as the work proceeds.
        following: Returns further jobs for a job and its result, which is None if a process died.
        should_stop: Called before each job. If True, jobs that have not started are skipped.
    """
    if processes == 1:
        waiting = _JobQueue(jobs)
        while not should_stop() and waiting:
            job = waiting.take()
            waiting.add(following(job, perform(job)))
        return

    from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, wait

    perform = partial(_perform, perform)
    waiting, suspects = _JobQueue(jobs), deque[Job]()
    while not should_stop() and (waiting or suspects):
        alone = not waiting
        if alone:
            waiting.add([suspects.popleft()])
        count = 1 if alone else processes
        with _pool(count) as executor, _killed_on_interrupt():
            running: dict[Future[Result], Job] = {}
            broken = False
            while running or (not broken and not should_stop() and waiting):
                while len(running) < count and not broken and not should_stop() and waiting:
                    job = waiting.take()
                    try:
                        running[executor.submit(perform, job)] = job
                    except BrokenExecutor:
                        broken = True
                        waiting.add([job])
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    job, result = running.pop(future), None
                    try:
                        result = future.result()
                    except BrokenExecutor:
                        broken = True
                        if not alone:
                            suspects.append(job)
                            continue
                    waiting.add(following(job, result))


@contextmanager
def _killed_on_interrupt() -> Iterator[None]:
    """Ends all processes that Python started for this one when a KeyboardInterrupt passes. They are
    interrupted too, so that they remove temporary files, and killed if they do not end soon.
    Further interrupts are ignored meanwhile.
    """
    try:
        yield
    except KeyboardInterrupt:
        from multiprocessing.connection import wait

        previous = signal.signal(signal.SIGINT, lambda _signal, _frame: None)
        try:
            children = _children()
            for child in children:
                if child.pid is not None:
                    with suppress(OSError):
                        os.kill(child.pid, signal.SIGINT)
            end, alive = time.monotonic() + _PATIENCE_S, {child.sentinel for child in children}
            while alive and (left_s := end - time.monotonic()) > 0:
                alive -= {sentinel for sentinel in wait(alive, left_s) if isinstance(sentinel, int)}
            for child in children:
                child.kill()
                child.join()
        finally:
            signal.signal(signal.SIGINT, previous)
        raise


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Blocks Ctrl-C while processes start, and in each new process until it can handle it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def prepare_process() -> None:
    """Prepares a process that belongs to the command: its threads share memory, and pass on the
    interpreter ten times as often as by default. Tiles are coded in threads that return from one
    short kernel call after another, and each return waits for the interpreter.
    """
    from dfmcodec.kernels import share_memory

    share_memory()
    sys.setswitchinterval(_SWITCH_INTERVAL_S)


def _begin(threads: int) -> None:
    """Initialises a worker. It ends with its parent, or after Ctrl-C, which discards its job."""

    def on_interrupt(_signal: int, _frame: FrameType | None) -> None:
        if not _is_performing:
            os._exit(1)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        raise KeyboardInterrupt

    limit_threads(threads)
    prepare_process()
    signal.signal(signal.SIGINT, on_interrupt)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    from multiprocessing import parent_process

    parent = parent_process()
    if parent is not None:
        Thread(target=_end_after, args=(parent,), daemon=True).start()


def _perform(perform: Callable[[Job], Result], job: Job) -> Result:
    """Performs a job in a worker. A KeyboardInterrupt ends the worker."""
    global _is_performing
    _is_performing = True
    try:
        return perform(job)
    except KeyboardInterrupt:
        os._exit(1)
    finally:
        _is_performing = False


def _end_after(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)


def _pool(processes: int) -> Executor:
    """Creates a pool of processes that share the cores, with equal numbers of threads."""
    keep_current_folder_out()
    threads = max(1, thread_count() // processes)
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, str(threads))
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    class Pool(ProcessPoolExecutor):
        def submit(self, *arguments: Any, **named: Any) -> Any:
            with _without_interrupts():  # starts processes
                return super().submit(*arguments, **named)

    return Pool(processes, mp_context=get_context("spawn"), initializer=_begin, initargs=(threads,))
