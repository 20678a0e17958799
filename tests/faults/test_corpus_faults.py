"""Tests that kill a command on a corpus, with tests/faults/corpus_faults.py. Results of a long run
are in docs/scale.md.
"""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest
from common import held_command

pytest.importorskip("pyarrow")
pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are found as Linux can")


def test_the_command_is_killed_and_called_again(tmp_path):
    import corpora
    import corpus_faults

    corpus_faults.write_images(tmp_path / "in", 12)
    store = tmp_path / "out"
    run = ("encode", tmp_path / "in", "-O", store, *corpus_faults.FAST, "--engine", "local")
    with held_command(tmp_path / "hold", "dfmcodec.corpus.shards.try_shard", "call == 2", *run) as running:
        running.wait()
        running.process.kill()
    assert corpus_faults.commits(store) == 1
    subprocess.run([*corpus_faults.DFM, *map(str, run)], check=True)
    assert corpus_faults.outcome(store) == {"done": 12, "each once": True}
    assert corpus_faults.survivors([running.process.pid]) == 0
    assert len(corpora.objects(store)) == 12 + 3 * 4 + 1


def test_workers_are_killed_again_and_again(tmp_path):
    """As tests/faults/corpus_many.py does, for a moment."""
    pytest.importorskip("distributed", reason="Dask is not installed; to have it: pip install -e .[dask]")
    import corpus_faults
    import corpus_many

    corpus_faults.write_images(tmp_path / "in", 60)
    row = corpus_many.run(tmp_path / "in", tmp_path / "out", 2.0, random.Random(0))
    assert (row["done"], row["each once"], row["survivors"]) == (60, True, 0)
    assert row["second half"] > 20
