"""Tests that hostile names of files and codecs are only displayed."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from click.testing import CliRunner

from dfmcodec.bench.curves import Curve
from dfmcodec.bench.report_html import as_html
from dfmcodec.bench.runner import Failure, find_images, image_names
from dfmcodec.cli import main
from dfmcodec.files.names import printable

HOSTILE = (
    "{{DATA}}",
    "{{ data }}{% raw %}{# #}",
    "<script>window.injected=1</script>",
    "</script><script>window.injected=1</script>",
    "</td></table><img src=x onerror=window.injected=1>",
    '" onmouseover="window.injected=1" x=\'',
    "<!--<script>",
    "]]>&lt;&#60;script&#62;",
    r"$\frac{1}{0$ and $x^2$ \u003c",
    "_hidden_",
    "日本 \u202etxt.exe",
)
VOID = {"meta", "link", "input", "img", "br"}


class Page(HTMLParser):
    """The elements of a page, with the texts of its scripts, headings of rows and options."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self._open.append(tag)
            self.texts.setdefault(tag, []).append("")

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, text):
        for tag in set(self._open):
            self.texts[tag][-1] += text

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def check_only_ours(page: Page) -> None:
    """The two scripts of the template, no other, and no attribute that runs or loads anything."""
    assert page.of("script") == [{"type": "application/json", "id": "data"}, {}]
    assert "injected" not in page.texts["script"][1]
    for tag, attributes in page.elements:
        assert tag not in {"iframe", "object", "embed", "base", "form", "svg"}
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href"):
            assert (attributes.get(name) or "data:").startswith("data:")
            assert not (attributes.get(name) or "").startswith("data:text")
    policy = next(meta["content"] for meta in page.of("meta") if "http-equiv" in meta)
    digest = base64.b64encode(hashlib.sha256(page.texts["script"][1].encode()).digest()).decode()
    assert policy == f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"


def plain(text: str) -> str:
    """Text as the page shows it: spaces in a row are one."""
    return " ".join(text.split())


def test_every_name_is_shown_and_none_is_markup(compared):
    names = tuple(map(printable, HOSTILE))
    given = tuple(Curve(name, name, {names[0]: ((0.5, 30.0), (1.0, 35.0))}, ((0.5, 30.0),)) for name in names)
    comparison = compared(names, names[3], given, tuple(Failure.of(name, name) for name in HOSTILE))
    page = Page(as_html(comparison, title=HOSTILE[3]))
    check_only_ours(page)
    data = json.loads(page.texts["script"][0])
    assert [image["label"] for image in data["images"]] == list(names)
    assert {view["label"] for view in data["images"][0]["targets"][0]["views"]} == {"dfm", names[3]}
    assert page.texts["title"] == page.texts["h1"] == [HOSTILE[3]]
    headings = list(map(plain, page.texts["th"]))
    for name in names:
        assert headings.count(plain(name)) >= len(comparison.targets)
        assert plain(f"{name}: {name}") in map(plain, page.texts["li"])
    assert plain(f"dfm against {names[3]}") in map(plain, page.texts["h3"])
    alternatives = [image["alt"] or "" for image in page.of("img")]
    assert all(f"{name}, wavelet, effort 5, tune psnr" in alternatives for name in names)


@pytest.mark.slow
def test_the_data_has_no_character_that_ends_a_script(compared):
    text = as_html(compared(tuple(map(printable, HOSTILE))))
    data = text.partition('id="data">')[2].partition("</script>")[0]
    assert json.loads(data)
    assert not set(data) & set("<>&'")


@pytest.mark.slow
def test_plots_show_names_as_they_are(compared):
    names = tuple(map(printable, HOSTILE))
    given = tuple(Curve(name, "f", {names[0]: ((0.5, 30.0), (1.0, 35.0))}) for name in names)
    page = Page(as_html(compared(names, names[8], given)))
    shown = ""
    for image in page.of("img"):
        svg = base64.b64decode((image["src"] or "").partition("base64,")[2]).decode()
        parsed = HTMLParser()
        found: list[str] = []
        parsed.handle_data = found.append
        parsed.feed(svg)
        parsed.close()
        assert "<script" not in svg
        shown += "\n".join(found)
    for name in names:
        assert name in shown


def test_long_names_leave_room_for_the_plot(compared):
    """Without a warning of Matplotlib."""
    names = "first" + 240 * "x", "second" + 240 * "W"
    for rates in ((0.04,), (0.02, 0.04, 0.08)):
        assert Page(as_html(compared(names, 300 * "M", rates=rates))).of("img")


def test_plots_of_one_rate_show_names_as_they_are(compared):
    page = Page(as_html(compared(tuple(map(printable, HOSTILE)), rates=(0.04,))))
    (image,) = page.of("img")
    svg = base64.b64decode((image["src"] or "").partition("base64,")[2]).decode()
    assert r"$\frac{1}{0$ and $x^2$" in svg
    assert "_hidden_" in svg


def test_many_curves_have_a_legend_below_the_plot(compared):
    """Without a warning of Matplotlib that there is no room."""
    given = tuple(Curve(f"codec {at}", "f", {"cat": ((0.5, 30.0), (1.0, 35.0 + at))}) for at in range(40))
    page = Page(as_html(compared(curves=given)))
    assert len(page.of("img")) >= 3


@pytest.mark.slow
def test_the_command_writes_a_page_for_files_with_such_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = Path("photos <script>window.injected=2<")
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (16, 16, 3), dtype=np.uint8)
    names = ("{{DATA}}", "<script>window.injected=1<", "\"'> onerror=x", "$x^2$", "bell\a and \x1b[2J")
    for name in names:
        PIL.Image.fromarray(pixels).save(folder / f"{name}.png")
    (folder / "broken\x1b[2J<script>.png").write_bytes(b"no image")
    arguments = [str(folder), "--effort", "1", "--no-cache", "--html", "report.html"]
    result = CliRunner().invoke(main, ["bench", *arguments])
    assert result.exit_code == 5, result.output
    assert re.search(r"broken\\x1b\[2J<script>", result.output)
    assert "\x1b" not in result.output
    assert "\a" not in result.output
    text = Path("report.html").read_text()
    assert "\x1b" not in text
    page = Page(text)
    check_only_ours(page)
    expected = {"{{DATA}}", "<script>window.injected=1<", "\"'> onerror=x", "$x^2$", r"bell\x07 and \x1b[2J"}
    assert {image["label"] for image in json.loads(page.texts["script"][0])["images"]} == expected
    assert expected <= set(page.texts["th"])
    assert page.texts["title"] == [f"dfm bench: {folder}"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("kodim01", "kodim01"),
        ("Grüße, 日本 🏳️‍🌈 a\\b", "Grüße, 日本 🏳️‍🌈 a\\b"),
        ("a\nb\tc\x1b[31m\x7f\x9b", r"a\nb\tc\x1b[31m\x7f\x9b"),
        ("a\u202eb\u2028c\ufeff\U000e0041", r"a\u202eb\u2028c\ufeff\U000e0041"),
        ("\udcff", r"\xff"),
    ],
)
def test_characters_that_act_are_escaped(text, shown):
    assert printable(text) == shown


def test_names_that_differ_only_in_such_characters_stay_apart(tmp_path):
    for name in ("a\x1b", "a\\x1b"):
        PIL.Image.new("RGB", (2, 2)).save(tmp_path / f"{name}.png")
    images, failures = find_images((tmp_path,))
    assert len({image.name for image in images}) == 2
    assert all(image.name.isprintable() for image in images)
    assert {image.path: image.name for image in images} == image_names((tmp_path,))
    assert failures == []


@pytest.mark.parametrize(
    ("absent", "message"),
    [
        ({"jinja2"}, "--html needs jinja2: pip install 'dfmcodec[bench]'"),
        ({"matplotlib"}, "--html needs matplotlib: pip install 'dfmcodec[bench]'"),
        ({"jinja2", "matplotlib"}, "--html needs jinja2 and matplotlib: pip install 'dfmcodec[bench]'"),
    ],
)
def test_a_missing_library_is_said_before_any_work(tmp_path, monkeypatch, absent, message):
    present = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in absent else present(name))
    PIL.Image.new("RGB", (16, 16)).save(tmp_path / "cat.png")
    cache = tmp_path / "cache"
    arguments = [str(tmp_path / "cat.png"), "--cache", str(cache), "--html", str(tmp_path / "report.html")]
    result = CliRunner().invoke(main, ["bench", *arguments])
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not cache.exists()
