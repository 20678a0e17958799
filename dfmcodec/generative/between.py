"""Positions between pixels': what pictures are there, and the machines' inputs there.

A machine is defined everywhere, but a loss at the pixels' positions alone leaves it free between them, and larger sizes
show it. So a part of the training's steps moves all positions by a part of a pixel, to where interpolation tells what
the pictures are.
"""

from __future__ import annotations

from types import ModuleType

import jax
import jax.numpy as jnp
import numpy as np

from dfmcodec.fourier import TAU
from dfmcodec.generative.painting import Array, GenerativeArchitecture, features, inputs_at

_LOBES = 3  # of Lanczos's kernel


def interpolation(size: int, offset: Array, xp: ModuleType) -> Array:
    """Lanczos's interpolation along an axis at the positions i + offset, or the last one where they are beyond it.

    Args:
        size: Of the axis.
        offset: In pixels, 0..1.
        xp: numpy or jax.numpy.

    Returns:
        float [size, size], rows of sum 1: times a line of samples it gives those at the moved positions.
    """
    distance = xp.minimum(xp.arange(size) + offset, size - 1)[:, None] - xp.arange(size)
    kernel = xp.where(xp.abs(distance) < _LOBES, xp.sinc(distance) * xp.sinc(distance / _LOBES), 0)
    return kernel / kernel.sum(axis=1, keepdims=True)


def interpolated(planes: Array, down: Array, right: Array, xp: ModuleType) -> Array:
    """Pictures at positions moved by parts of a pixel. float [.., H, W] -> float [.., H, W]."""
    height, width = planes.shape[-2:]
    return interpolation(height, down, xp) @ planes @ interpolation(width, right, xp).T


def moved(
    first: Array, v: Array, targets: Array, architecture: GenerativeArchitecture, share: float, key: Array
) -> tuple[Array, Array, Array]:
    """Moves all positions by one random part of a pixel down and right, and the targets with them.

    Args:
        first: The first layer's features at the pixels' positions, float32 [2 |K| - 1, N].
        v: The first layer's inputs there, float32 [m, N].
        targets: Samples in [-1, 1], float32 [B, C, N].
        architecture: The model.
        share: The chance that they are moved.
        key: Where chance comes from.

    Returns:
        The three at the moved positions.
    """
    height, width, octaves = architecture.height, architecture.width, architecture.octaves
    key_whether, key_offset = jax.random.split(key)
    down, right = jax.random.uniform(key_offset, (2,)) * (jax.random.uniform(key_whether) < share)
    of_pixel_down = inputs_at(np.array([1 / height]), np.zeros(1), octaves)
    of_pixel_right = inputs_at(np.zeros(1), np.array([1 / width]), octaves)
    step = down * of_pixel_down + right * of_pixel_right
    planes = interpolated(targets.reshape(*targets.shape[:2], height, width), down, right, jnp)
    turned = _turned(first, features(step, architecture.layers()[0].order, jnp, _cos_sin))
    return turned, v + step, jnp.clip(planes, -1, 1).reshape(targets.shape)


def _turned(first: Array, by: Array) -> Array:
    """Features cos(2 pi k.(v + d)), sin(2 pi k.(v + d)) from those of v and of d, by the addition theorems."""
    count = (len(first) + 1) // 2
    (cos, sin), (cos_by, sin_by) = (
        (found[:count], jnp.concatenate([jnp.zeros_like(found[:1]), found[count:]])) for found in (first, by)
    )
    return jnp.concatenate([cos * cos_by - sin * sin_by, (sin * cos_by + cos * sin_by)[1:]])


def _cos_sin(v: Array) -> tuple[Array, Array]:
    return jnp.cos(TAU * v), jnp.sin(TAU * v)
