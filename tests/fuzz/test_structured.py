"""Tests of fixed cases of structured fuzzing (tests/fuzz/structured.py), and that it finds inserted
faults.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from common import ROOT

pytest.importorskip("resource", reason="the fuzzer needs the limits of Linux")
if sys.platform != "linux":
    pytest.skip("the fuzzer needs the limits of Linux", allow_module_level=True)

import structured
from dfm_cases import golden_drafts, parsed

SEED = 0
CASES = 300  # the first of them
PLANTED = """
import os, sys, time, warnings
from pathlib import Path
sys.path.insert(0, "tests/fuzz")
import structured

def busy():
    end = time.process_time() + 3
    while time.process_time() < end:
        pass

faults = [
    lambda: "image",
    lambda: {}["a key"],
    lambda: warnings.warn("a warning"),
    lambda: os.write(2, b"some words"),
    lambda: len(b"x" * (300 << 20)),
    lambda: len(bytearray(8 << 30)),
    busy,
    os.abort,
    lambda: "image",
]
structured.warm_up = lambda: None
structured.Case.of = classmethod(lambda cls, seed, index: cls(str(index), {"image": b"x"}, 1, None))
structured.Case.examine = lambda case: faults[int(case.kind)]() or "nothing"
worker = structured.Worker(Path(sys.argv[1]), 5, 0, 1, structured.Bounds(base_s=0.05, networks_s=0))
first = 0 if len(sys.argv) == 2 else worker.record_death(int(sys.argv[2]))
worker.run(first, len(faults))
"""


def test_files_of_all_kinds_give_images_or_documented_errors(tmp_path):
    options = ["--seed", str(SEED), "--count", str(CASES), "--no-times", "--out", str(tmp_path / "out")]
    run = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.structured", *options], cwd=ROOT, capture_output=True, text=True, check=False
    )
    print(run.stdout, run.stderr)
    for finding in sorted(tmp_path.glob("out/findings/*.txt")):
        print(finding.read_text())
    assert run.returncode == 0, f"findings; a case alone: python -m tests.fuzz.structured --case {SEED}:INDEX --out DIR"
    found = json.loads(run.stdout.splitlines()[-1])
    assert found["cases"] == CASES
    # of each kind some can be read, or the fuzzer does not see what is behind
    assert {"dfm image", "image image"} <= set(found["outcomes"])


@pytest.mark.slow
def test_faults_are_found(tmp_path):
    (tmp_path / "findings").mkdir()

    def run(*death: str) -> int:
        command = [sys.executable, "-c", PLANTED, str(tmp_path), *death]
        return subprocess.run(command, cwd=ROOT, check=False, timeout=100).returncode

    died = run()
    assert died < 0
    assert run(str(died)) == 0
    rows = [json.loads(line) for line in (tmp_path / "worker-0.jsonl").read_text().splitlines()]
    rows = [row for row in rows if "index" in row]
    assert [row["index"] for row in rows] == list(range(9))
    findings = [finding.split()[0].rstrip(":") for row in rows for finding in row["findings"]]
    assert sorted(findings) == sorted(["KeyError", "UserWarning", "output", "memory", "MemoryError", "time", "dies"])
    assert len(list(tmp_path.glob("findings/*.image"))) == len(findings)


def test_a_case_follows_from_seed_and_index():
    cases = [structured.Case.of(3, index) for index in range(60)]
    again = [structured.Case.of(3, index) for index in range(60)]
    assert [case.files for case in cases] == [case.files for case in again]
    assert "dfm" in {case.kind for case in cases}
    others = [structured.Case.of(4, index).files for index in range(60)]
    assert all(case.files != other for case, other in zip(cases, others, strict=True))


def test_golden_files_are_written_as_they_were():
    for draft in golden_drafts():
        draft.is_checked = False
        data = draft.to_bytes()
        assert parsed(data).values == draft.values
        assert structured.fuzzing.outcome(data) == "image"


def test_images_are_of_many_kinds():
    kinds = {name.partition("-")[0] for name in structured.image_cases.seeds()}
    assert len(structured.image_cases.seeds()) >= 60
    assert len(kinds) >= 20
