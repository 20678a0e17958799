"""Work that is spread over processes and continues when one of them dies."""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import active_children, get_context, parent_process
from multiprocessing.process import BaseProcess
from threading import Thread
from typing import TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")


def run_jobs(
    perform: Callable[[Job], Result],
    jobs: Sequence[Job],
    processes: int,
    following: Callable[[Job, Result | None], Sequence[Job]],
    should_stop: Callable[[], bool] = lambda: False,
) -> None:
    """Performs jobs, in this process if `processes` is 1.

    If a process dies, the jobs that were running are tried again, one at a time. A
    KeyboardInterrupt kills all processes at once.

    Args:
        perform: Performs a job. With several processes it is pickled, as jobs and results are.
        jobs: The jobs, performed in about this order.
        processes: The number of processes that work at a time.
        following: Takes a job and its result, which is None if a process died of the job. It
            returns further jobs.
        should_stop: Called before each job. If it returns True, jobs that have not begun are
            skipped.
    """
    if processes == 1:
        stack = list(reversed(jobs))
        while stack and not should_stop():
            job = stack.pop()
            stack += reversed(following(job, perform(job)))
        return
    waiting, suspects = deque(jobs), list[Job]()
    while (waiting or suspects) and not should_stop():
        alone = not waiting
        if alone:
            waiting.append(suspects.pop())
        with _pool(1 if alone else processes) as pool, _killed_on_interrupt():
            running: dict[Future[Result], Job] = {}
            broken = False
            while running or (waiting and not broken and not should_stop()):
                while waiting and not broken and not should_stop() and len(running) < processes:
                    try:
                        with _without_interrupts():
                            future = pool.submit(perform, waiting[0])
                    except BrokenProcessPool:
                        broken = True
                    else:
                        running[future] = waiting.popleft()
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    job = running.pop(future)
                    result: Result | None = None
                    try:
                        result = future.result()
                    except BrokenProcessPool:
                        broken = True
                        if not alone:
                            suspects.append(job)
                            continue
                    waiting.extend(following(job, result))


@contextmanager
def _killed_on_interrupt() -> Iterator[None]:
    """Kills all child processes when a KeyboardInterrupt passes."""
    try:
        yield
    except KeyboardInterrupt:
        for child in active_children():
            child.kill()
        raise


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Holds Ctrl-C back while processes start, and for good in these: only the parent takes it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin() -> None:
    """Prepares a new process: it leaves Ctrl-C to its parent and ends when the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    if parent is not None:
        Thread(target=_end_after, args=(parent,), daemon=True).start()


def _end_after(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)


def _pool(processes: int) -> ProcessPoolExecutor:
    """Makes a pool whose processes share the cores: each has its part of the threads for NumPy."""
    threads = str(max(1, (os.cpu_count() or 1) // processes))
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, threads)
    return ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=_begin)
