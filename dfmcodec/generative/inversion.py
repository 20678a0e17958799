"""Codes of given pictures, by gradient steps: where a model has no encoder, and to refine what an encoder gives."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import optax

from dfmcodec.generative.data import UInt8
from dfmcodec.generative.model import GenerativeModel
from dfmcodec.generative.painting import (
    Array,
    Float32,
    GenerativeArchitecture,
    network,
    paint,
    pixel_inputs,
)
from dfmcodec.generative.train import Weights, fast_cos_sin
from dfmcodec.jax_backend import calls, use_compilation_cache

STEPS = 200
_RATE = 0.03  # of Adam, in the density's deviations
_BATCH = 128


def codes_of(
    model: GenerativeModel, pictures: UInt8, steps: int = STEPS, weights: npt.NDArray[np.floating[Any]] | None = None
) -> Float32:
    """Codes that paint pictures best, from the encoder's or the nearest component's mean.

    Args:
        model: The model.
        pictures: Of its size, uint8 [N, H, W, C].
        steps: Gradient steps on the squared error.
        weights: Of pixels' squared errors, the same for all pictures, float [1, H * W]; None for ones.

    Returns:
        float32 [N, code_dim].
    """
    starts = model.encode(pictures) if model.has_encoder else nearest_means(model, pictures)
    spread = float(model.density.deviations.mean())
    found = []
    batch = min(_BATCH, len(pictures))  # of one shape, compiled once
    for start in range(0, len(pictures), batch):
        part, codes = pictures[start : start + batch], starts[start : start + batch]
        short = batch - len(part)
        part = np.pad(part, [(0, short), (0, 0), (0, 0), (0, 0)], mode="edge")
        codes = np.pad(codes, [(0, short), (0, 0)], mode="edge")
        found.append(descend(model, part, codes, steps, _RATE * spread, weights)[: batch - short])
    return np.concatenate(found)


def nearest_means(model: GenerativeModel, pictures: UInt8) -> Float32:
    """For each picture the component's mean that paints what is nearest to it. float32 [N, code_dim]."""
    painted = model.paint(model.density.means).reshape(len(model.density.means), -1).astype(np.float64)
    flat = pictures.reshape(len(pictures), -1).astype(np.float64)
    squared = (painted**2).sum(axis=1) - 2 * flat @ painted.T
    nearest: Float32 = model.density.means[squared.argmin(axis=1)]
    return nearest


def descend(
    model: GenerativeModel,
    pictures: UInt8,
    codes: Float32,
    steps: int,
    rate: float,
    weights: npt.NDArray[np.floating[Any]] | None = None,
) -> Float32:
    """Adam on the squared error of samples, with a cosine rate.

    Args:
        model: The model.
        pictures: uint8 [N, H, W, C].
        codes: Where to start, float32 [N, code_dim].
        steps: Gradient steps.
        rate: At the start.
        weights: As of `codes_of`.
    """
    use_compilation_cache()
    parameters = model.parameters_of("decoder")
    samples = pictures.reshape(len(pictures), -1, model.architecture.channels).transpose(0, 2, 1)
    with calls():
        of_pixels = np.ones((1, 1), np.float32) if weights is None else weights.astype(np.float32)
        found = _descend(parameters, model.architecture, samples, of_pixels, codes, steps, rate)
        return np.asarray(found)


@partial(jax.jit, static_argnames=("architecture", "steps"))
def _descend(
    parameters: Weights,
    architecture: GenerativeArchitecture,
    samples: Array,
    weights: Array,
    start: Array,
    steps: int,
    rate: float,
) -> Array:
    first, v = pixel_inputs(architecture)
    targets = samples / 127.5 - 1

    def loss(codes: Array) -> Array:
        painted = paint(network(parameters, "decoder", codes, jnp), first, v, architecture, jnp, fast_cos_sin)
        return (weights * (painted - targets) ** 2).mean(axis=(1, 2)).sum()

    optimizer = optax.scale_by_adam()

    def step(carry: tuple[Array, optax.OptState], part: Array) -> tuple[tuple[Array, optax.OptState], None]:
        codes, moments = carry
        updates, moments = optimizer.update(jax.grad(loss)(codes), moments)
        return (codes - rate * 0.5 * (1 + jnp.cos(jnp.pi * part)) * updates, moments), None

    (codes, _), _ = jax.lax.scan(step, (start, optimizer.init(start)), jnp.arange(steps) / steps)
    return codes
