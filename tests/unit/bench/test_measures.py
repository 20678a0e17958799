"""Tests that codecs are compared by the measure of the tune: SSIMULACRA2 by default, or PSNR."""

from __future__ import annotations

import json
from dataclasses import replace
from math import log2
from pathlib import Path

import PIL.Image
import pytest
import skimage.data
from click.testing import CliRunner

from dfmcodec.bench.curves import Curve
from dfmcodec.bench.measurement import Measurement, Target
from dfmcodec.bench.report_html import as_html
from dfmcodec.bench.report_text import as_dict, as_text
from dfmcodec.bench.runner import Comparison
from dfmcodec.bench.summary import bd_rates, by_target
from dfmcodec.cli import main
from dfmcodec.cli.bench import _targets


def score(bpp: float) -> float:
    """SSIMULACRA2: 12 points for twice the rate."""
    return 60 + 12 * log2(bpp)


@pytest.fixture
def by_score(compared) -> Comparison:
    """A comparison of the tune visual: dfm needs half of JPEG's bits."""
    return compared(tune="visual", ssimulacra2=score)


def test_bd_rates_are_at_equal_ssimulacra2(by_score, compared):
    (rate,) = bd_rates(by_score)
    assert rate.measure == "ssimulacra2"
    assert rate.by_image == pytest.approx({"cat": -50, "dog": -50}, abs=0.01)
    (rate,) = bd_rates(compared(ssimulacra2=score))
    assert rate.measure == "psnr_db"
    assert rate.mean == pytest.approx(-20, abs=0.01)


def test_gains_and_counts_of_better_files_are_of_the_measure(by_score):
    for summary in by_target(by_score):
        dfm, jpeg = summary.codecs
        assert (jpeg.measure, jpeg.better_count, jpeg.worse_count) == ("ssimulacra2", 2, 0)
        assert jpeg.gain == pytest.approx(12)
        assert jpeg.dfm_mean == dfm.mean["ssimulacra2"] == pytest.approx(score(24 * summary.target.rate))


def test_the_better_form_is_that_of_the_measure(compared):
    """One has the higher PSNR, the other the higher SSIMULACRA2."""
    for tune, expected in (("visual", "4:2:0"), ("psnr", "4:4:4")):
        comparison = compared(("cat",), tune=tune, ssimulacra2=score, rates=(0.04,))
        ours, first = comparison.measurements
        assert first.figures is not None
        figures = replace(first.figures, psnr_db=first.figures.psnr_db - 1, ssimulacra2=90.0)
        second = replace(first, form="4:2:0", figures=figures)
        (summary,) = by_target(replace(comparison, measurements=(ours, first, second)))
        assert summary.rows[0].cells["jpeg"].form == expected


def test_the_page_and_json_have_the_measure(by_score):
    page = as_html(by_score)
    assert "<td>SSIMULACRA2</td>" in page
    assert "+12.0" in page
    data = json.loads(json.dumps(as_dict(by_score), allow_nan=False))
    assert {codec["measure"] for summary in data["summaries"] for codec in summary["codecs"]} == {"ssimulacra2"}
    assert [rate["measure"] for rate in data["bd_rates"]] == ["ssimulacra2"]


def test_the_page_says_over_which_files_means_are(by_score):
    page = as_html(by_score)
    assert "<th>dfm gain<small>SSIMULACRA2</small></th>" in page
    assert "dfm gain: the mean SSIMULACRA2 of dfm less that of the codec, over the files that both have." in page
    assert "different numbers of files" not in page
    first = next(m for m in by_score.measurements if m.codec == "jpeg")
    cells = tuple(replace(m, figures=None, smallest_bytes=9) if m == first else m for m in by_score.measurements)
    assert as_html(replace(by_score, measurements=cells)).count("different numbers of files") == 1


def test_given_curves_are_compared_by_psnr(compared):
    points = tuple((24 * rate, 30 + 6 * log2(24 * rate / 2)) for rate in (0.01, 0.02, 0.04, 0.08, 0.16))
    comparison = compared(("cat",), curves=(Curve("HM", "f", {"cat": points}),), tune="visual", ssimulacra2=score)
    found = {rate.label: rate for rate in bd_rates(comparison)}
    assert (found["HM"].measure, found["JPEG"].measure) == ("psnr_db", "ssimulacra2")
    assert found["HM"].mean == pytest.approx(-50, abs=0.01)
    assert "bits at equal PSNR" in as_text(comparison)


def test_images_without_ssimulacra2_are_shown_without(compared):
    comparison = compared(tune="visual", ssimulacra2=None)
    assert bd_rates(comparison) == []
    assert {
        (codec.better_count, codec.worse_count) for summary in by_target(comparison) for codec in summary.codecs
    } == {(0, 0)}
    assert ["codec", "PSNR", "SSIM", "encode", "decode"] in [line.split() for line in as_text(comparison).splitlines()]
    assert as_html(comparison)


def test_lossless_files_are_exact(compared):
    text = as_text(compared(("cat",), ssimulacra2=score, best_psnr_db=float("inf")))
    assert ["cat", "15360", "exact"] in [line.split()[:3] for line in text.splitlines()]


@pytest.mark.parametrize(
    ("models", "tunes", "expected"),
    [
        ("wavelet", None, {("wavelet", "visual")}),
        ("wavelet", "psnr", {("wavelet", "psnr")}),
        ("wavelet", "psnr,visual", {("wavelet", "psnr"), ("wavelet", "visual")}),
        ("wavelet,overfitted", None, {("wavelet", "psnr"), ("overfitted", "psnr")}),
        ("coordinate", None, {("coordinate", "psnr")}),
    ],
)
def test_the_usual_tune_is_one_that_all_models_have(models, tunes, expected):
    assert {(target.model, target.tune) for target in _targets(models, "1", "0.1", tunes, None)} == expected


def test_each_tune_has_its_usual_rates():
    rates = {
        tune: {target.rate for target in _targets("wavelet", "1", None, tune, None)} for tune in ("visual", "psnr")
    }
    assert len(rates["visual"]) >= 3  # so that there are bits at equal quality
    assert rates["psnr"] == {0.18}
    both = _targets("wavelet", "1", None, "visual,psnr", None)
    assert {(target.tune, target.rate) for target in both} == {(tune, r) for tune, of in rates.items() for r in of}


def test_the_tune_is_named_where_it_is_not_the_usual_one():
    assert Target("wavelet", 5, 0.1).series == "wavelet, effort 5"
    assert Target("wavelet", 5, 0.1, tune="psnr").series == "wavelet, effort 5, tune psnr"
    assert Target("overfitted", 7, 0.1, tune="psnr").series == "overfitted, effort 7"


@pytest.mark.parametrize(
    ("options", "tune", "measure"), [([], "visual", "ssimulacra2"), (["--tune", "psnr"], "psnr", "psnr_db")]
)
def test_the_command_compares_by_its_tune(options, tune, measure, tmp_path: Path):
    PIL.Image.fromarray(skimage.data.chelsea()[60:124, 130:210]).save(tmp_path / "cat.png")
    command = ["bench", "--vs", "jpeg", "--effort", "1", "--rate", "0.2,0.1,0.06", "--no-cache", "--json", *options]
    result = CliRunner().invoke(main, [*command, str(tmp_path)])
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)
    assert {row["tune"] for row in data["measurements"]} == {tune}
    assert {codec["measure"] for summary in data["summaries"] for codec in summary["codecs"]} == {measure}
    assert [rate["measure"] for rate in data["bd_rates"]] == [measure]


def test_the_cache_keeps_the_tune(by_score):
    for cell in by_score.measurements:
        assert Measurement.from_json(cell.to_json()) == cell
