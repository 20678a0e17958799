"""The window loss and its gradient on a GPU.

A program computes up to `LANES` windows, because a GPU is only efficient with much work at once.
Windows of several images wait in one queue. The first thread that finds the device free computes
its own windows together with those of other threads. Images that are fitted by threads of one
process therefore share programs. All programs have the same size, filled or not, so the result of a
window does not depend on the other windows.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from dfmcodec._types import Float32
from dfmcodec.codecs.overfitted.encode.by_jax.window_loss import colours_of_window, costs_of_window, gradient_of_window
from dfmcodec.codecs.overfitted.encode.networks import Networks
from dfmcodec.codecs.overfitted.encode.window_loss import (
    Costs,
    Gradients,
    ImageTerms,
    Softnesses,
    WindowLoss,
)
from dfmcodec.fourier.jax_backend import calls

Shapes = tuple[tuple[int, ...], ...]  # shapes of the arrays of networks
LANES = 24  # windows per program: the number of windows of an image of 768x512


class LossOnDevice(WindowLoss):
    """`WindowLoss` by programs that compute many windows."""

    def weights(self, networks: Networks) -> Any:
        return jax.tree.map(np.asarray, networks)

    def gradients(self, weights: Any, image: ImageTerms, latents: Sequence[Float32], softness: Softnesses) -> Gradients:
        with calls():
            return _line(gradient_of_window, _shapes(weights)).results(
                [
                    (weights, image, self.windows.cut(window, latents), soft, self.pixels[window])
                    for window, soft in softness.items()
                ]
            )

    def total(self, gradients: Sequence[Any]) -> Networks:
        total: Networks = jax.tree.map(lambda *parts: np.sum(parts, axis=0), *gradients)
        return total

    def colours(self, weights: Any, image: ImageTerms, grids: Sequence[Float32]) -> list[Float32]:
        with calls():
            return _line(colours_of_window, _shapes(weights)).results(
                [(weights, image, self.windows.cut(window, grids)) for window in range(len(self.pixels))]
            )

    def costs(self, weights: Any, image: ImageTerms, grids: Sequence[Float32], windows: Sequence[int]) -> Costs:
        with calls():
            return _line(costs_of_window, _shapes(weights)).results(
                [(weights, image, self.windows.cut(window, grids), self.pixels[window]) for window in windows]
            )


@dataclass(eq=False)
class _Waiting:
    """A window in the queue."""

    arguments: tuple[Any, ...]  # of the program for this window
    result: Any = None
    error: Exception | None = None  # that the program raised
    is_done: bool = False  # whether there is a result, or no thread waits for it any more
    is_in_line: bool = False  # whether the window is still in the queue


_device = threading.Lock()  # held by the thread that computes


class _Line:
    """The queue of windows that wait for a program, which computes a function of each window."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._program = jax.jit(jax.vmap(function))
        self._waiting: deque[_Waiting] = deque()

    def results(self, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Returns the results for windows as NumPy arrays, or raises the program's exception."""
        own = [_Waiting(inputs) for inputs in arguments]
        self._queue(own)
        try:
            while not all(window.is_done for window in own):
                with _device:
                    # Results are missing if an interrupt ended a thread that had taken the windows.
                    self._queue([window for window in own if not window.is_done and not window.is_in_line])
                    if not all(window.is_done for window in own):
                        self._compute(self._first())
        finally:
            for window in own:
                window.is_done = True
        for window in own:
            if window.error is not None:
                raise window.error
        return [window.result for window in own]

    def _queue(self, windows: Sequence[_Waiting]) -> None:
        for window in windows:
            window.is_in_line = True
        self._waiting.extend(windows)

    def _first(self) -> list[_Waiting]:
        """Takes at most `LANES` windows out of the queue."""
        first: list[_Waiting] = []
        while self._waiting and len(first) < LANES:
            window = self._waiting.popleft()
            window.is_in_line = False
            if not window.is_done:
                first.append(window)
        return first

    def _compute(self, windows: Sequence[_Waiting]) -> None:
        """Computes at most `LANES` windows."""
        lanes = [window.arguments for window in windows]
        lanes += [lanes[0]] * (LANES - len(lanes))
        try:
            stacked = jax.device_put(jax.tree.map(lambda *parts: np.stack(parts), *lanes), jax.local_devices()[0])
            with jax.default_matmul_precision("highest"):  # a GPU would use TF32 otherwise
                results = jax.tree.map(np.asarray, self._program(*stacked))
        except Exception as error:
            for window in windows:
                window.error, window.is_done = error, True
        else:
            for lane, window in enumerate(windows):
                window.result, window.is_done = _of_lane(results, lane), True


def _of_lane(results: Any, lane: int) -> Any:
    return jax.tree.map(lambda array: array[lane], results)


def _shapes(weights: Any) -> Shapes:
    return tuple(array.shape for array in jax.tree.leaves(weights))


_lines: dict[tuple[Callable[..., Any], Shapes], _Line] = {}
_making = threading.Lock()


def _line(function: Callable[..., Any], shapes: Shapes) -> _Line:
    """Returns the queue of windows with networks of these shapes, which one program can compute."""
    with _making:
        if (function, shapes) not in _lines:
            _lines[function, shapes] = _Line(function)
        return _lines[function, shapes]
