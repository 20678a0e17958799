"""Tests that tables and figures in the documentation agree with recorded rows, or with the page
where a figure is derived.
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from importlib import import_module
from pathlib import Path
from statistics import fmean

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    *(page for folder in ("docs", "docs/results") for page in sorted((ROOT / folder).glob("*.md"))),
]
STATEMENTS = {  # what pages say, with the names of `figures`
    "README.md": (
        "means of {seen_count} photographs that nothing was tuned on",
        "By SSIMULACRA2, a measure of visual quality, photographs are as good as AVIF's in {fewer[AVIF tune=iq]}, and "
        "as JPEG XL's in {fewer[JPEG XL]}",
        "768x512 takes {default_s} s to encode on two cores, or {effort_1_s} s with `--effort 1`, and {decode_s} s to "
        "decode",
        "AVIF at speed 4 encodes it in {avif_s} s",
        "installs about {installed_MB} MB of packages",
        "it is about {tests_GB} GB",
    ),
    "docs/overview.md": (
        "means of {seen_count} photographs that nothing was tuned on",
        "at equal PSNR, files are {jpeg_percent} % smaller than JPEG's, {webp_percent} % smaller than WebP's and "
        "{avif_percent} % smaller than those of an AVIF that is tuned for PSNR",
        "768x512 takes {default_s} s to encode on two cores, or {effort_1_s} s with `--effort 1`, and {decode_s} s to "
        "decode",
        "AVIF at speed 4 encodes it in {avif_s} s. An image of 24 megapixels takes {large_encode_s} s to "
        "encode with `--effort 1`, and {large_decode_s} s to decode",
        "at {visual_bpp} bits per pixel",
        "On {count} photographs that nothing was tuned on, at 18 % to 1 % of the raw bytes, the default effort with "
        "`--tune psnr` has on average {over_jpeg_db} dB more than JPEG of the same size and {over_avif_db} dB more "
        "than AVIF",
        "photographs use at least {share_percent} % of it",
        "takes {decode_s} s to decode 768x512, and {large_decode_s} s for 24 megapixels",
    ),
    "docs/compared.md": ("{lossless_percent} % larger than lossless WebP; {lossless}",),
    "docs/archive.md": (
        "In place of JPEG, effort 1 pays after {months[0]} months and the default after {months[2]}",
        "beyond effort 1 pays after {months[4]} months",
        "In place of AVIF, they pay after {months[1]} and {months[3]} months",
        "one `dfm decode` of {decode_s} s. One decoding a year uses up {jpeg_months} of twelve months' saving in place "
        "of JPEG, and {avif_months} months' saving in place of AVIF",
    ),
    "docs/install.md": (
        "{wheel_MB} MB with them, {without_kernels_MB} MB without",
        "installs what its command needs, {MB[pip install .]} MB or more, and `bin/test` {tests_GB} GB.",
        "An empty environment has {MB[empty]} MB.",
    ),
    "docs/models.md": (
        "three detailed Kodak images take {detailed_percent} % fewer bits than with the default",
        "published files, {kodak[overfitted:7, Cool-chic 5.0.1]} of the rate",
    ),
    "docs/presets.md": (
        "| nothing special | `dfm encode photo.png`, which is `-q 75` | {qualities[75]} |",
        "| a small image, as for a web page | `-q 50` | {qualities[50]} |",
        "| an archive | `-q 90` | {qualities[90]} |",
        "| nearly without loss | `-q 95` | {qualities[95]} |",
        "at most 20,000 bytes, and at least {share_percent} % of that",
        "| +2.9 % bits, after {effort_1_s} s in place of {default_s} s",
        "{kodak[overfitted:7, default]} bits on average (smooth images gain nothing), after {minutes[7]} minutes",
        "{lossless_percent} % more bytes than lossless WebP; {lossless}",
        "| 1 | {effort_1_s} | +2.9 % | {share_percent} % |",
        "| 5 (default) | {default_s} | 0 |",
        "24 megapixels take {large_encode_s} s and {large_encode_GB} GB",
        "effort 6 takes {minutes[6]} minutes, effort 7 takes {minutes[7]} and effort 9 takes {minutes[9]}",
    ),
    "docs/results.md": (
        "{kodak[dfm-5, JPEG]} against JPEG 4:2:0, {kodak[dfm-5, AVIF]} against AVIF 4:4:4, which is tuned for the eye; "
        "effort 1: {kodak[dfm-1, JPEG]} and {kodak[dfm-1, AVIF]}",
        "{kodak[dfm-5, HM 16]} against HM 16; {kodak[dfm-5, Cool-chic 5.0.1]} against Cool-chic 5.0.1",
        "{visual[PSNR, AVIF tune=psnr]} (tuned for the eye: {visual[PSNR, AVIF tune=iq]})",
        "{seen[5, AVIF tune=iq, ssimulacra2]} against AVIF tuned for the eye, which is what Pillow writes; "
        "{seen[5, JPEG XL, ssimulacra2]} against JPEG XL; effort 1: {seen[1, AVIF tune=iq, ssimulacra2]} and "
        "{seen[1, JPEG XL, ssimulacra2]} |",
        "{seen[5, AVIF tune=iq, butteraugli]} against AVIF, {seen[5, JPEG XL, butteraugli]} against JPEG XL; effort 1: "
        "{seen[1, AVIF tune=iq, butteraugli]} and {seen[1, JPEG XL, butteraugli]} |",
        "{visual[SSIMULACRA2, AVIF tune=iq]} against AVIF tuned for the eye; "
        "{visual[SSIMULACRA2, JPEG XL]} against JPEG XL, {visual[SSIMULACRA2, JPEG]} against JPEG",
        "{over_jpeg_db} dB above JPEG, {over_avif_db} above AVIF, {over_webp_db} above WebP, {over_jxl_db} above "
        "JPEG XL",
        "effort 1: {effort_1_s}; default: {default_s}; AVIF at speed 4 in the same run: {avif_s}",
        "a command takes {decode_s} s for 768x512, about half of it the start of Python, and {large_decode_s} s for "
        "24 megapixels",
        "encode {large_encode_s} s, {large_encode_GB} GB",
        "at least {share_percent} % in 150 files",
        "{kodak[overfitted:7, default]} against the default, {kodak[overfitted:7, Cool-chic 5.0.1]} against "
        "Cool-chic 5.0.1 "
        "and {kodak[overfitted:7, HM 16]} against HM 16, on average; in {minutes[7]} minutes",
        "in {minutes[6]} minutes",
        "{kodak[overfitted:9, default]}, {kodak[overfitted:9, Cool-chic 5.0.1]} and {kodak[overfitted:9, HM 16]}, in "
        "{minutes[9]} "
        "minutes",
    ),
    "docs/results/speed.md": (
        "| `dfm encode --effort 1` | {cells[dfm encode --effort 1]} |",
        "| `dfm encode` | {cells[dfm encode]} |",
        "| `dfm decode` | {cells[dfm decode]} |",
        "| AVIF, speed 4 | {cells[AVIF, speed 4]} |",
    ),
    "docs/scale.md": (
        "In place of JPEG, effort 1 pays after {rented_months[0]} months",
        "The default takes {rented_months[2]} on rented cores",
        "In place of AVIF, effort 1 pays by storage after {rented_months[1]} months, and the default after "
        "{rented_months[3]}.",
        "With them it is {shard_minutes} minutes by the seconds below",
        "| core-hours | {billion_hours:.2f} million: {billion_days:.1f} days of 10,000 cores |",
        "| cores | {billion_eur:,.0f} EUR at 0.02 EUR an hour |",
        "| outputs | {billion_TB:.0f} TB at 1 bpp |",
        "each {tar_minutes:.0f} minutes of one core; a lost worker loses {lost_minutes:.0f} minutes on average",
        "| saved in place of JPEG | {saved_TB:.0f} TB, {saved_eur:,.0f} EUR a month |",
    ),
    "docs/viewer.md": (
        "with them it takes {decode_s} s at 0.5 bits per pixel",
        "its weights are {script_MB} MB over the wire (gzip), `viewer.html` {viewer_MB} MB, and "
        "{with_gallery_MB} MB with the gallery",
    ),
}
DERIVED = (  # a page, what it says, and the same on the page where it is derived without rows
    ("docs/overview.md", "it loses to JPEG by 3 to 20 dB", "docs/results.md", "3 to 20 dB below JPEG of the same size"),
    ("docs/presets.md", "| -0.5 % |", "docs/results/quality.md", "changes the rate by -0.51 % against effort 5"),
    *(
        ("docs/presets.md", f"| +{percent} % |", "docs/results/speed.md", "need 2.9, 1.7, 0.9 and 0.4 % more bits than")
        for percent in (2.9, 1.7, 0.9, 0.4)
    ),
    ("docs/presets.md", "| +2.9 % bits", "docs/results/speed.md", "need 2.9, 1.7, 0.9 and 0.4 % more bits than"),
)
UNITS = "%|dB|s|minutes|months|kB|MB|GB|EUR|megapixels|bpp|bits per pixel|photographs"
FIGURE = re.compile(rf"\d[\d.,]*(?: to \d[\d.,]*)? (?:{UNITS})(?!\w)")


@pytest.fixture(scope="module")
def figures() -> dict[str, object]:
    """The recorded figures, as pages show them."""
    sys.path.insert(0, str(ROOT / "benchmarks"))  # whose programs import each other by name
    archive, first_page, _ = map(import_module, ("archive", "first_page", "tables"))
    sys.path.remove(str(ROOT / "benchmarks"))
    read_rows, span, seconds, percent = first_page.read_rows, first_page.span, first_page.seconds, first_page.percent
    visual, visual_rows = first_page.visual_rates(), read_rows(first_page.RESULTS / "visual_quality.jsonl")
    commands = read_rows(first_page.RESULTS / "commands.jsonl")
    large = {
        row["command"]: row for row in read_rows(first_page.RESULTS / "large.jsonl") if 24 < row["megapixels"] < 25
    }
    installed = {row["installation"]: row for row in read_rows(first_page.RESULTS / "installations.jsonl")}
    files_mb = {name: row["bytes"] / 1e6 for name, row in installed.items() if "bytes" in row}
    savings = archive.savings()
    settings: dict[str, list[dict[str, float]]] = defaultdict(list)
    for row in read_rows(first_page.RESULTS / "qualities.jsonl"):
        settings[row["setting"]].append(row)
    exact = [row for row in read_rows(first_page.RESULTS / "lossless.jsonl") if "screenshot" not in row["picture"]]
    rented = [archive.Million(row.busy_s) for row in savings]
    one_core_s = [archive.CORES * savings[row].busy_s for row in (0, 2)]  # efforts 1 and 5
    decoding = [archive.Prices().months(row.decode_s, row.saved_bytes) for row in savings]
    return {
        "seen_count": len(first_page.seen.bits_more("dfm effort 5 visual", "AVIF tune=iq", "ssimulacra2")),
        "seen": {
            f"{effort}, {anchor}, {measure}": percent(first_page.seen_rate(effort, anchor, measure), 1)
            for effort in (1, 5)
            for anchor in first_page.SEEN_ANCHORS
            for measure in first_page.seen.MEASURES
        },
        "fewer": {
            anchor: f"{abs(rate):.0f} % {'fewer' if round(rate) <= 0 else 'more'} bits"
            for anchor in first_page.SEEN_ANCHORS
            for rate in [first_page.seen_rate(5, anchor, "ssimulacra2")]
        },
        "jpeg_percent": f"{-visual['PSNR', 'JPEG']:.0f}",
        "webp_percent": f"{-visual['PSNR', 'WebP']:.0f}",
        "avif_percent": f"{-visual['PSNR', 'AVIF tune=psnr']:.0f}",
        "visual_bpp": "{least_bpp} to {largest_bpp}".format_map(visual_rows[0]),
        "visual": {", ".join(key): percent(rate, None) for key, rate in visual.items()},
        "kodak": {
            f"{codec}, {anchor}": percent(fmean(rates.values()), 1)
            for codec in ("dfm-1", "dfm-5", "overfitted:7", "overfitted:9")
            for anchor, rates in first_page.kodak_bd_rates(codec).items()
        },
        "detailed_percent": span(
            (
                -rate
                for image, rate in first_page.kodak_bd_rates("overfitted:7")["default"].items()
                if image != "kodim23"
            ),
            0,
        ),
        "default_s": span(seconds("dfm encode"), 1),
        "effort_1_s": span(seconds("dfm encode --effort 1"), 1),
        "decode_s": span(seconds("dfm decode"), 2),
        "avif_s": span(seconds("AVIF, speed 4"), 1),
        "large_encode_s": f"{large['encode --effort 1']['s']:.1f}",
        "large_decode_s": f"{large['decode']['s']:.1f}",
        "large_encode_GB": f"{large['encode --effort 1']['MB'] / 1000:.2f}",
        "minutes": {effort: span(first_page.fit_minutes(effort), int(effort == 6)) for effort in (6, 7, 9)},
        "cells": {
            command: " | ".join(
                f"{row['s']:.2f} ({row['least_s']:.2f} to {row['largest_s']:.2f})"
                for row in commands
                if row["command"] == command and "least_s" in row
            )
            for command in {row["command"] for row in commands}
        },
        **{f"over_{codec}_db": span(first_page.mean_gains(codec), 1) for codec in ("jpeg", "webp", "avif", "jxl")},
        "count": len({image for image, _ in first_page.gains("jpeg")}),
        "qualities": {
            quality: f"{span((row['bytes'] / 1000 for row in rows), 0)} kB, "
            f"SSIMULACRA2 {span((row['ssimulacra2'] for row in rows), 1)}"
            for quality in (50, 75, 90, 95)
            for rows in [settings[f"quality {quality}"]]
        },
        "lossless_percent": span((100 * (row["dfm"] / row["WebP"] - 1) for row in exact), 0),
        "lossless": f"{sum(row['dfm'] > row['PNG'] for row in exact)} of {len(exact)} photographs are larger than PNGs",
        "share_percent": f"{100 * first_page.least_share():.0f}",
        "months": [f"{archive.Prices().months(row.busy_s, row.saved_bytes):.0f}" for row in savings],
        "rented_months": [f"{of.months(row.saved_bytes):.0f}" for of, row in zip(rented, savings, strict=True)],
        "shard_minutes": " and ".join(
            f"{images * seconds_each / 60:.0f}" for images, seconds_each in zip((120, 24), one_core_s, strict=True)
        ),
        "billion_hours": rented[0].core_hours / 1e3,
        "billion_days": rented[0].core_hours * 1e3 / 10_000 / 24,
        "billion_eur": round(rented[0].eur * 1e3, -2),
        "billion_TB": archive.FILE_BYTES * 1e9 / 1e12,
        "tar_minutes": 1000 * one_core_s[0] / 60,
        "lost_minutes": 500 * one_core_s[0] / 60,
        "saved_TB": savings[0].saved_bytes * 1e9 / 1e12,
        "saved_eur": round(savings[0].saved_bytes * archive.Prices.eur_per_gb_month, -2),
        "jpeg_months": span(decoding[0:4:2], 1),
        "avif_months": span(decoding[1:4:2], 1),
        "MB": {name: f"{row['MB']:,}" for name, row in installed.items() if "MB" in row},
        "installed_MB": round(installed["pip install ."]["MB"], -1),
        "tests_GB": f"{installed['bin/test']['MB'] / 1000:.1f}",
        "wheel_MB": f"{files_mb['the wheel']:.1f}",
        "without_kernels_MB": f"{files_mb['the wheel'] - files_mb['its kernels']:.1f}",
        "script_MB": f"{files_mb['the script for web pages']:.1f}",
        "viewer_MB": f"{files_mb['viewer.html']:.1f}",
        "with_gallery_MB": f"{files_mb['viewer.html with the gallery']:.1f}",
    }


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def in_one_line(text: str) -> str:
    return " ".join(text.split())


def said(page: str, figures: dict[str, object]) -> list[str]:
    """What a page says with recorded figures."""
    return [in_one_line(statement.format_map(figures)) for statement in STATEMENTS[page]]


def missing(text: str, statements: list[str]) -> list[str]:
    """The statements that a text lacks."""
    return [statement for statement in statements if statement not in in_one_line(text)]


def figures_beside(text: str, statements: list[str]) -> list[str]:
    """The figures of a text outside of code, of tables that come of rows, and of statements."""
    prose = import_module("tables").MARK.sub("", text)
    rest = in_one_line(re.sub(r"^ {4}[^\n]*$|^```.*?^```$", "", prose, flags=re.MULTILINE | re.DOTALL))
    for statement in statements:
        rest = rest.replace(statement, "")
    return FIGURE.findall(re.sub(r"`[^`]*`", "", rest))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_tables_are_those_of_their_rows(page, figures):
    tables = import_module("tables")
    text = page.read_text(encoding="utf-8")
    assert text.count("<!-- table") == len(tables.MARK.findall(text))
    assert tables.renewed(text) == text


def test_every_table_has_a_page(figures):
    tables = import_module("tables")
    assert tables.pages() == PAGES
    marked = [name for page in PAGES for _, name, _ in tables.MARK.findall(page.read_text(encoding="utf-8"))]
    assert sorted(marked) == sorted(tables.TABLES)


@pytest.mark.parametrize("page", STATEMENTS)
def test_pages_say_what_was_recorded(page, figures):
    assert missing(text_of(page), said(page, figures)) == []


@pytest.mark.parametrize(("page", "statement", "source", "origin"), DERIVED)
def test_pages_say_what_another_page_derives(page, statement, source, origin):
    assert missing(text_of(page), [statement]) == missing(text_of(source), [origin]) == []


def test_no_file_is_below_one_of_another_codec_by_psnr(figures):
    first_page = import_module("first_page")
    assert "No file had a lower PSNR than the JPEG, WebP, AVIF or JPEG XL file of the same size" in in_one_line(
        text_of("docs/overview.md")
    )
    assert all(gain > 0 for codec in ("jpeg", "webp", "avif", "jxl") for gain in first_page.gains(codec).values())


@pytest.mark.parametrize("name", ["README.md", "docs/overview.md"])
def test_the_first_pages_have_no_other_figure(name, figures):
    derived = [statement for page, statement, *_ in DERIVED if page == name]
    assert figures_beside(text_of(name), [*said(name, figures), *derived]) == []


def test_a_figure_that_is_changed_by_hand_is_found(figures):
    statements = said("README.md", figures)
    text = in_one_line(text_of("README.md"))
    for statement in statements:
        for number in re.finditer(r"\d+(?!\d|x)", statement):
            changed = f"{statement[: number.start()]}{int(number[0]) + 1}{statement[number.end() :]}"
            assert missing(text.replace(statement, changed), statements) != []
    assert figures_beside("It saves 12.5 % more.", statements) == ["12.5 %"]
