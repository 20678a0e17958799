"""The interface of the window losses: kernels (`window_kernel`) and programs of JAX (`by_jax`)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self

import numpy as np

from dfmcodec._types import Float32
from dfmcodec.codecs.overfitted.encode.networks import Networks
from dfmcodec.codecs.overfitted.encode.windows import Windows


class ImageTerms(NamedTuple):
    """The values that all windows of an image share."""

    size: np.ndarray[Any, np.dtype[np.int32]]  # height and width in pixels, int32 [2]
    lmbda: np.float32  # the Lagrange multiplier of bits in the loss
    step: np.float32  # the step size of symbols; see `codecs.overfitted.grids.symbol_step`
    peak: np.float32  # the largest code value; a decoder rounds colours to multiples of 1 / peak


class Softness(NamedTuple):
    """The parameters of soft rounding in a window at a training step."""

    temperature: np.float32
    noise: np.float32  # the standard deviation, in symbols
    seed: np.uint32  # of the noise


class WindowPixels(NamedTuple):
    """The pixels of a window."""

    colours: Any  # float32 [C, WINDOW, WINDOW], in [0, 1]
    pixel_weights: Any  # the weight of each pixel's squared error, 0 beyond the image, float32 [WINDOW, WINDOW]
    corner: Any  # the first row and column, int32 [2]


Softnesses = Mapping[int, Softness]  # of some windows, by their numbers
# For each window, the gradient by the weights, for `WindowLoss.total`; and the gradient by the
# latents of the window, in the order of `Windows.cut`, one grid after the other.
Gradients = list[tuple[Any, Float32]]
# For each window, the squared error of each pixel, float32 [WINDOW, WINDOW], and the bits of each
# symbol, float32 [M], grid by grid from the finest.
Costs = list[tuple[Float32, Float32]]


@dataclass(frozen=True)
class WindowLoss(ABC):
    """The loss of the windows of an image."""

    windows: Windows
    pixels: Sequence[WindowPixels]  # of each window

    def aimed_at(self, colours: Float32) -> Self:
        """Returns the loss with other colours that pixels aim at, float32 [C, H, W]."""
        windows = zip(self.pixels, self.windows.pixels(colours), strict=True)
        return replace(self, pixels=[pixels._replace(colours=cut) for pixels, cut in windows])

    @abstractmethod
    def weights(self, networks: Networks) -> Any:
        """Returns networks in the form that the other methods accept, for use with many windows."""

    @abstractmethod
    def gradients(self, weights: Any, image: ImageTerms, latents: Sequence[Float32], softness: Softnesses) -> Gradients:
        """Returns the gradients of the contributions of windows to the loss, times the number of
        pixels of the image, whose latents are float32 [h_l, w_l].
        """

    @abstractmethod
    def total(self, gradients: Sequence[Any]) -> Networks:
        """Returns the sum of the gradients of several windows with respect to the weights."""

    @abstractmethod
    def colours(self, weights: Any, image: ImageTerms, grids: Sequence[Float32]) -> list[Float32]:
        """Returns the colours of each window from integer symbols, rounded to code values, float32
        [C, WINDOW, WINDOW] in [0, 1].
        """

    @abstractmethod
    def costs(self, weights: Any, image: ImageTerms, grids: Sequence[Float32], windows: Sequence[int]) -> Costs:
        """Returns the costs of integer symbols of windows."""
