"""The search that all encoders share, with trials that are made up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count

import numpy as np
import pytest

from dfmcodec.errors import DivergedError
from dfmcodec.image import Image
from dfmcodec.search.config import EncoderConfig
from dfmcodec.search.driver import End, Ended, Search, Watch, drive, part_of
from dfmcodec.search.job import MAX_RESTARTS, Job, Progress
from dfmcodec.search.target import Figures, SizeTarget

TARGET = SizeTarget.of(100)


def job_of(**others: object) -> Job:
    return Job.of(Image(np.zeros((8, 8, 1), np.uint8)), EncoderConfig(size=100), TARGET, **others)


class Made(Search[int, Figures]):
    """Files of given sizes, of which larger ones are better; NaN for a size of 0."""

    can_restart = True

    def __init__(self, sizes: Sequence[int], can_hurry: bool = False) -> None:
        super().__init__(TARGET)
        self._sizes, self._can_hurry = list(sizes), can_hurry
        self._is_hurried = False
        self.restarts: list[bool] = []
        self.shown: list[float] = []

    def start(self) -> int:
        return 0

    def trial(self, parameter: int, check: Callable[[], None]) -> Figures:
        check()
        size = self._sizes.pop(0)
        if size == 0:
            message = "a value"
            raise FloatingPointError(message)
        return Figures(size, size / 10)

    def following(self, trial: Figures, best: Figures | None) -> int | End:
        return 1 if self._sizes else End("converged")

    def has_trials_left(self) -> bool:
        return len(self.shown) < 5

    def show(self, trial: Figures) -> None:
        self.shown.append(trial.written_bytes)

    def restart(self, best: Figures | None, is_again: bool) -> None:
        self.restarts.append(is_again)

    def hurry(self) -> bool:
        self._is_hurried = self._can_hurry
        return self._can_hurry

    @property
    def is_hurried(self) -> bool:
        return self._is_hurried


def test_the_best_trial_that_meets_the_target_is_kept() -> None:
    search = Made([120, 90, 70])
    found = drive(search, Watch(job_of()))
    assert (found.best, found.last) == (Figures(90, 9.0), Figures(70, 7.0))
    assert (found.reason, search.shown) == ("converged", [120, 90, 70])


def test_a_search_ends_when_it_has_no_trials_left() -> None:
    found = drive(Made([120] * 9), Watch(job_of()))
    assert (found.best, found.reason) == (None, "iteration limit")


def test_a_search_goes_on_after_nan() -> None:
    search, watch = Made([0, 0, 90]), Watch(job_of())
    assert drive(search, watch).best == Figures(90, 9.0)
    assert (search.restarts, watch.restarts, watch.restarts_text) == ([False, True], 2, ", restarted 2x")


def test_nan_again_and_again_is_an_error_unless_a_trial_meets_the_target() -> None:
    with pytest.raises(DivergedError, match=rf"^the fit diverged {MAX_RESTARTS + 1} times .*: a value\), a fault"):
        drive(Made([120, *[0] * 9]), Watch(job_of()))
    found = drive(Made([90, *[0] * 9]), Watch(job_of()))
    assert (found.best, found.reason) == (Figures(90, 9.0), "diverged")


def test_an_interrupted_search_gives_the_best_so_far_or_hurries() -> None:
    asked = count()
    found = drive(Made([90, 95]), Watch(job_of(should_stop=lambda: next(asked) > 0)))
    assert (found.best, found.reason) == (Figures(90, 9.0), "interrupted")
    stopped = job_of(should_stop=lambda: True)
    assert drive(Made([90]), Watch(stopped)).best is None
    assert drive(Made([90], can_hurry=True), Watch(stopped)).best == Figures(90, 9.0)


def test_a_watch_shows_progress_and_remembers_why_it_stopped() -> None:
    shown: list[Progress] = []
    answers = iter((False, True))
    watch = Watch(job_of(on_progress=shown.append, should_stop=lambda: next(answers), ancillary_bytes=20))
    assert (watch.has_to_stop(), watch.has_to_stop(), watch.has_to_stop()) == (False, True, True)
    assert watch.stopped == "interrupted"
    watch.last_fraction(0.5)
    watch.show(0.5, 3, 30.0, "text")
    (progress,) = shown
    assert (progress.fraction, progress.iterations, progress.description, progress.limit_bytes) == (
        0.75,
        3,
        "text",
        100,
    )


def test_a_check_ends_a_trial() -> None:
    with pytest.raises(Ended):
        Watch(job_of(should_stop=lambda: True)).check()


def test_the_progress_of_a_part_is_that_part_of_the_complete_image() -> None:
    shown: list[Progress] = []
    part_of(shown.append, 0.2, 0.4)(Progress(0.5, 1, 1.0, 1.0, "", None))
    assert shown[0].fraction == pytest.approx(0.3)
