"""Tests of the report in a real browser without a network: no errors, width of a phone, and correct
pixels.
"""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import skimage.data
from click.testing import CliRunner
from common import wait_until

from dfmcodec.cli import main


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    PIL.Image.fromarray(skimage.data.chelsea()[60:160, 130:240]).save(folder / "cat.png")
    PIL.Image.fromarray(skimage.data.camera()[200:264, 200:280]).save(folder / "gray.png")
    PIL.Image.fromarray(skimage.data.coffee()[200:264, 300:364]).save(folder / "coffee <b>&.png")
    options = "--effort 1 --vs jpeg,webp --rate 0.3,0.1,0.05 --html-images 2 --no-cache --html".split()
    result = CliRunner().invoke(main, ["bench", str(folder), *options, str(folder / "report.html"), "--quiet"])
    assert result.exit_code == 0, result.output
    return folder / "report.html"


@pytest.fixture(params=[1280, 390], ids=["desktop", "phone"])
def page(request, browser, report) -> Iterator[object]:
    context = browser.new_context(viewport={"width": request.param, "height": 844}, offline=True)
    opened = context.new_page()
    complaints: list[str] = []
    opened.on("console", lambda message: complaints.append(message.text) if message.type != "log" else None)
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("requestfailed", lambda asked: complaints.append(asked.url))
    opened.goto(report.as_uri())
    yield opened
    context.close()
    assert complaints == []


def assert_shown(page, expected: np.ndarray) -> None:
    """The canvas comes to have these pixels [H, W, 3]."""
    wait_until(lambda: np.array_equal(shown(page), expected))


def shown(page) -> np.ndarray:
    data = page.evaluate("document.getElementById('view').toDataURL('image/png')")
    with PIL.Image.open(io.BytesIO(base64.b64decode(data.split(",")[1]))) as image:
        return np.asarray(image.convert("RGB"))


def crops(report: Path) -> dict:
    return json.loads(re.search(r'id="data">(.*?)</script>', report.read_text(), re.S).group(1))


def pixels_of(crop: str) -> np.ndarray:
    with PIL.Image.open(io.BytesIO(base64.b64decode(crop))) as image:
        return np.asarray(image.convert("RGB"))


def test_the_page_is_no_wider_than_its_window_and_all_plots_are_drawn(page):
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    plots = page.evaluate("[...document.images].map((image) => image.naturalWidth)")
    assert len(plots) >= 2
    assert min(plots) > 100
    text = page.inner_text("body")
    for expected in ("coffee <b>&", "BD-rate", "JPEG", "libjpeg_turbo", "2 of the 3 images"):
        assert expected in text


def test_tables_fit_a_desktop(page):
    fit = "[...document.querySelectorAll('.scroll')].every((one) => one.scrollWidth <= one.clientWidth)"
    assert page.viewport_size["width"] < 1000 or page.evaluate(fit)  # a phone scrolls them


def test_the_viewer_flips_between_the_very_pixels(page, report):
    first = crops(report)["images"][0]
    original, views = pixels_of(first["original"]), first["targets"][0]["views"]
    assert [view["label"] for view in views] == ["dfm", "JPEG", "WebP"]
    assert_shown(page, pixels_of(views[0]["crop"]))
    page.keyboard.press(" ")
    assert_shown(page, original)
    page.keyboard.press("3")
    assert_shown(page, pixels_of(views[1]["crop"]))
    assert "bytes" in page.inner_text("#caption")
    page.click("#view")
    assert_shown(page, original)
    page.get_by_role("button", name="WebP").click()
    assert_shown(page, pixels_of(views[2]["crop"]))
    page.check("#errors")
    difference = 8.0 * (pixels_of(views[2]["crop"]).astype(int) - original)
    assert_shown(page, np.clip(128 + difference, 0, 255))


def test_other_images_and_rates(page, report):
    images = crops(report)["images"]
    page.select_option("#image", "1")
    page.select_option("#target", "2")
    assert_shown(page, pixels_of(images[1]["targets"][2]["views"][0]["crop"]))


def test_the_report_is_one_file_that_asks_for_nothing(report):
    text = report.read_text()
    assert not re.search(r'(src|href)="(?!data:)', text)
    assert not re.search(r"url\(|@import|fetch\(|XMLHttpRequest", text)
    assert "{{" not in text
