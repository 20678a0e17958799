"""The loss of a window and its gradient by a compiled kernel: `window_loss` in C, for a CPU.

XLA computes every operation for all pixels of a window before the next one. The kernel takes a few
pixels through all of them, and then all the way back, so a step of the fit takes a quarter of the
time, and nothing is compiled at run time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dfmcodec._types import Float32
from dfmcodec.codecs.overfitted.context import ACTIVATION_MAX, COMPANDING
from dfmcodec.codecs.overfitted.encode.contexts import FEATURE_UNIT, HIDDEN_UNIT
from dfmcodec.codecs.overfitted.encode.networks import Networks
from dfmcodec.codecs.overfitted.encode.window_loss import ImageTerms, Softness, WindowPixels
from dfmcodec.codecs.overfitted.encode.windows import WINDOW, Windows, grid_sides, window_samples
from dfmcodec.codecs.overfitted.grids import GRID_LEVELS
from dfmcodec.threads import in_threads

_COMPANDING = np.array(COMPANDING, dtype=np.float32) / np.float32(FEATURE_UNIT)
_SYMBOLS = sum(window_samples(level) ** 2 for level in range(GRID_LEVELS))
_LATENTS = sum(side * side for side in grid_sides())


class _Weights(NamedTuple):
    """Networks, and their weights one after the other, float32 [weights]."""

    networks: Networks
    flat: Float32


@dataclass(frozen=True)
class LossByKernel:
    """`WindowLoss` by the kernels.

    Args:
        kernels: The module.
        windows: The windows of the image.
        pixels: What each of them is to look like.
    """

    kernels: ModuleType
    windows: Windows
    pixels: Sequence[WindowPixels]
    _workspaces: SimpleQueue[npt.NDArray[np.uint8]] = field(default_factory=SimpleQueue, init=False)

    def weights(self, networks: Networks) -> Any:
        return _Weights(networks, networks.flat)

    def gradients(
        self,
        weights: Any,
        image: ImageTerms,
        latents: Sequence[Float32],
        softness: Sequence[Softness],
        windows: Sequence[int],
    ) -> list[tuple[Any, Float32]]:
        def gradient(of_window: tuple[Softness, int]) -> tuple[Any, Float32]:
            soft, window = of_window
            grad_weights, grad_latents = np.empty_like(weights.flat), np.empty(_LATENTS, dtype=np.float32)
            rounding = float(soft.temperature), float(soft.noise), int(soft.seed)
            terms = self._terms(weights, image, latents, window)
            with self._workspace() as workspace:
                self.kernels.window_gradient(*terms, workspace, rounding, grad_weights, grad_latents)
            return _Weights(weights.networks, grad_weights), grad_latents

        return in_threads(gradient, zip(softness, windows, strict=True))

    def total(self, gradients: Sequence[Any]) -> Networks:
        networks: Networks = gradients[0].networks
        return networks.from_flat(np.sum([gradient.flat for gradient in gradients], axis=0))

    def costs(
        self, weights: Any, image: ImageTerms, grids: Sequence[Float32], windows: Sequence[int]
    ) -> list[tuple[Float32, Float32]]:
        def costs(window: int) -> tuple[Float32, Float32]:
            errors, bits = np.empty((WINDOW, WINDOW), dtype=np.float32), np.empty(_SYMBOLS, dtype=np.float32)
            with self._workspace() as workspace:
                self.kernels.window_costs(*self._terms(weights, image, grids, window), workspace, errors, bits)
            return errors, bits

        return in_threads(costs, windows)

    @contextmanager
    def _workspace(self) -> Iterator[npt.NDArray[np.uint8]]:
        """What a window is worked on in: 31 MB that are kept for the next one, uint8 [bytes]."""
        try:
            workspace = self._workspaces.get_nowait()
        except Empty:
            workspace = np.empty(self.kernels.window_workspace(), dtype=np.uint8)
        try:
            yield workspace
        finally:
            self._workspaces.put(workspace)

    def _terms(self, weights: Any, image: ImageTerms, grids: Sequence[Float32], window: int) -> tuple[Any, ...]:
        """The arguments that both kernels begin with."""
        machine, contexts = weights.networks
        return (
            weights.flat,
            (machine.lift.shape[0], contexts.w1.shape[0]),
            _COMPANDING,
            ACTIVATION_MAX / HIDDEN_UNIT,
            self.windows.place(window),
            (float(image.lmbda), float(image.step), float(image.peak)),
            self.pixels[window].colours,
            self.pixels[window].pixel_weights,
            tuple(grids),
        )
