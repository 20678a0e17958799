"""The fit: latents and networks of one image together.

The loss is MSE + lmbda * (bpp + bits of the networks per pixel). While latents are fitted, soft
rounding with noise takes the place of rounding,

    s(x) = floor(x) + 1/2 + tanh((x - floor(x) - 1/2) / T) / (2 tanh(1 / (2 T)))
    q = s(s(x) + noise)

twice, so that neither machine nor contexts learn to undo it (Agustsson and Theis 2020, "Universally
quantized neural compression"; Kim et al. 2024, "C3"). Temperature T and noise fall linearly over
the fit, learning rates by a cosine. Latents take steps of Adam, networks of SOAP (`soap`).

A step of the fit goes through all windows in a random order, a few at a time, and networks take a
step after each few: their gradient is much the same everywhere, so that of the whole image is not
worth its time. `latents` tells when latents move.

On a CPU the windows of a few are computed by threads: a compiled program that uses one core for
each window loses less than one that spreads every small operation over all cores. The program of a
window serves images of all sizes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from math import cos, isfinite, log, pi
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dfmcodec._types import Float32
from dfmcodec.encoder.fitted.contexts import ContextWeights, symbol_bits
from dfmcodec.encoder.fitted.latents import Latents
from dfmcodec.encoder.fitted.machine import FINE_CHROMA, start_machine, window_colours
from dfmcodec.encoder.fitted.memory import keep_freed_memory
from dfmcodec.encoder.fitted.soap import soap
from dfmcodec.encoder.fitted.windows import Grids, Windows, window_samples
from dfmcodec.fourier.jax_backend import calls, use_compilation_cache
from dfmcodec.image import PEAK_LEVEL
from dfmcodec.latents.geometry import CHANNELS
from dfmcodec.latents.grids import grid_sizes, symbol_step
from dfmcodec.metrics import psnr_of_mse
from dfmcodec.synthesis.fitted import FittedMachine

_SMOOTH_PART = 0.3  # of a scale: below it the price of a change is smooth
_STACKED = ("filters", "stages", "stage_constants")  # arrays of the synthesis with a part for each layer
_LARGEST_GRADIENT = 0.1  # the norm of all gradients of the networks together
_FEW = 4  # windows between two steps of the networks


class Networks(NamedTuple):
    """The networks of an image.

    Args:
        machine: The synthesis.
        contexts: The context network.
    """

    machine: FittedMachine
    contexts: ContextWeights

    @classmethod
    def start(cls, seed: int, width: int = 32, context_width: int = 24, axes: str = FINE_CHROMA) -> Networks:
        """Random networks.

        Args:
            seed: Of the random numbers.
            width: The dimension that the synthesis lifts vectors to.
            context_width: The units of a layer of the context networks.
            axes: The axes of the grids' colours; see `start_machine`.
        """
        rng = np.random.default_rng(seed)
        return cls(start_machine(rng, width, axes), ContextWeights.start(rng, context_width))

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
        level_rates: Factors on it for the grids, from the finest on. Where symbols are finer, more
            of them make the same difference in colour.
        network_rate: That of networks.
        temperatures: Of soft rounding at the first and the last step.
        noises: Standard deviations of the noise at the first and the last step, in symbols.
        free: The arrays of context networks that change.
        last_part: The least part of the learning rates, in the last steps and in those that follow.
    """

    steps: int
    latent_rate: float = 0.2
    level_rates: tuple[float, ...] = (1.4, 1.4, 1.6, 2.0, 2.8, 4.0, 5.6)
    network_rate: float = 3e-3
    temperatures: tuple[float, float] = (0.42, 0.08)
    noises: tuple[float, float] = (0.22, 0.15)
    free: tuple[str, ...] = ContextWeights._fields
    last_part: float = 1e-3


class State(NamedTuple):
    """What a step of the fit changes.

    Args:
        networks: The networks.
        network_moments: What their optimiser keeps.
        moving_latents: The latents, with what their optimiser keeps.
    """

    networks: Networks
    network_moments: optax.OptState
    moving_latents: Latents

    @property
    def latents(self) -> list[Float32]:
        """The latents in symbols, float32 [h_l, w_l]."""
        return self.moving_latents.values


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
    def is_finite(self) -> bool:
        """Whether the fit has not come to NaN or infinite values."""
        return isfinite(self.bits) and isfinite(self.mse)

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


class _Softness(NamedTuple):
    """How soft rounding is at a step: temperature and standard deviation of the noise, with a key
    of random numbers.
    """

    temperature: jax.Array
    noise: jax.Array
    key: jax.Array

    def symbols(self, latents: Grids) -> Grids:
        """Latents after soft rounding."""
        symbols = []
        for level, grid in enumerate(latents):
            shaken = self.noise * jax.random.normal(jax.random.fold_in(self.key, level), grid.shape)
            symbols.append(soft_round(soft_round(grid, self.temperature) + shaken, self.temperature))
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
    """The colours of a window, and the bits of each symbol."""
    bits = symbol_bits(networks.contexts, grids, window.corner, image.size)
    colours = window_colours(networks.machine, [grid * image.step for grid in grids])
    return colours, bits


def _window_loss(
    moving: Moving, networks: Networks, image: _Image, latents: Grids, softness: _Softness, window: _Window
) -> jax.Array:
    """The part of a window in the loss, times the pixels of the image."""
    colours, bits = _colours_and_bits(networks.moved(moving), image, softness.symbols(latents), window)
    errors = ((colours - window.colours) ** 2 * window.inside[None]).sum()
    return errors / colours.shape[0] + image.lmbda * bits.sum()


def _window_gradient(
    moving: Moving, networks: Networks, image: _Image, latents: Grids, softness: _Softness, window: _Window
) -> tuple[Moving, Grids]:
    """The gradient of a window by what moves and by its latents."""
    gradient: tuple[Moving, Grids] = jax.grad(_window_loss, argnums=(0, 3))(
        moving, networks, image, latents, softness, window
    )
    return gradient


def _errors_and_bits(networks: Networks, image: _Image, grids: Grids, window: _Window) -> tuple[jax.Array, jax.Array]:
    """The squared error of each pixel of a window with whole symbols, and the bits of each."""
    colours, bits = _colours_and_bits(networks, image, grids, window)
    values = jnp.round(jnp.clip(colours, 0, 1) * PEAK_LEVEL) / PEAK_LEVEL
    return ((values - window.colours) ** 2 * window.inside[None]).sum(axis=0), bits


def _window_measures(networks: Networks, image: _Image, grids: Grids, window: _Window) -> tuple[jax.Array, jax.Array]:
    """The squared error and the bits of a window with whole symbols."""
    errors, bits = _errors_and_bits(networks, image, grids, window)
    return errors.sum(), bits.sum()


def _window_costs(networks: Networks, image: _Image, grids: Grids, window: _Window) -> jax.Array:
    """The loss of each pixel of a window with whole symbols, in bits; see `Fit.costs`."""
    errors, bits = _errors_and_bits(networks, image, grids, window)
    costs = errors / (CHANNELS * image.lmbda)
    for level in range(len(grids)):
        count = window_samples(level)
        of_level, bits = bits[: count * count], bits[count * count :]
        costs = costs.at[:: 1 << level, :: 1 << level].add(of_level.reshape(count, count))
    return costs


@dataclass(frozen=True)
class _Programs:
    """The compiled programs; JAX compiles them once, whatever the image."""

    gradient: Callable[..., tuple[Moving, Grids]]
    measures: Callable[..., tuple[jax.Array, jax.Array]]
    costs: Callable[..., jax.Array]
    move: Callable[..., tuple[Networks, optax.OptState]]

    @classmethod
    def compiled(cls) -> _Programs:
        one_core = {"xla_cpu_multi_thread_eigen": False} if _is_on_cpu() else None
        return cls(
            jax.jit(_window_gradient, compiler_options=one_core),
            jax.jit(_window_measures, compiler_options=one_core),
            jax.jit(_window_costs, compiler_options=one_core),
            jax.jit(_moved, static_argnames="free"),
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
        seed: Of the noise and of the order of windows.
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
        keep_freed_memory()
        self.height: int = colours.shape[1]
        self.width: int = colours.shape[2]
        self.lmbda = lmbda
        self.lmbda_code = lmbda_code
        self.recipe = recipe
        self._start = start
        self._scales = scales
        self._seed = seed
        self._key = jax.random.PRNGKey(seed)
        self._windows = Windows.of(self.height, self.width)
        parts = self._windows.pixels(colours), self._windows.inside(), self._windows.corners
        self._window_parts = [_Window(*map(jnp.asarray, window)) for window in zip(*parts, strict=True)]
        self._threads = min(len(self._window_parts), _FEW, os.cpu_count() or 1) if _is_on_cpu() else 1
        self._programs = _programs()

    @property
    def pixel_count(self) -> int:
        """The pixels of the image."""
        return self.height * self.width

    def start(self, latents: Sequence[Float32] | None = None) -> State:
        """The state before the first step.

        Args:
            latents: In symbols, float32 [h_l, w_l]; zeros if None.
        """
        if latents is None:
            latents = [np.zeros(size, dtype=np.float32) for size in grid_sizes(self.height, self.width)]
        moments = _network_optimizer().init(self._start.moving(self.recipe.free))
        return State(self._start, moments, Latents.start(latents))

    def shorten(self, steps: int) -> None:
        """Makes the fit end after so many steps, with rates and noise as such a fit has them."""
        self.recipe = replace(self.recipe, steps=steps)

    def slow_down(self) -> None:
        """Halves the learning rate of networks, after the fit has come to NaN."""
        self.recipe = replace(self.recipe, network_rate=self.recipe.network_rate / 2)

    @contextmanager
    def threads(self) -> Iterator[ThreadPoolExecutor]:
        """The threads that go through windows."""
        with ThreadPoolExecutor(self._threads) as executor:
            yield executor

    def step(
        self,
        state: State,
        number: int,
        executor: ThreadPoolExecutor,
        moves_networks: bool = True,
        rounding: Callable[[Networks], Networks] | None = None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> State:
        """Takes a step.

        Args:
            state: What it starts from.
            number: The number of steps before it.
            executor: Of `threads`.
            moves_networks: Whether networks change, or latents alone.
            rounding: What gives the networks whose gradient moves those of the state, if not they
                themselves (straight-through: Bengio et al. 2013, arXiv 1308.3432).
            should_stop: Asked before each few windows; True ends the step there.
        """
        part_done = min(1.0, number / self.recipe.steps)
        left = max(self.recipe.last_part, 0.5 * (1 + cos(pi * part_done)))
        ends = self.recipe.temperatures, self.recipe.noises
        temperature, noise = (jnp.float32(a + (b - a) * part_done) for a, b in ends)
        latent_rates = [self.recipe.latent_rate * factor * left for factor in self.recipe.level_rates]
        networks, moments, latents = state.networks, state.network_moments, state.moving_latents.copy()
        order = np.random.default_rng((self._seed, number)).permutation(len(self._window_parts))
        with calls():
            image = self._image()
            keys = jax.random.split(jax.random.fold_in(self._key, number), len(order))
            for few in np.array_split(order, -(-len(order) // _FEW)):
                if should_stop():
                    break
                seen = networks if rounding is None else rounding(networks)
                work = partial(self._gradient, seen, latents.values, image)
                softness = [_Softness(temperature, noise, keys[window]) for window in few]
                found = list(executor.map(work, few, softness))
                for window, (_, by_latents) in zip(few, found, strict=True):
                    latents.add(self._windows, window, by_latents)
                for window in few:
                    latents.move(self._windows, window, latent_rates, number)
                if moves_networks:
                    share = jnp.float32(len(order) / len(few) / self.pixel_count)
                    rate = jnp.float32(self.recipe.network_rate * left)
                    gradients = [by_moving for by_moving, _ in found]
                    price = image.lmbda / self.pixel_count
                    networks, moments = self._programs.move(
                        networks,
                        moments,
                        gradients,
                        share,
                        price,
                        rate,
                        self._start,
                        self._scales,
                        free=self.recipe.free,
                    )
        return State(networks, moments, latents)

    def _gradient(
        self, networks: Networks, latents: Sequence[Float32], image: _Image, window: int, softness: _Softness
    ) -> tuple[Moving, list[Float32]]:
        """The gradient of a window by what moves and by the latents that it sees."""
        moving, seen = networks.moving(self.recipe.free), self._windows.cut(window, latents)
        part = self._window_parts[window]
        by_moving, by_latents = self._programs.gradient(moving, networks, image, seen, softness, part)
        return by_moving, [np.asarray(grid) for grid in by_latents]

    def measured(self, state: State, executor: ThreadPoolExecutor, windows: int | None = None) -> Measured:
        """Measures a state as a decoder would see it.

        Args:
            state: The state.
            executor: Of `threads`.
            windows: From so many windows all over the image, if it has more; from all if None.
        """
        every = 1 if windows is None else -(-len(self._window_parts) // windows)
        rounded = [np.rint(grid) for grid in state.latents]
        with calls():
            image = self._image()

            def measures(window: int) -> tuple[float, float]:
                errors, bits = self._programs.measures(
                    state.networks, image, self._windows.cut(window, rounded), self._window_parts[window]
                )
                return float(errors), float(bits)

            found = list(executor.map(measures, range(0, len(self._window_parts), every)))
        whole = len(self._window_parts) / len(found)
        errors, bits = (whole * sum(pair[which] for pair in found) for which in (0, 1))
        return Measured(bits, errors / (CHANNELS * self.pixel_count))

    def costs(self, networks: Networks, grids: Sequence[Float32], executor: ThreadPoolExecutor) -> Float32:
        """The loss pixel by pixel, in bits: squared errors over the multiplier, and the bits of
        each symbol at the first pixel of its cell.

        Args:
            networks: The networks.
            grids: The symbols, whole numbers, float32 [h_l, w_l].
            executor: Of `threads`.

        Returns:
            float32 [H, W].
        """
        with calls():
            image = self._image()

            def costs(window: int) -> Float32:
                cut = self._windows.cut(window, grids)
                return np.asarray(self._programs.costs(networks, image, cut, self._window_parts[window]))

            found = list(executor.map(costs, range(len(self._window_parts))))
        return self._windows.joined(found)

    def _image(self) -> _Image:
        scalars = (jnp.float32(x) for x in (self.lmbda, symbol_step(self.lmbda_code)))
        return _Image(jnp.array([self.height, self.width], dtype=jnp.int32), *scalars)


def _moved(
    networks: Networks,
    moments: optax.OptState,
    gradients: Sequence[Moving],
    share: jax.Array,
    price: jax.Array,
    rate: jax.Array,
    start: Networks,
    scales: Moving | None,
    free: tuple[str, ...],
) -> tuple[Networks, optax.OptState]:
    """The networks after a step, from the gradients of a few windows.

    Args:
        networks: What moves.
        moments: What the optimiser keeps.
        gradients: Of each window, times the pixels of the image.
        share: What their sum is multiplied by.
        price: Of a bit of the networks in the loss.
        rate: The learning rate.
        start: The networks that changes are from.
        scales: Those of changes; see `Fit`.
        free: The arrays of the contexts that change.
    """
    total = jax.tree.map(lambda *parts: sum(parts) * share, *gradients)
    moving = networks.moving(free)
    if scales is not None:
        total = jax.tree.map(partial(_with_price, price), total, moving, start.moving(free), scales)
    changes, moments = _network_optimizer().update(total, moments, moving)
    return networks.moved(jax.tree.map(lambda weight, change: weight + rate * change, moving, changes)), moments


@lru_cache(maxsize=1)
def _network_optimizer() -> optax.GradientTransformation:
    return optax.chain(optax.clip_by_global_norm(_LARGEST_GRADIENT), soap(_unit_rate))


def _with_price(
    price: jax.Array, gradient: jax.Array, weight: jax.Array, start: jax.Array, scale: jax.Array
) -> jax.Array:
    """Adds the gradient of a weight's bits under a Laplace distribution around its start."""
    apart = (weight - start) / scale
    return gradient + price / (log(2) * scale) * apart / jnp.sqrt(apart**2 + _SMOOTH_PART**2)


def _is_on_cpu() -> bool:
    return jax.default_backend() == "cpu"


@lru_cache(maxsize=1)
def _programs() -> _Programs:
    return _Programs.compiled()
