"""Tests of the viewer page, as one file without a network, in a real browser: it shows and saves
the images that the package decodes.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageCms
import pytest
import skimage.data
from click.testing import CliRunner
from common import GOLDEN, PATIENCE_S, ROOT, wait_for_frames, wait_until, with_crc

import dfmcodec
from dfmcodec.cli import main

ALPHA = "wavelet-alpha"
DEEP = "wavelet-deep"
OVERFITTED = "overfitted-small"
GRAY = "wavelet-gray"
RGB = "wavelet-filter"


@pytest.fixture(params=[1280, 390], ids=["desktop", "phone"])
def page(request, browser, viewer, complaints_of) -> Iterator[object]:
    yield from opened(browser, viewer, complaints_of, viewport={"width": request.param, "height": 844})


@pytest.fixture
def desktop(browser, viewer, complaints_of) -> Iterator[object]:
    yield from opened(browser, viewer, complaints_of, viewport={"width": 1280, "height": 844})


def opened(browser, viewer: Path, complaints_of, **options) -> Iterator[object]:
    """The page; nothing may be said on its console, and nothing asked of a network."""
    context = browser.new_context(offline=True, accept_downloads=True, **options)
    page = context.new_page()
    complaints = complaints_of(page)
    page.on("requestfailed", lambda asked: complaints.append(asked.url))
    page.goto(viewer.as_uri())
    yield page
    context.close()
    assert complaints == []


def drop(page, *paths: Path) -> None:
    """Drops files on the page."""
    files = [{"name": path.name, "data": base64.b64encode(path.read_bytes()).decode()} for path in paths]
    page.evaluate(
        """(files) => {
            const transfer = new DataTransfer();
            for (const { name, data } of files) {
                transfer.items.add(new File([Uint8Array.from(atob(data), (c) => c.charCodeAt(0))], name));
            }
            const target = document.getElementById("stage");
            for (const type of ["dragover", "drop"]) {
                target.dispatchEvent(new DragEvent(type, { dataTransfer: transfer, bubbles: true, cancelable: true }));
            }
        }""",
        files,
    )


def drop_to_compare(page) -> tuple[str, str]:
    """Drops two golden files and compares the one that is shown with the other; their names."""
    first, second = golden(GRAY)[0], golden(RGB)[0]
    drop(page, first, second)
    wait_until_decoded(page)
    page.select_option("#other", label=second.name)
    return first.name, second.name


def wait_until_decoded(page) -> None:
    page.locator("#status", has_text="decoded in").wait_for(state="attached", timeout=1000 * PATIENCE_S)


def golden(name: str) -> tuple[Path, np.ndarray]:
    """A golden file, and the pixels [H, W, C] that it decodes to."""
    path = GOLDEN / f"{name}.dfm"
    pixels = dfmcodec.decode(path.read_bytes())
    return path, np.asarray(pixels)


def canvas(page) -> np.ndarray:
    """The pixels [H, W, 4] of the canvas, once what was asked of it is drawn."""
    wait_for_frames(page)
    data = page.evaluate("document.getElementById('canvas').toDataURL('image/png')")
    with PIL.Image.open(io.BytesIO(base64.b64decode(data.split(",")[1]))) as image:
        return np.asarray(image.convert("RGBA"))


def centred(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """The part in the middle, where the page shows a small image."""
    top, left = round((pixels.shape[0] - height) / 2), round((pixels.shape[1] - width) / 2)
    return pixels[top : top + height, left : left + width]


def difference(first: np.ndarray, second: np.ndarray) -> int:
    return int(np.abs(first.astype(int) - second.astype(int)).max())


def saved(page) -> PIL.Image.Image:
    with page.expect_download() as download:
        page.click("#save")
    return PIL.Image.open(download.value.path())


def test_the_empty_page_fits_and_says_what_to_do(page):
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert "Drop .dfm files here" in page.inner_text("#welcome")
    assert page.is_disabled("#save")
    assert page.is_hidden("#problem")


def assert_gallery(page) -> None:
    """The gallery is on the stage, pixel by pixel."""
    with PIL.Image.open(ROOT / "web" / "page" / "gallery.webp") as image:
        expected = np.asarray(image.convert("RGB"))
    page.locator("#files li", has_text="gallery.webp").wait_for()
    page.locator("#header", has_text=f"{expected.shape[1]} \u00d7 {expected.shape[0]}").wait_for()
    page.focus("#stage")
    page.keyboard.press("1")
    height, width = 300, 300
    assert difference(centred(canvas(page), height, width)[..., :3], centred(expected, height, width)) <= 1


def test_the_gallery_is_in_the_page(page):
    page.get_by_role("button", name="See what small files look like").click()
    assert_gallery(page)


def test_a_dropped_file_is_compared_and_saved(page, tmp_path):
    path, expected = golden(RGB)
    height, width = expected.shape[:2]
    inverted = tmp_path / "inverted.png"
    PIL.Image.fromarray(255 - expected).save(inverted)
    drop(page, path, inverted)
    wait_until_decoded(page)
    assert page.inner_text("#zoom") == "100 %"
    assert difference(centred(canvas(page), height, width)[..., :3], expected) <= 1

    page.select_option("#other", label="inverted.png")
    page.focus("#slider")
    for _ in range(20):
        page.keyboard.press("PageDown")
    complete = canvas(page)
    shown = centred(complete, height, width)[..., :3]
    assert difference(shown, 255 - expected) <= 1
    for _ in range(5):
        page.keyboard.press("PageUp")
    divider = float(page.input_value("#slider")) / 1000
    middle = round(complete.shape[1] * divider) - round((complete.shape[1] - width) / 2)
    assert 4 < middle < width - 4
    shown = centred(canvas(page), height, width)[..., :3]
    assert difference(shown[:, : middle - 2], expected[:, : middle - 2]) <= 1
    assert difference(shown[:, middle + 2 :], 255 - expected[:, middle + 2 :]) <= 1

    with saved(page) as image:
        assert image.mode == "RGB"
        assert difference(np.asarray(image), expected) <= 1
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_the_slider_is_dragged_with_the_mouse(desktop, tmp_path):
    path, expected = golden(RGB)
    other = tmp_path / "other.png"
    PIL.Image.fromarray(255 - expected).save(other)
    drop(desktop, path, other)
    wait_until_decoded(desktop)
    desktop.select_option("#other", label="other.png")
    box = desktop.locator("#slider").bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    desktop.mouse.move(*middle)
    desktop.mouse.down()
    desktop.mouse.move(middle[0] - 200, middle[1], steps=4)
    desktop.mouse.up()
    assert float(desktop.input_value("#slider")) == pytest.approx(500 - 1000 * 200 / (box["width"] - 44), abs=2)


@pytest.mark.slow
def test_files_of_other_models_are_saved(desktop):
    for name in (OVERFITTED, GRAY, "coordinate", "gray-as-rgb"):
        path, expected = golden(name)
        drop(desktop, path)
        wait_until_decoded(desktop)
        with saved(desktop) as image:
            assert image.size == expected.shape[1::-1], name
            assert difference(np.asarray(image), expected.reshape(np.asarray(image).shape)) <= 1, name
        desktop.get_by_role("button", name=f"Close {path.name}").click()
        assert "decoded in" not in desktop.inner_text("#status")


def test_alpha_is_shown_over_squares_and_saved(desktop):
    path, expected = golden(ALPHA)
    drop(desktop, path)
    wait_until_decoded(desktop)
    assert (canvas(desktop)[..., 3] > 0).any()
    assert "with alpha" in desktop.inner_text("#header")
    with saved(desktop) as image:
        assert image.mode == "RGBA"
        pixels = np.asarray(image)
    expected = expected.astype(int)
    assert np.array_equal(pixels[..., 3], expected[..., 3])
    seen = expected[..., 3] > 0
    assert difference(pixels[seen], expected[seen]) <= 1


def test_sixteen_bits_are_shown_as_eight_and_saved_as_sixteen(desktop, tmp_path):
    path, expected = golden(DEEP)
    drop(desktop, path)
    wait_until_decoded(desktop)
    shown = centred(canvas(desktop), *expected.shape[:2])[..., :3]
    assert difference(shown, np.rint(expected / 257)) <= 1
    with desktop.expect_download() as download:
        desktop.click("#save")
    from dfmcodec.image.read_image import read_image

    target = tmp_path / download.value.suggested_filename
    download.value.save_as(target)
    assert target.name == f"{DEEP}.png"
    pixels = np.asarray(read_image(target).pixels)
    assert pixels.dtype == np.uint16
    assert difference(pixels, expected) <= 1


@pytest.mark.slow
def test_the_profile_is_handed_on(desktop, tmp_path):
    icc = PIL.ImageCms.ImageCmsProfile(PIL.ImageCms.createProfile("sRGB")).tobytes()
    source, coded = tmp_path / "cat.png", tmp_path / "cat.dfm"
    PIL.Image.fromarray(skimage.data.chelsea()[60:140, 130:226]).save(source, icc_profile=icc)
    assert CliRunner().invoke(main, ["encode", str(source), "-o", str(coded), "--effort", "1"]).exit_code == 0
    drop(desktop, coded)
    wait_until_decoded(desktop)
    expected = np.asarray(dfmcodec.decode(coded.read_bytes()))
    shown = centred(canvas(desktop), *expected.shape[:2])[..., :3]
    assert difference(shown, expected) <= 3  # the browser's colour management rounds
    with saved(desktop) as image:
        assert image.info["icc_profile"] == icc
        assert difference(np.asarray(image), expected) <= 1


def test_the_panel_says_what_info_says(desktop):
    path, _ = golden("checked-all")
    drop(desktop, path)
    wait_until_decoded(desktop)
    info = CliRunner().invoke(main, ["info", "--json", str(path)]).output
    sections = re.findall(r'"(\w+)": (\d+)', re.search(r'"section_bytes": {(.*?)}', info)[1])
    rows = desktop.locator("#sections tbody tr").all_inner_texts()
    assert [tuple(row.split("\t")[:2]) for row in rows] == [(name, f"{int(size):,}") for name, size in sections]
    header = desktop.inner_text("#header")
    size = path.stat().st_size
    sizes = f"{size:,} bytes", f"{8 * size / (96 * 80):.3f} bpp"
    for expected in ("96 \u00d7 80", "RGB with alpha, 8 bits", "wavelet", "version 1", *sizes):
        assert expected in header


def damaged_files() -> dict[str, bytes]:
    complete = (GOLDEN / f"{RGB}.dfm").read_bytes()
    flipped = bytearray(complete)
    flipped[len(complete) // 2] ^= 0x10
    large = bytearray(complete[:-4])
    large[8:12] = b"\xff\xff\xff\xff"
    return {
        "cut": complete[:100],
        "header": complete[:12],
        "damaged": bytes(flipped),
        "large": with_crc(bytes(large)),
        "newer": with_crc(complete[:4] + b"\x02" + complete[5:-4]),
        "foreign": b"hello, this is no image",
        "empty": b"",
    }


def test_bad_files_show_what_dfm_says(desktop, tmp_path):
    for kind, data in damaged_files().items():
        bad = tmp_path / f"{kind}.dfm"
        bad.write_bytes(data)
        drop(desktop, bad)
        desktop.locator("#problem", has_text=f"{bad.name}: ").wait_for(timeout=1000 * PATIENCE_S)
        said = CliRunner().invoke(main, ["decode", str(bad), "-o", str(tmp_path / "out.png")])
        assert said.exit_code == 3
        message = said.output.strip().removeprefix("dfm: error: ").removeprefix(f"{bad}: ")
        assert desktop.inner_text("#problem") == f"{bad.name}: {message}"
        assert desktop.is_disabled("#save")
    path, _ = golden(GRAY)
    drop(desktop, path)
    wait_until_decoded(desktop)
    assert desktop.is_hidden("#problem")


def test_zoom_and_movement_by_keys_wheel_and_pointer(desktop):
    path, _ = golden(RGB)
    drop(desktop, path)
    wait_until_decoded(desktop)
    desktop.focus("#stage")
    for _ in range(20):
        desktop.keyboard.press("+")
    assert int(desktop.inner_text("#zoom").split()[0]) == 6400
    before = canvas(desktop)
    desktop.keyboard.press("ArrowRight")
    moved = canvas(desktop)
    assert np.array_equal(moved[:, :-60], before[:, 60:])
    box = desktop.locator("#canvas").bounding_box()
    desktop.mouse.move(box["x"] + 300, box["y"] + 300)
    desktop.mouse.down()
    desktop.mouse.move(box["x"] + 360, box["y"] + 300, steps=3)
    desktop.mouse.up()
    assert np.array_equal(canvas(desktop), before)
    desktop.keyboard.press("0")
    assert desktop.inner_text("#zoom") == "100 %"
    desktop.mouse.wheel(0, -400)
    desktop.locator("#zoom", has_text=f"{round(100 * np.exp(0.6))} %").wait_for()
    desktop.keyboard.press("1")
    assert desktop.inner_text("#zoom") == "100 %"
    desktop.keyboard.press("-")
    assert desktop.inner_text("#zoom") == "80 %"


def test_every_control_is_reached_by_the_keyboard(desktop):
    first, second = drop_to_compare(desktop)
    reached = set()
    for _ in range(30):
        desktop.keyboard.press("Tab")
        name = "document.activeElement.id || document.activeElement.textContent"
        reached.add(desktop.evaluate(name))
        outline = "getComputedStyle(document.activeElement).outlineStyle"
        isSeen = desktop.evaluate(f"document.activeElement === document.body || {outline} !== 'none'")
        assert isSeen or desktop.evaluate("document.activeElement.id") == "slider"
    controls = {"open", "zoom-out", "zoom-in", "fit", "actual", "other", "save", "stage", "slider"}
    assert controls | {first, second, "Keys"} <= reached


def test_viewer_decodes_only_the_visible_part_of_large_images(desktop):
    path, expected = golden("wavelet-tiles")
    height = expected.shape[0]
    desktop.evaluate("document.getElementById('stage').dataset.completeMegapixels = '0.001'")
    drop(desktop, path)
    desktop.locator("#notice", has_text="only what you see is decoded").wait_for()
    desktop.locator("#status", has_text="decoded in").wait_for(timeout=1000 * PATIENCE_S)
    assert desktop.is_disabled("#save")
    desktop.click("#actual")

    def is_shown() -> bool:
        shown = centred(canvas(desktop), min(height, 700), 20)[..., :3]
        top = (height - shown.shape[0]) // 2
        return difference(shown, expected[top : top + shown.shape[0]]) <= 1

    wait_until(is_shown)  # a coarse image comes first
    desktop.focus("#stage")
    for _ in range(20):
        desktop.keyboard.press("ArrowUp")
    assert_comes(desktop, expected[:200])
    desktop.click("#complete")
    desktop.locator("#save:enabled").wait_for(timeout=1000 * PATIENCE_S)
    with saved(desktop) as image:
        assert difference(np.asarray(image), expected) <= 1


def assert_comes(page, expected: np.ndarray) -> None:
    """The image's first rows appear in the middle of the width."""

    def has_come() -> bool:
        seen = canvas(page)
        left = round((seen.shape[1] - expected.shape[1]) / 2)
        top = int(np.flatnonzero(seen[:, left, 3])[0])
        shown = seen[top : top + len(expected), left : left + expected.shape[1], :3]
        return len(shown) == len(expected) and difference(shown, expected) <= 1

    wait_until(has_come)


@pytest.mark.slow
def test_another_file_stops_the_one_before(desktop):
    first, _ = golden(OVERFITTED)
    second, expected = golden(RGB)
    drop(desktop, first)
    drop(desktop, second)
    wait_until_decoded(desktop)
    with saved(desktop) as image:
        assert difference(np.asarray(image), expected) <= 1
    desktop.get_by_role("button", name=first.name, exact=True).click()
    desktop.get_by_role("button", name=f"Close {second.name}").click()
    wait_until_decoded(desktop)
    assert desktop.locator("#files li").count() == 1
    desktop.get_by_role("button", name=f"Close {first.name}").click()
    assert desktop.is_visible("#welcome")


@pytest.mark.slow
def test_closing_what_is_shown_leaves_nothing_to_compare(desktop):
    """The file that it was compared with is shown alone, and the focus stays in the list."""
    first, second = drop_to_compare(desktop)
    desktop.locator("#right-name", has_text=second).wait_for()
    desktop.get_by_role("button", name=f"Close {first}").press("Enter")
    desktop.locator("#slider").wait_for(state="hidden")
    assert "compared" not in desktop.get_attribute("#canvas", "aria-label")
    assert desktop.evaluate("document.activeElement.textContent") == second
    desktop.keyboard.press("Tab")
    desktop.keyboard.press("Enter")
    assert desktop.evaluate("document.activeElement.id") == "open"


@pytest.mark.slow
def test_keys_are_those_of_the_image(desktop):
    """They work once a file is open, and elsewhere they do what keys do there."""
    path, _ = golden(RGB)
    drop(desktop, path)
    wait_until_decoded(desktop)
    desktop.keyboard.press("+")
    assert desktop.inner_text("#zoom") == "125 %"
    desktop.set_viewport_size({"width": 390, "height": 400})
    desktop.focus("summary")
    desktop.keyboard.press("+")
    assert desktop.inner_text("#zoom") == "125 %"
    before = desktop.evaluate("scrollY")
    desktop.keyboard.press("ArrowUp")
    wait_until(lambda: desktop.evaluate("scrollY") < before)


def test_the_page_of_modules_opens_given_files(browser, site, complaints_of):
    path, expected = golden(RGB)
    (site.folder / "photo.dfm").write_bytes(path.read_bytes())
    page = browser.new_page()
    complaints = complaints_of(page)
    page.goto(f"{site.url}/dfm/page/index.html#file=/photo.dfm")
    wait_until_decoded(page)
    with saved(page) as image:
        assert difference(np.asarray(image), expected) <= 1
    page.close()
    assert complaints == []
