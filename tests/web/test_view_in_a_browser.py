"""Tests of the page of `dfm view` in a real browser: it opens the files that it contains."""

from __future__ import annotations

import io

import numpy as np
import PIL.Image
from common import GOLDEN, PATIENCE_S

import dfmcodec
from dfmcodec.viewer import viewer_page

FILE = GOLDEN / "wavelet-filter.dfm"
NAME = "my <b>file</b> & more.dfm"


def test_the_page_opens_its_files(browser, complaints_of, tmp_path):
    expected = np.asarray(dfmcodec.decode(FILE.read_bytes()))
    png = io.BytesIO()
    PIL.Image.fromarray(255 - expected).save(png, "PNG")
    path = tmp_path / "viewer.html"
    path.write_bytes(viewer_page([(NAME, FILE.read_bytes()), ("other.png", png.getvalue())]))
    page = browser.new_page(viewport={"width": 1280, "height": 844})
    complaints = complaints_of(page)
    page.goto(path.as_uri())
    page.locator("#status", has_text="decoded in").wait_for(timeout=1000 * PATIENCE_S)
    assert page.locator("#files li button:first-child").all_inner_texts() == [NAME, "other.png"]
    assert page.evaluate("document.getElementById('gallery-offer').hidden")
    page.select_option("#other", label="other.png")
    page.locator("#right-name", has_text="other.png").wait_for()
    with page.expect_download() as download:
        page.click("#save")
    with PIL.Image.open(download.value.path()) as image:
        assert np.abs(np.asarray(image).astype(int) - expected).max() <= 1
    page.close()
    assert complaints == []


def test_the_page_refuses_what_the_command_does(browser, tmp_path):
    """The limits are those of the command's options."""
    data = FILE.read_bytes()
    height, width = np.asarray(dfmcodec.decode(data)).shape[:2]
    shown = {}
    for most in (height * width, height * width - 1):
        path = tmp_path / f"{most}.html"
        path.write_bytes(viewer_page([(NAME, data)], {"maxPixels": most, "maxMultiplyAdds": 10**12}))
        page = browser.new_page()
        page.goto(path.as_uri())
        outcome = page.locator("#problem:visible, #status:has-text('decoded in')").first
        outcome.wait_for(state="attached", timeout=1000 * PATIENCE_S)
        shown[most] = page.inner_text("#problem")
        page.close()
    assert shown[height * width] == ""
    assert f"more than the limit of {height * width - 1} pixels (--max-pixels)" in shown[height * width - 1]
