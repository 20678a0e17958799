"""The 3x3 neighbourhoods of images, as rows of a matrix product."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import jax
import jax.numpy as jnp

from dfmcodec.entropy.neighbourhood import SQUARE


def neighbourhoods(planes: jax.Array) -> jax.Array:
    """Gathers the 3x3 neighbours of each sample that has them all.

    Args:
        planes: float32 [C, h + 2, w + 2].

    Returns:
        float32 [9, C, h, w], the neighbours in the order of `SQUARE`.
    """
    return _gather(*planes.shape)(planes)


@cache
def _gather(channels: int, rows: int, columns: int) -> Callable[[jax.Array], jax.Array]:
    """`neighbourhoods` of planes of a shape.

    Its gradient is a sum of nine shifted planes, one after the other in place. With a sum of nine
    padded planes, which JAX would make of it, a step of the fit takes 1.2 to 1.7 times as long.
    """
    height, width = rows - 2, columns - 2
    starts = [(row + 1, column + 1) for row, column in SQUARE]

    def forward(planes: jax.Array) -> jax.Array:
        return jnp.stack([planes[:, top : top + height, left : left + width] for top, left in starts])

    def backward(_: None, gradient: jax.Array) -> tuple[jax.Array]:
        total = jnp.zeros((channels, rows, columns), dtype=gradient.dtype)
        for (top, left), part in zip(starts, gradient, strict=True):
            start = (0, top, left)
            before = jax.lax.dynamic_slice(total, start, part.shape)
            total = jax.lax.dynamic_update_slice(total, before + part, start)
        return (total,)

    gather = jax.custom_vjp(forward)
    gather.defvjp(lambda planes: (forward(planes), None), backward)
    return gather
