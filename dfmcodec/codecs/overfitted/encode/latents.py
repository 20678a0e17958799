"""The latents of a fit, updated window by window.

Adam (Kingma and Ba 2015) updates each latent once per training step, when its own window is
visited. Until then, the neighbouring windows, which have the latent in their halo, accumulate their
gradients for it. The running means of Adam are short, because networks are updated many times
between two updates of a latent and old gradients are no longer valid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dfmcodec._types import Float32
from dfmcodec.codecs.overfitted.encode.windows import Windows
from dfmcodec.kernels import compiled

_MEAN_BETA, _SQUARE_BETA = 0.6, 0.95
_EPSILON = 1e-8


@dataclass(frozen=True)
class Latents:
    """Latents with the state of Adam. All arrays are float32 [h_l, w_l] for each level."""

    values: tuple[Float32, ...]  # in symbols
    means: tuple[Float32, ...]  # the running means of the gradients
    squares: tuple[Float32, ...]  # the running means of the squared gradients
    waiting: tuple[Float32, ...]  # the gradients accumulated since the last update of each latent

    @classmethod
    def start(cls, values: Sequence[Float32]) -> Latents:
        """Returns latents before the first update."""
        zeros = (tuple(np.zeros_like(grid) for grid in values) for _ in range(3))
        return cls(tuple(np.array(grid, dtype=np.float32, order="C") for grid in values), *zeros)

    def copy(self) -> Latents:
        """Returns a copy, because latents are updated in place."""
        return Latents(*(tuple(grid.copy() for grid in grids) for grids in self._arrays))

    def add(self, windows: Windows, number: int, gradients: Float32) -> None:
        """Accumulates the gradients of a window for its latents; see `Windows.cut`."""
        compiled.add_window_gradient(place=windows.place(number), grad_latents=gradients, waiting=self.waiting)

    def move(self, windows: Windows, number: int, rates: Sequence[float], step: int) -> None:
        """Updates a window's own latents.

        `rates` are the learning rates of the levels, in symbols; `step` counts previous updates.
        """
        biased_rates, square_bias = self._biased(rates, step)
        compiled.move_latents(
            place=windows.place(number),
            values=self.values,
            means=self.means,
            squares=self.squares,
            waiting=self.waiting,
            rates=biased_rates,
            mean_fraction=1 - _MEAN_BETA,
            square_fraction=1 - _SQUARE_BETA,
            per_square_bias=1 / square_bias,
            epsilon=_EPSILON,
        )

    @staticmethod
    def _biased(rates: Sequence[float], step: int) -> tuple[Float32, float]:
        """Returns rates divided by the bias of running means, and the bias of running squares."""
        mean_bias, square_bias = (1 - beta ** (step + 1) for beta in (_MEAN_BETA, _SQUARE_BETA))
        return np.array(rates, dtype=np.float32) / np.float32(mean_bias), square_bias

    @property
    def _arrays(self) -> tuple[tuple[Float32, ...], ...]:
        return self.values, self.means, self.squares, self.waiting
