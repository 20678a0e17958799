"""Tests of `dfm view`: the page with its files, what it refuses, and the files for desktops."""

from __future__ import annotations

import base64
import configparser
import json
import os
import re
import stat
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from urllib.parse import unquote, urlsplit

import PIL.Image
import pytest
from common import GOLDEN, ROOT, dfm

from dfmcodec.files.atomic import MAGIC, MEDIA_TYPE
from dfmcodec.viewer import shown_names

WAVELET = GOLDEN / "wavelet-rgb.dfm"
OVERFITTED = GOLDEN / "overfitted-small.dfm"


def files_in(page: Path) -> list[tuple[str, bytes]]:
    """The names and the contents of the files in a page."""
    html = page.read_text(encoding="utf-8")
    names = json.loads(re.search(r'id="dfm-given">(.*?)</script>', html)[1])["names"]
    bodies = [re.search(rf'id="dfm-file-{n}">([^<]*)</script>', html)[1] for n in range(len(names))]
    return list(zip(names, map(base64.b64decode, bodies), strict=True))


@pytest.fixture
def opened(tmp_path, monkeypatch) -> list[Path]:
    """The pages that are opened in a browser, in a temporary folder of the test."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    pages = []
    monkeypatch.setattr("webbrowser.open", lambda url: pages.append(Path(unquote(urlsplit(url).path))) or True)
    return pages


def test_the_browser_gets_a_page_with_the_files(tmp_path, opened):
    hostile = tmp_path / "<!--<script>alert(1) & \"quoted\" 'so' .dfm"
    hostile.write_bytes(OVERFITTED.read_bytes())
    said = dfm("view", WAVELET, hostile).stdout
    (page,) = opened
    assert said == f"{page}\n"
    assert files_in(page) == [(WAVELET.name, WAVELET.read_bytes()), (hostile.name, OVERFITTED.read_bytes())]
    assert "<script>alert(1)" not in page.read_text()
    if os.name == "posix":
        assert stat.S_IMODE(page.parent.stat().st_mode) == 0o700


def test_without_files_the_page_has_the_gallery(opened):
    assert dfm("view", "--quiet").stdout == ""
    (page,) = opened
    assert files_in(page) == []
    assert 'id="dfm-gallery"' in page.read_text()


def test_without_a_browser_the_page_is_named(opened, monkeypatch):
    monkeypatch.setattr("webbrowser.open", lambda url: False)
    assert "no browser" in dfm("view", WAVELET).stderr


def test_standard_input_is_shown(opened):
    dfm("view", "-", data=WAVELET.read_bytes())
    assert files_in(opened[0]) == [("standard input", WAVELET.read_bytes())]


def test_the_page_as_a_file(tmp_path, opened):
    target = tmp_path / "viewer.html"
    said = dfm("view", WAVELET, "-o", target).stdout
    page = target.read_text()
    assert said == f"{target}: {target.stat().st_size:,} bytes\n"
    assert page.lower().startswith("<!doctype html>")
    assert not re.search(r'(src|href)="(?!data:)[^#]', page), "it loads something"
    assert files_in(target) == [(WAVELET.name, WAVELET.read_bytes())]
    assert str(target) in dfm("view", "-o", target, code=1).stderr
    dfm("view", "-o", target, "-f")
    assert opened == []


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda complete: complete[:20], "truncated"),
        (lambda complete: b"\x89PNG\r\n\x1a\n" + complete, "PNG"),
        (lambda complete: b"", ""),
    ],
    ids=["truncated", "foreign", "empty"],
)
def test_bad_files_are_one_line_before_anything_is_opened(tmp_path, opened, make, words):
    path = tmp_path / "bad.dfm"
    path.write_bytes(make(WAVELET.read_bytes()))
    (line,) = dfm("view", WAVELET, path, code=3).stderr.splitlines()
    assert line.startswith("dfm: error:")
    assert "bad.dfm" in line
    assert words in line
    assert opened == []
    assert list(tmp_path.iterdir()) == [path]


def test_view_refuses_what_it_cannot_show(tmp_path, opened, monkeypatch):
    assert "nothing.dfm" in dfm("view", tmp_path / "nothing.dfm", code=1).stderr
    assert "pixels" in dfm("view", WAVELET, "--max-pixels", 100, code=3).stderr
    assert "standard input" in dfm("view", "-", "-", code=2).stderr
    monkeypatch.setattr("dfmcodec.cli.view._MOST_BYTES", 100)
    assert "fewer" in dfm("view", WAVELET, code=2).stderr
    assert list(tmp_path.iterdir()) == []


def test_damaged_files_are_shown_by_the_page_that_tells(tmp_path, opened):
    path = tmp_path / "bad.dfm"
    path.write_bytes(WAVELET.read_bytes()[:100])
    assert "bad.dfm: " in dfm("view", path).stderr
    assert files_in(opened[0]) == [(path.name, path.read_bytes())]


def test_desktop_files_call_commands_that_exist(tmp_path):
    """They are copied by hand, docs/viewer.md."""
    entries = configparser.ConfigParser(interpolation=None)
    entries.read([ROOT / "packaging/desktop/dfmcodec.desktop", ROOT / "packaging/desktop/dfmcodec.thumbnailer"])
    viewer, thumbnailer = (entries[name] for name in ("Desktop Entry", "Thumbnailer Entry"))
    assert viewer["Exec"].split() == ["dfm", "view", "%F"]
    assert viewer["MimeType"] == thumbnailer["MimeType"] == f"{MEDIA_TYPE};"
    thumbnail = tmp_path / "thumbnail.png"
    thumbnail.touch()
    given = {"%i": WAVELET, "%o": thumbnail, "%s": 32}
    dfm(*(given.get(word, word) for word in thumbnailer["Exec"].split()[1:]))
    with PIL.Image.open(thumbnail) as image:
        assert image.width == 32
    (mime,) = ElementTree.parse(ROOT / "packaging/desktop/dfmcodec.xml").getroot()
    assert mime.get("type") == MEDIA_TYPE
    (match,) = mime.iter("{http://www.freedesktop.org/standards/shared-mime-info}match")
    assert match.get("value").encode().decode("unicode_escape").encode("latin-1") == MAGIC + b"\x01"


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        ("out/a.dfm out2/b.dfm", "a.dfm b.dfm"),
        ("out/k.dfm out2/k.dfm other/a.dfm", "out/k.dfm out2/k.dfm a.dfm"),
        ("k.dfm out/k.dfm ../k.dfm", "k.dfm out/k.dfm ../k.dfm"),
        ("/x/out/k.dfm y/out/k.dfm", "x/out/k.dfm y/out/k.dfm"),
        ("b/k.dfm a/b/k.dfm", "b/k.dfm a/b/k.dfm"),
        ("out/k.dfm out/k.dfm", "k.dfm k.dfm"),
    ],
)
def test_equal_names_are_shown_with_their_folders(paths, names):
    assert shown_names([Path(path) for path in paths.split()]) == [str(Path(name)) for name in names.split()]


def test_view_starts_without_jax_and_numpy():
    program = "import sys; from dfmcodec.cli.view import command; import dfmcodec.viewer"
    done = subprocess.run(
        [sys.executable, "-c", f"{program}; print(*sys.modules)"], capture_output=True, text=True, check=True
    )
    assert not {"jax", "optax", "numpy", "PIL", "skimage"} & set(done.stdout.split())
