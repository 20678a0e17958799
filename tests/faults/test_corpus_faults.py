"""Tests that kill a command on a corpus, with tests/faults/corpus_faults.py. Results of a long run
are in docs/scale.md.
"""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest
from common import held_command

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are found as Linux can")


def test_a_killed_command_is_continued(tmp_path):
    import corpora
    import corpus_faults

    corpus_faults.write_images(tmp_path / "in", 12)
    command = ["corpus", tmp_path / "in", "-O", tmp_path / "out", *corpus_faults.FAST]
    with held_command(tmp_path / "hold", "dfmcodec.corpus.engines._try_shard", "call == 2", *command) as running:
        running.wait()
        running.process.kill()
    before = corpora.objects(tmp_path / "out")
    assert len(before) == 1
    subprocess.run([*corpus_faults.DFM, *map(str, command)], check=True)
    after = corpora.objects(tmp_path / "out")
    assert sum(len(corpora.read_tar(data)) for data in after.values()) == 12
    assert before.items() <= after.items()
    assert corpus_faults.survivors([running.process.pid]) == 0


@pytest.mark.parametrize("engine", ["-j 2", "dask"])
def test_a_killed_process_costs_at_most_another_call(tmp_path, engine):
    import corpora
    import corpus_faults

    if engine == "dask":
        pytest.importorskip("distributed", reason="Dask is not installed; to have it: pip install -e .[dask]")
    corpus_faults.write_images(tmp_path / "in", 12)
    row = corpus_faults.run(engine, tmp_path / "in", tmp_path / "out", random.Random(0))
    assert row["survivors"] == 0
    assert sum(len(corpora.read_tar(data)) for data in corpora.objects(tmp_path / "out").values()) == 12
