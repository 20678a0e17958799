"""The search of all encoders: it tries one parameter after another until the target is met.

A codec gives a `Search`: the first parameter, a trial of a parameter, and the parameter after a
trial. `drive` keeps the best trial, starts again after NaN, ends when the user or the time limit
ends it, and raises the errors. `Watch` is the clock of an encoding, and shows its progress. How
parameters come nearer to a target is in `rate_control`.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, Generic, TypeVar

from dfmcodec.errors import DivergedError
from dfmcodec.search.job import MAX_RESTARTS, Job, Progress, restarts_text
from dfmcodec.search.target import Target, TrialFigures

Parameter = TypeVar("Parameter")
Trial = TypeVar("Trial", bound=TrialFigures)


class Ended(Exception):
    """A trial was left, because the user or the time limit ended the encoding."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


class Watch:
    """The clock of an encoding: how long it takes, whether it has to end, and how often it started
    again.

    Args:
        job: The encoding.

    Attributes:
        job: The encoding.
        restarts: How often it continued after NaN or infinite values.
        stopped: Why it had to end when it was last asked; None if it had not.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self.restarts = 0
        self.stopped: str | None = None
        self._started = time.perf_counter()

    @property
    def seconds(self) -> float:
        """The seconds since the start."""
        return time.perf_counter() - self._started

    def reason_to_stop(self) -> str | None:
        """Why the best so far has to be taken; None if there is time for more."""
        return self.job.reason_to_stop(self.seconds)

    def has_to_stop(self) -> bool:
        """Indicates whether the best so far has to be taken; `stopped` keeps the reason."""
        self.stopped = self.stopped or self.reason_to_stop()
        return self.stopped is not None

    def check(self) -> None:
        """Leaves a trial that need not be finished.

        Raises:
            Ended: There is no time for more.
        """
        if why := self.reason_to_stop():
            raise Ended(why)

    def can_restart(self) -> bool:
        """Counts a restart, unless there were too many."""
        if self.restarts == MAX_RESTARTS:
            return False
        self.restarts += 1
        return True

    def show(self, fraction: float, steps: int, reported_db: float, what: str) -> None:
        """Shows progress.

        Args:
            fraction: The fraction that is done, 0..1.
            steps: Gradient steps or trials so far.
            reported_db: PSNR so far, as it is reported to the user; NaN where there is none yet.
            what: A text for people about what is tried.
        """
        self.job.on_progress(Progress(fraction, steps, reported_db, self.seconds, what, self.job.limit_bytes))

    @property
    def restarts_text(self) -> str:
        """How often the encoding was restarted, for progress displays."""
        return restarts_text(self.restarts)

    def last_part(self, first: float) -> None:
        """Shows from now on what is done of the part of an encoding after a fraction."""
        self.job = replace(self.job, on_progress=part_of(self.job.on_progress, first, 1.0))


def part_of(on_progress: Callable[[Progress], None], first: float, last: float) -> Callable[[Progress], None]:
    """Shows the progress of a part of an encoding."""
    return lambda progress: on_progress(replace(progress, fraction=first + (last - first) * progress.fraction))


@dataclass(frozen=True)
class End:
    """The end of a search, and the reason; see `report.EncodeReport`."""

    reason: str


class Search(ABC, Generic[Parameter, Trial]):
    """A codec's part of a search.

    Args:
        target: The target.
    """

    def __init__(self, target: Target) -> None:
        self.target = target

    @abstractmethod
    def start(self) -> Parameter:
        """Returns the parameter of the first trial, which trades size for quality."""

    @abstractmethod
    def trial(self, parameter: Parameter, check: Callable[[], None]) -> Trial:
        """Tries a parameter.

        Args:
            parameter: The parameter.
            check: To be called many times. What it raises ends the trial.

        Raises:
            FloatingPointError: The trial gave NaN or infinite values.
        """

    @abstractmethod
    def following(self, trial: Trial, best: Trial | None) -> Parameter | End:
        """Returns the parameter after a trial.

        Args:
            trial: The last trial.
            best: The best trial that meets the target; None if none does.
        """

    @abstractmethod
    def has_trials_left(self) -> bool:
        """Indicates whether there may be a further trial."""

    def rank(self, trial: Trial) -> float:
        """Returns a figure by which trials that meet the target are compared: larger is better."""
        return self.target.score(trial)

    def show(self, trial: Trial) -> None:
        """Shows a trial as progress."""

    def kept(self, trial: Trial) -> Trial:
        """What is kept of a trial while others are made, which need the memory."""
        return trial

    can_restart: ClassVar[bool] = False  # whether a search goes on after NaN or infinite values

    def restart(self, best: Trial | None, is_again: bool) -> None:
        """Prepares a trial after one that gave NaN or infinite values.

        Args:
            best: The best trial so far; None if none meets the target.
            is_again: Whether it is not the first restart.
        """

    def hurry(self) -> bool:
        """Prepares the quickest trial, when the encoding has to end and none meets the target.

        Returns:
            Whether there is one. It is not interrupted.
        """
        return False

    @property
    def is_hurried(self) -> bool:
        """Indicates whether trials are the quickest already, so that the first that is met is
        waited for.
        """
        return False


@dataclass(frozen=True)
class Found(Generic[Trial]):
    """What a search came to.

    Args:
        best: The best trial that meets the target; None if none does.
        last: The last trial; None if none was finished.
        reason: Why the search ended; see `report.EncodeReport`.
    """

    best: Trial | None
    last: Trial | None
    reason: str


def drive(search: Search[Parameter, Trial], watch: Watch) -> Found[Trial]:
    """Tries parameters until a search ends.

    Raises:
        DivergedError: Trials gave NaN or infinite values again and again.
    """
    best: Trial | None = None
    last: Trial | None = None
    parameter = search.start()

    def check() -> None:
        if best is not None or not search.is_hurried:
            watch.check()

    while search.has_trials_left():
        try:
            last = search.trial(parameter, check)
        except Ended as ended:
            if best is None and search.hurry():
                continue
            return Found(best, last, ended.reason)
        except FloatingPointError as error:
            is_again = watch.restarts > 0
            if search.can_restart and watch.can_restart():
                search.restart(best, is_again)
                continue
            if search.can_restart and best is None:
                raise diverged(watch.restarts, f": {error}") from error
            return Found(best, last, "diverged")
        if search.target.meets(last) and (best is None or search.rank(last) > search.rank(best)):
            best = last
        search.show(last)
        following = search.following(last, best)
        if isinstance(following, End):
            return Found(best, last, following.reason)
        parameter = following
        best, last = None if best is None else search.kept(best), search.kept(last)
    return Found(best, last, "iteration limit")


def diverged(restarts: int, values: str = "", advice: str = "") -> DivergedError:
    """Returns the error of an encoding that comes to NaN or infinite values again and again.

    Args:
        restarts: How often it was restarted.
        values: A text about the values.
        advice: What to do; a report of a fault if empty.
    """
    fault = "a fault of this host or program; try again, then please report it"
    return DivergedError(f"the fit diverged {restarts + 1} times (NaN or infinite values{values}), {advice or fault}")
