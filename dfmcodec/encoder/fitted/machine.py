"""The synthesis of `synthesis.fitted` as JAX fits it: windows, in few fast operations."""

from __future__ import annotations

from math import pi, sqrt
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dfmcodec.encoder.fitted.neighbours import neighbourhoods
from dfmcodec.encoder.fitted.upsampling import upsampled_planes
from dfmcodec.encoder.fitted.windows import Grids
from dfmcodec.entropy.neighbourhood import SQUARE
from dfmcodec.latents.geometry import CHANNELS
from dfmcodec.latents.grids import GRID_LEVELS
from dfmcodec.synthesis.fitted import STAGES, FittedMachine, machine_colours, stages

_FILTER_START = (-0.0234375, 0.2265625, 0.8671875, -0.0703125)  # Catmull-Rom, a quarter sample aside
_BYPASS_START = 0.15
# Luma and two chroma axes. A random start decides 4 % of the loss, and one in six never found the
# colours.
_AXES = {"Y": np.array([1, 1, 1]) / sqrt(3), "O": np.array([1, 0, -1]) / sqrt(2), "G": np.array([-1, 2, -1]) / sqrt(6)}
FINE_CHROMA = "YOGYOGY"  # the axis of each grid, from the finest on
_STAGE_STD = 1e-4
_MIDDLE = 0.5
# Polynomials in t^2 of cos(2 pi t) and sin(2 pi t) / t for |t| <= 1/2, of nearly the least largest
# error, 1e-7. XLA's own cos and sin take 5 times as long on a CPU.
_COSINE = (0.999999989, -19.7392045, 64.939119, -85.4501654, 60.1678307, -25.9683095, 6.52960491)
_SINE = (6.28318282, -41.3414214, 81.5961837, -76.5800987, 41.2053871, -12.2712502)


class LayerStart(NamedTuple):
    """The standard deviations of a random Fourier layer.

    Args:
        phase: Of phases, in radians for a symbol at the middle Lagrange multiplier.
        output: Of weights.
    """

    phase: float
    output: float


NEARLY_LINEAR = LayerStart(0.1, 0.01)
STEEP = LayerStart(0.6, 0.02)  # 3.6 % less J of a fit from random networks


def start_machine(
    rng: np.random.Generator, width: int, axes: str = FINE_CHROMA, layer: LayerStart = NEARLY_LINEAR
) -> FittedMachine:
    """The weights of a machine each of whose grids has a colour; the rest is random.

    A symbol of a coarse grid changes more pixels, so it has to be finer: by a factor of sqrt(2)
    from grid to grid.

    Args:
        rng: The source of random numbers.
        width: The dimension that vectors are lifted to.
        axes: The axis of each grid's colour, from the finest on: luma Y, or chroma O or G.
        layer: The deviations of the Fourier layer.
    """
    of_level = np.exp2(-0.5 * np.arange(GRID_LEVELS))
    colours = _BYPASS_START * of_level[:, None] * np.array([_AXES[axis] for axis in axes])

    def normal(*shape: int, std: float) -> jax.Array:
        return jnp.asarray(rng.normal(0, std, shape), dtype=jnp.float32)

    return FittedMachine(
        jnp.tile(jnp.array(_FILTER_START, jnp.float32), (GRID_LEVELS - 1, 1)),
        normal(width, GRID_LEVELS, std=layer.phase) * jnp.asarray(of_level, jnp.float32)[None],
        jnp.zeros(width),
        normal(CHANNELS, 2 * width, std=layer.output),
        jnp.asarray(colours.T, dtype=jnp.float32),
        jnp.full(CHANNELS, _MIDDLE, jnp.float32),
        normal(STAGES, CHANNELS, len(SQUARE) * CHANNELS, std=_STAGE_STD),
        jnp.zeros((STAGES, CHANNELS)),
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


def joined_grids(filters: jax.Array, grids: Grids) -> jax.Array:
    """Upsamples and joins the grids of a window, float32 [levels, n, n] with n as in grid 0."""
    joined = grids[-1][None]
    for level in range(len(grids) - 2, -1, -1):
        joined = jnp.concatenate([grids[level][None], upsampled_planes(filters[level], joined)])
    return joined


def window_colours(weights: FittedMachine, grids: Grids) -> jax.Array:
    """Computes the pixels of a window.

    Args:
        weights: The weights.
        grids: The samples of the window, symbols times the step, [n_l, n_l] each; see
            `Windows.cut`.

    Returns:
        float32 [CHANNELS, WINDOW, WINDOW]; 0 is black and 1 is white.
    """
    joined = joined_grids(weights.filters, grids)[:, STAGES:-STAGES, STAGES:-STAGES]
    colours = machine_colours(weights, joined.reshape(len(grids), -1), cosine_less_one_and_sine, jnp)
    planes = colours.reshape(CHANNELS, *joined.shape[1:])
    result: jax.Array = stages(weights, planes, neighbourhoods, jnp)
    return result
