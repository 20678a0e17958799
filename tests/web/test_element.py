"""Tests of the script tag on pages in a real browser."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import PIL.Image
import pytest
from common import GOLDEN, PATIENCE_S, wait_for_frames

import dfmcodec

TAG = '<script type="module" src="/dfm/element.js"></script>'
RGB = "wavelet-filter"
SMALL = "wavelet-gray"


class Events:
    """What the page's elements sent, and what its console said."""

    def __init__(self, page, complaints: list[str]) -> None:
        self.page = page
        self.complaints = complaints
        page.add_init_script(
            """window.events = [];
            for (const type of ["dfmload", "dfmerror"]) {
                document.addEventListener(type, ({ target, detail }) => {
                    window.events.push({ type, id: target.id, ...detail });
                });
            }"""
        )

    def wait_for(self, count: int) -> list[dict]:
        self.page.wait_for_function(f"window.events.length >= {count}", timeout=1000 * PATIENCE_S)
        return self.page.evaluate("window.events")


@pytest.fixture
def page(browser) -> Iterator[object]:
    context = browser.new_context(viewport={"width": 1000, "height": 800})
    yield context.new_page()
    context.close()


@pytest.fixture
def events(page, complaints_of) -> Events:
    return Events(page, complaints_of(page))


def write_page(site, body: str, *names: str) -> str:
    """A page with the tag, beside golden files; its address."""
    for name in names:
        (site.folder / f"{name}.dfm").write_bytes((GOLDEN / f"{name}.dfm").read_bytes())
    text = f'<!doctype html><link rel="icon" href="data:,"><title>page</title>{TAG}{body}'
    (site.folder / "page.html").write_text(text)
    return f"{site.url}/page.html"


def expected_pixels(name: str) -> np.ndarray:
    """The image [H, W, 4] in 8 bits, as a browser has it."""
    pixels = np.asarray(dfmcodec.decode((GOLDEN / f"{name}.dfm").read_bytes()))
    if pixels.dtype == np.uint16:
        pixels = np.rint(pixels / 257).astype(np.uint8)
    mode = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[pixels.shape[2] if pixels.ndim == 3 else 1]
    return np.asarray(PIL.Image.fromarray(pixels.squeeze(), mode=None if mode == "LA" else mode).convert("RGBA"))


def shown_pixels(page, selector: str) -> np.ndarray:
    """The image [H, W, 4] of the blob that an element shows."""
    data = page.evaluate(
        """async (selector) => {
            const element = document.querySelector(selector);
            const style = element.style.backgroundImage;
            const url = element.currentSrc || /url\\("([^"]*)"\\)/.exec(style)[1];
            return Array.from(new Uint8Array(await (await fetch(url)).arrayBuffer()));
        }""",
        selector,
    )
    with PIL.Image.open(io.BytesIO(bytes(data))) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGBA"))


def assert_shown(page, selector: str, name: str) -> None:
    shown, expected = shown_pixels(page, selector).astype(int), expected_pixels(name).astype(int)
    assert shown.shape == expected.shape
    assert np.array_equal(shown[..., 3], expected[..., 3])
    seen = expected[..., 3] > 0
    assert np.abs(shown - expected)[seen].max() <= 1


def test_images_below_the_view_load_when_scrolled_to(page, events, site):
    body = f'<img id="top" src="{RGB}.dfm"><div style="height: 5000px"></div><img id="below" src="{SMALL}.dfm">'
    url = write_page(site, body, RGB, SMALL)
    page.goto(url)
    assert [event["id"] for event in events.wait_for(1)] == ["top"]
    wait_for_frames(page)
    assert page.get_attribute("#below", "data-dfm") == "loading"
    page.locator("#below").scroll_into_view_if_needed()
    assert [event["id"] for event in events.wait_for(2)] == ["top", "below"]
    assert_shown(page, "#below", SMALL)


@pytest.mark.slow
def test_addresses_with_queries_and_images_that_come_later(page, events, site):
    page.goto(write_page(site, "<main></main>", RGB, SMALL))
    page.evaluate(f"""document.querySelector('main').innerHTML = '<p><img id="a" src="{RGB}.dfm?v=1#top"></p>'""")
    assert events.wait_for(1)[0]["urls"] == [f"{site.url}/{RGB}.dfm?v=1#top"]
    assert_shown(page, "#a", RGB)
    page.evaluate(f"document.getElementById('a').src = '{SMALL}.dfm'")
    events.wait_for(2)
    assert_shown(page, "#a", SMALL)
    page.evaluate("document.getElementById('a').src = 'data:image/gif;base64,R0lGODlhAQABAAAAACw='")
    page.wait_for_function("!document.getElementById('a').hasAttribute('data-dfm')")


def test_an_element_that_leaves_gets_its_address_back(page, events, site):
    page.goto(write_page(site, f'<img id="a" src="{SMALL}.dfm">', SMALL))
    events.wait_for(1)
    page.evaluate("window.kept = document.getElementById('a'); window.kept.remove()")
    wait_for_frames(page)
    assert page.evaluate("window.kept.getAttribute('src')") == f"{SMALL}.dfm"
    page.evaluate("document.body.append(window.kept)")
    events.wait_for(2)
    assert_shown(page, "#a", SMALL)


def test_a_background_that_leaves_with_its_parent_gets_its_address_back(page, events, site):
    style = f"width: 200px; height: 200px; background-image: url({SMALL}.dfm)"
    page.goto(write_page(site, f'<section id="s"><div id="a" style="{style}"></div></section>', SMALL))
    events.wait_for(1)
    assert_shown(page, "#a", SMALL)
    page.evaluate("window.kept = document.getElementById('a'); document.getElementById('s').remove()")
    wait_for_frames(page)
    assert page.evaluate("window.kept.style.backgroundImage") == f'url("{SMALL}.dfm")'
    assert page.evaluate("window.kept.dataset.dfm") is None


def test_background_images_are_shown(page, events, site):
    style = f"width: 200px; height: 200px; background-image: url({RGB}.dfm), linear-gradient(red, blue)"
    page.goto(write_page(site, f'<div id="a" style="{style}"></div>', RGB))
    events.wait_for(1)
    assert_shown(page, "#a", RGB)
    assert "linear-gradient" in page.evaluate("document.getElementById('a').style.backgroundImage")
    page.evaluate("document.getElementById('a').style.width = '100px'")
    wait_for_frames(page)
    assert len(page.evaluate("window.events")) == 1


@pytest.mark.slow
def test_the_source_of_a_picture(page, events, site):
    PIL.Image.new("RGB", (3, 3)).save(site.folder / "small.png")
    body = f'<picture><source srcset="{RGB}.dfm" type="image/x-dfm"><img id="a" src="small.png"></picture>'
    page.goto(write_page(site, body, RGB))
    events.wait_for(1)
    assert_shown(page, "#a", RGB)
    (site.folder / "cut.dfm").write_bytes((site.folder / f"{RGB}.dfm").read_bytes()[:50])
    page.evaluate("document.querySelector('source').srcset = 'cut.dfm'")
    assert events.wait_for(2)[1]["type"] == "dfmerror"
    page.wait_for_function(f"document.getElementById('a').currentSrc === '{site.url}/small.png'")


def test_an_error_shows_the_alternative_text_and_is_reported(page, events, site):
    body = '<img id="cut" src="cut.dfm" alt="a cat"><img id="none" src="none.dfm"><img id="bad" src="http://[/a.dfm">'
    body += '<img id="png" src="not.dfm">'  # the browser takes it for a GIF that is very large
    url = write_page(site, body, RGB)
    (site.folder / "cut.dfm").write_bytes((GOLDEN / f"{RGB}.dfm").read_bytes()[:500])
    (site.folder / "not.dfm").write_bytes(b"GIF89a, or something else")
    page.goto(url)
    sent = {event["id"]: event for event in events.wait_for(4)}
    assert {name: event["kind"] for name, event in sent.items()} == {
        "cut": "truncated",
        "none": "failure",
        "png": "not-dfm",
        "bad": "failure",
    }
    assert "the file is truncated: 500 of" in sent["cut"]["message"]
    assert "404" in sent["none"]["message"]
    assert sent["bad"]["urls"] == ["http://[/a.dfm"]
    assert page.get_attribute("#bad", "data-dfm") == "error"
    assert page.get_attribute("#cut", "data-dfm") == "error"
    assert page.get_attribute("#cut", "data-dfm-error") == "truncated"
    assert page.get_attribute("#cut", "src") == "cut.dfm"
    assert page.evaluate("document.getElementById('cut').naturalWidth") == 0  # so its text is shown
    assert page.locator("#cut").bounding_box()["width"] > 10


@pytest.mark.slow
def test_a_decoder_in_the_page_of_another_script(page, site):
    """The package's own interface: what README.md shows."""
    url = write_page(site, "", RGB)
    page.goto(url)
    found = page.evaluate(
        """async (name) => {
            const { DfmClient, DfmError, encodePng } = await import("/dfm/index.js");
            const client = new DfmClient({ workerUrl: "/dfm/worker.js", weightsUrl: "/dfm/weights.bin" });
            const bytes = new Uint8Array(await (await fetch(name)).arrayBuffer());
            const [parts, coarse] = [[], []];
            const image = await client.decode(bytes, {
                onProgress: (part) => parts.push(part),
                onPreview: ({ width }) => coarse.push(width),
            });
            const region = { x: 8, y: 4, width: 16, height: 10 };
            const part = await client.decode(bytes, { region });
            const { width, height } = await client.inspect(bytes);
            const refused = await client.decode(bytes, { maxPixels: 10 }).catch((error) => error);
            const controller = new AbortController();
            const job = client.decode(bytes, { signal: controller.signal });
            controller.abort();
            const stopped = await job.catch((error) => error.name);
            const again = await client.decode(bytes);
            client.close();
            return {
                size: [width, height], parts, coarse, stopped, kind: refused instanceof DfmError && refused.kind,
                png: Array.from(await encodePng(image)), part: Array.from(part.pixels),
                again: again.pixels.every((sample, i) => sample === image.pixels[i]),
            };
        }""",
        f"/{RGB}.dfm",
    )
    expected = expected_pixels(RGB)[..., :3].astype(int)
    with PIL.Image.open(io.BytesIO(bytes(found["png"]))) as image:
        assert np.abs(np.asarray(image).astype(int) - expected).max() <= 1
    part = np.reshape(found["part"], (10, 16, 3))
    assert np.abs(part - expected[4:14, 8:24]).max() <= 1
    assert found["size"] == [expected.shape[1], expected.shape[0]]
    assert found["kind"] == "limit"
    assert found["stopped"] == "AbortError"
    assert found["again"]
    assert found["parts"] == sorted(found["parts"])
    assert found["parts"][-1] == 1
    assert found["coarse"] == sorted(found["coarse"])
    assert 0 < found["coarse"][0] < expected.shape[1]
