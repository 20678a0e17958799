"""Command `dfm view`."""

from __future__ import annotations

import signal
import tempfile
import time
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from dfmcodec.cli import _options
from dfmcodec.cli._common import (
    STANDARD,
    check_output,
    decode_file,
    display_name,
    echo,
    errors_named,
    notify,
    output_name,
    read_source,
    write_output,
)
from dfmcodec.cli._inputs import check_standard_input
from dfmcodec.errors import ConfigError
from dfmcodec.files.atomic import MEDIA_TYPE, is_stream, read_file

if TYPE_CHECKING:
    from dfmcodec.viewer.server import Resource

_HTML = "text/html; charset=utf-8"


@dataclass(frozen=True)
class _Options:
    """The arguments of the command."""

    sources: tuple[Path, ...]
    output: Path | None  # the file to which to write the page; None to open it
    png: bool  # whether to show decoded images in the system's viewer
    no_browser: bool  # whether to print the address instead of opening a browser
    max_pixels: int
    force: bool
    quiet: bool


@click.command("view")
@_options.optional_sources
@_options.output("Write the page to this file, without images; it works from a folder and from any web server.")
@click.option("--png", is_flag=True, help="Show the decoded images in the system's viewer instead of the browser.")
@click.option("--no-browser", is_flag=True, help="Print the address of the page, and open no browser.")
@_options.max_pixels
@_options.force
@_options.quiet
def command(**arguments: Any) -> None:
    """Show .dfm files in the browser.

    \b
    dfm view photo.dfm                   opens a page on this computer with the image
    dfm view a.dfm b.dfm                 compares them on the page
    dfm view                             the page alone, to drop files on
    dfm view -o viewer.html              writes the page as one file that people can host
    dfm view --png photo.dfm             decodes it for the system's viewer

    The browser decodes the files; of damaged ones, the page shows what is wrong. The page and the
    files are served only to this computer, at 127.0.0.1 with a secret path. The command ends with
    Ctrl-C or when the page is closed.
    """
    options = _Options(**arguments)
    _check_options(options)
    if options.output is not None:
        _write_page(options.output, options.force, options.quiet)
    elif options.png:
        _show_images(options)
    else:
        _serve(options)


def _check_options(options: _Options) -> None:
    """Raises an error for invalid combinations of options."""
    msg = None
    if options.output is not None and (options.sources or options.png or options.no_browser):
        msg = "-o writes the page without files, and takes no other option than -f"
    elif options.png and (options.no_browser or not options.sources):
        msg = "--png shows the images of files in the system's viewer; name files, and leave out --no-browser"
    if msg is not None:
        raise ConfigError(msg)
    check_standard_input(options.sources)


def _write_page(output: Path, force: bool, quiet: bool) -> None:
    from dfmcodec.viewer.page import standalone_page

    check_output(output, force)
    page = standalone_page()
    write_output(output, page, force)
    if not quiet:
        echo(f"{output_name(output)}: {len(page):,} bytes", err=output == STANDARD)


def _serve(options: _Options) -> None:
    """Serves the page and its files until the page is closed or Ctrl-C is pressed."""
    from dfmcodec.viewer.page import ALIVE, file_address, served_page, shown_names
    from dfmcodec.viewer.server import PageServer, Resource

    files = {file_address(number): _resource(source, options) for number, source in enumerate(options.sources)}
    shown = zip(options.sources, shown_names(options.sources), strict=True)
    names = [display_name(source) if source == STANDARD else name for source, name in shown]
    page = served_page(names, {"maxPixels": options.max_pixels})
    server = PageServer({"": Resource(_HTML, lambda: page), **files}, ALIVE)
    with server.serving(), suppress(KeyboardInterrupt):
        if options.no_browser or not options.quiet:
            echo(server.url)
        notify("close the page or press Ctrl-C to end", options.quiet)
        if not options.no_browser and not webbrowser.open(server.url):
            notify(f"no browser was opened; open {server.url} in one")
        server.pages.wait_until_closed()


def _resource(source: Path, options: _Options) -> Resource:
    """Returns a file for the page. It is read again at each request, unless it can be read only
    once.
    """
    from dfmcodec.viewer.server import Resource

    data = read_source(source)
    _check(data, display_name(source), options)
    if source == STANDARD or is_stream(source):
        return Resource(MEDIA_TYPE, lambda: data)
    return Resource(MEDIA_TYPE, partial(read_file, source.absolute()))


def _check(data: bytes, name: str, options: _Options) -> None:
    """Raises an error for a file that the page cannot show: not a .dfm file, or too large. Prints
    what is wrong with a damaged file.
    """
    from dfmcodec.container.header import read_header
    from dfmcodec.container.integrity import examine

    with errors_named(name):
        header = read_header(data, options.max_pixels)
        for problem in examine(data, header).problems:
            notify(f"{name}: {problem}", options.quiet)


def _show_images(options: _Options) -> None:
    """Shows decoded images until Ctrl-C is pressed, and deletes them."""
    from dfmcodec.viewer.system import open_file, opener

    program = opener()
    with _signals_interrupt(), tempfile.TemporaryDirectory(prefix="dfm-view-", ignore_cleanup_errors=True) as folder:
        images = []
        for number, source in enumerate(options.sources, 1):
            images.append(Path(folder) / f"image-{number}.png")  # the untrusted name of the file is not used
            write_output(images[-1], _png(source, options))
        for image in images:
            open_file(program, image)
        with suppress(KeyboardInterrupt):
            notify("press Ctrl-C to end and delete the decoded image", options.quiet)
            while True:
                time.sleep(1)


def _png(source: Path, options: _Options) -> bytes:
    """Decodes a file and returns a PNG."""
    from dfmcodec.image.write_image import OUTPUT_FORMATS, image_to_bytes

    data = read_source(source)
    with errors_named(display_name(source)):
        image = decode_file(data, options.max_pixels)
    return image_to_bytes(image, OUTPUT_FORMATS["png"])


@contextmanager
def _signals_interrupt() -> Iterator[None]:
    """Treats signals that end a process like Ctrl-C, so that temporary files are deleted."""

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    known = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    previous = {number: signal.signal(number, interrupt) for number in known}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
