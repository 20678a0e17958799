"""The synthesis of the overfitted codec. Latent grids give a vector v(p) at each pixel, and a
synthesis network fitted to the image maps it to a colour.

All grids are upsampled to the size of the image, one after the other: a separable filter of four
taps upsamples the joined grids by 2, and the next grid joins them. So v(p) contains one value of
each grid, the symbol times the step size. The synthesis network lifts v by a linear map and applies
a Fourier layer of order 1,

    u = (W v + c) / (2 pi)
    f(v) = sum_j a_j (cos(2 pi u_j) - 1) + b_j sin(2 pi u_j)
    y = f(v) + B v + d,

with a linear bypass B, because inputs and outputs have different dimensions. Its initial phases are
small, so the initial synthesis is nearly linear. Two residual stages with 3x3 neighbourhoods
follow. The grids and the stages are those of Cool-chic (Leguay et al. 2023, "Low-complexity
overfitted neural image codec").

Beyond the image, the samples at the edges of each grid are repeated. One definition serves NumPy,
for decoding, and JAX, for fits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import pi
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from dfmcodec._types import Float32, Symbols
from dfmcodec.entropy.context_networks import SQUARE
from dfmcodec.image.region import CHANNELS, Region
from dfmcodec.threads import in_threads

TAPS = 4
STAGES = 2
HALO = 4  # samples around an image in each grid: two for each upsampling, two for the stages
_STRIP_ROWS = 64
_TURNS_AT_A_TIME = 2**17  # for NumPy: 0.5 MB fit into the cache of a core, and wide layers need no more
CosineAndSine = Callable[[Any], tuple[Any, Any]]  # turns -> cos(2 pi t) - 1 and sin(2 pi t)


class SynthesisNetwork(NamedTuple):
    """The weights of the synthesis, float32."""

    filters: Any  # the taps of each upsampling, from the finest level on, [levels - 1, TAPS]
    lift: Any  # W, [width, levels]
    lift_constants: Any  # c, [width]
    layer: Any  # a_j and b_j, [CHANNELS, 2 width]
    bypass: Any  # B, [CHANNELS, levels]
    constants: Any  # d, [CHANNELS]
    stages: Any  # the 3x3 maps of the residual stages, [STAGES, CHANNELS, 9 CHANNELS]
    stage_constants: Any  # [STAGES, CHANNELS]

    @property
    def macs_per_pixel(self) -> float:
        """Returns the number of multiply-adds of its matrix products and of the upsampling."""
        products = sum(weights.size for weights in (self.lift, self.layer, self.bypass, self.stages))
        joined = [self.lift.shape[1] - level for level in range(1, self.lift.shape[1])]
        upsampling = sum(TAPS * 1.5 * count / 4**level for level, count in enumerate(joined))
        return float(products + upsampling)


def upsampled(planes: Any, taps: Any, xp: ModuleType) -> Any:
    """Upsamples planes [C, m, n] along both axes: [C, 2 (m - TAPS), 2 (n - TAPS)].

    Output samples 2 i and 2 i + 1 lie a quarter sample before and after the middle of input samples
    i + 1 .. i + 3. The taps of one are the reversed taps of the other.
    """
    for axis in (1, 2):
        moved = planes if axis == 1 else planes.swapaxes(1, 2)
        pairs = moved.shape[1] - TAPS
        even = sum(taps[tap] * moved[:, tap : tap + pairs] for tap in range(TAPS))
        odd = sum(taps[TAPS - 1 - tap] * moved[:, tap + 1 : tap + 1 + pairs] for tap in range(TAPS))
        moved = xp.stack([even, odd], axis=2).reshape(moved.shape[0], 2 * pairs, moved.shape[2])
        planes = moved if axis == 1 else moved.swapaxes(1, 2)
    return planes


def synthesis_colours(weights: SynthesisNetwork, vectors: Any, cosine_and_sine: CosineAndSine, xp: ModuleType) -> Any:
    """Evaluates the Fourier layer and the bypass: float32 [levels, N] -> [CHANNELS, N]."""
    turns = (weights.lift @ vectors + weights.lift_constants[:, None]) * xp.float32(1 / (2 * pi))
    hidden = xp.concatenate(cosine_and_sine(turns))
    return weights.layer @ hidden + weights.bypass @ vectors + weights.constants[:, None]


def stage(weights: Any, constants: Any, planes: Any, neighbourhoods: Callable[[Any], Any]) -> Any:
    """Adds a 3x3 map, [C, 9 C] and [C], of planes [C, h + 2, w + 2] to their inner samples: [C, h,
    w].

    `neighbourhoods` gathers the 3x3 neighbours of planes, [9, C, h, w] in the order of `SQUARE`.
    """
    around = neighbourhoods(planes)
    mapped = weights @ around.reshape(weights.shape[1], -1) + constants[:, None]
    return planes[:, 1:-1, 1:-1] + mapped.reshape(around.shape[1:])


def stages(weights: SynthesisNetwork, planes: Any, neighbourhoods: Callable[[Any], Any], xp: ModuleType) -> Any:
    """Applies the residual stages to planes [C, h + 4, w + 4]: [C, h, w]."""
    planes = xp.maximum(stage(weights.stages[0], weights.stage_constants[0], planes, neighbourhoods), 0)
    return stage(weights.stages[1], weights.stage_constants[1], planes, neighbourhoods)


def shifted_squares(xp: ModuleType) -> Callable[[Any], Any]:
    """Returns the function that gathers 3x3 neighbours for `stage`, from shifted planes."""

    def neighbourhoods(planes: Any) -> Any:
        height, width = planes.shape[1] - 2, planes.shape[2] - 2
        return xp.stack([planes[:, 1 + y : 1 + y + height, 1 + x : 1 + x + width] for y, x in SQUARE])

    return neighbourhoods


def _cosine_less_one_and_sine(turns: Float32) -> tuple[Float32, Float32]:
    angles = turns * np.float32(2 * pi)
    return np.cos(angles) - np.float32(1), np.sin(angles)


def synthesise_grids(synthesis: SynthesisNetwork, grids: Sequence[Symbols], step: float, region: Region) -> Float32:
    """Computes the colours of a region of an image in pixels, float32 [CHANNELS, H, W]; 0 is black
    and 1 is white. The symbols of the complete image are int32 [h_l, w_l], from the finest grid to
    the coarsest, with the step size of `grids.symbol_step`.
    """
    padded = [np.pad(grid.astype(np.float32) * np.float32(step), HALO, mode="edge") for grid in grids]
    joined = padded[-1][None]
    for level in range(len(grids) - 2, 0, -1):
        rows, columns = padded[level].shape
        joined = np.concatenate(
            [padded[level][None], upsampled(joined, synthesis.filters[level], np)[:, :rows, :columns]]
        )
    colours = np.empty((CHANNELS, region.height, region.width), dtype=np.float32)

    def finish(top: int) -> None:
        bottom = min(top + _STRIP_ROWS, grids[0].shape[0])
        coarser = joined[:, top // 2 : -(-bottom // 2) + 2 * HALO]
        strip = _numpy_strip(synthesis, padded[0][top : bottom + 2 * HALO], coarser)
        first = max(top, region.top)
        last = min(bottom, region.bottom)
        target = colours[:, first - region.top : last - region.top]
        target[...] = strip[:, first - top : last - top, region.left : region.right]

    # strips do not depend on the region, and so pixels do not either
    in_threads(finish, range(region.top // _STRIP_ROWS * _STRIP_ROWS, region.bottom, _STRIP_ROWS))
    return colours


def strip_colours(
    synthesis: SynthesisNetwork,
    finest: Any,
    coarser: Any,
    colours: Callable[[SynthesisNetwork, Any], Any],
    neighbourhoods: Callable[[Any], Any],
    xp: ModuleType,
) -> Any:
    """Computes the colours of some rows of an image, float32 [CHANNELS, rows, W], from rows of the
    finest grid with its halo, [rows + 2 HALO, W + 2 HALO], and the other grids, joined at the size
    of the second: row r after upsampling depends on rows r / 2 .. r / 2 + TAPS. `colours` evaluates
    the Fourier layer and the bypass, as `synthesis_colours`. See `stage` for `neighbourhoods`.
    """
    rows, columns = finest.shape
    above = upsampled(coarser, synthesis.filters[0], xp)[:, :rows, :columns]
    vectors = xp.concatenate([finest[None], above])[:, STAGES:-STAGES, STAGES:-STAGES]
    planes = colours(synthesis, vectors.reshape(len(vectors), -1))
    return stages(synthesis, planes.reshape(CHANNELS, *vectors.shape[1:]), neighbourhoods, xp)


def _numpy_colours(synthesis: SynthesisNetwork, vectors: Float32) -> Float32:
    at_a_time = _TURNS_AT_A_TIME // len(synthesis.lift)
    pieces = [vectors[:, first : first + at_a_time] for first in range(0, vectors.shape[1], at_a_time)]
    return np.hstack([synthesis_colours(synthesis, piece, _cosine_less_one_and_sine, np) for piece in pieces])


def _numpy_strip(synthesis: SynthesisNetwork, finest: Float32, coarser: Float32) -> Float32:
    with np.errstate(over="ignore", invalid="ignore"):  # only hostile files have such values
        return np.asarray(strip_colours(synthesis, finest, coarser, _numpy_colours, shifted_squares(np), np))
