"""Fixtures: the viewer page in one file, and a server of the folder web/."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from common import ROOT

WEB = ROOT / "web"
MEDIA_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}


@pytest.fixture(scope="session")
def viewer(tmp_path_factory) -> Path:
    """The page as one file."""
    from dfmcodec.web.build import build

    path = tmp_path_factory.mktemp("viewer") / "viewer.html"
    path.write_text(build(), encoding="utf-8")
    return path


@pytest.fixture
def complaints_of() -> Callable[[object], list[str]]:
    """Gives the list of what a page's console says from now on."""

    def heard(page) -> list[str]:
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        return complaints

    return heard


@cache
def weights_file() -> bytes:
    from dfmcodec.web.make_weights import weights_bytes

    return weights_bytes()


class Site(ThreadingHTTPServer):
    """Serves the files of its folder, and web/ with weights.bin in it as dfm/. It lists
    requests.
    """

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def body(self, path: str) -> bytes | None:
        if path == "/dfm/weights.bin":
            return weights_file()
        file = WEB / path[5:] if path.startswith("/dfm/") else self.folder / path[1:]
        return file.read_bytes() if file.is_file() else None


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.server.asked.append(path)
        body = self.server.body(path)
        self.send_response(404 if body is None else 200)
        self.send_header("Content-Type", MEDIA_TYPES.get(Path(path).suffix, "application/octet-stream"))
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, format: str, *args: object) -> None:
        """Prints nothing."""


@pytest.fixture
def site(tmp_path) -> Iterator[Site]:
    served = Site(tmp_path)
    threading.Thread(target=served.serve_forever, args=(0.05,), daemon=True).start()
    yield served
    served.shutdown()
    served.server_close()
