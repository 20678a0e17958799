"""Runs the tests of web/test in node. `npm test` in web/ runs them with all files and more new
ones.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

import pytest
from common import ROOT

TESTS = ROOT / "web" / "test"
OLDEST = 20  # the version of node that web/package.json asks for
FRESH = "3"  # files of the wavelet codec, among them one of several tiles and one of 16 bits
LARGEST = "16000"  # pixels of committed files
LIMIT_S = 1200


def node_or_skip() -> str:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    if int(re.match(r"v(\d+)", version)[1]) < OLDEST:
        pytest.skip(f"node {version.strip()} is older than {OLDEST}")
    return node


def test_all_tests_for_node_pass_and_none_is_skipped(tmp_path):
    node = node_or_skip()
    fixtures = tmp_path / "fixtures"
    make = [sys.executable, TESTS / "make_fixtures.py", fixtures, "--fresh", FRESH, "--largest", LARGEST]
    subprocess.run(make, check=True, timeout=LIMIT_S)
    run = [node, "--test", "--test-reporter=tap", *sorted(TESTS.glob("*.test.js"))]
    environment = {**os.environ, "DFM_FIXTURES": str(fixtures)}
    ran = subprocess.run(run, env=environment, capture_output=True, text=True, encoding="utf-8", timeout=LIMIT_S)
    failed = "\n".join(re.findall(r"^ *not ok .*?^ *\.\.\.$", ran.stdout, re.MULTILINE | re.DOTALL))
    assert ran.returncode == 0, failed or ran.stdout[-5000:] + ran.stderr[-5000:]
    assert re.search(r"^# skipped 0$", ran.stdout, re.MULTILINE)
