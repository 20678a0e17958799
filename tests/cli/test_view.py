"""Tests of `dfm view`: access to its server, its end, and the system's viewer."""

from __future__ import annotations

import configparser
import http.client
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import PIL.Image
import pytest
from common import GOLDEN, PATIENCE_S, ROOT, dfm, wait_until

import dfmcodec
from dfmcodec.errors import DfmError
from dfmcodec.files.atomic import MAGIC, MEDIA_TYPE
from dfmcodec.viewer import server as viewer_server
from dfmcodec.viewer.page import shown_names
from dfmcodec.viewer.server import PageServer, Resource

WAVELET = GOLDEN / "wavelet-rgb.dfm"
OVERFITTED = GOLDEN / "overfitted-small.dfm"
PAGE = b"<!doctype html><title>page</title>"
posix = pytest.mark.skipif(os.name != "posix", reason="scripts and signals of POSIX")


def gone() -> bytes:
    msg = "no longer there"
    raise DfmError(msg)


@pytest.fixture
def server() -> Iterator[PageServer]:
    resources = {
        "": Resource("text/html; charset=utf-8", lambda: PAGE),
        "files/0": Resource("image/x-dfm", WAVELET.read_bytes),
        "files/1": Resource("image/x-dfm", gone),
    }
    made = PageServer(resources, "alive")
    with made.serving():
        yield made


def ask(server, path, method="GET", host=None, body=None):
    connection = http.client.HTTPConnection(*server.server_address, timeout=PATIENCE_S)
    connection.request(method, path, body, {"Host": host or server.host})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer, content


@pytest.fixture
def base(server):
    return f"/{server.token}/"


def test_the_page_and_its_files_are_given(server, base):
    answer, content = ask(server, base)
    assert (answer.status, content) == (200, PAGE)
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    answer, content = ask(server, base + "files/0")
    assert (answer.status, content) == (200, WAVELET.read_bytes())
    answer, content = ask(server, base + "files/0", "HEAD")
    assert (answer.status, content) == (200, b"")
    assert int(answer.headers["Content-Length"]) == WAVELET.stat().st_size
    assert ask(server, base + "files/1")[0].status == 410


def test_server_listens_on_localhost_only(server):
    assert server.server_address[0] == "127.0.0.1"
    assert server.url == f"http://127.0.0.1:{server.server_address[1]}/{server.token}/"


def test_other_paths_get_404(server):
    for path in (
        *("/", "//", "/favicon.ico", "/files/0", "/{token}", "/{half}/", "/{token}x/", "//{token}/files/0/../0"),
        *("/{token}/files/", "/{token}/files", "/{token}/files/2", "/{token}/files/00", "/{token}/files/-1"),
        *("/{token}/../../etc/passwd", "/{token}/%2e%2e/etc/passwd", "/{token}//etc/passwd", "/{token}/files/0/"),
        *("/%00/", "http://{host}/{token}/", "*"),
    ):
        answer, content = ask(server, path.format(token=server.token, half=server.token[:16], host=server.host))
        assert answer.status == 404, path
        assert PAGE not in content


def test_requests_for_another_host_are_refused(server, base):
    for host in ("evil.example", "localhost:{port}", "127.0.0.1", "127.0.0.1:1", "127.0.0.1:{port}x"):
        answer, content = ask(server, base, host=host.format(port=server.server_address[1]))
        assert answer.status == 421, host
        assert PAGE not in content


def test_a_request_names_one_host(server, base):
    for lines in ("", f"Host: {server.host}\r\nHost: evil.example\r\n"):
        with socket.create_connection(server.server_address, PATIENCE_S) as connection:
            connection.sendall(f"GET {base} HTTP/1.1\r\n{lines}Connection: close\r\n\r\n".encode())
            assert connection.makefile("rb").readline().split()[1] == b"421"


def test_only_get_and_head_are_served(server, base):
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PATCH", "get"):
        answer, content = ask(server, base, method, body=b"x" * 100)
        assert answer.status == 501, method
        assert PAGE not in content


def test_tokens_are_long_and_new():
    made = [PageServer({}, "alive") for _ in range(2)]
    for each in made:
        each.server_close()
    first, second = (each.token for each in made)
    assert first != second
    assert len(first) >= 32


def test_garbage_and_closed_connections_do_no_harm(server, base, capfd):
    for sent in (
        b"",
        b"\r\n" * 3,
        b"\x16\x03\x01" * 50,
        b"GET " + b"a" * 70_000 + b"\r\n\r\n",
        b"GET / HTTP/9\r\n\r\n",
    ):
        with socket.create_connection(server.server_address, PATIENCE_S) as connection:
            connection.sendall(sent)
    assert ask(server, base)[0].status == 200
    assert capfd.readouterr() == ("", "")


@contextmanager
def open_page(server):
    """A page that keeps its connection open."""
    connection = http.client.HTTPConnection(*server.server_address, timeout=PATIENCE_S)
    connection.request("GET", f"/{server.token}/alive", headers={"Host": server.host})
    answer = connection.getresponse()
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/event-stream")
    assert answer.readline() == b": open\n"
    yield
    answer.close()
    connection.close()


class Clock:
    """What a server takes for the time: it goes on when a test says so."""

    def __init__(self) -> None:
        self.now, self.looks = 0.0, 0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.looks += 1
        threading.Event().wait(0.001)  # leaves the processor to others

    def looked(self) -> None:
        """Waits until the server has looked at the pages once more, at the time that it is now."""
        begun = self.looks + 2  # the look that is on may have seen the time before
        wait_until(lambda: self.looks >= begun)


def test_idle_connections_of_others_do_not_block_it(server, base):
    user = http.client.HTTPConnection(*server.server_address, timeout=10)
    user.request("GET", base, headers={"Host": server.host})
    user.getresponse().read()
    idle = [
        socket.create_connection(server.server_address, timeout=10) for _ in range(3 * viewer_server._MAX_STRANGERS)
    ]
    for connection in idle[: 2 * viewer_server._MAX_STRANGERS]:
        assert connection.recv(1) == b""  # closed by the server, oldest first
    assert ask(server, base)[0].status == 200
    user.request("GET", base, headers={"Host": server.host})  # over the connection that has shown the token
    assert user.getresponse().read() == PAGE
    for connection in (*idle, user):
        connection.close()


def test_server_ends_when_the_last_page_is_closed(server, base, monkeypatch):
    clock = Clock()
    monkeypatch.setattr(viewer_server, "time", clock)
    waiting = threading.Thread(target=server.pages.wait_until_closed, daemon=True)
    waiting.start()

    def is_still_waiting_after(seconds):
        clock.now += seconds
        clock.looked()
        return waiting.is_alive()

    def is_open(count):
        with server.pages._lock:
            return server.pages._open == count

    def wait_until_open(count):
        wait_until(lambda: is_open(count))

    long = 2 * viewer_server._RELOAD_S
    assert ask(server, base + "alive", "HEAD")[0].status == 200  # is no page
    assert is_still_waiting_after(long)  # none was open yet
    with open_page(server):
        with open_page(server):
            wait_until_open(2)
        wait_until_open(1)
        assert is_still_waiting_after(long)  # one still is
    wait_until_open(0)
    assert is_still_waiting_after(viewer_server._RELOAD_S / 2)
    with open_page(server):  # loaded again
        wait_until_open(1)
        assert is_still_waiting_after(long)
    wait_until_open(0)
    clock.now += long
    waiting.join(PATIENCE_S)
    assert not waiting.is_alive()


HEEDING_CTRL_C = """
import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # as in a terminal, also where a parent ignores it
runpy.run_module("dfmcodec", run_name="__main__", alter_sys=True)
"""


@contextmanager
def started(*arguments, **environment) -> Iterator[subprocess.Popen]:
    """The command as a process, which is killed if it is still there."""
    run = [sys.executable, "-c", HEEDING_CTRL_C, "view", *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(run, env={**os.environ, **environment}, **pipes) as process:
        try:
            yield process
        finally:
            process.kill()


def served(url):
    """The page at an address, and the names and addresses of its files."""
    parts = urlsplit(url.strip())
    with closing(http.client.HTTPConnection(parts.hostname, parts.port, timeout=PATIENCE_S)) as connection:
        connection.request("GET", parts.path)
        page = connection.getresponse().read().decode()
        listed = re.search(r'<script[^>]*id="dfm-files"[^>]*>(.*?)</script>', page, re.S)
        files = json.loads(listed.group(1)) if listed else []
        for file in files:
            connection.request("GET", parts.path + file["url"])
            file["data"] = connection.getresponse().read()
    return page, files


@posix
def test_files_are_served_until_ctrl_c(tmp_path):
    hostile = tmp_path / "<!--<script>alert(1) & \"quoted\" 'so' .dfm"
    hostile.write_bytes(OVERFITTED.read_bytes())
    with started("--no-browser", WAVELET, hostile) as process:
        url = process.stdout.readline()
        page, files = served(url)
        assert [(file["name"], file["data"]) for file in files] == [
            (WAVELET.name, WAVELET.read_bytes()),
            (hostile.name, OVERFITTED.read_bytes()),
        ]
        assert "<script>alert(1)" not in page
        hostile.unlink()
        assert b"410" in served(url)[1][1]["data"]
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, errors
    assert output == ""
    assert len(errors.splitlines()) == 1
    with pytest.raises(ConnectionRefusedError):
        served(url)


@posix
def test_the_browser_gets_the_address_and_ends_the_command(tmp_path):
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\nprintf %s "$1" > "{tmp_path}/address"\n')
    browser.chmod(0o755)
    with started(WAVELET, "--quiet", BROWSER=str(browser)) as process:
        address = tmp_path / "address"
        wait_until(lambda: address.exists() and address.read_text().endswith("/"), process)
        parts = urlsplit(address.read_text())
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=PATIENCE_S)
        connection.request("GET", parts.path + "alive")
        answer = connection.getresponse()
        assert answer.readline() == b": open\n"
        answer.close()  # the page is closed
        connection.close()
        assert process.communicate(timeout=PATIENCE_S) == ("", "")
    assert process.returncode == 0


@posix
def test_without_a_browser_the_address_is_printed():
    with started(WAVELET, BROWSER="/nothing/here", PATH="/nothing") as process:
        url = process.stdout.readline()
        process.stderr.readline()
        assert "no browser" in process.stderr.readline()
        assert served(url)[1][0]["data"] == WAVELET.read_bytes()


@posix
def test_standard_input_a_pipe_and_the_empty_page(tmp_path):
    run = [sys.executable, "-m", "dfmcodec", "view", "-", "--no-browser"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(run, **pipes) as process:
        process.stdin.write(WAVELET.read_bytes())
        process.stdin.close()
        (file,) = served(process.stdout.readline().decode())[1]
        assert (file["name"], file["data"]) == ("standard input", WAVELET.read_bytes())
        process.kill()
    pipe = tmp_path / "pipe.dfm"
    os.mkfifo(pipe)
    with started(pipe, "--no-browser") as process:
        pipe.write_bytes(WAVELET.read_bytes())
        url = process.stdout.readline()
        for _ in range(2):
            assert served(url)[1][0]["data"] == WAVELET.read_bytes()
    with started("--no-browser") as process:
        page, files = served(process.stdout.readline())
        assert "<html" in page
        assert files == []


def test_the_page_as_a_file(tmp_path):
    target = tmp_path / "viewer.html"
    said = dfm("view", "-o", target).stdout
    page = target.read_text()
    assert said == f"{target}: {target.stat().st_size:,} bytes\n"
    assert page.lower().startswith("<!doctype html>")
    assert not re.search(r'(src|href)="(?!data:)[^#]', page), "it loads something"
    assert str(target) in dfm("view", "-o", target, code=1).stderr
    dfm("view", "-o", target, "-f")


@pytest.mark.parametrize(
    ("make", "code", "words"),
    [
        (lambda complete: complete[:20], 3, "truncated"),
        (lambda complete: b"\x89PNG\r\n\x1a\n" + complete, 3, "PNG"),
        (lambda complete: b"", 3, ""),
    ],
    ids=["truncated", "foreign", "empty"],
)
def test_bad_files_are_one_line_before_anything_is_opened(tmp_path, monkeypatch, make, code, words):
    monkeypatch.setattr("webbrowser.open", lambda url: pytest.fail("a browser was opened"))
    monkeypatch.setattr(PageServer, "serving", lambda self: pytest.fail("a server was started"))
    path = tmp_path / "bad.dfm"
    path.write_bytes(make(WAVELET.read_bytes()))
    result = dfm("view", WAVELET, path, code=code)
    (line,) = result.stderr.splitlines()
    assert line.startswith("dfm: error:")
    assert "bad.dfm" in line
    assert words in line


def test_view_refuses_contradictory_options(tmp_path):
    assert "nothing.dfm" in dfm("view", tmp_path / "nothing.dfm", code=1).stderr
    assert "pixels" in dfm("view", WAVELET, "--max-pixels", 100, code=3).stderr
    for arguments in (
        ("--png",),
        ("--no-browser", "-o", tmp_path / "a.html"),
        (WAVELET, "-o", tmp_path / "a.html"),
        (WAVELET, "--png", "--no-browser"),
        ("-", WAVELET),
    ):
        assert len(dfm("view", *arguments, code=2).stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@posix
def test_damaged_files_are_shown_by_the_page_that_tells(tmp_path):
    path = tmp_path / "bad.dfm"
    path.write_bytes(WAVELET.read_bytes()[:100])
    with started(path, "--no-browser") as process:
        assert "bad.dfm: " in process.stderr.readline()
        (file,) = served(process.stdout.readline())[1]
        assert file["data"] == path.read_bytes()


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


@pytest.fixture
def viewer(tmp_path) -> dict[str, str]:
    """An xdg-open that keeps what it is called with, and the image."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "xdg-open"
    script.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >> "{tmp_path}/calls"\ncp "$1" "{tmp_path}/"\n')
    script.chmod(0o755)
    (tmp_path / "tmp").mkdir()
    return {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "TMPDIR": str(tmp_path / "tmp")}


@pytest.mark.skipif(sys.platform != "linux", reason="xdg-open is of Linux")
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, pytest.param(signal.SIGHUP, marks=pytest.mark.slow)])
def test_the_systems_viewer_gets_the_image_which_is_deleted_after(tmp_path, viewer, end):
    hostile = tmp_path / "$(touch made) `touch made`; touch made #.dfm"
    hostile.write_bytes(OVERFITTED.read_bytes())
    with started("--png", WAVELET, hostile, **viewer) as process:
        assert "Ctrl-C" in process.stderr.readline()
        (folder,) = (tmp_path / "tmp").iterdir()
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        process.send_signal(end)
        assert process.communicate(timeout=PATIENCE_S) == ("", "")
    assert process.returncode == 0
    assert list((tmp_path / "tmp").iterdir()) == []
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls == [str(folder / "image-1.png"), str(folder / "image-2.png")]
    for number, source in enumerate((WAVELET, OVERFITTED), 1):
        with PIL.Image.open(tmp_path / f"image-{number}.png") as image:
            assert np.array_equal(np.asarray(image), dfmcodec.decode(source).pixels)
    assert not list(tmp_path.rglob("made"))


@pytest.mark.skipif(sys.platform != "linux", reason="xdg-open is of Linux")
def test_missing_or_failing_system_viewer_is_reported(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "xdg-open" in dfm("view", "--png", WAVELET, code=1).stderr
    script = tmp_path / "xdg-open"
    script.write_text("#!/bin/sh\nexit 3\n")
    script.chmod(0o755)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    assert "ended with 3" in dfm("view", "--png", WAVELET, code=1).stderr
    assert "damaged" in dfm("view", "--png", _damaged(tmp_path), code=3).stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.dfm", "xdg-open"]


def _damaged(folder: Path) -> Path:
    path = folder / "bad.dfm"
    complete = WAVELET.read_bytes()
    path.write_bytes(complete[:-9] + bytes([complete[-9] ^ 1]) + complete[-8:])
    return path


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
    program = "import sys; from dfmcodec.cli.view import command; import dfmcodec.viewer.server, dfmcodec.viewer.page"
    done = subprocess.run(
        [sys.executable, "-c", f"{program}; print(*sys.modules)"], capture_output=True, text=True, check=True
    )
    assert not {"jax", "optax", "numpy", "PIL", "skimage"} & set(done.stdout.split())
