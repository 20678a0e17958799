"""Progress bars on stderr for a fit or a run of files, shown if stderr is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import click

from dfmcodec.cli._common import json_text
from dfmcodec.files.names import printable

if TYPE_CHECKING:
    from dfmcodec.search.job import Progress

_FIT_FORMAT = "{percentage:3.0f} %|{bar}| {desc}"
_FILES_FORMAT = "{percentage:3.0f} %|{bar}| {n_fmt}/{total_fmt} files, {remaining} left"
_BETWEEN_DRAWINGS_S = 1.0  # notebooks and recorded terminals keep every update


def _has_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()


def _bar(**options: Any) -> Any:
    """Creates a bar of tqdm; returns None if tqdm is not installed."""
    try:
        from tqdm import tqdm
    except ImportError:  # minimal installation
        return None
    style = {"dynamic_ncols": True, "leave": False, "mininterval": _BETWEEN_DRAWINGS_S, "miniters": 0}
    return tqdm(file=sys.stderr, **style, **options)


@contextmanager
def fit_bar(is_shown: bool) -> Iterator[Callable[[Progress], None]]:
    """Provides a callback that shows the progress of a fit: fraction, PSNR, size and remaining
    time.
    """
    bar = _bar(total=1.0, bar_format=_FIT_FORMAT) if is_shown and _has_terminal() else None
    if bar is None:
        yield lambda progress: None
        return

    def show(progress: Progress) -> None:
        bar.set_description_str(f"{progress.description}, {progress.remaining_s:.0f} s left", refresh=False)
        bar.update(progress.fraction - bar.n)

    with closing(bar):
        yield show


class FilesBar:
    """Progress bar with the number of finished files and the remaining time, if stderr is a
    terminal.

    Args:
        files: The number of files.
        is_shown: Whether there may be a bar.
    """

    def __init__(self, files: int, is_shown: bool) -> None:
        is_drawn = is_shown and _has_terminal()
        self._bar = _bar(total=files, bar_format=_FILES_FORMAT, smoothing=0.05) if is_drawn else None

    def done(self, files: int = 1) -> None:
        """Counts files as finished."""
        if self._bar is not None:
            self._bar.update(files)

    def left_out(self) -> None:
        """Removes a file that needs no work from the total, so that the remaining time is that of
        the others.
        """
        if self._bar is not None:
            self._bar.total -= 1

    def echo(self, line: str) -> None:
        """Prints a line of text above the bar."""
        self._print(printable(line))

    def notify(self, notice: str) -> None:
        """Prints a notice to stderr, above the bar."""
        self._print(printable(f"dfm: {notice}"), err=True)

    def echo_json(self, report: dict[str, Any]) -> None:
        """Prints one JSON object above the bar."""
        self._print(json_text(report))

    def _print(self, line: str, err: bool = False) -> None:
        if self._bar is not None:
            self._bar.clear()
        click.echo(line, err=err)
        if self._bar is not None:
            self._bar.refresh()

    def close(self) -> None:
        """Removes the bar."""
        if self._bar is not None:
            self._bar.close()
