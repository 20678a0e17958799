"""Codes of given images by gradient descent.

Gradient descent finds codes for a model without an encoder network, and refines the codes of such a
network.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dfmcodec._types import Array, Float32, UInt8
from dfmcodec.fourier.jax_backend import calls, use_compilation_cache
from research.generative.jax_backend import fast_cos_sin
from research.generative.model import GenerativeModel
from research.generative.network import GenerativeArchitecture, Parameters, network, paint, pixel_inputs

STEPS = 200
_RATE = 0.03  # the learning rate of Adam, relative to the mean deviation of the density
_BATCH = 128


def codes_of(model: GenerativeModel, images: UInt8, steps: int = STEPS) -> Float32:
    """Finds the codes, float32 [N, code_dim], whose images are nearest to given images of the
    model's size, uint8 [N, H, W, C], by gradient steps on the squared error.

    The descent starts at the codes of the encoder network, or at the means of the nearest
    components.
    """
    starts = model.encode(images) if model.has_encoder else nearest_means(model, images)
    spread = float(model.density.deviations.mean())
    codes = []
    size = min(_BATCH, len(images))  # all batches have this size, so the descent is compiled once
    for start in range(0, len(images), size):
        batch, batch_starts = images[start : start + size], starts[start : start + size]
        missing = size - len(batch)
        batch = np.pad(batch, [(0, missing), (0, 0), (0, 0), (0, 0)], mode="edge")
        batch_starts = np.pad(batch_starts, [(0, missing), (0, 0)], mode="edge")
        codes.append(descend(model, batch, batch_starts, steps, _RATE * spread)[: size - missing])
    return np.concatenate(codes)


def nearest_means(model: GenerativeModel, images: UInt8) -> Float32:
    """Returns the mean of the component with the image nearest to each, float32 [N, code_dim]."""
    rendered = model.paint(model.density.means).reshape(len(model.density.means), -1).astype(np.float64)
    flat = images.reshape(len(images), -1).astype(np.float64)
    squared = (rendered**2).sum(axis=1) - 2 * flat @ rendered.T
    nearest: Float32 = model.density.means[squared.argmin(axis=1)]
    return nearest


def descend(model: GenerativeModel, images: UInt8, codes: Float32, steps: int, rate: float) -> Float32:
    """Minimises the squared error of samples by Adam, with a cosine learning rate that starts at
    `rate`.

    See `codes_of` for the arguments. Starts at `codes`, and returns codes, float32 [N, code_dim].
    """
    use_compilation_cache()
    parameters = model.parameters_of("decoder")
    samples = images.reshape(len(images), -1, model.architecture.channels).transpose(0, 2, 1)
    with calls():
        return np.asarray(_descend(parameters, model.architecture, samples, codes, steps, rate))


@partial(jax.jit, static_argnames=("architecture", "steps"))
def _descend(
    parameters: Parameters,
    architecture: GenerativeArchitecture,
    samples: Array,
    start: Array,
    steps: int,
    rate: float,
) -> Array:
    first, v = pixel_inputs(architecture)
    targets = samples.astype(jnp.float32) / 127.5 - 1

    def loss(codes: Array) -> Array:
        rendered = paint(network(parameters, "decoder", codes, jnp), first, v, architecture, jnp, fast_cos_sin)
        return ((rendered - targets) ** 2).mean(axis=(1, 2)).sum()

    optimizer = optax.scale_by_adam()

    def step(carry: tuple[Array, optax.OptState], part: Array) -> tuple[tuple[Array, optax.OptState], None]:
        codes, moments = carry
        updates, moments = optimizer.update(jax.grad(loss)(codes), moments)
        return (codes - rate * 0.5 * (1 + jnp.cos(jnp.pi * part)) * updates, moments), None

    (codes, _), _ = jax.lax.scan(step, (start, optimizer.init(start)), jnp.arange(steps, dtype=jnp.float32) / steps)
    return codes
