"""Coordinate descent of the networks: weight deltas change by a step size where that lowers the
cost.

Rounding moves each delta to the nearest multiple, independently of the other deltas and of its
cost. Trials find better deltas, but each trial measures the complete image. The most promising
trials are therefore made first, according to an expansion of the cost around the current deltas,

    cost(w + d) - cost(w) = g d + h d^2 / 2,    h = c sum_k (g_k - mean g)^2

where the gradient g is the sum of the gradients g_k of the windows. For a single window, h = c g^2.
If the gradients of symbols were independent, h of their bits would be their Fisher information.
They are not, and squared errors behave differently, so trials determine a factor c for each kind of
delta. After a trial of a delta, h is the measured value.
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
_AT_A_TIME = 60  # trials per gradient
_LEAST_GAIN = 0.5  # minimum gain in bits
_FIRST_FACTOR = 0.5  # c before any trial
_FEW = 6  # trials; if no more than these changed a delta, the model of h is considered too stiff
_FALL = 0.6  # factor on h in that case
_LEAST_FACTOR = 0.02
_KIND_WINDOWS = 4  # number of windows to which the mean of a kind is equivalent


class _Curvature:
    """The estimate of h, from the kind of each delta, [weights]."""

    def __init__(self, kinds: npt.NDArray[np.intp]) -> None:
        self._kinds = kinds
        self._seen = np.zeros(len(kinds))
        self._sums: Float64 | None = None
        self.relaxed = 1.0

    def squares(self, gradients: Float32) -> Float64:
        """Returns the sums over windows of squared deviations of the gradients, [windows, weights],
        from their mean, shrunk towards the mean of their kind because windows are few: float64
        [weights].
        """
        count = len(gradients)
        apart = gradients - gradients.mean(axis=0) if count > 1 else gradients
        variances = (apart**2).sum(axis=0, dtype=np.float64)
        kind_variances = self._of_kinds(variances)[self._kinds]
        squares: Float64 = (count * variances + _KIND_WINDOWS * kind_variances) / (count + _KIND_WINDOWS)
        return squares

    def _of_kinds(self, numbers: Float64) -> Float64:
        """Returns the mean for each kind."""
        means: Float64 = np.bincount(self._kinds, numbers) / np.bincount(self._kinds)
        return means

    def of(self, squares: Float64) -> Float64:
        """Returns h of all deltas."""
        if self._sums is None:
            means = self._of_kinds(squares)
            self._sums = np.stack([_FIRST_FACTOR * means, means])
        observed, expected = self._sums
        factors = observed / np.maximum(expected, np.finfo(np.float64).tiny)
        return np.where(self._seen > 0, self._seen, self.relaxed * factors[self._kinds] * squares)

    def learn(self, at: int, curvature: float, square: float) -> None:
        """Stores the h that a trial measured."""
        assert self._sums is not None
        self._seen[at] = max(curvature, np.finfo(np.float64).tiny)
        self._sums[:, self._kinds[at]] += curvature, square


def refined(fit: Fit, state: FitState, rounding: Rounding, trials: int, should_stop: Callable[[], bool]) -> Networks:
    """Returns networks that a file can store and that cost less than those of `rounding`, with the
    symbols of a state. `trials` is the maximum number of measurements.
    """
    weights, deltas = rounding.weights, rounding.deltas(state.networks)
    grids = [np.rint(grid) for grid in state.latents]
    sizes = weights.step_sizes(rounding.exponents)
    curvature = _Curvature(weights.kinds())
    symbols = deltas.symbols.copy()

    def networks() -> Networks:
        return decoder_networks(weights, WeightDeltas(rounding.exponents, symbols))

    def cost() -> float:
        return fit.cost(fit.measured(state._replace(networks=networks())))

    least = cost()
    while curvature.relaxed > _LEAST_FACTOR:
        gradients = np.array([flat_gradient(each) * sizes for each in fit.gradients(networks(), grids)])
        gradient = gradients.sum(axis=0, dtype=np.float64)
        squares = curvature.squares(gradients)
        bits = bits_of_steps(weights, WeightDeltas(rounding.exponents, symbols))
        gains = np.stack([gradient, -gradient]) - bits - curvature.of(squares) / 2
        moves, gain = 2 * gains.argmax(axis=0) - 1, gains.max(axis=0)
        promising = [int(at) for at in np.argsort(-gain)[:_AT_A_TIME] if gain[at] > _LEAST_GAIN]
        moved = 0
        for at in promising:
            if trials == 0 or should_stop():
                return networks()
            trials -= 1
            symbols[at] += moves[at]
            trial_cost = cost()
            curvature.learn(at, 2 * (trial_cost - least - gradient[at] * moves[at]), squares[at])
            if trial_cost + bits[max(moves[at], 0), at] < least:
                least = trial_cost
                moved += 1
            else:
                symbols[at] -= moves[at]
        if moved < _FEW:
            curvature.relaxed *= _FALL
    return networks()
