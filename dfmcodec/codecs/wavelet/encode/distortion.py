"""What errors cost: the weights of the squared errors of coefficients, by which an encoder chooses.

The tune `psnr` weighs all alike, which makes the sum the squared error of the image. The tune
`visual` weighs them by how well they are seen: an error is masked by detail of its own size around
it, and coarse errors are seen better than fine ones. The weight of a coefficient in decomposition
level l, orientation o and channel c is

    a[l] b[o] d[c] (v + 60)^-1/2,

with v the energy of luma's detail in the three bands of its level, in squared code values, a mean
over 3x3 cells; and all weights of a tile are divided by the geometric mean of the last factor over
the finest level. Measured by SSIMULACRA2 and Butteraugli on data/kodak, docs/results/visual.md.

A fit has no coefficients; `pixel_weights` weighs its pixels by the variance around them.

What is seen is not a sum of squared errors of coefficients, though: errors that a coarser image, or
the luma of another colour space, has no more of cost less. `TargetShift` moves what symbols aim at,
by SSIMULACRA2's derivative at the image that an iteration made.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dfmcodec._types import Float32, Float64, Tune
from dfmcodec.codecs.wavelet.encode.halves import Halves, from_halves, to_halves
from dfmcodec.codecs.wavelet.passes import PHASES, CodingPass
from dfmcodec.codecs.wavelet.transform import BAND_NORMS, NORM_UNIT, Pyramid
from dfmcodec.image import PEAK_CODE_VALUE

_Bands = tuple[tuple[Halves, Halves, Halves], ...]

_LEVEL_WEIGHTS = (1.0, 1.5, 2.0, 3.0, 3.0, 3.0)
_DIAGONAL = 2  # the orientation that is high along both rows and columns
_DIAGONAL_WEIGHT = 0.6
_CHANNEL_WEIGHTS = (1.0, 0.8, 0.5)  # luma, and the two chroma axes; the second one varies less
_LEAST_ENERGY = np.float32(60)
_LUMA = np.array((0.299, 0.587, 0.114), dtype=np.float32)  # Rec. 601
_PIXEL_EXPONENT = np.float32(-0.55)
_PIXEL_REACH = 4  # pixels of a mean on each side, taken twice: about a Gaussian of 3.7 pixels
_KEPT_FRACTION = np.float32(0.8)  # of the shift before
_TINY = 1e-20
_LARGEST_SHIFT = 2  # root mean squares of a band's errors


@dataclass(frozen=True)
class CoefficientWeights:
    """The weights of the squared errors of a tile's coefficients.

    Args:
        levels: For each decomposition level the weights of cells of 2x2 samples of its image,
            [ceil(h/2), ceil(w/2)].
    """

    levels: tuple[Halves, ...]

    @classmethod
    def of(cls, original: Pyramid, tune: Tune) -> CoefficientWeights | None:
        """Returns the weights for the original's pyramid; None where all are alike."""
        if tune is Tune.PSNR:
            return None
        masked = [1 / np.sqrt(_mean_of_3x3(energy) + _LEAST_ENERGY) for energy in _energies(original)]
        scale = np.exp(-np.mean(np.log(masked[0]), dtype=np.float64))
        weights = zip(masked, _LEVEL_WEIGHTS, strict=False)
        return cls(tuple(to_halves(m * np.float32(scale * w)) for m, w in weights))

    def of_band(self, level: int, orientation: int, shape: tuple[int, int]) -> Float32:
        """Returns the weights of luma's coefficients in a band of the given shape, float32 [rows,
        columns].
        """
        return _oriented(self.levels[level][: shape[0], : shape[1]], orientation)

    def of_pass(self, coding_pass: CodingPass, shape: tuple[int, int]) -> Float32:
        """Returns the weights of the coefficients of a coding pass of a shape, float32 [rows,
        columns].
        """
        y, x = PHASES[coding_pass.phase]
        weights = self.levels[coding_pass.level][y::2, x::2][: shape[0], : shape[1]]
        return _oriented(weights, coding_pass.orientation) * np.float32(_CHANNEL_WEIGHTS[coding_pass.channel])


def _oriented(weights: Halves, orientation: int) -> Float32:
    return from_halves(weights) * np.float32(_DIAGONAL_WEIGHT if orientation == _DIAGONAL else 1)


@dataclass(frozen=True)
class TargetShift:
    """What is added to the coefficients that symbols aim at, so that the errors that are left are
    seen less.

    At errors e and the derivative g of what is seen, both in coefficients, e - g / (s w) is where a
    Newton step with the curvature s w of the weights leads, s the scale at which the weights agree
    best with the derivative. The curvature of what is seen is not diagonal, so that steps of all
    coefficients at once go too far: a part of them is taken after each iteration (a damped Jacobi
    iteration).

    Args:
        bands: Of each level and orientation, [C, rows, columns].
    """

    bands: _Bands

    @classmethod
    def after(
        cls, before: TargetShift | None, errors: Pyramid, slopes: Pyramid, weights: CoefficientWeights, part: float
    ) -> TargetShift:
        """Returns the shift after an iteration.

        Args:
            before: The shift with which it aimed; None for none.
            errors: What it made less the original.
            slopes: The derivative of what is seen by the image that it made.
            weights: Those of the coefficients.
            part: The part of a Newton step that is taken.
        """
        levels = []
        for level, (of_errors, of_slopes) in enumerate(zip(errors.bands, slopes.bands, strict=True)):
            shifts = []
            for orientation, (error, slope) in enumerate(zip(of_errors, of_slopes, strict=True)):
                weight = weights.of_band(level, orientation, error.shape[1:])
                shift = np.float32(part) * _newton_steps(error, slope, weight)
                if before is not None:
                    shift += _KEPT_FRACTION * from_halves(before.bands[level][orientation])
                shifts.append(to_halves(shift))
            levels.append((shifts[0], shifts[1], shifts[2]))
        return cls(tuple(levels))

    def added_to(self, pyramid: Pyramid) -> Pyramid:
        """Returns the coefficients to aim at."""
        levels = [
            (a + from_halves(x), b + from_halves(y), c + from_halves(z))
            for (a, b, c), (x, y, z) in zip(pyramid.bands, self.bands, strict=True)
        ]
        return Pyramid(pyramid.low, tuple(levels))


def pixel_weights(colours: Float32) -> Float32:
    """Returns the weights of the squared errors of pixels for the tune `visual`, of mean 1: (v +
    60)^-0.55 with v the variance of luma around the pixel, in squared code values.

    Args:
        colours: float32 [3, H, W] in [0, 1].

    Returns:
        float32 [H, W].
    """
    luma = PEAK_CODE_VALUE * np.tensordot(_LUMA, colours, 1)
    mean, square = (_wide_mean(plane.astype(np.float64)) for plane in (luma, luma**2))
    weights = (np.maximum(square - mean**2, 0).astype(np.float32) + _LEAST_ENERGY) ** _PIXEL_EXPONENT
    return np.asarray(weights / weights.mean(dtype=np.float64), dtype=np.float32)


def _wide_mean(plane: Float64) -> Float64:
    """Means over squares of `_PIXEL_REACH` pixels on each side, of such means; edges repeated."""
    side = 2 * _PIXEL_REACH + 1
    for axis in (0, 1, 0, 1):
        margin = [(_PIXEL_REACH, _PIXEL_REACH) if axis == along else (0, 0) for along in (0, 1)]
        sums = np.cumsum(np.pad(plane, margin, mode="edge"), axis)
        before = np.concatenate([np.zeros_like(np.take(sums, [0], axis)), np.delete(sums, np.s_[-side:], axis)], axis)
        plane = (np.delete(sums, np.s_[: side - 1], axis) - before) / side
    return plane


def _newton_steps(errors: Float32, slopes: Float32, weights: Float32) -> Float32:
    """Where a Newton step leads from the errors of a band, float32 [C, rows, columns]; 0 for a
    channel whose weights do not agree with the derivative at all.
    """
    steps = np.zeros_like(errors)
    for step, error, slope in zip(steps, errors, slopes, strict=True):
        weighted = weights * error
        scale = np.vdot(slope, weighted) / (np.vdot(weighted, weighted) + _TINY)
        if scale > 0:
            largest = np.float32(_LARGEST_SHIFT * np.sqrt(np.mean(error**2)))
            step[:] = np.clip(error - slope / (scale * weights), -largest, largest)
    return steps


def _energies(pyramid: Pyramid) -> list[Float32]:
    """Returns the energy of luma's detail in the cells of each level, per pixel, squared code
    values; float32 [ceil(h/2), ceil(w/2)].
    """
    energies = []
    for level, bands in enumerate(pyramid.bands):
        rows, columns = (max(band.shape[axis] for band in bands) for axis in (1, 2))
        energy = np.zeros((rows, columns), dtype=np.float32)
        for orientation, band in enumerate(bands):
            norm = np.float32(BAND_NORMS[level][orientation] / NORM_UNIT / 2**level)
            energy[: band.shape[1], : band.shape[2]] += (norm * band[0]) ** 2
        energies.append(energy)
    return energies


def _mean_of_3x3(plane: Float32) -> Float32:
    """Means over 3x3 cells, edges repeated."""
    for axis in (0, 1):
        if plane.shape[axis] == 0:
            continue
        padded = np.pad(plane, [(1, 1) if axis == along else (0, 0) for along in (0, 1)], mode="edge")
        parts = (np.take(padded, range(first, first + plane.shape[axis]), axis) for first in range(3))
        plane = np.add.reduce(list(parts)) / np.float32(3)
    return plane
