"""From latents to colours: the linear synthesis, corrected by a Deep Fourier Machine.

The machine works on cells of 2x2 pixels, the grid of the finest sub-bands. Its input v at a cell are the samples of
the linear synthesis in the 3x3 cells around it (each less the mean of the cell in the middle, in steps) and the
logarithm of the step; a linear map lifts them to `width` dimensions; order-1 Fourier layers with residual follow, and
a last one gives the correction of the cell's samples, in steps:

    h_0 = W v,   h_i = h_{i-1} + F_i(S h_{i-1}),   correction = F_d(S h_{d-1}) + U h_{d-1}

F_i as in `fourier.fourier_sum`. S takes half of the dimensions from the eight cells around, a sixteenth from each (as
Wu et al. 2018, "Shift"), so that every layer sees one cell further, at no multiplication; machines of older priors do
without it. The shipped weights make it a filter that knows edges and ringing of the wavelet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import log2
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from dfmcodec.fourier import Weights, fourier_sum
from dfmcodec.image import PEAK_LEVEL, Pixels
from dfmcodec.latents import COLOURS, MIDDLE, UNITS_PER_LEVEL, colour_basis

Float32 = npt.NDArray[np.float32]
Int32 = npt.NDArray[np.int32]

CELL = 2
CELL_SAMPLES = COLOURS * CELL * CELL
CELLS_AROUND = 3
FEATURES = CELL_SAMPLES * CELLS_AROUND**2 + 2  # and the logarithm of the step, and 1
BLOCK_CELLS = 16384
_MOVED_PART = 16  # of the dimensions come from each cell around
_INPUT_LIMIT = 4.0  # steps; differences approach it smoothly


@dataclass(frozen=True)
class Machine:
    """Weights of a correcting machine, float32.

    Args:
        lift: [FEATURES, width].
        layers: (a, b) of each Fourier layer, [width + 1, n]; n = width, of the last one CELL_SAMPLES.
        bypass: [width, CELL_SAMPLES].
        spread: Whether its layers take dimensions from the cells around.
    """

    lift: Float32
    layers: tuple[Weights, ...]
    bypass: Float32
    spread: bool

    @property
    def depth(self) -> int:
        return len(self.layers)

    @property
    def width(self) -> int:
        return int(self.lift.shape[1])

    @property
    def reach(self) -> int:
        """How many cells on each side of a cell it needs to know."""
        return CELLS_AROUND // 2 + (self.depth if self.spread else 0)

    @property
    def macs_per_pixel(self) -> float:
        """Multiply-adds of its matrix products."""
        sizes: list[int] = [self.lift.size, self.bypass.size, *(2 * a.size for a, _ in self.layers)]
        return float(sum(sizes) / CELL**2)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Machine:
        """From the arrays of a prior's file: `machine_lift`, `machine_bypass`, `machine_a_<i>`, `machine_b_<i>`.

        And `machine_spread`, which older priors do not have.
        """
        depth = sum(name.startswith("machine_a_") for name in arrays)
        layers = tuple(
            (arrays[f"machine_a_{i}"].astype(np.float32), arrays[f"machine_b_{i}"].astype(np.float32))
            for i in range(depth)
        )
        lift, bypass = (arrays[name].astype(np.float32) for name in ("machine_lift", "machine_bypass"))
        return cls(lift, layers, bypass, "machine_spread" in arrays)


def _inner(h: Any) -> Any:
    return h[1:-1, 1:-1]


def _spread(h: Any, xp: ModuleType) -> Any:
    """S: [rows, columns, width] -> [rows - 2, columns - 2, width]."""
    rows, columns, width = h.shape
    moved = width // _MOVED_PART
    parts = [_inner(h)[..., : width - 8 * moved]]
    offsets = [(y, x) for y in range(3) for x in range(3) if (y, x) != (1, 1)]
    for number, (y, x) in enumerate(offsets):
        first = width - (8 - number) * moved
        parts.append(h[y : y + rows - 2, x : x + columns - 2, first : first + moved])
    return xp.concatenate(parts, axis=2)


def correction(weights: Machine, features: Any, xp: ModuleType) -> Any:
    """The machine.

    Args:
        weights: Its weights.
        features: float32 [rows, columns, FEATURES].
        xp: numpy or jax.numpy.

    Returns:
        Corrections in steps, float32 [rows', columns', CELL_SAMPLES], fewer cells by `reach` - 1 on each side.
    """

    def layer(h: Any, a: Any, b: Any) -> tuple[Any, Any]:
        around, inner = (_spread(h, xp), _inner(h)) if weights.spread else (h, h)
        sums = fourier_sum(around.reshape(-1, around.shape[2]), a, b, 1, xp)
        return inner, sums.reshape(*around.shape[:2], a.shape[1])

    h = features @ weights.lift
    for a, b in weights.layers[:-1]:
        inner, change = layer(h, a, b)
        h = inner + change
    inner, change = layer(h, *weights.layers[-1])
    return change + inner @ weights.bypass


def step_feature(step: int) -> float:
    """How the step enters: its logarithm, about -2..2."""
    return (log2(step) - 9) / 3


def cells_of(samples: Any, xp: ModuleType) -> Any:
    """Samples [C, H, W] (sides even) -> cells [C * 4, H/2, W/2]: colour, row, column of a sample in its cell."""
    colours, height, width = samples.shape
    cells = samples.reshape(colours, height // CELL, CELL, width // CELL, CELL)
    return cells.transpose(0, 2, 4, 1, 3).reshape(colours * CELL**2, height // CELL, width // CELL)


def cell_features(cells: Any, step_in_units: Any, log_step: Any, xp: ModuleType) -> Any:
    """Features of all cells that have a full neighbourhood.

    Args:
        cells: [12, h + 2, w + 2], units; a border of one cell on all sides.
        step_in_units: The step.
        log_step: `step_feature` of it.
        xp: numpy or jax.numpy.

    Returns:
        float32 [h, w, FEATURES].
    """
    height, width = cells.shape[1] - 2, cells.shape[2] - 2
    scaled = cells * xp.float32(1 / step_in_units)
    inner = scaled[:, 1:-1, 1:-1].reshape(COLOURS, CELL**2, height, width)
    means = xp.repeat(inner.mean(axis=1), CELL**2, axis=0)
    around = [
        scaled[:, y : y + height, x : x + width] - means for y in range(CELLS_AROUND) for x in range(CELLS_AROUND)
    ]
    differences = xp.concatenate(around, axis=0)
    limited = differences / (1 + xp.abs(differences) * xp.float32(1 / _INPUT_LIMIT))
    constants = xp.stack([xp.full_like(limited[0], log_step), xp.ones_like(limited[0])])
    return xp.concatenate([limited, constants], axis=0).transpose(1, 2, 0)


def padded_cells(samples: npt.NDArray[Any], border: int) -> Float32:
    """Units [C, H, W] -> cells with a border of so many, float32 [12, ceil(H/2) + 2 border, ceil(W/2) + 2 border].

    Gray gets flat chroma.
    """
    colours, height, width = samples.shape
    edges = tuple((CELL * border, CELL * border + side % CELL) for side in (height, width))
    padded = np.pad(samples.astype(np.float32), ((0, 0), *edges), mode="edge")
    if colours < COLOURS:
        padded = np.concatenate([padded, np.zeros((COLOURS - colours, *padded.shape[1:]), dtype=np.float32)])
    return np.ascontiguousarray(cells_of(padded, np))


Evaluate = Callable[[Float32], Float32]  # see `correction`


def corrections(samples: Int32, step: int, reach: int, evaluate: Evaluate) -> Iterator[tuple[int, Float32]]:
    """What the machine adds to the linear synthesis, in blocks of rows.

    Args:
        samples: int32 [C, H, W], units.
        step: In 1/64 levels.
        reach: Of the machine.
        evaluate: The machine on features [rows, columns, FEATURES].

    Yields:
        The first row of a block, and float32 [C, rows, W], units.
    """
    colours, height, width = samples.shape
    cells = padded_cells(samples, reach)
    cell_rows, columns = (side - 2 * reach for side in cells.shape[1:])
    step_in_units = step * UNITS_PER_LEVEL / 64
    block_rows = max(1, BLOCK_CELLS // columns)
    for first in range(0, cell_rows, block_rows):
        rows = min(cell_rows - first, block_rows)
        features = cell_features(cells[:, first : first + rows + 2 * reach], step_in_units, step_feature(step), np)
        change = (evaluate(features) * np.float32(step_in_units)).reshape(rows, columns, COLOURS, CELL, CELL)
        planes = change.transpose(2, 0, 3, 1, 4).reshape(COLOURS, CELL * rows, CELL * columns)
        yield CELL * first, planes[:colours, : height - CELL * first, :width]


def synthesise(
    samples: Int32,
    step: int,
    chroma_angle: int,
    reach: int,
    evaluate: Evaluate,
    added: Float32 | None = None,
) -> Pixels:
    """Colours of a picture from the samples of its linear synthesis.

    Args:
        samples: int32 [C, H, W], units.
        step: In 1/64 levels.
        chroma_angle: Of the colour basis.
        reach: Of the correcting machine.
        evaluate: The machine, see `corrections`.
        added: What the picture's own filter adds, float32 [C, H, W], units.

    Returns:
        uint8 [H, W, C].
    """
    colours, height, width = samples.shape
    basis = colour_basis(chroma_angle)
    pixels = np.empty((height, width, colours), dtype=np.uint8)
    for row, change in corrections(samples, step, reach, evaluate):
        part = slice(row, row + change.shape[1])
        planes = samples[:, part] + change
        if added is not None:
            planes = planes + added[:, part]
        pixels[part] = planes_to_levels(planes.transpose(1, 2, 0), basis)
    return pixels


def planes_to_levels(planes: Float32, basis: Float32) -> Pixels:
    """Units in the luma-chroma basis, [..., C] -> levels uint8."""
    levels = planes * np.float32(1 / UNITS_PER_LEVEL)
    levels = (levels @ basis if planes.shape[-1] == COLOURS else levels) + np.float32(MIDDLE)
    found: Pixels = np.clip(np.rint(levels), 0, PEAK_LEVEL).astype(np.uint8)
    return found


def evaluator(machine: Machine) -> Evaluate:
    """Evaluation by NumPy."""

    def evaluate(features: Float32) -> Float32:
        found: Float32 = correction(machine, features, np)
        return found

    return evaluate
