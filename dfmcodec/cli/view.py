"""Command `dfm view`."""

from __future__ import annotations

import tempfile
import webbrowser
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from dfmcodec.cli import _options
from dfmcodec.cli._common import (
    STANDARD,
    check_output,
    display_name,
    echo,
    errors_named,
    notify,
    output_name,
    read_source,
    write_output,
)
from dfmcodec.cli._inputs import check_standard_input
from dfmcodec.cli.outputs import check_outputs_apart
from dfmcodec.errors import ConfigError

_MOST_BYTES = 1 << 28  # of files in a page


@dataclass(frozen=True)
class _Options:
    """The arguments of the command."""

    sources: tuple[Path, ...]
    output: Path | None  # the file to which to write the page; None to open it in a browser
    max_pixels: int
    force: bool
    quiet: bool


@click.command("view")
@_options.optional_sources
@_options.output("Write the page to this file instead of opening it; it works from a folder and from any web server.")
@_options.max_pixels
@_options.force
@_options.quiet
def command(**arguments: Any) -> None:
    """Show .dfm files in the browser.

    \b
    dfm view photo.dfm                   opens a page with the image
    dfm view a.dfm b.dfm                 compares them on the page
    dfm view                             the page alone, to drop files on
    dfm view photo.dfm -o photo.html     writes the page as one file that people can host

    The page is one file that contains the decoder and the .dfm files. It is written to a new
    temporary folder that only this user can read, which stays until the system removes it.
    """
    options = _Options(**arguments)
    check_standard_input(options.sources)
    check_outputs_apart({"-o": options.output}, options.sources)
    if options.output is not None:
        check_output(options.output, options.force)
    page = _page(options)
    if options.output is not None:
        write_output(options.output, page, options.force)
        if not options.quiet:
            echo(f"{output_name(options.output)}: {len(page):,} bytes", err=options.output == STANDARD)
        return
    path = Path(tempfile.mkdtemp(prefix="dfm-view-"), "viewer.html")
    write_output(path, page)
    if not options.quiet:
        echo(str(path))
    if not webbrowser.open(path.as_uri()):
        notify(f"no browser was opened; open {path} in one")


def _page(options: _Options) -> bytes:
    """Returns the page with the files, which have to be .dfm files."""
    from dfmcodec.viewer import shown_names, viewer_page

    contents = [_checked(source, options) for source in options.sources]
    if sum(map(len, contents)) > _MOST_BYTES:
        msg = f"the files have more than {_MOST_BYTES >> 20} MiB in all; show fewer at a time"
        raise ConfigError(msg)
    shown = zip(options.sources, shown_names(options.sources), strict=True)
    names = [display_name(source) if source == STANDARD else name for source, name in shown]
    return viewer_page(list(zip(names, contents, strict=True)), {"maxPixels": options.max_pixels})


def _checked(source: Path, options: _Options) -> bytes:
    """Reads a file. Raises an error for one that the page cannot show: not a .dfm file, or too
    large. Prints what is wrong with a damaged file.
    """
    from dfmcodec.container.header import read_header
    from dfmcodec.container.integrity import examine

    data, name = read_source(source), display_name(source)
    with errors_named(name):
        header = read_header(data, options.max_pixels)
        for problem in examine(data, header).problems:
            notify(f"{name}: {problem}", options.quiet)
    return data
