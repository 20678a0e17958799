"""Tests of `dfm view` in a real browser: the served page opens its files, and the server ends when
it closes.
"""

from __future__ import annotations

import io
import threading

import numpy as np
import PIL.Image
from common import GOLDEN, PATIENCE_S

import dfmcodec
from dfmcodec.viewer.page import ALIVE, file_address, served_page
from dfmcodec.viewer.server import PageServer, Resource

FILE = GOLDEN / "wavelet-filter.dfm"
NAME = "my <b>file</b> & more.dfm"


def test_the_served_page_opens_its_files_and_its_end_is_seen(browser, complaints_of):
    expected = np.asarray(dfmcodec.decode(FILE.read_bytes()))
    png = io.BytesIO()
    PIL.Image.fromarray(255 - expected).save(png, "PNG")
    resources = {
        "": Resource("text/html; charset=utf-8", lambda: served_page([NAME, "other.png"])),
        file_address(0): Resource("image/x-dfm", FILE.read_bytes),
        file_address(1): Resource("image/png", png.getvalue),
    }
    server = PageServer(resources, ALIVE)
    with server.serving():
        closed = threading.Thread(target=server.pages.wait_until_closed, daemon=True)
        closed.start()
        page = browser.new_page(viewport={"width": 1280, "height": 844})
        complaints = complaints_of(page)
        page.goto(server.url)
        page.locator("#status", has_text="decoded in").wait_for(timeout=1000 * PATIENCE_S)
        assert page.locator("#files li button:first-child").all_inner_texts() == [NAME, "other.png"]
        assert page.evaluate("document.getElementById('gallery-offer').hidden")
        page.select_option("#other", label="other.png")
        page.locator("#right-name", has_text="other.png").wait_for()
        with page.expect_download() as download:
            page.click("#save")
        with PIL.Image.open(download.value.path()) as image:
            assert np.abs(np.asarray(image).astype(int) - expected).max() <= 1
        assert closed.is_alive()
        page.close()
        closed.join(timeout=PATIENCE_S)
        assert not closed.is_alive()
    assert complaints == []


def test_the_page_refuses_what_the_command_does(browser):
    """The limits are those of the command's options."""
    data = FILE.read_bytes()
    height, width = np.asarray(dfmcodec.decode(data)).shape[:2]
    limits = {"maxPixels": height * width, "maxMultiplyAdds": 10**12}
    shown = {}
    for most in (height * width, height * width - 1):
        limits["maxPixels"] = most
        page_bytes = served_page([NAME], limits)
        page_resource = Resource("text/html; charset=utf-8", lambda text=page_bytes: text)
        server = PageServer({"": page_resource, file_address(0): Resource("image/x-dfm", lambda: data)}, ALIVE)
        with server.serving():
            page = browser.new_page()
            page.goto(server.url)
            outcome = page.locator("#problem:visible, #status:has-text('decoded in')").first
            outcome.wait_for(state="attached", timeout=1000 * PATIENCE_S)
            shown[most] = page.inner_text("#problem")
            page.close()
    assert shown[height * width] == ""
    assert f"more than the limit of {height * width - 1} pixels (--max-pixels)" in shown[height * width - 1]
