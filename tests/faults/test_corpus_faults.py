"""A command on a corpus is killed, as tests/faults/corpus_faults.py does; its long run is recorded
in docs/scale.md.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

pytest.importorskip("pyarrow")
pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are found as Linux can")


def test_the_command_is_killed_and_called_again(tmp_path):
    import corpora
    import corpus_faults

    corpus_faults.write_images(tmp_path / "in", 12)
    row = corpus_faults.run("serial", tmp_path / "in", tmp_path / "out", random.Random(2))
    assert (row["called again"], row["done"], row["each once"], row["survivors"]) == (1, 12, True, 0)
    assert len(corpora.objects(tmp_path / "out")) == 12 + 3 * 4 + 1


def test_workers_are_killed_again_and_again(tmp_path):
    """As tests/faults/corpus_many.py does, for a moment."""
    pytest.importorskip("distributed")
    import corpus_faults
    import corpus_many

    corpus_faults.write_images(tmp_path / "in", 60)
    row = corpus_many.run(tmp_path / "in", tmp_path / "out", 2.0, random.Random(0))
    assert (row["done"], row["each once"], row["survivors"]) == (60, True, 0)
    assert row["second half"] > 20
