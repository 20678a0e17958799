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
    read_generator,
    read_source,
    write_output,
)
from dfmcodec.cli._inputs import check_standard_input
from dfmcodec.errors import ConfigError, MissingModelError
from dfmcodec.files.atomic import MEDIA_TYPE, is_stream, read_file

if TYPE_CHECKING:
    from dfmcodec.viewer.server import Resource

_HTML = "text/html; charset=utf-8"


@dataclass(frozen=True)
class _Options:
    """The arguments of the command."""

    sources: tuple[Path, ...]
    web: bool  # whether to open the page even without files
    output: Path | None  # the file to which to write the page; None to open it
    png: bool  # whether to show decoded images in the system's viewer
    no_browser: bool  # whether to print the address instead of opening a browser
    show_damaged: bool  # whether to open damaged files too
    generator: Path | None
    max_pixels: int
    max_multiply_adds: int
    force: bool
    quiet: bool


@click.command("view")
@_options.optional_sources
@click.option("--web", is_flag=True, help="Open the page even without files; with -o, write it to a file instead.")
@_options.output("With --web: write the page to this file, which works from a folder and from any web server.")
@click.option("--png", is_flag=True, help="Show the decoded images in the system's viewer instead of the browser.")
@click.option("--no-browser", is_flag=True, help="Print the address of the page, and open no browser.")
@click.option(
    "--show-damaged", is_flag=True, help="Open the page even for damaged files; it says what is wrong with them."
)
@_options.generator
@_options.max_pixels
@_options.max_multiply_adds
@_options.force
@_options.quiet
def command(**arguments: Any) -> None:
    """Show .dfm files in the browser.

    \b
    dfm view photo.dfm                   opens a page on this computer with the image
    dfm view a.dfm b.dfm                 compares them on the page
    dfm view --web                       the page alone, to drop files on
    dfm view --web -o viewer.html        writes the page as one file that people can host
    dfm view --png photo.dfm             decodes it for the system's viewer

    The browser decodes the files. The page and the files are served only to this computer, at
    127.0.0.1 with a secret path. The command ends with Ctrl-C or when the page is closed.
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
    if not options.sources and not options.web:
        msg = "name a file, or open the page alone with --web"
    elif options.output is not None and (options.sources or options.png or not options.web):
        msg = "-o writes the page without files; give it with --web alone"
    elif options.png and (options.web or options.no_browser or options.show_damaged):
        msg = "--png shows images in the system's viewer; leave out --web, --no-browser and --show-damaged"
    elif options.generator is not None and not options.png:
        msg = "the page cannot decode codes of generative models; show them with --png --generator"
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
    page = served_page(names, {"maxPixels": options.max_pixels, "maxMultiplyAdds": options.max_multiply_adds})
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
    if not options.show_damaged:
        _check_integers(data, display_name(source), options.max_pixels)
    if source == STANDARD or is_stream(source):
        return Resource(MEDIA_TYPE, lambda: data)
    return Resource(MEDIA_TYPE, partial(read_file, source.absolute()))


def _check_integers(data: bytes, name: str, max_pixels: int) -> None:
    """Raises an error if the page cannot decode the file: it is damaged, too large, a code of a
    generative model, or not a .dfm file.
    """
    from dfmcodec.codecs.record import codec_of
    from dfmcodec.container.header import read_header
    from dfmcodec.container.integrity import examine

    with errors_named(name):
        header = read_header(data, max_pixels)
        examine(data, header).refuse_damage()
        if codec_of(header.architecture.model).needs_generator:
            msg = "a code of a generative model, which the page cannot decode; show it with --png --generator MODEL"
            raise MissingModelError(msg)


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

    data, model = read_source(source), read_generator(options.generator)
    with errors_named(display_name(source)):
        image = decode_file(data, model, options.max_pixels, options.max_multiply_adds)
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
