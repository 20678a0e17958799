"""The loss of windows and its gradient on a GPU, and which way of computing them a computer takes.

A GPU has to have much to do at a time, so a program computes `LANES` windows. They may be of
several images: windows wait in a line, and whoever finds the device free computes the first of
them, with those of others among them. So images that are fitted by threads of one process fill
programs together. All programs have the same number of windows: what a window comes to does not
depend on what is computed beside it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import jax
import numpy as np

from dfmcodec._types import Float32
from dfmcodec.encoder.fitted.networks import Networks
from dfmcodec.encoder.fitted.window_kernel import LossByKernel
from dfmcodec.encoder.fitted.window_loss import (
    ImageTerms,
    LossByJax,
    Softness,
    WindowLoss,
    WindowPixels,
    costs_of_window,
    gradient_of_window,
    is_on_cpu,
)
from dfmcodec.encoder.fitted.windows import Windows
from dfmcodec.kernels import compiled

LANES = 24  # windows of a program: those of an image of 768x512


def loss_of_windows(windows: Windows, pixels: Sequence[WindowPixels]) -> WindowLoss:
    """How losses are computed on this computer.

    Args:
        windows: The windows of the image.
        pixels: What each of them is to look like.
    """
    if not is_on_cpu():
        return LossOnDevice(windows, pixels)
    return LossByJax(windows, pixels) if compiled is None else LossByKernel(compiled, windows, pixels)


@dataclass(frozen=True)
class LossOnDevice:
    """`WindowLoss` by programs of many windows.

    Args:
        windows: The windows of the image.
        pixels: What each of them is to look like.
    """

    windows: Windows
    pixels: Sequence[WindowPixels]

    def weights(self, networks: Networks) -> Any:
        return jax.tree.map(np.asarray, networks)

    def gradients(
        self,
        weights: Any,
        image: ImageTerms,
        latents: Sequence[Float32],
        softness: Sequence[Softness],
        windows: Sequence[int],
    ) -> list[tuple[Any, Float32]]:
        return _line(gradient_of_window, _shapes(weights)).results(
            [
                (weights, image, self.windows.cut(window, latents), soft, self.pixels[window])
                for soft, window in zip(softness, windows, strict=True)
            ]
        )

    def total(self, gradients: Sequence[Any]) -> Networks:
        total: Networks = jax.tree.map(lambda *parts: np.sum(parts, axis=0), *gradients)
        return total

    def costs(
        self, weights: Any, image: ImageTerms, grids: Sequence[Float32], windows: Sequence[int]
    ) -> list[tuple[Float32, Float32]]:
        return _line(costs_of_window, _shapes(weights)).results(
            [(weights, image, self.windows.cut(window, grids), self.pixels[window]) for window in windows]
        )


@dataclass(eq=False)
class _Waiting:
    """A window in the line.

    Args:
        arguments: What the program takes of it.
        result: What the program gave.
        error: Why it gave nothing.
        is_done: Whether it is known.
    """

    arguments: tuple[Any, ...]
    result: Any = None
    error: BaseException | None = None
    is_done: bool = False


class _Line:
    """The windows that wait for a program.

    Args:
        function: What the program computes of a window.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._program = jax.jit(jax.vmap(function))
        self._waiting: deque[_Waiting] = deque()
        self._device = threading.Lock()

    def results(self, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """What the program gives of windows, as arrays of NumPy.

        Raises:
            Exception: What the program raised.
        """
        own = [_Waiting(of_window) for of_window in arguments]
        self._waiting.extend(own)
        while not all(window.is_done for window in own):
            with self._device:
                if first := [self._waiting.popleft() for _ in range(min(LANES, len(self._waiting)))]:
                    self._compute(first)
        for window in own:
            if window.error is not None:
                raise window.error
        return [window.result for window in own]

    def _compute(self, windows: Sequence[_Waiting]) -> None:
        """Computes windows, `LANES` at most."""
        lanes = [window.arguments for window in windows]
        lanes += [lanes[0]] * (LANES - len(lanes))
        try:
            stacked = jax.device_put(jax.tree.map(lambda *parts: np.stack(parts), *lanes), jax.local_devices()[0])
            with jax.default_matmul_precision("highest"):  # a GPU would use TF32
                found = jax.tree.map(np.asarray, self._program(*stacked))
        except BaseException as error:
            for window in windows:
                window.error = error
            if not isinstance(error, Exception):
                raise
        else:
            for lane, window in enumerate(windows):
                window.result = _of_lane(found, lane)
        finally:
            for window in windows:
                window.is_done = True


def _of_lane(found: Any, lane: int) -> Any:
    return jax.tree.map(lambda array: array[lane], found)


def _shapes(weights: Any) -> tuple[tuple[int, ...], ...]:
    return tuple(array.shape for array in jax.tree.leaves(weights))


@cache
def _line(function: Callable[..., Any], shapes: tuple[tuple[int, ...], ...]) -> _Line:
    """The line of windows with networks of such shapes, which a program can compute together."""
    return _Line(function)
