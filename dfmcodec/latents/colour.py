"""Pixels <-> planes in an orthonormal luma-chroma basis whose chroma axes follow the image."""

from __future__ import annotations

from math import atan2, cos, pi, sin

import numpy as np

from dfmcodec._types import Float32, Pixels
from dfmcodec.image import BIT_DEPTHS, peak_value, to_values, values_per_level
from dfmcodec.kernels import compiled
from dfmcodec.latents.geometry import CHANNELS
from dfmcodec.latents.wavelet import UNITS_PER_LEVEL

MAX_CHROMA_ANGLE = 255  # in 1/256 of half a turn
CHROMA_ANGLES = MAX_CHROMA_ANGLE + 1  # the number of angles in half a turn
MIDDLE = 128.0  # the code value that a plane's 0 stands for
_BLOCK_PIXELS = 1 << 20  # of which differences are taken at a time
# Rows: luma, and two chroma axes, which each image may turn in their plane.
_BASIS = np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]], dtype=np.float64)
_BASIS /= np.linalg.norm(_BASIS, axis=1, keepdims=True)


def colour_basis(chroma_angle: int) -> Float32:
    """Returns the luma-chroma basis, its chroma axes turned by `chroma_angle`.

    Args:
        chroma_angle: 0..MAX_CHROMA_ANGLE, in 1/CHROMA_ANGLES of half a turn.

    Returns:
        float32 [3, 3], orthonormal. The rows are axes in RGB.
    """
    angle = chroma_angle * pi / CHROMA_ANGLES
    turn = np.array([[1, 0, 0], [0, cos(angle), sin(angle)], [0, -sin(angle), cos(angle)]])
    return (turn @ _BASIS).astype(np.float32)


def principal_chroma_angle(pixels: Pixels) -> int:
    """Returns the angle that makes the chroma axes principal.

    Along these axes the differences of neighbouring pixels are uncorrelated.

    Args:
        pixels: uint8 or uint16 [H, W, C].

    Returns:
        0..MAX_CHROMA_ANGLE; 0 for gray images.
    """
    if pixels.shape[2] == 1:
        return 0
    covariance = np.zeros((2, 2))
    rows = max(1, _BLOCK_PIXELS // pixels.shape[1])
    for top in range(0, len(pixels), rows):
        planes = pixels_to_planes(pixels[top : top + rows + 1], 0)[1:]
        for difference in (np.diff(planes, axis=1), np.diff(planes[:, :rows], axis=2)):
            flat = difference.reshape(2, -1).astype(np.float64)
            covariance += flat @ flat.T
    angle = 0.5 * atan2(2 * covariance[0, 1], covariance[0, 0] - covariance[1, 1])
    return round(angle * CHROMA_ANGLES / pi) % CHROMA_ANGLES


def pixels_to_planes(pixels: Pixels, chroma_angle: int) -> Float32:
    """Converts pixels into planes of the luma-chroma basis.

    Args:
        pixels: uint8 or uint16 [H, W, C].
        chroma_angle: As in `colour_basis`.

    Returns:
        float32 [C, H, W], in code values less `MIDDLE`.
    """
    code_values = pixels.astype(np.float32)
    if pixels.itemsize > 1:
        code_values *= np.float32(1 / values_per_level(8 * pixels.itemsize))
    centred = code_values - np.float32(MIDDLE)
    if pixels.shape[2] > 1:
        centred = centred @ colour_basis(chroma_angle).T
    return np.ascontiguousarray(centred.transpose(2, 0, 1))


def planes_to_pixels(planes: Float32, basis: Float32, bit_depth: int = 8) -> Pixels:
    """Converts values in the luma-chroma basis into samples.

    Args:
        planes: float32 [..., C], in units of 1/UNITS_PER_LEVEL code value.
        basis: float32 [3, 3], from `colour_basis`; not used for gray.
        bit_depth: 8 or 16.

    Returns:
        uint8 or uint16 [..., C].
    """
    if compiled is not None and planes.ndim == 3 and planes.dtype == np.float32:
        levels = values_per_level(bit_depth)
        pixels = np.empty(planes.shape, dtype=np.uint8 if bit_depth == BIT_DEPTHS[0] else np.uint16)
        by_plane = np.ascontiguousarray(planes.transpose(2, 0, 1))
        numbers = levels / UNITS_PER_LEVEL, levels * MIDDLE, peak_value(bit_depth)
        compiled.planes_to_pixels(by_plane, by_plane.shape, np.ascontiguousarray(basis), *numbers, pixels)
        return pixels
    values = planes * np.float32(1 / UNITS_PER_LEVEL)
    if planes.shape[-1] == CHANNELS:
        values = values @ basis
    values += np.float32(MIDDLE)
    if bit_depth > 8:
        values *= np.float32(values_per_level(bit_depth))
    return to_values(values.astype(np.float32, copy=False), bit_depth)
