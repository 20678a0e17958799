"""Tests of engines: equal outputs, and lost workers; the recipe of docs/scale.md."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import current_thread

import pytest
from common import ROOT
from corpora import counts, objects, run, write_images

from dfmcodec import threads
from dfmcodec.corpus import engines
from dfmcodec.corpus.engines import run_shards
from dfmcodec.corpus.shards import ShardResult, encode_shard
from dfmcodec.corpus.sources import shards_of
from dfmcodec.errors import DfmError, MissingPackageError

DASK = "Dask is not installed; to have it: pip install -e .[dask]"
FAST = {"effort": 1, "quality": 50}


@pytest.fixture
def source(tmp_path):
    return write_images(tmp_path / "in", 6)


@pytest.fixture
def expected(source, tmp_path):
    """The outputs of one process."""
    assert counts(run(tmp_path / "one", source, form="tar", size=2)) == (6, 0, 0)
    return objects(tmp_path / "one")


def test_processes_give_the_same_outputs(source, expected, tmp_path):
    assert counts(run(tmp_path / "out", source, form="tar", size=2, processes=2)) == (6, 0, 0)
    assert objects(tmp_path / "out") == expected


@pytest.mark.filterwarnings("ignore")  # of Dask
def test_dask_gives_the_same_outputs(source, expected, tmp_path):
    pytest.importorskip("distributed", reason=DASK)
    (source / "bad.tar").write_bytes(b"")
    assert counts(run(tmp_path / "out", source, form="tar", size=2, engine="dask", processes=2)) == (6, 0, 0)
    assert objects(tmp_path / "out") == expected
    (result,) = run(tmp_path / "out2", source / "bad.tar", engine="dask")
    assert "bad.tar is not a complete tar" in result.error


def test_threads_leave_the_other_threads_of_a_program_alone(source, expected, tmp_path, monkeypatch):
    """A shard in one of them uses one core, and the program as many as before."""
    monkeypatch.setattr(threads, "_limit", 3)
    parts = shards_of([str(source)], str(tmp_path / "out"), "tar", recursive=True, shard_size=2)
    with ThreadPoolExecutor(2) as executor:
        assert sum(result.images_done for result in executor.map(partial(encode_shard, **FAST), parts)) == 6
        assert threads.thread_count() == 3
        names = executor.submit(threads.in_threads, lambda _: current_thread().name, range(4)).result()
    assert len(set(names)) == 1
    assert objects(tmp_path / "out") == expected


def die(options, shard):
    if shard.source[0].name == "000.png":
        os._exit(1)
    return ShardResult(images_done=len(shard.source))


def test_only_the_shard_that_kills_its_process_is_undone(source, tmp_path, monkeypatch):
    monkeypatch.setattr(engines, "_try_shard", die)
    parts = shards_of([str(source)], str(tmp_path / "out"), recursive=True, shard_size=2)
    errors = {}
    run_shards(parts, lambda shard, result: errors.update({shard.source[0].name: result.error}), "local", 2)
    assert errors == {
        "000.png": "its process died, perhaps for lack of memory",
        "004.png": None,
        "more/003.png": None,
    }


@pytest.mark.filterwarnings("ignore")
def test_what_dask_reports_is_the_error_of_a_shard(source, tmp_path, monkeypatch):
    pytest.importorskip("distributed", reason=DASK)
    monkeypatch.setattr(engines, "_try_shard", lambda options, shard: 1 // 0)
    results = run(tmp_path / "out", source, engine="dask", size=10)
    said = "Dask reports ZeroDivisionError: integer division or modulo by zero"
    assert [result.error for result in results] == [said]


def test_dask_that_is_not_installed(source, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "dask", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'dfmcodec\[dask\]'"):
        run(tmp_path / "out", source, engine="dask")


@pytest.mark.filterwarnings("ignore")
def test_dask_that_is_not_reached(source, tmp_path, monkeypatch):
    distributed = pytest.importorskip("distributed", reason=DASK)
    monkeypatch.setattr(engines, "_CONNECT_S", 1)
    parts = shards_of([str(source)], str(tmp_path / "out"))
    with pytest.raises(DfmError, match=r"cannot use Dask: .*tcp://127\.0\.0\.1:9"):
        run_shards(parts, print, "dask", 1, "tcp://127.0.0.1:9")

    def refuse(**options):
        msg = "Nanny failed to start."
        raise RuntimeError(msg)

    monkeypatch.setattr(distributed, "LocalCluster", refuse)
    with pytest.raises(DfmError, match=r"cannot use Dask: Nanny failed to start\.; "):
        run_shards(parts, print, "dask", 1)


@pytest.mark.filterwarnings("ignore")  # of Ray
def test_the_recipe_with_ray(source, expected, tmp_path):
    """The script of docs/scale.md, with other sources and another store."""
    pytest.importorskip("ray", reason="to have it: pip install ray")
    page = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    (script,) = re.findall(r"^ {6}import ray\n(?:(?: {6}.*)?\n)+", page, re.MULTILINE)
    script = textwrap.dedent(script)
    changes = {
        '["s3://in/{00000..00999}.tar"]': f"[{str(source)!r}]",
        '"s3://out"': f"{str(tmp_path / 'out')!r}, 'tar', recursive=True, shard_size=2",
        "quality=75": "quality=50, effort=1",
    }
    for before, after in changes.items():
        assert before in script
        script = script.replace(before, after)
    (tmp_path / "recipe.py").write_text(script)
    done = subprocess.run([sys.executable, "recipe.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert objects(tmp_path / "out") == expected
