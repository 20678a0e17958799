"""Work on all cores: in order, only a little ahead, errors and nested threads included."""

from __future__ import annotations

import time

import pytest

from dfmcodec import parallel
from dfmcodec.parallel import in_order, workers


@pytest.fixture(params=[1, 3])
def cores(request, monkeypatch):
    monkeypatch.setattr(parallel, "workers", lambda: request.param)
    parallel._pool.cache_clear()
    yield request.param
    parallel._pool.cache_clear()


@pytest.mark.parametrize("count", [0, 1, 2, 50])
def test_results_come_in_order(cores, count):
    def work(number):
        time.sleep(0.001 * (number * 7 % 5))
        return number * number

    assert list(in_order(work, range(count))) == [number * number for number in range(count)]


def test_little_is_begun_ahead(cores):
    begun = []

    def work(number):
        begun.append(number)
        return number

    for number in in_order(work, range(100)):
        assert len(begun) <= number + 2 * cores + 1
    assert sorted(begun) == list(range(100))


def test_an_error_comes_out(cores):
    with pytest.raises(ZeroDivisionError):
        list(in_order(lambda number: 1 / (number - 5), range(20)))


def test_fewer_workers_where_the_environment_says_so(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert workers() == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "nonsense")
    assert workers() >= 1
