"""Engines that encode shards: the processes of this host, and Dask."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from dfmcodec.corpus.shards import ShardResult, encode_shard, message_of
from dfmcodec.corpus.sources import Shard
from dfmcodec.errors import DfmError, MissingPackageError
from dfmcodec.processes import keep_current_folder_out, run_jobs

_CONNECT_S = 15
# In the thread of a worker, glibc would return freed memory to the system after each image.
_KEEP_MEMORY = {"MALLOC_TRIM_THRESHOLD_": 1 << 30, "MALLOC_MMAP_THRESHOLD_": 1 << 25}
# A terminal sends Ctrl-C to all processes, but only this one should handle it.
_LEAVE_INTERRUPTS = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"


def run_shards(
    shards: Sequence[Shard],
    finish: Callable[[Shard, ShardResult], None],
    engine: str,
    processes: int,
    address: str | None = None,
    **options: Any,
) -> None:
    """Encodes shards with the options of `encode_shard`, and calls `finish` with each result. A
    shard that cannot be done has a result with an error, and the others continue.

    The engine is "local", for processes of this host, or "dask", with a scheduler at an address or
    new workers on this host. Raises DfmError if Dask is not installed, or cannot be used.
    """
    work = partial(_try_shard, options)
    if engine == "local":

        def following(shard: Shard, result: ShardResult | None) -> list[Shard]:
            finish(shard, result or ShardResult(error="its process died, perhaps for lack of memory"))
            return []

        run_jobs(work, shards, processes, following)
        return
    with _dask_client(processes, address) as client:
        from distributed import as_completed

        futures = client.map(work, shards, pure=False)
        shard_of = dict(zip(futures, shards, strict=True))
        for future in as_completed(futures):
            if (lost := future.exception()) is None:
                finish(shard_of[future], future.result())
            else:
                reason = " ".join(str(lost).split())
                finish(shard_of[future], ShardResult(error=f"Dask reports {type(lost).__name__}: {reason}"))


def _try_shard(options: dict[str, Any], shard: Shard) -> ShardResult:
    """Calls `encode_shard` and returns an error as a result."""
    try:
        return encode_shard(shard, **options)
    except Exception as error:
        return ShardResult(error=message_of(error))


@contextmanager
def _dask_client(processes: int, address: str | None) -> Iterator[Any]:
    """Provides a client of Dask, which is started if no address is given."""
    keep_current_folder_out()
    quiet = {"distributed": "error", "tornado": "critical"}
    environment = {f"distributed.nanny.pre-spawn-environ.{name}": value for name, value in _KEEP_MEMORY.items()}
    try:
        import dask

        dask.config.set({"logging": quiet, "distributed.worker.preload": [_LEAVE_INTERRUPTS], **environment})
        from distributed import Client, LocalCluster
    except ImportError as error:
        msg = "the engine dask needs Dask distributed; install it: pip install 'dfmcodec[dask]'"
        raise MissingPackageError(msg) from error
    with ExitStack() as stack:
        try:
            scheduler: Any = address or stack.enter_context(
                LocalCluster(n_workers=processes, threads_per_worker=1, dashboard_address=None, memory_limit=0)
            )
            client = stack.enter_context(Client(scheduler, timeout=_CONNECT_S))
        except (OSError, ValueError, RuntimeError) as error:
            msg = f"cannot use Dask: {error}; is its scheduler running, and of the same version?"
            raise DfmError(msg) from error
        yield client
