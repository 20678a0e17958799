"""Rate and distortion of decoded pictures, and of curves of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, log10, prod

import numpy as np
import numpy.typing as npt

from dfmcodec.image import PEAK_LEVEL, Pixels, peak_value, values_per_level

Float64 = npt.NDArray[np.float64]
Point = tuple[float, float]  # rate, quality

# Wang, Bovik, Sheikh and Simoncelli 2004, and for the scales Wang, Simoncelli and Bovik 2003.
_WINDOW_SD, _WINDOW_RADIUS = 1.5, 5
_SSIM_CONSTANTS = ((0.01 * PEAK_LEVEL) ** 2, (0.03 * PEAK_LEVEL) ** 2)
_SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_LEAST_CURVE_POINTS = 3
_BLOCK_SAMPLES = 1 << 18  # of a mean squared error: what stays in the cache


def mse(reference: Pixels, decoded: Pixels, visible: npt.NDArray[np.bool_] | None = None) -> float:
    """Mean squared error over all samples, in squared values of a sample.

    Args:
        reference: [H, W, C], uint8 or uint16.
        decoded: The same.
        visible: Pixels that count, [H, W]; None for all. No error where there are none.

    Raises:
        ValueError: The shapes or types differ.
    """
    if reference.shape != decoded.shape or reference.dtype != decoded.dtype:
        msg = (
            f"pictures of different shapes or types: {reference.dtype} {reference.shape} and "
            f"{decoded.dtype} {decoded.shape}"
        )
        raise ValueError(msg)
    total, count = 0.0, 0
    rows = max(1, _BLOCK_SAMPLES // reference[0].size)
    for row in range(0, len(reference), rows):
        block = slice(row, row + rows)
        difference = reference[block].astype(np.float64) - decoded[block]
        if visible is not None:
            difference = difference[visible[block]]
        total += float(np.vdot(difference, difference))
        count += difference.size
    return total / count if count else 0.0


def psnr(reference: Pixels, decoded: Pixels, visible: npt.NDArray[np.bool_] | None = None) -> float:
    """Peak signal-to-noise ratio over all samples of both pictures, dB; infinite where they are equal.

    Arguments as of `mse`; the peak is that of the samples' type.
    """
    return psnr_of_mse(mse(reference, decoded, visible), peak_value(8 * reference.itemsize))


def psnr_of_mse(mean_squared_error: float, peak: float = PEAK_LEVEL) -> float:
    """10 log10(peak^2 / MSE), dB."""
    return 10 * log10(peak * peak / mean_squared_error) if mean_squared_error > 0 else inf


def ssim(reference: Pixels, decoded: Pixels) -> float | None:
    """Structural similarity: Gaussian window of 11x11, sd 1.5, population covariance, mean of channels.

    Source: Wang et al., "Image quality assessment", 2004. None for pictures smaller than the window.
    """
    from skimage.metrics import structural_similarity

    if min(reference.shape[:2]) < 2 * _WINDOW_RADIUS + 1:
        return None
    value = structural_similarity(
        reference,
        decoded,
        data_range=peak_value(8 * reference.itemsize),
        channel_axis=2,
        gaussian_weights=True,
        sigma=_WINDOW_SD,
        use_sample_covariance=False,
    )
    return float(value)


def ms_ssim(reference: Pixels, decoded: Pixels) -> float | None:
    """Structural similarity on five scales, each half the one before; the window of `ssim`, mean of channels.

    Source: Wang, Simoncelli and Bovik, "Multiscale structural similarity", 2003, with means over whole windows only.
    None for pictures with a side below 176, whose coarsest scale is smaller than the window.
    """
    if min(reference.shape[:2]) < (2 * _WINDOW_RADIUS + 1) << (len(_SCALE_WEIGHTS) - 1):
        return None
    channels = (_ms_ssim_of_planes(reference[:, :, c], decoded[:, :, c]) for c in range(reference.shape[2]))
    return float(np.mean(list(channels)))


def _ms_ssim_of_planes(reference: Pixels, decoded: Pixels) -> float:
    scale = values_per_level(8 * reference.itemsize)
    x, y = reference.astype(np.float64) / scale, decoded.astype(np.float64) / scale
    factors = []
    for scale, weight in enumerate(_SCALE_WEIGHTS):
        if scale:
            x, y = _halved(x), _halved(y)
        luminance, structure = _similarities(x, y)
        last = scale == len(_SCALE_WEIGHTS) - 1
        similarity = float((luminance * structure).mean() if last else structure.mean())
        factors.append(max(similarity, 0.0) ** weight)
    return float(prod(factors))


def _similarities(x: Float64, y: Float64) -> tuple[Float64, Float64]:
    """Luminance, and contrast times structure, of each whole window."""
    from scipy.ndimage import correlate1d

    offsets = np.arange(-_WINDOW_RADIUS, _WINDOW_RADIUS + 1)
    window = np.exp(-0.5 * (offsets / _WINDOW_SD) ** 2)
    window /= window.sum()

    def local_mean(plane: Float64) -> Float64:
        inner = slice(_WINDOW_RADIUS, -_WINDOW_RADIUS)
        mean: Float64 = correlate1d(correlate1d(plane, window, axis=0), window, axis=1)[inner, inner]
        return mean

    mean_x, mean_y = local_mean(x), local_mean(y)
    variances = local_mean(x * x) + local_mean(y * y) - mean_x**2 - mean_y**2
    covariance = local_mean(x * y) - mean_x * mean_y
    c1, c2 = _SSIM_CONSTANTS
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return luminance, (2 * covariance + c2) / (variances + c2)


def _halved(plane: Float64) -> Float64:
    """Means of 2x2 samples; an odd last row or column is left out."""
    height, width = plane.shape[0] // 2 * 2, plane.shape[1] // 2 * 2
    halved: Float64 = plane[:height, :width].reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3))
    return halved


def bits_per_pixel(file_bytes: int, pixel_count: int) -> float:
    """Rate of a whole file, bpp."""
    return 8 * file_bytes / pixel_count


@dataclass(frozen=True)
class BdRate:
    """Bjontegaard's mean difference in rate between two curves.

    Args:
        percent: Of the anchor's rate, at equal quality; below 0 where the curve needs less.
        overlap: Part of the span of both curves' qualities that both reach, 0..1; where low, the figure says little.
    """

    percent: float
    overlap: float


def bd_rate(
    anchor: Sequence[Point], curve: Sequence[Point], anchor_rates: tuple[float, float] | None = None
) -> BdRate | None:
    """Mean difference in rate at equal quality: PCHIP of log rate over quality, integrated where both curves are.

    Source: Bjontegaard, VCEG-M33, 2001, with the interpolation of later practice (JVET).

    Args:
        anchor: (rate, quality) of the reference, at least three of different quality.
        curve: (rate, quality) of what is compared.
        anchor_rates: Integrate only where the anchor's rate is between these.

    Returns:
        None where the curves share no quality or have too few points.
    """
    from scipy.interpolate import PchipInterpolator

    curves = [_rising(points) for points in (anchor, curve)]
    if min(len(points) for points in curves) < _LEAST_CURVE_POINTS:
        return None
    spans = [(points[0][1], points[-1][1]) for points in curves]
    low, high = max(span[0] for span in spans), min(span[1] for span in spans)
    overlap = (high - low) / (max(span[1] for span in spans) - min(span[0] for span in spans))
    logs = [PchipInterpolator([q for _, q in points], np.log([rate for rate, _ in points])) for points in curves]
    if anchor_rates is not None and high > low:
        grid = np.linspace(low, high, 2000)
        rates = np.exp(logs[0](grid))
        inside = grid[(rates >= anchor_rates[0]) & (rates <= anchor_rates[1])]
        low, high = (inside[0], inside[-1]) if len(inside) else (low, low)
    if high <= low:
        return None
    difference = (logs[1].integrate(low, high) - logs[0].integrate(low, high)) / (high - low)
    return BdRate(float(100 * np.expm1(difference)), float(overlap))


def _rising(points: Sequence[Point]) -> list[Point]:
    """By rate, without those that are no better than a smaller one, and without infinite quality."""
    kept: list[Point] = []
    for rate, quality in sorted(points):
        if quality < inf and (not kept or quality > kept[-1][1]):
            kept.append((rate, quality))
    return kept
