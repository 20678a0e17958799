"""Fits of a crop without single components of the overfitted codec.

    python benchmarks/overfitted_ablations.py ../shared/data/kodak/kodim05.png --crop 0,0,256,384

J is MSE / lmbda + bpp with the MSE of samples in [0, 1] and the bits of the symbols; "J, networks"
includes the networks of a file. Fits with other layers start from random networks and are computed
by JAX; compare them with "cold". All have the same number of training steps.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import pi
from pathlib import Path
from typing import Any
from unittest.mock import patch

import click
import jax
import jax.numpy as jnp
import numpy as np
from recording import Row, crop_option, cropped, load, out_option, record

from dfmcodec.codecs.overfitted.encode import fit as fitting
from dfmcodec.codecs.overfitted.encode.by_jax import synthesis as synthesis_program
from dfmcodec.codecs.overfitted.encode.by_jax.window_loss import LossByJax
from dfmcodec.codecs.overfitted.encode.coordinate_descent import descend
from dfmcodec.codecs.overfitted.encode.fit import Fit, FitState
from dfmcodec.codecs.overfitted.encode.networks import Networks
from dfmcodec.codecs.overfitted.encode.plan import weights_and_schedule
from dfmcodec.codecs.overfitted.encode.quantize import choose_rounding, delta_scales, pretrained_networks
from dfmcodec.codecs.overfitted.encode.refine import refined
from dfmcodec.codecs.overfitted.encode.smooth import smooth_latents
from dfmcodec.codecs.overfitted.encode.windows import colours_of
from dfmcodec.codecs.overfitted.grids import code_of_lmbda
from dfmcodec.codecs.overfitted.sections.networks import write_networks
from dfmcodec.codecs.overfitted.weights import OverfittedWeights
from dfmcodec.image import Image
from training.start import start_networks

Change = Callable[[Networks], Networks]
CONTEXT_WIDTH = 24
ROUNDING_FROM, FIXED_FROM = 0.9, 0.97  # fractions of the training steps, as in files
ROUNDING_WINDOWS = 8
STEPS_PER_TRIAL = 6  # of refined networks


def same(networks: Networks) -> Networks:
    """Returns all networks as they are fitted."""
    return networks


@dataclass(frozen=True)
class Variant:
    """A fit without a component.

    Args:
        name: The name in the rows.
        limited: Returns, for the shipped networks, a function that restricts fitted networks.
        holds: Whether latents of smooth areas are frozen at first.
        descends: Whether coordinate descent over the finest grid follows.
        refines: Whether single weights move by a step before it, as they do in files.
        cold: Makes random networks; None for the shipped ones, whose weight deltas are counted.
        activation: Replaces cos(2 pi t) - 1 and sin(2 pi t); None for these.
    """

    name: str
    limited: Callable[[Networks], Change] = lambda start: same
    holds: bool = True
    descends: bool = True
    refines: bool = False
    cold: Callable[[int], Networks] | None = None
    activation: Callable[[jax.Array], tuple[jax.Array, ...]] | None = None


def _without(*names: str) -> Callable[[Networks], Change]:
    """Sets arrays of the synthesis network to zero."""

    def change(networks: Networks) -> Networks:
        zeros = {name: np.zeros_like(getattr(networks.synthesis, name)) for name in names}
        return networks.with_synthesis(**zeros)

    return lambda start: change


def _shipped_synthesis(start: Networks) -> Change:
    return lambda networks: Networks(start.synthesis, networks.contexts)


def _shipped_contexts(start: Networks) -> Change:
    return lambda networks: Networks(networks.synthesis, start.contexts)


def cold(width: int, terms: int) -> Callable[[int], Networks]:
    """Returns random networks.

    Args:
        width: The dimension of the synthesis network.
        terms: The number of outputs of its activation for each input.
    """

    def start(seed: int) -> Networks:
        networks = start_networks(seed, width, CONTEXT_WIDTH)
        layer = networks.synthesis.layer
        wider = np.resize(layer, (len(layer), terms * width))
        return networks.with_synthesis(layer=wider)

    return start


def second_order(turns: jax.Array) -> tuple[jax.Array, ...]:
    """Returns Fourier terms up to order 2, less 1 where they are even."""
    angles = 2 * pi * turns
    return jnp.cos(angles) - 1, jnp.sin(angles), jnp.cos(2 * angles) - 1, jnp.sin(2 * angles)


def rectified(turns: jax.Array) -> tuple[jax.Array, ...]:
    """Returns both sides of rectified linear units."""
    angles = 2 * pi * turns
    return jnp.maximum(angles, 0), jnp.maximum(-angles, 0)


VARIANTS = (
    Variant("as it is"),
    Variant("with refined networks", refines=True),
    Variant("shipped synthesis network", _shipped_synthesis),
    Variant("shipped context network", _shipped_contexts),
    Variant("shipped networks", lambda start: lambda networks: start),
    Variant("no residual stages", _without("stages", "stage_constants")),
    Variant("no Fourier layer", _without("layer")),
    Variant("no frozen latents", holds=False),
    Variant("no coordinate descent", descends=False),
    Variant("cold", cold=cold(32, 2)),
    Variant("cold, order 2 of as many multiply-adds", cold=cold(22, 4), activation=second_order),
    Variant("cold, ReLU of as many multiply-adds", cold=cold(32, 2), activation=rectified),
    Variant("cold, no Fourier layer", _without("layer"), cold=cold(32, 2)),
)


@contextmanager
def by_jax(activation: Callable[[jax.Array], tuple[jax.Array, ...]]) -> Iterator[None]:
    """Fits by JAX with another activation."""
    jax.clear_caches()  # type: ignore[no-untyped-call]
    with (
        patch.object(fitting, "loss_of_windows", LossByJax),
        patch.object(synthesis_program, "cosine_less_one_and_sine", activation),
    ):
        yield
    jax.clear_caches()  # type: ignore[no-untyped-call]


def figures(variant: Variant, image: Image, lmbda: float, steps: int, seed: int) -> Row:
    """Returns the figures of a fit."""
    colours = colours_of(image)
    weights, schedule = weights_and_schedule(colours, lmbda, steps)
    frozen = smooth_latents(colours, lmbda) if variant.holds else []
    start, scales = pretrained_networks(weights), delta_scales(weights)
    limit = variant.limited(start)
    started = time.perf_counter()
    random = None if variant.cold is None else variant.cold(seed)
    fit = Fit(
        *(colours, lmbda, code_of_lmbda(lmbda), start if random is None else random, schedule),
        scales if random is None else None,
        seed,
        frozen,
    )
    grids, networks, network_bytes = _fitted(fit, limit, weights if random is None else None, variant)
    state = fit.start(grids)
    found = fit.measured(FitState(networks, state.network_moments, state.moving_latents))
    bpp = found.bits / fit.pixel_count
    of_symbols = found.mse / lmbda + bpp
    complete = None if network_bytes is None else round(of_symbols + 8 * network_bytes / fit.pixel_count, 4)
    return {
        "fit": variant.name,
        "lmbda": lmbda,
        "steps": steps,
        "seed": seed,
        "bpp": round(bpp, 4),
        "psnr_db": round(found.psnr_db, 2),
        "networks": network_bytes,
        "J": round(of_symbols, 4),
        "J, networks": complete,
        "s": round(time.perf_counter() - started, 1),
    }


def _both(first: Change, second: Change) -> Change:
    return lambda networks: second(first(networks))


def _fitted(
    fit: Fit, limit: Change, weights: OverfittedWeights | None, variant: Variant
) -> tuple[list[np.ndarray[Any, np.dtype[np.float32]]], Networks, int | None]:
    """Returns symbols and networks of a fit, and the bytes of networks with shipped weights."""
    steps, state, rounding = fit.schedule.steps, fit.start(), limit
    network_bytes: int | None = None

    def cost(networks: Networks) -> float:
        as_tried = FitState(networks, state.network_moments, state.moving_latents)
        return fit.cost(fit.measured(as_tried, ROUNDING_WINDOWS))

    chosen = None
    for number in range(steps):
        if weights is not None and chosen is None and number >= ROUNDING_FROM * steps:
            chosen = choose_rounding(weights, limit(state.networks), cost)
            rounding = _both(limit, chosen)
        state = fit.step(state, number, number < FIXED_FROM * steps, rounding)
    networks = rounding(state.networks)
    if chosen is not None and variant.refines:
        networks = refined(fit, state, chosen, steps // STEPS_PER_TRIAL, lambda: False)
    if weights is not None and chosen is not None:
        network_bytes = len(write_networks(weights, chosen.deltas(limit(networks))))
    finest, *coarser = (np.rint(grid) for grid in state.latents)
    if variant.descends:
        descend(finest, lambda tried: fit.costs(networks, [tried, *coarser]), lambda: False)
    return [finest, *coarser], networks, network_bytes


@click.command(help=__doc__)
@click.argument("image")
@crop_option
@click.option("--lmbda", type=float, default=1e-3, help="The Lagrange multiplier of bits in the loss.")
@click.option("--steps", type=int, default=600)
@click.option("--seed", type=int, default=0)
@click.option("--only", help="Only fits whose name has this.")
@out_option
def main(image: str, crop: str | None, lmbda: float, steps: int, seed: int, only: str | None, out: Path | None) -> None:
    name, loaded = load(image)
    complete = cropped(loaded, crop)

    def rows() -> Iterator[Row]:
        for variant in VARIANTS:
            if only is not None and only not in variant.name:
                continue
            if variant.activation is None:
                yield {"picture": name, **figures(variant, complete, lmbda, steps, seed)}
            else:
                with by_jax(variant.activation):
                    yield {"picture": name, **figures(variant, complete, lmbda, steps, seed)}

    record(rows(), out)


if __name__ == "__main__":
    main()
