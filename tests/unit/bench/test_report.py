"""Tests of the tables of a comparison as text, HTML page and JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from math import inf

import pytest

from dfmcodec.bench.report import as_dict, as_text
from dfmcodec.bench.runner import Comparison, Failure
from dfmcodec.bench.summary import bd_rates, slice_in_range
from dfmcodec.perception.butteraugli import ABSENT


def rows(comparison: Comparison, title: str) -> dict[str, list[str]]:
    """The cells of the table of a title in the text, by the name of the row."""
    (part,) = (part for part in as_text(comparison).split("\n\n") if title in part.partition("\n")[0])
    cells = [line.split() for line in part.splitlines()]
    return {name: rest for name, *rest in cells[1:] if name in ("dfm", "JPEG", "WebP") and rest[0] != "against"}


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([10, 20, 40, 80, 95, 99], [20, 40, 80, 95]),
        ([40, 80], [40, 80]),
        ([30, 90], [30, 90]),
        ([10, 20], []),
        ([20, 95], []),
        ([], []),
    ],
)
def test_files_in_the_range_of_scores_and_their_neighbours_count(scores, expected):
    assert scores[slice_in_range(scores)] == expected


def test_bits_at_equal_quality_against_each_codec(compared):
    comparison = compared(labels=("JPEG", "WebP"), has_butteraugli=True)
    assert rows(comparison, "bits at equal quality") == {
        "JPEG": "-50.0 % (2/0) -60.0 % (2/0) -20.0 % (2/0)".split(),
        "WebP": "-55.0 % (2/0) -64.0 % (2/0) -28.0 % (2/0)".split(),
    }


def test_losses_are_shown_like_gains(compared):
    comparison = compared()
    assert "-20.0 % (2/0)" in as_text(comparison)
    worse = [replace(m, psnr_db=m.psnr_db + (3 if m.codec == "jpeg" else 0)) for m in comparison.measurements]
    assert "+13.1 % (0/2)" in as_text(replace(comparison, measurements=tuple(worse)))


def test_butteraugli_is_compared_over_the_range_of_ssimulacra2(compared):
    """Files outside of it have no common points."""
    comparison = compared(score=lambda bpp: -100 + bpp, has_butteraugli=True)
    assert {rate.measure for rate in bd_rates(comparison)} == {"psnr_db"}


def test_two_rates_give_no_bits(compared):
    text = as_text(compared(rates=(0.02, 0.04)))
    assert "None: they need three rates that both codecs reach." in text
    assert "%" not in text.partition("equal size")[0]


def test_means_are_over_the_files_that_all_codecs_have(compared):
    comparison = compared(labels=("JPEG", "WebP"))
    small = comparison.targets[0]
    cells = tuple(m for m in comparison.measurements if (m.codec, m.target) != ("webp", small))
    ours = [m.psnr_db for m in cells if m.codec == "dfm" and m.target != small]
    table = rows(replace(comparison, measurements=cells), "means of 4 of 6 files")
    assert float(table["dfm"][3]) == pytest.approx(sum(ours) / len(ours), abs=0.006)
    assert table["dfm"][0] == "100.0%"
    without = replace(comparison, measurements=tuple(m for m in cells if m.codec != "webp"))
    assert set(rows(without, "means of 6 of 6 files")) >= {"dfm", "JPEG"}
    assert "No file as small as dfm's: WebP." in as_text(without)


def test_lossless_files_are_left_out_of_the_means(compared):
    comparison = compared()
    best = comparison.targets[-1]
    cells = tuple(replace(m, psnr_db=inf) if m.target == best else m for m in comparison.measurements)
    lossless = replace(comparison, measurements=cells)
    assert float(rows(lossless, "means of 4 of 6 files")["dfm"][3]) < 50
    data = json.loads(json.dumps(as_dict(lossless), allow_nan=False))
    assert {row["psnr_db"] is None for row in data["measurements"] if row["rate"] == best.rate} == {True}


def test_images_without_ssimulacra2_are_compared_by_psnr(compared):
    comparison = compared(score=lambda bpp: None)
    assert rows(comparison, "means of 6 of 6 files")["dfm"][1] == "-"
    assert {rate.measure for rate in bd_rates(comparison)} == {"psnr_db"}


def test_unreliable_and_missing_bits_are_noted(compared):
    comparison = compared()
    cells = tuple(
        replace(m, psnr_db=m.psnr_db + 9) if (m.codec, m.image) == ("jpeg", "cat") else m
        for m in comparison.measurements
        if (m.codec, m.image) != ("jpeg", "dog") or m.target == comparison.targets[0]
    )
    text = as_text(replace(comparison, measurements=cells))
    assert "JPEG, PSNR: the curves of 1 of 1 images share under 50 % of their range." in text
    assert "JPEG, PSNR: 1 images without three rates in a common range." in text


def test_the_text_fits_80_columns_and_lists_failures(compared):
    labels = "a codec with a very long name", "another codec with a very long name"
    failures = (Failure.of("bird", "a reason"),)
    text = as_text(compared(labels=labels, has_butteraugli=True, failures=failures))
    assert max(map(len, text.splitlines())) <= 80
    assert text.endswith("not measured (1):\n  bird: a reason")
    assert " ".join(ABSENT.split()) not in " ".join(text.split())
    assert " ".join(ABSENT.split()) in " ".join(as_text(compared()).split())


def test_the_tunes_of_codecs_are_named(compared):
    comparison = compared()
    codecs = {"jpeg": comparison.codecs["jpeg"] | {"tuned_for": "SSIM"}}
    assert "Tuned: JPEG for SSIM." in as_text(replace(comparison, codecs=codecs))
    assert "Tuned" not in as_text(comparison)
