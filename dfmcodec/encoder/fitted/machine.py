"""The synthesis of the fitted model: latent grids -> a vector v(p) at each pixel -> a Deep Fourier
Machine -> colour.

All grids are upsampled to the size of the image, one after the other: those that are already joined
are doubled by a separable filter of four taps, which is learned, and the next grid joins them. So
v(p) has one number of each grid. The machine lifts it by a linear map and applies a Fourier layer
of order 1,

    u = (W v + c) / (2 pi)
    f(v) = sum_j a_j (cos(2 pi u_j) - 1) + b_j sin(2 pi u_j)
    y = f(v) + B v + d,

with a linear bypass B, as inputs and outputs have different dimensions. Its phases start small, so
the fit starts from a linear synthesis. Two residual stages of 3x3 neighbours follow. The grids and
the stages are those of Cool-chic (Leguay et al. 2023).
"""

from __future__ import annotations

from math import pi
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dfmcodec.encoder.fitted.neighbours import neighbourhoods
from dfmcodec.encoder.fitted.windows import LEVELS, Grids
from dfmcodec.entropy.neighbourhood import SQUARE
from dfmcodec.latents.geometry import CHANNELS

Activation = Literal["fourier", "relu"]
TAPS = 4
_FILTER_START = (-0.0234375, 0.2265625, 0.8671875, -0.0703125)  # Catmull-Rom, a quarter sample aside
STAGES = 2
_PHASE_STD = 0.1  # radians for a symbol of 1
_RELU_STD = 0.3
_OUTPUT_STD = {"fourier": 0.01, "relu": 0.05}
_BYPASS_STD = 0.05
_STAGE_STD = 1e-4
_MIDDLE = 0.5
# Polynomials in t^2 of cos(2 pi t) and sin(2 pi t) / t for |t| <= 1/2, of nearly the least largest
# error, 1e-7. XLA's own cos and sin take 5 times as long on a CPU.
_COSINE = (0.999999989, -19.7392045, 64.939119, -85.4501654, 60.1678307, -25.9683095, 6.52960491)
_SINE = (6.28318282, -41.3414214, 81.5961837, -76.5800987, 41.2053871, -12.2712502)


class MachineWeights(NamedTuple):
    """The weights of the synthesis, float32.

    Args:
        filters: The taps of each upsampling, [TAPS] for each level but the coarsest.
        lift: W, [width, LEVELS].
        lift_constants: c, [width].
        layer: a_j and b_j, [CHANNELS, 2 width]; [CHANNELS, width] with ReLU units.
        bypass: B, [CHANNELS, LEVELS].
        constants: d, [CHANNELS].
        stages: The 3x3 maps of the residual stages, [CHANNELS, 9 CHANNELS].
        stage_constants: [CHANNELS] each.
    """

    filters: tuple[jax.Array, ...]
    lift: jax.Array
    lift_constants: jax.Array
    layer: jax.Array
    bypass: jax.Array
    constants: jax.Array
    stages: tuple[jax.Array, ...]
    stage_constants: tuple[jax.Array, ...]

    @classmethod
    def start(cls, rng: np.random.Generator, width: int, activation: Activation) -> MachineWeights:
        """Random weights of a machine that is nearly linear."""

        def normal(rows: int, columns: int, std: float) -> jax.Array:
            return jnp.asarray(rng.normal(0, std, (rows, columns)), dtype=jnp.float32)

        is_fourier = activation == "fourier"
        return cls(
            tuple(jnp.array(_FILTER_START, jnp.float32) for _ in range(LEVELS - 1)),
            normal(width, LEVELS, _PHASE_STD if is_fourier else _RELU_STD),
            jnp.zeros(width),
            normal(CHANNELS, 2 * width if is_fourier else width, _OUTPUT_STD[activation]),
            normal(CHANNELS, LEVELS, _BYPASS_STD),
            jnp.full(CHANNELS, _MIDDLE, jnp.float32),
            tuple(normal(CHANNELS, len(SQUARE) * CHANNELS, _STAGE_STD) for _ in range(STAGES)),
            tuple(jnp.zeros(CHANNELS) for _ in range(STAGES)),
        )


def _polynomials(turns: jax.Array) -> tuple[jax.Array, jax.Array]:
    rest = turns - jnp.round(turns)
    square = rest * rest
    cosine, sine = jnp.zeros_like(square), jnp.zeros_like(square)
    for coefficient in reversed(_COSINE):
        cosine = cosine * square + coefficient
    for coefficient in reversed(_SINE):
        sine = sine * square + coefficient
    return cosine, sine * rest


@jax.custom_vjp
def cosine_less_one_and_sine(turns: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Computes cos(2 pi t) - 1 and sin(2 pi t) by polynomials; errors of 1e-6 at most."""
    cosine, sine = _polynomials(turns)
    return cosine - 1, sine


def _cosine_forward(turns: jax.Array) -> tuple[tuple[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]:
    cosine, sine = _polynomials(turns)
    return (cosine - 1, sine), (cosine, sine)


def _cosine_backward(kept: tuple[jax.Array, jax.Array], by: tuple[jax.Array, jax.Array]) -> tuple[jax.Array]:
    cosine, sine = kept
    return ((2 * pi) * (by[1] * cosine - by[0] * sine),)


cosine_less_one_and_sine.defvjp(_cosine_forward, _cosine_backward)


def upsampling_matrix(taps: jax.Array, count: int) -> jax.Array:
    """Builds the matrix that doubles a row of samples, float32 [2 (count - TAPS), count].

    Output samples 2 i and 2 i + 1 lie a quarter sample before and after the middle of input samples
    i + 1 .. i + 3; the taps of one are those of the other in reverse. With products of this matrix
    the whole synthesis takes 0.6 of the time that it takes with sums of shifted samples, which have
    to be interleaved.
    """
    pairs = count - TAPS
    matrix = jnp.zeros((2 * pairs, count))
    for tap in range(TAPS):
        even = np.kron(np.eye(pairs, count, k=tap), [[1], [0]])
        odd = np.kron(np.eye(pairs, count, k=tap + 1), [[0], [1]])
        matrix = matrix + taps[tap] * jnp.asarray(even, jnp.float32)
        matrix = matrix + taps[TAPS - 1 - tap] * jnp.asarray(odd, jnp.float32)
    return matrix


def joined_grids(filters: tuple[jax.Array, ...], grids: Grids) -> jax.Array:
    """Upsamples and joins the grids of a window, float32 [LEVELS, n, n] with n as in grid 0."""
    joined = grids[-1][None]
    for grid, taps in zip(grids[-2::-1], filters[::-1], strict=True):
        matrix = upsampling_matrix(taps, joined.shape[-1])
        doubled = jnp.einsum("yi,cix->cyx", matrix, jnp.einsum("cij,xj->cix", joined, matrix))
        joined = jnp.concatenate([grid[None], doubled])
    return joined


def _stage(weights: jax.Array, constants: jax.Array, planes: jax.Array) -> jax.Array:
    """Adds a 3x3 map of planes [C, h + 2, w + 2] to them: [C, h, w]."""
    around = neighbourhoods(planes)
    mapped = weights @ around.reshape(-1, around[0, 0].size) + constants[:, None]
    return planes[:, 1:-1, 1:-1] + mapped.reshape(around.shape[1:])


def window_colours(weights: MachineWeights, grids: Grids) -> jax.Array:
    """Computes the pixels of a window.

    Args:
        weights: The weights. A layer of as many columns as `lift` has rows has ReLU units.
        grids: The symbols of the window, [n_l, n_l] each, see `Windows.cut`.

    Returns:
        float32 [CHANNELS, WINDOW, WINDOW]; 0 is black and 1 is white.
    """
    joined = joined_grids(weights.filters, grids)[:, STAGES:-STAGES, STAGES:-STAGES]
    vectors = joined.reshape(LEVELS, -1)
    lifted = weights.lift @ vectors + weights.lift_constants[:, None]
    if weights.layer.shape[1] == len(lifted):
        hidden = jax.nn.relu(lifted)
    else:
        hidden = jnp.concatenate(cosine_less_one_and_sine(lifted * (1 / (2 * pi))))
    colours = weights.layer @ hidden + weights.bypass @ vectors + weights.constants[:, None]
    planes = colours.reshape(CHANNELS, *joined.shape[1:])
    planes = jax.nn.relu(_stage(weights.stages[0], weights.stage_constants[0], planes))
    return _stage(weights.stages[1], weights.stage_constants[1], planes)
