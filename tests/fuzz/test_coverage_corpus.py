"""Tests of files from coverage-guided fuzzing (tests/fuzz/coverage_fuzzing.py) that reach lines
that golden files do not.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import fuzzing

from dfmcodec.codecs.decode import DecodeRequest, decode_best_effort
from dfmcodec.errors import FormatError

CORPUS = sorted((Path(__file__).parent / "corpus").glob("*.dfm"))
MAX_PIXELS = 1 << 10


def test_the_corpus_gives_images_or_documented_errors():
    assert len(CORPUS) >= 20
    found = [fuzzing.outcome(path.read_bytes(), MAX_PIXELS) for path in CORPUS]
    assert {"image", "CorruptError", "TruncatedError", "UnsupportedVersionError", "LimitError"} <= set(found)
    for path in CORPUS:
        with suppress(FormatError):
            _, losses = decode_best_effort(path.read_bytes(), DecodeRequest(max_pixels=MAX_PIXELS))
            assert all("\n" not in line for line in losses)
