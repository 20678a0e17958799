"""Tests of engines: equal outputs, lost workers, and invalid settings."""

from __future__ import annotations

import os
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing import active_children
from threading import Event, current_thread

import pytest
from common import PATIENCE_S, wait_until
from corpora import encode_job, failures, objects, pack_job, planned, run, write_images

from dfmcodec import threads
from dfmcodec.corpus import engines, tasks
from dfmcodec.corpus.engines import DASK, LOCAL, Engine
from dfmcodec.corpus.jobs import Part, plan_of, progress, retry_failed
from dfmcodec.corpus.jobs import failures as failed_images
from dfmcodec.corpus.shards import Shard
from dfmcodec.corpus.store import open_store
from dfmcodec.errors import ConfigError, DfmError, MissingPackageError

pytest.importorskip("pyarrow")
# The workers of `forking_pool` use no JAX, which tests before these may have loaded.
pytestmark = pytest.mark.filterwarnings(r"ignore:os\.fork\(\) was called:RuntimeWarning")
POOL = Engine("corpora:forking_pool", 2)


@pytest.fixture
def source(tmp_path):
    return write_images(tmp_path / "in", 6)


@pytest.fixture
def store(tmp_path):
    return open_store(str(tmp_path / "out"))


def test_an_executor_gives_what_one_process_gives(source, tmp_path):
    job = encode_job(source, size=2)
    for name, engine in (("one", Engine(LOCAL, 1)), ("pool", POOL)):
        _, state = run(open_store(str(tmp_path / name)), job, engine)
        assert state.total.images_done == 6
    assert objects(tmp_path / "one") == objects(tmp_path / "pool")


def test_an_image_that_kills_its_worker_again_and_again_is_the_only_one_blamed(source, store, tmp_path, monkeypatch):
    """Not the one that was in work whenever it did."""
    pack = tasks._pack()
    begun = tmp_path / "begun"

    def perform(data, entry):
        if entry.name == "000.png" and not begun.exists():
            begun.touch()
            Event().wait(PATIENCE_S)  # until the pool ends it
        if entry.name == "002.png":
            wait_until(begun.exists)
            os._exit(1)
        return pack.perform(data, entry)

    monkeypatch.setattr(tasks, "_pack", lambda: tasks.Task(perform, pack.target_name, pack.is_wanted))
    results, state = run(store, pack_job(source, size=1), POOL)
    assert (state.total.images_done, state.total.images_failed, state.is_complete) == (5, 1, True)
    assert failures(results) == [f"{source}/002.png: it killed its worker twice, perhaps for lack of memory"]


@pytest.mark.slow
def test_an_engine_that_only_dies(source, store, monkeypatch):
    monkeypatch.setattr(engines, "try_shard", lambda shard: os._exit(1))
    results, state = run(store, pack_job(source, size=10), POOL)
    assert [result.error for result in results] == ["its workers died 12 times; run again"]
    assert not state.is_complete


def test_what_a_worker_raises_is_one_line(source, store, monkeypatch):
    def fail(shard):
        msg = "No module\nnamed dfmcodec"
        raise ModuleNotFoundError(msg)

    monkeypatch.setattr(engines, "try_shard", fail)
    results, _ = run(store, pack_job(source, size=10), POOL)
    assert results[0].error.startswith("its worker reports ModuleNotFoundError: No module named dfmcodec; ")


def test_no_shard_is_begun_after_a_request_to_stop(source, store, monkeypatch):
    plan = planned(store, pack_job(source, size=1))
    monkeypatch.setattr("corpora.threads", lambda: ThreadPoolExecutor(1), raising=False)
    for engine in (Engine(LOCAL, 1), Engine("corpora:threads", 1)):
        results = []
        before = progress(store, plan, Part()).shards_done
        shards = [Shard(store.url, number) for number in range(before, plan.shards)]
        engine.run(shards, results.append, lambda results=results: bool(results))
        assert len(results) == 1
        assert progress(store, plan, Part()).shards_done == before + 1


def test_parts_are_apart_and_make_the_complete_image(source, store):
    job = pack_job(source, size=1)
    for number in (2, 1, 3):
        _, state = run(store, job, part=Part(number, 3))
        assert (state.shards, state.total.images_done, state.is_complete) == (2, 2, True)
    assert progress(store, plan_of(store), Part()).total.images_done == 6


@pytest.mark.parametrize("pair", [(0, 3), (4, 3), (1, 0)])
def test_parts_that_are_none(pair):
    with pytest.raises(ConfigError, match="there is no part"):
        Part(*pair)


def test_failed_images_are_named_and_tried_again(source, store):
    complete = (source / "000.png").read_bytes()
    (source / "000.png").write_bytes(b"")
    job = encode_job(source, size=2)
    run(store, job)
    plan = plan_of(store)
    ((name, error),) = failed_images(store, plan)
    assert (name, "empty" in error) == (str(source / "000.png"), True)
    assert run(store, job)[0] == []
    (source / "000.png").write_bytes(complete)
    assert retry_failed(store, plan, Part()) == 1
    results, state = run(store, job)
    assert [result.shard.number for result in results] == [0]
    assert (state.total.images_done, state.total.images_failed) == (6, 0)


@pytest.mark.parametrize(
    ("name", "ask"),
    [
        ("_dfm/00000.json", lambda store, plan: progress(store, plan, Part())),
        ("_dfm/00000.rows.parquet", lambda store, plan: list(failed_images(store, plan))),
    ],
    ids=["commit", "rows"],
)
def test_damaged_records_are_named(source, store, name, ask):
    (source / "000.png").write_bytes(b"")
    run(store, encode_job(source, size=10))
    store.write(name, b"{")
    with pytest.raises(DfmError, match=f"{name} is .*damaged"):
        ask(store, plan_of(store))


def test_a_store_without_a_plan(store):
    with pytest.raises(ConfigError, match="holds no dfmcodec plan"):
        plan_of(store)


def test_an_interrupt_does_not_wait_for_processes(source, store, monkeypatch):
    pack = tasks._pack()

    def perform(data, entry):
        if entry.name != "000.png":
            Event().wait(PATIENCE_S)  # until it is killed
        return pack.perform(data, entry)

    def interrupt(result):
        raise KeyboardInterrupt

    monkeypatch.setattr(tasks, "_pack", lambda: tasks.Task(perform, pack.target_name, pack.is_wanted))
    plan = planned(store, pack_job(source, size=1))
    with pytest.raises(KeyboardInterrupt):
        POOL.run([Shard(store.url, number) for number in range(plan.shards)], interrupt, lambda: False)
    assert progress(store, plan, Part()).shards_done == 1
    assert not active_children()


@pytest.mark.parametrize(
    ("error", "done"), [("KilledWorker", 6), ("ExecutorlibSocketError", 6), ("WorkerCrashedError", 6), ("OSError", 5)]
)
def test_a_shard_whose_worker_is_lost_is_done_again(source, store, monkeypatch, error, done):
    """However its engine says so; what else a worker reports is reported."""
    lost = type(error, (Exception,), {})

    class LosesItsFirst(ThreadPoolExecutor):
        def submit(self, function, *arguments):
            nonlocal losses
            losses += 1
            if losses > 1:
                return super().submit(engines.try_shard, *arguments)
            future: Future = Future()
            future.set_exception(lost("gone"))
            return future

    losses = 0
    monkeypatch.setattr("corpora.losing", LosesItsFirst, raising=False)
    results, state = run(store, pack_job(source, size=1), Engine("corpora:losing", 1))
    assert state.total.images_done == done
    assert [result.error for result in results if result.error] == (
        [] if done == 6 else ["its worker reports OSError: gone; is this version of dfmcodec installed there?"]
    )


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("spark", {}, "the engine spark is unknown; use local, dask, or module:factory"),
        (LOCAL, {"address": "tcp://x"}, "--address and --resources are for --engine dask"),
        ("a:b", {"resources": (("GPU", 1.0),)}, "--address and --resources are for --engine dask"),
    ],
)
def test_engines_that_are_none(name, options, said):
    with pytest.raises(ConfigError, match=said):
        Engine(name, 1, **options)


@pytest.mark.parametrize("name", ["corpora:missing", "no.such.module:x", ":x"])
def test_factories_that_are_none(name):
    with pytest.raises(ConfigError, match="name a module and a function of it that gives an executor"):
        Engine(name, 1)


def test_a_factory_that_gives_no_executor(source, store, monkeypatch):
    monkeypatch.setattr("corpora.nothing", lambda: 1, raising=False)
    with pytest.raises(ConfigError, match="gave int, which is not a concurrent"):
        run(store, pack_job(source), Engine("corpora:nothing", 1))


def test_a_factory_that_raises(source, store):
    said = r"^--engine json:loads raised TypeError: loads\(\) missing .*; name a function without arguments"
    with pytest.raises(ConfigError, match=said):
        run(store, pack_job(source), Engine("json:loads", 1))


def test_threads_of_this_program_leave_its_other_threads_alone(source, store, monkeypatch):
    """A shard in one of them uses one core, and the program as many as before."""
    monkeypatch.setattr(threads, "_limit", 3)
    run(store, pack_job(source), Engine("concurrent.futures:ThreadPoolExecutor", 2))
    assert threads.thread_count() == 3
    with ThreadPoolExecutor(1) as executor:
        executor.submit(threads.stay_in_thread).result()
        names = executor.submit(threads.in_threads, lambda _: current_thread().name, range(4)).result()
    assert len(set(names)) == 1


def test_dask_is_missed_before_work(monkeypatch):
    monkeypatch.setattr(engines, "is_installed", lambda module: False)
    with pytest.raises(MissingPackageError, match=r"pip install 'dfmcodec\[dask\]'"):
        Engine(DASK, 1)


def test_a_store_in_memory_is_for_one_process():
    pytest.importorskip("fsspec")
    for engine in (Engine(LOCAL, 2), POOL):
        with pytest.raises(ConfigError, match="memory:// exists only in this process"):
            engine.check_store("memory://x")
    Engine(LOCAL, 1).check_store("memory://x")


def test_workers_of_dask_that_do_not_start(source, store, monkeypatch):
    distributed = pytest.importorskip("distributed", reason="Dask is not installed; to have it: pip install -e .[dask]")

    def fails(**options):
        msg = "Nanny failed to start."
        raise RuntimeError(msg)

    monkeypatch.setattr(distributed, "LocalCluster", fails)
    with pytest.raises(DfmError, match=r"the workers of Dask did not start: Nanny failed to start\.; run again"):
        run(store, pack_job(source), Engine(DASK, 1))


def test_a_scheduler_that_is_not_there(source, store, monkeypatch):
    pytest.importorskip("distributed", reason="Dask is not installed; to have it: pip install -e .[dask]")
    monkeypatch.setattr(engines, "_CONNECT_S", 1)
    with pytest.raises(DfmError, match=r"cannot reach Dask's scheduler at tcp://127\.0\.0\.1:9"):
        run(store, pack_job(source), Engine(DASK, 1, "tcp://127.0.0.1:9"))
