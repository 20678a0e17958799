"""The joint fit of latents and networks to one image.

The loss is MSE + lmbda * (bpp + bits of the networks per pixel). During the fit, soft rounding with
noise replaces rounding,

    s(x) = floor(x) + 1/2 + tanh((x - floor(x) - 1/2) / T) / (2 tanh(1 / (2 T)))
    q = s(s(x) + noise)

Soft rounding is applied twice, so that the synthesis and context networks cannot learn to invert it
(Agustsson and Theis 2020, "Universally quantized neural compression"; Kim et al. 2024, "C3"). The
temperature T and the noise decrease linearly over the fit, and the learning rates follow a cosine.
Adam updates latents, and SOAP updates networks (`soap`).

A training step visits all windows in random order, in batches. The networks are updated after each
batch. `latents` describes when latents are updated.

On a CPU, threads compute the windows of a batch, each with one core, by kernels. A GPU
computes up to 24 windows at once (`losses`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import InitVar, dataclass, replace
from math import cos, isfinite, log, pi
from typing import Any, NamedTuple, Self

import numpy as np

from dfmcodec._types import Bools, Float32
from dfmcodec.codecs.overfitted.encode.latents import Latents
from dfmcodec.codecs.overfitted.encode.losses import loss_of_windows
from dfmcodec.codecs.overfitted.encode.networks import Networks
from dfmcodec.codecs.overfitted.encode.soap import SoapState, soap_step
from dfmcodec.codecs.overfitted.encode.window_loss import ImageTerms, Softness, WindowPixels
from dfmcodec.codecs.overfitted.encode.windows import Windows, window_samples
from dfmcodec.codecs.overfitted.grids import GRID_LEVELS, grid_sizes, symbol_step
from dfmcodec.image import PEAK_CODE_VALUE
from dfmcodec.image.region import CHANNELS
from dfmcodec.perception import psnr_of_mse

_SMOOTH_FRACTION = 0.3  # fraction of a scale below which the cost of a delta is smooth
_SPREADS = 0.2, 3.4  # limits of the ratio of an image's scales to the pretrained ones; files code up to 3.36
_SHORT_FIT = 600  # number of steps below which a fit is short
_SHORT_FIT_RATE, _SHORT_FIT_BATCH = 4e-3, 8
_LARGEST_GRADIENT = 0.1  # maximum norm of all gradients of the networks together


@dataclass(frozen=True)
class FitSchedule:
    """The schedule of a fit."""

    steps: int
    wavelet_rate: float = 0.2  # the initial learning rate of latents, in symbols
    level_rates: tuple[float, ...] = (1.4, 1.4, 1.6, 2.0, 2.8, 4.0, 5.6)  # factors of it for each grid, from the finest
    network_rate: float = 6e-3  # the initial learning rate of networks
    batch: int = 24  # the maximum number of windows between two updates of the networks
    temperatures: tuple[float, float] = (0.42, 0.08)  # of soft rounding at the first and the last step
    noises: tuple[float, float] = (0.22, 0.15)  # standard deviations at the first and the last step, in symbols
    last_fraction: float = 1e-3  # of the learning rates, in the last steps and in further steps
    frozen_fraction: float = 0.4  # of the steps, in which the latents of smooth areas stay zero
    rounding_known_from: float = 0.5  # the fraction of the steps after which the rounding of networks is known
    rounding_from: float = 0.9  # the fraction of the steps after which networks are rounded
    networks_until: float = 0.97  # the fraction of the steps after which networks are constant
    further_from: float = 0.8  # the fraction of the fit whose rates and noise further steps start with
    further_fraction: float = 0.06  # further steps at once, as a fraction of the steps

    @classmethod
    def of(cls, steps: int) -> FitSchedule:
        """Returns the best schedule for some steps. Short fits update networks more often."""
        return cls(steps) if steps >= _SHORT_FIT else cls(steps, network_rate=_SHORT_FIT_RATE, batch=_SHORT_FIT_BATCH)


class FitState(NamedTuple):
    """The state that a training step changes."""

    networks: Networks
    network_moments: SoapState
    moving_latents: Latents

    @property
    def latents(self) -> tuple[Float32, ...]:
        """Returns the latents in symbols, float32 [h_l, w_l]."""
        return self.moving_latents.values

    @property
    def is_finite(self) -> bool:
        """Indicates whether networks and latents are finite; measurements may be, even so."""
        return all(bool(np.isfinite(values).all()) for values in (self.networks.flat, *self.latents))


@dataclass(frozen=True)
class Measured:
    """A state with rounded latents and with colours rounded to code values."""

    bits: float  # of all symbols
    mse: float  # of samples in [0, 1]; by `Fit.measured`, with the pixel weights of the fit, and from its target
    score: float | None = None  # SSIMULACRA2; None if it is not measured

    @property
    def is_finite(self) -> bool:
        """Indicates whether bits and errors are finite."""
        return isfinite(self.bits) and isfinite(self.mse)

    @property
    def psnr_db(self) -> float:
        """Returns the PSNR."""
        return psnr_of_mse(self.mse * PEAK_CODE_VALUE**2)


@dataclass(eq=False)
class Fit:
    """The fit of an RGB image."""

    colours: InitVar[Float32]  # float32 [3, H, W] in [0, 1]
    lmbda: float  # the Lagrange multiplier of bits in the loss; may be changed between steps
    lmbda_code: int  # determines the step size of symbols; see `codecs.overfitted.grids`
    first: Networks  # the initial networks
    schedule: FitSchedule
    scales: Networks | None = None  # of the distributions of deltas from `first`; None if deltas cost no bits
    seed: int = 0  # of the noise and of the order of windows
    frozen: Sequence[Bools] = ()  # latents of the finest grids that stay zero at first, bool [h_l, w_l]; see `smooth`
    rate_fraction: float = 1.0  # of the bits of deltas in the loss; below 1 for a crop of a larger image
    peak: int = PEAK_CODE_VALUE  # the largest code value of the image
    weights: InitVar[Float32 | None] = None  # of the squared errors of pixels, float32 [H, W]

    def __post_init__(self, colours: Float32, weights: Float32 | None) -> None:
        self.height: int = colours.shape[1]
        self.width: int = colours.shape[2]
        self._windows = Windows.of(self.height, self.width)
        pixel_weights = self._windows.pixel_weights()
        if weights is not None:
            pixel_weights *= self._windows.pixels(weights[None])[:, 0]
        parts = self._windows.pixels(colours), pixel_weights, self._windows.corners
        self._loss = loss_of_windows(self._windows, [WindowPixels(*window) for window in zip(*parts, strict=True)])

    def aimed_at(self, colours: Float32) -> Self:
        """Returns the fit with other colours that pixels aim at, float32 [3, H, W]."""
        other = copy(self)
        other._loss = self._loss.aimed_at(colours)
        return other

    @property
    def _window_count(self) -> int:
        return len(self._windows.corners)

    @property
    def pixel_count(self) -> int:
        """Returns the number of pixels of the image."""
        return self.height * self.width

    def start(self, latents: Sequence[Float32] | None = None) -> FitState:
        """Returns the state before the first step; latents, in symbols, are zeros if None."""
        if latents is None:
            latents = [np.zeros(size, dtype=np.float32) for size in grid_sizes(self.height, self.width)]
        return FitState(self.first, SoapState.start(self.first.in_parts), Latents.start(latents))

    def with_lmbda(self, lmbda: float) -> Self:
        """Returns the fit with another Lagrange multiplier."""
        other = copy(self)
        other.lmbda = lmbda
        return other

    def rescheduled(self, **changes: Any) -> Self:
        """Returns the fit with changes of its schedule."""
        other = copy(self)
        other.schedule = replace(self.schedule, **changes)
        return other

    def step(
        self,
        state: FitState,
        number: int,
        moves_networks: bool = True,
        rounding: Callable[[Networks], Networks] | None = None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> FitState:
        """Runs a training step.

        Args:
            state: The state before the step.
            number: The number of steps before it.
            moves_networks: Indicates whether networks are updated too, and not only latents.
            rounding: Returns the networks at which the gradient is computed (straight-through
                estimator: Bengio et al. 2013, arXiv 1308.3432); None for the networks of the state.
            should_stop: Called before each batch; True ends the step.
        """
        fraction_done = min(1.0, number / self.schedule.steps)
        left = max(self.schedule.last_fraction, 0.5 * (1 + cos(pi * fraction_done)))
        ends = self.schedule.temperatures, self.schedule.noises
        temperature, noise = (np.float32(a + (b - a) * fraction_done) for a, b in ends)
        wavelet_rates = [self.schedule.wavelet_rate * factor * left for factor in self.schedule.level_rates]
        networks, moments, latents = state.networks, state.network_moments, state.moving_latents.copy()
        random = np.random.default_rng((self.seed, number))
        order = random.permutation(self._window_count)
        seeds = random.integers(1 << 32, size=len(order), dtype=np.uint32)
        image = self._image()
        for numbers in np.array_split(order, -(-len(order) // self.schedule.batch)):
            batch = numbers.tolist()
            if should_stop():
                break
            weights = self._loss.weights(networks if rounding is None else rounding(networks))
            softness = {window: Softness(temperature, noise, seeds[window]) for window in batch}
            gradients = self._loss.gradients(weights, image, latents.values, softness)
            for window, (_, grad_latents) in zip(batch, gradients, strict=True):
                latents.add(self._windows, window, grad_latents)
            for window in batch:
                latents.move(self._windows, window, wavelet_rates, number)
            if moves_networks:
                share = np.float32(len(order) / len(batch) / self.pixel_count)
                total = self._loss.total([grad_weights for grad_weights, _ in gradients])
                rate = np.float32(self.schedule.network_rate * left)
                bit_cost = image.lmbda * np.float32(self.rate_fraction / self.pixel_count)
                networks, moments = self._moved(networks, moments, total, share, bit_cost, rate)
        if fraction_done < self.schedule.frozen_fraction:
            for grid, frozen in zip(latents.values, self.frozen, strict=False):
                grid[frozen] = 0
        return FitState(networks, moments, latents)

    def decoded(self, state: FitState) -> Float32:
        """Returns the colours of a state as decoders reproduce them, with rounded latents and
        colours rounded to code values, float32 [3, H, W].
        """
        grids = [np.rint(grid) for grid in state.latents]
        windows = self._loss.colours(self._loss.weights(state.networks), self._image(), grids)
        return np.stack([self._windows.joined(planes) for planes in zip(*windows, strict=True)])

    def measured(self, state: FitState, windows: int | None = None) -> Measured:
        """Measures a state as decoders reproduce it, in all windows or some that are spread over
        the image.
        """
        every = 1 if windows is None else -(-self._window_count // windows)
        numbers = range(0, self._window_count, every)
        costs = self._costs(state.networks, [np.rint(grid) for grid in state.latents], numbers)
        factor = self._window_count / len(numbers)
        errors, bits = (factor * sum(float(pair[which].sum(dtype=np.float64)) for pair in costs) for which in (0, 1))
        return Measured(bits, errors / (CHANNELS * self.pixel_count))

    def cost(self, measured: Measured) -> float:
        """Returns the cost of a measured state in bits: squared errors / lmbda + symbols' bits."""
        return measured.mse * self.pixel_count / self.lmbda + measured.bits

    def gradients(self, networks: Networks, grids: Sequence[Float32]) -> Iterator[Networks]:
        """Returns the gradient of the loss of each window with respect to the weights, in bits, for
        given symbols (integers), float32 [h_l, w_l].
        """
        image = self._image()
        weights = self._loss.weights(networks)
        softness = Softness(np.float32(self.schedule.temperatures[0]), np.float32(0), np.uint32(0))  # keeps integers
        for first in range(0, self._window_count, self.schedule.batch):
            windows = range(first, min(first + self.schedule.batch, self._window_count))
            for grad_weights, _ in self._loss.gradients(weights, image, grids, dict.fromkeys(windows, softness)):
                yield self._loss.total([grad_weights]).mapped(lambda part: part / np.float32(self.lmbda))

    def costs(self, networks: Networks, grids: Sequence[Float32]) -> Float32:
        """Returns the loss of each pixel in bits, float32 [H, W]: squared errors divided by lmbda,
        plus the bits of each symbol at the first pixel of its cell. Symbols are integers, float32
        [h_l, w_l].
        """
        costs = self._costs(networks, grids, range(self._window_count))
        return self._windows.joined([self._of_pixels(errors, bits) for errors, bits in costs])

    def _costs(
        self, networks: Networks, grids: Sequence[Float32], windows: Sequence[int]
    ) -> list[tuple[Float32, Float32]]:
        """Returns the squared errors of pixels and the bits of symbols in some windows."""
        return self._loss.costs(self._loss.weights(networks), self._image(), grids, windows)

    def _of_pixels(self, errors: Float32, bits: Float32) -> Float32:
        """Returns the costs of a window's pixels, from squared errors and the bits of symbols."""
        costs = errors / np.float32(CHANNELS * self.lmbda)
        for level in range(GRID_LEVELS):
            side = window_samples(level)
            level_bits, bits = bits[: side * side], bits[side * side :]
            costs[:: 1 << level, :: 1 << level] += level_bits.reshape(side, side)
        return costs

    def _moved(
        self,
        networks: Networks,
        moments: SoapState,
        gradient: Networks,
        share: np.float32,
        bit_cost: np.float32,
        rate: np.float32,
    ) -> tuple[Networks, SoapState]:
        """Returns the networks after an update, and the state of the optimiser.

        The gradient is that of a batch of windows, times the number of pixels of the image; `share`
        is its factor. `bit_cost` is the cost of a bit of the networks in the loss.
        """
        with np.errstate(invalid="ignore", over="ignore"):  # a fit that diverges is restarted
            total = gradient.mapped(lambda grad_weights: grad_weights * share)
            if self.scales is not None:
                arrays = networks, self.first, self.scales
                total = total.mapped(lambda *array: _with_rate(bit_cost, *array), *arrays)
            steps, moments = soap_step(_limited(total.in_parts), moments)
            moved = [weights + rate * step for weights, step in zip(networks.in_parts, steps, strict=True)]
        return networks.of_parts(moved), moments

    def _image(self) -> ImageTerms:
        size = np.array([self.height, self.width], dtype=np.int32)
        step = np.float32(symbol_step(self.lmbda_code))
        return ImageTerms(size, np.float32(self.lmbda), step, np.float32(self.peak))


def _limited(gradients: Sequence[Float32]) -> list[Float32]:
    """Scales gradients so that their joint norm is at most `_LARGEST_GRADIENT`."""
    norm = np.sqrt(sum(np.vdot(gradient, gradient) for gradient in gradients))
    factor = np.float32(1 if norm < _LARGEST_GRADIENT else _LARGEST_GRADIENT / norm)
    return [gradient * factor for gradient in gradients]


def _with_rate(bit_cost: np.float32, gradient: Float32, weights: Float32, start: Float32, scales: Float32) -> Float32:
    """Adds the gradient of the bits of an array's weight deltas under Laplace distributions.

    A file shifts the tables of each array to those that minimise the bits of its deltas. The scales
    are therefore the pretrained ones times the mean delta in these units, within limits. A delta in
    an array with small deltas costs more, so arrays that the image does not need stay unchanged.
    """
    apart = (weights - start) / scales
    least, most = _SPREADS
    spread = np.float32(min(max(float(np.abs(apart).mean()), least), most))
    apart = apart / spread
    slopes = apart / np.sqrt(apart**2 + np.float32(_SMOOTH_FRACTION**2))
    return np.asarray(gradient + bit_cost / (np.float32(log(2)) * scales * spread) * slopes)
