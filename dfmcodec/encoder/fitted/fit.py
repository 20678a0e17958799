"""The fit: latents and networks of one image together, from nothing.

The loss is MSE + lmbda * bpp. A latent z stands for the symbol round(GAIN z). While it is fitted,
soft rounding with noise takes the place of rounding,

    s(x) = floor(x) + 1/2 + tanh((x - floor(x) - 1/2) / T) / (2 tanh(1 / (2 T)))
    q = s(s(GAIN z) + noise)

twice, so that neither machine nor contexts learn to undo it (Agustsson and Theis 2020, "Universally
quantized neural compression"; Kim et al. 2024, "C3"). Temperature T and noise fall linearly over
the fit, learning rates by a cosine. Latents take steps of Adam, networks of SOAP (`soap`).

A step sums the gradients of all windows. On a CPU each of a few threads goes through a part of
them: a compiled program that uses one core for each window loses less than one that spreads every
small operation over all cores.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from math import pi
from typing import Literal, NamedTuple, Protocol, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dfmcodec._types import Pixels
from dfmcodec.encoder.fitted.contexts import ContextWeights, symbol_bits
from dfmcodec.encoder.fitted.machine import Activation, MachineWeights, window_colours
from dfmcodec.encoder.fitted.soap import soap
from dfmcodec.encoder.fitted.windows import Grids, Windows, grid_sizes
from dfmcodec.fourier.jax_backend import calls, use_compilation_cache
from dfmcodec.image import PEAK_LEVEL
from dfmcodec.metrics import psnr_of_mse

GAIN = 16.0  # symbols for a latent of 1
LEARNING_RATE = 1e-2
_LAST_RATE = 1e-3  # of the learning rate at the last step
_TEMPERATURES = (0.35, 0.08)
_NOISES = (0.22, 0.15)  # standard deviations, in symbols
_WEIGHT_DECAY = 0.01
_LARGEST_GRADIENT = 0.1  # the norm of all gradients of the networks together
_NETWORK_BETA = 0.95  # where Adam takes the place of SOAP
Optimizer = Literal["soap", "adam"]


class Networks(NamedTuple):
    """The networks of an image."""

    machine: MachineWeights
    contexts: ContextWeights

    @classmethod
    def start(cls, seed: int, width: int = 32, context_width: int = 24, activation: Activation = "fourier") -> Networks:
        """Random networks.

        Args:
            seed: Of the random numbers.
            width: The dimensions that the machine lifts vectors to.
            context_width: The units of a layer of the context networks.
            activation: "fourier", or "relu" to compare with.
        """
        rng = np.random.default_rng(seed)
        return cls(MachineWeights.start(rng, width, activation), ContextWeights.start(rng, context_width))

    def weight_counts(self) -> tuple[int, int]:
        """Counts the weights of machine and contexts."""
        machine, contexts = (sum(int(array.size) for array in jax.tree.leaves(part)) for part in self)
        return machine, contexts


class State(NamedTuple):
    """What a step of the fit changes."""

    networks: Networks
    latents: Grids
    network_moments: optax.OptState
    latent_moments: optax.OptState


@dataclass(frozen=True)
class Measured:
    """A fit with its latents rounded and its colours as code values.

    Args:
        step: The number of steps so far.
        bpp: The bits of the symbols per pixel, without those of the networks.
        mse: The mean squared error of samples in [0, 1].
        seconds: The time of these steps, without compilation and measurements.
    """

    step: int
    bpp: float
    mse: float
    seconds: float

    @property
    def psnr_db(self) -> float:
        return psnr_of_mse(self.mse * PEAK_LEVEL**2)

    def cost(self, lmbda: float) -> float:
        """J = MSE / lmbda + bpp."""
        return self.mse / lmbda + self.bpp


def soft_round(x: jax.Array, temperature: jax.Array) -> jax.Array:
    """Rounds softly; see the module."""
    middle = jnp.floor(x) + 0.5
    return middle + 0.5 * jnp.tanh((x - middle) / temperature) / jnp.tanh(0.5 / temperature)


def cosine_schedule(first: float, steps: int) -> optax.Schedule:
    """A learning rate that falls from `first` to _LAST_RATE of it by a cosine."""

    def rate(step: jax.Array) -> jax.Array:
        part_left = 0.5 * (1 + jnp.cos(pi / steps * jnp.minimum(step, steps).astype(jnp.float32)))
        return first * (_LAST_RATE + (1 - _LAST_RATE) * part_left)

    return rate


def _soft_symbols(latents: Grids, key: jax.Array, temperature: jax.Array, noise: jax.Array) -> Grids:
    symbols = []
    for level, grid in enumerate(latents):
        shaken = noise * jax.random.normal(jax.random.fold_in(key, level), grid.shape)
        symbols.append(soft_round(soft_round(GAIN * grid, temperature) + shaken, temperature))
    return symbols


def adam(schedule: optax.Schedule, b1: float = 0.9, b2: float = 0.999) -> optax.GradientTransformation:
    """Adam with a learning rate by the number of steps."""
    return optax.chain(optax.scale_by_adam(b1, b2), optax.scale_by_learning_rate(schedule))


def _network_optimizer(schedule: optax.Schedule, kind: Optimizer) -> optax.GradientTransformation:
    if kind == "soap":
        steps = soap(schedule, _WEIGHT_DECAY)
    else:
        steps = adam(schedule, _NETWORK_BETA, _NETWORK_BETA)
    return optax.chain(optax.clip_by_global_norm(_LARGEST_GRADIENT), steps)


class _Part(NamedTuple):
    """The windows of one thread, N of them.

    Args:
        colours: float32 [N, C, WINDOW, WINDOW], in [0, 1].
        inside: 1 for pixels of the image, float32 [N, WINDOW, WINDOW].
        corners: int32 [N, 2].
    """

    colours: jax.Array
    inside: jax.Array
    corners: jax.Array


Found = TypeVar("Found")


def _wait_for(arrays: object) -> None:
    jax.block_until_ready(arrays)  # type: ignore[no-untyped-call]


class OverParts(Protocol):
    """Goes through all windows, a part of them in each thread."""

    def __call__(self, work: Callable[[_Part, Grids], Found], grids: Grids) -> list[Found]:
        """The results of a function of windows and their grids, one for each thread."""
        ...


class Fit:
    """The fit of an RGB image.

    Args:
        pixels: uint8 [H, W, 3].
        lmbda: The multiplier of bits in the loss, with the MSE of samples in [0, 1].
        steps: The number of steps.
        seed: Of the noise.
        optimizer: That of the networks.
    """

    def __init__(self, pixels: Pixels, lmbda: float, steps: int, seed: int = 0, optimizer: Optimizer = "soap") -> None:
        use_compilation_cache()
        self.height: int = pixels.shape[0]
        self.width: int = pixels.shape[1]
        self.lmbda = lmbda
        self.steps = steps
        self._key = jax.random.PRNGKey(seed)
        self._windows = Windows.of(self.height, self.width)
        samples = pixels.astype(np.float32) * np.float32(1 / PEAK_LEVEL)
        colours = self._windows.pixels(samples.transpose(2, 0, 1))
        whole = _Part(jnp.asarray(colours), jnp.asarray(self._windows.inside()), jnp.asarray(self._windows.corners))
        threads = min(len(self._windows.corners), os.cpu_count() or 1) if jax.default_backend() == "cpu" else 1
        self._slices = [slice(number, None, threads) for number in range(threads)]
        self._parts = [jax.tree.map(lambda array, s=s: array[s], whole) for s in self._slices]
        schedule = cosine_schedule(LEARNING_RATE, steps)
        self._network_optimizer = _network_optimizer(schedule, optimizer)
        self._latent_optimizer = adam(schedule)
        one_core = {"xla_cpu_multi_thread_eigen": False} if jax.default_backend() == "cpu" else None
        self._soft_windows = jax.jit(self._soft_window_grids)
        self._gradients = jax.jit(self._part_gradients, compiler_options=one_core)
        self._measures = jax.jit(self._part_measures, compiler_options=one_core)
        self._apply = jax.jit(self._applied)

    @property
    def pixel_count(self) -> int:
        return self.height * self.width

    def start(self, networks: Networks) -> State:
        """The state before the first step: latents of zero."""
        latents = [jnp.zeros(size) for size in grid_sizes(self.height, self.width)]
        return State(networks, latents, self._network_optimizer.init(networks), self._latent_optimizer.init(latents))

    def run(self, networks: Networks, measured_after: Callable[[int], bool]) -> Iterator[tuple[State, Measured]]:
        """Fits networks and latents from zero.

        Args:
            networks: Where the networks start.
            measured_after: Whether the fit is measured after a number of steps.

        Yields:
            States and their measurements.
        """
        state, seconds = self.start(networks), 0.0
        with self._threads() as over_parts:
            self.step(state, 0, over_parts)  # compiles
            for step in range(self.steps):
                started = time.perf_counter()
                state = self.step(state, step, over_parts)
                _wait_for(state)
                seconds += time.perf_counter() - started
                if measured_after(step + 1):
                    yield state, self.measured(state, step + 1, seconds, over_parts)

    @contextmanager
    def _threads(self) -> Iterator[OverParts]:
        with ThreadPoolExecutor(len(self._parts)) as executor:

            def over_parts(work: Callable[[_Part, Grids], Found], grids: Grids) -> list[Found]:
                def done(number: int) -> Found:
                    found = work(self._parts[number], [grid[self._slices[number]] for grid in grids])
                    _wait_for(found)
                    return found

                return list(executor.map(done, range(len(self._parts))))

            yield over_parts

    def step(self, state: State, step: int, over_parts: OverParts) -> State:
        """Takes a step.

        Args:
            state: What it starts from.
            step: The number of steps before it.
            over_parts: Goes through the windows.
        """
        part_done = step / self.steps
        temperature, noise = (jnp.float32(a + (b - a) * part_done) for a, b in (_TEMPERATURES, _NOISES))
        key = jax.random.fold_in(self._key, step)
        with calls():
            windows = self._soft_windows(state.latents, key, temperature, noise)
            found = over_parts(partial(self._gradients, state.networks), windows)
            following: State = self._apply(state, found, key, temperature, noise)
        return following

    def measured(self, state: State, step: int, seconds: float, over_parts: OverParts) -> Measured:
        """Measures a state as a decoder would see it."""
        with calls():
            windows = self._windows.cut([jnp.round(GAIN * grid) for grid in state.latents])
            found = over_parts(partial(self._measures, state.networks), windows)
        errors, bits = (float(sum(np.asarray(part[which]).sum(dtype=np.float64) for part in found)) for which in (0, 1))
        return Measured(step, bits / self.pixel_count, errors / (3 * self.pixel_count), seconds)

    def _soft_window_grids(self, latents: Grids, key: jax.Array, temperature: jax.Array, noise: jax.Array) -> Grids:
        return self._windows.cut(_soft_symbols(latents, key, temperature, noise))

    def _window_loss(
        self, networks: Networks, grids: Grids, colours: jax.Array, inside: jax.Array, corner: jax.Array
    ) -> jax.Array:
        bits = symbol_bits(networks.contexts, grids, corner, (self.height, self.width)).sum()
        errors = ((window_colours(networks.machine, grids) - colours) ** 2 * inside[None]).sum()
        return (errors / colours.shape[0] + self.lmbda * bits) / self.pixel_count

    def _part_gradients(self, networks: Networks, part: _Part, windows: Grids) -> tuple[Networks, Grids]:
        """The gradient of the windows of a thread by the networks and by each window's grids."""
        gradient = jax.grad(self._window_loss, argnums=(0, 1))

        def of_window(total: Networks, window: tuple[Grids, *_Part]) -> tuple[Networks, Grids]:
            by_networks, by_grids = gradient(networks, *window)
            return jax.tree.map(jnp.add, total, by_networks), by_grids

        return jax.lax.scan(of_window, jax.tree.map(jnp.zeros_like, networks), (windows, *part))

    def _part_measures(self, networks: Networks, part: _Part, windows: Grids) -> tuple[jax.Array, jax.Array]:
        """The squared error and the bits of each window of a thread."""

        def of_window(window: tuple[Grids, *_Part]) -> tuple[jax.Array, jax.Array]:
            grids, colours, inside, corner = window
            values = jnp.round(jnp.clip(window_colours(networks.machine, grids), 0, 1) * PEAK_LEVEL) / PEAK_LEVEL
            errors = ((values - colours) ** 2 * inside[None]).sum()
            return errors, symbol_bits(networks.contexts, grids, corner, (self.height, self.width)).sum()

        measures: tuple[jax.Array, jax.Array] = jax.lax.map(of_window, (windows, *part))
        return measures

    def _applied(
        self,
        state: State,
        gradients: list[tuple[Networks, Grids]],
        key: jax.Array,
        temperature: jax.Array,
        noise: jax.Array,
    ) -> State:
        """The state after a step, from the gradients of all threads."""
        by_networks = jax.tree.map(lambda *parts: sum(parts), *(part for part, _ in gradients))
        by_windows = []
        for grids in zip(*(part for _, part in gradients), strict=True):
            together = jnp.zeros((len(self._windows.corners), *grids[0].shape[1:]))
            for s, grid in zip(self._slices, grids, strict=True):
                together = together.at[s].set(grid)
            by_windows.append(together)
        _, pull_back = jax.vjp(lambda latents: self._soft_window_grids(latents, key, temperature, noise), state.latents)
        (by_latents,) = pull_back(by_windows)
        changes, network_moments = self._network_optimizer.update(by_networks, state.network_moments, state.networks)
        networks = optax.apply_updates(state.networks, changes)
        changes, latent_moments = self._latent_optimizer.update(by_latents, state.latent_moments, state.latents)
        return State(networks, optax.apply_updates(state.latents, changes), network_moments, latent_moments)
