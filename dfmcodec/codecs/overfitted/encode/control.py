"""Control of the Lagrange multiplier of a fit: during the training steps, in further steps, and
from one coordinate descent to the next.

The numbers were measured on data/kodak. See docs/measurements.md, "Rate control of a fit".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log, log10
from typing import NamedTuple

import numpy as np

from dfmcodec.codecs.overfitted.encode.candidates import Candidate, SymbolCandidate
from dfmcodec.codecs.overfitted.encode.fit import Measured
from dfmcodec.search.rate_control import Controller, false_position
from dfmcodec.search.target import Figures, ScoreTarget, Target


class Controllers(NamedTuple):
    """The controllers of one stage; see `Target.log_overshoot`."""

    of_size: Controller
    of_psnr: Controller
    of_score: Controller

    def of(self, target: Target) -> Controller:
        """Returns the controller for a target."""
        if isinstance(target, ScoreTarget):
            return self.of_score
        return self.of_size if target.limits_size else self.of_psnr


# Gains for a complete fit. The size follows the lmbda within a tenth of it, the PSNR at once.
WHILE_FITTING = Controllers(Controller(5.0, 0.2, 0.998), Controller(2.0, 0.2), Controller(7.0, 0.2))
IN_FURTHER_STEPS = Controllers(Controller(2.5, 1.2, 0.996), Controller(0.45, 1.2), Controller(1.5, 1.2))
IN_DESCENTS = Controllers(Controller(10.0, 2.0, 0.998), Controller(3.0, 2.0), Controller(10.0, 2.0))
_FOLLOWED_AFTER = 0.1
_FARTHEST = 1.2  # maximum distance from the logarithm of the first Lagrange multiplier
_CONTROL_FROM = 0.2  # fraction of the steps after which the Lagrange multiplier moves
_SETTLED_AFTER = 0.2  # fraction of the steps, after latents are released, from which the size predicts the final one
# The excess of the bits of symbols during a fit over those at its end, as fractions of the latter,
# by the fraction of the steps. It is constant above a rate in bits per pixel, without and with
# frozen latents.
_OVERSHOOT = (0.2, 0.5, 0.6, 0.75, 0.85, 0.9, 0.95, 1.0), (0.58, 0.30, 0.24, 0.145, 0.06, 0.02, 0.02, 0.0)
_OVERSHOOT_UP_TO = 0.48, 0.25
# Factors of rounding and coordinate descent on the bits of symbols, without and with frozen
# latents, for the tunes `psnr` and `visual`. Frozen grids have few symbols that descents could
# change.
_DESCENDED, _VISUAL_DESCENDED = (0.98, 1.01), (0.975, 1.0)
_HALVINGS = 0.7  # how often 100 - SSIMULACRA2 is halved from the start of a fit to its end
_GAINS_DB = 1.5  # dB by which the PSNR rises from the start of a fit to its end
# With the tune `visual`: the rise of the PSNR from a fraction of the steps to the end, if it is
# converted to the size at the end by the dB that a tenfold size gains, about the largest of twelve
# fits; the fraction after which a fit may be found to be behind, and the dB by which it has to be.
_GAINS_AT_SIZE_DB = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9), (4.9, 3.9, 2.85, 2.0, 1.5, 1.15, 1.0, 0.6, 0.15)
_DB_PER_DECADE = 11.0
_DECIDED_AFTER, _SPARE_DB = 0.15, 0.25
# The maximum move that coordinate descent compensates, with the tunes `psnr` and `visual`. Further
# steps disturb a fit to a shifted target, so they are taken only as far as descents fail.
_DESCENT_MAKES_UP, _VISUAL_DESCENT_MAKES_UP = 0.05, 0.15
# The maximum distance of a descent's multiplier from that of the fit, as a logarithm, with the tune
# `visual`. A descent with a far multiplier hardly changes the size but loses what the fit gained.
_VISUAL_FARTHEST_DESCENT = 0.7
_FURTHER_GROWTH = 2.0  # growth factor of moves from round to round
_CLOSE = 0.1  # maximum difference between the moves of two candidates around the target


@dataclass(frozen=True)
class FitControl:
    """The controller of the Lagrange multiplier of a fit."""

    target: Target
    first_lmbda: float
    pixel_count: int
    frozen_until: float  # the fraction of the steps in which latents are frozen; 0 if none are
    is_visual: bool = False  # whether the tune is `visual`
    has_failed: bool = False  # whether coordinate descents missed the target

    def following(
        self, lmbda: float, measured: Measured, other_bytes: float, fraction: float, fraction_between: float
    ) -> float:
        """Returns the Lagrange multiplier after a measurement with the multiplier `lmbda`.
        `other_bytes` of the file are not of symbols; `fraction` of the steps is done, and
        `fraction_between` lies between two measurements.

        During a fit the size decreases and the PSNR increases, because the noise decreases. Both
        are therefore extrapolated to the end of the fit before the comparison.
        """
        bits = self._bits_in_the_end(measured.bits, fraction)
        if fraction < _CONTROL_FROM or (self.target.limits_size and bits is None):
            return lmbda
        descended = (_VISUAL_DESCENDED if self.is_visual else _DESCENDED)[bool(self.frozen_until)]
        symbol_bytes = descended * (bits or 0.0) / 8
        remaining = 2 ** (-_HALVINGS * (1 - fraction))
        score = None if measured.score is None else 100 - remaining * (100 - measured.score)
        gains_db = _GAINS_DB * (1 - fraction) ** 3
        final = Figures(other_bytes + symbol_bytes, measured.psnr_db + gains_db, score=score)
        controller = WHILE_FITTING.of(self.target)
        move = controller.wanted(self.target, final)
        if self.target.limits_size:
            move /= 1 + _FOLLOWED_AFTER - fraction
        moved = log(lmbda / self.first_lmbda) + controller.limited(move * fraction_between)
        return self.first_lmbda * exp(min(max(moved, -_FARTHEST), _FARTHEST))

    def is_behind(self, measured: Measured, other_bytes: float, fraction: float, rival: Figures) -> bool:
        """Indicates whether the PSNR at the end of a fit with the tune `visual` would be clearly
        below that of a rival of equal size.
        """
        if fraction < self.frozen_until + _DECIDED_AFTER:
            return False
        now_bytes = other_bytes + measured.bits / 8
        at_rival_size_db = measured.psnr_db + _DB_PER_DECADE * log10(rival.written_bytes / now_bytes)
        return at_rival_size_db + float(np.interp(fraction, *_GAINS_AT_SIZE_DB)) + _SPARE_DB < rival.psnr_db

    def _bits_in_the_end(self, bits: float, fraction: float) -> float | None:
        """Predicts the bits of symbols at the end of a fit. None if latents are frozen or were just
        released.
        """
        if fraction < self.frozen_until + _SETTLED_AFTER:
            return None
        overshoot = float(np.interp(fraction, *_OVERSHOOT))
        most = _OVERSHOOT_UP_TO[bool(self.frozen_until)]
        return max(bits / (1 + overshoot), bits - overshoot * most * self.pixel_count)

    def in_further_steps(self, tried: Sequence[SymbolCandidate]) -> float | None:
        """Returns the lmbda of further steps after the last trial; None if no steps are needed.

        Without frozen latents, and with the tune `visual`, no steps are needed if coordinate
        descent can reach the target. Otherwise none are needed if the target is met or lies between
        two states.
        """
        candidate, controller = tried[-1], IN_FURTHER_STEPS.of(self.target)
        descended = 1.0 if self.frozen_until else _DESCENDED[0]
        if isinstance(self.target, ScoreTarget) and self.target.meets(candidate) and self.target.is_close(candidate):
            return None
        reached = Figures(descended * candidate.written_bytes, candidate.psnr_db, score=candidate.score)
        move = controller.wanted(self.target, reached)
        if self.is_visual:
            is_near = abs(move) < _VISUAL_DESCENT_MAKES_UP and (not self.has_failed or self.target.meets(reached))
        else:
            is_near = self.is_settled(tried) if self.frozen_until else abs(move) < _DESCENT_MAKES_UP
        if is_near:
            return None
        return tried[-1].lmbda * exp(controller.limited(move * _FURTHER_GROWTH ** (len(tried) - 1)))

    def of_next_descent(self, tried: Sequence[SymbolCandidate]) -> float:
        """Returns the lmbda of the next coordinate descent: by false position if the target is
        bracketed, else by moves that double each time.
        """
        smaller, larger = self._nearest_moves(tried)
        if smaller is None or larger is None:
            last, controller = tried[-1], IN_DESCENTS.of(self.target)
            move = log(last.lmbda) + controller.limited(self._wanted(last) * 2 ** (len(tried) - 1))
            if self.is_visual and not self.has_failed:
                first_move = log(tried[0].lmbda)
                move = min(max(move, first_move - _VISUAL_FARTHEST_DESCENT), first_move + _VISUAL_FARTHEST_DESCENT)
            return exp(move)
        first, second = ((one.lmbda, self._wanted(one)) for one in (smaller, larger))
        return false_position(first, second)

    def _nearest_moves(self, tried: Sequence[SymbolCandidate]) -> tuple[SymbolCandidate | None, SymbolCandidate | None]:
        """Returns the trials with the smallest moves towards smaller and larger multipliers. Unlike
        `nearest`, it separates trials of a quality too, which all meet it.
        """
        smaller = [one for one in tried if self._wanted(one) <= 0]
        larger = [one for one in tried if self._wanted(one) > 0]
        return max(smaller, key=self._wanted, default=None), min(larger, key=self._wanted, default=None)

    def nearest(self, tried: Sequence[SymbolCandidate]) -> tuple[SymbolCandidate | None, SymbolCandidate | None]:
        """Returns the nearest to the target of the trials that meet it, and of the others."""

        def distance(one: SymbolCandidate) -> float:
            return abs(self._wanted(one))

        meeting = [one for one in tried if self.target.meets(one)]
        beyond = [one for one in tried if not self.target.meets(one)]
        return min(meeting, key=distance, default=None), min(beyond, key=distance, default=None)

    def is_settled(self, tried: Sequence[SymbolCandidate]) -> bool:
        """Indicates whether a trial is close to the target, or two around it to each other."""
        meeting, beyond = self.nearest(tried)
        if meeting is None:
            return False
        move = self._wanted(meeting)
        return move == 0 or (beyond is not None and abs(self._wanted(beyond) - move) < _CLOSE)

    def _wanted(self, candidate: Candidate) -> float:
        """Returns the change of log(lmbda) that a coordinate descent calls for; 0 if none."""
        if self.target.meets(candidate) and self.target.is_close(candidate):
            return 0.0
        return IN_DESCENTS.of(self.target).wanted(self.target, candidate)
