"""Colour transform: pixels <-> planes of luma and two chroma axes that are chosen for the image.

Luma is a weighted mean of red, green and blue. Gray pixels have no chroma, and chroma does not
change luma:

    RGB = luma (1, 1, 1) / sqrt(3) + chroma_1 c_1 + chroma_2 c_2,

with orthonormal c_1 and c_2 whose weighted sums are 0.

With equal weights this basis is orthonormal, so squared errors of planes equal those of pixels.
With the weights of Rec. 601, errors of chroma do not change perceived luma.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from math import atan2, cos, pi, sin

import numpy as np
import numpy.typing as npt

from dfmcodec._types import Float32, Pixels
from dfmcodec.codecs.wavelet.transform import UNITS_PER_CODE_VALUE
from dfmcodec.image import BIT_DEPTHS, peak_value, to_values, values_per_code_value
from dfmcodec.image.region import CHANNELS
from dfmcodec.kernels import by_kernels, compiled

MAX_CHROMA_ANGLE = 255  # the largest chroma angle, in 1/256 of half a turn
CHROMA_ANGLES = MAX_CHROMA_ANGLE + 1  # the number of angles in half a turn
MIDDLE = 128.0  # the code value that a plane's 0 stands for
_BLOCKS, _BLOCK_PIXELS = 16, 1 << 16  # the blocks of a large image whose differences are used, and the pixels of each
_GRAY = np.full(CHANNELS, CHANNELS**-0.5)
_CHROMA = np.array([[1, 0, -1], [1, -2, 1]]) / np.sqrt([[2], [6]])  # unrotated chroma axes, for equal weights


class Luma(IntEnum):
    """The weights of red, green and blue in luma. The value is the number in the header."""

    MEAN = 1
    REC_601 = 2

    @property
    def weights(self) -> tuple[float, float, float]:
        """The weights; their sum is 1."""
        return (0.299, 0.587, 0.114) if self is Luma.REC_601 else (1 / 3, 1 / 3, 1 / 3)


@dataclass(frozen=True)
class ColourBasis:
    """Luma and chroma axes."""

    # the angle by which the chroma axes are rotated in their plane, 0..MAX_CHROMA_ANGLE, in
    # 1/CHROMA_ANGLES of half a turn
    chroma_angle: int = 0
    luma: Luma = Luma.MEAN  # the weights of luma

    @cached_property
    def axes(self) -> Float32:
        """The RGB values of one unit of each plane, float32 [plane, colour]."""
        return self._axes.astype(np.float32)

    @cached_property
    def duals(self) -> Float32:
        """The plane values of one unit of each colour: the transposed inverse of `axes`, float32
        [plane, colour].
        """
        luma = np.array(self.luma.weights) / np.dot(self.luma.weights, _GRAY)
        chroma = self._axes[1:]
        return np.stack([luma, *(chroma - np.outer(chroma @ _GRAY, luma))]).astype(np.float32)

    @property
    def _axes(self) -> npt.NDArray[np.float64]:
        """The axes in float64. The chroma axes for equal weights are projected to the plane without
        luma, orthonormalised (Gram-Schmidt), and rotated.
        """
        normal = _unit_vector(np.array(self.luma.weights))
        first = _unit_vector(_CHROMA[0] - (_CHROMA[0] @ normal) * normal)
        second = _CHROMA[1] - (_CHROMA[1] @ normal) * normal
        second = _unit_vector(second - (second @ first) * first)
        angle = self.chroma_angle * pi / CHROMA_ANGLES
        turned = cos(angle) * first + sin(angle) * second, cos(angle) * second - sin(angle) * first
        return np.stack([_GRAY, *turned])


def _unit_vector(vector: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(vector / np.linalg.norm(vector))


def principal_chroma_angle(pixels: Pixels, luma: Luma = Luma.MEAN) -> int:
    """Returns the angle of the principal chroma axes, 0..MAX_CHROMA_ANGLE; 0 for gray images. Along
    these axes the differences of neighbouring pixels, uint8 or uint16 [H, W, C], are uncorrelated.
    Of an image of more than a megapixel, blocks of rows are used.
    """
    if pixels.shape[2] == 1:
        return 0
    covariance, basis = np.zeros((2, 2)), ColourBasis(luma=luma)
    rows = max(1, _BLOCK_PIXELS // pixels.shape[1])
    for top in range(0, len(pixels), max(rows, len(pixels) // _BLOCKS)):
        planes = pixels_to_planes(pixels[top : top + rows + 1], basis)[1:]
        for difference in (np.diff(planes, axis=1), np.diff(planes[:, :rows], axis=2)):
            flat = difference.reshape(2, -1).astype(np.float64)
            covariance += flat @ flat.T
    angle = 0.5 * atan2(2 * covariance[0, 1], covariance[0, 0] - covariance[1, 1])
    return round(angle * CHROMA_ANGLES / pi) % CHROMA_ANGLES


def _pixels_to_planes_by_kernel(pixels: Pixels, basis: ColourBasis) -> Float32:
    if pixels.shape[2] != CHANNELS:
        return _pixels_to_planes(pixels, basis)
    height, width, _ = pixels.shape
    planes = np.empty((CHANNELS, height, width), dtype=np.float32)
    compiled.pixels_to_planes(
        pixels=np.ascontiguousarray(pixels),
        item_bytes=pixels.itemsize,
        count=height * width,
        basis=basis.duals,
        scale=1 / values_per_code_value(8 * pixels.itemsize),
        middle=MIDDLE,
        planes=planes,
    )
    return planes


def _pixels_to_planes(pixels: Pixels, basis: ColourBasis) -> Float32:
    code_values = pixels.astype(np.float32)
    if pixels.itemsize > 1:
        code_values *= np.float32(1 / values_per_code_value(8 * pixels.itemsize))
    code_values -= np.float32(MIDDLE)
    if pixels.shape[2] > 1:
        code_values = code_values @ basis.duals.T
    return np.ascontiguousarray(code_values.transpose(2, 0, 1))


@by_kernels(_pixels_to_planes_by_kernel)
def pixels_to_planes(pixels: Pixels, basis: ColourBasis) -> Float32:
    """Converts pixels, uint8 or uint16 [H, W, C], into planes of luma and chroma, float32 [C, H,
    W], in code values less `MIDDLE`. Gray needs no basis.
    """
    return _pixels_to_planes(pixels, basis)


def _planes_to_pixels_by_kernel(planes: Float32, basis: ColourBasis, bit_depth: int = 8) -> Pixels:
    levels = values_per_code_value(bit_depth)
    pixels = np.empty(planes.shape, dtype=np.uint8 if bit_depth == BIT_DEPTHS[0] else np.uint16)
    by_plane = np.ascontiguousarray(planes.transpose(2, 0, 1))
    channels, height, width = by_plane.shape
    compiled.planes_to_pixels(
        planes=by_plane,
        channels=channels,
        height=height,
        width=width,
        basis=basis.axes,
        scale=levels / UNITS_PER_CODE_VALUE,
        middle=levels * MIDDLE,
        peak=peak_value(bit_depth),
        pixels=pixels,
    )
    return pixels


@by_kernels(_planes_to_pixels_by_kernel)
def planes_to_pixels(planes: Float32, basis: ColourBasis, bit_depth: int = 8) -> Pixels:
    """Converts values of luma and chroma, float32 [H, W, C] in units of 1/UNITS_PER_CODE_VALUE code
    value, into samples, uint8 or uint16 [H, W, C]. Gray needs no basis.
    """
    values = planes * np.float32(1 / UNITS_PER_CODE_VALUE)
    if planes.shape[-1] == CHANNELS:
        values = values @ basis.axes
    values += np.float32(MIDDLE)
    if bit_depth > 8:
        values *= np.float32(values_per_code_value(bit_depth))
    return to_values(values.astype(np.float32, copy=False), bit_depth)
