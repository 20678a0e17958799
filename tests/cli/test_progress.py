"""Tests of progress bars on a terminal."""

from __future__ import annotations

import io
import itertools
import sys
from pathlib import Path

import pytest

from dfmcodec.cli._progress import FilesBar, fit_bar
from dfmcodec.search.job import Progress

ROOT = Path(__file__).parents[2]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """A clock that goes on by a hundredth of a second for each look at it."""
    ticks = itertools.count()
    monkeypatch.setattr("tqdm.std.time", lambda: next(ticks) / 100)


def test_a_fit_is_drawn_once_a_second(monkeypatch):
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    with fit_bar(is_shown=True) as show:
        for number in range(1000):  # at least 10 seconds
            part = number / 1000 if number < 500 else number / 2000  # a restart
            show(Progress(part, number, 30.0, 1.0, f"{number} steps", None))
    drawings = terminal.getvalue().split("\r")
    assert 8 <= sum("%|" in drawing for drawing in drawings) <= 25
    shown = [int(drawing.partition("| ")[2].split()[0]) for drawing in drawings if " steps, " in drawing]
    assert max(shown) > 850  # also after the restart
    assert "".join(drawings[-2:]).isspace()  # the bar is gone


def test_files_are_drawn_once_a_second(monkeypatch):
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    bar = FilesBar(1000, is_shown=True)
    for _ in range(1000):
        bar.done()
    bar.close()
    assert 8 <= terminal.getvalue().count("/1000 files") <= 25


def test_there_is_no_bar_without_a_terminal(monkeypatch):
    monkeypatch.setattr(sys, "stderr", log := io.StringIO())
    with fit_bar(is_shown=True) as show:
        show(Progress(0.5, 1, 30.0, 1.0, "half", None))
    bar = FilesBar(10, is_shown=True)
    bar.done()
    bar.close()
    assert log.getvalue() == ""


def test_files_that_need_no_work_are_not_counted(monkeypatch):
    monkeypatch.setattr("tqdm.std.time", itertools.count().__next__)
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    bar = FilesBar(100, is_shown=True)
    bar.left_out()
    for _ in range(3):
        bar.done()
    bar.close()
    assert "3/99 files" in terminal.getvalue()
