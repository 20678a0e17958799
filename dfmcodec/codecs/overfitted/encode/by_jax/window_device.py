"""The loss of windows and its gradient on a GPU.

A GPU has to have much to do at a time, so a program computes up to `LANES` windows. They may be of
several images: windows wait in a line, and whoever finds the device free computes the first of
them, with those of others among them. So images that are fitted by threads of one process fill
programs together. All programs are of the same size, filled or not, so that what a window comes to
does not depend on what is computed beside it.
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
from dfmcodec.codecs.overfitted.encode.by_jax.window_loss import costs_of_window, gradient_of_window
from dfmcodec.codecs.overfitted.encode.networks import Networks
from dfmcodec.codecs.overfitted.encode.window_loss import ImageTerms, Softness, WindowPixels
from dfmcodec.codecs.overfitted.encode.windows import Windows
from dfmcodec.fourier.jax_backend import calls

Shapes = tuple[tuple[int, ...], ...]  # of the arrays of networks
LANES = 24  # windows of a program: those of an image of 768x512


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
        with calls():
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
        with calls():
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
        is_done: Whether it is known, or nobody waits for it any more.
        is_in_line: Whether nobody has taken it out of the line.
    """

    arguments: tuple[Any, ...]
    result: Any = None
    error: Exception | None = None
    is_done: bool = False
    is_in_line: bool = False


_device = threading.Lock()  # held by the thread that computes


class _Line:
    """The windows that wait for a program.

    Args:
        function: What the program computes of a window.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._program = jax.jit(jax.vmap(function))
        self._waiting: deque[_Waiting] = deque()

    def results(self, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """What the program gives of windows, as arrays of NumPy.

        Raises:
            Exception: What the program raised.
        """
        own = [_Waiting(of_window) for of_window in arguments]
        self._queue(own)
        try:
            while not all(window.is_done for window in own):
                with _device:
                    # They are missing where an interrupt has ended a thread that had taken them.
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
        """Takes windows out of the line, `LANES` at most."""
        first: list[_Waiting] = []
        while self._waiting and len(first) < LANES:
            window = self._waiting.popleft()
            window.is_in_line = False
            if not window.is_done:
                first.append(window)
        return first

    def _compute(self, windows: Sequence[_Waiting]) -> None:
        """Computes windows, `LANES` at most."""
        lanes = [window.arguments for window in windows]
        lanes += [lanes[0]] * (LANES - len(lanes))
        try:
            stacked = jax.device_put(jax.tree.map(lambda *parts: np.stack(parts), *lanes), jax.local_devices()[0])
            with jax.default_matmul_precision("highest"):  # a GPU would use TF32
                found = jax.tree.map(np.asarray, self._program(*stacked))
        except Exception as error:
            for window in windows:
                window.error, window.is_done = error, True
        else:
            for lane, window in enumerate(windows):
                window.result, window.is_done = _of_lane(found, lane), True


def _of_lane(found: Any, lane: int) -> Any:
    return jax.tree.map(lambda array: array[lane], found)


def _shapes(weights: Any) -> Shapes:
    return tuple(array.shape for array in jax.tree.leaves(weights))


_lines: dict[tuple[Callable[..., Any], Shapes], _Line] = {}
_making = threading.Lock()


def _line(function: Callable[..., Any], shapes: Shapes) -> _Line:
    """The line of windows with networks of such shapes, which a program can compute together."""
    with _making:
        if (function, shapes) not in _lines:
            _lines[function, shapes] = _Line(function)
        return _lines[function, shapes]
