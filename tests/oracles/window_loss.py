"""The window loss of the overfitted codec by JAX on a CPU: the oracle of its kernels."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import jax
import numpy as np

from dfmcodec._types import Float32
from dfmcodec.codecs.overfitted.encode.by_jax import window_loss
from dfmcodec.codecs.overfitted.encode.networks import Networks
from dfmcodec.codecs.overfitted.encode.window_loss import (
    Costs,
    Gradients,
    ImageTerms,
    Softness,
    Softnesses,
    WindowLoss,
)
from dfmcodec.fourier.jax_backend import calls
from dfmcodec.threads import in_threads


def _total(gradients: Sequence[Networks]) -> Networks:
    total: Networks = jax.tree.map(lambda *parts: sum(parts), *gradients)
    return total


class LossByJax(WindowLoss):
    """`WindowLoss` by programs that JAX compiles once for all images.

    On a CPU a program uses one core. Computing several windows at once is faster than distributing
    each small operation over all cores.
    """

    def weights(self, networks: Networks) -> Any:
        return networks

    def gradients(self, weights: Any, image: ImageTerms, latents: Sequence[Float32], softness: Softnesses) -> Gradients:
        def gradient(window_softness: tuple[int, Softness]) -> tuple[Any, Float32]:
            window, soft = window_softness
            parts = self.windows.cut(window, latents)
            grad_weights, grad_latents = _program(window_loss.gradient_of_window)(
                weights, image, parts, soft, self.pixels[window]
            )
            return grad_weights, np.asarray(grad_latents)

        with calls():
            return in_threads(gradient, softness.items())

    def total(self, gradients: Sequence[Any]) -> Networks:
        with calls():
            total: Networks = jax.tree.map(np.asarray, _program(_total)(gradients))
        return total

    def colours(self, weights: Any, image: ImageTerms, grids: Sequence[Float32]) -> list[Float32]:
        def colours(window: int) -> Float32:
            return np.asarray(_program(window_loss.colours_of_window)(weights, image, self.windows.cut(window, grids)))

        with calls():
            return in_threads(colours, range(len(self.pixels)))

    def costs(self, weights: Any, image: ImageTerms, grids: Sequence[Float32], windows: Sequence[int]) -> Costs:
        def costs(window: int) -> tuple[Float32, Float32]:
            parts = self.windows.cut(window, grids)
            errors, bits = _program(window_loss.costs_of_window)(weights, image, parts, self.pixels[window])
            return np.asarray(errors), np.asarray(bits)

        with calls():
            return in_threads(costs, windows)


@cache
def _program(function: Any) -> Any:
    return jax.jit(
        function, compiler_options={"xla_cpu_multi_thread_eigen": False} if window_loss.is_on_cpu() else None
    )
