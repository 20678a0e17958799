"""Tests of Dask: settings of its workers, and results equal to those of one process."""

from __future__ import annotations

import os

import pytest
from corpora import encode_job, objects, run, write_images

from dfmcodec.corpus import engines
from dfmcodec.corpus.engines import DASK, Engine
from dfmcodec.corpus.store import open_store
from dfmcodec.errors import ConfigError

pytest.importorskip("pyarrow")
pytest.importorskip("distributed", reason="Dask is not installed; to have it: pip install -e .[dask]")
pytestmark = pytest.mark.filterwarnings("ignore")  # of its own


def settings_of_worker():
    import dask

    names = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")
    return [os.environ.get(name) for name in names], dask.config.get("distributed.worker.profile.enabled")


def test_workers_have_one_thread_and_no_profiler_and_keep_memory():
    with engines._dask(Engine(DASK, 1)) as (executor, capacity):
        assert capacity() == 1
        assert executor.submit(settings_of_worker).result() == ([str(1 << 30), str(1 << 25), "1", "1"], False)


def test_workers_give_what_one_process_gives(tmp_path):
    job = encode_job(write_images(tmp_path / "in", 4), size=2)
    for name, engine in (("one", Engine("local", 1)), ("dask", Engine(DASK, 2))):
        assert run(open_store(str(tmp_path / name)), job, engine)[1].total.images_done == 4
    assert objects(tmp_path / "one") == objects(tmp_path / "dask")


def test_resources_that_no_worker_has_are_refused(tmp_path):
    job = encode_job(write_images(tmp_path / "in", 1))
    with pytest.raises(ConfigError, match="no worker of Dask has the resources GPU=1"):
        run(open_store(str(tmp_path / "out")), job, Engine(DASK, 1, None, (("GPU", 1.0),)))
