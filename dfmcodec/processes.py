"""Work spread over processes, which goes on when one of them dies."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")


def run_jobs(
    perform: Callable[[Job], Result],
    jobs: Sequence[Job],
    processes: int,
    following: Callable[[Job, Result | None], Sequence[Job]],
) -> None:
    """Performs jobs, here if `processes` is 1; jobs on which a process died are tried again one by one, each alone.

    Args:
        perform: Does a job. To be pickled, as jobs and results are, where there are several processes.
        jobs: Done about in this order.
        processes: How many work at a time.
        following: Takes a result, None if the process died of the job, and gives further jobs.
    """
    if processes == 1:
        waiting = list(reversed(jobs))
        while waiting:
            job = waiting.pop()
            waiting += reversed(following(job, perform(job)))
        return
    waiting, suspects = list(jobs), list[Job]()
    while waiting or suspects:
        alone = not waiting
        batch, waiting = ([suspects.pop()], []) if alone else (waiting, [])
        with _pool(1 if alone else processes) as pool:
            running = {pool.submit(perform, job): job for job in batch}
            while running:
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    job = running.pop(future)
                    result: Result | None = None
                    try:
                        result = future.result()
                    except BrokenProcessPool:
                        if not alone:
                            suspects.append(job)
                            continue
                    for further in following(job, result):
                        try:
                            running[pool.submit(perform, further)] = further
                        except BrokenProcessPool:
                            waiting.append(further)


def _pool(processes: int) -> ProcessPoolExecutor:
    """Processes that share the cores: each one's matrix products run on its part of them."""
    threads = str(max(1, (os.cpu_count() or 1) // processes))
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, threads)
    return ProcessPoolExecutor(processes, mp_context=get_context("spawn"))
