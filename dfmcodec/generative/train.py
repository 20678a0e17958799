"""Training of a generative model: minibatch gradient steps of its networks on a set of pictures.

The loss is the publication's, the squared error's mean over samples and pictures plus lambda times the mean of |z|^2,
with samples in [-1, 1]; codes may get noise, which makes near codes paint alike (a VAE of fixed variance; Ghosh et al.
2020, "From variational to deterministic autoencoders", who also draw samples from a density that is fitted to the
codes afterwards, as `density` does).
"""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from math import isfinite
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dfmcodec.arrays import read_arrays, write_arrays
from dfmcodec.errors import ConfigError, DfmError
from dfmcodec.fourier import TAU, frequency_set
from dfmcodec.generative import between
from dfmcodec.generative.data import UInt8
from dfmcodec.generative.painting import (
    Array,
    Float32,
    GenerativeArchitecture,
    encode_pictures,
    encoder_input,
    network,
    network_shapes,
    paint,
    pixel_inputs,
    positions,
)
from dfmcodec.generative.recipe import Recipe
from dfmcodec.jax_backend import calls, use_compilation_cache
from dfmcodec.metrics import psnr_of_mse

CHUNK_STEPS = 20  # in one compiled call, at most
TABLE = "codes"  # the name of the table among the parameters
_SAMPLE_PEAK = 2.0
_MAX_GRADIENT = 1.0  # global norm, of the default recipe
_FIRST_SPREAD = 0.15  # of what leaves the first layer at the start, in periods: the next one begins nearly linear
_LAYER_GAIN = 0.5
_OUTPUT_GAIN = 1.0
_CODE_SPREAD = 0.1  # of a table at the start

Weights = dict[str, Array]


@dataclass
class State:
    """What a training goes on from.

    Args:
        parameters: Of the networks (and the table), by name; decoder outputs are scaled by `coefficient_scale`.
        moments: Adam's.
        steps: Done.
        seconds: Spent.
    """

    parameters: Weights
    moments: optax.OptState
    steps: int = 0
    seconds: float = 0.0


class Trainer:
    """Trains one model; its state can be kept and taken up again.

    Args:
        pictures: uint8 [N, H, W, C].
        architecture: The model, of the pictures' size.
        recipe: How to train.
        seed: Of the initial parameters, batches and noise.
    """

    def __init__(self, pictures: UInt8, architecture: GenerativeArchitecture, recipe: Recipe, seed: int) -> None:
        use_compilation_cache()
        self.architecture, self.recipe, self._seed = architecture, recipe, seed
        self._samples = jnp.asarray(pictures.reshape(len(pictures), -1, architecture.channels))
        parameters = initial_parameters(architecture, recipe, len(pictures), seed)
        self.state = State(parameters, _optimizer(recipe).init(parameters))

    def run(
        self,
        seconds: float,
        report: Callable[[State, float], None] = lambda state, psnr_db: None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> str:
        """Trains to the recipe's end, or for so long.

        Args:
            seconds: Most time for the whole training, earlier runs of its state counted. The rates' way is over at the
                end of the steps or the time, whichever part is further.
            report: Called after each chunk with the state and the PSNR in dB of its batches.
            clock: Tells the time.

        Returns:
            "steps" or "time limit".

        Raises:
            DfmError: The loss is no longer finite.
        """
        recipe, started, before = self.recipe, clock(), self.state.seconds
        while (part := max(self.state.steps / recipe.steps, self.state.seconds / seconds)) < 1:
            warm = min(1.0, (self.state.steps + 1) / recipe.warm_up) if recipe.warm_up else 1.0
            rate = warm * _between(recipe.decoder_rate, part)
            key = jax.random.fold_in(jax.random.key(self._seed), self.state.steps)
            count = min(CHUNK_STEPS, recipe.steps - self.state.steps)
            with calls():
                parameters, moments, found = _train_chunk(
                    self.state.parameters,
                    self.state.moments,
                    self.architecture,
                    recipe,
                    count,
                    self._samples,
                    key,
                    rate,
                    rate * _between(recipe.code_rate, part),
                )
                error = float(found)
            if not isfinite(error):
                msg = f"the loss is not finite after {self.state.steps} steps; lower the learning rate"
                raise DfmError(msg)
            spent = before + clock() - started
            self.state = State(parameters, moments, self.state.steps + count, spent)
            report(self.state, psnr_of_mse(error, _SAMPLE_PEAK))
        return "steps" if self.state.steps >= recipe.steps else "time limit"

    def save(self, path: Path) -> None:
        """Keeps the state, to go on from."""
        leaves = jax.tree.leaves((self.state.parameters, self.state.moments))
        arrays: dict[str, Any] = {f"leaf{index}": np.asarray(leaf) for index, leaf in enumerate(leaves)}
        about = {"about": self._about(), "steps": self.state.steps, "seconds": self.state.seconds}
        write_arrays(path, about | arrays)

    def restore(self, path: Path) -> None:
        """Goes on from a kept state.

        Raises:
            ConfigError: It is of another training, or damaged.
        """
        leaves, tree = jax.tree.flatten((self.state.parameters, self.state.moments))
        try:
            arrays = read_arrays(path)
            about = str(arrays["about"])
        except (DfmError, KeyError) as error:
            msg = f"{path} is damaged; use --restart to leave it aside"
            raise ConfigError(msg) from error
        if about != self._about():
            msg = f"{path} is of a training with other pictures or settings; use --restart to leave it aside"
            raise ConfigError(msg)
        try:
            kept = [jnp.asarray(arrays[f"leaf{index}"]).reshape(leaf.shape) for index, leaf in enumerate(leaves)]
            steps, seconds = int(arrays["steps"]), float(arrays["seconds"])
        except (KeyError, ValueError, TypeError) as error:
            msg = f"{path} is damaged; use --restart to leave it aside"
            raise ConfigError(msg) from error
        parameters, moments = jax.tree.unflatten(tree, kept)
        self.state = State(parameters, moments, steps, seconds)

    def _about(self) -> str:
        data = zlib.crc32(np.asarray(self._samples).tobytes())
        return json.dumps([asdict(self.architecture), self.recipe.as_dict(), self._seed, data])

    def parameters(self) -> dict[str, Float32]:
        """Of the networks as `painting` takes them, the decoder's last layer scaled to give coefficients."""
        found = {name: np.asarray(value) for name, value in self.state.parameters.items() if name != TABLE}
        scale = coefficient_scale(self.architecture, self.recipe)
        last = len(self.architecture.hidden)
        for kind in "wb":
            found[f"decoder_{kind}{last}"] = found[f"decoder_{kind}{last}"] * scale
        return found

    def codes(self, pictures: UInt8) -> Float32:
        """Codes of the training pictures: the table's, or the encoder's. float32 [N, code_dim]."""
        if TABLE in self.state.parameters:
            return np.asarray(self.state.parameters[TABLE])
        return encode_pictures(self.parameters(), pictures)


def initial_parameters(architecture: GenerativeArchitecture, recipe: Recipe, pictures: int, seed: int) -> Weights:
    """Random networks, and the table where there is one. The default's first machines are random and nearly linear."""
    rng = np.random.default_rng(seed)
    shapes = network_shapes("decoder", architecture.decoder_sizes())
    if recipe.variant == "encoder":
        shapes |= network_shapes("encoder", architecture.encoder_sizes())
    parameters = {}
    for name, shape in shapes.items():
        published = recipe.weight_variance > 0
        spread = np.sqrt(recipe.weight_variance if published else 2 / shape[0]) if len(shape) == 2 else 0.0
        parameters[name] = rng.normal(0, spread, shape)
    if recipe.weight_variance == 0:
        last = len(architecture.hidden)
        parameters[f"decoder_w{last}"] *= 0.5
        parameters[f"decoder_b{last}"] = rng.normal(0, 1, architecture.coefficient_count)
    if recipe.variant == "table":
        spread = np.sqrt(recipe.weight_variance) if recipe.weight_variance > 0 else _CODE_SPREAD
        parameters[TABLE] = rng.normal(0, spread, (pictures, architecture.code_dim))
    return {name: jnp.asarray(value, jnp.float32) for name, value in parameters.items()}


def coefficient_scale(architecture: GenerativeArchitecture, recipe: Recipe) -> Float32:
    """What the decoder network's outputs are multiplied by while training, so that Adam's equal steps suit all
    coefficients.

    The first layer's fall with frequency as pictures' spectra do; 1 in the published recipe. float32
    [coefficient_count].
    """
    if recipe.weight_variance > 0:
        return np.ones(architecture.coefficient_count, np.float32)
    layers, parts = architecture.layers(), []
    for index, layer in enumerate(layers):
        rows = np.ones(2 * layer.frequency_count - 1)
        if index == 0:
            cycles = positions(1, 2, architecture.octaves)[:, 1] * 2, positions(2, 1, architecture.octaves)[:, 1] * 2
            vectors = frequency_set(layer.inputs, layer.order).vectors
            frequency = np.hypot(*(vectors @ axis for axis in cycles))
            rows = 1 / (1 + np.concatenate([frequency, frequency[1:]]))
        gain = _OUTPUT_GAIN if index == len(layers) - 1 else _FIRST_SPREAD if index == 0 else _LAYER_GAIN
        parts.append(np.repeat(gain * rows / np.sqrt((rows**2).sum()), layer.outputs))
    return np.concatenate(parts).astype(np.float32)


def _between(rates: tuple[float, float], part: float) -> float:
    return rates[0] + (rates[1] - rates[0]) * part


def _optimizer(recipe: Recipe) -> optax.GradientTransformation:
    if recipe.weight_variance > 0:
        return optax.scale_by_adam()
    return optax.chain(optax.clip_by_global_norm(_MAX_GRADIENT), optax.scale_by_adam(b2=0.99))


@jax.custom_jvp
def fast_cos_sin(v: Array) -> tuple[Array, Array]:
    """cos 2 pi v and sin 2 pi v within 5e-6, by Taylor polynomials in v's distance from a whole number.

    A thirtieth of the time of XLA's functions on a CPU, which would be most of a step.
    """
    t = v - jnp.round(v)
    u = t * t
    cos, sin = jnp.ones_like(u) * _COS[-1], jnp.ones_like(u) * _SIN[-1]
    for c, s in zip(_COS[-2::-1], _SIN[-2::-1], strict=True):
        cos, sin = cos * u + c, sin * u + s
    return cos, sin * t


# Coefficients of cos(2 pi t) in t^2 and of sin(2 pi t) / t, |t| <= 1/2: least squares on Chebyshev points
def _fitted(function: Callable[[Any], Any]) -> tuple[float, ...]:
    t = np.cos(np.pi * (np.arange(400) + 0.5) / 800) / 2
    fit = np.polynomial.Polynomial.fit(t**2, function(t), 7, domain=[0, 0.25], window=[0, 0.25])
    return tuple(float(value) for value in fit.coef)


_COS = _fitted(lambda t: np.cos(TAU * t))
_SIN = _fitted(lambda t: np.sin(TAU * t) / t)


@fast_cos_sin.defjvp
def _fast_cos_sin_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    cos, sin = fast_cos_sin(primals[0])
    change = TAU * tangents[0]
    return (cos, sin), (-sin * change, cos * change)


@partial(jax.jit, static_argnames=("architecture", "recipe", "count"))
def _train_chunk(
    parameters: Weights,
    moments: optax.OptState,
    architecture: GenerativeArchitecture,
    recipe: Recipe,
    count: int,
    samples: Array,
    key: Array,
    decoder_rate: float,
    code_rate: float,
) -> tuple[Weights, optax.OptState, Array]:
    scale = jnp.asarray(coefficient_scale(architecture, recipe))

    def loss(parameters: Weights, picked: Array, key: Array) -> tuple[Array, Array]:
        batch = samples[picked]
        targets = jnp.swapaxes(batch / 127.5 - 1, 1, 2)
        first, v = pixel_inputs(architecture)
        if recipe.between:
            key, key_between = jax.random.split(key)
            first, v, targets = between.moved(first, v, targets, architecture, recipe.between, key_between)
        if TABLE in parameters:
            codes = parameters[TABLE][picked]
        else:
            codes = network(parameters, "encoder", encoder_input(batch, jnp), jnp)
        penalty = recipe.code_penalty * (codes**2).sum(axis=1).mean()
        codes = codes + recipe.code_noise * jax.random.normal(key, codes.shape)
        coefficients = network(parameters, "decoder", codes, jnp) * scale
        painted = paint(coefficients, first, v, architecture, jnp, fast_cos_sin)
        error = ((painted - targets) ** 2).mean()
        return error + penalty, error

    def step(carry: tuple[Weights, optax.OptState], key: Array) -> tuple[tuple[Weights, optax.OptState], Array]:
        parameters, moments = carry
        key_batch, key_noise = jax.random.split(key)
        picked = jax.random.randint(key_batch, (recipe.batch,), 0, len(samples))
        gradient, error = jax.grad(loss, has_aux=True)(parameters, picked, key_noise)
        updates, moments = _optimizer(recipe).update(gradient, moments)
        rates = {name: decoder_rate if name.startswith("decoder") else code_rate for name in parameters}
        return ({name: parameters[name] - rates[name] * updates[name] for name in parameters}, moments), error

    carry, errors = jax.lax.scan(step, (parameters, moments), jax.random.split(key, count))
    return *carry, errors.mean()
