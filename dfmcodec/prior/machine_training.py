"""Training of the shared Fourier machine: corrections of the linear synthesis that lower the squared error."""

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

from dfmcodec import synthesis
from dfmcodec.latents import UNITS_PER_LEVEL
from dfmcodec.prior.checkpoint import Checkpoint
from dfmcodec.prior.samples import DecodedCells

DEPTH, WIDTH = 4, 60
WINDOW = 40  # cells
BATCH_WINDOWS = 4
CHUNK_STEPS = 4
LEARNING_RATE = 1e-3
LIFT_STD = 0.01  # phases start small, in turns
INNER_STD = 0.003

Params = dict[str, jax.Array]
_optimiser = optax.chain(optax.clip_by_global_norm(1.0), optax.scale_by_adam())


def fresh_machine(depth: int, width: int, rng: np.random.Generator) -> Params:
    """A machine whose correction is zero."""

    def normal(rows: int, columns: int, std: float) -> jax.Array:
        return jnp.asarray(rng.normal(0, std, (rows, columns)), jnp.float32)

    params = {
        "machine_lift": normal(synthesis.FEATURES, width, LIFT_STD),
        "machine_bypass": jnp.zeros((width, synthesis.CELL_SAMPLES)),
    }
    for i in range(depth):
        last = i == depth - 1
        outputs = synthesis.CELL_SAMPLES if last else width
        params[f"machine_a_{i}"] = normal(width + 1, outputs, 0.0 if last else INNER_STD)
        params[f"machine_b_{i}"] = normal(width + 1, outputs, 0.0 if last else INNER_STD)
    return params


def machine_of(params: Any) -> synthesis.Machine:
    """The machine of the weights that are trained, which may be traced.

    They are for cos - 1 instead of cos; see `with_cosines_less_one`.
    """
    depth = sum(name.startswith("machine_a_") for name in params)
    layers = []
    for i in range(depth):
        layers.append((with_cosines_less_one(params[f"machine_a_{i}"]), params[f"machine_b_{i}"]))
    return synthesis.Machine(params["machine_lift"], tuple(layers), params["machine_bypass"], spread=True)


def with_cosines_less_one(a: Any) -> jax.Array:
    """Weights a of a Fourier layer, [|K|, n], that do with cos what the given ones do with cos - 1 (but for k = 0).

    Phases are small at first, so that all cosines are near 1 and, moving alike, would shake the layer's constant.
    """
    return jnp.concatenate([a[:1] - a[1:].sum(axis=0, keepdims=True), a[1:]])


def relative_scales(pictures: Sequence[DecodedCells]) -> list[float]:
    """One over the squared error of each picture's linear synthesis and of rounding to levels."""
    return [1 / (picture.mse + UNITS_PER_LEVEL**2 / 12) for picture in pictures]


def window_correction(params: Any, decoded: jax.Array, step_in_units: jax.Array, log_step: jax.Array) -> jax.Array:
    """Corrected cells of one window: [12, h + 2 reach, w + 2 reach] -> [12, h, w], units."""
    machine = machine_of(params)
    features = synthesis.cell_features(decoded, step_in_units, log_step, jnp)
    change = synthesis.correction(machine, features, jnp) * step_in_units
    reach = machine.reach
    corrected: jax.Array = decoded[:, reach:-reach, reach:-reach] + change.transpose(2, 0, 1)
    return corrected


@jax.jit
def _train_chunk(params: Params, state: Any, batches: tuple[jax.Array, ...], rate: float) -> Any:
    def step(carry: Any, batch: tuple[jax.Array, ...]) -> Any:
        params, state = carry
        decoded, original, steps, log_steps, scale = batch

        def loss(params: Params) -> jax.Array:
            found = jax.vmap(partial(window_correction, params))(decoded, steps, log_steps)
            return (((found - original) ** 2).mean(axis=(1, 2, 3)) * scale).mean()

        value, gradient = jax.value_and_grad(loss)(params)
        direction, state = _optimiser.update(gradient, state)
        return (jax.tree.map(lambda p, d: p - rate * d, params, direction), state), value

    return jax.lax.scan(step, (params, state), batches)


def _windows(pictures: Sequence[DecodedCells], scales: Sequence[float], rng: np.random.Generator) -> Any:
    found = []
    border = pictures[0].border
    for _ in range(CHUNK_STEPS * BATCH_WINDOWS):
        number = int(rng.integers(len(pictures)))
        picture = pictures[number]
        _, height, width = picture.original.shape
        y, x = int(rng.integers(height - WINDOW + 1)), int(rng.integers(width - WINDOW + 1))
        step_in_units = picture.step * UNITS_PER_LEVEL / 64
        found.append(
            (
                picture.decoded[:, y : y + WINDOW + 2 * border, x : x + WINDOW + 2 * border],
                picture.original[:, y : y + WINDOW, x : x + WINDOW],
                np.float32(step_in_units),
                np.float32(synthesis.step_feature(picture.step)),
                np.float32(scales[number]),
            )
        )
    stacked = [np.stack(column) for column in zip(*found, strict=True)]
    return tuple(column.reshape(CHUNK_STEPS, BATCH_WINDOWS, *column.shape[1:]) for column in stacked)


def train_machine(
    pictures: Sequence[DecodedCells],
    steps: int,
    seed: int,
    checkpoint: Path,
    report: Callable[[int, float], None],
    size: tuple[int, int] = (DEPTH, WIDTH),
    every: int = 400,
) -> dict[str, Any]:
    """Trains a machine; the loss is the squared error relative to the linear synthesis of the same picture.

    Args:
        pictures: At least `WINDOW` cells on each side.
        steps: Gradient steps.
        seed: Of weights and windows.
        checkpoint: File to go on from and to leave.
        report: Called with (steps, mean loss).
        size: Depth and width.
        every: Steps between reports.
    """
    pictures = [picture for picture in pictures if min(picture.original.shape[1:]) >= WINDOW]
    scales = relative_scales(pictures)
    rng = np.random.default_rng(seed)
    params = fresh_machine(*size, rng)
    state: Any = _optimiser.init(params)
    done = 0
    if checkpoint.exists():
        found = Checkpoint.load(checkpoint, (params, state))
        done, (params, state), rng = found.steps, found.trained, found.rng
    losses: list[float] = []
    while done < steps:
        rate = LEARNING_RATE * 0.5 * (1 + cos(pi * done / steps)) * min(1.0, done / (0.02 * steps) + 0.01) + 1e-6
        (params, state), values = _train_chunk(params, state, _windows(pictures, scales, rng), rate)
        losses.append(float(values.mean()))
        done += CHUNK_STEPS
        if done % every == 0 or done >= steps:
            Checkpoint(done, (params, state), rng).save(checkpoint)
            report(done, float(np.mean(losses)))
            losses = []
    machine = machine_of(jax.tree.map(np.asarray, params))
    arrays = {
        "machine_lift": machine.lift,
        "machine_bypass": machine.bypass,
        "machine_spread": np.ones(1, dtype=np.int8),
    }
    for i, (a, b) in enumerate(machine.layers):
        arrays |= {f"machine_a_{i}": a, f"machine_b_{i}": b}
    return {name: np.asarray(value) for name, value in arrays.items()}
