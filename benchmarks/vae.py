"""The baseline of the generative model: a first-generation variational autoencoder (Kingma and Welling 2014).

MLP encoder and decoder with rectified hidden layers, a diagonal Gaussian posterior, a standard Gaussian prior, and the
decoder's output for each sample directly: a Bernoulli likelihood for gray pictures (their example MNIST), a Gaussian
one with one learned variance for RGB (their example Frey faces; the variance as in Rybkin et al. 2021). Trained by
Adam like `dfmcodec.generative`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dfmcodec.generative.painting import encoder_input, network, network_shapes

CHUNK_STEPS = 20
LEARNING_RATE = 1e-3, 1e-7  # linear between
_WARM_UP = 100
_FIRST_LOG_VARIANCE = -4.0  # near what it learns: from larger ones the posterior collapses to the prior
_EVALUATED = 250


@dataclass(frozen=True)
class Vae:
    """A trained one.

    Args:
        parameters: Of both networks, by name.
        shape: (H, W, C) of its pictures.
        code_dim: Length of a code.
        steps: Done.
        seconds: Of training.
    """

    parameters: dict[str, np.ndarray]
    shape: tuple[int, int, int]
    code_dim: int
    steps: int
    seconds: float

    def encode(self, pictures: np.ndarray) -> np.ndarray:
        """Means of the posterior, float32 [N, code_dim], of uint8 [N, H, W, C]."""
        parts = [
            network(self.parameters, "encoder", encoder_input(pictures[start : start + _EVALUATED], np), np)
            for start in range(0, len(pictures), _EVALUATED)
        ]
        return np.concatenate(parts)[:, : self.code_dim]

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Means of the likelihood, uint8 [N, H, W, C]."""
        found = []
        for start in range(0, len(codes), _EVALUATED):
            logits = network(self.parameters, "decoder", codes[start : start + _EVALUATED].astype(np.float32), np)
            found.append(np.round(255 * (0.5 + 0.5 * np.tanh(logits / 2))).astype(np.uint8))
        return np.concatenate(found).reshape(-1, *self.shape)

    @property
    def parameter_count(self) -> int:
        return sum(value.size for value in self.parameters.values())


def train_vae(
    pictures: np.ndarray,
    hidden: tuple[int, ...],
    code_dim: int,
    batch: int,
    seconds: float,
    seed: int,
    clock: Callable[[], float],
) -> Vae:
    """Trains for so long.

    Args:
        pictures: uint8 [N, H, W, C].
        hidden: Widths of the decoder's hidden layers; the encoder's are mirrored.
        code_dim: Length of a code.
        batch: Pictures a step.
        seconds: Time, compilation counted as for the model that it is compared with.
        seed: Of all that is random.
        clock: Tells the time.
    """
    rng = np.random.default_rng(seed)
    samples = int(np.prod(pictures.shape[1:]))
    shapes = network_shapes("decoder", (code_dim, *hidden, samples))
    shapes |= network_shapes("encoder", (samples, *reversed(hidden), 2 * code_dim))
    parameters = {
        name: jnp.asarray(rng.normal(0, np.sqrt(2 / shape[0]) if len(shape) == 2 else 0, shape), jnp.float32)
        for name, shape in shapes.items()
    }
    parameters["log_variance"] = jnp.asarray(_FIRST_LOG_VARIANCE)
    moments = _OPTIMIZER.init(parameters)
    device = jnp.asarray(pictures.reshape(len(pictures), -1))
    started, done, spent = clock(), 0, 0.0
    while (part := spent / seconds) < 1:
        rate = LEARNING_RATE[0] + (LEARNING_RATE[1] - LEARNING_RATE[0]) * part
        rate *= min(1.0, (done + 1) / _WARM_UP)
        key = jax.random.fold_in(jax.random.key(seed), done)
        parameters, moments, loss = _train_chunk(parameters, moments, device, pictures.shape[3], batch, key, rate)
        loss.block_until_ready()
        done, spent = done + CHUNK_STEPS, clock() - started
    found = {name: np.asarray(value) for name, value in parameters.items()}
    return Vae(found, pictures.shape[1:], code_dim, done, spent)


_OPTIMIZER = optax.chain(optax.clip_by_global_norm(1000.0), optax.scale_by_adam(b2=0.99))


@partial(jax.jit, static_argnames=("channels", "batch"))
def _train_chunk(parameters, moments, samples, channels, batch, key, rate):
    def loss(parameters, picked, key):
        x = samples[picked]
        mean, log_variance = jnp.split(network(parameters, "encoder", encoder_input(x, jnp), jnp), 2, axis=1)
        codes = mean + jnp.exp(log_variance / 2) * jax.random.normal(key, mean.shape)
        divergence = 0.5 * (mean**2 + jnp.exp(log_variance) - 1 - log_variance).sum(axis=1)
        logits, targets = network(parameters, "decoder", codes, jnp), x / 255.0
        if channels == 1:
            likelihood = -optax.sigmoid_binary_cross_entropy(logits, targets).sum(axis=1)
        else:
            spread = parameters["log_variance"]
            squared = (jax.nn.sigmoid(logits) - targets) ** 2
            likelihood = -0.5 * (squared * jnp.exp(-spread) + spread).sum(axis=1)
        return (divergence - likelihood).mean()

    def step(carry, key):
        parameters, moments = carry
        key_batch, key_noise = jax.random.split(key)
        picked = jax.random.randint(key_batch, (batch,), 0, len(samples))
        value, gradient = jax.value_and_grad(loss)(parameters, picked, key_noise)
        updates, moments = _OPTIMIZER.update(gradient, moments)
        return ({name: parameters[name] - rate * updates[name] for name in parameters}, moments), value

    carry, losses = jax.lax.scan(step, (parameters, moments), jax.random.split(key, CHUNK_STEPS))
    return *carry, losses.mean()
