"""Quantisation of a network's weights: the step sizes of its layers, and the rounding.

At high rate, the weights w of a layer with step size q add sum_w h_w q^2 / 12 to the MSE, where h_w
is the sensitivity (`train.Trainer.sensitivity`). Halving q costs one bit per weight. At any rate,
the best step sizes are therefore proportional to 1 / sqrt(mean h) of the layer. One common index
moves all of them along the rate-distortion curve.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import log

import numpy as np
import numpy.typing as npt

from dfmcodec import container
from dfmcodec._types import Float32, Symbols
from dfmcodec.codecs.coordinate.contents import QuantizedNetwork
from dfmcodec.codecs.coordinate.sections import coding_groups, estimate_network_bytes
from dfmcodec.entropy import best_laplace_index, laplace
from dfmcodec.errors import TargetUnreachableError
from dfmcodec.fourier.network import CoordinateArchitecture
from dfmcodec.fourier.quantize import STEP_COUNT, STEPS_PER_OCTAVE, quantize, step_per_weight
from dfmcodec.search.config import LEAST_USED
from dfmcodec.search.rate_control import Bracket

FINEST_INDEX = 20 * STEPS_PER_OCTAVE  # a step size of 2^-20: float32 weights gain nothing from finer ones
COARSEST_INDEX = -8 * STEPS_PER_OCTAVE  # minimum common index; a layer has at least index 0, a step size of 1


@dataclass(frozen=True)
class Quantizer:
    """Quantises the weights of one network."""

    architecture: CoordinateArchitecture
    height: int
    width: int
    bit_depth: int
    sensitivity: Float32  # of each weight, float32 [weight_count]

    def step_indices(self, common: int) -> tuple[int, ...]:
        """Returns the step indices of all layers for a common index; larger is finer."""
        sizes = self.architecture.layer_sizes()
        means = [float(layer.mean()) for layer in np.split(self.sensitivity, np.cumsum(sizes)[:-1])]
        reference = float(np.exp(np.mean(np.log(np.maximum(means, 1e-12)))))
        octaves = [0.5 * float(np.log2(max(mean, 1e-12) / reference)) for mean in means]
        finer = [round(STEPS_PER_OCTAVE * octave) for octave in octaves]
        return tuple(int(np.clip(common + offset, 0, STEP_COUNT - 1)) for offset in finer)

    def quantize(self, weights: Float32, step_indices: tuple[int, ...]) -> QuantizedNetwork:
        """Quantises weights, float32 [weight_count], by rate-distortion optimised rounding."""
        steps = step_per_weight(step_indices, self.architecture.layer_sizes())
        nearest = QuantizedNetwork(
            self.architecture, self.height, self.width, quantize(weights, steps), tuple(step_indices), self.bit_depth
        )
        return replace(nearest, symbols=self._round(weights, steps, nearest))

    def _round(self, weights: Float32, steps: npt.NDArray[np.float64], nearest: QuantizedNetwork) -> Symbols:
        """Moves symbols by one towards zero where that lowers D + lambda R.

        D is the sensitivity times the squared error. R is the number of bits under the table that
        the nearest symbols choose. lambda = (ln 2 / 6) q^2 h is the slope of a layer's
        rate-distortion curve at its step.
        """
        symbols = nearest.symbols.copy()
        for layer, groups in coding_groups(self.architecture):
            layer_symbols, h, q = symbols[layer], self.sensitivity[layer], steps[layer]
            lmbda = log(2) / 6 * float(np.mean(h * q * q))
            for group in groups:
                current = layer_symbols[group]
                lower = current - np.sign(current)
                index = best_laplace_index(current)
                saved_bits = laplace(index).cost_bits(current) - laplace(index).cost_bits(lower)
                target = weights[layer][group] / q[group]
                more_error = h[group] * q[group] ** 2 * ((lower - target) ** 2 - (current - target) ** 2)
                layer_symbols[group] = np.where(more_error < lmbda * saved_bits, lower, current)
        return symbols

    def common_index_for(self, weights: Float32, budget_bytes: float) -> int:
        """Returns the finest common index whose estimated file size fits the budget. Raises
        TargetUnreachableError if not even the coarsest index fits.
        """

        def fits(common: int) -> bool:
            return estimate_network_bytes(self.quantize(weights, self.step_indices(common))) <= budget_bytes

        finest = _last_where(fits)
        if finest is None:
            few = f"{int(budget_bytes)} bytes are too few for this network"
            msg = f"{few}; give more or a smaller --depth and --layer-width"
            raise TargetUnreachableError(msg)
        return finest

    def common_index_of_psnr(
        self, weights: Float32, psnr_of: Callable[[QuantizedNetwork], float], floor_db: float
    ) -> int | None:
        """Returns the coarsest common index that reaches a PSNR; None if none does."""

        def falls_short(common: int) -> bool:
            return psnr_of(self.quantize(weights, self.step_indices(common))) < floor_db

        short = _last_where(falls_short)
        if short is None:
            return COARSEST_INDEX
        return short + 1 if short < FINEST_INDEX else None

    def settle(self, weights: Float32, step_indices: tuple[int, ...], budget_bytes: int) -> QuantizedNetwork:
        """Quantises weights, float32 [weight_count], with step sizes near those of the given
        indices, so that the written file without ancillary data fits the budget and fills it.
        Changes as few step sizes as possible. Raises TargetUnreachableError if no step sizes fit.
        """

        def real_bytes(indices: tuple[int, ...]) -> int:
            return len(container.write(self.quantize(weights, indices), checked=False))

        order = np.argsort([-size for size in self.architecture.layer_sizes()])
        turn = 0
        while real_bytes(step_indices) > budget_bytes:
            if max(step_indices) == 0:
                msg = f"the target of {budget_bytes} bytes is too small for this network"
                raise TargetUnreachableError(msg)
            step_indices = _moved(step_indices, int(order[turn % len(order)]), -1)
            turn += 1
        used = real_bytes(step_indices)
        refined = True
        while refined and used < LEAST_USED * budget_bytes:
            refined = False
            for layer in order:
                finer = _moved(step_indices, int(layer), +1)
                size = real_bytes(finer)
                if finer != step_indices and size <= budget_bytes and max(finer) <= FINEST_INDEX:
                    step_indices, used, refined = finer, size, True
        return self.quantize(weights, step_indices)


def _last_where(holds: Callable[[int], bool]) -> int | None:
    """Returns the finest common index at which a condition holds; None if it holds nowhere.

    The condition must hold up to some index and fail beyond it.
    """
    low, high = COARSEST_INDEX, FINEST_INDEX
    if holds(high):
        return high
    if not holds(low):
        return None
    bracket = Bracket(low, high)
    bracket.bisect(holds)
    return bracket.low


def _moved(step_indices: tuple[int, ...], layer: int, by: int) -> tuple[int, ...]:
    """Returns the step indices after that of one layer is changed, within its limits."""
    moved = list(step_indices)
    moved[layer] = int(np.clip(moved[layer] + by, 0, STEP_COUNT - 1))
    return tuple(moved)
