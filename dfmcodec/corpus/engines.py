"""Who does the shards: this process, processes of this host, Dask, or any executor of
`concurrent.futures`.
"""

from __future__ import annotations

import importlib
import logging
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager, ExitStack, contextmanager
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
_MAX_DEATHS = 12  # of workers of one shard in a run: enough for four images that kill theirs
_CONNECT_S = 15
_POLL_S = 0.5  # how soon a request to stop is noticed
# What the nanny of a worker of Dask sets by default, but memory does not go back to the system
# between images: a worker does them in a thread, to which glibc would give it anew for each array.
_WORKER_ENVIRONMENT = {
    **{"OMP_NUM_THREADS": 1, "MKL_NUM_THREADS": 1, "OPENBLAS_NUM_THREADS": 1},
    **{"MALLOC_TRIM_THRESHOLD_": 1 << 30, "MALLOC_MMAP_THRESHOLD_": 1 << 25},
}
# Exceptions that say that a worker was lost, by name, as none of the engines need be installed
_DEATHS = {
    *("KilledWorker", "FutureCancelledError", "CancelledError"),  # Dask
    *("ExecutorlibSocketError",),  # executorlib
    *("WorkerCrashedError", "OutOfMemoryError", "NodeDiedError", "LocalRayletDiedError"),  # Ray
}

# A terminal sends Ctrl-C to all processes; what it means for a worker of Dask is decided here.
_LEAVE_INTERRUPTS = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"


@dataclass(frozen=True)
class Engine:
    """Who does the shards.

    Args:
        name: "local", "dask", or `module:factory` for a function without arguments that gives an
            executor of `concurrent.futures`.
        processes: The number of shards at a time; Dask with an address takes one for each thread
            of its workers, if that is more.
        address: That of Dask's scheduler; None starts one on this host.
        resources: What each shard takes of a Dask worker's resources, by name.

    Raises:
        ConfigError: The engine is unknown, or the options contradict each other.
        MissingPackageError: Its package is not installed.
    """

    name: str
    processes: int
    address: str | None = None
    resources: tuple[tuple[str, float], ...] = ()

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
            _factory_of(self.name)  # or there is none

    def check_store(self, url: str) -> None:
        """Refuses a store that its workers would not see.

        Raises:
            ConfigError: It lives in this process alone.
        """
        if scheme_of(url) == "memory" and (self.name != LOCAL or self.processes > 1):
            msg = "memory:// is seen by this process alone; use one process, without --engine"
            raise ConfigError(msg)

    def run(
        self, shards: Sequence[Shard], finish: Callable[[ShardResult], None], should_stop: Callable[[], bool]
    ) -> None:
        """Does shards. Those whose workers die are done again.

        Args:
            shards: The shards.
            finish: Takes the result of each.
            should_stop: Asked again and again; if it returns True, no further shard is begun.

        Raises:
            ConfigError: The engine's module has no such factory.
            DfmError: The engine cannot be reached.
        """
        keep_current_folder_out()
        run = _Run(finish)
        if self.name == LOCAL:
            run_jobs(try_shard, shards, self.processes, run.following, should_stop)
        else:
            run_in_executors(self._executor, _try_in_worker, shards, run.following, should_stop, _of_error, _POLL_S)

    def _executor(self, _alone: bool) -> AbstractContextManager[tuple[Executor, Callable[[], int]]]:
        """An executor, and how many shards it can do at a time."""
        return _dask(self) if self.name == DASK else _made(self)


class _Run:
    """Hands out results, and lost shards again."""

    def __init__(self, finish: Callable[[ShardResult], None]) -> None:
        self._finish = finish
        self._deaths: Counter[Shard] = Counter()

    def following(self, shard: Shard, result: ShardResult | None) -> list[Shard]:
        """What is to be done after a shard, whose result is None if its worker died."""
        if result is None:
            self._deaths[shard] += 1
            if self._deaths[shard] < _MAX_DEATHS:
                return [shard]
            result = ShardResult(shard, None, error=f"its workers died {_MAX_DEATHS} times; run again")
        self._finish(result)
        return []


def _try_in_worker(shard: Shard) -> ShardResult:
    """Does a shard in a worker of an executor. It uses one core."""
    if parent_process() is None and current_thread() is not main_thread():
        stay_in_thread()  # the rest of the program is somebody else's
    else:
        _become_worker()
    return try_shard(shard)


@cache
def _become_worker() -> None:
    """Lets shards of this process use one core each. If Python started it for such work, it also
    ends with its parent and leaves Ctrl-C to that.
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


def _of_error(shard: Shard, error: Exception) -> ShardResult | None:
    """What became of a shard for which an engine raised an error; None if its worker was lost."""
    if type(error).__name__ in _DEATHS:
        return None
    said = " ".join(str(error).split())
    text = f"its worker reports {type(error).__name__}: {said}; is this version of dfmcodec installed there?"
    return ShardResult(shard, None, error=text)


def _factory_of(name: str) -> Callable[[], object]:
    """The function of somebody's module that gives an executor.

    Raises:
        ConfigError: There is none.
    """
    module, _, function = name.partition(":")
    try:
        factory: Callable[[], object] = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        msg = f"--engine {name}: {error}; name a module and a function of it that gives an executor"
        raise ConfigError(msg) from error
    return factory


@contextmanager
def _made(engine: Engine) -> Iterator[tuple[Executor, Callable[[], int]]]:
    """The executor that such a function gives."""
    executor = _factory_of(engine.name)()
    if not isinstance(executor, Executor):
        msg = f"--engine {engine.name} gave {type(executor).__name__}, which is not a concurrent.futures executor"
        raise ConfigError(msg)
    with executor, killed_on_interrupt():
        yield executor, lambda: engine.processes


@contextmanager
def _dask(engine: Engine) -> Iterator[tuple[Executor, Callable[[], int]]]:
    """A client of Dask as an executor; its scheduler and workers, too, if no address is given."""
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
    """The executor of a client. It gets no more shards than its workers begin at once, so that none
    is begun after a request to stop.

    Raises:
        ConfigError: No worker that is there has the resources.
    """
    resources = dict(engine.resources)
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    if workers and not any(_has(worker["resources"], resources) for worker in workers):
        wanted = " ".join(f"{name}={amount:g}" for name, amount in resources.items())
        msg = f"no worker of Dask has the resources {wanted}; start workers with --resources '{wanted}'"
        raise ConfigError(msg)
    executor: Executor = client.get_executor(pure=False, **({"resources": resources} if resources else {}))
    return executor, lambda: max(engine.processes, sum(client.nthreads().values()))


def _has(given: dict[str, float], wanted: dict[str, float]) -> bool:
    return all(given.get(name, 0) >= amount for name, amount in wanted.items())
