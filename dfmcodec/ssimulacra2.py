"""SSIMULACRA2, a measure of how different two images look.

It is 100 for equal images, about 90 where no difference is seen, 70 for high, 50 for medium and 30
for low quality, and negative for what is worse than that.

Source: Jon Sneyers, "SSIMULACRA 2", version 2.1 of April 2023 (Cloudinary, libjxl). Both images are
taken to XYB, the colour space of JPEG XL, at six scales, which are means of linear light. At each,
three errors are taken of each component: SSIM without its luminance term's denominator, edges that
the other image has more of (ringing, blocks), and edges that it has less of (blur). The mean and
the 4-norm of each of these 54 maps are weighted into one number; the weights were fitted to
people's ratings.
"""

from __future__ import annotations

from functools import cache, partial

import numpy as np

from dfmcodec._types import Float32, Float64, Floats, Pixels
from dfmcodec.image import peak_value
from dfmcodec.kernels import compiled
from dfmcodec.threads import in_threads, parts_of

SMALLEST_SIDE = 8  # below, no scale is measured
_SCALES = 6
_SSIM_CONSTANT = 0.0009
_BACKGROUNDS = (0.1, 0.9)  # behind transparent pixels
_STRIP_PIXELS = 1 << 17  # of what NumPy works on at a time

# XYB: linear light mixed to the absorbances of three kinds of cones, and cube roots of these.
_BIAS = 0.0037930732552754493
_ABSORBANCE = np.array(
    [
        [0.30, 1 - 0.078 - 0.30, 0.078],
        [0.23, 1 - 0.078 - 0.23, 0.078],
        [0.24342268924547819, 0.20476744424496821, 1 - 0.24342268924547819 - 0.20476744424496821],
    ],
    np.float32,
)

# By component (X, Y, B - Y), scale, norm (mean, 4-norm) and error (SSIM, ringing, blur).
_WEIGHTS = np.array([
    0.0, 0.0007376606707406586, 0.0, 0.0, 0.0007793481682867309, 0.0,
    0.0, 0.0004371155730107379, 0.0, 1.1041726426657346, 0.00066284834129271, 0.00015231632783718752,
    0.0, 0.0016406437456599754, 0.0, 1.8422455520539298, 11.441172603757666, 0.0,
    0.0007989109436015163, 0.000176816438078653, 0.0, 1.8787594979546387, 10.94906990605142, 0.0,
    0.0007289346991508072, 0.9677937080626833, 0.0, 0.00014003424285435884, 0.9981766977854967, 0.00031949755934435053,
    0.0004550992113792063, 0.0, 0.0, 0.0013648766163243398, 0.0, 0.0,
    0.0, 0.0, 0.0, 7.466890328078848, 0.0, 17.445833984131262,
    0.0006235601634041466, 0.0, 0.0, 6.683678146179332, 0.00037724407979611296, 1.027889937768264,
    225.20515300849274, 0.0, 0.0, 19.213238186143016, 0.0011401524586618361, 0.001237755635509985,
    176.39317598450694, 0.0, 0.0, 24.43300999870476, 0.28520802612117757, 0.0004485436923833408,
    0.0, 0.0, 0.0, 34.77906344483772, 44.835625328877896, 0.0,
    0.0, 0.0, 0.0, 0.0, 0.0, 0.0,
    0.0, 0.0008680556573291698, 0.0, 0.0, 0.0, 0.0,
    0.0, 0.0005313191874358747, 0.0, 0.00016533814161379112, 0.0, 0.0,
    0.0, 0.0, 0.0, 0.0004179171803251336, 0.0017290828234722833, 0.0,
    0.0020827005846636437, 0.0, 0.0, 8.826982764996862, 23.19243343998926, 0.0,
    95.1080498811086, 0.9863978034400682, 0.9834382792465353,
    0.0012286405048278493, 171.2667255897307, 0.9807858872435379,
    0.0, 0.0, 0.0, 0.0005130064588990679, 0.0, 0.00010854057858411537,
])  # fmt: skip


def ssimulacra2(original: Pixels, decoded: Pixels) -> float | None:
    """Returns SSIMULACRA2, at most 100; None for images with a side below `SMALLEST_SIDE`.

    With alpha it is the lower one of the values over a dark and a bright background.

    Args:
        original: uint8 or uint16 [H, W, C], sRGB: gray, gray and alpha, RGB, or RGB and alpha.
        decoded: An array of the same shape and type.

    Raises:
        ValueError: The shapes or types differ.
    """
    if original.shape != decoded.shape or original.dtype != decoded.dtype:
        msg = f"images differ: {original.dtype} {original.shape} and {decoded.dtype} {decoded.shape}"
        raise ValueError(msg)
    if min(original.shape[:2]) < SMALLEST_SIDE:
        return None
    backgrounds = _BACKGROUNDS if original.shape[2] in (2, 4) else (0.0,)
    return min(_score(_linear(original, at), _linear(decoded, at)) for at in backgrounds)


def _score(original: Float32, decoded: Float32) -> float:
    """The measure of two images in linear light [3, H, W]."""
    scales: list[Float64] = []
    while len(scales) < _SCALES and min(original.shape[1:]) >= SMALLEST_SIDE:
        if scales:
            original, decoded = _halved(original), _halved(decoded)
        means = _sums(original, decoded) / (original.shape[1] * original.shape[2])
        scales.append(np.stack([means[:, 0], means[:, 1] ** 0.25], axis=1))
    norms = np.stack(scales, axis=1).ravel()  # small images have fewer scales, and take the weights in turn
    error = 0.9562382616834844 * float(norms @ _WEIGHTS[: len(norms)])
    error = 2.326765642916932 * error - 0.020884521182843837 * error**2 + 6.248496625763138e-05 * error**3
    return 100 - 10 * float(max(error, 0.0) ** 0.6276336467831387)


def _linear(pixels: Pixels, background: float) -> Float32:
    """Linear light [3, H, W] of sRGB samples, over a background in sRGB."""
    peak = np.float32(peak_value(8 * pixels.dtype.itemsize))
    colours = pixels.shape[2] - (pixels.shape[2] in (2, 4))
    samples = [pixels[:, :, min(c, colours - 1)] for c in range(3)]
    if colours == pixels.shape[2]:
        return np.stack([_light_of_samples(pixels.dtype.itemsize)[plane] for plane in samples])
    alpha = pixels[:, :, -1] / peak
    return np.stack([_light(alpha * (plane / peak) + (1 - alpha) * np.float32(background)) for plane in samples])


def _light(value: Floats) -> Float32:
    """The linear light of values of sRGB from 0 to 1 (IEC 61966-2-1)."""
    light: Float32 = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4).astype(np.float32)
    return light


@cache
def _light_of_samples(item_bytes: int) -> Float32:
    peak = peak_value(8 * item_bytes)
    return _light(np.arange(peak + 1) / peak)


def _halved(planes: Float32) -> Float32:
    """Means of 2x2 samples; an odd last row or column stands twice."""
    height, width = planes.shape[1:]
    even = np.pad(planes, ((0, 0), (0, height % 2), (0, width % 2)), mode="edge")
    halved: Float32 = np.float32(0.25) * (
        (even[:, ::2, ::2] + even[:, ::2, 1::2]) + (even[:, 1::2, ::2] + even[:, 1::2, 1::2])
    )
    return halved


def _sums(original: Float32, decoded: Float32) -> Float64:
    """The sums over all pixels of the three errors, and of their fourth powers: [3, 2, 3]."""
    height, width = original.shape[1:]
    if compiled is not None:
        return sum(
            in_threads(partial(_sums_by_kernel, original, decoded), parts_of(range(height))), np.zeros((3, 2, 3))
        )
    sums = np.zeros((3, 2, 3))
    reach = len(_taps()) - 1
    rows = max(1, _STRIP_PIXELS // width)
    for first in range(0, height, rows):
        above, below = min(reach, first), min(reach, max(0, height - first - rows))
        strip = slice(first - above, first + rows + below)
        inner = slice(above, above + min(rows, height - first))
        for c, (x, y) in enumerate(zip(_xyb(original[:, strip]), _xyb(decoded[:, strip]), strict=True)):
            sums[c] += _sums_of_plane(x, y, inner)
    return sums


def _sums_by_kernel(original: Float32, decoded: Float32, rows: range) -> Float64:
    assert compiled is not None
    sums = np.zeros((3, 2, 3))
    size, bias = original.shape[1:], (_BIAS, float(np.cbrt(_BIAS)))
    of_rows = size, (rows.start, rows.stop)
    compiled.ssimulacra2_sums(original, decoded, *of_rows, _ABSORBANCE, *bias, _taps(), _SSIM_CONSTANT, sums)
    return sums


def _sums_of_plane(x: Float32, y: Float32, inner: slice) -> Float64:
    """The sums of a component of both images [H, W] over some of its rows: [2, 3]."""
    mean_x, mean_y, mean_xx, mean_yy, mean_xy = (_blurred(plane)[inner] for plane in (x, y, x * x, y * y, x * y))
    variances = (mean_xx - mean_x * mean_x) + (mean_yy - mean_y * mean_y)
    structure = (2 * (mean_xy - mean_x * mean_y) + _SSIM_CONSTANT) / (variances + _SSIM_CONSTANT)
    dissimilarity = np.maximum(1 - (1 - (mean_x - mean_y) ** 2) * structure, 0)
    edges = (1 + np.abs(y[inner] - mean_y)) / (1 + np.abs(x[inner] - mean_x)) - 1
    errors = dissimilarity, np.maximum(edges, 0), np.maximum(-edges, 0)
    return np.array([[np.sum(error**power, dtype=np.float64) for error in errors] for power in (1, 4)])


def _xyb(light: Float32) -> tuple[Float32, Float32, Float32]:
    """XYB of linear light [3, H, W], with B less Y, in a range of about 0 to 1."""
    mixed = np.tensordot(_ABSORBANCE, light, 1) + np.float32(_BIAS)
    long, medium, short = np.cbrt(np.maximum(mixed, 0)) - np.float32(np.cbrt(_BIAS))
    x, y = (long - medium) / 2, (long + medium) / 2
    return 14 * x + np.float32(0.42), y + np.float32(0.01), (short - y) + np.float32(0.55)


@cache
def _taps() -> Float32:
    """The window, five taps of nine from its centre on: the sum of three cosines that comes nearest
    to a Gaussian with a standard deviation of 1.5 (Charalampidis, "Recursive implementation of the
    Gaussian filter using truncated cosine functions", 2016, equations 37 to 56).
    """
    deviation, radius = 1.5, 5
    omega = np.array([1, 3, 5]) * np.pi / (2 * radius)
    sign = np.array([1, -1, 1])
    p = sign / np.tan(omega / 2)
    r = sign * p**2 / np.sin(omega)
    rho = np.exp(-0.5 * (deviation * omega) ** 2) / radius
    zeta = np.array([p[1] * r[2] - r[1] * p[2], p[2] * r[0] - r[2] * p[0]]) / (p[0] * r[1] - r[0] * p[1])
    beta = np.linalg.solve(np.array([p, r, [*zeta, 1]]), [1, radius**2 - deviation**2, zeta @ rho[:2] + rho[2]])
    taps: Float32 = (np.cos(np.outer(np.arange(radius), omega)) @ beta).astype(np.float32)
    return taps


def _blurred(plane: Float32) -> Float32:
    """A plane [H, W] under the window; outside of it there are zeros."""
    taps = _taps()
    for axis in (0, 1):
        length = plane.shape[axis]
        blurred = taps[0] * plane
        for offset in range(1, min(len(taps), length)):
            ahead, behind = [slice(None)] * 2, [slice(None)] * 2
            ahead[axis], behind[axis] = slice(offset, None), slice(None, length - offset)
            blurred[tuple(behind)] += taps[offset] * plane[tuple(ahead)]
            blurred[tuple(ahead)] += taps[offset] * plane[tuple(behind)]
        plane = blurred
    return plane
