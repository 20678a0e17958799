"""Fourier layers against ReLU, and orders of Fourier layers, as the machine that corrects the linear synthesis.

python benchmarks/machine_layers.py decoded.npz --seconds 240

Every variant has about as many multiply-adds and trains for as long, from nothing, on the pictures that the prior's
trainer decodes (`decoded.npz` in its work folder). What counts is the squared error relative to the linear
synthesis on every 40th picture, in dB, mean over windows; the less the better.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from functools import partial
from math import cos, pi
from pathlib import Path
from typing import Any

import click
import jax
import jax.numpy as jnp
import numpy as np

from dfmcodec import synthesis
from dfmcodec.fourier import fourier_sum, frequency_set
from dfmcodec.prior.checkpoint import load_pictures
from dfmcodec.prior.machine_training import (
    BATCH_WINDOWS,
    CHUNK_STEPS,
    INNER_STD,
    LEARNING_RATE,
    LIFT_STD,
    WINDOW,
    Params,
    _optimiser,
    _windows,
    relative_scales,
    with_cosines_less_one,
)

_VALIDATION_CHUNKS = 12


@dataclass(frozen=True)
class Variant:
    """One kind of layers.

    Args:
        name: For the table.
        order: Of Fourier layers; 0 for ReLU.
        width: Dimensions between layers.
        depth: Number of layers.
    """

    name: str
    order: int
    width: int
    depth: int

    @property
    def terms(self) -> int:
        """Rows of a layer's weights a."""
        return len(frequency_set(self.width, self.order).rows) if self.order else self.width

    @property
    def macs_per_pixel(self) -> float:
        outputs = [self.width] * (self.depth - 1) + [synthesis.CELL_SAMPLES]
        first = 0 if self.order else self.width**2 * self.depth
        layers = sum((2 if self.order else 1) * self.terms * n for n in outputs) + first
        return (synthesis.FEATURES * self.width + synthesis.CELL_SAMPLES * self.width + layers) / synthesis.CELL**2

    def params(self, rng: np.random.Generator) -> Params:
        def normal(rows: int, columns: int, std: float) -> jax.Array:
            return jnp.asarray(rng.normal(0, std, (rows, columns)), jnp.float32)

        relu = not self.order
        params = {
            "lift": normal(synthesis.FEATURES, self.width, 0.1 if relu else LIFT_STD),
            "bypass": jnp.zeros((self.width, synthesis.CELL_SAMPLES)),
        }
        for i in range(self.depth):
            last = i == self.depth - 1
            outputs = synthesis.CELL_SAMPLES if last else self.width
            if relu:
                params[f"in_{i}"] = normal(self.width, self.width, (2 / self.width) ** 0.5)
                params[f"constant_{i}"] = jnp.zeros(self.width)
                params[f"out_{i}"] = normal(self.width, outputs, 0.0 if last else 0.1 / self.width**0.5)
            else:
                for name in ("a", "b"):
                    params[f"{name}_{i}"] = normal(self.terms, outputs, 0.0 if last else INNER_STD)
        return params

    def layer(self, params: Params, i: int, h: jax.Array) -> jax.Array:
        """[N, width] -> [N, outputs]; Fourier layers for cos - 1, as in the prior's training."""
        if not self.order:
            found: jax.Array = jax.nn.relu(h @ params[f"in_{i}"] + params[f"constant_{i}"]) @ params[f"out_{i}"]
            return found
        a = with_cosines_less_one(params[f"a_{i}"])
        return jnp.asarray(fourier_sum(h, a, params[f"b_{i}"], self.order, jnp))

    def correction(self, params: Params, features: jax.Array) -> jax.Array:
        h = features @ params["lift"]
        for i in range(self.depth):
            around, inner = synthesis._spread(h, jnp), synthesis._inner(h)
            change = self.layer(params, i, around.reshape(-1, self.width)).reshape(*around.shape[:2], -1)
            h = inner + change if i < self.depth - 1 else change + inner @ params["bypass"]
        return h

    def error(self, params: Params, batch: Any) -> jax.Array:
        """Squared error relative to the linear synthesis of the picture, of each window."""
        decoded, original, steps, log_steps, scale = batch

        def corrected(cells: jax.Array, step: jax.Array, log_step: jax.Array) -> jax.Array:
            change = self.correction(params, synthesis.cell_features(cells, step, log_step, jnp)) * step
            reach = self.depth + 1
            return cells[:, reach:-reach, reach:-reach] + change.transpose(2, 0, 1)

        found = jax.vmap(corrected)(decoded, steps, log_steps)
        return ((found - original) ** 2).mean(axis=(1, 2, 3)) * scale


VARIANTS = (
    Variant("Fourier, order 1", 1, 60, 4),
    Variant("ReLU", 0, 56, 4),
    Variant("Fourier, order 2", 2, 19, 4),
    Variant("Fourier, full {0,1}^m", 9, 9, 3),
)


def train(variant: Variant, pictures: list[Any], held_out: list[Any], seconds: float) -> dict[str, Any]:
    """Trains for so many seconds, compilation not counted."""
    pictures, held_out = ([_cut(picture, variant.depth + 1) for picture in group] for group in (pictures, held_out))
    scales, held_scales = relative_scales(pictures), relative_scales(held_out)
    rng = np.random.default_rng(0)
    params = variant.params(rng)
    state: Any = _optimiser.init(params)

    @jax.jit
    def chunk(params: Params, state: Any, batches: Any, rate: float) -> Any:
        def step(carry: Any, batch: Any) -> Any:
            params, state = carry
            gradient = jax.grad(lambda p: variant.error(p, batch).mean())(params)
            direction, state = _optimiser.update(gradient, state)
            return (jax.tree.map(lambda p, d: p - rate * d, params, direction), state), None

        return jax.lax.scan(step, (params, state), batches)[0]

    @jax.jit
    def errors(params: Params, batches: Any) -> jax.Array:
        found: jax.Array = jax.lax.map(partial(variant.error, params), batches)
        return found

    chunk(params, state, _windows(pictures, scales, rng), 0.0)  # compiles
    steps, started = 0, time.perf_counter()
    while (part := (time.perf_counter() - started) / seconds) < 1:
        rate = LEARNING_RATE * 0.5 * (1 + cos(pi * part)) * min(1.0, part / 0.02 + 0.01)
        params, state = chunk(params, state, _windows(pictures, scales, rng), rate)
        jax.block_until_ready(params)
        steps += CHUNK_STEPS
    held_rng = np.random.default_rng(3)
    held = [_windows(held_out, held_scales, held_rng) for _ in range(_VALIDATION_CHUNKS)]
    nothing = jax.tree.map(jnp.zeros_like, params)
    relative = [np.asarray(errors(params, batch)) / np.asarray(errors(nothing, batch)) for batch in held]
    return {
        "layers": variant.name,
        "depth": variant.depth,
        "width": variant.width,
        "macs_per_pixel": round(variant.macs_per_pixel),
        "steps": steps,
        "seconds": seconds,
        "error_db": float(10 * np.log10(np.concatenate(relative)).mean()),
    }


def _cut(picture: Any, reach: int) -> Any:
    """The picture with a border of `reach` cells."""
    extra = picture.border - reach
    decoded = picture.decoded[:, extra : picture.decoded.shape[1] - extra, extra : picture.decoded.shape[2] - extra]
    return replace(picture, decoded=np.ascontiguousarray(decoded))


@click.command(help=__doc__)
@click.argument("decoded", type=click.Path(path_type=Path, exists=True))
@click.option("--seconds", type=float, default=240.0, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="JSON lines to add the rows to.")
def main(decoded: Path, seconds: float, out: Path | None) -> None:
    pictures = [p for p in load_pictures(decoded) if min(p.original.shape[1:]) >= WINDOW]
    held_out = pictures[::40]
    kept = [picture for number, picture in enumerate(pictures) if number % 40]
    click.echo(f"{len(kept)} pictures, {len(held_out)} held out, {BATCH_WINDOWS} windows a step")
    for variant in VARIANTS:
        row = train(variant, kept, held_out, seconds)
        click.echo(json.dumps(row))
        if out is not None:
            with out.open("a") as file:
                file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
