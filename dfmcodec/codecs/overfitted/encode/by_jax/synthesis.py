"""The synthesis of `codecs.overfitted.synthesis` for windows, with few and fast operations."""

from __future__ import annotations

from math import pi

import jax
import jax.numpy as jnp

from dfmcodec.codecs.overfitted.encode.by_jax.contexts import Grids
from dfmcodec.codecs.overfitted.encode.by_jax.planes import neighbourhoods, upsampled_planes
from dfmcodec.codecs.overfitted.synthesis import STAGES, SynthesisNetwork, stages, synthesis_colours
from dfmcodec.image.region import CHANNELS

# Near-minimax polynomials in t^2 for cos(2 pi t) and sin(2 pi t) / t on |t| <= 1/2, with a maximum
# error of 1e-7. The cos and sin of XLA take 5 times as long on a CPU.
_COSINE = (0.999999989, -19.7392045, 64.939119, -85.4501654, 60.1678307, -25.9683095, 6.52960491)
_SINE = (6.28318282, -41.3414214, 81.5961837, -76.5800987, 41.2053871, -12.2712502)


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
    """Computes cos(2 pi t) - 1 and sin(2 pi t) by polynomials, with errors of at most 1e-6."""
    cosine, sine = _polynomials(turns)
    return cosine - 1, sine


def _cosine_forward(turns: jax.Array) -> tuple[tuple[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]:
    cosine, sine = _polynomials(turns)
    return (cosine - 1, sine), (cosine, sine)


def _cosine_backward(saved: tuple[jax.Array, jax.Array], by: tuple[jax.Array, jax.Array]) -> tuple[jax.Array]:
    cosine, sine = saved
    return ((2 * pi) * (by[1] * cosine - by[0] * sine),)


cosine_less_one_and_sine.defvjp(_cosine_forward, _cosine_backward)


def joined_grids(filters: jax.Array, grids: Grids) -> jax.Array:
    """Upsamples and joins the grids of a window, float32 [levels, n, n] with n as in grid 0."""
    joined = grids[-1][None]
    for level in range(len(grids) - 2, -1, -1):
        joined = jnp.concatenate([grids[level][None], upsampled_planes(filters[level], joined)])
    return joined


def window_colours(weights: SynthesisNetwork, grids: Grids) -> jax.Array:
    """Computes the pixels of a window, float32 [CHANNELS, WINDOW, WINDOW]; 0 is black and 1 is
    white.

    `grids` are symbols times the step size, [n_l, n_l] each; see `Windows.cut`.
    """
    joined = joined_grids(weights.filters, grids)[:, STAGES:-STAGES, STAGES:-STAGES]
    colours = synthesis_colours(weights, joined.reshape(len(grids), -1), cosine_less_one_and_sine, jnp)
    planes = colours.reshape(CHANNELS, *joined.shape[1:])
    result: jax.Array = stages(weights, planes, neighbourhoods, jnp)
    return result
