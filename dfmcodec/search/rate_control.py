"""Rate control: a controller moves the logarithm of a lmbda or a q_step towards a target, and a
bracket keeps the points between which the target lies.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import exp, log, sqrt

from dfmcodec.search.target import Target, TrialFigures


@dataclass(frozen=True)
class Controller:
    """A proportional controller for the overshoot of trials."""

    gain: float  # the move for an overshoot of 1; see `Target.log_overshoot`
    max_move: float  # the largest move at once
    aim: float = 1.0  # the fraction of a size budget to aim at

    def wanted(self, target: Target, reached: TrialFigures) -> float:
        """Returns the move after a trial."""
        return self.gain * target.log_overshoot(reached, self.aim)

    def limited(self, move: float) -> float:
        """Limits a move to `max_move`."""
        return min(max(move, -self.max_move), self.max_move)


class Bracket:
    """The integers between which a condition ceases to hold: it holds at `low`, not at `high`."""

    def __init__(self, low: int, high: int) -> None:
        self.low, self.high = low, high

    def add(self, point: int, holds: bool) -> None:
        """Records whether the condition holds at a point."""
        if holds:
            self.low = max(self.low, point)
        else:
            self.high = min(self.high, point)

    def has(self, point: int) -> bool:
        """Indicates whether a point lies strictly between `low` and `high`."""
        return self.low < point < self.high

    @property
    def is_closed(self) -> bool:
        """Indicates whether no integer is left between `low` and `high`."""
        return self.high - self.low <= 1

    @property
    def middle(self) -> int:
        """The integer in the middle."""
        return (self.low + self.high) // 2

    @property
    def geometric_middle(self) -> int:
        """The integer in the geometric middle."""
        return max(self.low + 1, round(sqrt(self.low * self.high)))

    def bisect(self, holds: Callable[[int], bool], should_stop: Callable[[], bool] = lambda: False) -> None:
        """Closes the bracket by bisection, unless `should_stop` returns True before a point."""
        while not (self.is_closed or should_stop()):
            point = self.middle
            self.add(point, holds(point))


def false_position(first: tuple[float, float], second: tuple[float, float]) -> float:
    """Returns the lmbda at which the overshoot would be 0 if it were linear in log(lmbda), from two
    values of lmbda and their overshoots.
    """
    (lmbda, overshoot), (other, other_overshoot) = first, second
    return lmbda * exp(log(other / lmbda) * overshoot / (overshoot - other_overshoot))
