"""What computes the loss of windows and its gradient: kernels (`window_kernel`), or programs of JAX
(`by_jax`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from dfmcodec._types import Float32
from dfmcodec.codecs.overfitted.encode.networks import Networks


class ImageTerms(NamedTuple):
    """What all windows of an image share.

    Args:
        size: The height and width in pixels, int32 [2].
        lmbda: The Lagrange multiplier of bits in the loss.
        step: The step of symbols; see `codecs.overfitted.grids.symbol_step`.
        peak: The largest value of a sample, to whole parts of which a decoder rounds colours.
    """

    size: np.ndarray[Any, np.dtype[np.int32]]
    lmbda: np.float32
    step: np.float32
    peak: np.float32


class Softness(NamedTuple):
    """How soft rounding is in a window at a step of the fit.

    Args:
        temperature: That of `soft_round`.
        noise: The standard deviation of the noise, in symbols.
        seed: Of the noise.
    """

    temperature: np.float32
    noise: np.float32
    seed: np.uint32


class WindowPixels(NamedTuple):
    """A window of the image.

    Args:
        colours: float32 [C, WINDOW, WINDOW], in [0, 1].
        pixel_weights: The weight of each pixel's squared error, 0 beyond the image, float32
            [WINDOW, WINDOW].
        corner: The first row and column, int32 [2].
    """

    colours: Any
    pixel_weights: Any
    corner: Any


class WindowLoss(Protocol):
    """How the loss of an image's windows is computed."""

    def weights(self, networks: Networks) -> Any:
        """Networks as the other methods take them; made once for many windows."""

    def gradients(
        self,
        weights: Any,
        image: ImageTerms,
        latents: Sequence[Float32],
        softness: Sequence[Softness],
        windows: Sequence[int],
    ) -> list[tuple[Any, Float32]]:
        """The gradients of the parts of windows in the loss, times the pixels of the image.

        Args:
            weights: The networks.
            image: What windows share.
            latents: Those of the image, float32 [h_l, w_l].
            softness: How latents are rounded in each window.
            windows: The numbers of the windows.

        Returns:
            For each window the gradient by the weights, for `total`, and that by the latents which
            the window sees, as `Windows.cut` gives them, one grid after the other.
        """

    def total(self, gradients: Sequence[Any]) -> Networks:
        """The sum of the gradients of several windows by the weights."""

    def costs(
        self, weights: Any, image: ImageTerms, grids: Sequence[Float32], windows: Sequence[int]
    ) -> list[tuple[Float32, Float32]]:
        """What whole symbols of windows cost.

        Returns:
            For each window the squared error of each pixel, float32 [WINDOW, WINDOW], and the bits
            of each symbol of the window, float32 [M], grid by grid from the finest on.
        """
