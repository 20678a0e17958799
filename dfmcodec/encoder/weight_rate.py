"""Weights -> symbols under a size limit or a PSNR floor: the steps of the layers and the rounding.

At high rate a layer's weights w of step q add sum_w h_w q^2 / 12 to the MSE (h_w the sensitivity, see
`Trainer.sensitivity`), and halving q costs one bit a weight. The best steps at any rate are therefore
proportional to 1 / sqrt(mean h) of the layer; one common index moves all of them along the frontier.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import log

import numpy as np
import numpy.typing as npt

from dfmcodec import bitstream, network_coding
from dfmcodec.entropy import best_laplace_index, laplace
from dfmcodec.errors import TargetUnreachableError
from dfmcodec.model import CoordinateArchitecture, QuantizedNetwork, Symbols
from dfmcodec.quantize import STEP_COUNT, STEPS_PER_OCTAVE, quantize, step_per_weight

Float32 = npt.NDArray[np.float32]

FINEST_INDEX = 20 * STEPS_PER_OCTAVE  # steps of 2^-20: float32 weights gain nothing from finer ones
COARSEST_INDEX = -8 * STEPS_PER_OCTAVE  # common to all layers; a layer's own index is cut off at 0, a step of 1
FILL = 0.97  # of the budget that a file should use where the network can


@dataclass(frozen=True)
class Quantizer:
    """Turns one network's weights into symbols.

    Args:
        architecture: The network.
        height: Of the picture.
        width: Of the picture.
        bit_depth: Of the picture.
        sensitivity: float32 [weight_count].
    """

    architecture: CoordinateArchitecture
    height: int
    width: int
    bit_depth: int
    sensitivity: Float32

    def step_indices(self, common: int) -> tuple[int, ...]:
        """Indices of all layers on the frontier at a common index; larger is finer."""
        sizes = self.architecture.layer_sizes()
        means = [float(part.mean()) for part in np.split(self.sensitivity, np.cumsum(sizes)[:-1])]
        reference = float(np.exp(np.mean(np.log(np.maximum(means, 1e-12)))))
        octaves = [0.5 * float(np.log2(max(mean, 1e-12) / reference)) for mean in means]
        finer = [round(STEPS_PER_OCTAVE * octave) for octave in octaves]
        return tuple(int(np.clip(common + offset, 0, STEP_COUNT - 1)) for offset in finer)

    def quantize(self, weights: Float32, step_indices: tuple[int, ...]) -> QuantizedNetwork:
        """Symbols by rate-distortion optimised rounding."""
        steps = step_per_weight(step_indices, self.architecture.layer_sizes())
        nearest = QuantizedNetwork(
            self.architecture, self.height, self.width, quantize(weights, steps), tuple(step_indices), self.bit_depth
        )
        return replace(nearest, symbols=self._round(weights, steps, nearest))

    def _round(self, weights: Float32, steps: npt.NDArray[np.float64], nearest: QuantizedNetwork) -> Symbols:
        """Moves symbols one towards zero where that lowers D + lambda R.

        D is the sensitivity times the squared error, R the bits of the table that the nearest symbols choose,
        and lambda = (ln 2 / 6) q^2 h the slope of a layer's rate-distortion curve at its step.
        """
        symbols = nearest.symbols.copy()
        for part, groups in network_coding.coding_groups(self.architecture):
            layer, h, q = symbols[part], self.sensitivity[part], steps[part]
            lmbda = log(2) / 6 * float(np.mean(h * q * q))
            for group in groups:
                current = layer[group]
                lower = current - np.sign(current)
                index = best_laplace_index(current)
                saved_bits = laplace(index).cost_bits(current) - laplace(index).cost_bits(lower)
                target = weights[part][group] / q[group]
                more_error = h[group] * q[group] ** 2 * ((lower - target) ** 2 - (current - target) ** 2)
                layer[group] = np.where(more_error < lmbda * saved_bits, lower, current)
        return symbols

    def file_bytes(self, model: QuantizedNetwork) -> float:
        """Estimated size of the file."""
        return bitstream.estimate_network_bytes(model)

    def common_index_for(self, weights: Float32, budget_bytes: float) -> int:
        """The finest common index whose file is estimated to fit the budget.

        Raises:
            TargetUnreachableError: Not even the coarsest fits.
        """

        def fits(common: int) -> bool:
            return self.file_bytes(self.quantize(weights, self.step_indices(common))) <= budget_bytes

        finest = _last_where(fits)
        if finest is None:
            msg = f"{int(budget_bytes)} bytes are too few for this network; give more or a smaller --depth and --width"
            raise TargetUnreachableError(msg)
        return finest

    def common_index_of_psnr(
        self, weights: Float32, psnr_of: Callable[[QuantizedNetwork], float], floor_db: float
    ) -> int | None:
        """The coarsest common index whose decoded picture reaches the PSNR; None where none does."""

        def falls_short(common: int) -> bool:
            return psnr_of(self.quantize(weights, self.step_indices(common))) < floor_db

        short = _last_where(falls_short)
        if short is None:
            return COARSEST_INDEX
        return short + 1 if short < FINEST_INDEX else None

    def settle(self, weights: Float32, step_indices: tuple[int, ...], budget_bytes: int) -> QuantizedNetwork:
        """Steps near the given ones whose real file fits the budget and fills it, changing as few as it can.

        Raises:
            TargetUnreachableError: No steps fit.
        """

        def real_bytes(indices: tuple[int, ...]) -> int:
            return len(bitstream.write(self.quantize(weights, indices), checked=False))

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
        while refined and used < FILL * budget_bytes:
            refined = False
            for layer in order:
                finer = _moved(step_indices, int(layer), +1)
                size = real_bytes(finer)
                if finer != step_indices and size <= budget_bytes and max(finer) <= FINEST_INDEX:
                    step_indices, used, refined = finer, size, True
        return self.quantize(weights, step_indices)


def _last_where(holds: Callable[[int], bool]) -> int | None:
    """The finest common index at which a condition holds that stops holding somewhere; None if it never does."""
    low, high = COARSEST_INDEX, FINEST_INDEX
    if holds(high):
        return high
    if not holds(low):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def _moved(step_indices: tuple[int, ...], layer: int, by: int) -> tuple[int, ...]:
    moved = list(step_indices)
    moved[layer] = int(np.clip(moved[layer] + by, 0, STEP_COUNT - 1))
    return tuple(moved)
