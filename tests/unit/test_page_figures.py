"""The numbers of pages are those of recorded rows, or of the page that derives them. Sentences are
free: the test looks for numbers alone.
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
NUMBERS = {  # what pages contain, with the names of `figures`
    "README.md": (
        "{large_more} % more",
        "{default_more} more",
        "{share_percent} %",
        "{installed_MB} MB",
        "{tests_GB} GB",
    ),
    "docs/archive.md": (
        "{months[1]} and {months[3]} months",
        "{decode_s} s",
        "{jpeg_months}",
        "{avif_months} months",
    ),
    "docs/install.md": (
        "{wheel_MB} MB",
        "{without_kernels_MB} MB",
        "{MB[pip install .]} MB",
        "{tests_GB} GB",
        "{MB[empty]} MB",
    ),
    "docs/models.md": ("{detailed_percent} %", "{kodak[overfitted:7, Cool-chic 5.0.1]}"),
    "docs/presets.md": (
        *(f"{{qualities[{quality}]}}" for quality in (50, 75, 90, 95)),
        "{share_percent} %",
        "{effort_1_s} s",
        "{default_s} s",
        "{kodak[overfitted:7, default]}",
        "| 1 | {effort_1_s} |",
        "| 5 (default) | {default_s} |",
        "{large_encode_s} s",
        "{large_encode_GB} GB",
        "takes {minutes[7]} minutes",
        "effort 9 takes {minutes[9]}",
    ),
    "docs/results.md": (
        *(f"{{kodak[dfm-{effort}, {anchor}]}}" for effort in (1, 5) for anchor in ("JPEG", "AVIF")),
        *(f"{{kodak[dfm-5, {anchor}]}}" for anchor in ("HM 16", "Cool-chic 5.0.1")),
        "{visual[PSNR, AVIF tune=psnr]}",
        "{visual[PSNR, AVIF tune=iq]}",
        *(
            f"{{seen[{effort}, {anchor}, {measure}]}}"
            for effort in (1, 5)
            for anchor in ("AVIF tune=iq", "JPEG XL")
            for measure in ("ssimulacra2", "butteraugli", "jod")
        ),
        *(f"{{visual[SSIMULACRA2, {anchor}]}}" for anchor in ("AVIF tune=iq", "JPEG XL", "JPEG")),
        "{effort_1_s}; default: {default_s}",
        "{avif_s}",
        "{decode_s} s",
        "{large_decode_s} s",
        "{large_encode_s} s",
        "{large_encode_GB} GB",
        "{share_percent} %",
        *(
            f"{{kodak[overfitted:{effort}, {anchor}]}}"
            for effort in (7, 9)
            for anchor in ("default", "Cool-chic 5.0.1", "HM 16")
        ),
        *(f"{{minutes[{effort}]}} minutes" for effort in (7, 9)),
    ),
    "docs/scale.md": (
        "{billion_hours:.2f} million",
        "{billion_days:.1f} days",
        "{billion_eur:,.0f} EUR",
        "{billion_TB:.0f} TB",
        "{saved_TB:.0f} TB",
    ),
    "docs/viewer.md": ("{decode_s} s", "{script_MB} MB", "{viewer_MB} MB", "{with_gallery_MB} MB"),
}
RATES_OF_EFFORTS = "2.9 and 0.9 %"
DERIVED = (  # numbers of a page, and the same on the page that derives them without rows
    ("docs/models.md", "3 to 20 dB", "research/published/README.md", "3 to 20 dB"),
    ("docs/results.md", "3 to 20 dB", "research/published/README.md", "3 to 20 dB"),
    ("docs/presets.md", "+2.9 %", "docs/results/speed.md", RATES_OF_EFFORTS),
)
UNITS = "%|dB|s|minutes|months|kB|MB|GB|EUR|megapixels|bpp|bits per pixel|photographs"
FIGURE = re.compile(rf"\d[\d.,]*(?: to \d[\d.,]*)? (?:{UNITS})(?!\w)")


@pytest.fixture(scope="module")
def figures() -> dict[str, object]:
    """Returns the recorded figures, as pages show them."""
    sys.path.insert(0, str(ROOT / "benchmarks"))  # whose programs import each other by name
    archive, first_page, _ = map(import_module, ("archive", "first_page", "tables"))
    sys.path.remove(str(ROOT / "benchmarks"))
    read_rows, span, seconds, percent = first_page.read_rows, first_page.span, first_page.seconds, first_page.percent
    visual = first_page.visual_rates()
    large = {
        row["command"]: row for row in read_rows(first_page.RESULTS / "large.jsonl") if 24 < row["megapixels"] < 25
    }
    seen, at_full_size = first_page.seen, read_rows(first_page.RESULTS / "seen_large.jsonl")
    more_at_70 = seen.bits_more_at(70.0, "dfm effort 5 visual", seen.AVIF, at_full_size)
    colosseum = {
        row["command"]: row for row in read_rows(first_page.RESULTS / "large.jsonl") if row["picture"] == "photo_8"
    }
    default = colosseum["encode --effort 5"]
    equal_bpp = seen.bpp_at(default["ssimulacra2"], at_full_size, "roman-colosseum", seen.AVIF)
    installed = {row["installation"]: row for row in read_rows(first_page.RESULTS / "installations.jsonl")}
    files_mb = {name: row["bytes"] / 1e6 for name, row in installed.items() if "bytes" in row}
    savings = archive.savings()
    settings: dict[str, list[dict[str, float]]] = defaultdict(list)
    for row in read_rows(first_page.RESULTS / "qualities.jsonl"):
        settings[row["setting"]].append(row)
    rented = [archive.Million(row.busy_s) for row in savings]
    decoding = [archive.Prices().months(row.decode_s, row.saved_bytes) for row in savings]
    return {
        "seen": {
            f"{effort}, {anchor}, {measure}": percent(first_page.seen_rate(effort, anchor, measure), 1)
            for effort in (1, 5)
            for anchor in first_page.seen.SETTINGS
            for measure in first_page.seen.MEASURES
        },
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
        "large_megapixels": first_page.LARGE_MEGAPIXELS,
        "large_encode_s": f"{large['encode --effort 1']['s']:.1f}",
        "large_decode_s": f"{large['decode']['s']:.1f}",
        "large_encode_GB": f"{large['encode --effort 1']['MB'] / 1000:.2f}",
        "large_more": " and ".join(f"{percent:.0f}" for percent in sorted(more_at_70.values()) if percent > 0),
        "default_more": f"{100 * (8 * default['bytes'] / (3840 * 2160) / equal_bpp - 1):.0f} %",
        "minutes": {effort: span(first_page.fit_minutes(effort), 0) for effort in (7, 9)},
        "qualities": {
            quality: f"{span((row['bytes'] / 1000 for row in rows), 0)} kB, "
            f"SSIMULACRA2 {span((row['ssimulacra2'] for row in rows), 1)}"
            for quality in (50, 75, 90, 95)
            for rows in [settings[f"quality {quality}"]]
        },
        "share_percent": f"{100 * first_page.least_share():.0f}",
        "months": [f"{archive.Prices().months(row.busy_s, row.saved_bytes):.0f}" for row in savings],
        "rented_months": [f"{of.months(row.saved_bytes):.0f}" for of, row in zip(rented, savings, strict=True)],
        "billion_hours": rented[0].core_hours / 1e3,
        "billion_days": rented[0].core_hours * 1e3 / 10_000 / 24,
        "billion_eur": round(rented[0].eur * 1e3, -2),
        "billion_TB": archive.FILE_BYTES * 1e9 / 1e12,
        "saved_TB": savings[0].saved_bytes * 1e9 / 1e12,
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


def numbers_of(page: str, figures: dict[str, object]) -> list[str]:
    """Returns the recorded numbers that a page has to contain."""
    return [number.format_map(figures) for number in NUMBERS[page]]


def pattern_of(number: str) -> re.Pattern[str]:
    """Returns a pattern for a number that is not a part of a larger one."""
    return re.compile(rf"(?<![\d.,]){re.escape(number)}(?!\d)")


def missing(text: str, numbers: list[str]) -> list[str]:
    """Returns the numbers that a text lacks."""
    return [number for number in numbers if not pattern_of(number).search(in_one_line(text))]


def figures_beside(text: str, numbers: list[str]) -> list[str]:
    """Returns the figures of a text outside of code, of tables from rows, and of these numbers."""
    prose = import_module("tables").MARK.sub("", text)
    rest = in_one_line(re.sub(r"^ {4}[^\n]*$|^```.*?^```$", "", prose, flags=re.MULTILINE | re.DOTALL))
    for number in numbers:
        rest = pattern_of(number).sub("", rest)
    return FIGURE.findall(re.sub(r"`[^`]*`", "", rest))


def test_tables_are_those_of_their_rows(figures):
    tables = import_module("tables")
    texts = {page.relative_to(ROOT).as_posix(): page.read_text(encoding="utf-8") for page in PAGES}
    assert [page for page, text in texts.items() if text.count("<!-- table") != len(tables.MARK.findall(text))] == []
    assert [page for page, text in texts.items() if tables.renewed(text) != text] == [], "run benchmarks/tables.py"


def test_every_table_has_a_page(figures):
    tables = import_module("tables")
    assert tables.pages() == PAGES
    marked = [name for page in PAGES for _, name, _ in tables.MARK.findall(page.read_text(encoding="utf-8"))]
    assert sorted(marked) == sorted(tables.TABLES)


def test_pages_contain_the_recorded_numbers(figures):
    lacking = {page: missing(text_of(page), numbers_of(page, figures)) for page in NUMBERS}
    assert {page: numbers for page, numbers in lacking.items() if numbers} == {}


def test_pages_contain_the_numbers_of_their_sources():
    for page, number, source, origin in DERIVED:
        assert (missing(text_of(page), [number]), missing(text_of(source), [origin])) == ([], []), (page, number)


def test_the_readme_has_no_other_figure(figures):
    derived = [number for page, number, *_ in DERIVED if page == "README.md"]
    numbers = [*numbers_of("README.md", figures), *derived, f"{figures['large_megapixels']} megapixels"]
    assert figures_beside(text_of("README.md"), numbers) == []


def test_a_figure_that_is_changed_by_hand_is_found(figures):
    numbers = numbers_of("README.md", figures)
    text = in_one_line(text_of("README.md"))
    for number in numbers:
        for digits in re.finditer(r"\d+(?!\d)", number):
            changed = f"{number[: digits.start()]}{int(digits[0]) + 1}{number[digits.end() :]}"
            assert missing(pattern_of(number).sub(changed, text), numbers) != []
    assert figures_beside("It saves 12.5 % more.", numbers) == ["12.5 %"]
