"""Tests that work in threads gives the same results as a loop, also after a fork."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from itertools import pairwise

import numpy as np
import pytest
import threadpoolctl
from common import PATIENCE_S

import dfmcodec
from dfmcodec import threads


@pytest.fixture(autouse=True)
def two_threads(monkeypatch):
    monkeypatch.setattr(threads, "_limit", 2)
    monkeypatch.setattr(threads, "_executor", None)


def test_results_are_in_order_and_from_other_threads():
    names = threads.in_threads(lambda number: (number, threading.current_thread().name), range(20))
    assert [number for number, _ in names] == list(range(20))
    assert all(name.startswith("dfmcodec") for _, name in names)
    assert threads.in_threads(str, [7]) == ["7"]


def test_rounds_have_a_thread_for_each_item_and_the_rest_all_threads():
    names = threads.in_rounds(lambda number: (number, threading.current_thread().name), range(5))
    assert [number for number, _ in names] == list(range(5))
    assert [name.startswith("dfmcodec") for _, name in names] == [True, True, True, True, False]
    assert threads.in_rounds(str, [7]) == ["7"]
    threads.limit_threads(9)
    names = [name for _, name in threads.in_rounds(lambda n: (n, threading.current_thread().name), range(9))]
    assert [name.startswith("dfmcodec") for name in names] == 8 * [True] + [False]
    with pytest.raises(ZeroDivisionError):
        threads.in_rounds(lambda number: 1 // (number - 3), range(5))


def test_threads_do_not_wait_for_threads():
    nested = threads.in_threads(lambda x: threads.in_threads(lambda y: x * y, range(3)), range(8))
    assert nested == [[0, x, 2 * x] for x in range(8)]


def test_parts_of_rows_are_all_rows():
    for count in (0, 1, 2, 3, 7, 100):
        for parts in (None, 1, 3, 200):
            found = threads.parts_of(range(5, 5 + count), parts)
            assert [row for part in found for row in part] == list(range(5, 5 + count))
            assert len(found) == max(1, min(count, 2 if parts is None else parts))


def test_rows_that_are_next_to_each_other_are_not_in_work_together(monkeypatch):
    together, done = [], []
    in_threads = threads.in_threads

    def recorded(function, blocks):
        together.append(blocks)
        return in_threads(function, blocks)

    monkeypatch.setattr(threads, "in_threads", recorded)
    threads.in_threads_apart(done.append, range(40), 4)
    assert sorted(row for rows in done for row in rows) == list(range(40))
    assert max(map(len, together)) > 1
    for blocks in together:
        for rows, other in pairwise(sorted(blocks, key=lambda rows: rows.start)):
            assert other.start - rows.stop >= 4
    done.clear()
    threads.in_threads_apart(done.append, range(9), 4)  # too few for blocks that are apart
    assert done == [range(9)]


def test_exceptions_of_items_are_raised():
    with pytest.raises(ZeroDivisionError):
        threads.in_threads(lambda x: 1 // x, [1, 0, 2])


def blas_threads():
    """How many threads a product takes."""
    return {info["num_threads"] for info in threadpoolctl.threadpool_info() if info["user_api"] == "blas"}


def test_products_use_one_core_inside():
    with threadpoolctl.threadpool_limits(2, "blas"):
        with threads.one_core_products():
            assert blas_threads() == {1}
        assert blas_threads() == {2}


def test_products_use_one_core_until_the_last_thread_leaves():
    inside, leaves, left = threading.Event(), threading.Event(), threading.Event()

    def other() -> None:
        with threads.one_core_products():
            inside.set()
            leaves.wait(PATIENCE_S)
        left.set()

    with threadpoolctl.threadpool_limits(2, "blas"):
        with threads.one_core_products():
            threading.Thread(target=other).start()
            assert inside.wait(PATIENCE_S)
        assert blas_threads() == {1}  # the other is still inside
        leaves.set()
        assert left.wait(PATIENCE_S)
        assert blas_threads() == {2}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="only where processes are copied")
def test_forked_processes_get_their_own_threads():
    """As in the workers of PyTorch's DataLoader."""
    program = """
import os, sys, numpy as np
from dfmcodec import threads
threads.limit_threads(2)
double = lambda x: 2 * x
assert threads.in_threads(double, range(4)) == [0, 2, 4, 6]
child = os.fork()
if child == 0:
    os._exit(0 if threads.in_threads(double, range(4)) == [0, 2, 4, 6] else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], timeout=PATIENCE_S)
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("side", "settings"),
    [
        (1000, {"quality": 60, "effort": 3}),
        pytest.param(200, {"model": "overfitted", "lmbda": 4e-3, "training_steps": 10}, marks=pytest.mark.slow),
    ],
)
def test_files_and_pixels_are_those_of_one_thread(chelsea, monkeypatch, side, settings):
    def made():
        result = dfmcodec.encode(chelsea.pixels[:side, :side], **settings)
        return result.data, dfmcodec.decode(result.data).pixels

    data, pixels = made()
    monkeypatch.setattr(threads, "_limit", 1)
    alone, alone_pixels = made()
    assert alone == data
    assert np.array_equal(alone_pixels, pixels)
