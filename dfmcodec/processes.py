"""Work spread over processes, which goes on when one of them dies."""

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
    """Performs jobs, here if `processes` is 1; jobs on which a process died are tried again one by one, each alone.

    Args:
        perform: Does a job. To be pickled, as jobs and results are, where there are several processes.
        jobs: Done about in this order.
        processes: How many work at a time.
        following: Takes a result, None if the process died of the job, and gives further jobs.
        should_stop: Asked before each job; True leaves out the jobs that have not begun.

    A KeyboardInterrupt ends all processes at once.
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
    try:
        yield
    except KeyboardInterrupt:
        for child in active_children():
            child.kill()
        raise


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Holds Ctrl-C back while processes are begun, and for good in these: it is for the parent."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin() -> None:
    """What a process does first: leave Ctrl-C to its parent, and end when that is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    if parent is not None:
        Thread(target=_end_after, args=(parent,), daemon=True).start()


def _end_after(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)


def _pool(processes: int) -> ProcessPoolExecutor:
    """Processes that share the cores: each one's matrix products run on its part of them."""
    threads = str(max(1, (os.cpu_count() or 1) // processes))
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, threads)
    return ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=_begin)
