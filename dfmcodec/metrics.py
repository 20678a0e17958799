"""Rate and distortion of decoded pictures."""

from __future__ import annotations

from math import inf, log10

import numpy as np

from dfmcodec.image import PEAK_LEVEL, Pixels


def mse(reference: Pixels, decoded: Pixels) -> float:
    """Mean squared error over all samples, in squared levels.

    Raises:
        ValueError: The shapes differ.
    """
    if reference.shape != decoded.shape:
        msg = f"pictures of different shapes: {reference.shape} and {decoded.shape}"
        raise ValueError(msg)
    difference = reference.astype(np.int32) - decoded.astype(np.int32)
    return float(np.mean(np.square(difference), dtype=np.float64))


def psnr(reference: Pixels, decoded: Pixels) -> float:
    """Peak signal-to-noise ratio over all samples of both pictures, dB; infinite where they are equal."""
    return psnr_of_mse(mse(reference, decoded))


def psnr_of_mse(mean_squared_error: float, peak: float = PEAK_LEVEL) -> float:
    """10 log10(peak^2 / MSE), dB."""
    return 10 * log10(peak * peak / mean_squared_error) if mean_squared_error > 0 else inf


def ssim(reference: Pixels, decoded: Pixels) -> float:
    """Structural similarity (Wang et al. 2004): Gaussian window of sd 1.5, population covariance, mean of channels."""
    from skimage.metrics import structural_similarity

    value = structural_similarity(
        reference,
        decoded,
        data_range=PEAK_LEVEL,
        channel_axis=2,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    return float(value)


def bits_per_pixel(file_bytes: int, pixel_count: int) -> float:
    """Rate of a whole file, bpp."""
    return 8 * file_bytes / pixel_count
