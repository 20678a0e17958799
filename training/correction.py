"""Training of the correction network, a network that corrects the linear synthesis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import cos, pi
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dfmcodec.codecs.wavelet.correction import (
    CELL,
    CELL_SAMPLES,
    FEATURES,
    CorrectionNetwork,
    cell_features,
    correction_outputs,
    step_feature,
)
from dfmcodec.codecs.wavelet.transform import UNITS_PER_CODE_VALUE
from dfmcodec.errors import ImageError
from training.checkpoint import Checkpoint
from training.examples import DecodedCells
from training.loop import Schedule, run_training

DEPTH, WIDTH = 4, 60
CROP = 40  # side of a crop, in cells
BATCH_CROPS = 4
CHUNK_STEPS = 4
LEARNING_RATE = 1e-3
LIFT_STD = 0.01  # small initial phases k.v, in turns
INNER_STD = 0.003
Params = dict[str, jax.Array]
_optimiser = optax.chain(optax.clip_by_global_norm(1.0), optax.scale_by_adam())


def fresh_correction(depth: int, width: int, rng: np.random.Generator) -> Params:
    """Creates the weights of a network whose residual is zero.

    Args:
        depth: The number of Fourier layers.
        width: The dimension between them.
        rng: The source of random numbers.
    """

    def normal(rows: int, columns: int, std: float) -> jax.Array:
        return jnp.asarray(rng.normal(0, std, (rows, columns)), jnp.float32)

    params = {
        "machine_lift": normal(FEATURES, width, LIFT_STD),
        "machine_bypass": jnp.zeros((width, CELL_SAMPLES)),
    }
    for i in range(depth):
        last = i == depth - 1
        outputs = CELL_SAMPLES if last else width
        params[f"machine_a_{i}"] = normal(width + 1, outputs, 0.0 if last else INNER_STD)
        params[f"machine_b_{i}"] = normal(width + 1, outputs, 0.0 if last else INNER_STD)
    return params


def correction_of(params: Any) -> CorrectionNetwork:
    """Creates a correction network from trained weights, which JAX may trace.

    The weights are those of cos - 1 instead of cos; see `with_cosines_less_one`.
    """
    depth = sum(name.startswith("machine_a_") for name in params)
    layers = []
    for i in range(depth):
        layers.append((with_cosines_less_one(params[f"machine_a_{i}"]), params[f"machine_b_{i}"]))
    return CorrectionNetwork(params["machine_lift"], tuple(layers), params["machine_bypass"])


def with_cosines_less_one(a: Any) -> jax.Array:
    """Converts the weights a of a Fourier layer, [|K|, n], from weights of cos - 1 to weights of
    cos.

    The weight of k = 0, the constant of the layer, is reduced by the sum of the others. Phases are
    small at first, so all cosines are near 1. With weights of cos, equal changes of all weights
    would change the constant strongly.
    """
    return jnp.concatenate([a[:1] - a[1:].sum(axis=0, keepdims=True), a[1:]])


def params_of(correction: CorrectionNetwork) -> Params:
    """Returns the weights of a correction network for further training: the inverse of
    `correction_of`.
    """
    params = {"machine_lift": jnp.asarray(correction.lift), "machine_bypass": jnp.asarray(correction.bypass)}
    for i, (a, b) in enumerate(correction.layers):
        constant = a[:1] + a[1:].sum(axis=0, keepdims=True)
        params[f"machine_a_{i}"] = jnp.concatenate([jnp.asarray(constant), jnp.asarray(a[1:])])
        params[f"machine_b_{i}"] = jnp.asarray(b)
    return params


def relative_scales(images: Sequence[DecodedCells]) -> list[float]:
    """Returns the inverse of the MSE of linear synthesis and rounding for each image, in squared
    units.
    """
    return [1 / (image.mse + UNITS_PER_CODE_VALUE**2 / 12) for image in images]


def corrected_crop(params: Any, decoded: jax.Array, step_in_units: jax.Array, log_step: jax.Array) -> jax.Array:
    """Returns the corrected cells of one crop.

    Args:
        params: The weights of the network.
        decoded: The linear synthesis in units, float32 [12, h + 2 reach, w + 2 reach].
        step_in_units: The step size in units.
        log_step: See `codecs.wavelet.correction.step_feature`.

    Returns:
        float32 [12, h, w], in units.
    """
    correction = correction_of(params)
    features = cell_features(decoded, step_in_units, log_step, jnp)
    change = correction_outputs(correction, features, jnp) * step_in_units
    reach = correction.reach
    corrected: jax.Array = decoded[:, reach:-reach, reach:-reach] + change.transpose(2, 0, 1)
    return corrected


@jax.jit
def _train_chunk(params: Params, state: Any, batches: tuple[jax.Array, ...], rate: float) -> Any:
    """Runs a training step on each batch; returns ((weights, optimiser state), losses)."""

    def training_step(carry: Any, batch: tuple[jax.Array, ...]) -> Any:
        params, state = carry
        decoded, original, steps, log_steps, scale = batch

        def loss(params: Params) -> jax.Array:
            corrected = jax.vmap(partial(corrected_crop, params))(decoded, steps, log_steps)
            return (((corrected - original) ** 2).mean(axis=(1, 2, 3)) * scale).mean()

        value, gradient = jax.value_and_grad(loss)(params)
        direction, state = _optimiser.update(gradient, state)
        return (jax.tree.map(lambda p, d: p - rate * d, params, direction), state), value

    return jax.lax.scan(training_step, (params, state), batches)


def _crops(images: Sequence[DecodedCells], scales: Sequence[float], rng: np.random.Generator) -> Any:
    """Draws the batches of a chunk: random crops, as arrays [CHUNK_STEPS, BATCH_CROPS, ..]."""
    crops = []
    border = images[0].border
    for _ in range(CHUNK_STEPS * BATCH_CROPS):
        number = int(rng.integers(len(images)))
        image = images[number]
        _, height, width = image.original.shape
        y, x = int(rng.integers(height - CROP + 1)), int(rng.integers(width - CROP + 1))
        step_in_units = image.q_step * UNITS_PER_CODE_VALUE / 64
        crops.append(
            (
                image.decoded[:, y : y + CROP + 2 * border, x : x + CROP + 2 * border],
                image.original[:, y : y + CROP, x : x + CROP],
                np.float32(step_in_units),
                np.float32(step_feature(image.q_step)),
                np.float32(scales[number]),
            )
        )
    stacked = [np.stack(column) for column in zip(*crops, strict=True)]
    return tuple(column.reshape(CHUNK_STEPS, BATCH_CROPS, *column.shape[1:]) for column in stacked)


def train_correction(
    images: Sequence[DecodedCells],
    steps: int,
    seed: int,
    checkpoint: Path,
    report: Callable[[int, float], None],
    size: tuple[int, int] = (DEPTH, WIDTH),
    every: int = 400,
    first: CorrectionNetwork | None = None,
    learning_rate: float = LEARNING_RATE,
) -> dict[str, Any]:
    """Trains a correction network. The loss is the MSE relative to that of the same image's linear
    synthesis.

    Args:
        images: The decoded images. Images with a side below `CROP` cells are skipped.
        steps: The number of training steps.
        seed: The seed of the initial weights and the crops.
        checkpoint: The checkpoint file. If it exists, the training continues from it.
        report: Called with the number of finished steps and the mean loss.
        size: The depth and width of the network.
        every: The number of training steps between reports.
        first: The initial network, which determines the size; None for a network whose residual is
            zero.
        learning_rate: The maximum learning rate.

    Returns:
        The arrays of the network, by their names in weights file, float32.

    Raises:
        ImageError: All images are too small.
        DivergedError: The loss is NaN or infinite.
    """
    images = [image for image in images if min(image.original.shape[1:]) >= CROP]
    if not images:
        side = CELL * CROP
        msg = f"after reduction, no photograph has the {side}x{side} pixels that training needs; add larger ones"
        raise ImageError(msg)
    scales = relative_scales(images)
    rng = np.random.default_rng(seed)
    params = fresh_correction(*size, rng) if first is None else params_of(first)

    def train_chunk(trained: Any, done: int, rng: np.random.Generator) -> tuple[Any, float]:
        rate = learning_rate * 0.5 * (1 + cos(pi * done / steps)) * min(1.0, done / (0.02 * steps) + 0.01) + 1e-6
        trained, losses = _train_chunk(*trained, _crops(images, scales, rng), rate)
        return trained, float(losses.mean())

    start = Checkpoint(0, (params, _optimiser.init(params)), rng)
    trained_params, _ = run_training(checkpoint, start, train_chunk, Schedule(steps, CHUNK_STEPS, every), report)
    correction = correction_of(jax.tree.map(np.asarray, trained_params))
    arrays = {"machine_lift": correction.lift, "machine_bypass": correction.bypass}
    for i, (a, b) in enumerate(correction.layers):
        arrays |= {f"machine_a_{i}": a, f"machine_b_{i}": b}
    return {name: np.asarray(value) for name, value in arrays.items()}
