"""The decoder in a browser: seconds to the first and to the complete picture, and memory. See
docs/viewer.md.

    python benchmarks/browser.py PHOTO.dfm... --helpers 0,1 --out ROWS

Each decoding is in a new page of headless Chromium, whose scripts and weights are loaded, but for
those of helpers; the first of the --repeat is left out of the times that are given, the least ones.
Memory is what all processes of the browser hold in the end beyond what they held before (VmRSS).
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import click
from recording import Row, numbers, out_option, record

WEB = Path(__file__).resolve().parents[1] / "web"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PAGE = b"<!doctype html><title>benchmark</title>"
# As the viewer does it: helpers take tiles of large images.
DECODE = """async ([path, helpers]) => {
    const { DfmClient } = await import("/index.js");
    const client = new DfmClient({ workerUrl: "/worker.js", weightsUrl: "/weights.bin", helpers });
    client.start();
    const bytes = new Uint8Array(await (await fetch(path)).arrayBuffer());
    await client.inspect(bytes);
    const started = performance.now();
    let first = null;
    const image = await client.decode(bytes, { onPreview: () => (first ??= performance.now() - started) });
    const whole = performance.now() - started;
    globalThis.client = client; // with its workers, whose memory counts
    return { first: (first ?? whole) / 1000, whole: whole / 1000, width: image.width, height: image.height };
}"""


@click.command(help=__doc__)
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False))
@click.option("--helpers", default="0,1", show_default=True, help="Numbers of workers that help.")
@click.option("--repeat", default=3, show_default=True, type=click.IntRange(min=2))
@out_option
def main(files: tuple[str, ...], helpers: str, repeat: int, out: Path | None) -> None:
    record(rows_of(files, numbers(helpers), repeat), out)


def rows_of(files: tuple[str, ...], helpers: list[int], repeat: int) -> Iterator[Row]:
    """Yields a row for each file and number of helpers."""
    from playwright.sync_api import sync_playwright

    browser_path = next(filter(None, map(shutil.which, BROWSERS)), None)
    with Site(files) as site, sync_playwright() as running:
        for number, file in enumerate(files):
            for count in helpers:
                runs = []
                for _ in range(repeat):
                    browser = running.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
                    page = browser.new_page()
                    page.goto(f"{site.url}/page")
                    before = megabytes()
                    run: dict[str, Any] = page.evaluate(DECODE, [f"/files/{number}", count])
                    runs.append({**run, "MB": megabytes() - before})
                    version = browser.version
                    browser.close()
                timed = runs[1:]
                yield {
                    "picture": Path(file).stem,
                    "megapixels": round(timed[0]["width"] * timed[0]["height"] / 1e6, 2),
                    "helpers": count,
                    "first_s": round(min(run["first"] for run in timed), 2),
                    "whole_s": round(min(run["whole"] for run in timed), 2),
                    "MB": max(run["MB"] for run in timed),
                    "browser": f"Chromium {version}",
                }


def megabytes() -> int:
    """Returns the memory of the processes of browsers, in 10^6 bytes."""
    total = 0
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            fields = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        except OSError:  # it has ended
            continue
        if "chrom" in fields["Name"] and "VmRSS" in fields:
            total += int(fields["VmRSS"].split()[0])
    return round(total * 1024 / 1e6)


class Site(ThreadingHTTPServer):
    """Serves the folder web/, weights.bin and files by their numbers."""

    daemon_threads = True

    def __init__(self, files: tuple[str, ...]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files = files
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(
                [sys.executable, WEB / "make_weights.py", "-o", folder], check=True, stdout=subprocess.DEVNULL
            )
            self.weights = (Path(folder) / "weights.bin").read_bytes()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def __enter__(self) -> Site:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Site)
        body = self._body(self.server, self.path)
        self.send_response(200 if body else 404)
        kind = {"js": "text/javascript", "page": "text/html"}.get(self.path.rpartition(".")[2].strip("/"), "")
        self.send_header("Content-Type", kind or "application/octet-stream")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _body(self, site: Site, path: str) -> bytes:
        if path == "/page":
            return PAGE
        if path == "/weights.bin":
            return site.weights
        if path.startswith("/files/"):
            return Path(site.files[int(path.rpartition("/")[2])]).read_bytes()
        file = WEB / path[1:]
        return file.read_bytes() if file.is_file() else b""

    def log_message(self, format: str, *args: object) -> None:
        """Logs nothing."""


if __name__ == "__main__":
    sys.exit(main())
