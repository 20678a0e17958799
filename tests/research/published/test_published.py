"""Smoke tests of the published experiments, on a small crop of a photograph."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import numpy as np
import PIL.Image
import pytest
import skimage.data
from click.testing import CliRunner

from research.published import coordinate, experiments

SIDE = 64


def png(folder: Path) -> Path:
    path = folder / "cat.png"
    PIL.Image.fromarray(skimage.data.chelsea()[60 : 60 + SIDE, 130 : 130 + SIDE]).save(path)
    return path


def recorded(out: Path, main: click.Command, *arguments: object) -> list[dict[str, Any]]:
    """Runs a command that appends rows to a file; returns the rows."""
    texts = [*map(str, arguments), "--out", str(out)]
    result = CliRunner().invoke(main, texts, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in out.read_text().splitlines()]


def is_drawn(path: Path) -> bool:
    with PIL.Image.open(path) as figure:
        return min(figure.size) > 30 and len(np.unique(np.asarray(figure.convert("L")))) > 2


@pytest.mark.slow
def test_recipes(tmp_path: Path) -> None:
    network = ("--depth", 2, "--width", 8)
    (row,) = recorded(tmp_path / "rows.jsonl", coordinate.main, "recipes", png(tmp_path), "--seconds", 0.5, *network)
    assert row["depth x width"] == "2 x 8"
    assert row["steps"] > 0
    assert row["steps (published)"] > 0
    assert row["gain dB"] == pytest.approx(row["default dB"] - row["published dB"])
    assert row["JPEG bytes"] <= row["bytes"] <= 0.18 * 3 * SIDE * SIDE


@pytest.mark.slow
def test_quantised(tmp_path: Path) -> None:
    (row,) = recorded(
        tmp_path / "rows.jsonl", coordinate.main, "quantised", png(tmp_path), "--rate", 0.08, "--steps", 64
    )
    assert row["lost dB"] == pytest.approx(row["float32 dB"] - row["file dB"])
    assert row["float32 dB"] > 10
    assert row["bytes"] <= 0.08 * 3 * SIDE * SIDE
    assert row["weights"] > row["bytes"] / 4


@pytest.mark.slow
def test_grid(tmp_path: Path) -> None:
    plot, strip = tmp_path / "grid.png", tmp_path / "strip.png"
    options = ("--steps", 160, "--seeds", 2, "--depths", 2, "--widths", "4,5", "--plot", plot, "--strip", strip)
    rows = recorded(tmp_path / "rows.jsonl", experiments.main, "grid", png(tmp_path), *options)
    assert [(row["depth"], row["width"], row["seed"]) for row in rows] == [(2, 4, 0), (2, 4, 1), (2, 5, 0), (2, 5, 1)]
    assert rows[0]["float_percent"] == pytest.approx(100 * 4 * 2 * (4 * 4 + 16 * 3) / (3 * SIDE * SIDE))
    assert all(row["psnr_db"] == pytest.approx(-10 * np.log10(row["loss"] / 4), abs=0.01) for row in rows)
    assert is_drawn(plot)
    assert is_drawn(strip)


@pytest.mark.slow
def test_fixed(tmp_path: Path) -> None:
    plot = tmp_path / "fixed.png"
    options = ("--steps", 16, "--plot", plot, "--pictures", tmp_path / "side by side")
    rows = recorded(tmp_path / "rows.jsonl", experiments.main, "fixed", png(tmp_path), *options)
    by_way = {row["way"]: row for row in rows}
    assert list(by_way) == ["float32, 6 x 8", "float32, 4 x 9", "coordinate file", "wavelet file"]
    assert by_way["wavelet file"]["psnr_db"] > by_way["wavelet file"]["jpeg_db"] > 20
    assert by_way["wavelet file"]["percent"] <= 18
    assert is_drawn(plot)
    assert is_drawn(tmp_path / "side by side" / "cat.png")
