"""Tests of pages with hostile names in a real browser: no foreign script runs and nothing is
loaded.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from dfmcodec.bench.curves import Curve
from dfmcodec.bench.report_html import as_html
from dfmcodec.bench.runner import Failure
from dfmcodec.bench.same_size import Version, page
from dfmcodec.files.names import printable

CHROMIUM = shutil.which("chromium")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
    "--virtual-time-budget=3000",
    "--dump-dom",
)
MARK = "data-injected"

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


@dataclass
class Site:
    """A server of one page on this host, which notes what it is asked for."""

    page: str = ""
    asked: list[str] = field(default_factory=list)
    address: str = ""


@pytest.fixture
def site() -> Iterator[Site]:
    served = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(served.page.encode())

        def log_message(self, *_: object) -> None:
            """Prints nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        served.address = f"http://127.0.0.1:{server.server_port}"
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield served
        server.shutdown()
        thread.join()


def hostile(address: str, more: str = "alert(1)") -> list[str]:
    """Names that mark the page, open a dialog or ask for something where they are taken for more
    than text. A dialog holds the browser up, beyond the time that it is given.
    """
    act = f"document.documentElement.setAttribute('{MARK}',1);{more}"
    return [
        "{{DATA}}",
        f"<script>{act}</script>",
        f"</script><script>{act}</script>",
        f"\u2028</title></pre><script src={address}/script></script>",
        f'"><img src={address}/image onerror="{act}">',
        f"' onmouseover='{act}' autofocus onfocus='{act}' x='",
        f"<svg onload={act}><style>*{{background:url({address}/style)}}</style>",
        f"<meta http-equiv=refresh content=0;url={address}/moved><!--<script>",
        f"<iframe src={address}/frame></iframe>",
    ]


def shown_in_browser(site: Site, text: str, folder: Path) -> tuple[str, list[str], list[str]]:
    """The page after its scripts ran, what was asked for, and what the browser complained about."""
    site.page, site.asked = text, []
    assert CHROMIUM is not None
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={folder}", f"{site.address}/page"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=150, check=True)
    return done.stdout, site.asked, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def test_what_a_page_does_that_takes_names_for_markup(site, tmp_path):
    """So that the tests below can fail."""
    text = f"<!doctype html><title>x</title>{hostile(site.address, '0')[4]}"
    shown, asked, _ = shown_in_browser(site, text, tmp_path)
    assert MARK in shown.partition("<html")[2].partition(">")[0]
    assert "/image" in asked


def check_inert(site: Site, text: str, folder: Path) -> str:
    shown, asked, complaints = shown_in_browser(site, text, folder)
    assert asked == ["/page"]
    assert complaints == []
    assert MARK not in shown.partition("<html")[2].partition(">")[0]
    return shown


def test_a_report_with_hostile_names_is_inert(site, tmp_path, compared):
    raw = hostile(site.address)
    names = tuple(map(printable, raw))
    given = tuple(Curve(name, name, {names[0]: ((0.5, 30.0), (1.0, 35.0))}, ((0.5, 30.0),)) for name in names)
    failures = tuple(Failure.of(name, name) for name in raw)
    label = "".join(raw)  # of --codecs-from: whatever its Python file says
    comparison = compared(names, label, given, failures)
    shown = check_inert(site, as_html(comparison, title=raw[2]), tmp_path)
    assert shown.count("<option") >= len(names)  # our own script ran


def test_the_page_of_the_demo_with_hostile_names_is_inert(site, tmp_path):
    pixels = np.zeros((2, 2, 3), np.uint8)
    name = "".join(hostile(site.address)) + "\udcff"
    versions = [Version(name, pixels), Version(name, pixels, 10, 30.0)]
    check_inert(site, page(name, name, versions, [f"dfm encode {name}", name]), tmp_path)
