"""Inception-v3 features for Frechet distances, from weights that the user supplies.

The network is the one that FID is told for (Heusel et al. 2017), as the PyPI package `pytorch-fid` has it: Inception-v3
(Szegedy et al. 2016) with 1008 classes, whose mean pooling does not count padding and whose last block pools by
maxima. Its weights, pt_inception-2015-12-05-6726825d.pth of that package's releases, are exported once, where there is
PyTorch:

    python -c "import numpy, torch; w = torch.load('pt_inception-2015-12-05-6726825d.pth', map_location='cpu');
    numpy.savez('inception.npz', **{name: array.numpy() for name, array in w.items()})"
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from dfmcodec.errors import ImageError
from dfmcodec.generative.data import UInt8
from dfmcodec.generative.painting import Array, Float32
from dfmcodec.jax_backend import calls, use_compilation_cache

FEATURES = 2048
CLASSES = 1008
_SIDE = 299  # of the pictures that the network takes
_BATCH = 16
_EPSILON = 1e-3  # of batch normalisation

Weights = dict[str, Array]


@dataclass(frozen=True)
class Convolution:
    """A convolution without bias, batch normalisation, rectified; with names `<name>.conv.*` and `<name>.bn.*`."""

    name: str
    outputs: int
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1
    padding: str = "SAME"


def _pool(start: float, reduce: Callable[[Array, Array], Array], stride: int, padding: str, x: Array) -> Array:
    return jax.lax.reduce_window(x, jnp.float32(start), reduce, (1, 3, 3, 1), (1, stride, stride, 1), padding)


_maximum = partial(_pool, -np.inf, jax.lax.max, 1, "SAME")
_halve = partial(_pool, -np.inf, jax.lax.max, 2, "VALID")
_sum = partial(_pool, 0, jax.lax.add, 1, "SAME")


def _mean(x: Array) -> Array:
    return _sum(x) / _sum(jnp.ones((1, *x.shape[1:3], 1)))  # the padding does not count


Pool = Callable[[Array], Array]  # keeps the channels
Block = tuple[tuple[Convolution | Pool, ...], ...]  # chains from one input, whose outputs are joined


def _a(block: str, pooled: int) -> Block:
    c = partial(_convolution, block)
    return (
        (c("1x1", 64),),
        (c("5x5_1", 48), c("5x5_2", 64, (5, 5))),
        (c("3x3dbl_1", 64), c("3x3dbl_2", 96, (3, 3)), c("3x3dbl_3", 96, (3, 3))),
        (_mean, c("_pool", pooled)),
    )


def _b(block: str) -> Block:
    c = partial(_convolution, block)
    return (
        (c("3x3", 384, (3, 3), 2, "VALID"),),
        (c("3x3dbl_1", 64), c("3x3dbl_2", 96, (3, 3)), c("3x3dbl_3", 96, (3, 3), 2, "VALID")),
        (_halve,),
    )


def _c(block: str, inner: int) -> Block:
    c = partial(_convolution, block)
    double = c("7x7dbl_2", inner, (7, 1)), c("7x7dbl_3", inner, (1, 7)), c("7x7dbl_4", inner, (7, 1))
    return (
        (c("1x1", 192),),
        (c("7x7_1", inner), c("7x7_2", inner, (1, 7)), c("7x7_3", 192, (7, 1))),
        (c("7x7dbl_1", inner), *double, c("7x7dbl_5", 192, (1, 7))),
        (_mean, c("_pool", 192)),
    )


def _d(block: str) -> Block:
    c = partial(_convolution, block)
    seven = c("7x7x3_1", 192), c("7x7x3_2", 192, (1, 7)), c("7x7x3_3", 192, (7, 1))
    return (
        (c("3x3_1", 192), c("3x3_2", 320, (3, 3), 2, "VALID")),
        (*seven, c("7x7x3_4", 192, (3, 3), 2, "VALID")),
        (_halve,),
    )


def _e(block: str, pool: Pool) -> Block:
    c = partial(_convolution, block)
    single, double = (c("3x3_1", 384),), (c("3x3dbl_1", 448), c("3x3dbl_2", 384, (3, 3)))  # each computed once by XLA
    return (
        (c("1x1", 320),),
        (*single, c("3x3_2a", 384, (1, 3))),
        (*single, c("3x3_2b", 384, (3, 1))),
        (*double, c("3x3dbl_3a", 384, (1, 3))),
        (*double, c("3x3dbl_3b", 384, (3, 1))),
        (pool, c("_pool", 192)),
    )


def _convolution(block: str, branch: str, *rest: object) -> Convolution:
    return Convolution(f"{block}.branch{branch}", *rest)  # type: ignore[arg-type]
