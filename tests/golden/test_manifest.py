"""The manifest is true: no golden file changed or is missing, and all symbols are as recorded."""

from __future__ import annotations

from importlib.util import module_from_spec, spec_from_file_location

import make_manifest
import pytest
from common import GOLDEN, ROOT

RECORDED = {row["file"]: row for row in make_manifest.read()}


def test_every_golden_file_is_recorded():
    assert set(RECORDED) == {path.relative_to(GOLDEN).as_posix() for path in GOLDEN.rglob("*.dfm")}


@pytest.mark.parametrize("name", sorted(RECORDED))
def test_files_symbols_and_images_are_those_recorded(name):
    assert make_manifest.row(GOLDEN / name) == RECORDED[name]


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
