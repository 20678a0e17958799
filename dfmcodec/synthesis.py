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
from dfmcodec.image import Pixels, to_values, values_per_level
from dfmcodec.latents import COLOURS, MIDDLE, UNITS_PER_LEVEL, Window, colour_basis
from dfmcodec.picture_filter import PictureFilter, filter_change

Float32 = npt.NDArray[np.float32]
Int32 = npt.NDArray[np.int32]

CELL = 2
CELL_SAMPLES = COLOURS * CELL * CELL
CELLS_AROUND = 3
FEATURES = CELL_SAMPLES * CELLS_AROUND**2 + 2  # and the logarithm of the step, and 1
BLOCK_SIDE = 256  # pixels
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


def padded_cells(samples: npt.NDArray[Any]) -> Float32:
    """Units [C, H, W] -> cells, float32 [12, ceil(H/2), ceil(W/2)]; gray gets flat chroma.

    An odd last row or column is repeated.
    """
    colours, height, width = samples.shape
    padded = samples.astype(np.float32)
    if height % CELL or width % CELL:
        padded = np.pad(padded, ((0, 0), (0, height % CELL), (0, width % CELL)), mode="edge")
    if colours < COLOURS:
        padded = np.concatenate([padded, np.zeros((COLOURS - colours, *padded.shape[1:]), dtype=np.float32)])
    return np.ascontiguousarray(cells_of(padded, np))


Evaluate = Callable[[Float32], Float32]  # see `correction`


@dataclass(frozen=True)
class Samples:
    """The linear synthesis of a picture, or of a window of it.

    Args:
        values: int32 [C, H', W'], units.
        at: The window.
        height: Of the picture.
        width: Of the picture.
    """

    values: Int32
    at: Window
    height: int
    width: int

    @classmethod
    def whole(cls, values: Int32) -> Samples:
        """Of a whole picture."""
        _, height, width = values.shape
        return cls(values, Window(0, 0, height, width), height, width)

    def around(self, block: Window, margin: int) -> Int32:
        """The samples of a block and so many more on all sides; the picture's edges are repeated."""
        wanted = block.grown(margin, self.height, self.width)
        within = wanted.relative_to(self.at)
        missing = (
            (0, 0),
            (margin - block.top + wanted.top, margin - wanted.bottom + block.bottom),
            (margin - block.left + wanted.left, margin - wanted.right + block.right),
        )
        found = self.values[:, within.rows, within.columns]
        return np.pad(found, missing, mode="edge") if any(map(any, missing)) else found


def blocks(window: Window, height: int, width: int) -> Iterator[Window]:
    """The blocks of a picture that a window touches, whole.

    They lie on a grid of BLOCK_SIDE pixels, so that a part of a picture is computed by the very same operations as
    the whole of it, and their arrays stay in the processor's cache.
    """
    for top in range(window.top // BLOCK_SIDE * BLOCK_SIDE, window.bottom, BLOCK_SIDE):
        for left in range(window.left // BLOCK_SIDE * BLOCK_SIDE, window.right, BLOCK_SIDE):
            yield Window(top, left, min(top + BLOCK_SIDE, height), min(left + BLOCK_SIDE, width))


def seen_from(window: Window, height: int, width: int, reach: int, filter_radius: int) -> Window:
    """What the pixels of a window depend on: the blocks that it touches, and what these see around them."""
    top, left = (side // BLOCK_SIDE * BLOCK_SIDE for side in (window.top, window.left))
    bottom, right = (-(-side // BLOCK_SIDE) * BLOCK_SIDE for side in (window.bottom, window.right))
    whole = Window(top, left, min(bottom, height), min(right, width))
    return whole.grown(max(CELL * reach, filter_radius), height, width)


def machine_change(samples: Samples, block: Window, step: int, reach: int, evaluate: Evaluate) -> Float32:
    """What the machine adds to the linear synthesis of a block.

    Args:
        samples: The linear synthesis.
        block: One of `blocks`.
        step: In 1/64 levels.
        reach: Of the machine, cells.
        evaluate: The machine on features [rows, columns, FEATURES].

    Returns:
        float32 [C, H, W], units.
    """
    cells = padded_cells(samples.around(block, CELL * reach))
    rows, columns = (side - 2 * reach for side in cells.shape[1:])
    step_in_units = step * UNITS_PER_LEVEL / 64
    features = cell_features(cells, step_in_units, step_feature(step), np)
    change = (evaluate(features) * np.float32(step_in_units)).reshape(rows, columns, COLOURS, CELL, CELL)
    planes = change.transpose(2, 0, 3, 1, 4).reshape(COLOURS, CELL * rows, CELL * columns)
    return planes[: samples.values.shape[0], : block.height, : block.width]


def corrected(
    samples: Samples, window: Window, step: int, reach: int, evaluate: Evaluate, own_filter: PictureFilter | None
) -> Iterator[tuple[Window, Float32]]:
    """The linear synthesis with what machine and filter add, block by block.

    Args as of `synthesise`.

    Yields:
        A part of the window, and its planes, float32 [C, H, W], units.
    """
    for block in blocks(window, samples.height, samples.width):
        planes = samples.around(block, 0).astype(np.float32)
        planes += machine_change(samples, block, step, reach, evaluate)
        if own_filter is not None:
            planes += filter_change(samples.around(block, own_filter.radius), own_filter)
        part = block.common(window)
        within = part.relative_to(block)
        yield part, planes[:, within.rows, within.columns]


def synthesise(
    samples: Samples,
    window: Window,
    step: int,
    chroma_angle: int,
    reach: int,
    evaluate: Evaluate,
    own_filter: PictureFilter | None,
    bit_depth: int,
) -> Pixels:
    """Colours of a window from the samples of its linear synthesis.

    Args:
        samples: At least those `seen_from` the window.
        window: Of the picture.
        step: In 1/64 levels.
        chroma_angle: Of the colour basis.
        reach: Of the correcting machine.
        evaluate: The machine, see `correction`.
        own_filter: The picture's own filter.
        bit_depth: Of the pixels.

    Returns:
        uint8 or uint16 [H, W, C].
    """
    basis = colour_basis(chroma_angle)
    pixels = np.empty(
        (window.height, window.width, len(samples.values)), dtype=np.uint8 if bit_depth == 8 else np.uint16
    )
    for part, planes in corrected(samples, window, step, reach, evaluate, own_filter):
        within = part.relative_to(window)
        pixels[within.rows, within.columns] = planes_to_values(planes.transpose(1, 2, 0), basis, bit_depth)
    return pixels


def planes_to_values(planes: Float32, basis: Float32, bit_depth: int = 8) -> Pixels:
    """Units in the luma-chroma basis, [..., C] -> values of samples, uint8 or uint16."""
    levels = planes * np.float32(1 / UNITS_PER_LEVEL)
    if planes.shape[-1] == COLOURS:
        levels = levels @ basis
    levels += np.float32(MIDDLE)
    if bit_depth > 8:
        levels *= np.float32(values_per_level(bit_depth))
    return to_values(levels.astype(np.float32, copy=False), bit_depth)


def evaluator(machine: Machine) -> Evaluate:
    """Evaluation by NumPy."""

    def evaluate(features: Float32) -> Float32:
        found: Float32 = correction(machine, features, np)
        return found

    return evaluate
