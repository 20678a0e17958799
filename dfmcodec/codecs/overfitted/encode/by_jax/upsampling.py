"""Upsampling of the planes of a window by matrix products."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from dfmcodec._types import Float32
from dfmcodec.codecs.overfitted.synthesis import TAPS


def upsampling_matrix(taps: jax.Array | Float32, count: int) -> jax.Array:
    """Returns the matrix that upsamples a row of samples, float32 [2 (count - TAPS), count].

    It is equivalent to `codecs.overfitted.synthesis.upsampled`. The complete synthesis takes 0.6 of
    the time that it takes with sums of shifted samples, which must be interleaved.
    """
    pairs = count - TAPS
    matrix = jnp.zeros((2 * pairs, count))
    for tap in range(TAPS):
        even = np.kron(np.eye(pairs, count, k=tap), [[1], [0]])
        odd = np.kron(np.eye(pairs, count, k=tap + 1), [[0], [1]])
        matrix = matrix + taps[tap] * jnp.asarray(even, jnp.float32)
        matrix = matrix + taps[TAPS - 1 - tap] * jnp.asarray(odd, jnp.float32)
    return matrix


def upsampled_planes(taps: jax.Array | Float32, planes: jax.Array) -> jax.Array:
    """Upsamples planes [C, n, n] along both axes: [C, 2 (n - TAPS), 2 (n - TAPS)]."""
    matrix = upsampling_matrix(taps, planes.shape[-1])
    result: jax.Array = jnp.einsum("yi,cix->cyx", matrix, jnp.einsum("cij,xj->cix", planes, matrix))
    return result
