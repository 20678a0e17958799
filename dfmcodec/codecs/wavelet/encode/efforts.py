"""The effort levels of the wavelet codec: the parts of the encoder that each uses;
docs/presets.md.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from dfmcodec.search.config import LEAST_USED

_FEW_ITERATIONS = 5  # efforts with more iterations take fewer after a sample


@dataclass(frozen=True)
class Effort:
    """The amount of work of an encoding."""

    iterations: int  # the least number of iterations
    filter_radius: int  # the largest radius of the image filter, in pixels; below 2 for no filter
    is_iterated: bool = True  # whether an iteration uses results of the previous one, besides its q_step
    # the iterations, besides those of `adapted_after`, that compute context-dependency costs and
    # fit the image filter; () for no such costs. An iteration that needs unknown costs computes
    # them too. The filter is also fitted if there is none yet, and in all iterations from number
    # `iterations` on; not in the first iteration if a sample has provided one
    learns_after: tuple[int, ...] = (1, 3)
    # the iterations after which the adaptation of the context networks is fitted or refitted
    adapted_after: tuple[int, ...] = (1,)
    adaptation_steps: int = 120  # the gradient steps of each such fit
    # the iterations of the tune `visual` after which the target of symbols is shifted. Afterwards
    # it stays constant, so that sizes settle
    shifts: int = 3
    shift_fraction: float = 0.1  # the fraction of a Newton step that each shift takes
    aim: float = 0.997  # the fraction of a size budget to aim at
    enough: float = 0.992  # the fraction of a size budget that has to be used. A smaller fraction saves iterations

    def learns_in(self, number: int) -> bool:
        """Indicates whether an iteration computes costs and filter; see `learns_after`."""
        return number in self.learns_after or number in self.adapted_after

    def after_sample(self) -> Effort:
        """Returns the effort for a large image whose step and adaptation are known from a sample.
        It has two thirds of many iterations, as all of them are at similar steps.
        """
        fewer = self.iterations if self.iterations <= _FEW_ITERATIONS else 2 * self.iterations // 3 + 1
        return replace(self, iterations=fewer, shifts=min(self.shifts, fewer - 1), adapted_after=())


# The effort of an interrupted encoding.
QUICK = Effort(1, 3, is_iterated=False, learns_after=(), adapted_after=(), aim=0.985, enough=LEAST_USED)
EFFORT_LEVELS = {
    1: Effort(2, 3, learns_after=(), adapted_after=(), shift_fraction=0.15, aim=0.985, enough=LEAST_USED),
    3: Effort(4, 5, learns_after=(1,), aim=0.992, enough=0.984),
    5: Effort(6, 5, adapted_after=(1, 3), shifts=5),
    7: Effort(12, 5, adapted_after=(1, 3, 7), shifts=10, shift_fraction=0.08),
    9: Effort(28, 5, adapted_after=(1, 3, 7, 11, 19), shifts=24, shift_fraction=0.08),
}
