"""Tests of broken files, truncated files, and files with large sizes; test_structured.py has files
with valid checksums.
"""

from __future__ import annotations

from itertools import islice

import fuzzing
import numpy as np
import pytest
from common import ROOT

import dfmcodec


def test_best_effort_of_broken_files_gives_an_image_or_a_documented_error():
    rng = np.random.default_rng(0)
    files = fuzzing.seeds()
    broken = islice(fuzzing.broken(files, rng), 120)
    found = {fuzzing.best_effort_outcome(data) for data in broken}
    assert {"image", "a part", "CorruptError", "TruncatedError"} <= found
    assert "an error of several lines" not in found


def test_every_prefix_of_a_golden_file_is_a_part_of_an_image_or_a_documented_error():
    """The complete header is needed, and then the low-pass band; more of the file is never refused
    again.
    """
    checked = (fuzzing.GOLDEN / "checked-all.dfm").read_bytes()
    for data, step in ((checked, 16), *((data, 1) for data in sorted(fuzzing.seeds(), key=len)[:4])):
        outcomes = [fuzzing.best_effort_outcome(data[:size]) for size in range(0, len(data), step)]
        assert set(outcomes) <= {"TruncatedError", "CorruptError", "a part"}
        assert outcomes == sorted(outcomes, key="a part".__eq__)


def test_files_of_coverage_guided_fuzzing_give_images_or_documented_errors():
    """They reach lines of the decoder that golden files do not."""
    corpus = [path.read_bytes() for path in sorted((ROOT / "tests" / "fuzz" / "corpus").glob("*.dfm"))]
    assert len(corpus) >= 20
    outcomes = {fuzzing.outcome(data, 1 << 10) for data in corpus}
    assert {"image", "CorruptError", "TruncatedError", "UnsupportedVersionError", "LimitError"} <= outcomes
    best_effort = {fuzzing.best_effort_outcome(data, 1 << 10) for data in corpus}
    assert {"an error of several lines"}.isdisjoint(outcomes | best_effort)


def test_golden_files_of_all_kinds_are_among_the_seeds():
    assert len(fuzzing.seeds()) >= 10
    assert all(fuzzing.outcome(data) == "image" for data in fuzzing.seeds())


def test_large_sizes_in_small_files_are_refused_before_memory_is_spent(monkeypatch):
    """A header of 60,000 x 1,400 pixels with next to nothing behind it is refused at once; a flat
    image is not.
    """
    import struct

    from dfmcodec.codecs.wavelet.sections import latents
    from dfmcodec.weights.registry import WAVELET

    flat = np.full((500, 500), 77, np.uint8)
    result = dfmcodec.encode(flat, quality=20, effort=1)
    assert len(result.data) < 400
    assert np.abs(dfmcodec.decode(result.data)[:, :, 0].astype(int) - flat).max() <= 4
    head = struct.pack("<4sBBBBHHBBBBB", b"\x89DFM", 1, 1, 3, 8, 60_000, 1_400, 4, 60, 1, 8, 1)
    fields = struct.pack("<BHBI", 6, 640, 0, WAVELET.id)
    data = fuzzing.with_crc(head + fields + struct.pack("<BI", 3, 20) + bytes([16, 16, 16]) + bytes(17))
    monkeypatch.setattr(latents, "traverse", None)  # where memory would be spent
    with pytest.raises(dfmcodec.CorruptError, match="cannot hold"):
        dfmcodec.decode(data)
