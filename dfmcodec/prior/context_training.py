"""Training of the context networks, and the counting of their tables.

The networks train in floats that step like their integers will (straight-through gradients), under a loss in closed
form: the bits of a symbol if its coefficient follows a Laplace distribution with the network's scale and mean and
was rounded with a dead zone. The tables are counted afterwards, so the exact shape of that distribution hardly matters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from math import cos, log, pi
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import optax

from dfmcodec.entropy import context as ctx
from dfmcodec.entropy.tables import ESCAPE, PRECISION_BITS, RADIUS, TABLE_SIZE, UNIT_SCALE_INDEX
from dfmcodec.latents import COLOURS, ORIENTATIONS
from dfmcodec.model import MAX_LEVELS
from dfmcodec.prior.checkpoint import Checkpoint
from dfmcodec.prior.samples import Rows
from dfmcodec.scan import FINE, Place, context_size
from dfmcodec.trellis import QUANTIZERS, multiples_of

HIDDEN = (128, 32)
BATCH = 4096
CHUNK_STEPS = 8
LEARNING_RATE = 4e-3
_PLACES = MAX_LEVELS * COLOURS * ORIENTATIONS
_BANDS_OF_LEVEL = COLOURS * ORIENTATIONS
_GROUPS = ctx.SCALES * len(ctx.MEANS)

# Integers and their floats: a feature is 16 times its float, a weight 64 times, so a sum 1024 times.
_FEATURE, _WEIGHT = 16, 64
_SUM = _FEATURE * _WEIGHT
_MAX_WEIGHT = ctx.MAX_WEIGHT

_LARGEST_MEAN = 5.0  # scales

# Edges of the quantisers' cells, in two steps: what decisions by rate and distortion come to.
_DEAD_ZONE = 0.42  # the first quantiser rounds |c| + this down
_ZERO = 0.28  # up to here the second quantiser has zero
_SMALLER = 0.06  # by which its cells begin after the middle between points

Net = dict[str, Any]
_optimiser = optax.chain(optax.clip_by_global_norm(1.0), optax.scale_by_adam())


def _straight_through(x: jax.Array, rounded: jax.Array) -> jax.Array:
    return x + jax.lax.stop_gradient(rounded - x)


def _weights(w: jax.Array) -> jax.Array:
    w = jnp.clip(w, -_MAX_WEIGHT / _WEIGHT, _MAX_WEIGHT / _WEIGHT)
    return _straight_through(w, jnp.rint(w * _WEIGHT) / _WEIGHT)


def _activation(x: jax.Array) -> jax.Array:
    x = jnp.clip(x, 0, ctx.ACTIVATION_MAX / _FEATURE)
    return _straight_through(x, jnp.floor(x * _FEATURE) / _FEATURE)


def outputs(net: Net, features: jax.Array, place: jax.Array, log_step: jax.Array) -> jax.Array:
    """log2 of the scale in symbols, and the mean in scales: float32 [N, 2]."""
    level = place // _BANDS_OF_LEVEL
    k = log_step.astype(jnp.float32)[:, None] / _FEATURE
    h = features.astype(jnp.float32) / _FEATURE @ _weights(net["w1"])
    h = _activation(h + net["c1"][place] + net["s1"][level] * k)
    h = _activation(h @ _weights(net["w2"]) + net["c2"])
    found: jax.Array = h @ _weights(net["w3"]) + net["c3"][place] + net["s3"][level] * k
    return found


def _cell(symbols: jax.Array, quantizer: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Where the coefficients of a symbol lie, about: (start, stop) in two steps, which is a quantiser's own step."""
    size = jnp.abs(symbols)
    of_first = jnp.where(size > 0, size - _DEAD_ZONE, -1 + _DEAD_ZONE), size + 1 - _DEAD_ZONE
    of_second = jnp.where(size > 1, size - 1 + _SMALLER, jnp.where(size > 0, _ZERO, -_ZERO)), size + _SMALLER
    start = jnp.where(quantizer > 0, of_second[0], of_first[0])
    stop = jnp.where(quantizer > 0, jnp.where(size > 0, of_second[1], _ZERO), of_first[1])
    return jnp.where(symbols < 0, -stop, start), jnp.where(symbols < 0, -start, stop)


def cost_bits(found: jax.Array, symbols: jax.Array, quantizer: jax.Array) -> jax.Array:
    """Bits of symbols of quantisers 0 or 1, float32 [N], under the distributions of `outputs`."""
    scale = 2.0 ** jnp.clip(found[:, 0], -4.5, 9)
    mean = jnp.clip(found[:, 1], -_LARGEST_MEAN, _LARGEST_MEAN) * scale
    start, stop = _cell(symbols * jnp.where(mean < 0, -1.0, 1.0), quantizer)
    mean = jnp.abs(mean)
    part = jnp.log(-jnp.expm1((start - stop) / scale)) - log(2)
    right, left = part - (start - mean) / scale, part - (mean - stop) / scale
    outside = 0.5 * jnp.exp(-jnp.maximum(mean - start, 0) / scale) + 0.5 * jnp.exp(-jnp.maximum(stop - mean, 0) / scale)
    around = jnp.log(jnp.maximum(1 - outside, 1e-9))
    nats = -jnp.where(start >= mean, right, jnp.where(stop <= mean, left, around))
    return nats / log(2)


def fresh_network(features: int, rng: np.random.Generator) -> Net:
    """Random weights."""

    def normal(rows: int, columns: int, gain: float) -> jax.Array:
        return jnp.asarray(rng.normal(0, gain / np.sqrt(rows), (rows, columns)), jnp.float32)

    first, second = HIDDEN
    return {
        "w1": normal(features, first, 0.7),
        "c1": jnp.full((_PLACES, first), 0.5),
        "s1": jnp.zeros((MAX_LEVELS, first)),
        "w2": normal(first, second, 1.0),
        "c2": jnp.zeros(second),
        "w3": normal(second, 2, 0.5),
        "c3": jnp.zeros((_PLACES, 2)),
        "s3": jnp.zeros((MAX_LEVELS, 2)),
    }


@jax.jit
def _train_chunk(net: Net, state: Any, batches: tuple[jax.Array, ...], rate: float) -> Any:
    def step(carry: Any, batch: tuple[jax.Array, ...]) -> Any:
        net, state = carry
        features, place, log_step, symbols, quantizer, weight = batch

        def loss(net: Net) -> jax.Array:
            return (cost_bits(outputs(net, features, place, log_step), symbols, quantizer) * weight).mean()

        value, gradient = jax.value_and_grad(loss)(net)
        direction, state = _optimiser.update(gradient, state)
        return (jax.tree.map(lambda p, d: p - rate * d, net, direction), state), value

    return jax.lax.scan(step, (net, state), batches)


def train_network(
    rows: Rows, steps: int, seed: int, checkpoint: Path, report: Callable[[int, float], None], every: int = 2000
) -> Net:
    """Trains the network of a phase; goes on from the checkpoint where there is one, and leaves one when done."""
    rng = np.random.default_rng(seed)
    net = fresh_network(rows.features.shape[1], rng)
    state: Any = _optimiser.init(net)
    done = 0
    if checkpoint.exists():
        found = Checkpoint.load(checkpoint, (net, state))
        done, (net, state), rng = found.steps, found.trained, found.rng
    mean_weight = rows.weight.mean()
    losses: list[float] = []
    while done < steps:
        chosen = rng.integers(0, len(rows.symbols), (CHUNK_STEPS, BATCH))
        part = done / steps
        rate = LEARNING_RATE * 0.5 * (1 + cos(pi * part)) * min(1.0, part / 0.02 + 0.01) + 1e-5
        batches = (
            rows.features[chosen],
            rows.place[chosen].astype(np.int32),
            rows.log_step[chosen],
            rows.symbols[chosen].astype(np.float32),
            rows.quantizer[chosen],
            rows.weight[chosen] / mean_weight,
        )
        (net, state), values = _train_chunk(net, state, batches, rate)
        losses.append(float(values.mean()))
        done += CHUNK_STEPS
        if done % every == 0 or done >= steps:
            Checkpoint(done, (net, state), rng).save(checkpoint)
            report(done, float(np.mean(losses)))
            losses = []
    return net


def integer_network(net: Net) -> ctx.ContextNetwork:
    """The trained network on its integers."""

    def weights(name: str) -> npt.NDArray[np.float32]:
        rounded = np.rint(np.asarray(net[name], dtype=np.float32).T * np.float32(_WEIGHT))
        return np.asarray(np.clip(rounded, -_MAX_WEIGHT, _MAX_WEIGHT))

    def sums(name: str, unit: int) -> npt.NDArray[np.float32]:
        return np.asarray(np.rint(np.asarray(net[name], dtype=np.float32) * np.float32(unit)))

    return ctx.ContextNetwork(
        w1=weights("w1"),
        c1=sums("c1", _SUM),
        s1=sums("s1", _WEIGHT),
        w2=weights("w2"),
        c2=sums("c2", _SUM),
        w3=weights("w3"),
        c3=sums("c3", _SUM),
        s3=sums("s3", _WEIGHT),
    )


def laplace_rows() -> npt.NDArray[np.float64]:
    """Probabilities that the loss gives each entry of the direct tables, [QUANTIZERS * _GROUPS, TABLE_SIZE]."""
    symbols = np.arange(-RADIUS, RADIUS + 1, dtype=np.float32)
    rows = []
    for quantizer in range(QUANTIZERS):
        for scale in range(ctx.SCALES):
            for mean in ctx.class_middles(ctx.MEANS):
                found = np.array([[(scale - UNIT_SCALE_INDEX) / 4, mean / ctx.MEANS_PER_SCALE]], dtype=np.float32)
                bits = cost_bits(jnp.asarray(found), jnp.asarray(symbols), jnp.asarray(quantizer))
                rows.append(2.0 ** -np.asarray(bits, dtype=np.float64))
    inside = np.array(rows)
    whole = np.concatenate([inside, np.maximum(1 - inside.sum(axis=1, keepdims=True), 1e-6)], axis=1)
    found_rows: npt.NDArray[np.float64] = whole / whole.sum(axis=1, keepdims=True)
    return found_rows


def _frequencies(probabilities: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Integer tables, each row summing to 2^24."""
    frequencies = np.floor(probabilities * ((1 << PRECISION_BITS) - TABLE_SIZE)).astype(np.int64) + 1
    largest = frequencies.argmax(axis=1)
    frequencies[np.arange(len(frequencies)), largest] += (1 << PRECISION_BITS) - frequencies.sum(axis=1)
    return frequencies


def untrained_context() -> ctx.ContextModel:
    """What there is before any training: tables in closed form, and networks that look at nothing."""
    rng = np.random.default_rng(0)
    blind = [
        integer_network({name: 0 * value for name, value in fresh_network(context_size(phase), rng).items()})
        for phase in range(4)
    ]
    offsets = np.zeros((QUANTIZERS * _GROUPS, 2 * ctx.OFFSET_SYMBOLS + 1), dtype=np.int32)
    return ctx.ContextModel(blind, _frequencies(laplace_rows()), offsets)


def _outputs_of_rows(network: ctx.ContextNetwork, rows: Rows) -> npt.NDArray[np.float32]:
    found = np.empty((2, len(rows.symbols)), dtype=np.float32)
    codes = rows.place.astype(np.int64) * 256 + (rows.log_step.astype(np.int64) + 128)
    order = np.argsort(codes, kind="stable")
    starts = np.flatnonzero(np.diff(codes[order], prepend=-1))
    for chosen in np.split(order, starts[1:]):
        position, k = divmod(int(codes[chosen[0]]), 256)
        level, rest = divmod(position, _BANDS_OF_LEVEL)
        place = Place(level, rest // ORIENTATIONS, rest % ORIENTATIONS, 0)
        features = rows.features[chosen].T.astype(np.float32)
        found[:, chosen] = network.outputs(features, np.arange(len(features)), place, k - 128, np)
    return found


def count_tables(nets: list[Net], rows_of: Callable[[int], Rows], prior_count: float = 100.0) -> dict[str, Any]:
    """Arrays of a prior's context model: integer networks, counted tables, reconstruction offsets.

    Args:
        nets: Trained networks, by phase.
        rows_of: Rows of a phase.
        prior_count: Weight of `laplace_rows` in the counts.
    """
    arrays: dict[str, Any] = {}
    reach = ctx.OFFSET_SYMBOLS
    untrained = untrained_context()
    count = untrained.direct_groups
    counts = np.zeros((count, TABLE_SIZE))
    residuals = np.zeros((count, 2 * reach + 1))
    seen = np.zeros_like(residuals)
    for phase, net in enumerate(nets):
        network = integer_network(net)
        for field in fields(network):
            kind = np.int8 if field.name.startswith("w") else np.int32
            arrays[f"context_{field.name}_{phase}"] = getattr(network, field.name).astype(kind)
        rows = rows_of(phase)
        groups = untrained.groups_of_outputs(_outputs_of_rows(network, rows), rows.quantizer)
        direct = groups.table < count
        table = groups.table[direct].astype(np.int64)
        symbols = (rows.symbols * groups.sign)[direct]
        multiples = multiples_of(rows.symbols.astype(np.int32), rows.quantizer)
        residual = ((rows.coefficients - multiples) * groups.sign)[direct]
        weight = rows.weight[direct] / rows.weight.mean()
        entry = np.where(np.abs(symbols) <= RADIUS, symbols + RADIUS, ESCAPE)
        counts += np.bincount(table * TABLE_SIZE + entry, weight, counts.size).reshape(counts.shape)
        near = table * (2 * reach + 1) + np.clip(symbols, -reach, reach) + reach
        residuals += np.bincount(near, weight * residual, residuals.size).reshape(residuals.shape)
        seen += np.bincount(near, weight, seen.size).reshape(seen.shape)
    symmetric = slice(None, None, len(ctx.MEANS))  # a mean of zero
    counts[symmetric, :ESCAPE] = (counts[symmetric, :ESCAPE] + counts[symmetric, ESCAPE - 1 :: -1]) / 2
    residuals[symmetric] = (residuals[symmetric] - residuals[symmetric, ::-1]) / 2
    seen[symmetric] = (seen[symmetric] + seen[symmetric, ::-1]) / 2

    total = counts.sum(axis=1, keepdims=True)
    probabilities = (counts + prior_count * laplace_rows()) / (total + prior_count)
    arrays["context_means"] = np.array(ctx.MEANS, dtype=np.int8)
    arrays["context_frequencies"] = _frequencies(probabilities).astype(np.uint32)
    offsets = np.rint(FINE * residuals / (seen + 20))
    arrays["context_offsets"] = np.clip(offsets, -127, 127).astype(np.int8)
    return arrays
