"""Tests of the short table: bits at equal quality relative to the first codec, and means."""

from __future__ import annotations

import json
from dataclasses import replace
from math import log2

import pytest

from dfmcodec.bench.butteraugli import ABSENT
from dfmcodec.bench.overview import Overview, overviews
from dfmcodec.bench.report_html import as_html
from dfmcodec.bench.report_text import as_dict, as_text
from dfmcodec.bench.runner import Comparison
from dfmcodec.bench.summary import bd_rates, slice_in_range


def score(bpp: float) -> float:
    """SSIMULACRA2: 12 points for twice the rate."""
    return 60 + 12 * log2(bpp)


def with_webp(comparison: Comparison) -> Comparison:
    """The comparison with a second codec, which needs twice the bits of the first one."""
    added = [
        replace(m, codec="webp", figures=replace(m.figures, bpp=2 * m.figures.bpp, psnr_db=20.0))
        for m in comparison.measurements
        if m.codec == "jpeg" and m.figures
    ]
    codecs = comparison.codecs | {"webp": comparison.codecs["jpeg"] | {"label": "WebP"}}
    return replace(comparison, codecs=codecs, measurements=(*comparison.measurements, *added))


def column(overview: Overview, *head: str) -> dict[str, str]:
    """The cells of a column by codec."""
    at = overview.head.index((head[0], head[1] if len(head) > 1 else ""))
    return {row[0]: row[at] for row in overview.rows}


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


def test_bits_are_relative_to_the_first_codec(compared):
    comparison = with_webp(compared(tune="visual", ssimulacra2=score))
    (overview,) = overviews(comparison)
    assert column(overview, "bits, equal", "SSIMULACRA2") == {"dfm": "-50.0 %", "JPEG": "reference", "WebP": "+100.0 %"}
    assert overview.notes[-1] == ABSENT
    data = json.loads(json.dumps(as_dict(comparison), allow_nan=False))
    assert [(rate["codec"], rate["anchor"], round(rate["mean_percent"])) for rate in data["bd_rates"]] == [
        ("dfm", "jpeg", -50),
        ("dfm", "webp", -75),
        ("webp", "jpeg", 100),
    ]
    page = as_html(comparison)
    assert "<td>+100.0 %</td>" in page
    assert "bits at equal SSIMULACRA2" in page


def test_lower_butteraugli_is_better(compared):
    (overview,) = overviews(compared(tune="visual", ssimulacra2=score, has_butteraugli=True))
    assert column(overview, "bits, equal", "Butteraugli") == {"dfm": "-60.0 %", "JPEG": "reference"}
    assert ABSENT not in overview.notes


def test_butteraugli_is_compared_over_the_range_of_ssimulacra2(compared):
    """Files outside of it have no common points."""
    comparison = compared(tune="visual", ssimulacra2=lambda bpp: -100 + bpp, has_butteraugli=True)
    assert bd_rates(comparison) == []


def test_means_are_over_the_files_that_all_codecs_have(compared):
    comparison = with_webp(compared(tune="visual", ssimulacra2=score))
    small = comparison.targets[0]
    cells = [
        replace(m, figures=None) if m.codec == "webp" and m.target == small else m for m in comparison.measurements
    ]
    (overview,) = overviews(replace(comparison, measurements=tuple(cells)))
    ours = [m.figures.psnr_db for m in cells if m.codec == "dfm" and m.target != small and m.figures]
    assert float(column(overview, "PSNR", "dB")["dfm"]) == pytest.approx(sum(ours) / len(ours), abs=0.006)
    assert any("4 of 6 files" in note for note in overview.notes)


def test_a_codec_without_files_does_not_empty_the_columns(compared):
    comparison = with_webp(compared(tune="visual", ssimulacra2=score))
    cells = [replace(m, figures=None) if m.codec == "webp" else m for m in comparison.measurements]
    (overview,) = overviews(replace(comparison, measurements=tuple(cells)))
    assert column(overview, "SSIM")["WebP"] == "-"
    assert column(overview, "bits, equal", "SSIMULACRA2")["WebP"] == "-"
    assert any("6 of 6 files" in note for note in overview.notes)


def test_lossless_files_are_left_out_of_the_means(compared):
    (overview,) = overviews(compared(tune="visual", ssimulacra2=score, best_psnr_db=float("inf")))
    assert any("4 of 6 files" in note for note in overview.notes)
    assert float(column(overview, "PSNR", "dB")["dfm"]) < 50


def test_two_rates_give_scores_in_place_of_bits(compared):
    (overview,) = overviews(
        compared(("cat",), tune="visual", ssimulacra2=score, rates=(0.02, 0.04), has_butteraugli=True)
    )
    assert float(column(overview, "SSIMULACRA2")["dfm"]) == pytest.approx((score(0.48) + score(0.96)) / 2, abs=0.06)
    assert column(overview, "Butteraugli")["JPEG"] == f"{5 - (log2(0.4 * 0.48) + log2(0.4 * 0.96)) / 2:.2f}"
    assert not any("bits" in first for first, _ in overview.head)


def test_the_text_is_one_short_table_of_80_columns(compared):
    text = as_text(with_webp(compared(label="a codec with a very long name", tune="visual", ssimulacra2=score)))
    assert max(map(len, text.splitlines())) <= 80
    assert sum(line.startswith("dfm ") for line in text.splitlines()) == 1
    assert "cat" not in text


def test_codecs_without_a_tune_are_named(compared):
    comparison = with_webp(compared(tune="visual", ssimulacra2=score))
    assert "tune" not in as_text(comparison).partition("\n")[2]
    for names, ending in (({"webp"}, "  WebP: SSIM\nno tune is known for JPEG"), ({"jpeg", "webp"}, "  WebP: SSIM")):
        codecs = {
            name: codec | {"tuned_for": "SSIM"} if name in names else codec for name, codec in comparison.codecs.items()
        }
        paragraphs = as_text(replace(comparison, codecs=codecs)).split("\n\n")
        (tunes,) = (part for part in paragraphs if part.startswith("files are tuned for:"))
        assert tunes.endswith(ending)


def test_the_page_says_what_is_compared(compared):
    page = as_html(compared(tune="visual", ssimulacra2=score))
    assert "every other codec gets the largest file" in page
    assert "SSIMULACRA2 at equal size, range of the means per rate; better on" in page
    page = as_html(compared(tune="visual", ssimulacra2=score, rates=(0.02,)))
    assert "SSIMULACRA2 at equal size, mean; better on" in page


def test_the_tune_psnr_has_no_such_table(compared):
    assert overviews(compared()) == []
