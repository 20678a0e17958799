"""Remaining time of a run on many files, by their pixels."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from dfmcodec.cli._common import STANDARD
from dfmcodec.files.atomic import is_stream

Job = TypeVar("Job")
Result = TypeVar("Result")

_MOST_SAMPLES = 2000  # files whose headers are read before the run
_MOST_RECENT = 200  # results that the estimate uses
_HEADER_BYTES = 4096  # of a `.dfm` file
_FIXED_PIXELS = 40_000  # pixels that take as long as the rest of the work on a file


@dataclass(frozen=True)
class Timed(Generic[Result]):
    """Result of a job, with the seconds that it took in its process."""

    result: Result
    seconds: float


def timed(perform: Callable[[Job], Result], job: Job) -> Timed[Result]:
    """Performs a job and measures its time."""
    started = time.perf_counter()
    return Timed(perform(job), time.perf_counter() - started)


@dataclass(frozen=True)
class Work:
    """Work on a file: its pixels, and its seconds so far."""

    pixels: float
    seconds: float


def remaining_s(done: Sequence[Work], running: Iterable[Work], waiting: int, pixels: float, processes: int) -> float:
    """Estimates the seconds until all work is done.

    Args:
        done: Finished files, in order. The first one of each process is left out, if there are
            others: it includes the start of the process.
        running: Files in progress.
        waiting: The number of files that have not started.
        pixels: The pixels of these.
        processes: The number of files that are processed at a time.
    """
    counted = done[processes:] or done
    rate = sum(work.seconds for work in counted) / sum(work.pixels + _FIXED_PIXELS for work in counted)
    left = [max(0.0, rate * (work.pixels + _FIXED_PIXELS) - work.seconds) for work in running]
    return max([(sum(left) + rate * (pixels + waiting * _FIXED_PIXELS)) / processes, *left])


class RemainingTime:
    """Remaining time of a run. Files are named by their paths.

    Args:
        sources: The files of the run.
        pixels_of: Returns the pixels of a file; None if they are unknown.
        processes: The number of files that are processed at a time.
        clock: Returns the time in seconds.
    """

    def __init__(
        self,
        sources: Iterable[Path],
        processes: int,
        pixels_of: Callable[[Path], int | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._processes, self._pixels_of, self._clock = processes, pixels_of, clock
        self.count, sampled = evenly_spaced(sources, _MOST_SAMPLES)
        self._known = {path: pixels for path in sampled if (pixels := pixels_of(path)) is not None}
        self._mean = sum(self._known.values()) / max(1, len(self._known))
        self._waiting, self._waiting_pixels = self.count, self.count * self._mean
        self._running: dict[Path, tuple[float, float]] = {}  # pixels, and time of the start
        self._done: deque[Work] = deque(maxlen=_MOST_RECENT)

    def left_out(self, source: Path) -> None:
        """Notes that a file needs no work."""
        self._waiting -= 1
        self._waiting_pixels -= self._known.pop(source, self._mean)

    def started(self, source: Path) -> None:
        """Notes that the work on a file starts."""
        self._running[source] = self._known.get(source) or self._pixels_of(source) or self._mean, self._clock()
        self.left_out(source)

    def finished(self, source: Path, seconds: float | None) -> None:
        """Notes that the work on a file has ended; without its seconds if it failed."""
        if source not in self._running:  # failed before the work started
            self.left_out(source)
            return
        pixels, _ = self._running.pop(source)
        if seconds is not None:
            self._done.append(Work(pixels, seconds))

    def seconds(self) -> float | None:
        """Returns the estimate; None before the first file is done."""
        if not self._done:
            return None
        now = self._clock()
        running = [Work(pixels, now - started) for pixels, started in self._running.values()]
        waiting = max(0, self._waiting), max(0.0, self._waiting_pixels)  # a file may have disappeared
        return remaining_s(list(self._done), running, *waiting, self._processes)


def evenly_spaced(items: Iterable[Path], most: int) -> tuple[int, list[Path]]:
    """Returns the number of items, and up to `most` of them, evenly spaced."""
    count, chosen, step = 0, list[Path](), 1
    for item in items:
        if count % step == 0:
            if len(chosen) == most:
                chosen, step = chosen[::2], 2 * step
            if count % step == 0:
                chosen.append(item)
        count += 1
    return count, chosen


def pixels_of(path: Path) -> int | None:
    """Returns the pixels that an image or `.dfm` file states; None if they cannot be read."""
    from dfmcodec.container.header import read_header
    from dfmcodec.files.atomic import MAGIC
    from dfmcodec.image import LARGEST_PIXELS
    from dfmcodec.image.open_image import open_image

    if path == STANDARD or is_stream(path):
        return None
    try:
        with open(path, "rb") as file:
            head = file.read(_HEADER_BYTES)
            if head.startswith(MAGIC):
                header = read_header(head, LARGEST_PIXELS)
                return header.width * header.height
            with open_image(file, LARGEST_PIXELS) as pil_image:
                return pil_image.width * pil_image.height
    except Exception:  # the work on the file reports it
        return None
