"""The loss of a window and its gradient, as programs for a CPU or a GPU."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from dfmcodec.codecs.overfitted.encode.by_jax.contexts import Grids, symbol_bits
from dfmcodec.codecs.overfitted.encode.by_jax.synthesis import window_colours
from dfmcodec.codecs.overfitted.encode.networks import Networks
from dfmcodec.codecs.overfitted.encode.window_loss import (
    ImageTerms,
    Softness,
    WindowPixels,
)


def soft_round(x: jax.Array, temperature: jax.typing.ArrayLike) -> jax.Array:
    """Applies soft rounding; see `fit`."""
    middle = jnp.floor(x) + 0.5
    return middle + 0.5 * jnp.tanh((x - middle) / temperature) / jnp.tanh(0.5 / temperature)


def _soft_symbols(latents: Grids, softness: Softness) -> Grids:
    """Returns latents after soft rounding with noise."""
    key, symbols = jax.random.key(softness.seed), []
    for level, grid in enumerate(latents):
        shaken = softness.noise * jax.random.normal(jax.random.fold_in(key, level), grid.shape)
        symbols.append(soft_round(soft_round(grid, softness.temperature) + shaken, softness.temperature))
    return symbols


def _colours_and_bits(
    networks: Networks, image: ImageTerms, grids: Grids, window: WindowPixels
) -> tuple[jax.Array, jax.Array]:
    """Returns the colours of a window, and the bits of each symbol."""
    bits = symbol_bits(networks.contexts, grids, window.corner, jnp.asarray(image.size))
    colours = window_colours(networks.synthesis, [grid * image.step for grid in grids])
    return colours, bits


def _loss(networks: Networks, image: ImageTerms, latents: Grids, softness: Softness, window: WindowPixels) -> jax.Array:
    """Returns the contribution of a window to the loss, times the number of pixels of the image."""
    colours, bits = _colours_and_bits(networks, image, _soft_symbols(latents, softness), window)
    errors = ((colours - window.colours) ** 2 * window.pixel_weights[None]).sum()
    loss: jax.Array = errors / colours.shape[0] + image.lmbda * bits.sum()
    return loss


def gradient_of_window(
    networks: Networks, image: ImageTerms, latents: Grids, softness: Softness, window: WindowPixels
) -> tuple[Networks, jax.Array]:
    """Returns the gradient of the contribution of a window to the loss; see `WindowLoss`."""
    by_networks, grad_latents = jax.grad(_loss, argnums=(0, 2))(networks, image, latents, softness, window)
    return by_networks, jnp.concatenate([grid.ravel() for grid in grad_latents])


def _in_code_values(colours: jax.Array, image: ImageTerms) -> jax.Array:
    """Rounds colours to code values."""
    return jnp.round(jnp.clip(colours, 0, 1) * image.peak) * (1 / image.peak)


def colours_of_window(networks: Networks, image: ImageTerms, grids: Grids) -> jax.Array:
    """Returns the colours of a window from integer symbols; see `WindowLoss`."""
    return _in_code_values(window_colours(networks.synthesis, [grid * image.step for grid in grids]), image)


def costs_of_window(
    networks: Networks, image: ImageTerms, grids: Grids, window: WindowPixels
) -> tuple[jax.Array, jax.Array]:
    """Returns the costs of integer symbols of a window; see `WindowLoss`."""
    colours, bits = _colours_and_bits(networks, image, grids, window)
    values = _in_code_values(colours, image)
    return ((values - window.colours) ** 2 * window.pixel_weights[None]).sum(axis=0), bits


def is_on_cpu() -> bool:
    """Indicates whether the CPU is the only device of JAX."""
    return jax.default_backend() == "cpu"
