"""The baseline of the generative model: a first-generation variational autoencoder (Kingma and
Welling 2014).

Encoder and decoder are multilayer perceptrons with rectified hidden layers. The posterior is a
diagonal Gaussian, the prior a standard Gaussian. The decoder gives every sample directly: with a
Bernoulli likelihood for gray images (their example is MNIST), and for RGB with a Gaussian one that
has one learned variance (their example is Frey faces; the variance is as in Rybkin et al. 2021).
It is trained by Adam, as the generative model is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import optax

from dfmcodec.codecs.generative.network import encoder_input, network, network_shapes

UInt8 = npt.NDArray[np.uint8]
Float32 = npt.NDArray[np.float32]
Weights = dict[str, jax.Array]
CHUNK_STEPS = 20  # training steps in one compiled call
LEARNING_RATE = 1e-3, 1e-7  # at the start and at the end, linear between
_WARM_UP = 100  # training steps
_FIRST_LOG_VARIANCE = -4.0  # near the learned value: from larger ones the posterior collapses to the prior
_EVALUATED = 250  # images that are evaluated at a time


@dataclass(frozen=True)
class Vae:
    """A trained variational autoencoder.

    Args:
        parameters: The parameters of both networks, by name.
        shape: The (H, W, C) of its images.
        code_dim: The length of a code.
        steps: The training steps.
        seconds: The seconds of training.
    """

    parameters: dict[str, Float32]
    shape: tuple[int, int, int]
    code_dim: int
    steps: int
    seconds: float

    def encode(self, images: UInt8) -> Float32:
        """The means of the posterior, float32 [N, code_dim], for uint8 [N, H, W, C]."""
        parts = [
            network(self.parameters, "encoder", encoder_input(images[start : start + _EVALUATED], np), np)
            for start in range(0, len(images), _EVALUATED)
        ]
        outputs: Float32 = np.concatenate(parts)
        return outputs[:, : self.code_dim]

    def decode(self, codes: Float32) -> UInt8:
        """The means of the likelihood, uint8 [N, H, W, C], for float32 [N, code_dim]."""
        parts = []
        for start in range(0, len(codes), _EVALUATED):
            logits = network(self.parameters, "decoder", codes[start : start + _EVALUATED].astype(np.float32), np)
            parts.append(np.round(255 * (0.5 + 0.5 * np.tanh(logits / 2))).astype(np.uint8))
        images: UInt8 = np.concatenate(parts)
        return images.reshape(-1, *self.shape)

    @property
    def parameter_count(self) -> int:
        """The number of parameters of both networks."""
        return sum(value.size for value in self.parameters.values())


def train_vae(
    images: UInt8,
    hidden: tuple[int, ...],
    code_dim: int,
    batch: int,
    seconds: float,
    seed: int,
    clock: Callable[[], float],
) -> Vae:
    """Trains a variational autoencoder for a given time.

    Args:
        images: uint8 [N, H, W, C].
        hidden: The widths of the decoder's hidden layers; the encoder has them in reverse order.
        code_dim: The length of a code.
        batch: The images in a training step.
        seconds: The time, including compilation as for the model that it is compared with.
        seed: The seed of the initial parameters, batches and noise.
        clock: Gives the time in seconds.
    """
    rng = np.random.default_rng(seed)
    samples = int(np.prod(images.shape[1:]))
    shapes = network_shapes("decoder", (code_dim, *hidden, samples))
    shapes |= network_shapes("encoder", (samples, *reversed(hidden), 2 * code_dim))
    parameters: Weights = {
        name: jnp.asarray(rng.normal(0, np.sqrt(2 / shape[0]) if len(shape) == 2 else 0, shape), jnp.float32)
        for name, shape in shapes.items()
    }
    parameters["log_variance"] = jnp.asarray(_FIRST_LOG_VARIANCE)
    moments = _OPTIMIZER.init(parameters)
    device = jnp.asarray(images.reshape(len(images), -1))
    started, done, spent = clock(), 0, 0.0
    while (part := spent / seconds) < 1:
        rate = LEARNING_RATE[0] + (LEARNING_RATE[1] - LEARNING_RATE[0]) * part
        rate *= min(1.0, (done + 1) / _WARM_UP)
        key = jax.random.fold_in(jax.random.key(seed), done)
        parameters, moments, loss = _train_chunk(parameters, moments, device, images.shape[3], batch, key, rate)
        loss.block_until_ready()
        done, spent = done + CHUNK_STEPS, clock() - started
    height, width, channels = images.shape[1:]
    trained = {name: np.asarray(value) for name, value in parameters.items()}
    return Vae(trained, (height, width, channels), code_dim, done, spent)


_OPTIMIZER = optax.chain(optax.clip_by_global_norm(1000.0), optax.scale_by_adam(b2=0.99))


@partial(jax.jit, static_argnames=("channels", "batch"))
def _train_chunk(
    parameters: Weights, moments: Any, samples: jax.Array, channels: int, batch: int, key: jax.Array, rate: float
) -> tuple[Weights, Any, Any]:
    """Trains for CHUNK_STEPS steps; gives the parameters, the state of Adam, and the mean loss."""

    def loss(parameters: Weights, picked: jax.Array, key: jax.Array) -> jax.Array:
        x = samples[picked]
        mean, log_variance = jnp.split(network(parameters, "encoder", encoder_input(x, jnp), jnp), 2, axis=1)
        codes = mean + jnp.exp(log_variance / 2) * jax.random.normal(key, mean.shape)
        divergence = 0.5 * (mean**2 + jnp.exp(log_variance) - 1 - log_variance).sum(axis=1)
        logits, targets = network(parameters, "decoder", codes, jnp), x.astype(jnp.float32) / 255.0
        if channels == 1:
            likelihood = -optax.sigmoid_binary_cross_entropy(logits, targets).sum(axis=1)
        else:
            log_of_variance = parameters["log_variance"]
            squared = (jax.nn.sigmoid(logits) - targets) ** 2
            likelihood = -0.5 * (squared * jnp.exp(-log_of_variance) + log_of_variance).sum(axis=1)
        return jnp.asarray((divergence - likelihood).mean())

    def step(carry: tuple[Weights, Any], key: jax.Array) -> tuple[tuple[Weights, Any], jax.Array]:
        parameters, moments = carry
        key_batch, key_noise = jax.random.split(key)
        picked = jax.random.randint(key_batch, (batch,), 0, len(samples))
        value, gradient = jax.value_and_grad(loss)(parameters, picked, key_noise)
        updates, moments = _OPTIMIZER.update(gradient, moments)
        return ({name: parameters[name] - rate * updates[name] for name in parameters}, moments), value

    carry, losses = jax.lax.scan(step, (parameters, moments), jax.random.split(key, CHUNK_STEPS))
    return *carry, losses.mean()
