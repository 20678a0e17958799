"""Training of the correction network, a network that corrects the linear synthesis.

Networks are trained in floating point and converted to integers afterwards (`integer_network`). On
photographs, this loses 1 % of the correction's gain.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import cos, pi
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import optax

from dfmcodec.codecs.wavelet.correction import (
    BYPASS_SHIFT,
    BYTE,
    CELL,
    CELL_SAMPLES,
    CELLS_AROUND,
    FEATURES,
    RESIDUAL_BITS,
    RESIDUAL_SHIFT,
    SUM_SHIFT,
    TURN_BITS,
    CorrectionNetwork,
    FourierLayer,
    spread,
)
from dfmcodec.codecs.wavelet.quantizer import log_step
from dfmcodec.codecs.wavelet.transform import UNITS_PER_CODE_VALUE
from dfmcodec.errors import ImageError
from dfmcodec.fourier.layer import fourier_sum
from dfmcodec.image.region import CHANNELS
from research.training.checkpoint import Checkpoint
from research.training.examples import DecodedCells
from research.training.loop import Schedule, run_training

DEPTH, WIDTH = 4, 60
CROP = 40  # side of a crop, in cells
BATCH_CROPS = 4
CHUNK_STEPS = 4
LEARNING_RATE = 1e-3
LIFT_STD = 0.01  # small initial phases k.v, in turns
INNER_STD = 0.003
_INPUT_SCALE, _INPUT_LIMIT = 31.0, 4.0  # of `cell_features` as bytes
_STEP_UNITS = 24  # of `quantizer.log_step` in a unit of `step_feature`
_BYPASS_UNIT = 2.0**-4  # turns: the unit of the upper bytes of phases in the bypass
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
        "lift": normal(FEATURES + 2, width, LIFT_STD),  # the last two are the logarithm of the step, and 1
        "bypass": jnp.zeros((width, CELL_SAMPLES)),
    }
    for i in range(depth):
        last = i == depth - 1
        outputs = CELL_SAMPLES if last else width
        params[f"a_{i}"] = normal(width + 1, outputs, 0.0 if last else INNER_STD)
        params[f"b_{i}"] = normal(width + 1, outputs, 0.0 if last else INNER_STD)
    return params


def step_feature(q_step: int) -> float:
    """Returns the logarithm of the step as a feature, about -2..2.

    Args:
        q_step: The quantisation step in 1/64 code values.
    """
    return log_step(q_step) / _STEP_UNITS


def float_features(cells: Any, step_in_units: Any, step_feature: Any) -> Any:
    """Computes the features of cells in steps, before they become bytes; see
    `codecs.wavelet.correction.cell_features`.

    Args:
        cells: [12, h + 2, w + 2], units.
        step_in_units: The quantisation step, in units.
        step_feature: The `step_feature` of the step.

    Returns:
        float32 [h, w, FEATURES + 2]; the last two are the logarithm of the step, and 1.
    """
    height, width = cells.shape[1] - 2, cells.shape[2] - 2
    scaled = cells * jnp.float32(1 / step_in_units)
    inner = scaled[:, 1:-1, 1:-1].reshape(CHANNELS, CELL**2, height, width)
    means = jnp.repeat(inner.mean(axis=1), CELL**2, axis=0)
    around = [
        scaled[:, y : y + height, x : x + width] - means for y in range(CELLS_AROUND) for x in range(CELLS_AROUND)
    ]
    differences = jnp.concatenate(around, axis=0)
    limited = differences / (1 + jnp.abs(differences) / _INPUT_LIMIT)
    constants = jnp.stack([jnp.full_like(limited[0], step_feature), jnp.ones_like(limited[0])])
    return jnp.concatenate([limited, constants], axis=0).transpose(1, 2, 0)


def float_outputs(params: Params, features: Any) -> Any:
    """Evaluates a network in floating point; see `codecs.wavelet.correction.correction_outputs`.

    Args:
        params: The weights. Those of cosines are for cos - 1; see `with_cosines_less_one`.
        features: See `float_features`.

    Returns:
        Residuals in quantisation steps, float32 [rows', columns', CELL_SAMPLES].
    """
    h = features @ params["lift"]
    depth = depth_of(params)
    for i in range(depth):
        around = spread(h, jnp)
        a = with_cosines_less_one(params[f"a_{i}"])
        sums = fourier_sum(around.reshape(-1, around.shape[2]), a, params[f"b_{i}"], 1, jnp)
        change = sums.reshape(*around.shape[:2], -1)
        h = h[1:-1, 1:-1]
        if i < depth - 1:
            h = h + change
    return change + h @ params["bypass"]


def depth_of(params: Params) -> int:
    """Returns the number of Fourier layers."""
    return sum(name.startswith("a_") for name in params)


def with_cosines_less_one(a: Any) -> jax.Array:
    """Converts the weights a of a Fourier layer, [|K|, n], from weights of cos - 1 to weights of
    cos.

    The weight of k = 0, the constant of the layer, is reduced by the sum of the others. Phases are
    small at first, so all cosines are near 1. With weights of cos, equal changes of all weights
    would change the constant strongly.
    """
    return jnp.concatenate([a[:1] - a[1:].sum(axis=0, keepdims=True), a[1:]])


def integer_network(params: Params) -> CorrectionNetwork:
    """Converts a trained network to integers. Each output has its own scale of weights."""

    def array(name: str) -> npt.NDArray[np.float64]:
        return np.asarray(params[name], dtype=np.float64)

    def to_bytes(weights: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float64]]:
        """Returns bytes [n, k] and their scales [n] for weights [k, n]."""
        scales = np.maximum(np.abs(weights).max(axis=0), 1e-9) / BYTE
        return np.ascontiguousarray(np.rint(weights / scales).T.astype(np.int8)), scales

    def integers(numbers: npt.NDArray[np.float64], unit: float) -> npt.NDArray[np.int32]:
        return np.rint(numbers * unit).astype(np.int32)

    turn, step = 2.0**TURN_BITS, 2.0**RESIDUAL_BITS
    lift = array("lift")
    lift_bytes, lift_scales = to_bytes(lift[:-2])
    layers = []
    for i in range(depth_of(params)):
        a, b = array(f"a_{i}"), array(f"b_{i}")
        weights, scales = to_bytes(np.concatenate([a[1:], b[1:]]))
        unit, shift = (step, RESIDUAL_SHIFT) if i == depth_of(params) - 1 else (turn, SUM_SHIFT)
        constants = integers(a[0] - a[1:].sum(axis=0), unit)
        layers.append(FourierLayer(weights, integers(scales, unit / BYTE * 2**shift), constants))
    bypass, bypass_scales = to_bytes(array("bypass"))
    return CorrectionNetwork(
        lift=lift_bytes,
        lift_factors=integers(lift_scales, turn / _INPUT_SCALE * 2**SUM_SHIFT),
        lift_constants=integers(lift[-1], turn),
        lift_slopes=integers(lift[-2], turn / _STEP_UNITS),
        layers=tuple(layers),
        bypass=bypass,
        bypass_factors=integers(bypass_scales, _BYPASS_UNIT * step * 2**BYPASS_SHIFT),
    )


def params_of(network: CorrectionNetwork) -> Params:
    """Returns the weights of a network for further training: the inverse of `integer_network`."""

    def floats(weights: npt.NDArray[np.int8], factors: npt.NDArray[np.int32], unit: float) -> npt.NDArray[np.float64]:
        """Returns weights [k, n]."""
        return weights.T * (factors / unit)

    turn, step = 2.0**TURN_BITS, 2.0**RESIDUAL_BITS
    of_step = np.stack([network.lift_slopes * _STEP_UNITS / turn, network.lift_constants / turn])
    lift = floats(network.lift, network.lift_factors, turn / _INPUT_SCALE * 2**SUM_SHIFT)
    params = {
        "lift": np.concatenate([lift, of_step]),
        "bypass": floats(network.bypass, network.bypass_factors, _BYPASS_UNIT * step * 2**BYPASS_SHIFT),
    }
    for i, layer in enumerate(network.layers):
        unit, shift = (step, RESIDUAL_SHIFT) if i == network.depth - 1 else (turn, SUM_SHIFT)
        a, b = np.split(floats(layer.weights, layer.factors, unit / BYTE * 2**shift), 2)
        params[f"a_{i}"] = np.concatenate([[layer.constants / unit + a.sum(axis=0)], a])
        params[f"b_{i}"] = np.concatenate([np.zeros((1, b.shape[1])), b])
    return {name: jnp.asarray(value, jnp.float32) for name, value in params.items()}


def relative_scales(images: Sequence[DecodedCells]) -> list[float]:
    """Returns the inverse of the MSE of linear synthesis and rounding for each image, in squared
    units.
    """
    return [1 / (image.mse + UNITS_PER_CODE_VALUE**2 / 12) for image in images]


def corrected_crop(params: Any, decoded: jax.Array, step_in_units: jax.Array, step_feature: jax.Array) -> jax.Array:
    """Returns the corrected cells of one crop.

    Args:
        params: The weights of the network.
        decoded: The linear synthesis in units, float32 [12, h + 2 reach, w + 2 reach].
        step_in_units: The step size in units.
        step_feature: See `step_feature`.

    Returns:
        float32 [12, h, w], in units.
    """
    change = float_outputs(params, float_features(decoded, step_in_units, step_feature)) * step_in_units
    reach = CELLS_AROUND // 2 + depth_of(params)
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
        The arrays of the network, by their names in weights file; see `CorrectionNetwork.arrays`.

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
    return integer_network(trained_params).arrays()
