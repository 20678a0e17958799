"""The target of a fit with the tune `visual`: colours that make the remaining errors less visible.

A training step minimises squared errors of pixels, sum_i w_i (x_i - t_i)^2. Between two refreshes
of the target, visible error is represented by its derivative g at the current decoded image x:
pixels aim at t = x - g / (2 w), where a step has the gradient g. The derivative is a mixture of

- that of the weighted squared errors of wavelet coefficients, which the wavelet codec minimises
  (`Distortion`), and
- that of SSIMULACRA2,

each scaled so that its product with the errors equals that of the squared errors, which keeps the
balance of errors and bits. As the derivative changes with x, a target keeps a fraction of the
previous shift, and shifts are limited. docs/results/overfitted.md, "Fits with the tune visual".
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from dfmcodec._types import Float32
from dfmcodec.codecs.overfitted.encode.windows import colours_of
from dfmcodec.image import Image, peak_value, to_values
from dfmcodec.perception.distortion import Distortion, pixel_weights
from dfmcodec.perception.ssimulacra2 import ALL_SCALES_SIDE, ssimulacra2_and_slopes

_SCORE_FRACTION = np.float32(0.15)  # of SSIMULACRA2's derivative in the mixture
_KEPT_FRACTION = np.float32(0.85)  # of the previous shift
_LARGEST_SHIFT = np.float32(4)  # in root mean squares of the errors
_TINY = 1e-20


@dataclass(frozen=True)
class DecodedFigures:
    """The figures of a decoded image."""

    mse: float  # of samples in [0, 1]
    score: float | None  # SSIMULACRA2; None for images with a side below `ALL_SCALES_SIDE`


@dataclass(frozen=True)
class VisibleTarget:
    """The colours that the pixels of an image aim at."""

    image: Image
    original: Float32  # the colours of the image, float32 [3, H, W] in [0, 1]
    pixel_weights: Float32  # float32 [H, W], mean 1
    distortion: Distortion
    shift: Float32 | None = None  # of the target from the original, float32 [3, H, W]; None for none
    figures: DecodedFigures | None = None  # the figures of the decoded image that the shift follows from

    @classmethod
    def of(cls, image: Image) -> VisibleTarget:
        """Returns the target before the first step: the image itself."""
        colours = colours_of(image)
        return cls(image, colours, pixel_weights(colours), Distortion.of(image.pixels))

    @property
    def colours(self) -> Float32:
        """Returns the colours to aim at, float32 [3, H, W]."""
        return self.original if self.shift is None else self.original + self.shift

    def after(self, decoded: Float32) -> VisibleTarget:
        """Returns the target after a decoded image, float32 [3, H, W] in [0, 1]."""
        if self.image.channels == 1:
            decoded = np.broadcast_to(decoded.mean(axis=0), decoded.shape)
        errors = decoded - self.original
        if self.image.visible is not None:
            errors *= self.image.visible
        score, gradient = self._score_and_gradient(decoded, errors)
        mse = float(np.mean(errors**2))
        largest = _LARGEST_SHIFT * np.float32(np.sqrt(mse))
        if self.image.visible is not None:
            gradient *= self.image.visible
        gradient /= -2 * self.pixel_weights
        gradient += errors
        shift = np.clip(gradient, -largest, largest, out=gradient)
        if self.shift is not None:
            shift *= 1 - _KEPT_FRACTION
            shift += _KEPT_FRACTION * self.shift
        return replace(self, shift=shift, figures=DecodedFigures(mse, score))

    def _score_and_gradient(self, decoded: Float32, errors: Float32) -> tuple[float | None, Float32]:
        """Returns SSIMULACRA2 and the mixture of derivatives, float32 [3, H, W]."""
        work = 2 * float(np.vdot(self.pixel_weights * errors, errors))
        gradient = self.distortion.slopes(errors)
        if min(self.image.height, self.image.width) < ALL_SCALES_SIDE:
            gradient *= _scale(gradient, errors, work)
            return None, gradient
        score, slopes = self._score_and_slopes(decoded)
        gradient *= (1 - _SCORE_FRACTION) * _scale(gradient, errors, work)
        gradient += _SCORE_FRACTION * _scale(slopes, errors, work) * slopes
        return score, gradient

    def _score_and_slopes(self, decoded: Float32) -> tuple[float, Float32]:
        """Returns SSIMULACRA2 and its derivative up to a negative factor, float32 [3, H, W]."""
        values = decoded.transpose(1, 2, 0)[:, :, : self.image.channels] * np.float32(peak_value(self.image.bit_depth))
        score, slopes = ssimulacra2_and_slopes(self.image.pixels, to_values(values, self.image.bit_depth))
        return score, np.broadcast_to(slopes, decoded.shape)


def _scale(slopes: Float32, errors: Float32, work: float) -> np.float32:
    """Returns the factor of a derivative with which its product with the errors is `work`; 0 if
    there is none.
    """
    product = float(np.vdot(slopes, errors))
    return np.float32(work / product if product > _TINY else 0)
