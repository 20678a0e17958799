"""Training of a generative model, by gradient descent on minibatches of a set of images.

The loss is the published one: the mean of the squared error over samples and images, with samples
in [-1, 1], plus lambda times the mean of |z|^2. Optional noise on the codes lets similar codes give
similar images. The model is then a variational autoencoder of fixed variance (Ghosh et al. 2020,
"From variational to deterministic autoencoders"). As in that paper, samples are drawn from a
density that is fitted to the codes after training, see `density`.
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

from dfmcodec._types import Array, Float32, UInt8
from dfmcodec.errors import ConfigError, DfmError
from dfmcodec.files.arrays import read_arrays, write_arrays
from dfmcodec.fourier.jax_backend import calls, use_compilation_cache
from dfmcodec.fourier.layer import frequency_set
from dfmcodec.perception import psnr_of_mse
from research.generative import subpixel
from research.generative.jax_backend import fast_cos_sin
from research.generative.network import (
    GenerativeArchitecture,
    encode_images,
    encoder_input,
    network,
    network_shapes,
    paint,
    pixel_inputs,
    positions,
)
from research.generative.recipes import GenerativeRecipe

CHUNK_STEPS = 20  # maximum number of training steps in one compiled call
TABLE = "codes"  # the name of the table of codes among the parameters
_SAMPLE_PEAK = 2.0  # samples span [-1, 1]
_MAX_GRADIENT = 1.0  # maximum global norm of the gradient, except for published recipes
_FIRST_SPREAD = (
    0.15  # initial spread of the first layer's outputs, in periods: the next layer is initially almost linear
)
_LAYER_GAIN = 0.5
_OUTPUT_GAIN = 1.0
_CODE_SPREAD = 0.1  # initial spread of the codes of a table
Weights = dict[str, Array]


@dataclass
class TrainingState:
    """The state of a training."""

    parameters: Weights  # by name, float32; outputs of the decoder still need `coefficient_scale`
    moments: optax.OptState  # the state of the optimiser
    steps: int = 0
    seconds: float = 0.0  # of these steps


class Trainer:
    """Trains one model on images, uint8 [N, H, W, C]. Its state can be saved and restored."""

    def __init__(
        self, images: UInt8, architecture: GenerativeArchitecture, recipe: GenerativeRecipe, seed: int
    ) -> None:
        use_compilation_cache()
        self.architecture, self.recipe, self._seed = architecture, recipe, seed
        self._samples = jnp.asarray(images.reshape(len(images), -1, architecture.channels))
        parameters = initial_parameters(architecture, recipe, len(images), seed)
        self.state = TrainingState(parameters, _optimizer(recipe).init(parameters))

    def run(
        self,
        seconds: float,
        report: Callable[[TrainingState, float], None] = lambda state, psnr_db: None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> str:
        """Trains to the end of the recipe, or to a time limit.

        Args:
            seconds: The maximum time of the complete training, including earlier runs of its state.
                The learning rates reach their final values with the steps or with the time,
                whichever comes first.
            report: Called after each chunk with the state and the PSNR of its minibatches in dB.
            clock: Returns the time in seconds.

        Returns:
            "steps" or "time limit".

        Raises:
            DfmError: The loss is NaN or infinite.
        """
        recipe, started, before = self.recipe, clock(), self.state.seconds
        while (part := max(self.state.steps / recipe.steps, self.state.seconds / seconds)) < 1:
            warm = min(1.0, (self.state.steps + 1) / recipe.warm_up) if recipe.warm_up else 1.0
            rate = warm * _interpolate(recipe.decoder_rate, part)
            key = jax.random.fold_in(jax.random.key(self._seed), self.state.steps)
            count = min(CHUNK_STEPS, recipe.steps - self.state.steps)
            with calls():
                parameters, moments, loss = _train_chunk(
                    self.state.parameters,
                    self.state.moments,
                    self.architecture,
                    recipe,
                    count,
                    self._samples,
                    key,
                    rate,
                    rate * _interpolate(recipe.code_rate, part),
                )
                error = float(loss)
            if not isfinite(error):
                msg = f"the loss is NaN or infinite after {self.state.steps} training steps; try another seed or preset"
                raise DfmError(msg)
            spent = before + clock() - started
            self.state = TrainingState(parameters, moments, self.state.steps + count, spent)
            report(self.state, psnr_of_mse(error, _SAMPLE_PEAK))
        return "steps" if self.state.steps >= recipe.steps else "time limit"

    def save(self, path: Path) -> None:
        """Saves the state to a file."""
        leaves = jax.tree.leaves((self.state.parameters, self.state.moments))
        arrays: dict[str, Any] = {f"leaf{index}": np.asarray(leaf) for index, leaf in enumerate(leaves)}
        about = {"about": self._about(), "steps": self.state.steps, "seconds": self.state.seconds}
        write_arrays(path, about | arrays)

    def restore(self, path: Path) -> None:
        """Restores a state that `save` wrote. Raises ConfigError if the file is damaged, or belongs
        to a training with other images or settings.
        """
        leaves, tree = jax.tree.flatten((self.state.parameters, self.state.moments))
        try:
            arrays = read_arrays(path)
            about = str(arrays["about"])
        except (DfmError, KeyError) as error:
            msg = f"{path} is damaged; delete it to start again"
            raise ConfigError(msg) from error
        if about != self._about():
            msg = f"{path} is from research.training with other images or settings; delete it to start again"
            raise ConfigError(msg)
        try:
            restored = [jnp.asarray(arrays[f"leaf{index}"]).reshape(leaf.shape) for index, leaf in enumerate(leaves)]
            steps, seconds = int(arrays["steps"]), float(arrays["seconds"])
        except (KeyError, ValueError, TypeError) as error:
            msg = f"{path} is damaged; delete it to start again"
            raise ConfigError(msg) from error
        parameters, moments = jax.tree.unflatten(tree, restored)
        self.state = TrainingState(parameters, moments, steps, seconds)

    def _about(self) -> str:
        """Returns the values that identify the training, with a checksum of the images."""
        data = zlib.crc32(np.asarray(self._samples).tobytes())
        return json.dumps([asdict(self.architecture), self.recipe.as_dict(), self._seed, data])

    def parameters(self) -> dict[str, Float32]:
        """Returns the parameters of the networks, float32; coefficients are scaled."""
        networks = {name: np.asarray(value) for name, value in self.state.parameters.items() if name != TABLE}
        scale = coefficient_scale(self.architecture, self.recipe)
        last = len(self.architecture.hidden)
        for kind in "wb":
            networks[f"decoder_{kind}{last}"] = networks[f"decoder_{kind}{last}"] * scale
        return networks

    def codes(self, images: UInt8) -> Float32:
        """Returns the codes of the training images, by table or encoder, float32 [N, code_dim]."""
        if TABLE in self.state.parameters:
            return np.asarray(self.state.parameters[TABLE])
        return encode_images(self.parameters(), images)


def initial_parameters(
    architecture: GenerativeArchitecture, recipe: GenerativeRecipe, images: int, seed: int
) -> Weights:
    """Draws random parameters of the networks, and of the table of codes of `images` images if
    there is one, by name, float32.

    Except in published recipes, the initial Deep Fourier Machines are random and almost linear.
    """
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
        parameters[TABLE] = rng.normal(0, spread, (images, architecture.code_dim))
    return {name: jnp.asarray(value, jnp.float32) for name, value in parameters.items()}


def coefficient_scale(architecture: GenerativeArchitecture, recipe: GenerativeRecipe) -> Float32:
    """Returns the factors on the decoder network's outputs in training, float32
    [coefficient_count].

    With these factors, the equal steps of Adam suit all coefficients. The factors of the first
    layer decrease with frequency, as the spectra of images do. In published recipes all are 1.
    """
    if recipe.weight_variance > 0:
        return np.ones(architecture.coefficient_count, np.float32)
    layers, scales = architecture.layers(), []
    for index, layer in enumerate(layers):
        rows = np.ones(2 * layer.frequency_count - 1)
        if index == 0:
            cycles = positions(1, 2, architecture.octaves)[:, 1] * 2, positions(2, 1, architecture.octaves)[:, 1] * 2
            vectors = frequency_set(layer.inputs, layer.order).vectors
            frequency = np.hypot(*(vectors @ axis for axis in cycles))
            rows = 1 / (1 + np.concatenate([frequency, frequency[1:]]))
        gain = _OUTPUT_GAIN if index == len(layers) - 1 else _FIRST_SPREAD if index == 0 else _LAYER_GAIN
        scales.append(np.repeat(gain * rows / np.sqrt((rows**2).sum()), layer.outputs))
    return np.concatenate(scales).astype(np.float32)


def _interpolate(rates: tuple[float, float], part: float) -> float:
    """Returns the learning rate at a fraction of the training, in [0, 1]."""
    return rates[0] + (rates[1] - rates[0]) * part


def _optimizer(recipe: GenerativeRecipe) -> optax.GradientTransformation:
    if recipe.weight_variance > 0:
        return optax.scale_by_adam()
    return optax.chain(optax.clip_by_global_norm(_MAX_GRADIENT), optax.scale_by_adam(b2=0.99))


@partial(jax.jit, static_argnames=("architecture", "recipe", "count"))
def _train_chunk(
    parameters: Weights,
    moments: optax.OptState,
    architecture: GenerativeArchitecture,
    recipe: GenerativeRecipe,
    count: int,
    samples: Array,
    key: Array,
    decoder_rate: float,
    code_rate: float,
) -> tuple[Weights, optax.OptState, Array]:
    """Runs `count` training steps; returns the parameters, the optimiser state, and the MSE."""
    scale = jnp.asarray(coefficient_scale(architecture, recipe))

    def loss(parameters: Weights, picked: Array, key: Array) -> tuple[Array, Array]:
        batch = samples[picked]
        targets = jnp.swapaxes(batch.astype(jnp.float32) / 127.5 - 1, 1, 2)
        first, v = pixel_inputs(architecture)
        if recipe.between:
            key, key_between = jax.random.split(key)
            first, v, targets = subpixel.moved(first, v, targets, architecture, recipe.between, key_between)
        if TABLE in parameters:
            codes = parameters[TABLE][picked]
        else:
            codes = network(parameters, "encoder", encoder_input(batch, jnp), jnp)
        penalty = recipe.code_penalty * (codes**2).sum(axis=1).mean()
        codes = codes + recipe.code_noise * jax.random.normal(key, codes.shape)
        coefficients = network(parameters, "decoder", codes, jnp) * scale[None]
        rendered = paint(coefficients, first, v, architecture, jnp, fast_cos_sin)
        error = ((rendered - targets) ** 2).mean()
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
