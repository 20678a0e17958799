"""Hostile files: a short run of tests/fuzzing.py, whose long one is recorded in docs/results.md."""

from __future__ import annotations

from itertools import islice

import fuzzing
import numpy as np
import pytest


@pytest.mark.parametrize("seed", range(4))
def test_mutated_files_give_pictures_or_documented_errors(seed):
    found = {
        fuzzing.outcome(data) for _, data in islice(fuzzing.mutants(fuzzing.seeds(), np.random.default_rng(seed)), 150)
    }
    assert {"picture", "CorruptError"} <= found
    assert "an error of several lines" not in found


def test_hostile_headers_are_refused_or_cheap():
    found = [fuzzing.outcome(data) for data in islice(fuzzing.hostile_headers(np.random.default_rng(0)), 150)]
    assert found.count("LimitError") > 50


def test_golden_files_of_all_kinds_are_among_the_seeds():
    assert len(fuzzing.seeds()) >= 10
    assert all(fuzzing.outcome(data) == "picture" for data in fuzzing.seeds())
