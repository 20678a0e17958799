"""Engines that process shards: local processes, Dask, or an executor of `concurrent.futures`."""

from __future__ import annotations

import importlib
import logging
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from multiprocessing import parent_process
from multiprocessing.process import BaseProcess
from threading import Thread, current_thread, main_thread
from typing import Any

from dfmcodec.corpus.shards import Shard, ShardResult, try_shard
from dfmcodec.corpus.store import scheme_of
from dfmcodec.errors import ConfigError, DfmError, MissingPackageError, is_installed
from dfmcodec.processes import keep_current_folder_out, killed_on_interrupt, run_in_executors, run_jobs
from dfmcodec.threads import limit_threads, stay_in_thread

LOCAL, DASK = "local", "dask"
_MAX_DEATHS = 12  # worker deaths of one shard in a run; enough for four images that kill their worker
_CONNECT_S = 15
_POLL_S = 0.5  # delay until a request to stop is noticed
# Same settings as the nanny of a Dask worker, except that memory is not returned to the system
# between images: a worker processes them in a thread, where glibc would request it again for each
# array.
_WORKER_ENVIRONMENT = {
    **{"OMP_NUM_THREADS": 1, "MKL_NUM_THREADS": 1, "OPENBLAS_NUM_THREADS": 1},
    **{"MALLOC_TRIM_THRESHOLD_": 1 << 30, "MALLOC_MMAP_THRESHOLD_": 1 << 25},
}
# Exceptions that mean that a worker was lost, by name, because the engines may not be installed.
_DEATHS = {
    *("KilledWorker", "FutureCancelledError", "CancelledError"),  # Dask
    *("ExecutorlibSocketError",),  # executorlib
    *("WorkerCrashedError", "OutOfMemoryError", "NodeDiedError", "LocalRayletDiedError"),  # Ray
}

# A terminal sends Ctrl-C to all processes, but only this one should handle it.
_LEAVE_INTERRUPTS = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"


@dataclass(frozen=True)
class Engine:
    """Engine that processes shards. Raises ConfigError if the engine is unknown, or the options
    contradict each other, and MissingPackageError if the package of the engine is not installed.
    """

    name: str  # "local", "dask", or `module:factory` of an executor of `concurrent.futures`
    processes: int  # shards at a time; with an address, at least the threads of the workers
    address: str | None = None  # of Dask's scheduler; None starts one on this host
    resources: tuple[tuple[str, float], ...] = ()  # of a Dask worker, needed by each shard, by name

    def __post_init__(self) -> None:
        if self.name not in (LOCAL, DASK) and ":" not in self.name:
            msg = f"the engine {self.name} is unknown; use {LOCAL}, {DASK}, or module:factory for an executor"
            raise ConfigError(msg)
        if self.name != DASK and (self.address is not None or self.resources):
            msg = "--address and --resources are for --engine dask"
            raise ConfigError(msg)
        if self.name == DASK and not is_installed("distributed"):
            msg = "the engine dask needs Dask distributed; install it: pip install 'dfmcodec[dask]'"
            raise MissingPackageError(msg)
        if self.name not in (LOCAL, DASK):
            _factory_of(self.name)  # checks that it exists

    def check_store(self, url: str) -> None:
        """Raises a ConfigError if the store exists only in this process, but workers need it."""
        if scheme_of(url) == "memory" and (self.name != LOCAL or self.processes > 1):
            msg = "memory:// exists only in this process; use one process, without --engine"
            raise ConfigError(msg)

    def run(
        self, shards: Sequence[Shard], finish: Callable[[ShardResult], None], should_stop: Callable[[], bool]
    ) -> None:
        """Processes shards. A shard whose worker dies is processed again. Calls `finish` with the
        result of each shard. `should_stop` is polled regularly; once it returns True, no more
        shards are started. Raises ConfigError if the module of the engine has no such factory, and
        DfmError if the engine cannot be reached.
        """
        keep_current_folder_out()
        deaths: Counter[Shard] = Counter()

        def following(shard: Shard, result: ShardResult | None) -> list[Shard]:
            """Passes on a result. Repeats a shard whose worker died, which has the result None."""
            if result is None:
                deaths[shard] += 1
                if deaths[shard] < _MAX_DEATHS:
                    return [shard]
                result = ShardResult(shard, None, error=f"its workers died {_MAX_DEATHS} times; run again")
            finish(result)
            return []

        if self.name == LOCAL:
            run_jobs(try_shard, shards, self.processes, following, should_stop)
            return
        provide = _dask if self.name == DASK else _from_factory
        run_in_executors(
            lambda _alone: provide(self), _try_in_worker, shards, following, should_stop, _error_result, _POLL_S
        )


def _try_in_worker(shard: Shard) -> ShardResult:
    """Processes a shard in a worker of an executor, on one core."""
    if parent_process() is None and current_thread() is not main_thread():
        stay_in_thread()  # other threads belong to the host program
    else:
        _become_worker()
    return try_shard(shard)


@cache
def _become_worker() -> None:
    """Limits each shard in this process to one core. If Python started the process as a worker, it
    also ends with its parent and ignores Ctrl-C.
    """
    limit_threads(1)
    parent = parent_process()
    if parent is None:
        return
    if current_thread() is main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_after, args=(parent,), daemon=True).start()


def _end_after(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)


def _error_result(shard: Shard, error: Exception) -> ShardResult | None:
    """Returns the result for an error of the engine; None if the shard's worker was lost."""
    if type(error).__name__ in _DEATHS:
        return None
    said = " ".join(str(error).split())
    text = f"its worker reports {type(error).__name__}: {said}; is this version of dfmcodec installed there?"
    return ShardResult(shard, None, error=text)


def _factory_of(name: str) -> Callable[[], object]:
    """Returns the function of a user's module that creates an executor."""
    module, _, function = name.partition(":")
    try:
        factory: Callable[[], object] = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        msg = f"--engine {name}: {error}; name a module and a function of it that gives an executor"
        raise ConfigError(msg) from error
    return factory


@contextmanager
def _from_factory(engine: Engine) -> Iterator[tuple[Executor, Callable[[], int]]]:
    """Provides the executor created by a factory."""
    factory = _factory_of(engine.name)
    try:
        executor = factory()
    except Exception as error:  # any error of the user's code
        said = " ".join(f"{type(error).__name__}: {error}".split())
        msg = f"--engine {engine.name} raised {said}; name a function without arguments that gives an executor"
        raise ConfigError(msg) from error
    if not isinstance(executor, Executor):
        msg = f"--engine {engine.name} gave {type(executor).__name__}, which is not a concurrent.futures executor"
        raise ConfigError(msg)
    with executor, killed_on_interrupt():
        yield executor, lambda: engine.processes


@contextmanager
def _dask(engine: Engine) -> Iterator[tuple[Executor, Callable[[], int]]]:
    """Provides a client of Dask as an executor. Starts Dask if no address is given."""
    import dask

    quiet = {"distributed": "error", "tornado": "critical"}
    dask.config.set(
        {
            "logging": quiet,
            "distributed.worker.profile.enabled": False,
            "distributed.worker.preload": [_LEAVE_INTERRUPTS],
            "distributed.nanny.pre-spawn-environ": _WORKER_ENVIRONMENT,
        }
    )
    from distributed import Client, LocalCluster

    for name, level in quiet.items():
        logging.getLogger(name).setLevel(level.upper())
    with ExitStack() as stack:
        scheduler: Any = engine.address
        if scheduler is None:
            try:
                cluster = LocalCluster(
                    n_workers=engine.processes, threads_per_worker=1, dashboard_address="127.0.0.1:0", memory_limit=0
                )
            except (OSError, RuntimeError) as error:
                msg = f"the workers of Dask did not start: {error}; run again"
                raise DfmError(msg) from error
            scheduler = stack.enter_context(cluster)
        try:
            client = stack.enter_context(Client(scheduler, timeout=_CONNECT_S))
        except (OSError, ValueError) as error:
            msg = f"cannot reach Dask's scheduler at {scheduler}: {error}; is it running, and of the same version?"
            raise DfmError(msg) from error
        yield _executor_of(client, engine)


def _executor_of(client: Any, engine: Engine) -> tuple[Executor, Callable[[], int]]:
    """Returns the executor of a client. It receives only as many shards as its workers can start
    immediately, so that none starts after a request to stop.
    """
    resources = dict(engine.resources)
    given = [worker["resources"] for worker in client.scheduler_info(n_workers=-1)["workers"].values()]
    if given and not any(all(one.get(name, 0) >= amount for name, amount in resources.items()) for one in given):
        wanted = " ".join(f"{name}={amount:g}" for name, amount in resources.items())
        msg = f"no worker of Dask has the resources {wanted}; start workers with --resources '{wanted}'"
        raise ConfigError(msg)
    executor: Executor = client.get_executor(pure=False, **({"resources": resources} if resources else {}))
    return executor, lambda: max(engine.processes, sum(client.nthreads().values()))
