"""Defines how visible errors are: weights of the squared errors of coefficients and pixels.

The tune `psnr` weighs all errors equally, so their sum is the squared error of the image. The tune
`visual` weighs them by visibility: detail of the same scale nearby masks an error, and coarse
errors are more visible than fine ones. The weight of a coefficient in decomposition level l,
orientation o and channel c is

    a[l] b[o] d[c] (0.7 v + 0.9 v_o + 60)^-0.3 (0.35 u + 60)^-0.2,

where d is 1 for luma. For a chroma axis, d is the product of a factor between 0.8 (red-green) and
0.5 (blue-yellow), according to its direction, and one between 1 and 3 that follows saturation
(`_saturation_factors`): small colourful things would fade, since their chroma is worth few bits in
a sum over the image. v is the energy of luma's detail in the three bands of the level, v_o
that in the band itself (detail masks errors of its own direction most), and u that in the three
bands of the next coarser level, all in squared code values per pixel, averaged over 3x3 cells. The
mean logarithm of the weights of each level is that of a[l] (v + 60)^-1/2. All weights of a tile are
divided by sqrt(m / 12.5), where m is the geometric mean of (v + 60)^-1/2 over the finest level: in
textured tiles, weights are smaller on average, so bits cost more. Measured by three metrics,
docs/results/visual.md.

The trellis of the wavelet codec takes its weights from here (`CoefficientWeights`). The choice
between files compares them by `Distortion`. The overfitted codec has no coefficients: `Distortion`
weighs the coefficients of its errors, and its derivative moves the target of a fit
(`codecs.overfitted.encode.visible_target`).

Visible error is not a sum of squared errors of coefficients, though. Errors that vanish in a
coarser image, or in the luma of another colour space, cost less. `TargetShift` moves the target of
symbols, by the derivative of SSIMULACRA2 at the image of the last iteration.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log

import numpy as np

from dfmcodec._types import Float32, Float64, Pixels, Tune
from dfmcodec.codecs.wavelet.colour import ColourBasis, Luma, pixels_to_planes, principal_chroma_angle
from dfmcodec.codecs.wavelet.compact import Halves, from_halves, to_halves
from dfmcodec.codecs.wavelet.geometry import default_levels
from dfmcodec.codecs.wavelet.passes import PHASES, CodingPass
from dfmcodec.codecs.wavelet.transform import (
    BAND_NORMS,
    LOW_NORMS,
    NORM_UNIT,
    Bands,
    Pyramid,
    analyse,
    analyse_transposed,
)
from dfmcodec.image import PEAK_CODE_VALUE, Image
from dfmcodec.image.region import CHANNELS
from dfmcodec.perception import halved

_Bands = tuple[tuple[Halves, Halves, Halves], ...]

_LEVEL_WEIGHTS = (1.0, 1.5, 2.0, 3.0, 3.0, 3.0)
_DIAGONAL = 2  # the orientation that is high-pass along rows and columns
_DIAGONAL_WEIGHT = 0.6
_RED_GREEN, _BLUE_YELLOW = 0.8, 0.5  # the weights of chroma errors in these directions
_LEAST_ENERGY = np.float32(60)
_OWN_FRACTION = np.float32(0.3)  # of the energy that masks an error: that of the band's own direction
_COARSER_FRACTION = np.float32(0.4)  # the exponent of the energy of the next coarser level
_COARSER_FACTOR = np.float32(0.35)  # of its energy, which is larger
_TYPICAL = 1 / 12.5  # the geometric mean of (v + 60)^-1/2 in a smooth photograph
_COMMON, _RARE = 80, 98  # percentiles of saturation between which the weight of chroma grows
_LARGEST_GAIN = np.float32(2)  # of the weight of chroma
_LEAST_RANGE = np.float32(4)  # of the saturation over which it grows, code values
_LUMA = np.array(Luma.REC_601.weights, dtype=np.float32)
_PIXEL_EXPONENT = np.float32(-0.55)
_PIXEL_REACH = 4  # radius in pixels of a box mean, applied twice: about a Gaussian with a standard deviation of 3.7
_KEPT_FRACTION = np.float32(0.8)  # of the previous shift
_TINY = 1e-20
_LARGEST_SHIFT = 2  # the largest shift, in root mean squares of a band's errors


@dataclass(frozen=True)
class CoefficientWeights:
    """The weights of the squared errors of a tile's coefficients."""

    # for each decomposition level, luma's weights of cells of 2x2 samples of its image,
    # [orientation, ceil(h/2), ceil(w/2)]
    levels: tuple[Halves, ...]
    chroma: tuple[Halves, ...]  # those of chroma, of the same shapes, without the factors of the axes
    factors: tuple[float, ...]  # of luma, which is 1, and of the two chroma axes

    @classmethod
    def of(cls, original: Pyramid, planes: Float32, basis: ColourBasis) -> CoefficientWeights:
        """Returns the weights of the tune `visual` for an original.

        Args:
            original: The pyramid of the original.
            planes: Its planes, float32 [C, H, W], code values.
            basis: The colour basis of the planes.
        """
        energies = [np.stack(list(map(_mean_of_3x3, bands))) for bands in _energies(original)]
        totals = [bands.sum(axis=0) for bands in energies]
        means = [-0.5 * _mean_log(total + _LEAST_ENERGY) for total in totals]
        chromas = planes[1:]
        levels, chroma_levels = [], []
        for level, (bands, mean) in enumerate(zip(energies, means, strict=True)):
            logs = _log_masks(bands, totals[level : level + 2])
            logs += mean - float(logs.mean(dtype=np.float64))  # the mean of (v + 60)^-1/2
            logs += log(_LEVEL_WEIGHTS[level]) - 0.5 * (means[0] + log(_TYPICAL))
            logs[_DIAGONAL] += log(_DIAGONAL_WEIGHT)
            weights = np.exp(logs)
            levels.append(to_halves(weights))
            if len(chromas):
                chromas = halved(chromas)
                weights *= _saturation_factors(np.hypot(*chromas))
            chroma_levels.append(to_halves(weights) if len(chromas) else levels[-1])
        return cls(tuple(levels), tuple(chroma_levels), (1.0, *_chroma_factors(basis)))

    def of_channel(self, level: int, channel: int) -> Halves:
        """Returns the weights of a channel's coefficients in a level without the channel's factor,
        [orientation, rows, columns].
        """
        return self.chroma[level] if channel else self.levels[level]

    def of_band(self, level: int, orientation: int, shape: tuple[int, int], channel: int = 0) -> Float32:
        """Returns the weights of a channel's coefficients in a band of the given shape, float32
        [rows, columns].
        """
        weights = self.of_channel(level, channel)[orientation, : shape[0], : shape[1]]
        return from_halves(weights) * np.float32(self.factors[channel])

    def of_pass(self, coding_pass: CodingPass, shape: tuple[int, int]) -> Float32:
        """Returns the weights of the coefficients in a coding pass of the given shape, float32
        [rows, columns].
        """
        y, x = PHASES[coding_pass.phase]
        weights = self.of_channel(coding_pass.level, coding_pass.channel)[coding_pass.orientation, y::2, x::2]
        return from_halves(weights[: shape[0], : shape[1]]) * np.float32(self.factors[coding_pass.channel])


def _chroma_factors(basis: ColourBasis) -> list[float]:
    """Returns the factors of the weights of the errors of the two chroma axes."""
    red, green, _ = basis.luma.weights
    along = basis.axes[1:] @ np.array((green, -red, 0)) / np.hypot(red, green)  # the cosines with red-green
    return [float(_BLUE_YELLOW + (_RED_GREEN - _BLUE_YELLOW) * cosine**2) for cosine in along]


def basis_of(pixels: Pixels, tune: Tune) -> ColourBasis:
    """Returns the colour basis of an image, uint8 or uint16 [H, W, C]: with the tune `visual`, luma
    is that of Rec. 601.
    """
    luma = Luma.REC_601 if tune is Tune.VISUAL and pixels.shape[2] == CHANNELS else Luma.MEAN
    return ColourBasis(principal_chroma_angle(pixels, luma), luma)


@dataclass(frozen=True)
class Distortion:
    """The weighted squared errors of the coefficients of an image, as the tune `visual` weighs
    them, for any decoded image.
    """

    basis: ColourBasis
    weights: CoefficientWeights

    @classmethod
    def of(cls, original: Pixels) -> Distortion:
        """Returns the weights for an original, uint8 or uint16 [H, W, C]."""
        basis = basis_of(original, Tune.VISUAL)
        planes = pixels_to_planes(original, basis)
        pyramid = analyse(planes, default_levels(*planes.shape[1:]))
        return cls(basis, CoefficientWeights.of(pyramid, planes, basis))

    def total(self, errors: Float32) -> float:
        """Returns the weighted sum of the squared errors of colours, float32 [3, H, W]."""
        pyramid = self._pyramid(errors)
        bands = zip(_all_bands(pyramid), _all_bands(self._weighted(pyramid)), strict=True)
        return sum(float(np.vdot(band, weighted)) for band, weighted in bands)

    def of_image(self, original: Image, decoded: Image) -> float:
        """Returns the weighted sum of the squared errors of a decoded image."""
        errors = decoded.pixels.astype(np.float32) - original.pixels
        if original.visible is not None:
            errors *= original.visible[:, :, None]
        return self.total(
            np.ascontiguousarray(np.broadcast_to(errors, (*errors.shape[:2], CHANNELS)).transpose(2, 0, 1))
        )

    def slopes(self, errors: Float32) -> Float32:
        """Returns half of the derivative of `total` with respect to colours, float32 [3, H, W]."""
        planes = analyse_transposed(self._weighted(self._pyramid(errors)))
        return np.asarray(np.tensordot(self.basis.duals.T, planes, 1))

    def _pyramid(self, errors: Float32) -> Pyramid:
        planes = np.asarray(np.tensordot(self.basis.duals, errors, 1))
        return analyse(planes, len(self.weights.levels))

    def _weighted(self, pyramid: Pyramid) -> Pyramid:
        """Multiplies coefficients by their squared norms and weights. The low-pass band has the
        mean weight of the coarsest level's first band.
        """
        levels: list[Bands] = []
        for level, bands in enumerate(pyramid.bands):
            first, second, third = (
                np.stack(
                    [
                        plane * (_squared(norm) * self.weights.of_band(level, orientation, plane.shape, channel))
                        for channel, plane in enumerate(band)
                    ]
                )
                for orientation, (band, norm) in enumerate(zip(bands, BAND_NORMS[level], strict=True))
            )
            levels.append((first, second, third))
        coarsest = len(levels) - 1
        low_weight = from_halves(self.weights.levels[coarsest][0]).mean() * _squared(LOW_NORMS[coarsest])
        factors = np.array(self.weights.factors, dtype=np.float32)[:, None, None]
        return Pyramid(pyramid.low * (factors * low_weight), tuple(levels))


def _squared(norm: int) -> np.float32:
    """Returns the square of a norm in units of `NORM_UNIT`."""
    return np.float32((norm / NORM_UNIT) ** 2)


def _all_bands(pyramid: Pyramid) -> list[Float32]:
    """Returns the low-pass band and all others, from the finest level."""
    return [pyramid.low, *(band for bands in pyramid.bands for band in bands)]


@dataclass(frozen=True)
class TargetShift:
    """The shift of the coefficients that symbols aim at. It makes the remaining errors less
    visible.

    With errors e and the derivative g of visible error, both in coefficients, a Newton step leads
    to e - g / (s w). Its curvature is s w: the weights w, scaled by the s at which they agree best
    with the derivative. The true curvature is not diagonal, so a step for all coefficients at once
    goes too far. Therefore a fraction of the step is taken after each iteration (damped Jacobi
    iteration).
    """

    bands: _Bands  # the shift of each level and orientation, [C, rows, columns]

    @classmethod
    def after(
        cls, before: TargetShift | None, errors: Pyramid, slopes: Pyramid, weights: CoefficientWeights, fraction: float
    ) -> TargetShift:
        """Returns the shift after an iteration, which takes a fraction of a Newton step. `errors`
        is the pyramid of the iteration minus the original, and `slopes` the derivative of visible
        error with respect to the image of the iteration. The shift before is overwritten: new
        arrays between temporary ones would leave the heap in pieces.
        """
        levels = []
        for level, (error_bands, slope_bands) in enumerate(zip(errors.bands, slopes.bands, strict=True)):
            shifts = []
            for orientation, (error, slope) in enumerate(zip(error_bands, slope_bands, strict=True)):
                weight = weights.of_band(level, orientation, error.shape[1:])
                shift = np.float32(fraction) * _newton_steps(error, slope, weight)
                if before is None:
                    shifts.append(to_halves(shift))
                    continue
                previous = before.bands[level][orientation]
                shift += _KEPT_FRACTION * from_halves(previous)
                previous[...] = to_halves(shift)
                shifts.append(previous)
            levels.append((shifts[0], shifts[1], shifts[2]))
        return cls(tuple(levels))

    def added_to(self, pyramid: Pyramid) -> Pyramid:
        """Returns the shifted coefficients."""
        levels = [
            (a + from_halves(x), b + from_halves(y), c + from_halves(z))
            for (a, b, c), (x, y, z) in zip(pyramid.bands, self.bands, strict=True)
        ]
        return Pyramid(pyramid.low, tuple(levels))


def pixel_weights(colours: Float32) -> Float32:
    """Returns the weights of the squared errors of pixels for the tune `visual`, with mean 1,
    float32 [H, W]. They are (v + 60)^-0.55, with v the variance of luma around the pixel in squared
    code values. `colours` are float32 [3, H, W] in [0, 1].
    """
    luma = PEAK_CODE_VALUE * np.tensordot(_LUMA, colours, 1)
    mean, square = (_wide_mean(plane.astype(np.float64)) for plane in (luma, luma**2))
    weights = (np.maximum(square - mean**2, 0).astype(np.float32) + _LEAST_ENERGY) ** _PIXEL_EXPONENT
    return np.asarray(weights / weights.mean(dtype=np.float64), dtype=np.float32)


def _wide_mean(plane: Float64) -> Float64:
    """Returns box means of box means, with a radius of `_PIXEL_REACH` pixels; edges are
    repeated.
    """
    side = 2 * _PIXEL_REACH + 1
    for axis in (0, 1, 0, 1):
        margin = [(_PIXEL_REACH, _PIXEL_REACH) if axis == along else (0, 0) for along in (0, 1)]
        sums = np.cumsum(np.pad(plane, margin, mode="edge"), axis)
        before = np.concatenate([np.zeros_like(np.take(sums, [0], axis)), np.delete(sums, np.s_[-side:], axis)], axis)
        plane = (np.delete(sums, np.s_[: side - 1], axis) - before) / side
    return plane


def _saturation_factors(saturation: Float32) -> Float32:
    """Returns the factors by which chroma weighs more in the most saturated cells of an image.

    They grow from 1 at the 80th percentile of saturation to 3 at the 98th.
    """
    common, rare = np.percentile(saturation, (_COMMON, _RARE)).astype(np.float32)
    part = (saturation - common) / max(rare - common, _LEAST_RANGE)
    return np.asarray(1 + _LARGEST_GAIN * np.clip(part, 0, 1))


def _newton_steps(errors: Float32, slopes: Float32, weights: Float32) -> Float32:
    """Returns the result of a Newton step from the errors of a band, float32 [C, rows, columns]; 0
    for a channel whose weights do not correlate with the derivative.
    """
    steps = np.zeros_like(errors)
    for step, error, slope in zip(steps, errors, slopes, strict=True):
        weighted = weights * error
        scale = np.vdot(slope, weighted) / (np.vdot(weighted, weighted) + _TINY)
        if scale > 0:
            largest = np.float32(_LARGEST_SHIFT * np.sqrt(np.mean(error**2)))
            step[:] = np.clip(error - slope / (scale * weights), -largest, largest)
    return steps


def _log_masks(bands: Float32, totals: Sequence[Float32]) -> Float32:
    """Returns the logarithms of the factors by which detail masks errors in the bands of a level,
    up to a constant, float32 [orientation, rows, columns]. `bands` are the energies of detail in
    each band; `totals` their sum, and that of the next coarser level if there is one.
    """
    own, coarser = totals[0], totals[0]
    if len(totals) > 1:
        rows, columns = own.shape
        coarser = _COARSER_FACTOR * totals[1].repeat(2, axis=0).repeat(2, axis=1)[:rows, :columns]
    mixed = (1 - _OWN_FRACTION) * own + (_OWN_FRACTION * len(bands)) * bands
    logs = (_COARSER_FRACTION - 1) / 2 * np.log(mixed + _LEAST_ENERGY)
    logs -= _COARSER_FRACTION / 2 * np.log(coarser + _LEAST_ENERGY)
    return np.asarray(logs)


def _mean_log(values: Float32) -> float:
    return float(np.mean(np.log(values), dtype=np.float64))


def _energies(pyramid: Pyramid) -> list[list[Float32]]:
    """Returns the energy per pixel of luma's detail in each band of each level, in the cells of the
    level, in squared code values; float32 [ceil(h/2), ceil(w/2)].
    """
    energies = []
    for level, bands in enumerate(pyramid.bands):
        rows, columns = (max(band.shape[axis] for band in bands) for axis in (1, 2))
        level_energies = [np.zeros((rows, columns), dtype=np.float32) for _ in bands]
        for orientation, (band, energy) in enumerate(zip(bands, level_energies, strict=True)):
            norm = np.float32(BAND_NORMS[level][orientation] / NORM_UNIT / 2**level)
            energy[: band.shape[1], : band.shape[2]] = (norm * band[0]) ** 2
        energies.append(level_energies)
    return energies


def _mean_of_3x3(plane: Float32) -> Float32:
    """Returns means over 3x3 cells; edges are repeated."""
    for axis in (0, 1):
        if plane.shape[axis] == 0:
            continue
        padded = np.pad(plane, [(1, 1) if axis == along else (0, 0) for along in (0, 1)], mode="edge")
        shifted = (np.take(padded, range(first, first + plane.shape[axis]), axis) for first in range(3))
        plane = np.add.reduce(list(shifted)) / np.float32(3)
    return plane
