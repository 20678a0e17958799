"""Training of the context networks, and estimation of their tables.

The networks are trained in floating point with weights rounded to their future integers
(straight-through gradients). The loss has a closed form: the bits of a symbol whose coefficient has
a Laplace distribution with the network's scale and mean, and was rounded with a dead zone. The
tables are counted afterwards, so the exact shape of this distribution has little effect.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from functools import cache
from math import cos, log, pi
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import optax

from dfmcodec.codecs.wavelet import context as ctx
from dfmcodec.codecs.wavelet.geometry import MAX_LEVELS, ORIENTATIONS
from dfmcodec.codecs.wavelet.neighbourhood import context_size
from dfmcodec.codecs.wavelet.passes import CodingPass
from dfmcodec.codecs.wavelet.quantizer import FINE
from dfmcodec.codecs.wavelet.trellis import QUANTIZERS, multiples_of
from dfmcodec.entropy.tables import ESCAPE, PRECISION_BITS, RADIUS, TABLE_SIZE, UNIT_SCALE_INDEX
from dfmcodec.image.region import CHANNELS
from research.training.checkpoint import Checkpoint
from research.training.examples import Rows
from research.training.loop import Schedule, run_training

HIDDEN = (128, 32)
BATCH = 4096
CHUNK_STEPS = 8
LEARNING_RATE = 4e-3
_BANDS = MAX_LEVELS * CHANNELS * ORIENTATIONS
_BANDS_OF_LEVEL = CHANNELS * ORIENTATIONS
_TABLES_PER_QUANTIZER = ctx.SCALES * len(ctx.MEANS)
# Integer features are scaled by 16, integer weights by 64, and integer sums therefore by 1024.
_FEATURE, _WEIGHT = 16, 64
_SUM = _FEATURE * _WEIGHT
_MAX_WEIGHT = ctx.MAX_WEIGHT
_LARGEST_MEAN = 5.0  # in scales
# Edges of the quantiser cells in units of two step sizes, as set by rate-distortion optimisation.
_DEAD_ZONE = 0.42  # the first quantiser rounds |c| plus this number down
_ZERO = 0.28  # the second quantiser rounds |c| up to this number to zero
_SMALLER = 0.06  # the cells of the second quantiser start this far beyond the middle between its points
Net = dict[str, Any]  # float weights of a network, by the names of `ContextNetwork`
_optimiser = optax.chain(optax.clip_by_global_norm(1.0), optax.scale_by_adam())


def _straight_through(x: jax.Array, rounded: jax.Array) -> jax.Array:
    """Returns the value of `rounded` with the gradient of `x`."""
    return x + jax.lax.stop_gradient(rounded - x)


def _weights(w: jax.Array) -> jax.Array:
    w = jnp.clip(w, -_MAX_WEIGHT / _WEIGHT, _MAX_WEIGHT / _WEIGHT)
    return _straight_through(w, jnp.rint(w * _WEIGHT) / _WEIGHT)


def _activation(x: jax.Array) -> jax.Array:
    x = jnp.clip(x, 0, ctx.ACTIVATION_MAX / _FEATURE)
    return _straight_through(x, jnp.floor(x * _FEATURE) / _FEATURE)


def outputs(net: Net, features: jax.Array, band: jax.Array, log_step: jax.Array) -> jax.Array:
    """Returns the outputs of a network: log2 of the scale in symbols, and the mean in scales.

    Args:
        net: The network.
        features: int8 [N, K].
        band: The index of the band of each row (`CodingPass.band`), int [N].
        log_step: See `codecs.wavelet.quantizer.log_step`, int [N].

    Returns:
        float32 [N, 2].
    """
    level = band // _BANDS_OF_LEVEL
    k = log_step.astype(jnp.float32)[:, None] / _FEATURE
    h = features.astype(jnp.float32) / _FEATURE @ _weights(net["w1"])
    h = _activation(h + net["c1"][band] + net["s1"][level] * k)
    h = _activation(h @ _weights(net["w2"]) + net["c2"][None])
    scale_and_mean: jax.Array = h @ _weights(net["w3"]) + net["c3"][band] + net["s3"][level] * k
    return scale_and_mean


def _cell(symbols: jax.Array, quantizer: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the approximate range (start, stop) of a symbol's coefficients.

    The unit is two step sizes, the distance between the points of a quantiser.
    """
    size = jnp.abs(symbols)
    first = jnp.where(size > 0, size - _DEAD_ZONE, -1 + _DEAD_ZONE), size + 1 - _DEAD_ZONE
    second = jnp.where(size > 1, size - 1 + _SMALLER, jnp.where(size > 0, _ZERO, -_ZERO)), size + _SMALLER
    start = jnp.where(quantizer > 0, second[0], first[0])
    stop = jnp.where(quantizer > 0, jnp.where(size > 0, second[1], _ZERO), first[1])
    return jnp.where(symbols < 0, -stop, start), jnp.where(symbols < 0, -start, stop)


def cost_bits(scale_and_mean: jax.Array, symbols: jax.Array, quantizer: jax.Array) -> jax.Array:
    """Returns the bits of symbols with the distributions of a network.

    Args:
        scale_and_mean: The `outputs` of the network, float32 [N, 2].
        symbols: float32 [N].
        quantizer: The quantiser of each symbol, 0 or 1, int [N].

    Returns:
        float32 [N].
    """
    scale = 2.0 ** jnp.clip(scale_and_mean[:, 0], -4.5, 9)
    mean = jnp.clip(scale_and_mean[:, 1], -_LARGEST_MEAN, _LARGEST_MEAN) * scale
    start, stop = _cell(symbols * jnp.where(mean < 0, -1.0, 1.0), quantizer)
    mean = jnp.abs(mean)
    part = jnp.log(-jnp.expm1((start - stop) / scale)) - log(2)
    right, left = part - (start - mean) / scale, part - (mean - stop) / scale
    outside = 0.5 * jnp.exp(-jnp.maximum(mean - start, 0) / scale) + 0.5 * jnp.exp(-jnp.maximum(stop - mean, 0) / scale)
    around = jnp.log(jnp.maximum(1 - outside, 1e-9))
    nats = -jnp.where(start >= mean, right, jnp.where(stop <= mean, left, around))
    return nats / log(2)


def fresh_network(features: int, rng: np.random.Generator) -> Net:
    """Creates a network with random weights.

    Args:
        features: The number of features.
        rng: The source of random numbers.
    """

    def normal(rows: int, columns: int, gain: float) -> jax.Array:
        return jnp.asarray(rng.normal(0, gain / np.sqrt(rows), (rows, columns)), jnp.float32)

    first, second = HIDDEN
    return {
        "w1": normal(features, first, 0.7),
        "c1": jnp.full((_BANDS, first), 0.5),
        "s1": jnp.zeros((MAX_LEVELS, first)),
        "w2": normal(first, second, 1.0),
        "c2": jnp.zeros(second),
        "w3": normal(second, 2, 0.5),
        "c3": jnp.zeros((_BANDS, 2)),
        "s3": jnp.zeros((MAX_LEVELS, 2)),
    }


@jax.jit
def _mean_loss(net: Net, batch: tuple[jax.Array, ...]) -> jax.Array:
    features, band, log_step, symbols, quantizer, weight = batch
    return (cost_bits(outputs(net, features, band, log_step), symbols, quantizer) * weight).mean()


@jax.jit
def _train_chunk(net: Net, state: Any, batches: tuple[jax.Array, ...], rate: float) -> Any:
    """Runs a training step on each batch; returns ((network, optimiser state), losses)."""

    def training_step(carry: Any, batch: tuple[jax.Array, ...]) -> Any:
        net, state = carry
        value, gradient = jax.value_and_grad(_mean_loss)(net, batch)
        direction, state = _optimiser.update(gradient, state)
        return (jax.tree.map(lambda p, d: p - rate * d, net, direction), state), value

    return jax.lax.scan(training_step, (net, state), batches)


def _batch(rows: Rows, drawn: npt.NDArray[np.int64], mean_weight: np.floating) -> tuple[Any, ...]:
    """Returns the arguments of `_mean_loss` for the rows at some indices."""
    return (
        rows.features[drawn],
        rows.band[drawn].astype(np.int32),
        rows.log_step[drawn],
        rows.symbols[drawn].astype(np.float32),
        rows.quantizer[drawn],
        rows.weight[drawn] / mean_weight,
    )


def mean_loss(net: Net, rows: Rows) -> float:
    """Returns the mean loss of a network for the rows with contexts, including rows not used for
    training.
    """
    mean_weight = rows.weight.mean()
    indices = np.flatnonzero(~rows.is_empty)
    blocks = [indices[start : start + BATCH] for start in range(0, len(indices), BATCH)]
    losses = [float(_mean_loss(net, _batch(rows, block, mean_weight))) for block in blocks]
    return float(np.average(losses, weights=[block.size for block in blocks]))


def train_network(
    rows: Rows,
    steps: int,
    seed: int,
    checkpoint: Path,
    report: Callable[[int, float], None],
    every: int = 2000,
    first: Net | None = None,
    learning_rate: float = LEARNING_RATE,
) -> Net:
    """Trains the network of a phase.

    Args:
        rows: The context rows of the phase.
        steps: The number of training steps.
        seed: The seed of the initial weights and the batches.
        checkpoint: The checkpoint file. If it exists, the training continues from it.
        report: Called with the number of finished steps and the mean loss.
        every: The number of training steps between reports.
        first: The initial network; None for random weights.
        learning_rate: The maximum learning rate.

    Returns:
        The trained network.
    """
    rng = np.random.default_rng(seed)
    net = fresh_network(rows.features.shape[1], rng) if first is None else first
    used = np.flatnonzero(~rows.is_empty)  # the network does not code the others
    mean_weight = rows.weight.mean()

    def train_chunk(trained: Any, done: int, rng: np.random.Generator) -> tuple[Any, float]:
        drawn = used[rng.integers(0, len(used), (CHUNK_STEPS, BATCH))]
        part = done / steps
        rate = learning_rate * 0.5 * (1 + cos(pi * part)) * min(1.0, part / 0.02 + 0.01) + 1e-5
        trained, losses = _train_chunk(*trained, _batch(rows, drawn, mean_weight), rate)
        return trained, float(losses.mean())

    start = Checkpoint(0, (net, _optimiser.init(net)), rng)
    trained_net: Net
    trained_net, _ = run_training(checkpoint, start, train_chunk, Schedule(steps, CHUNK_STEPS, every), report)
    return trained_net


def integer_network(net: Net) -> ctx.ContextNetwork:
    """Rounds the weights of a trained network to integers."""

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


def float_network(network: ctx.ContextNetwork) -> Net:
    """Returns the weights of an integer network for further training: the inverse of
    `integer_network`.
    """
    units = {"w": _WEIGHT, "c": _SUM, "s": _WEIGHT}
    return {
        field.name: jnp.asarray(
            (value.T if field.name.startswith("w") else value) / np.float32(units[field.name[0]]), jnp.float32
        )
        for field in fields(network)
        for value in (getattr(network, field.name),)
    }


@cache
def laplace_rows() -> npt.NDArray[np.float64]:
    """Returns the probabilities of all entries of the direct tables for the distributions of the
    loss.

    Returns:
        float64 [DIRECT_TABLES, TABLE_SIZE]. Each row sums to 1.
    """
    symbols = np.arange(-RADIUS, RADIUS + 1, dtype=np.float32)
    rows = []
    for quantizer in range(QUANTIZERS):
        for scale in range(ctx.SCALES):
            for mean in ctx.class_middles():
                output = np.array([[(scale - UNIT_SCALE_INDEX) / 4, mean / ctx.MEANS_PER_SCALE]], dtype=np.float32)
                bits = cost_bits(jnp.asarray(output), jnp.asarray(symbols), jnp.asarray(quantizer))
                rows.append(2.0 ** -np.asarray(bits, dtype=np.float64))
    inside = np.array(rows)
    all_entries = np.concatenate([inside, np.maximum(1 - inside.sum(axis=1, keepdims=True), 1e-6)], axis=1)
    probabilities: npt.NDArray[np.float64] = all_entries / all_entries.sum(axis=1, keepdims=True)
    return probabilities


def _frequencies(probabilities: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Converts probabilities to integer tables, [tables, TABLE_SIZE]. Each row sums to 2^24."""
    frequencies = np.floor(probabilities * ((1 << PRECISION_BITS) - TABLE_SIZE)).astype(np.int64) + 1
    largest = frequencies.argmax(axis=1)
    frequencies[np.arange(len(frequencies)), largest] += (1 << PRECISION_BITS) - frequencies.sum(axis=1)
    return frequencies


def untrained_context() -> ctx.ContextModel:
    """Returns the context model before training: closed-form tables, and networks that ignore their
    features.
    """
    rng = np.random.default_rng(0)
    blind = [
        integer_network({name: 0 * value for name, value in fresh_network(context_size(phase), rng).items()})
        for phase in range(4)
    ]
    offsets = np.zeros((QUANTIZERS * _TABLES_PER_QUANTIZER, 2 * ctx.OFFSET_SYMBOLS + 1), dtype=np.int32)
    return ctx.ContextModel(blind, _frequencies(laplace_rows()), offsets)


def _outputs_of_rows(network: ctx.ContextNetwork, rows: Rows) -> npt.NDArray[np.float32]:
    """Returns the outputs of an integer network for context rows, float32 [2, N]."""
    outputs = np.empty((2, len(rows.symbols)), dtype=np.float32)
    codes = rows.band.astype(np.int64) * 256 + (rows.log_step.astype(np.int64) + 128)
    order = np.argsort(codes, kind="stable")
    starts = np.flatnonzero(np.diff(codes[order], prepend=-1))
    for same in np.split(order, starts[1:]):  # rows of one band and step size
        band, k = divmod(int(codes[same[0]]), 256)
        level, rest = divmod(band, _BANDS_OF_LEVEL)
        coding_pass = CodingPass(level, rest // ORIENTATIONS, rest % ORIENTATIONS, 0)
        features = rows.features[same].T.astype(np.float32)
        outputs[:, same] = network.evaluated(features, np.arange(len(features)), coding_pass, k - 128, np)
    outputs[:, rows.is_empty] = ctx.EMPTY_OUTPUTS
    return outputs


def network_arrays(network: ctx.ContextNetwork, phase: int) -> dict[str, npt.NDArray[Any]]:
    """Returns the arrays of the network of a phase, by their names in weights files."""
    kinds = {name: np.int8 if name.startswith("w") else np.int32 for name in ctx.ContextNetwork.__dataclass_fields__}
    return {f"context_{name}_{phase}": getattr(network, name).astype(kind) for name, kind in kinds.items()}


def count_tables(nets: list[Net], rows_of: Callable[[int], Rows], prior_count: float = 100.0) -> dict[str, Any]:
    """Counts the tables and reconstruction offsets with trained networks.

    Args:
        nets: The trained networks, by phase.
        rows_of: Returns the context rows of a phase.
        prior_count: The weight of `laplace_rows` in the counts, in symbols.

    Returns:
        The arrays of a context model: integer networks, tables, and offsets.
    """
    arrays: dict[str, Any] = {}
    reach = ctx.OFFSET_SYMBOLS
    untrained = untrained_context()
    count = ctx.DIRECT_TABLES
    counts = np.zeros((count, TABLE_SIZE))
    residuals = np.zeros((count, 2 * reach + 1))
    seen = np.zeros_like(residuals)
    for phase, net in enumerate(nets):
        rows = rows_of(phase)
        network = integer_network(net)
        arrays |= network_arrays(network, phase)
        choice = untrained.choose_tables_from_outputs(_outputs_of_rows(network, rows), rows.quantizer)
        direct = choice.table < count
        table = choice.table[direct].astype(np.int64)
        symbols = (rows.symbols * choice.sign)[direct]
        multiples = multiples_of(rows.symbols.astype(np.int32), rows.quantizer)
        residual = ((rows.coefficients - multiples) * choice.sign)[direct]
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
    arrays["context_frequencies"] = _frequencies(probabilities).astype(np.uint32)
    offsets = np.rint(FINE * residuals / (seen + 20))
    arrays["context_offsets"] = np.clip(offsets, -127, 127).astype(np.int8)
    return arrays
