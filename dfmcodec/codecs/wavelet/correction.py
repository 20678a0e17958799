"""The correction network, made of Fourier layers: it improves the linear synthesis.

It works on cells of 2x2 pixels, the grid of the finest bands. The input v of a cell consists of the
samples of the linear synthesis in the surrounding 3x3 cells (minus the mean of the middle cell, in
quantisation steps) and the logarithm of the step. A linear map lifts them to `width` dimensions.
Order-1 Fourier layers with residual connections follow. The last layer gives the residual of the
cell's samples, in steps:

    h_0 = W v,   h_i = h_{i-1} + F_i(S h_{i-1}),   residual = F_d(S h_{d-1}) + U h_{d-1}

F_i is `fourier_sum`. S takes half of the dimensions from the eight neighbouring cells, a sixteenth
from each (like "Shift" of Wu et al. 2018). So each layer extends the receptive field by one cell
without multiplications. With the shipped weights, the network acts as a filter that preserves edges
and reduces the ringing of the wavelet.

This module has the weights, the features of cells, and the network itself; `synthesis` applies it
to images.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import log2
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from dfmcodec._types import Float32
from dfmcodec.fourier.layer import Weights, fourier_sum
from dfmcodec.image.region import CHANNELS

CELL = 2
CELL_SAMPLES = CHANNELS * CELL * CELL
CELLS_AROUND = 3
FEATURES = CELL_SAMPLES * CELLS_AROUND**2 + 2  # the last two are the logarithm of the step, and 1
_DIMENSIONS_PER_MOVED = 16  # one dimension in 16 comes from each neighbouring cell
_INPUT_LIMIT = 4.0  # quantisation steps; the soft limit of differences
Evaluate = Callable[[Float32], Float32]  # see `correction_outputs`


@dataclass(frozen=True)
class CorrectionNetwork:
    """The weights of a correction network, float32.

    Args:
        lift: [FEATURES, width].
        layers: (a, b) of each Fourier layer, [width + 1, n], with n = width and, in the last layer,
            n = CELL_SAMPLES.
        bypass: [width, CELL_SAMPLES].
    """

    lift: Float32
    layers: tuple[Weights, ...]
    bypass: Float32

    @property
    def depth(self) -> int:
        """The number of Fourier layers."""
        return len(self.layers)

    @property
    def width(self) -> int:
        """The dimension between layers."""
        return int(self.lift.shape[1])

    @cached_property
    def flat_weights(self) -> Float32:
        """Lift, a and b of each layer, and bypass, concatenated for the kernel."""
        arrays = [self.lift, *(array for layer in self.layers for array in layer), self.bypass]
        return np.concatenate([np.ravel(array) for array in arrays]).astype(np.float32)

    @property
    def reach(self) -> int:
        """The receptive field: the number of cells on each side of a cell."""
        return CELLS_AROUND // 2 + self.depth

    @property
    def macs_per_pixel(self) -> float:
        """The multiply-adds of the matrix products per pixel."""
        sizes: list[int] = [self.lift.size, self.bypass.size, *(2 * a.size for a, _ in self.layers)]
        return float(sum(sizes) / CELL**2)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> CorrectionNetwork:
        """Creates a network from arrays of pretrained weights.

        The arrays are `machine_lift`, `machine_bypass`, `machine_a_<i>` and `machine_b_<i>`.
        """
        depth = sum(name.startswith("machine_a_") for name in arrays)
        layers = tuple(
            (arrays[f"machine_a_{i}"].astype(np.float32), arrays[f"machine_b_{i}"].astype(np.float32))
            for i in range(depth)
        )
        lift, bypass = (arrays[name].astype(np.float32) for name in ("machine_lift", "machine_bypass"))
        return cls(lift, layers, bypass)


def _inner(h: Any) -> Any:
    """Drops the outermost cells, [rows, columns, width] -> [rows - 2, columns - 2, width]."""
    return h[1:-1, 1:-1]


def spread(h: Any, xp: ModuleType) -> Any:
    """Applies S: takes half of the dimensions of each cell from its eight neighbours.

    Args:
        h: float32 [rows, columns, width]. Below 16 dimensions, none are taken from neighbours.
        xp: numpy or jax.numpy.

    Returns:
        float32 [rows - 2, columns - 2, width], without the outermost cells.
    """
    rows, columns, width = h.shape
    moved = width // _DIMENSIONS_PER_MOVED
    parts = [_inner(h)[..., : width - 8 * moved]]
    offsets = [(y, x) for y in range(3) for x in range(3) if (y, x) != (1, 1)]
    for number, (y, x) in enumerate(offsets):
        first = width - (8 - number) * moved
        parts.append(h[y : y + rows - 2, x : x + columns - 2, first : first + moved])
    return xp.concatenate(parts, axis=2)


def correction_outputs(weights: CorrectionNetwork, features: Any, xp: ModuleType) -> Any:
    """Evaluates the correction network.

    Args:
        weights: The weights of the network.
        features: float32 [rows, columns, FEATURES].
        xp: numpy or jax.numpy.

    Returns:
        Residuals in quantisation steps, float32 [rows', columns', CELL_SAMPLES], with `reach` - 1
        fewer cells on each side.
    """

    def layer(h: Any, a: Any, b: Any) -> tuple[Any, Any]:
        around = spread(h, xp)
        sums = fourier_sum(around.reshape(-1, around.shape[2]), a, b, 1, xp)
        return _inner(h), sums.reshape(*around.shape[:2], a.shape[1])

    h = features @ weights.lift
    for a, b in weights.layers[:-1]:
        inner, change = layer(h, a, b)
        h = inner + change
    inner, change = layer(h, *weights.layers[-1])
    return change + inner @ weights.bypass


def step_feature(q_step: int) -> float:
    """Returns the logarithm of the step as a feature, about -2..2.

    Args:
        q_step: The quantisation step in 1/64 code values.
    """
    return (log2(q_step) - 9) / 3


def cells_of(samples: Any, xp: ModuleType) -> Any:
    """Rearranges samples into cells.

    Args:
        samples: [C, H, W]; H and W are even.
        xp: numpy or jax.numpy.

    Returns:
        [C * 4, H/2, W/2], in the order of channel, then row and column of a sample in its cell.
    """
    channels, height, width = samples.shape
    cells = samples.reshape(channels, height // CELL, CELL, width // CELL, CELL)
    return cells.transpose(0, 2, 4, 1, 3).reshape(channels * CELL**2, height // CELL, width // CELL)


def cell_features(cells: Any, step_in_units: Any, log_step: Any, xp: ModuleType) -> Any:
    """Computes the features of all cells that have all eight neighbours.

    Args:
        cells: [12, h + 2, w + 2], units; a border of one cell on all sides.
        step_in_units: The quantisation step, in units.
        log_step: The `step_feature` of the step.
        xp: numpy or jax.numpy.

    Returns:
        float32 [h, w, FEATURES].
    """
    height, width = cells.shape[1] - 2, cells.shape[2] - 2
    scaled = cells * xp.float32(1 / step_in_units)
    inner = scaled[:, 1:-1, 1:-1].reshape(CHANNELS, CELL**2, height, width)
    means = xp.repeat(inner.mean(axis=1), CELL**2, axis=0)
    around = [
        scaled[:, y : y + height, x : x + width] - means for y in range(CELLS_AROUND) for x in range(CELLS_AROUND)
    ]
    differences = xp.concatenate(around, axis=0)
    limited = differences / (1 + xp.abs(differences) * xp.float32(1 / _INPUT_LIMIT))
    constants = xp.stack([xp.full_like(limited[0], log_step), xp.ones_like(limited[0])])
    return xp.concatenate([limited, constants], axis=0).transpose(1, 2, 0)


def padded_cells(samples: npt.NDArray[Any]) -> Float32:
    """Converts samples into cells; gray gets flat chroma.

    Args:
        samples: [C, H, W], units. An odd last row or column is repeated.

    Returns:
        float32 [12, ceil(H/2), ceil(W/2)], units.
    """
    channels, height, width = samples.shape
    padded = samples.astype(np.float32)
    if height % CELL or width % CELL:
        padded = np.pad(padded, ((0, 0), (0, height % CELL), (0, width % CELL)), mode="edge")
    if channels < CHANNELS:
        padded = np.concatenate([padded, np.zeros((CHANNELS - channels, *padded.shape[1:]), dtype=np.float32)])
    return np.ascontiguousarray(cells_of(padded, np))
