"""Tests that work in several processes continues when one of them dies."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from dfmcodec.processes import run_in_executors, run_jobs


def square(number: int) -> int:
    if number == 3:
        os._exit(1)  # as if killed for its memory
    return number * number


def test_job_that_kills_its_process_loses_only_itself():
    found: dict[int, int | None] = {}

    def take(job: int, result: int | None) -> list[int]:
        found[job] = result
        return [10] if job == 5 else []

    run_jobs(square, list(range(8)), 2, take)
    assert found == {number: None if number == 3 else number**2 for number in (*range(8), 10)}


class Fails(ThreadPoolExecutor):
    """An executor that loses some jobs at their first try, and breaks for one."""

    def __init__(self, tried: list[int], lost: set[int], breaks_at: int | None) -> None:
        super().__init__(2)
        self._tried, self._lost, self._breaks_at = tried, lost, breaks_at

    def submit(self, function, job):  # type: ignore[override]
        is_first = job not in self._tried
        self._tried.append(job)
        future: Future = Future()
        if is_first and job in self._lost:
            future.set_exception(LookupError("lost"))
        elif is_first and job == self._breaks_at:
            future.set_exception(BrokenExecutor())
        else:
            future.set_result(function(job))
        return future


def outcomes(lost: set[int] = frozenset(), breaks_at: int | None = None, **settings: Any) -> tuple[list[int], list]:
    """The jobs in the order in which they were tried, and the results."""
    tried: list[int] = []
    found: list[tuple[int, int | None]] = []

    @contextmanager
    def make(alone: bool) -> Iterator[tuple[Executor, Callable[[], int]]]:
        yield Fails(tried, lost, breaks_at), lambda: 1

    def following(job: int, result: int | None) -> list[int]:
        found.append((job, result))
        return [job] if result is None else []

    run_in_executors(make, abs, range(4), following, lambda: False, **settings)
    return tried, found


def test_lost_jobs_are_done_last() -> None:
    """So that a job which loses its workers does not hold the others up."""
    tried, found = outcomes(lost={0, 1}, of_error=lambda job, error: None)
    assert tried == [0, 1, 2, 3, 0, 1]
    assert found == [(0, None), (1, None), (2, 2), (3, 3), (0, 0), (1, 1)]


def test_jobs_of_a_broken_executor_are_done_alone_and_last() -> None:
    tried, found = outcomes(breaks_at=1)
    assert tried == [0, 1, 2, 3, 1]
    assert found == [(0, 0), (2, 2), (3, 3), (1, 1)]


def test_errors_of_an_executor_are_raised_or_made_results() -> None:
    with pytest.raises(LookupError, match="lost"):
        outcomes(lost={2})
    assert outcomes(lost={2}, of_error=lambda job, error: -1)[1] == [(0, 0), (1, 1), (2, -1), (3, 3)]


@pytest.mark.parametrize("processes", [1, 2])
def test_stopping_skips_jobs_that_have_not_begun(processes):
    found: list[int] = []
    run_jobs(abs, list(range(50)), processes, lambda job, result: found.append(job) or [], lambda: len(found) >= 5)
    assert 5 <= len(found) <= 5 + processes
