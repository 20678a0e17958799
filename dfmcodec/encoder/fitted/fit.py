"""The fit: latents and networks of one image together.

The loss is MSE + lmbda * (bpp + bits of the networks per pixel). While latents are fitted, soft
rounding with noise takes the place of rounding,

    s(x) = floor(x) + 1/2 + tanh((x - floor(x) - 1/2) / T) / (2 tanh(1 / (2 T)))
    q = s(s(x) + noise)

twice, so that neither machine nor contexts learn to undo it (Agustsson and Theis 2020, "Universally
quantized neural compression"; Kim et al. 2024, "C3"). Temperature T and noise fall linearly over
the fit, learning rates by a cosine. Latents take steps of Adam, networks of SOAP (`soap`).

A step sums the gradients of all windows. On a CPU each of a few threads goes through a part of
them: a compiled program that uses one core for each window loses less than one that spreads every
small operation over all cores. The program of a window serves images of all sizes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from math import cos, log, pi
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dfmcodec._types import Float32
from dfmcodec.encoder.fitted.contexts import ContextWeights, symbol_bits
from dfmcodec.encoder.fitted.machine import start_machine, window_colours
from dfmcodec.encoder.fitted.soap import soap
from dfmcodec.encoder.fitted.windows import Grids, Windows
from dfmcodec.fourier.jax_backend import calls, use_compilation_cache
from dfmcodec.image import PEAK_LEVEL
from dfmcodec.latents.grids import symbol_step
from dfmcodec.metrics import psnr_of_mse
from dfmcodec.synthesis.fitted import FittedMachine

_SMOOTH_PART = 0.3  # of a scale: below it the price of a change is smooth
_STACKED = ("filters", "stages", "stage_constants")  # arrays of the synthesis with a part for each layer
_LARGEST_GRADIENT = 0.1  # the norm of all gradients of the networks together


class Networks(NamedTuple):
    """The networks of an image.

    Args:
        machine: The synthesis.
        contexts: The context network.
    """

    machine: FittedMachine
    contexts: ContextWeights

    @classmethod
    def start(cls, seed: int, width: int = 32, context_width: int = 24) -> Networks:
        """Random networks.

        Args:
            seed: Of the random numbers.
            width: The dimension that the synthesis lifts vectors to.
            context_width: The units of a layer of the context networks.
        """
        rng = np.random.default_rng(seed)
        return cls(start_machine(rng, width), ContextWeights.start(rng, context_width))

    @classmethod
    def of(cls, machine: FittedMachine, contexts: ContextWeights) -> Networks:
        """Those of a synthesis of any arrays and of context networks."""
        return cls(jax.tree.map(jnp.asarray, machine), contexts)

    @property
    def weight_count(self) -> int:
        """The number of weights of synthesis and contexts."""
        return sum(int(array.size) for array in jax.tree.leaves(self))

    def moving(self, free: Sequence[str]) -> Moving:
        """The synthesis, and those arrays of the context networks that a fit changes."""
        machine = {
            name: tuple(weights) if name in _STACKED else weights for name, weights in self.machine._asdict().items()
        }
        return Moving(machine, {name: getattr(self.contexts, name) for name in free})

    def moved(self, moving: Moving) -> Networks:
        """The networks with other values of what a fit changes."""
        stacked = {name: jnp.stack(moving.machine[name]) for name in _STACKED}
        return Networks(FittedMachine(**{**moving.machine, **stacked}), self.contexts._replace(**moving.contexts))


class Moving(NamedTuple):
    """The weights that a fit changes.

    Args:
        machine: The arrays of the synthesis by name; those of several filters or stages in parts,
            as an optimiser is to see them: vectors and matrices.
        contexts: Arrays of the context networks by their names in `ContextWeights`.
    """

    machine: dict[str, Any]
    contexts: dict[str, jax.Array]


@dataclass(frozen=True)
class Recipe:
    """How a fit goes.

    Args:
        steps: The number of steps.
        latent_rate: The first learning rate of latents, in symbols.
        network_rate: That of networks.
        temperatures: Of soft rounding at the first and the last step.
        noises: Standard deviations of the noise at the first and the last step, in symbols.
        free: The arrays of context networks that change.
        last_part: The least part of the learning rates, in the last steps and in those that follow.
    """

    steps: int
    latent_rate: float = 0.16
    network_rate: float = 1e-2
    temperatures: tuple[float, float] = (0.35, 0.08)
    noises: tuple[float, float] = (0.22, 0.15)
    free: tuple[str, ...] = ContextWeights._fields
    last_part: float = 1e-3


class State(NamedTuple):
    """What a step of the fit changes."""

    networks: Networks
    latents: Grids
    network_moments: optax.OptState
    latent_moments: optax.OptState


@dataclass(frozen=True)
class Measured:
    """A state with its latents rounded and its colours as code values.

    Args:
        bits: Of all symbols.
        mse: The mean squared error of samples in [0, 1].
    """

    bits: float
    mse: float

    @property
    def psnr_db(self) -> float:
        """The PSNR of 8-bit samples."""
        return psnr_of_mse(self.mse * PEAK_LEVEL**2)


def soft_round(x: jax.Array, temperature: jax.Array) -> jax.Array:
    """Rounds softly; see the module."""
    middle = jnp.floor(x) + 0.5
    return middle + 0.5 * jnp.tanh((x - middle) / temperature) / jnp.tanh(0.5 / temperature)


def _unit_rate(step: jax.Array) -> jax.Array:
    return jnp.ones(())


def _soft_symbols(latents: Grids, key: jax.Array, temperature: jax.Array, noise: jax.Array) -> Grids:
    symbols = []
    for level, grid in enumerate(latents):
        shaken = noise * jax.random.normal(jax.random.fold_in(key, level), grid.shape)
        symbols.append(soft_round(soft_round(grid, temperature) + shaken, temperature))
    return symbols


class _Window(NamedTuple):
    """A window of the image.

    Args:
        colours: float32 [C, WINDOW, WINDOW], in [0, 1].
        inside: 1 for pixels of the image, float32 [WINDOW, WINDOW].
        corner: int32 [2].
    """

    colours: jax.Array
    inside: jax.Array
    corner: jax.Array


class _Image(NamedTuple):
    """What all windows share.

    Args:
        size: The height and width in pixels, int32 [2].
        lmbda: The multiplier of the loss, float32 [].
        step: The step of symbols; see `latents.grids.symbol_step`.
    """

    size: jax.Array
    lmbda: jax.Array
    step: jax.Array


def _colours_and_bits(networks: Networks, image: _Image, grids: Grids, window: _Window) -> tuple[jax.Array, jax.Array]:
    bits = symbol_bits(networks.contexts, grids, window.corner, image.size).sum()
    colours = window_colours(networks.machine, [grid * image.step for grid in grids])
    return colours, bits


def _window_loss(moving: Moving, networks: Networks, image: _Image, grids: Grids, window: _Window) -> jax.Array:
    """The part of a window in the loss, times the pixels of the image."""
    colours, bits = _colours_and_bits(networks.moved(moving), image, grids, window)
    errors = ((colours - window.colours) ** 2 * window.inside[None]).sum()
    return errors / colours.shape[0] + image.lmbda * bits


def _window_gradient(
    total: Moving, moving: Moving, networks: Networks, image: _Image, grids: Grids, window: _Window
) -> tuple[Moving, Grids]:
    """Adds the gradient of a window by what moves to a total, and computes that by its grids."""
    by_moving, by_grids = jax.grad(_window_loss, argnums=(0, 3))(moving, networks, image, grids, window)
    return jax.tree.map(jnp.add, total, by_moving), by_grids


def _window_measures(networks: Networks, image: _Image, grids: Grids, window: _Window) -> tuple[jax.Array, jax.Array]:
    """The squared error and the bits of a window with whole symbols."""
    colours, bits = _colours_and_bits(networks, image, grids, window)
    values = jnp.round(jnp.clip(colours, 0, 1) * PEAK_LEVEL) / PEAK_LEVEL
    return ((values - window.colours) ** 2 * window.inside[None]).sum(), bits


@dataclass(frozen=True)
class _Programs:
    """The compiled programs of a window; JAX compiles them once, whatever the image."""

    gradient: Callable[..., tuple[Moving, Grids]]
    measures: Callable[..., tuple[jax.Array, jax.Array]]

    @classmethod
    def compiled(cls) -> _Programs:
        one_core = {"xla_cpu_multi_thread_eigen": False} if jax.default_backend() == "cpu" else None
        return cls(
            jax.jit(_window_gradient, compiler_options=one_core, donate_argnums=0),
            jax.jit(_window_measures, compiler_options=one_core),
        )


class Fit:
    """The fit of an RGB image.

    Args:
        colours: float32 [3, H, W] in [0, 1].
        lmbda: The multiplier of bits in the loss. `lmbda` may be changed between steps.
        lmbda_code: The code that gives the step of symbols; see `latents.grids`.
        start: The networks to start from.
        recipe: How the fit goes.
        scales: The scale of the Laplace distribution of each weight's change from `start`; None if
            changes are to cost no bits.
        seed: Of the noise.
    """

    def __init__(
        self,
        colours: Float32,
        lmbda: float,
        lmbda_code: int,
        start: Networks,
        recipe: Recipe,
        scales: Moving | None = None,
        seed: int = 0,
    ) -> None:
        use_compilation_cache()
        self.height: int = colours.shape[1]
        self.width: int = colours.shape[2]
        self.lmbda = lmbda
        self.lmbda_code = lmbda_code
        self.recipe = recipe
        self._start = start
        self._scales = scales
        self._key = jax.random.PRNGKey(seed)
        self._windows = Windows.of(self.height, self.width)
        parts = self._windows.pixels(colours), self._windows.inside(), self._windows.corners
        self._window_parts = [_Window(*map(jnp.asarray, window)) for window in zip(*parts, strict=True)]
        self._threads = min(len(self._window_parts), os.cpu_count() or 1) if jax.default_backend() == "cpu" else 1
        self._network_optimizer = optax.chain(optax.clip_by_global_norm(_LARGEST_GRADIENT), soap(_unit_rate))
        self._latent_optimizer = optax.chain(optax.scale_by_adam(), optax.scale(-1.0))
        self._programs = _programs()
        self._cut = jax.jit(self._windows.cut)
        self._soft_windows = jax.jit(self._soft_window_grids)
        self._apply = jax.jit(self._applied, static_argnames="moves_networks")

    @property
    def pixel_count(self) -> int:
        """The pixels of the image."""
        return self.height * self.width

    def start(self, latents: Grids) -> State:
        """The state before the first step.

        Args:
            latents: In symbols, float32 [h_l, w_l].
        """
        networks = self._start
        moving = networks.moving(self.recipe.free)
        return State(networks, latents, self._network_optimizer.init(moving), self._latent_optimizer.init(latents))

    @contextmanager
    def threads(self) -> Iterator[ThreadPoolExecutor]:
        """The threads that go through windows."""
        with ThreadPoolExecutor(self._threads) as executor:
            yield executor

    def step(self, state: State, number: int, executor: ThreadPoolExecutor, moves_networks: bool = True) -> State:
        """Takes a step.

        Args:
            state: What it starts from.
            number: The number of steps before it.
            executor: Of `threads`.
            moves_networks: Whether networks change, or latents alone.
        """
        part_done = min(1.0, number / self.recipe.steps)
        left = max(self.recipe.last_part, 0.5 * (1 + cos(pi * part_done)))
        rates = jnp.float32(self.recipe.latent_rate * left), jnp.float32(self.recipe.network_rate * left)
        ends = self.recipe.temperatures, self.recipe.noises
        temperature, noise = (jnp.float32(a + (b - a) * part_done) for a, b in ends)
        key = jax.random.fold_in(self._key, number)
        with calls():
            windows = [np.asarray(grid) for grid in self._soft_windows(state.latents, key, temperature, noise)]
            image = self._image()
            work = partial(self._gradients_of, state.networks, image, windows)
            found = list(executor.map(work, range(self._threads)))
            by_networks = [part for part, _ in found]
            by_windows = [
                np.stack([found[w % self._threads][1][w // self._threads][level] for w in range(len(windows[0]))])
                for level in range(len(windows))
            ]
            following: State = self._apply(
                state,
                by_networks,
                by_windows,
                key,
                temperature,
                noise,
                image.lmbda,
                rates,
                moves_networks=moves_networks,
            )
        return following

    def measured(self, state: State, executor: ThreadPoolExecutor) -> Measured:
        """Measures a state as a decoder would see it."""
        with calls():
            rounded = [jnp.round(grid) for grid in state.latents]
            windows = [np.asarray(grid) for grid in self._cut(rounded)]
            work = partial(self._measures_of, state.networks, self._image(), windows)
            found = [pair for pairs in executor.map(work, range(self._threads)) for pair in pairs]
        errors, bits = (sum(pair[which] for pair in found) for which in (0, 1))
        return Measured(bits, errors / (3 * self.pixel_count))

    def _image(self) -> _Image:
        scalars = (jnp.float32(x) for x in (self.lmbda, symbol_step(self.lmbda_code)))
        return _Image(jnp.array([self.height, self.width], dtype=jnp.int32), *scalars)

    def _gradients_of(
        self, networks: Networks, image: _Image, windows: Sequence[Float32], thread: int
    ) -> tuple[Moving, list[list[Float32]]]:
        """The gradients of the windows of a thread, by what moves and by each window's grids."""
        moving = networks.moving(self.recipe.free)
        total = jax.tree.map(jnp.zeros_like, moving)
        by_grids = []
        for number in range(thread, len(self._window_parts), self._threads):
            grids = [grid[number] for grid in windows]
            total, by_window = self._programs.gradient(
                total, moving, networks, image, grids, self._window_parts[number]
            )
            by_grids.append([np.asarray(grid) for grid in by_window])
        return total, by_grids

    def _measures_of(
        self, networks: Networks, image: _Image, windows: Sequence[Float32], thread: int
    ) -> list[tuple[float, float]]:
        found = []
        for number in range(thread, len(self._window_parts), self._threads):
            grids = [grid[number] for grid in windows]
            errors, bits = self._programs.measures(networks, image, grids, self._window_parts[number])
            found.append((float(errors), float(bits)))
        return found

    def _soft_window_grids(self, latents: Grids, key: jax.Array, temperature: jax.Array, noise: jax.Array) -> Grids:
        return self._windows.cut(_soft_symbols(latents, key, temperature, noise))

    def _applied(
        self,
        state: State,
        by_networks: Sequence[Moving],
        by_windows: Grids,
        key: jax.Array,
        temperature: jax.Array,
        noise: jax.Array,
        lmbda: jax.Array,
        rates: tuple[jax.Array, jax.Array],
        *,
        moves_networks: bool,
    ) -> State:
        """The state after a step, from the gradients of all windows."""
        _, pull_back = jax.vjp(lambda latents: self._soft_window_grids(latents, key, temperature, noise), state.latents)
        (by_latents,) = pull_back(by_windows)
        changes, latent_moments = self._latent_optimizer.update(by_latents, state.latent_moments, state.latents)
        latents = [grid + rates[0] * change for grid, change in zip(state.latents, changes, strict=True)]
        if not moves_networks:
            return state._replace(latents=latents, latent_moments=latent_moments)
        total = jax.tree.map(lambda *parts: sum(parts) / self.pixel_count, *by_networks)
        moving, start = state.networks.moving(self.recipe.free), self._start.moving(self.recipe.free)
        if self._scales is not None:
            price = partial(_with_price, lmbda / self.pixel_count)
            total = jax.tree.map(price, total, moving, start, self._scales)
        changes, network_moments = self._network_optimizer.update(total, state.network_moments, moving)
        moving = jax.tree.map(lambda weight, change: weight + rates[1] * change, moving, changes)
        return State(state.networks.moved(moving), latents, network_moments, latent_moments)


def _with_price(
    price: jax.Array, gradient: jax.Array, weight: jax.Array, start: jax.Array, scale: jax.Array
) -> jax.Array:
    """Adds the gradient of a weight's bits under a Laplace distribution around its start."""
    apart = (weight - start) / scale
    return gradient + price / (log(2) * scale) * apart / jnp.sqrt(apart**2 + _SMOOTH_PART**2)


@lru_cache(maxsize=1)
def _programs() -> _Programs:
    return _Programs.compiled()
