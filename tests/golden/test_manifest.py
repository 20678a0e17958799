"""The manifest is true: no golden file changed or is missing, and all symbols are as recorded."""

from __future__ import annotations

import make_manifest
import pytest
from common import GOLDEN

RECORDED = {row["file"]: row for row in make_manifest.read()}


def test_every_golden_file_is_recorded():
    assert set(RECORDED) == {path.relative_to(GOLDEN).as_posix() for path in GOLDEN.rglob("*.dfm")}


@pytest.mark.parametrize("name", sorted(RECORDED))
def test_files_symbols_and_images_are_those_recorded(name):
    assert make_manifest.row(GOLDEN / name) == RECORDED[name]
