"""Fitted networks -> the whole numbers that a file holds, and back."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dfmcodec._types import Float32
from dfmcodec.bitstream.sections.networks import change_bits
from dfmcodec.encoder.fitted.contexts import BY_LEVEL, ContextWeights, unit_of
from dfmcodec.encoder.fitted.fit import Networks
from dfmcodec.prior.fitted import CHANGE_NAMES, CONTEXT_CHANGES, EXPONENTS, FittedPrior, NetworkChanges

Cost = Callable[[Networks], float]  # MSE / lmbda + bits of an image's symbols
_FINE = -3  # the exponent of the finest steps that are tried
_ROUND_FROM = 0.6  # a fraction of a step from which a change is rounded away from zero


def prior_networks(prior: FittedPrior, lmbda_code: int) -> Networks:
    """The networks that a fit starts from."""
    return Networks.of(prior.machine_at(lmbda_code), ContextWeights.from_integers(prior.networks))


def flat_changes(networks: Networks, start: Networks) -> Float32:
    """What networks differ from a start by, in the units and the order of `FittedPrior.split`.

    Returns:
        float32 [weights].
    """
    parts = [np.asarray(new - old).ravel() for new, old in zip(networks.machine, start.machine, strict=True)]
    for name in CONTEXT_CHANGES:
        for new, old in zip(getattr(networks.contexts, name), getattr(start.contexts, name), strict=True):
            change = np.asarray(new - old)
            change = change * unit_of(name).astype(np.float32).reshape(-1, *[1] * (change.ndim - 1))
            parts.append((change.T if name in BY_LEVEL else change).ravel())
    return np.concatenate(parts)


def rounded(prior: FittedPrior, changes: Float32, exponents: tuple[int, ...]) -> NetworkChanges:
    """The nearest changes in steps; small ones become zero, which takes the fewest bits."""
    steps = changes / prior.step_sizes(exponents)
    whole = np.sign(steps) * np.floor(np.abs(steps) + (1 - _ROUND_FROM))
    return NetworkChanges(exponents, whole.astype(np.int32))


def decoder_networks(prior: FittedPrior, lmbda_code: int, changes: NetworkChanges) -> Networks:
    """The networks of an image as its decoder has them."""
    contexts, machine = prior.networks_of(lmbda_code, changes)
    return Networks.of(machine, ContextWeights.from_integers(contexts.networks))


def quantize_networks(prior: FittedPrior, lmbda_code: int, networks: Networks, cost: Cost) -> NetworkChanges:
    """Chooses the steps of each kind of change so that cost and bits of the networks are least.

    One kind after the other, all coarser steps are tried. (The cost has several minima: steps of
    context networks are at least 1.)

    Args:
        prior: The prior.
        lmbda_code: The code of the image's multiplier; see `latents.grids`.
        networks: The fitted networks.
        cost: The cost of an image with given networks, in bits.
    """
    flat = flat_changes(networks, prior_networks(prior, lmbda_code))
    exponents = [_FINE] * len(CHANGE_NAMES)

    def total(tried: list[int]) -> float:
        changes = rounded(prior, flat, tuple(tried))
        return cost(decoder_networks(prior, lmbda_code, changes)) + change_bits(prior, changes)[0]

    best = total(exponents)
    for kind in range(len(CHANGE_NAMES)):
        for exponent in range(_FINE + 1, EXPONENTS[-1] + 1):
            tried = [*exponents[:kind], exponent, *exponents[kind + 1 :]]
            found = total(tried)
            if found < best:
                best, exponents = found, tried
    return rounded(prior, flat, tuple(exponents))
