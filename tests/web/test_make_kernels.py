"""Tests of the browser kernels: the committed file, and its build."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

import pytest
from common import ROOT

sys.path.insert(0, str(ROOT / "web" / "kernels"))
import make_kernels


def test_the_committed_kernels_are_built_of_todays_sources():
    text = make_kernels.TARGET.read_text(encoding="utf-8")
    found = re.search(r'SOURCE_HASH = "(\w+)"', text)
    assert found[1] == make_kernels.source_hash(), "run python web/kernels/make_kernels.py"


def test_kernels_that_are_built_here_pass_the_tests_of_kernels(tmp_path):
    node = shutil.which("node") or pytest.skip("node is not installed")
    try:
        make_kernels.find_clang()
    except make_kernels.BuildError as error:
        pytest.skip(str(error))
    copy = tmp_path / "web"
    shutil.copytree(ROOT / "web", copy, ignore=shutil.ignore_patterns("page", "*.bin"))
    try:
        make_kernels.main(["-o", str(copy / "src" / "compiled_kernels.js")])
    except SystemExit as error:
        if "file not found" in str(error):
            pytest.skip("there are no headers of a C library for WebAssembly")
        raise
    run = [node, "--test", "--test-reporter=tap", copy / "test" / "kernels.test.js"]
    ran = subprocess.run(run, capture_output=True, text=True, encoding="utf-8", check=False)
    assert ran.returncode == 0, ran.stdout
    assert re.search(r"^# pass [1-9]", ran.stdout, re.MULTILINE)
