"""Tests of the manifest: golden files are unchanged and complete, and decode to the recorded
symbols.
"""

from __future__ import annotations

from importlib.util import module_from_spec, spec_from_file_location

import make_manifest
import pytest
from common import GOLDEN, ROOT

RECORDED = {row["file"]: row for row in make_manifest.read()}
# The SHA-256 of each version's rows, sorted: files of a version decode forever, so no row of it
# changes, goes or is added.
FROZEN = {"0.1.0": "dae0b02c9d776ea6f3b50dab91bb85dc9bf7d7eea990c2ccefe5ca271058ae2b"}


def test_every_golden_file_is_recorded():
    assert set(RECORDED) == {path.relative_to(GOLDEN).as_posix() for path in GOLDEN.rglob("*.dfm")}


@pytest.mark.parametrize("name", sorted(RECORDED))
def test_files_symbols_and_images_are_those_recorded(name):
    assert make_manifest.row(GOLDEN / name, RECORDED[name]["since"]) == RECORDED[name]


@pytest.mark.parametrize("version", FROZEN)
def test_files_of_a_version_are_those_that_it_had(version):
    rows = sorted("\t".join(row.values()) for row in RECORDED.values() if row["since"] == version)
    assert make_manifest.sha256("\n".join(rows).encode()) == FROZEN[version]


def test_the_program_of_the_table_of_arithmetic_decodes_all_files():
    """It takes minutes with all kinds of arithmetic, and is run by hand."""
    spec = spec_from_file_location("determinism", ROOT / "tests" / "quality" / "determinism.py")
    assert spec is not None
    assert spec.loader is not None
    determinism = module_from_spec(spec)
    spec.loader.exec_module(determinism)
    found = determinism.decoded({})
    assert found is not None
    assert set(found) == {path.stem for path in GOLDEN.glob("*.dfm")}
    assert determinism.compare(found, found) == (0, 0, 0)
