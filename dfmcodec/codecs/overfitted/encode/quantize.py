"""Conversion between fitted networks and the integers in a file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dfmcodec._types import Float32
from dfmcodec.codecs.overfitted.encode.contexts import BY_LEVEL, ContextWeights, in_floats, in_integers
from dfmcodec.codecs.overfitted.encode.networks import Networks
from dfmcodec.codecs.overfitted.sections.networks import delta_bits
from dfmcodec.codecs.overfitted.weights import DELTA_NAMES, EXPONENTS, OverfittedWeights, WeightDeltas
from dfmcodec.entropy.tables import SCALES_PER_OCTAVE, UNIT_SCALE_INDEX

Cost = Callable[[Networks], float]  # MSE / lmbda + bits of an image's symbols
_FINE = -3  # the exponent of the smallest step sizes that are tried
_ROUND_FROM = 0.6  # fraction of a step size from which a delta is rounded away from zero


def pretrained_networks(weights: OverfittedWeights) -> Networks:
    """Returns the networks with which a fit starts."""
    return Networks.of(weights.synthesis, ContextWeights.from_integers(weights.network))


def flat_deltas(networks: Networks, start: Networks) -> Float32:
    """Returns the weight deltas of networks from a start, in the units and the order of
    `OverfittedWeights.split`, float32 [weights].
    """
    return _flat(networks.mapped(np.subtract, start), 1.0)


def flat_gradient(gradient: Networks) -> Float32:
    """Converts a gradient by the weights of networks to one by `flat_deltas`, float32 [weights]."""
    return _flat(gradient, -1.0)


def _flat(networks: Networks, power: float) -> Float32:
    """Returns values in the order of `OverfittedWeights.split`, times a power of their unit."""
    contexts = [in_integers(name, array, power) for name, array in networks.contexts._asdict().items()]
    return np.concatenate([array.ravel() for array in (*networks.synthesis, *contexts)])


def from_flat(flat: Float32, like: Networks) -> Networks:
    """Converts float32 [weights] to networks of given shapes; the inverse of `flat_deltas`."""
    synthesis, contexts = like.from_flat(flat)
    arrays = {
        name: in_floats(name, array.reshape(array.shape[::-1]) if name in BY_LEVEL else array)
        for name, array in contexts._asdict().items()
    }
    return Networks.of(synthesis, ContextWeights(**arrays))


def delta_scales(weights: OverfittedWeights) -> Networks:
    """Returns the scale of the pretrained Laplace distribution of each weight delta."""
    octaves = (weights.tables.astype(np.float32) - UNIT_SCALE_INDEX) / SCALES_PER_OCTAVE
    return from_flat(weights.steps * np.exp2(octaves), pretrained_networks(weights))


@dataclass(frozen=True)
class Rounding:
    """Rounds networks to those that a file can store, with given step sizes."""

    weights: OverfittedWeights
    exponents: tuple[int, ...]  # of `WeightDeltas`

    def deltas(self, networks: Networks) -> WeightDeltas:
        """Returns the weight deltas that a file would store."""
        return rounded(self.weights, flat_deltas(networks, self._start), self.exponents)

    @cached_property
    def _start(self) -> Networks:
        return pretrained_networks(self.weights)

    def __call__(self, networks: Networks) -> Networks:
        """Returns the networks that a decoder would use."""
        return decoder_networks(self.weights, self.deltas(networks))


def rounded(weights: OverfittedWeights, deltas: Float32, exponents: tuple[int, ...]) -> WeightDeltas:
    """Rounds weight deltas to multiples of the step sizes; small ones to zero, for few bits."""
    steps = deltas / weights.step_sizes(exponents)
    integers = np.sign(steps) * np.floor(np.abs(steps) + (1 - _ROUND_FROM))
    with np.errstate(invalid="ignore"):  # NaN remains after a training step that diverged
        return WeightDeltas(exponents, integers.astype(np.int32))


def decoder_networks(weights: OverfittedWeights, deltas: WeightDeltas) -> Networks:
    """Returns the networks of an image as its decoder uses them."""
    network, synthesis = weights.networks_of(deltas)
    return Networks.of(synthesis, ContextWeights.from_integers(network))


def choose_rounding(weights: OverfittedWeights, networks: Networks, cost: Cost) -> Rounding:
    """Chooses the step size of each kind of weight delta that minimises the cost plus the bits of
    the networks.

    All coarser step sizes are tried, one kind after the other, because the cost has several minima:
    step sizes of the context network are at least 1. `cost` returns the cost of the image with
    given networks, in bits.
    """
    flat = flat_deltas(networks, pretrained_networks(weights))
    exponents = [_FINE] * len(DELTA_NAMES)

    def total(tried: list[int]) -> float:
        deltas = rounded(weights, flat, tuple(tried))
        return cost(decoder_networks(weights, deltas)) + delta_bits(weights, deltas)[0]

    best = total(exponents)
    for kind in range(len(DELTA_NAMES)):
        for exponent in range(_FINE + 1, EXPONENTS[-1] + 1):
            tried = [*exponents[:kind], exponent, *exponents[kind + 1 :]]
            tried_cost = total(tried)
            if tried_cost < best:
                best, exponents = tried_cost, tried
    return Rounding(weights, tuple(exponents))
