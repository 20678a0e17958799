"""The window loss and its gradient by a compiled kernel: `window_loss` in C, for a CPU.

XLA computes each operation for all pixels of a window before the next one. The kernel computes all
operations for a few pixels, forward and then backward. A training step takes a quarter of the time,
and nothing is compiled at run time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dfmcodec._types import Float32
from dfmcodec.codecs.overfitted.context import ACTIVATION_MAX, COMPANDING
from dfmcodec.codecs.overfitted.encode.contexts import FEATURE_UNIT, HIDDEN_UNIT
from dfmcodec.codecs.overfitted.encode.networks import Networks
from dfmcodec.codecs.overfitted.encode.window_loss import (
    Costs,
    Gradients,
    ImageTerms,
    Softness,
    Softnesses,
    WindowLoss,
)
from dfmcodec.codecs.overfitted.encode.windows import WINDOW, grid_sides, window_samples
from dfmcodec.codecs.overfitted.grids import GRID_LEVELS
from dfmcodec.image.region import CHANNELS
from dfmcodec.kernels import compiled
from dfmcodec.kernels.arguments import FitWindow
from dfmcodec.threads import in_threads

_COMPANDING = np.array(COMPANDING, dtype=np.float32) / np.float32(FEATURE_UNIT)
_SYMBOLS = sum(window_samples(level) ** 2 for level in range(GRID_LEVELS))
_LATENTS = sum(side * side for side in grid_sides())


class _Weights(NamedTuple):
    """Networks and their concatenated weights, float32 [weights]."""

    networks: Networks
    flat: Float32


@dataclass(frozen=True)
class LossByKernel(WindowLoss):
    """`WindowLoss` by the kernels."""

    _workspaces: SimpleQueue[npt.NDArray[np.uint8]] = field(default_factory=SimpleQueue)

    def weights(self, networks: Networks) -> Any:
        return _Weights(networks, networks.flat)

    def gradients(self, weights: Any, image: ImageTerms, latents: Sequence[Float32], softness: Softnesses) -> Gradients:
        def gradient(of_window: tuple[int, Softness]) -> tuple[Any, Float32]:
            window, soft = of_window
            grad_weights, grad_latents = np.empty_like(weights.flat), np.empty(_LATENTS, dtype=np.float32)
            with self._workspace() as workspace:
                compiled.window_gradient(
                    window=self._fit_window(weights, image, latents, window),
                    workspace=workspace,
                    temperature=float(soft.temperature),
                    noise=float(soft.noise),
                    seed=int(soft.seed),
                    grad_weights=grad_weights,
                    grad_latents=grad_latents,
                )
            return _Weights(weights.networks, grad_weights), grad_latents

        return in_threads(gradient, softness.items())

    def total(self, gradients: Sequence[Any]) -> Networks:
        networks: Networks = gradients[0].networks
        return networks.from_flat(np.sum([gradient.flat for gradient in gradients], axis=0))

    def costs(self, weights: Any, image: ImageTerms, grids: Sequence[Float32], windows: Sequence[int]) -> Costs:
        def costs(window: int) -> tuple[Float32, Float32]:
            errors, bits = np.empty((WINDOW, WINDOW), dtype=np.float32), np.empty(_SYMBOLS, dtype=np.float32)
            with self._workspace() as workspace:
                fit_window = self._fit_window(weights, image, grids, window)
                compiled.window_costs(window=fit_window, workspace=workspace, errors=errors, bits=bits)
            return errors, bits

        return in_threads(costs, windows)

    def colours(self, weights: Any, image: ImageTerms, grids: Sequence[Float32]) -> list[Float32]:
        def colours(window: int) -> Float32:
            decoded = np.empty((CHANNELS, WINDOW, WINDOW), dtype=np.float32)
            with self._workspace() as workspace:
                fit_window = self._fit_window(weights, image, grids, window)
                compiled.window_colours(window=fit_window, workspace=workspace, decoded=decoded)
            return decoded

        return in_threads(colours, range(len(self.pixels)))

    @contextmanager
    def _workspace(self) -> Iterator[npt.NDArray[np.uint8]]:
        """Returns the workspace of a window: 4 MB, reused for the next window, uint8 [bytes]."""
        try:
            workspace = self._workspaces.get_nowait()
        except Empty:
            workspace = np.empty(compiled.window_workspace(), dtype=np.uint8)
        try:
            yield workspace
        finally:
            self._workspaces.put(workspace)

    def _fit_window(self, weights: Any, image: ImageTerms, grids: Sequence[Float32], window: int) -> FitWindow:
        """Returns the kernel arguments of a window."""
        synthesis, contexts = weights.networks
        return FitWindow(
            weights=weights.flat,
            width=synthesis.lift.shape[0],
            units=contexts.w1.shape[0],
            companding=_COMPANDING,
            activation_max=ACTIVATION_MAX / HIDDEN_UNIT,
            place=self.windows.place(window),
            lmbda=float(image.lmbda),
            step_size=float(image.step),
            peak=float(image.peak),
            colours=self.pixels[window].colours,
            pixel_weights=self.pixels[window].pixel_weights,
            grids=tuple(grids),
        )
