"""Tests of SSIMULACRA2 in the reports, and of lossless files in JSON and CSV."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from math import inf, isinf
from pathlib import Path

import PIL.Image
import pytest
import skimage.data
from click.testing import CliRunner

from dfmcodec.bench.measurement import Measurement
from dfmcodec.bench.report_html import as_html
from dfmcodec.bench.report_text import as_csv, as_dict, as_text
from dfmcodec.cli import main


def rows_of(data: dict, codec: str) -> list[dict]:
    return [row for row in data["measurements"] if row["codec"] == codec]


def bench(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(main, ["bench", "--effort", "1", "--no-cache", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result.stdout


@pytest.fixture
def cat(tmp_path) -> Path:
    PIL.Image.fromarray(skimage.data.chelsea()[60:92, 130:170]).save(tmp_path / "cat.png")
    return tmp_path / "cat.png"


def test_it_is_in_the_report(cat):
    rows = json.loads(bench(cat, "--rate", "0.2", "--json"))["measurements"]
    assert all(isinstance(row["ssimulacra2"], float) for row in rows)


def test_the_headings_say_which_direction_is_better(compared):
    lines = as_text(compared()).splitlines()
    at = next(at for at, line in enumerate(lines) if "SSIMU2" in line)
    ends = {match.group(): match.end() for match in re.finditer(r"[^ ]+( [^ ]+)?", lines[at])}
    below = {match.end(): match.group() for match in re.finditer(r"higher|lower", lines[at + 1])}
    assert below[ends["SSIMU2"]] == below[ends["MS-SSIM"]] == "higher"
    assert below[ends["enc s"]] == "lower"
    assert "<th>SSIMULACRA2<small>higher is better</small></th>" in as_html(compared())
    assert "SSIMU2" not in as_text(compared(ssimulacra2=None))
    assert "<th>SSIMULACRA2" not in as_html(compared(ssimulacra2=None))


@pytest.mark.parametrize(
    ("holders", "is_shown"), [((), False), (("jpeg",), False), (("dfm",), False), (("dfm", "jpeg"), True)]
)
@pytest.mark.parametrize(("name", "label"), [("ms_ssim", "MS-SSIM"), ("butteraugli", "Butteraugli")])
def test_a_figure_that_cannot_be_compared_has_no_column(compared, name, label, holders, is_shown):
    comparison = compared()
    cells = [
        replace(m, figures=replace(m.figures, **{name: 0.9 if m.codec in holders else None}))
        for m in comparison.measurements
    ]
    page = as_html(replace(comparison, measurements=tuple(cells)))
    assert (f"<th>{label}<small>" in page) == is_shown


def test_lossless_files_have_no_psnr_in_json_and_csv(compared):
    comparison = compared(best_psnr_db=inf)
    text = json.dumps(as_dict(comparison), allow_nan=False)
    assert "Infinity" not in text
    data = json.loads(text)
    assert [(row["psnr_db"] is None, row["lossless"]) for row in rows_of(data, "dfm")] == 4 * [(False, False)] + 2 * [
        (True, True)
    ]
    assert not any(row["lossless"] for row in rows_of(data, "jpeg"))
    summary = data["summaries"][-1]["codecs"]
    assert [(codec["lossless_count"], codec["dfm_mean"]) for codec in summary] == [(2, None), (0, None)]
    table = list(csv.DictReader(io.StringIO(as_csv(comparison))))
    assert [(row["psnr_db"], row["lossless"]) for row in table if row["codec"] == "dfm"][-1] == ("", "true")
    assert {row["lossless"] for row in table if row["codec"] == "jpeg"} == {"false"}
    assert "inf" not in as_csv(comparison).lower()
    assert "inf" not in as_text(comparison).lower()
    assert "2 lossless" in as_html(comparison)


def test_an_empty_cell_is_neither_lossless_nor_not(compared):
    cell = compared().measurements[0]
    empty = Measurement(cell.image, cell.target, "jpeg", "", 10, smallest_bytes=20)
    assert (empty.row()["psnr_db"], empty.row()["lossless"]) == (None, None)


def test_the_cache_keeps_lossless_files_as_json_has_them(compared):
    cell = compared(best_psnr_db=inf).measurements[-2]
    assert cell.figures is not None
    assert isinf(cell.figures.psnr_db)
    text = cell.to_json()
    assert "Infinity" not in text
    assert Measurement.from_json(text) == cell
    assert Measurement.from_json(text.replace('"psnr_db": null', '"psnr_db": Infinity')) == cell  # of earlier versions


def test_the_command_codes_a_flat_image_losslessly(tmp_path):
    PIL.Image.new("RGB", (32, 24), (200, 30, 60)).save(tmp_path / "flat.png")
    text = bench(tmp_path / "flat.png", "--rate", "0.2", "--json", "--csv", tmp_path / "rows.csv")
    assert "Infinity" not in text
    (row,) = rows_of(json.loads(text), "dfm")
    assert (row["psnr_db"], row["lossless"]) == (None, True)
    assert "inf" not in (tmp_path / "rows.csv").read_text().lower()
