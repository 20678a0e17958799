"""The correction network, made of Fourier layers: it improves the linear synthesis.

It works on cells of 2x2 pixels, the grid of the finest bands. The input v of a cell consists of the
samples of the linear synthesis in the surrounding 3x3 cells, minus the mean of the middle cell, in
quantisation steps. A linear map lifts them to `width` dimensions. Order-1 Fourier layers with
residual connections follow. The last layer gives the residual of the cell's samples, in steps:

    h_0 = W v + c,   h_i = h_{i-1} + F_i(S h_{i-1}),   residual = F_d(S h_{d-1}) + U h_{d-1}
    F_i(x) = a_i + A_i cos(2 pi x) + B_i sin(2 pi x)

c depends on the logarithm of the step. S takes half of the dimensions from the eight neighbouring
cells, a sixteenth from each (like "Shift" of Wu et al. 2018). So each layer extends the receptive
field by one cell without multiplications. With the shipped weights, the network acts as a filter
that preserves edges and reduces the ringing of the wavelet.

All numbers are integers, so every host computes the same residuals. Inputs, weights, cosines and
sines are bytes. A phase x is int32 in 2^-16 turns; cosines and sines are those of the nearest
2^-8 turn (`SINES`). Each sum of byte products is multiplied by the
factor of its output and shifted, so each output has its own scale of weights. NumPy multiplies
matrices in float32, which is exact because all sums stay below 2^24.

This module has the weights, the inputs of cells, and the network itself; `synthesis` applies it to
images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import chain
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from dfmcodec._types import Int8, Int32
from dfmcodec.entropy.context_networks import check_sums
from dfmcodec.errors import DfmError
from dfmcodec.image.region import CHANNELS

CELL = 2
CELL_SAMPLES = CHANNELS * CELL * CELL
CELLS_AROUND = 3
FEATURES = CELL_SAMPLES * CELLS_AROUND**2
BYTE = 127  # the largest magnitude of weights, cosines and sines
TURN_BITS = 16  # a turn is 2^16 units of phase
RESIDUAL_BITS = 12  # a quantisation step is 2^12 units of residual
SUM_SHIFT = 8  # of sums times factors, to phases
RESIDUAL_SHIFT = 16  # of sums times factors, to residuals
BYPASS_SHIFT = 12  # of products of the bypass times factors, to residuals
_INPUT_SCALE = 31  # the input of a difference of one step, while differences are small
_INPUT_LIMIT = 4  # quantisation steps; the soft limit of differences
_DIMENSIONS_PER_MOVED = 16  # one dimension in 16 comes from each neighbouring cell
_LOW_SHIFT = 5
_LARGEST_PHASE = BYTE << 7  # in units of 2^5, for the bypass
SINES = np.rint(BYTE * np.sin(2 * np.pi / 256 * np.arange(256))).astype(np.int8)


@dataclass(frozen=True)
class FourierLayer:
    """The weights of a Fourier layer of order 1."""

    weights: Int8  # int8 [n, 2 width], of all cosines, then of all sines
    factors: Int32  # int32 [n], the scales of the outputs
    constants: Int32  # int32 [n], added to the outputs


@dataclass(frozen=True)
class CorrectionNetwork:
    """The weights of a correction network."""

    lift: Int8  # int8 [width, FEATURES]
    lift_factors: Int32  # int32 [width]
    lift_constants: Int32  # int32 [width], phases for a logarithm of the step of 0
    lift_slopes: Int32  # int32 [width], phases per unit of the logarithm of the step
    layers: tuple[FourierLayer, ...]  # the Fourier layers; n is `width` and, in the last layer, CELL_SAMPLES
    bypass: Int8  # int8 [CELL_SAMPLES, width]
    bypass_factors: Int32  # int32 [CELL_SAMPLES]

    @property
    def depth(self) -> int:
        """The number of Fourier layers."""
        return len(self.layers)

    @property
    def width(self) -> int:
        """The dimension between layers."""
        return len(self.lift)

    @property
    def reach(self) -> int:
        """The receptive field: the number of cells on each side of a cell."""
        return CELLS_AROUND // 2 + self.depth

    @property
    def macs_per_pixel(self) -> float:
        """The multiply-adds of the matrix products per pixel."""
        return sum(weights.size for weights in self._byte_arrays()) / CELL**2

    def _byte_arrays(self) -> Sequence[Int8]:
        return self.lift, *(layer.weights for layer in self.layers), self.bypass

    @cached_property
    def flat_weights(self) -> Int8:
        """All byte weights, concatenated for the kernel: lift, layers, bypass."""
        return np.concatenate([np.ravel(weights) for weights in self._byte_arrays()])

    @cached_property
    def flat_factors(self) -> Int32:
        """Factors and constants, concatenated for the kernel: of the lift, each layer, and the
        bypass.
        """
        of_layers = chain.from_iterable((layer.factors, layer.constants) for layer in self.layers)
        return np.concatenate([self.lift_factors, *of_layers, self.bypass_factors])

    def first_constants(self, log_step: int) -> Int32:
        """Returns the constants of the lift, int32 [width]."""
        return np.asarray(self.lift_constants + self.lift_slopes * np.int32(log_step))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> CorrectionNetwork:
        """Creates a network from arrays of pretrained weights: `correction_<field>`, and for each
        layer `correction_weights_<i>`, `correction_factors_<i>` and `correction_constants_<i>`.
        Raises DfmError if sums could exceed the range of exact integers.
        """
        depth = sum(name.startswith("correction_weights_") for name in arrays)
        layers = tuple(
            FourierLayer(*(arrays[f"correction_{name}_{i}"] for name in FourierLayer.__dataclass_fields__))
            for i in range(depth)
        )
        network = cls(layers=layers, **{name: arrays[f"correction_{name}"] for name in cls._single_arrays()})
        network.check_exact()
        return network

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Returns the arrays of pretrained weights. Inverts `from_arrays`."""
        found = {f"correction_{name}": getattr(self, name) for name in self._single_arrays()}
        for i, layer in enumerate(self.layers):
            found |= {f"correction_{name}_{i}": array for name, array in vars(layer).items()}
        return found

    @classmethod
    def _single_arrays(cls) -> list[str]:
        return [field.name for field in fields(cls) if field.name != "layers"]

    def check_exact(self) -> None:
        """Raises DfmError unless weights are in -BYTE..BYTE, sums stay below 2^24, and sums times
        factors below 2^31.
        """
        factors = self.lift_factors, *(layer.factors for layer in self.layers), self.bypass_factors
        for weights, of_outputs in zip(self._byte_arrays(), factors, strict=True):
            sizes = np.abs(weights.astype(np.int64))
            if sizes.max() > BYTE:  # AVX2 cannot negate -128
                msg = f"a pretrained correction network has weights beyond {BYTE}"
                raise DfmError(msg)
            sums = BYTE * sizes.sum(axis=1)
            check_sums([float(sums.max())])
            if np.any(sums * np.abs(of_outputs.astype(np.int64)) >= 1 << 30):
                msg = "factors of a pretrained correction network exceed 32 bits"
                raise DfmError(msg)


def _inner(h: Any) -> Any:
    """Drops the outermost cells, [rows, columns, width] -> [rows - 2, columns - 2, width]."""
    return h[1:-1, 1:-1]


def spread(h: Any, xp: ModuleType) -> Any:
    """Applies S: takes half of the dimensions of each cell of `h`, [rows, columns, width], from its
    eight neighbours; none if there are fewer than 16. Drops the outermost cells: the result is
    [rows - 2, columns - 2, width].
    """
    rows, columns, width = h.shape
    moved = width // _DIMENSIONS_PER_MOVED
    parts = [_inner(h)[..., : width - 8 * moved]]
    offsets = [(y, x) for y in range(3) for x in range(3) if (y, x) != (1, 1)]
    for number, (y, x) in enumerate(offsets):
        first = width - (8 - number) * moved
        parts.append(h[y : y + rows - 2, x : x + columns - 2, first : first + moved])
    return xp.concatenate(parts, axis=2)


def _products(inputs: Any, weights: Int8, xp: ModuleType) -> Any:
    """Multiplies bytes [.., k] by weights [n, k]; int32 [.., n]."""
    return (inputs.astype(xp.float32) @ weights.T.astype(np.float32)).astype(xp.int32)


def _scaled(sums: Any, factors: Int32, shift: int) -> Any:
    return (sums * factors[None, None] + (1 << (shift - 1))) >> shift


def sines(phases: Any, xp: ModuleType) -> Any:
    """Looks up `SINES` of phases, int32 in 2^-16 turns, rounded to 2^-8 turns."""
    return xp.asarray(SINES)[((phases + 128) >> 8) & (len(SINES) - 1)]


def correction_outputs(network: CorrectionNetwork, features: Any, constants: Any, xp: ModuleType) -> Any:
    """Evaluates the correction network from `cell_features`, int8 [rows, columns, FEATURES], and
    `CorrectionNetwork.first_constants` of the step, int32 [width]. Returns residuals in 2^-12
    quantisation steps, int32 [rows', columns', CELL_SAMPLES], with `reach` - 1 fewer cells on each
    side.
    """
    h = _scaled(_products(features, network.lift, xp), network.lift_factors, SUM_SHIFT) + constants[None, None]
    quarter = 1 << (TURN_BITS - 2)
    for number, layer in enumerate(network.layers):
        around = xp.concatenate([spread(sines(h + quarter, xp), xp), spread(sines(h, xp), xp)], axis=2)
        is_last = number == network.depth - 1
        sums = _products(around, layer.weights, xp)
        change = _scaled(sums, layer.factors, RESIDUAL_SHIFT if is_last else SUM_SHIFT) + layer.constants[None, None]
        h = _inner(h)
        if not is_last:
            h = h + change
    value = xp.clip((h + (1 << (_LOW_SHIFT - 1))) >> _LOW_SHIFT, -_LARGEST_PHASE, _LARGEST_PHASE)
    high = (value + 64) >> 7
    low = _products(value - (high << 7), network.bypass, xp)
    passed = _products(high, network.bypass, xp) + ((low + 64) >> 7)
    return change + _scaled(passed, network.bypass_factors, BYPASS_SHIFT)


def cells_of(samples: Any, xp: ModuleType) -> Any:
    """Rearranges samples, [C, H, W] with even H and W, into cells, [C * 4, H/2, W/2], in the order
    of channel, then row and column of a sample in its cell.
    """
    channels, height, width = samples.shape
    cells = samples.reshape(channels, height // CELL, CELL, width // CELL, CELL)
    return cells.transpose(0, 2, 4, 1, 3).reshape(channels * CELL**2, height // CELL, width // CELL)


def cell_features(cells: Int32, q_step: int) -> Int8:
    """Computes the features of all cells that have all eight neighbours, int8 [h, w, FEATURES]:
    differences from the means of the middle cell, with a soft limit. `cells` are int32 [12, h + 2,
    w + 2], in units like `q_step`, with a border of one cell on all sides.
    """
    height, width = cells.shape[1] - 2, cells.shape[2] - 2
    sums = cells[:, 1:-1, 1:-1].reshape(CHANNELS, CELL**2, height, width).sum(axis=1, dtype=np.int32)
    sums = np.repeat(sums, CELL**2, axis=0)
    differences = np.concatenate(
        [
            CELL**2 * cells[:, y : y + height, x : x + width] - sums
            for y in range(CELLS_AROUND)
            for x in range(CELLS_AROUND)
        ]
    )
    # x = difference / (4 q_step) steps; 31 x / (1 + |x| / 4)
    limit = np.float32(_INPUT_SCALE * _INPUT_LIMIT)
    limited = differences.astype(np.float32) * limit / (np.abs(differences) + 16 * q_step).astype(np.float32)
    features: Int8 = np.floor(limited + np.float32(0.5)).astype(np.int8).transpose(1, 2, 0)
    return features


def padded_cells(samples: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Converts samples, [C, H, W], into cells, [12, ceil(H/2), ceil(W/2)], both in units. Gray gets
    flat chroma; an odd last row or column is repeated.
    """
    channels, height, width = samples.shape
    padded = np.pad(samples, ((0, CHANNELS - channels), (0, 0), (0, 0)))
    if height % CELL or width % CELL:
        padded = np.pad(padded, ((0, 0), (0, height % CELL), (0, width % CELL)), mode="edge")
    return np.ascontiguousarray(cells_of(padded, np))
