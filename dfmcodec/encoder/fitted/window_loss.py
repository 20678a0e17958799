"""The loss of a window and its gradient, as JAX computes them.

`window_kernel` computes the same on processors for which there are compiled kernels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from dfmcodec._types import Float32
from dfmcodec.encoder.fitted.contexts import symbol_bits
from dfmcodec.encoder.fitted.machine import window_colours
from dfmcodec.encoder.fitted.networks import Networks
from dfmcodec.encoder.fitted.windows import Grids, Windows
from dfmcodec.threads import in_threads


class ImageTerms(NamedTuple):
    """What all windows of an image share.

    Args:
        size: The height and width in pixels, int32 [2].
        lmbda: The Lagrange multiplier of bits in the loss.
        step: The step of symbols; see `latents.grids.symbol_step`.
        peak: The largest value of a sample, to whole parts of which a decoder rounds colours.
    """

    size: np.ndarray[Any, np.dtype[np.int32]]
    lmbda: np.float32
    step: np.float32
    peak: np.float32


class Softness(NamedTuple):
    """How soft rounding is in a window at a step of the fit.

    Args:
        temperature: That of `soft_round`.
        noise: The standard deviation of the noise, in symbols.
        seed: Of the noise.
    """

    temperature: np.float32
    noise: np.float32
    seed: np.uint32


class WindowPixels(NamedTuple):
    """A window of the image.

    Args:
        colours: float32 [C, WINDOW, WINDOW], in [0, 1].
        inside: 1 for pixels of the image, float32 [WINDOW, WINDOW].
        corner: The first row and column, int32 [2].
    """

    colours: Any
    inside: Any
    corner: Any


class WindowLoss(Protocol):
    """How the loss of an image's windows is computed."""

    def weights(self, networks: Networks) -> Any:
        """Networks as the other methods take them; made once for many windows."""

    def gradients(
        self,
        weights: Any,
        image: ImageTerms,
        latents: Sequence[Float32],
        softness: Sequence[Softness],
        windows: Sequence[int],
    ) -> list[tuple[Any, Float32]]:
        """The gradients of the parts of windows in the loss, times the pixels of the image.

        Args:
            weights: The networks.
            image: What windows share.
            latents: Those of the image, float32 [h_l, w_l].
            softness: How latents are rounded in each window.
            windows: The numbers of the windows.

        Returns:
            For each window the gradient by the weights, for `total`, and that by the latents which
            the window sees, as `Windows.cut` gives them, one grid after the other.
        """

    def total(self, gradients: Sequence[Any]) -> Networks:
        """The sum of the gradients of several windows by the weights."""

    def costs(
        self, weights: Any, image: ImageTerms, grids: Sequence[Float32], windows: Sequence[int]
    ) -> list[tuple[Float32, Float32]]:
        """What whole symbols of windows cost.

        Returns:
            For each window the squared error of each pixel, float32 [WINDOW, WINDOW], and the bits
            of each symbol of the window, float32 [M], grid by grid from the finest on.
        """


def soft_round(x: jax.Array, temperature: jax.typing.ArrayLike) -> jax.Array:
    """Rounds softly; see `fit`."""
    middle = jnp.floor(x) + 0.5
    return middle + 0.5 * jnp.tanh((x - middle) / temperature) / jnp.tanh(0.5 / temperature)


def _soft_symbols(latents: Grids, softness: Softness) -> Grids:
    """Latents after soft rounding with noise."""
    key, symbols = jax.random.key(softness.seed), []
    for level, grid in enumerate(latents):
        shaken = softness.noise * jax.random.normal(jax.random.fold_in(key, level), grid.shape)
        symbols.append(soft_round(soft_round(grid, softness.temperature) + shaken, softness.temperature))
    return symbols


def _colours_and_bits(
    networks: Networks, image: ImageTerms, grids: Grids, window: WindowPixels
) -> tuple[jax.Array, jax.Array]:
    """The colours of a window, and the bits of each symbol."""
    bits = symbol_bits(networks.contexts, grids, window.corner, jnp.asarray(image.size))
    colours = window_colours(networks.machine, [grid * image.step for grid in grids])
    return colours, bits


def _loss(networks: Networks, image: ImageTerms, latents: Grids, softness: Softness, window: WindowPixels) -> jax.Array:
    """The part of a window in the loss, times the pixels of the image."""
    colours, bits = _colours_and_bits(networks, image, _soft_symbols(latents, softness), window)
    errors = ((colours - window.colours) ** 2 * window.inside[None]).sum()
    loss: jax.Array = errors / colours.shape[0] + image.lmbda * bits.sum()
    return loss


def gradient_of_window(
    networks: Networks, image: ImageTerms, latents: Grids, softness: Softness, window: WindowPixels
) -> tuple[Networks, jax.Array]:
    """The gradient of a window's part in the loss; see `WindowLoss`."""
    by_networks, by_latents = jax.grad(_loss, argnums=(0, 2))(networks, image, latents, softness, window)
    return by_networks, jnp.concatenate([grid.ravel() for grid in by_latents])


def costs_of_window(
    networks: Networks, image: ImageTerms, grids: Grids, window: WindowPixels
) -> tuple[jax.Array, jax.Array]:
    """What whole symbols of a window cost; see `WindowLoss`."""
    colours, bits = _colours_and_bits(networks, image, grids, window)
    values = jnp.round(jnp.clip(colours, 0, 1) * image.peak) * (1 / image.peak)
    return ((values - window.colours) ** 2 * window.inside[None]).sum(axis=0), bits


def _total(gradients: Sequence[Networks]) -> Networks:
    total: Networks = jax.tree.map(lambda *parts: sum(parts), *gradients)
    return total


@dataclass(frozen=True)
class LossByJax:
    """`WindowLoss` by programs that JAX compiles once, whatever the image.

    On a CPU a program uses one core: several windows at once lose less than a program that spreads
    every small operation over all cores.

    Args:
        windows: The windows of the image.
        pixels: What each of them is to look like.
    """

    windows: Windows
    pixels: Sequence[WindowPixels]

    def weights(self, networks: Networks) -> Any:
        return networks

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
            seen = self.windows.cut(window, latents)
            by_weights, by_latents = _program(gradient_of_window)(weights, image, seen, soft, self.pixels[window])
            return by_weights, np.asarray(by_latents)

        return in_threads(gradient, zip(softness, windows, strict=True))

    def total(self, gradients: Sequence[Any]) -> Networks:
        total: Networks = _program(_total)(gradients)
        return total

    def costs(
        self, weights: Any, image: ImageTerms, grids: Sequence[Float32], windows: Sequence[int]
    ) -> list[tuple[Float32, Float32]]:
        def costs(window: int) -> tuple[Float32, Float32]:
            seen = self.windows.cut(window, grids)
            errors, bits = _program(costs_of_window)(weights, image, seen, self.pixels[window])
            return np.asarray(errors), np.asarray(bits)

        return in_threads(costs, windows)


@cache
def _program(function: Any) -> Any:
    return jax.jit(function, compiler_options={"xla_cpu_multi_thread_eigen": False} if is_on_cpu() else None)


def is_on_cpu() -> bool:
    """Whether JAX has no other device."""
    return jax.default_backend() == "cpu"
