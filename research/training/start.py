"""Random initial networks of the overfitted codec, with which training starts."""

from __future__ import annotations

from math import sqrt
from typing import NamedTuple

import numpy as np

from dfmcodec._types import Float32
from dfmcodec.codecs.overfitted.context import FEATURES
from dfmcodec.codecs.overfitted.encode.contexts import ContextWeights
from dfmcodec.codecs.overfitted.encode.networks import Networks
from dfmcodec.codecs.overfitted.grids import GRID_LEVELS
from dfmcodec.codecs.overfitted.synthesis import STAGES, SynthesisNetwork
from dfmcodec.entropy.context_networks import SQUARE
from dfmcodec.image.region import CHANNELS

_FILTER_START = (-0.0234375, 0.2265625, 0.8671875, -0.0703125)  # Catmull-Rom, shifted by a quarter sample
_BYPASS_START = 0.15
# Luma and two chroma axes. Random axes changed the loss by up to 4 %, and one in six fits never
# reproduced the colours.
_AXES = {"Y": np.array([1, 1, 1]) / sqrt(3), "O": np.array([1, 0, -1]) / sqrt(2), "G": np.array([-1, 2, -1]) / sqrt(6)}
FINE_CHROMA = "YOGYOGY"  # the axis of each grid, from the finest to the coarsest
_STAGE_STD = 1e-4
_MIDDLE = 0.5
_FIRST_STD = 0.3
_SECOND_STD = 0.02
_LAST_STD = 0.01


class LayerStart(NamedTuple):
    """The standard deviations of a random Fourier layer."""

    phase: float  # in radians, for a symbol at the middle Lagrange multiplier
    output: float  # of weights


NEARLY_LINEAR = LayerStart(0.1, 0.01)
STEEP = LayerStart(0.6, 0.02)  # a fit from random networks has a 3.6 % lower J


def start_synthesis(
    rng: np.random.Generator, width: int, axes: str = FINE_CHROMA, layer: LayerStart = NEARLY_LINEAR
) -> SynthesisNetwork:
    """Creates initial weights in which each grid has a colour axis; the others are random.

    A symbol of a coarse grid changes more pixels and therefore needs a smaller step: by a factor of
    sqrt(2) from grid to grid.

    Args:
        rng: The source of random numbers.
        width: The dimension to which vectors are lifted.
        axes: The colour axis of each grid, from the finest to the coarsest: luma Y, or chroma O or
            G.
        layer: The standard deviations of the Fourier layer.
    """
    of_level = np.exp2(-0.5 * np.arange(GRID_LEVELS))
    colours = _BYPASS_START * of_level[:, None] * np.array([_AXES[axis] for axis in axes])

    return SynthesisNetwork(
        np.tile(np.array(_FILTER_START, dtype=np.float32), (GRID_LEVELS - 1, 1)),
        _normal(rng, layer.phase, width, GRID_LEVELS) * of_level.astype(np.float32)[None],
        _zeros(width),
        _normal(rng, layer.output, CHANNELS, 2 * width),
        colours.T.astype(np.float32),
        np.full(CHANNELS, _MIDDLE, dtype=np.float32),
        _normal(rng, _STAGE_STD, STAGES, CHANNELS, len(SQUARE) * CHANNELS),
        _zeros(STAGES, CHANNELS),
    )


def start_contexts(rng: np.random.Generator, width: int) -> ContextWeights:
    """Creates random weights that give nearly the same distribution to all symbols.

    Args:
        rng: The source of random numbers.
        width: The number of units of each of the two layers.
    """
    return ContextWeights(
        _normal(rng, _FIRST_STD / np.sqrt(FEATURES), width, FEATURES),
        _zeros(width, GRID_LEVELS),
        _normal(rng, _SECOND_STD, width, width),
        _zeros(width),
        _normal(rng, _LAST_STD, 2, width),
        _zeros(2, FEATURES),
        _zeros(2, GRID_LEVELS),
    )


def start_networks(
    seed: int, width: int = 32, context_width: int = 24, axes: str = FINE_CHROMA, layer: LayerStart = NEARLY_LINEAR
) -> Networks:
    """Creates random networks.

    Args:
        seed: The seed of the random numbers.
        width: The dimension to which the synthesis lifts vectors.
        context_width: The number of units of a layer of the context network.
        axes: The colour axes of the grids; see `start_synthesis`.
        layer: The standard deviations of the Fourier layer.
    """
    rng = np.random.default_rng(seed)
    return Networks(start_synthesis(rng, width, axes, layer), start_contexts(rng, context_width))


def _normal(rng: np.random.Generator, std: float, *shape: int) -> Float32:
    return rng.normal(0, std, shape).astype(np.float32)


def _zeros(*shape: int) -> Float32:
    return np.zeros(shape, dtype=np.float32)
