"""Layers for the machine that corrects the linear synthesis: Fourier layers of several orders, and
ReLU.

    PYTHONPATH=. python benchmarks/machine_layers.py decoded.npz --seconds 240

Every variant has about the same number of multiply-adds. It is trained from scratch for the same
time on the images that the prior's trainer decodes (`decoded.npz` in its work folder). The result
is the squared error relative to the linear synthesis on every 40th image, in dB, as the mean over
crops of 40x40 cells. Less is better.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import cos, pi
from pathlib import Path
from typing import Any

import click
import jax
import jax.numpy as jnp
import numpy as np
import optax
from recording import Row, append_row, out_option

from dfmcodec.codecs.wavelet.correction import CELL, CELL_SAMPLES, FEATURES, cell_features, spread, step_feature
from dfmcodec.codecs.wavelet.transform import UNITS_PER_CODE_VALUE
from dfmcodec.fourier.layer import fourier_sum, frequency_set
from training.checkpoint import load_images
from training.examples import DecodedCells
from training.machine import (
    BATCH_CROPS,
    CHUNK_STEPS,
    CROP,
    INNER_STD,
    LEARNING_RATE,
    LIFT_STD,
    Params,
    relative_scales,
    with_cosines_less_one,
)

HELD_OUT = 40  # one image in so many
VALIDATION_CHUNKS = 12  # of crops, on which a variant is measured
_OPTIMIZER = optax.chain(optax.clip_by_global_norm(1.0), optax.scale_by_adam())
Batches = tuple[jax.Array, ...]


@dataclass(frozen=True)
class Variant:
    """One kind of layers.

    Args:
        name: Its name in the table.
        order: The order of the Fourier layers; 0 for ReLU.
        width: The dimension between layers.
        depth: The number of layers.
    """

    name: str
    order: int
    width: int
    depth: int

    @property
    def terms(self) -> int:
        """The rows of a layer's weights a."""
        return len(frequency_set(self.width, self.order).rows) if self.order else self.width

    @property
    def macs_per_pixel(self) -> float:
        """The multiply-adds of its matrix products."""
        outputs = [self.width] * (self.depth - 1) + [CELL_SAMPLES]
        first = 0 if self.order else self.width**2 * self.depth
        layers = sum((2 if self.order else 1) * self.terms * n for n in outputs) + first
        return float(FEATURES * self.width + CELL_SAMPLES * self.width + layers) / CELL**2

    def params(self, rng: np.random.Generator) -> Params:
        """Initial weights, whose residual is zero."""

        def normal(rows: int, columns: int, std: float) -> jax.Array:
            return jnp.asarray(rng.normal(0, std, (rows, columns)), jnp.float32)

        relu = not self.order
        params = {
            "lift": normal(FEATURES, self.width, 0.1 if relu else LIFT_STD),
            "bypass": jnp.zeros((self.width, CELL_SAMPLES)),
        }
        for i in range(self.depth):
            last = i == self.depth - 1
            outputs = CELL_SAMPLES if last else self.width
            if relu:
                params[f"in_{i}"] = normal(self.width, self.width, (2 / self.width) ** 0.5)
                params[f"constant_{i}"] = jnp.zeros(self.width)
                params[f"out_{i}"] = normal(self.width, outputs, 0.0 if last else 0.1 / self.width**0.5)
            else:
                for name in ("a", "b"):
                    params[f"{name}_{i}"] = normal(self.terms, outputs, 0.0 if last else INNER_STD)
        return params

    def layer(self, params: Params, i: int, h: jax.Array) -> jax.Array:
        """Applies a layer, [N, width] -> [N, outputs].

        The weights of Fourier layers are for cos - 1, as in the training of the prior.
        """
        if not self.order:
            return jax.nn.relu(h @ params[f"in_{i}"] + params[f"constant_{i}"][None]) @ params[f"out_{i}"]
        a = with_cosines_less_one(params[f"a_{i}"])
        return jnp.asarray(fourier_sum(h, a, params[f"b_{i}"], self.order, jnp))

    def residual(self, params: Params, features: jax.Array) -> jax.Array:
        """The residual in quantisation steps, with `depth` fewer cells on each side than the
        features.
        """
        h = features @ params["lift"]
        for i in range(self.depth):
            around, inner = spread(h, jnp), h[1:-1, 1:-1]
            change = self.layer(params, i, around.reshape(-1, self.width)).reshape(*around.shape[:2], -1)
            h = inner + change if i < self.depth - 1 else change + inner @ params["bypass"]
        return h

    def error(self, params: Params, batch: Batches) -> jax.Array:
        """The squared error of each crop, relative to that of the linear synthesis of its image."""
        decoded, original, steps, log_steps, scale = batch

        def corrected(cells: jax.Array, step_in_units: jax.Array, log_step: jax.Array) -> jax.Array:
            change = self.residual(params, cell_features(cells, step_in_units, log_step, jnp)) * step_in_units
            reach = self.depth + 1
            return cells[:, reach:-reach, reach:-reach] + change.transpose(2, 0, 1)

        difference = jax.vmap(corrected)(decoded, steps, log_steps) - original
        return jnp.asarray((difference**2).mean(axis=(1, 2, 3)) * scale)


VARIANTS = (
    Variant("Fourier, order 1", 1, 60, 4),
    Variant("ReLU", 0, 56, 4),
    Variant("Fourier, order 2", 2, 19, 4),
    Variant("Fourier, full {0,1}^m", 9, 9, 3),
)


def train(
    variant: Variant,
    images: Sequence[DecodedCells],
    held_out: Sequence[DecodedCells],
    seconds: float,
    validation_chunks: int = VALIDATION_CHUNKS,
) -> Row:
    """Trains a variant for a given time without compilation, and measures it on held-out images."""
    images, held_out = ([_cut(image, variant.depth + 1) for image in group] for group in (images, held_out))
    scales, held_scales = relative_scales(images), relative_scales(held_out)
    rng = np.random.default_rng(0)
    params = variant.params(rng)
    state: Any = _OPTIMIZER.init(params)

    @jax.jit
    def chunk(params: Params, state: Any, batches: Batches, rate: float) -> tuple[Params, Any]:
        def step(carry: tuple[Params, Any], batch: Batches) -> tuple[tuple[Params, Any], None]:
            params, state = carry
            gradient = jax.grad(lambda p: variant.error(p, batch).mean())(params)
            direction, state = _OPTIMIZER.update(gradient, state)
            return (jax.tree.map(lambda p, d: p - rate * d, params, direction), state), None

        carry, _ = jax.lax.scan(step, (params, state), batches)
        return carry

    @jax.jit
    def errors(params: Params, batches: Batches) -> jax.Array:
        return jnp.asarray(jax.lax.map(partial(variant.error, params), batches))

    chunk(params, state, _crops(images, scales, rng), 0.0)  # compiles
    steps, started = 0, time.perf_counter()
    while (part := (time.perf_counter() - started) / seconds) < 1:
        rate = LEARNING_RATE * 0.5 * (1 + cos(pi * part)) * min(1.0, part / 0.02 + 0.01)
        params, state = chunk(params, state, _crops(images, scales, rng), rate)
        params["lift"].block_until_ready()
        steps += CHUNK_STEPS
    held_rng = np.random.default_rng(3)
    held = [_crops(held_out, held_scales, held_rng) for _ in range(validation_chunks)]
    nothing = jax.tree.map(jnp.zeros_like, params)
    relative = [np.asarray(errors(params, batches)) / np.asarray(errors(nothing, batches)) for batches in held]
    return {
        "layers": variant.name,
        "depth": variant.depth,
        "width": variant.width,
        "macs_per_pixel": round(variant.macs_per_pixel),
        "steps": steps,
        "seconds": seconds,
        "error_db": float(10 * np.log10(np.concatenate(relative)).mean()),
    }


def _cut(image: DecodedCells, reach: int) -> DecodedCells:
    """The image with a border of `reach` cells."""
    extra = image.border - reach
    decoded = image.decoded[:, extra : image.decoded.shape[1] - extra, extra : image.decoded.shape[2] - extra]
    return replace(image, decoded=np.ascontiguousarray(decoded))


def _crops(images: Sequence[DecodedCells], scales: Sequence[float], rng: np.random.Generator) -> Batches:
    """Random crops of images for CHUNK_STEPS training steps.

    Returns:
        The decoded cells with their border, the original cells, the q_step in units, its feature,
        and the scale of the image's error; each [CHUNK_STEPS, BATCH_CROPS, ...].
    """
    crops = []
    for _ in range(CHUNK_STEPS * BATCH_CROPS):
        number = int(rng.integers(len(images)))
        image = images[number]
        top, left = (int(rng.integers(side - CROP + 1)) for side in image.original.shape[1:])
        side = CROP + 2 * image.border
        crops.append(
            (
                image.decoded[:, top : top + side, left : left + side],
                image.original[:, top : top + CROP, left : left + CROP],
                np.float32(image.q_step * UNITS_PER_CODE_VALUE / 64),
                np.float32(step_feature(image.q_step)),
                np.float32(scales[number]),
            )
        )
    stacked = [np.stack(values) for values in zip(*crops, strict=True)]
    return tuple(jnp.asarray(values.reshape(CHUNK_STEPS, BATCH_CROPS, *values.shape[1:])) for values in stacked)


@click.command(help=__doc__)
@click.argument("decoded", type=click.Path(path_type=Path, exists=True))
@click.option("--seconds", type=float, default=240.0, show_default=True, help="The seconds of each training.")
@click.option(
    "--layers",
    "names",
    multiple=True,
    type=click.Choice([variant.name for variant in VARIANTS]),
    help="A variant, instead of all; may be given several times.",
)
@click.option(
    "--validation-chunks",
    type=int,
    default=VALIDATION_CHUNKS,
    show_default=True,
    help=f"The chunks of {CHUNK_STEPS * BATCH_CROPS} crops on which a variant is measured.",
)
@out_option
def main(decoded: Path, seconds: float, names: tuple[str, ...], validation_chunks: int, out: Path | None) -> None:
    images = [image for image in load_images(decoded) if min(image.original.shape[1:]) >= CROP]
    held_out = images[::HELD_OUT]
    kept = [image for number, image in enumerate(images) if number % HELD_OUT]
    click.echo(f"{len(kept)} images, {len(held_out)} held out, {BATCH_CROPS} crops for each training step", err=True)
    for variant in VARIANTS:
        if not names or variant.name in names:
            row = train(variant, kept, held_out, seconds, validation_chunks)
            click.echo(json.dumps(row))
            if out is not None:
                append_row(row, out)


if __name__ == "__main__":
    main()
