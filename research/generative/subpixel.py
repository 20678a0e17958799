"""Training at positions between pixels: interpolated images, and the inputs of the Fourier layers
there.

A Deep Fourier Machine is defined everywhere, but a loss at the positions of pixels alone does not
constrain it between them, which is visible at larger sizes. In some of the training steps, all
positions are therefore shifted by a fraction of a pixel, and the images are interpolated.
"""

from __future__ import annotations

from types import ModuleType

import jax
import jax.numpy as jnp
import numpy as np

from dfmcodec._types import Array
from dfmcodec.fourier.layer import TAU
from dfmcodec.image.resample import lanczos
from research.generative.network import GenerativeArchitecture, features, inputs_at

_LOBES = 3  # lobes of the Lanczos kernel


def interpolation(size: int, offset: Array, xp: ModuleType) -> Array:
    """Returns the matrix [size, size] of Lanczos interpolation along an axis at the positions i +
    offset, clipped to the last pixel. `offset` is in [0, 1] pixels. Rows sum to 1.
    """
    pixels = xp.arange(size, dtype=xp.asarray(offset).dtype)
    distance = xp.minimum(pixels + offset, size - 1)[:, None] - pixels[None]
    kernel = lanczos(distance, _LOBES, xp)
    return kernel / kernel.sum(axis=1, keepdims=True)


def interpolated(planes: Array, down: Array, right: Array, xp: ModuleType) -> Array:
    """Interpolates images [.., H, W] at positions shifted by fractions of a pixel."""
    height, width = planes.shape[-2:]
    return interpolation(height, down, xp) @ planes @ interpolation(width, right, xp).T


def moved(
    first: Array, v: Array, targets: Array, architecture: GenerativeArchitecture, share: float, key: Array
) -> tuple[Array, Array, Array]:
    """Shifts all positions, with the probability `share`, by one random fraction of a pixel down
    and to the right, and the targets too. `first` and `v` are the first layer's features, float32
    [2 |K| - 1, N], and inputs, float32 [m, N], at the pixels; targets are samples of images in [-1,
    1], float32 [B, C, N].
    """
    height, width, octaves = architecture.height, architecture.width, architecture.octaves
    key_whether, key_offset = jax.random.split(key)
    is_moved = (jax.random.uniform(key_whether) < share).astype(jnp.float32)
    down, right = jax.random.uniform(key_offset, (2,)) * is_moved
    pixel_down = inputs_at(np.array([1 / height]), np.zeros(1), octaves)
    pixel_right = inputs_at(np.zeros(1), np.array([1 / width]), octaves)
    shift = down * pixel_down + right * pixel_right
    planes = interpolated(targets.reshape(*targets.shape[:2], height, width), down, right, jnp)
    turned = _turned(first, features(shift, architecture.layers()[0].order, jnp, _cos_sin))
    return turned, v + shift, jnp.clip(planes, -1, 1).reshape(targets.shape)


def _turned(first: Array, by: Array) -> Array:
    """Computes the features of v + d from those of v and of d, by addition theorems."""
    count = (len(first) + 1) // 2
    (cos, sin), (cos_by, sin_by) = (
        (both[:count], jnp.concatenate([jnp.zeros_like(both[:1]), both[count:]])) for both in (first, by)
    )
    return jnp.concatenate([cos * cos_by - sin * sin_by, (sin * cos_by + cos * sin_by)[1:]])


def _cos_sin(v: Array) -> tuple[Array, Array]:
    return jnp.cos(TAU * v), jnp.sin(TAU * v)
