"""The last choice of the networks: changes move by a step where that lowers the cost.

Rounding takes each change to the nearest step, whatever the others do and whatever it costs. Trials
are better, but each is a measurement of the whole image. So those that promise most are made
first, by an expansion of the cost around the present changes,

    cost(w + d) - cost(w) = g d + h d^2 / 2,    h = c sum_k (g_k - mean g)^2

where g is the gradient, the sum of those g_k of the windows; of one window, h = c g^2. If the
gradients of symbols did not depend on each other, h of their bits would be their Fisher
information. They do, and squared errors are another matter, so a factor c for each kind of change
is learned from trials; h of a change that was tried is what its trial said.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from dfmcodec._types import Float32
from dfmcodec.codecs.overfitted.encode.fit import Fit, FitState
from dfmcodec.codecs.overfitted.encode.networks import Networks
from dfmcodec.codecs.overfitted.encode.quantize import Rounding, decoder_networks, flat_gradient
from dfmcodec.codecs.overfitted.sections.networks import bits_of_steps
from dfmcodec.codecs.overfitted.weights import WeightDeltas

Float64 = npt.NDArray[np.float64]
_AT_A_TIME = 60  # trials by one gradient
_LEAST_GAIN = 0.5  # bits
_FIRST_FACTOR = 0.5  # c before any trial
_FEW = 6  # trials; if no more than these changed, what was not tried is thought too
_FALL = 0.6  # stiff, and its h is taken less by this factor
_LEAST_FACTOR = 0.02
_KIND_WINDOWS = 4  # the mean of a kind counts as much as that many windows


class _Curvature:
    """What is known of h.

    Args:
        kinds: The kind of each change, [weights].
    """

    def __init__(self, kinds: npt.NDArray[np.intp]) -> None:
        self._kinds = kinds
        self._seen = np.zeros(len(kinds))
        self._sums: Float64 | None = None
        self.relaxed = 1.0

    def squares(self, of_windows: Float32) -> Float64:
        """The sums over windows of squared gradients less their means, drawn to the mean of their
        kind, as few windows say little: float64 [weights].

        Args:
            of_windows: The gradient of each window, [windows, weights].
        """
        count = len(of_windows)
        apart = of_windows - of_windows.mean(axis=0) if count > 1 else of_windows
        found = (apart**2).sum(axis=0, dtype=np.float64)
        of_kinds = self._of_kinds(found)[self._kinds]
        squares: Float64 = (count * found + _KIND_WINDOWS * of_kinds) / (count + _KIND_WINDOWS)
        return squares

    def _of_kinds(self, numbers: Float64) -> Float64:
        """The mean for each kind."""
        means: Float64 = np.bincount(self._kinds, numbers) / np.bincount(self._kinds)
        return means

    def of(self, squares: Float64) -> Float64:
        """h of all changes."""
        if self._sums is None:
            means = self._of_kinds(squares)
            self._sums = np.stack([_FIRST_FACTOR * means, means])
        observed, expected = self._sums
        factors = observed / np.maximum(expected, np.finfo(np.float64).tiny)
        return np.where(self._seen > 0, self._seen, self.relaxed * factors[self._kinds] * squares)

    def learn(self, at: int, curvature: float, square: float) -> None:
        """Takes h of a change from its trial."""
        assert self._sums is not None
        self._seen[at] = max(curvature, np.finfo(np.float64).tiny)
        self._sums[:, self._kinds[at]] += curvature, square


def refined(
    fit: Fit,
    state: FitState,
    rounding: Rounding,
    trials: int,
    should_stop: Callable[[], bool],
) -> Networks:
    """Networks that a file can hold and that cost less than those of `rounding`, with the symbols
    of a state.

    Args:
        fit: The fit.
        state: Its last state.
        rounding: How its networks are rounded.
        trials: The number of measurements, at most.
        should_stop: Asked before each of them; True ends the search there.
    """
    prior, deltas = rounding.prior, rounding.deltas(state.networks)
    grids = [np.rint(grid) for grid in state.latents]
    sizes = prior.step_sizes(rounding.exponents)
    curvature = _Curvature(prior.kinds())
    symbols = deltas.symbols.copy()

    def networks() -> Networks:
        return decoder_networks(prior, WeightDeltas(rounding.exponents, symbols))

    def cost() -> float:
        return fit.cost(fit.measured(state._replace(networks=networks())))

    least = cost()
    while curvature.relaxed > _LEAST_FACTOR:
        of_windows = np.array([flat_gradient(each) * sizes for each in fit.gradients(networks(), grids)])
        gradient = of_windows.sum(axis=0, dtype=np.float64)
        squares = curvature.squares(of_windows)
        bits = bits_of_steps(prior, WeightDeltas(rounding.exponents, symbols))
        gains = np.stack([gradient, -gradient]) - bits - curvature.of(squares) / 2
        moves, gain = 2 * gains.argmax(axis=0) - 1, gains.max(axis=0)
        promising = [int(at) for at in np.argsort(-gain)[:_AT_A_TIME] if gain[at] > _LEAST_GAIN]
        moved = 0
        for at in promising:
            if trials == 0 or should_stop():
                return networks()
            trials -= 1
            symbols[at] += moves[at]
            found = cost()
            curvature.learn(at, 2 * (found - least - gradient[at] * moves[at]), squares[at])
            if found + bits[max(moves[at], 0), at] < least:
                least = found
                moved += 1
            else:
                symbols[at] -= moves[at]
        if moved < _FEW:
            curvature.relaxed *= _FALL
    return networks()
