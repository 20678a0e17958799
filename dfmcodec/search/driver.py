"""The search driver of all encoders. It tries parameters until the target is met.

A codec provides a `Search`: the first parameter, a trial of a parameter, and the parameter after a
trial. `drive` keeps the best trial, restarts after NaN, stops on interruption or at the time limit,
and raises the errors. `Watch` measures time and reports progress. `rate_control` moves parameters
towards a target.
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
    """The end of a trial that was abandoned because of an interruption or the time limit."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


class Watch:
    """The clock of an encoding. It measures time, decides when to stop, and counts restarts after
    NaN or infinite values. `stopped` is the reason to stop, if `has_to_stop` found one.
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
        """Returns the reason to stop and take the best trial; None to continue."""
        return self.job.reason_to_stop(self.seconds)

    def has_to_stop(self) -> bool:
        """Indicates whether to stop and take the best trial. `stopped` keeps the reason."""
        self.stopped = self.stopped or self.reason_to_stop()
        return self.stopped is not None

    def check(self) -> None:
        """Raises Ended, which abandons a trial, if it is time to stop."""
        if why := self.reason_to_stop():
            raise Ended(why)

    def can_restart(self) -> bool:
        """Counts a restart and returns True, or returns False after too many restarts."""
        if self.restarts == MAX_RESTARTS:
            return False
        self.restarts += 1
        return True

    def show(self, fraction: float, steps: int, reported_db: float, what: str) -> None:
        """Reports progress: the fraction that is done, gradient steps or trials, the PSNR as
        reported to the user (NaN if unknown), and a description of the current trial.
        """
        self.job.on_progress(Progress(fraction, steps, reported_db, self.seconds, what, self.job.limit_bytes))

    @property
    def restarts_text(self) -> str:
        """The number of restarts as text for progress displays."""
        return restarts_text(self.restarts)

    def last_fraction(self, first: float) -> None:
        """Reports progress, from now on, as that of the last part of an encoding."""
        self.job = replace(self.job, on_progress=part_of(self.job.on_progress, first, 1.0))


def part_of(on_progress: Callable[[Progress], None], first: float, last: float) -> Callable[[Progress], None]:
    """Returns a callback that reports the progress of one part of an encoding."""
    return lambda progress: on_progress(replace(progress, fraction=first + (last - first) * progress.fraction))


@dataclass(frozen=True)
class End:
    """The end of a search, and the reason; see `report.EncodeReport`."""

    reason: str


class Search(ABC, Generic[Parameter, Trial]):
    """The part of a search that a codec provides."""

    def __init__(self, target: Target) -> None:
        self.target = target

    @abstractmethod
    def start(self) -> Parameter:
        """Returns the parameter of the first trial. The parameter trades size for quality."""

    @abstractmethod
    def trial(self, parameter: Parameter, check: Callable[[], None]) -> Trial:
        """Tries a parameter. `check` must be called often, and its exceptions must pass. Raises
        FloatingPointError if the trial gave NaN or infinite values.
        """

    @abstractmethod
    def following(self, trial: Trial, best: Trial | None) -> Parameter | End:
        """Returns the next parameter, or the end of the search; `best` meets the target."""

    @abstractmethod
    def has_trials_left(self) -> bool:
        """Indicates whether another trial is allowed."""

    def rank(self, trial: Trial) -> float:
        """Returns the rank of a trial among those that meet the target: larger is better."""
        return self.target.score(trial)

    def show(self, trial: Trial) -> None:
        """Reports a trial as progress."""

    def compacted(self, trial: Trial) -> Trial:
        """Returns a trial without the data that would occupy memory during other trials."""
        return trial

    can_restart: ClassVar[bool] = False  # whether the search continues after NaN or infinite values

    def restart(self, best: Trial | None, is_again: bool) -> None:
        """Prepares the trial after NaN or infinite values; `is_again` if not the first time."""

    def hurry(self) -> bool:
        """Prepares the quickest trial, which is not interrupted, if the encoding has to stop and no
        trial meets the target. Returns whether there is one.
        """
        return False

    @property
    def is_hurried(self) -> bool:
        """Indicates whether `drive` waits for the first trial that meets the target."""
        return False


@dataclass(frozen=True)
class SearchResult(Generic[Trial]):
    """The result of a search."""

    best: Trial | None  # the best trial that meets the target
    last: Trial | None  # the last complete trial
    reason: str  # see `report.EncodeReport`


def drive(search: Search[Parameter, Trial], watch: Watch) -> SearchResult[Trial]:
    """Tries parameters until the search ends. Raises DivergedError if trials gave NaN or infinite
    values too often.
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
            return SearchResult(best, last, ended.reason)
        except FloatingPointError as error:
            is_again = watch.restarts > 0
            if search.can_restart and watch.can_restart():
                search.restart(best, is_again)
                continue
            if search.can_restart and best is None:
                raise diverged(watch.restarts, f": {error}") from error
            return SearchResult(best, last, "diverged")
        if search.target.meets(last) and (best is None or search.rank(last) > search.rank(best)):
            best = last
        search.show(last)
        following = search.following(last, best)
        if isinstance(following, End):
            return SearchResult(best, last, following.reason)
        parameter = following
        best, last = None if best is None else search.compacted(best), search.compacted(last)
    return SearchResult(best, last, "iteration limit")


def diverged(restarts: int, values: str = "", advice: str = "") -> DivergedError:
    """Returns the error after too many restarts. The default advice is to report a fault."""
    fault = "a fault of this host or program; try again, then please report it"
    return DivergedError(f"the fit diverged {restarts + 1} times (NaN or infinite values{values}), {advice or fault}")
