"""The table and the drawing of the layers are those of test_imports.py."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
REMEDY = "run `python docs/make_layers.py`"


@pytest.fixture
def made(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs")
    import make_layers

    yield make_layers
    del sys.modules["make_layers"]


def test_the_table_of_layers_is_that_of_the_imports(made):
    (table,) = made.TABLE.findall(made.PAGE.read_text(encoding="utf-8"))
    assert table == made.table(), REMEDY


def test_the_drawing_shows_these_layers(made):
    assert made.DRAWING.read_text(encoding="utf-8") == made.drawing(), REMEDY


def test_each_layer_has_its_contents_and_no_other_has(made):
    names = {name for row in made.layers() for name in row}
    assert names <= set(made.CONTENTS)
    assert set(made.CONTENTS) - names <= {f"codecs.{name}" for name in ("wavelet.encode", "*.encode")}
    assert {*made.ENCODE, *made.DECODE} <= names
