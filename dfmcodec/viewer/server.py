"""Server for one page and its files, on 127.0.0.1 and for the current user only.

It answers GET and HEAD for a fixed table of URLs, and never maps a URL to a path. All URLs start
with a secret token, which other users and pages cannot guess. The Host header must be this host and
port, so that pages under another host name get nothing (DNS rebinding). Any local user can open
connections without the token; the oldest of these are closed for new ones.
"""

from __future__ import annotations

import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import Any

from dfmcodec.errors import DfmError

_ADDRESS = "127.0.0.1"
_TOKEN_BYTES = 24
_REQUEST_S = 60.0  # until a connection without a request is closed
_RELOAD_S = 3.0  # longer than the page is closed while it is reloaded
_POLL_S = 0.1
_MAX_STRANGERS = 32  # connections that have not sent the token yet
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True)
class Resource:
    """Content of a URL. `read` raises DfmError if the bytes no longer exist."""

    media_type: str
    read: Callable[[], bytes]


class OpenPages:
    """Counter of open pages. Each page keeps one connection open."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open = 0
        self._closed_at: float | None = None  # time when the last page was closed; None before

    @contextmanager
    def another(self) -> Iterator[None]:
        """Counts one more page while the context is active."""
        with self._lock:
            self._open += 1
        try:
            yield
        finally:
            with self._lock:
                self._open -= 1
                self._closed_at = time.monotonic()

    def wait_until_closed(self) -> None:
        """Waits until a page was opened and all pages are closed."""
        while not self._are_closed():
            time.sleep(_POLL_S)

    def _are_closed(self) -> bool:
        with self._lock:
            closed_at = self._closed_at
            return not self._open and closed_at is not None and time.monotonic() - closed_at > _RELOAD_S


class PageServer(ThreadingTCPServer):
    """HTTP server with a thread for each connection; see `serving`.

    `resources` are URLs relative to the page, "". A page keeps a connection to `alive` open.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, resources: Mapping[str, Resource], alive: str) -> None:
        super().__init__((_ADDRESS, 0), _Handler)
        self.resources = dict(resources)
        self.alive = alive
        self.pages = OpenPages()
        self._lock = threading.Lock()
        self._strangers: dict[socket.socket, None] = {}  # in the order of connection
        self.token = secrets.token_urlsafe(_TOKEN_BYTES)
        self.host = f"{_ADDRESS}:{self.server_address[1]}"

    @property
    def url(self) -> str:
        return f"http://{self.host}/{self.token}/"

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Serves in a thread while the context is active. Can be used once."""
        threading.Thread(target=self.serve_forever, args=(_POLL_S,), daemon=True).start()
        try:
            yield
        finally:
            self.shutdown()
            self.server_close()

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accepts a connection. Without a free file descriptor, closes the oldest stranger."""
        try:
            return super().get_request()
        except OSError:
            self._close_oldest_stranger()
            time.sleep(_POLL_S)
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._strangers[request] = None
            is_full = len(self._strangers) > _MAX_STRANGERS
        if is_full:
            self._close_oldest_stranger()
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.admit(request)
        super().shutdown_request(request)

    def admit(self, connection: socket.socket) -> None:
        """Marks a connection as the user's after it has sent the token."""
        with self._lock:
            self._strangers.pop(connection, None)

    def _close_oldest_stranger(self) -> None:
        """Shuts down the oldest connection without a token. Its thread then closes it."""
        with self._lock:
            oldest = next(iter(self._strangers), None)
            if oldest is None:
                return
            del self._strangers[oldest]
        with suppress(OSError):
            oldest.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignores errors, because browsers close connections at any time."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "dfm"
    sys_version = ""
    timeout = _REQUEST_S

    server: PageServer

    def log_message(self, format: str, *args: object) -> None:
        """Suppresses log messages."""

    def do_GET(self) -> None:
        if self.headers.get_all("Host") != [self.server.host]:
            self.send_error(HTTPStatus.MISDIRECTED_REQUEST)
            return
        name = self._name()
        if name == self.server.alive:
            self._stay()
            return
        resource = None if name is None else self.server.resources.get(name)
        if resource is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        try:
            body = resource.read()
        except DfmError:
            self.send_error(HTTPStatus.GONE)
            return
        self._start(resource.media_type, {"Content-Length": str(len(body))})
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET

    def _name(self) -> str | None:
        """Returns the requested URL relative to the page; None without the correct token."""
        parts = self.path.partition("?")[0].split("/", 2)  # "", token, name
        if len(parts) < 3 or not secrets.compare_digest(parts[1].encode(), self.server.token.encode()):
            return None
        self.server.admit(self.connection)
        return parts[2]

    def _stay(self) -> None:
        """Keeps the connection open until the page closes it. No more data follows."""
        self.close_connection = True
        self._start("text/event-stream", {"Connection": "close"})
        if self.command == "HEAD":
            return
        self.wfile.write(b": open\n\n")
        self.connection.settimeout(None)
        with self.server.pages.another(), suppress(OSError):
            self.rfile.read(1)

    def _start(self, media_type: str, headers: Mapping[str, str]) -> None:
        self.send_response(HTTPStatus.OK)
        for name, value in {"Content-Type": media_type, **headers, **_HEADERS}.items():
            self.send_header(name, value)
        self.end_headers()
