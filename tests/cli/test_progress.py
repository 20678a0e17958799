"""Tests of progress bars on a terminal."""

from __future__ import annotations

import io
import itertools
import json
import os
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

import dfmcodec
from dfmcodec.cli._progress import FilesBar, fit_bar
from dfmcodec.cli._remaining import RemainingTime, Work, evenly_spaced, pixels_of, remaining_s
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
    bar = FilesBar(lambda: 1000, is_shown=True)
    for _ in range(1000):
        bar.done()
    bar.close()
    assert 8 <= terminal.getvalue().count("/1000 files") <= 25


def test_there_is_no_bar_without_a_terminal(monkeypatch):
    monkeypatch.setattr(sys, "stderr", log := io.StringIO())
    with fit_bar(is_shown=True) as show:
        show(Progress(0.5, 1, 30.0, 1.0, "half", None))
    bar = FilesBar(lambda: 10, is_shown=True)
    bar.done()
    bar.close()
    assert log.getvalue() == ""


def durations():
    """Pixels and seconds of 500 photographs, as recorded (docs/command.md)."""
    lines = (ROOT / "benchmarks" / "results" / "remaining_time.jsonl").read_text().splitlines()
    return [(row["pixels"], row["seconds"]) for row in map(json.loads, lines) if "pixels" in row]


def estimates(work, processes):
    """Returns the estimated and the actual seconds left, after each file of a run."""
    now, paths = 0.0, [Path(str(number)) for number in range(len(work))]
    pixels = {path: pixels for path, (pixels, _) in zip(paths, work, strict=True)}
    left = RemainingTime(paths, processes, pixels.get, lambda: now)
    waiting, running, estimated = list(zip(paths, work, strict=True)), [], []
    while waiting or running:
        while waiting and len(running) < processes:
            path, (_, seconds) = waiting.pop(0)
            left.started(path)
            running.append((now + seconds, path, seconds))
        running.sort()
        now, path, seconds = running.pop(0)
        left.finished(path, seconds)
        estimated.append((now, left.seconds()))
    return [(seconds, now - at) for at, seconds in estimated]


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_most_remaining_times_are_right_to_a_fifth_from_the_tenth_file_on(processes):
    """The last ten are left out: so few files differ too much from the mean."""
    found = estimates(durations(), processes)
    assert len(found) == 500
    errors = np.array([abs(estimated / actual - 1) for estimated, actual in found[9:-10]])
    assert np.mean(errors <= 0.2) >= 0.9  # 0.92 to 0.97
    assert np.median(errors) <= 0.1  # 0.075
    assert errors.max() <= 0.35  # 0.33 with four processes, else 0.24


def test_the_remaining_time_is_that_of_pixels():
    """Large photographs come first. By their number, four times as much would be left."""
    work = [(12_000_000, 12.0)] * 20 + [(1_000_000, 1.0)] * 80
    estimated, actual = estimates(work, 2)[19]
    assert actual == pytest.approx(40.0)
    assert estimated == pytest.approx(actual, rel=0.1)


def test_work_in_progress_counts():
    done = [Work(1e6, 10.0)] * 5
    running = [Work(1e6, 4.0), Work(2e6, 30.0)]  # the second one takes longer than expected
    fixed = 10.0 / (1e6 + 40_000)
    assert remaining_s(done, running, 0, 0.0, 2) == pytest.approx(6.0)
    assert remaining_s(done, running, 3, 3e6, 2) == pytest.approx((6.0 + 3 * (1e6 + 40_000) * fixed) / 2)
    started = [Work(1e6, 60.0), *done]  # includes the start of the process
    assert remaining_s(started, [], 1, 1e6, 1) == pytest.approx(10.0)


def test_files_that_need_no_work_and_failures_are_not_counted():
    paths = [Path(str(number)) for number in range(10)]
    left = RemainingTime(paths, 1, lambda path: 1_000_000, lambda: 0.0)
    for path in paths[:4]:
        left.left_out(path)
    left.finished(paths[4], None)  # refused
    for path in paths[5:7]:
        assert left.seconds() is None
        left.started(path)
        left.finished(path, None)  # failed
    left.started(paths[7])
    left.finished(paths[7], 10.0)
    assert left.seconds() == pytest.approx(20.0)


def test_pixels_of_files(tmp_path):
    pixels = np.zeros((6, 9, 3), np.uint8)
    PIL.Image.fromarray(pixels).save(tmp_path / "a.png")
    (tmp_path / "a.dfm").write_bytes(dfmcodec.encode(pixels, quality=50, effort=1).data)
    (tmp_path / "b.png").write_bytes(b"nothing of the kind")
    found = {path.name: pixels_of(path) for path in tmp_path.iterdir()}
    assert found == {"a.png": 54, "a.dfm": 54, "b.png": None}
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        assert pixels_of(tmp_path / "pipe") is None
    assert pixels_of(tmp_path / "missing") is None
    assert pixels_of(Path("-")) is None


@pytest.mark.parametrize("count", [0, 1, 5, 8, 9, 1000])
def test_headers_of_some_files_are_read(count):
    found, chosen = evenly_spaced((Path(str(number)) for number in range(count)), 8)
    assert found == count
    assert len(chosen) == min(count, 8) or 4 <= len(chosen) <= 8
    numbers = [int(path.name) for path in chosen]
    assert len({b - a for a, b in itertools.pairwise(numbers)}) <= 1


def test_the_bar_of_a_run_shows_the_remaining_time(tmp_path, monkeypatch):
    monkeypatch.setattr("tqdm.std.time", itertools.count().__next__)
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    paths = [tmp_path / str(number) for number in range(100)]
    bar = FilesBar(lambda: RemainingTime(paths, 2, lambda path: 1_000_000, lambda: 0.0), is_shown=True)
    bar.left_out(paths[0])
    for path in paths[1:4]:
        bar.started(path)
        bar.done(source=path, seconds=100.0)
    bar.close()
    assert "3/99 files, 1:20:00 left" in terminal.getvalue()
