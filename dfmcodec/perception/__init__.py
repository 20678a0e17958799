"""Quality metrics, bit rates, and Bjontegaard differences between rate-distortion curves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf, log10, prod
from typing import TypeVar

import numpy as np

from dfmcodec._types import Bools, Float32, Float64, Pixels
from dfmcodec.image import PEAK_CODE_VALUE, peak_value

Point = tuple[float, float]  # rate, quality

# Constants of Wang, Bovik, Sheikh and Simoncelli 2004; scales of Wang, Simoncelli and Bovik 2003.
_WINDOW_SD, _WINDOW_RADIUS = 1.5, 5
_SSIM_CONSTANTS = ((0.01 * PEAK_CODE_VALUE) ** 2, (0.03 * PEAK_CODE_VALUE) ** 2)
_SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_LEAST_CURVE_POINTS = 3
_BLOCK_SAMPLES = 1 << 18  # number of samples that `mse` processes at a time, to stay in the cache


def check_alike(reference: Pixels, decoded: Pixels) -> None:
    """Raises ValueError for images of different shapes or types."""
    if reference.shape != decoded.shape or reference.dtype != decoded.dtype:
        kinds = f"{reference.dtype} {reference.shape} and {decoded.dtype} {decoded.shape}"
        msg = f"images of different shapes or types: {kinds}"
        raise ValueError(msg)


def mse(reference: Pixels, decoded: Pixels, visible: Bools | None = None) -> float:
    """Returns the mean squared error over all samples, in squared sample values.

    Both images are uint8 or uint16 [H, W, C]; other shapes or types raise ValueError. `visible`
    [H, W] are the pixels to include; None includes all. The error of no pixel is 0.
    """
    check_alike(reference, decoded)
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


def psnr(reference: Pixels, decoded: Pixels, visible: Bools | None = None, peak: int | None = None) -> float:
    """Returns the PSNR over all samples in dB, see `mse`; infinite for equal images.

    Without a `peak`, it is the largest value of the samples' type.
    """
    return psnr_of_mse(mse(reference, decoded, visible), peak or peak_value(8 * reference.itemsize))


def psnr_of_mse(mean_squared_error: float, peak: float = PEAK_CODE_VALUE) -> float:
    """Returns 10 log10(peak^2 / MSE), in dB."""
    return 10 * log10(peak * peak / mean_squared_error) if mean_squared_error > 0 else inf


def mse_of_psnr(psnr_db: float, peak: float = PEAK_CODE_VALUE) -> float:
    """Returns the MSE for a PSNR in dB; the inverse of `psnr_of_mse`."""
    return float(peak * peak * 10 ** (-psnr_db / 10))


def ssim(reference: Pixels, decoded: Pixels, peak: int | None = None) -> float | None:
    """Returns the structural similarity, averaged over channels and windows within the image.

    Source: Wang et al., "Image quality assessment", 2004, with a Gaussian window of 11x11 samples.
    Returns None for images smaller than the window. The peak is as for `psnr`.
    """
    if min(reference.shape[:2]) < 2 * _WINDOW_RADIUS + 1:
        return None
    return float(np.mean([np.multiply(*_similarities(x, y)).mean() for x, y in _planes(reference, decoded, peak)]))


def _planes(reference: Pixels, decoded: Pixels, peak: int | None) -> Iterator[tuple[Float64, Float64]]:
    """Yields each channel of both images, in code values."""
    values_per_code_value = (peak or peak_value(8 * reference.itemsize)) / PEAK_CODE_VALUE
    for c in range(reference.shape[2]):
        x, y = (pixels[:, :, c].astype(np.float64) / values_per_code_value for pixels in (reference, decoded))
        yield x, y


def ms_ssim(reference: Pixels, decoded: Pixels, peak: int | None = None) -> float | None:
    """Returns the multi-scale structural similarity at five scales, averaged over channels.

    Source: Wang, Simoncelli and Bovik, "Multiscale structural similarity", 2003. Each scale halves
    the resolution. Window and peak are as for `ssim`. Returns None for a side below 176.
    """
    if min(reference.shape[:2]) < (2 * _WINDOW_RADIUS + 1) << (len(_SCALE_WEIGHTS) - 1):
        return None
    return float(np.mean([_ms_ssim_of_planes(x, y) for x, y in _planes(reference, decoded, peak)]))


def _ms_ssim_of_planes(x: Float64, y: Float64) -> float:
    factors = []
    for scale, weight in enumerate(_SCALE_WEIGHTS):
        if scale:
            height, width = (side // 2 * 2 for side in x.shape)
            x, y = halved(x[:height, :width]), halved(y[:height, :width])
        luminance, structure = _similarities(x, y)
        last = scale == len(_SCALE_WEIGHTS) - 1
        similarity = float((luminance * structure).mean() if last else structure.mean())
        factors.append(max(similarity, 0.0) ** weight)
    return float(prod(factors))


def _similarities(x: Float64, y: Float64) -> tuple[Float64, Float64]:
    """Returns the luminance term and the product of contrast and structure of each window."""
    offsets = np.arange(-_WINDOW_RADIUS, _WINDOW_RADIUS + 1)
    window = np.exp(-0.5 * (offsets / _WINDOW_SD) ** 2)
    window /= window.sum()

    def local_mean(plane: Float64) -> Float64:
        """Returns weighted means over all windows that lie completely in the image."""
        for _ in range(2):
            count = len(plane) - len(window) + 1
            mean = window[0] * plane[:count]
            for offset, weight in enumerate(window[1:], start=1):
                mean += weight * plane[offset : offset + count]
            plane = mean.T
        return plane

    mean_x, mean_y = local_mean(x), local_mean(y)
    variances = local_mean(x * x) + local_mean(y * y) - mean_x**2 - mean_y**2
    covariance = local_mean(x * y) - mean_x * mean_y
    c1, c2 = _SSIM_CONSTANTS
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return luminance, (2 * covariance + c2) / (variances + c2)


F = TypeVar("F", Float32, Float64)


def halved(planes: F) -> F:
    """Returns means of 2x2 samples of planes [..., H, W]. An odd last row or column is repeated."""
    height, width = planes.shape[-2:]
    missing = *[(0, 0)] * (planes.ndim - 2), (0, height % 2), (0, width % 2)
    even = np.pad(planes, missing, mode="edge") if any(map(any, missing)) else planes
    upper, lower = even[..., ::2, :], even[..., 1::2, :]
    sums = (upper[..., ::2] + upper[..., 1::2]) + (lower[..., ::2] + lower[..., 1::2])
    return np.multiply(np.float32(0.25), sums, dtype=planes.dtype)


def bits_per_pixel(file_bytes: int, pixel_count: int) -> float:
    return 8 * file_bytes / pixel_count


@dataclass(frozen=True)
class BdRate:
    """Bjontegaard difference in rate between two curves. A low overlap makes it unreliable."""

    percent: float  # of the anchor's rate at equal quality; negative if the curve needs fewer bits
    overlap: float  # the fraction, 0..1, of the joint quality range that both curves cover


def bd_rate(
    anchor: Sequence[Point], curve: Sequence[Point], anchor_rates: tuple[float, float] | None = None
) -> BdRate | None:
    """Returns the mean rate difference at equal quality; None without a common quality.

    Source: Bjontegaard, VCEG-M33, 2001. As in later practice (JVET), log rate is interpolated over
    quality by a PCHIP. It is integrated over the range of quality that both curves cover, limited
    to qualities at which the anchor's rate is in `anchor_rates`. Curves need three points of
    different quality.
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
    """Sorts points by rate, without infinite qualities and those that cost more for no more."""
    rising: list[Point] = []
    for rate, quality in sorted(points):
        if quality < inf and (not rising or quality > rising[-1][1]):
            rising.append((rate, quality))
    return rising
