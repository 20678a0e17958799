"""The fit of a network's weights to one image, by gradient descent on minibatches of pixels."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from math import cos, inf, isfinite, nan, pi
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dfmcodec._types import Float32, Float64
from dfmcodec.codecs.coordinate.encode.gradient import differentiable_sum
from dfmcodec.fourier.jax_backend import calls, use_compilation_cache
from dfmcodec.fourier.network import BLOCK_PIXELS, CoordinateArchitecture, deep_fourier_machine, unpack
from dfmcodec.image import Image, peak_value
from dfmcodec.perception import psnr_of_mse
from dfmcodec.search.config import Recipe
from dfmcodec.search.driver import diverged
from dfmcodec.search.job import MAX_RESTARTS

CHUNK_STEPS = 16  # gradient steps in one compiled call
_WARM_UP = 0.03
_FINAL_RATE = 0.01
_RESTART_RATE = 0.1  # the factor on the learning rate at each restart
_DIVERGED = "at ever lower learning rates; try another --depth or --layer-width, or --model wavelet"
_SAMPLE_PEAK = 2.0  # samples span [-1, 1]


@dataclass(frozen=True)
class Fit:
    """The result of a fit: the best weights so far."""

    weights: Float32  # in file order, float32 [weight_count]
    steps: int
    seconds: float  # of these steps, without compilation
    stop_reason: str  # "iteration limit", "time limit", "interrupted" or "diverged"


@dataclass(frozen=True)
class Budget:
    """The limits of a fit."""

    steps: float  # may be infinite
    seconds: float  # may be infinite
    should_stop: Callable[[], bool] = field(default=lambda: False)  # True ends the fit


class Trainer:
    """Trains one network on one image. Each run continues from the state of the run before.

    `restarts` counts restarts from the best weights at a lower learning rate, after a NaN or
    infinite loss or weight.
    """

    def __init__(self, image: Image, architecture: CoordinateArchitecture, recipe: Recipe, seed: int) -> None:
        use_compilation_cache()
        self.architecture = architecture
        self.recipe = recipe
        self._height, self._width = image.height, image.width
        with calls():
            self._pixels = jnp.asarray(image.pixels.reshape(-1, image.channels))
            self._weights = jnp.asarray(initial_weights(architecture, recipe, seed))
            self._state = optax.scale_by_adam().init(self._weights)
            self._key = jax.random.key(seed)
            self._no_rounding = jnp.zeros_like(self._weights)
        self.restarts = 0
        initial = self._weights
        loss = self._chunk(0.0, self._no_rounding)  # compiles; a learning rate of 0 changes no finite weight
        self._first_loss = loss if isfinite(loss) else inf
        self._weights, self._state = initial, optax.scale_by_adam().init(initial)

    def run(
        self,
        budget: Budget,
        start: float,
        stop: float,
        report: Callable[[int, float, float, float], None],
        steps_per_weight: Float64 | None = None,
    ) -> Fit:
        """Trains from the fraction `start` to the fraction `stop` of a fit.

        Args:
            budget: The limits of the complete fit.
            start: The fraction of the fit that is already done, in [0, 1).
            stop: The fraction at which to end, in (start, 1].
            report: Called after each chunk with the number of steps, the seconds, the PSNR of the
                last minibatches in dB, and the fraction of the fit that is done.
            steps_per_weight: Quantisation step sizes, float64 [weight_count], to train with rounded
                weights; None to train without rounding.

        Raises:
            DivergedError: Losses or weights were NaN or infinite after `MAX_RESTARTS` restarts, and
                no step succeeded.
        """
        rounding = self._no_rounding if steps_per_weight is None else jnp.asarray(steps_per_weight, jnp.float32)
        best_loss, best = inf, self._weights
        started, done, part, reason = time.perf_counter(), 0, start, "iteration limit"
        while part < stop:
            loss = self._chunk(self._learning_rate(part), rounding)
            if not isfinite(loss):
                self._weights, self._state = best, optax.scale_by_adam().init(best)
                if self.restarts == MAX_RESTARTS:
                    reason = "diverged"
                    break
                self.restarts += 1
                continue
            if loss < best_loss:
                best_loss, best = loss, self._weights
            done += CHUNK_STEPS
            seconds = time.perf_counter() - started
            part = start + max(done / budget.steps, seconds / budget.seconds)
            report(done, seconds, psnr_of_mse(loss, _SAMPLE_PEAK), min(part, 1.0))
            if budget.should_stop():
                reason = "interrupted"
                break
        else:
            reason = "time limit" if seconds / budget.seconds >= done / budget.steps else "iteration limit"
        if reason == "diverged" and start == 0 and best_loss >= self._first_loss:
            raise diverged(self.restarts, advice=_DIVERGED)
        self._weights = best
        return Fit(np.asarray(best), done, time.perf_counter() - started, reason)

    def sensitivity(self, probes: int = 8) -> Float32:
        """Estimates the factor by which the squared error of each weight adds to the MSE, float32
        [weight_count].

        It is the mean over samples of (d sample / d weight)^2, by Hutchinson's estimator: the mean
        of the squared gradient of a randomly signed sum of samples, over `probes` sums, is the sum
        of the squared derivatives.
        """
        total = np.zeros(self.architecture.weight_count, dtype=np.float64)
        with calls():
            for _ in range(probes):
                self._key, key = jax.random.split(self._key)
                squared = _squared_gradient(
                    self._weights, self.architecture, self._pixels, self._width, self._height, key
                )
                total += np.asarray(squared, dtype=np.float64)
        return (total / probes).astype(np.float32)

    def _learning_rate(self, part: float) -> float:
        """Returns the learning rate at a fraction of the fit, in [0, 1]."""
        largest = max(layer.frequency_count for layer in self.architecture.layers())
        peak = (
            _RESTART_RATE**self.restarts * self.recipe.learning_rate * min(1.0, self.recipe.frequency_limit / largest)
        )
        if self.recipe.decay == "constant":
            return peak
        warm = min(1.0, (part + 1e-3) / _WARM_UP)
        cosine = 0.5 * (1 + cos(pi * min(part, 1.0)))
        return peak * warm * (_FINAL_RATE + (1 - _FINAL_RATE) * cosine)

    def _chunk(self, learning_rate: float, rounding: jax.Array) -> float:
        """Runs a chunk of training steps; returns the mean loss, NaN if not all is finite."""
        with calls():
            self._key, key = jax.random.split(self._key)
            self._weights, self._state, loss = _train_chunk(
                self._weights,
                self._state,
                self.architecture,
                self.recipe.batch_pixels,
                self._pixels,
                self._width,
                self._height,
                key,
                learning_rate,
                rounding,
            )
            return float(loss) if bool(jnp.isfinite(self._weights).all()) else nan


def initial_weights(architecture: CoordinateArchitecture, recipe: Recipe, seed: int) -> Float32:
    """Draws Gaussian initial weights in file order, float32 [weight_count]."""
    rng = np.random.default_rng(seed)
    deviations = [recipe.first_std] + [recipe.inner_std] * (architecture.depth - 1)
    layers = zip(deviations, architecture.layer_sizes(), strict=True)
    return np.concatenate([rng.normal(0, std, size) for std, size in layers]).astype(np.float32)


def _round_weights(weights: jax.Array, steps: jax.Array) -> jax.Array:
    """Rounds to multiples of step sizes, with the gradient of the identity; 0 for no rounding."""
    safe = jnp.where(steps > 0, steps, 1.0)
    rounded = jnp.where(steps > 0, jnp.rint(weights / safe) * safe, weights)
    return weights + jax.lax.stop_gradient(rounded - weights)


def _samples(weights: jax.Array, architecture: CoordinateArchitecture, v: jax.Array) -> jax.Array:
    layers = unpack(weights, architecture, jnp)
    samples: jax.Array = deep_fourier_machine(layers, v, architecture.order, jnp, differentiable_sum)
    return samples


def _positions(index: jax.Array, width: jax.Array | int, height: jax.Array | int) -> jax.Array:
    """Returns the positions of pixels from their row-major indices, float32 [N, 2]."""
    return jnp.stack([index % width / width, index // width / height], axis=-1).astype(jnp.float32)


def _targets(pixels: jax.Array) -> jax.Array:
    """Scales the samples of pixels to [-1, 1], float32."""
    samples: jax.Array = pixels.astype(jnp.float32) * (2 / peak_value(8 * pixels.dtype.itemsize)) - 1
    return samples


def _in_blocks(index: jax.Array) -> jax.Array:
    return index.reshape(-1, min(BLOCK_PIXELS, index.size))


@partial(jax.jit, static_argnames=("architecture", "batch_pixels"))
def _train_chunk(
    weights: jax.Array,
    state: Any,
    architecture: CoordinateArchitecture,
    batch_pixels: int,
    pixels: jax.Array,
    width: int,
    height: int,
    key: jax.Array,
    learning_rate: float,
    rounding: jax.Array,
) -> tuple[jax.Array, Any, jax.Array]:
    """Runs `CHUNK_STEPS` training steps; returns weights, optimiser state and mean loss."""

    def block_loss(weights: jax.Array, index: jax.Array) -> jax.Array:
        samples = _samples(_round_weights(weights, rounding), architecture, _positions(index, width, height))
        return jnp.mean((samples - _targets(pixels[index])) ** 2)

    def batch_gradient(weights: jax.Array, index: jax.Array) -> tuple[jax.Array, jax.Array]:
        def add(total: tuple[jax.Array, jax.Array], block: jax.Array) -> tuple[tuple[jax.Array, jax.Array], None]:
            return jax.tree.map(jnp.add, total, jax.value_and_grad(block_loss)(weights, block)), None

        blocks = _in_blocks(index)
        zero = jnp.zeros(()), jnp.zeros_like(weights)
        loss, gradient = jax.lax.scan(add, zero, blocks)[0]
        return loss / len(blocks), gradient / len(blocks)

    def step(carry: tuple[jax.Array, Any], key: jax.Array) -> tuple[tuple[jax.Array, Any], jax.Array]:
        weights, state = carry
        index = jax.random.randint(key, (batch_pixels,), 0, len(pixels))
        loss, gradient = batch_gradient(weights, index)
        direction, state = optax.scale_by_adam().update(gradient, state)
        return (weights - learning_rate * direction, state), loss

    (weights, state), losses = jax.lax.scan(step, (weights, state), jax.random.split(key, CHUNK_STEPS))
    return weights, state, losses.mean()


@partial(jax.jit, static_argnames="architecture")
def _squared_gradient(
    weights: jax.Array, architecture: CoordinateArchitecture, pixels: jax.Array, width: int, height: int, key: jax.Array
) -> jax.Array:
    """Computes one probe of `Trainer.sensitivity`, float32 [weight_count]."""
    key_index, key_sign = jax.random.split(key)
    index = jax.random.randint(key_index, (BLOCK_PIXELS,), 0, len(pixels))
    signs = jax.random.rademacher(key_sign, (BLOCK_PIXELS, architecture.channels), jnp.float32)

    def signed_sum(weights: jax.Array) -> jax.Array:
        return (signs * _samples(weights, architecture, _positions(index, width, height))).sum()

    gradient: jax.Array = jax.grad(signed_sum)(weights)
    return gradient**2 / signs.size
