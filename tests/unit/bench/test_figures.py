"""SSIMULACRA2 in the reports, and lossless files in JSON and CSV."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import re
from math import inf, isinf
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import skimage.data
from click.testing import CliRunner

from dfmcodec.bench import perceptual
from dfmcodec.bench.measurement import Measurement
from dfmcodec.bench.report_html import as_html
from dfmcodec.bench.report_text import as_csv, as_dict, as_text
from dfmcodec.cli import main

needs_package = pytest.mark.skipif(not perceptual.is_installed(), reason="ssimulacra2 is not installed")


def rows_of(data: dict, codec: str) -> list[dict]:
    return [row for row in data["measurements"] if row["codec"] == codec]


def bench(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(main, ["bench", "--efforts", "1", "--no-cache", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result.stdout


@pytest.fixture
def cat(tmp_path) -> Path:
    PIL.Image.fromarray(skimage.data.chelsea()[60:92, 130:170]).save(tmp_path / "cat.png")
    return tmp_path / "cat.png"


@needs_package
def test_higher_is_better():
    original = np.ascontiguousarray(skimage.data.chelsea()[60:188, 130:290])
    scores = []
    for quality in (10, 40, 80):
        buffer = io.BytesIO()
        PIL.Image.fromarray(original).save(buffer, "JPEG", quality=quality)
        with PIL.Image.open(buffer) as decoded:
            scores.append(perceptual.ssimulacra2(original, np.asarray(decoded)))
    assert scores == sorted(scores)
    assert scores[-1] - scores[0] > 30
    assert perceptual.ssimulacra2(original, original) == 100
    gray = original[:, :, :1]
    assert perceptual.ssimulacra2(gray, gray // 8 * 8) < 95


@needs_package
def test_images_too_small_for_the_metric_have_none():
    for shape in [(7, 100, 3), (100, 7, 3), (1, 1, 1)]:
        assert perceptual.ssimulacra2(np.zeros(shape, np.uint8), np.full(shape, 255, np.uint8)) is None


@needs_package
def test_it_is_in_the_default_report_and_can_be_left_out(cat):
    default = json.loads(bench(cat, "--json"))
    assert all(isinstance(row["ssimulacra2"], float) for row in default["measurements"])
    assert default["left_out"] == []
    assert "ssimulacra2" in default["versions"]
    without = json.loads(bench(cat, "--json", "--no-ssimulacra2"))
    assert {row["ssimulacra2"] for row in without["measurements"]} == {None}
    assert without["left_out"] == []


@needs_package
def test_a_cached_measurement_without_it_does_not_do(cat, tmp_path):
    for option, is_there in [("--no-ssimulacra2", False), ("--ssimulacra2", True), ("--no-ssimulacra2", False)]:
        result = CliRunner().invoke(
            main, ["bench", str(cat), "--efforts", "1", "--cache", str(tmp_path / "kept"), "--json", option]
        )
        rows = json.loads(result.stdout)["measurements"]
        assert {row["ssimulacra2"] is not None for row in rows} == {is_there}


def test_without_its_package_the_report_says_so_once(cat, monkeypatch):
    present = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "ssimulacra2" else present(name, *rest)
    )
    text = bench(cat, "--html", cat.parent / "report.html")
    assert text.count("SSIMULACRA2 is left out; to have it: pip install 'dfmcodec[bench]'") == 1
    assert "SSIMUL2" not in text
    page = (cat.parent / "report.html").read_text()
    assert page.count("SSIMULACRA2 is left out") == 1
    result = CliRunner().invoke(main, ["bench", str(cat), "--ssimulacra2"])
    assert result.exit_code == 2
    assert "--ssimulacra2 needs ssimulacra2: pip install 'dfmcodec[bench]'" in result.stderr


def test_large_images_are_measured_only_when_asked(monkeypatch):
    monkeypatch.setattr(perceptual, "is_installed", lambda: True)
    large = perceptual.LARGEST_PIXELS + 1
    assert perceptual.measures("auto", large - 1)
    assert not perceptual.measures("auto", large)
    assert perceptual.measures("on", large)
    assert not perceptual.measures("off", 1)
    assert perceptual.left_out("auto", [1, large]) == (
        "SSIMULACRA2 is left out above 4 megapixels (1 image) without --ssimulacra2",
    )
    assert perceptual.left_out("auto", [1]) == perceptual.left_out("on", [large]) == ()


def test_the_headings_say_which_direction_is_better(compared):
    lines = as_text(compared()).splitlines()
    at = next(at for at, line in enumerate(lines) if "SSIMUL2" in line)
    ends = {match.group(): match.end() for match in re.finditer(r"[^ ]+( [^ ]+)?", lines[at])}
    below = {match.end(): match.group() for match in re.finditer(r"higher|lower", lines[at + 1])}
    assert below[ends["SSIMUL2"]] == below[ends["MS-SSIM"]] == "higher"
    assert below[ends["enc s"]] == "lower"
    assert "<th>SSIMULACRA2<small>higher is better</small></th>" in as_html(compared())
    assert "SSIMUL2" not in as_text(compared(ssimulacra2=None))
    assert "<th>SSIMULACRA2" not in as_html(compared(ssimulacra2=None))


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
    assert [(codec["lossless"], codec["dfm_psnr_db"]) for codec in summary] == [(2, None), (0, None)]
    table = list(csv.DictReader(io.StringIO(as_csv(comparison))))
    assert [(row["psnr_db"], row["lossless"]) for row in table if row["codec"] == "dfm"][-1] == ("", "true")
    assert {row["lossless"] for row in table if row["codec"] == "jpeg"} == {"false"}
    assert "inf" not in as_csv(comparison).lower()
    assert "inf" not in as_text(comparison).lower()
    assert "2 lossless" in as_html(comparison)


def test_an_empty_cell_is_neither_lossless_nor_not(compared):
    cell = compared().measurements[0]
    empty = Measurement(cell.image_name, cell.target, "jpeg", "", 10, smallest_bytes=20)
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
    text = bench(tmp_path / "flat.png", "--json", "--csv", tmp_path / "rows.csv")
    assert "Infinity" not in text
    (row,) = rows_of(json.loads(text), "dfm")
    assert (row["psnr_db"], row["lossless"]) == (None, True)
    assert "inf" not in (tmp_path / "rows.csv").read_text().lower()
