"""Tests that work in several processes continues when one of them dies."""

from __future__ import annotations

import os

import pytest

from dfmcodec.processes import run_jobs


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


@pytest.mark.parametrize("processes", [1, 2])
def test_stopping_skips_jobs_that_have_not_begun(processes):
    found: list[int] = []
    run_jobs(abs, list(range(50)), processes, lambda job, result: found.append(job) or [], lambda: len(found) >= 5)
    assert 5 <= len(found) <= 5 + processes
