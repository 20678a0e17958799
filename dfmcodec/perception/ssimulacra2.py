"""SSIMULACRA2, a perceptual measure of image quality.

The value is 100 for equal images, about 90 for visually lossless, 70 for high, 50 for medium and 30
for low quality. It is negative for very low quality.

Source: Jon Sneyers, "SSIMULACRA 2", version 2.1 of April 2023 (Cloudinary, libjxl). Both images are
converted to XYB, the colour space of JPEG XL, at six scales, which are averages of linear light. At
each scale, three error maps are computed for each component: SSIM without the denominator of its
luminance term, added edges (ringing, blocks), and lost edges (blur). The mean and the 4-norm of
each of these 54 maps are combined with weights that were fitted to subjective ratings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from itertools import product
from math import prod

import numpy as np

from dfmcodec._types import Float32, Float64, Floats, Pixels
from dfmcodec.image import peak_value
from dfmcodec.kernels import by_kernels, compiled
from dfmcodec.kernels.arguments import ComparedRows
from dfmcodec.perception import check_alike, halved
from dfmcodec.threads import in_threads

SMALLEST_SIDE = 8  # no scale is computed below this side
_SCALES = 6
ALL_SCALES_SIDE = 113  # all scales are computed from this side on, with their own weights
_SSIM_CONSTANT = np.float32(0.0009)
_BACKGROUNDS = (0.1, 0.9)  # behind transparent pixels
_STRIP_PIXELS = 1 << 16  # size of the strips that a thread processes
_REACH = 4  # of the window, on each side of its centre
_LEAST_POWER = 1e-20  # minimum mean of fourth powers in the derivative of its root

# XYB: linear light is mixed to the absorbances of three types of cones, followed by cube roots.
_BIAS = 0.0037930732552754493
_ABSORBANCE = np.array(
    [
        [0.30, 1 - 0.078 - 0.30, 0.078],
        [0.23, 1 - 0.078 - 0.23, 0.078],
        [0.24342268924547819, 0.20476744424496821, 1 - 0.24342268924547819 - 0.20476744424496821],
    ],
    np.float32,
)

# Indexed by component (X, Y, B - Y), scale, norm (mean, 4-norm) and error (SSIM, ringing, blur).
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

    Both images are sRGB, uint8 or uint16 [H, W, C]: gray, gray and alpha, RGB, or RGB and alpha.
    Other shapes or types raise ValueError. With alpha it is the lower of the values over a dark and
    a bright background.
    """
    check_alike(original, decoded)
    if min(original.shape[:2]) < SMALLEST_SIDE:
        return None
    backgrounds = _BACKGROUNDS if original.shape[2] in (2, 4) else (0.0,)
    return min(_score(_Scales.of(original, decoded, at, is_kept=False).error) for at in backgrounds)


def ssimulacra2_slopes(original: Pixels, decoded: Pixels) -> Float32:
    """Returns the derivative of the weighted sum of norms with respect to the decoded samples.

    It is float32 [C, H, W]. SSIMULACRA2 is a decreasing function of this sum, whose own derivative
    is infinite for equal images. Both images are uint8 or uint16 [H, W, 1 or 3].
    """
    return ssimulacra2_and_slopes(original, decoded)[1]


def ssimulacra2_and_slopes(original: Pixels, decoded: Pixels) -> tuple[float, Float32]:
    """Returns SSIMULACRA2, and the result of `ssimulacra2_slopes`. No side may be below
    `SMALLEST_SIDE`.
    """
    scales = _Scales.of(original, decoded)
    slopes = scales.slopes(original, decoded)
    slopes *= _look_up(_slope_table(decoded.dtype.itemsize), decoded)
    return _score(scales.error), slopes if decoded.shape[2] == 3 else np.sum(slopes, axis=0, keepdims=True)


def _score(error: float) -> float:
    error *= 0.9562382616834844
    error = 2.326765642916932 * error - 0.020884521182843837 * error**2 + 6.248496625763138e-05 * error**3
    return 100 - 10 * float(max(error, 0.0) ** 0.6276336467831387)


@dataclass(frozen=True)
class _Scales:
    """Errors of a decoded image at all scales.

    `means` are of the errors and of their fourth powers, [3, 2, 3] per scale. `images` are both in
    linear light, [2, 3, H, W], at each scale after the first, if they are kept.
    """

    means: tuple[Float64, ...]
    images: tuple[Float32, ...]

    @classmethod
    def of(cls, original: Pixels, decoded: Pixels, background: float = 0.0, is_kept: bool = True) -> _Scales:
        """Computes the scales of two images over a background in sRGB. If images are not kept,
        those of the second scale are computed strip by strip.
        """

        def light(rows: slice) -> tuple[Float32, Float32]:
            return _linear(original[rows], background), _linear(decoded[rows], background)

        def half_light(rows: slice) -> tuple[Float32, Float32]:
            first, second = light(slice(2 * rows.start, 2 * rows.stop))
            return halved(first), halved(second)

        size, rows_of = original.shape[:2], light
        means: list[Float64] = []
        images: list[Float32] = []
        while True:
            has_halves = is_kept or len(means) > 0
            scale_means, halves = _scale_errors(rows_of, size, has_halves)
            means.append(scale_means)
            if len(means) == _SCALES or min(size) < SMALLEST_SIDE:
                return cls(tuple(means), tuple(images))
            if is_kept:
                images.append(halves)
            size = -(-size[0] // 2), -(-size[1] // 2)
            rows_of = partial(_rows_of, halves) if has_halves else half_light

    @property
    def _weights(self) -> Float64:
        """Returns the weights [component, scale, norm, error]; small images use the first ones."""
        shape = len(_ABSORBANCE), len(self.means), 2, 3
        return _WEIGHTS[: prod(shape)].reshape(shape)

    @property
    def error(self) -> float:
        means = np.stack(self.means, axis=1)
        norms = np.stack([means[:, :, 0], means[:, :, 1] ** 0.25], axis=2)
        return float(np.sum(self._weights * norms))

    def slopes(self, original: Pixels, decoded: Pixels) -> Float32:
        """Returns the derivative of `error` with respect to the decoded image, [3, H, W]."""
        slopes: Float32 | None = None
        images = [(_linear(original, 0.0), _linear(decoded, 0.0)), *((x, y) for x, y in self.images)]
        for scale, (x, y) in reversed(list(enumerate(images))):
            grad_powers = np.maximum(self.means[scale][:, 1], _LEAST_POWER) ** -0.75 / 4
            error_weights = (
                self._weights[:, scale] * np.stack([np.ones_like(grad_powers), grad_powers], axis=1) / x[0].size
            )
            scale_slopes = _slopes(x, y, error_weights.astype(np.float32))
            if slopes is not None:
                _add_doubled(scale_slopes, slopes)
            slopes = scale_slopes
        assert slopes is not None
        return slopes


def _rows_of(images: Float32, rows: slice) -> tuple[Float32, Float32]:
    return images[0][:, rows], images[1][:, rows]


def _scale_errors(
    rows_of: Callable[[slice], tuple[Float32, Float32]], size: tuple[int, ...], has_halves: bool
) -> tuple[Float64, Float32]:
    """Returns the means at a scale, [3, 2, 3], and both images of the next scale, [2, 3, h, w], or
    none."""
    height, width = size
    halves = np.empty((2 * has_halves, 3, -(-height // 2), -(-width // 2)), np.float32)

    def measure(strip: tuple[slice, slice, slice]) -> Float64:
        around, inner, rows = strip
        original, decoded = rows_of(around)
        for image, half in zip((original, decoded), halves, strict=False):
            half[:, rows.start // 2 : -(-rows.stop // 2)] = halved(image[:, inner])
        return _sums(original, decoded, inner)

    sums = sum(in_threads(measure, list(_strips(height, width, _REACH))), np.zeros((3, 2, 3)))
    return sums / (height * width), halves


def _linear(pixels: Pixels, background: float) -> Float32:
    """Converts sRGB samples to linear light, [3, H, W], over a background in sRGB."""
    peak = np.float32(peak_value(8 * pixels.dtype.itemsize))
    colours = pixels.shape[2] - (pixels.shape[2] in (2, 4))
    if colours == pixels.shape[2]:
        return _look_up(_light_table(pixels.dtype.itemsize), pixels)
    samples = [pixels[:, :, min(c, colours - 1)] for c in range(3)]
    alpha = pixels[:, :, -1] / peak
    return np.stack([_light(alpha * (plane / peak) + (1 - alpha) * np.float32(background)) for plane in samples])


def _look_up_by_kernel(table: Float32, pixels: Pixels) -> Float32:
    height, width, channels = pixels.shape
    values, pixels = np.empty((3, height, width), dtype=np.float32), np.ascontiguousarray(pixels)
    for c in range(3):
        compiled.look_up_samples(
            table=table,
            pixels=pixels,
            channel=min(c, channels - 1),
            count=height * width,
            channels=channels,
            values=values[c],
        )
    return values


@by_kernels(_look_up_by_kernel)
def _look_up(table: Float32, pixels: Pixels) -> Float32:
    """Looks up each sample of a gray or RGB image in a table, [3, H, W]."""
    return np.stack([table[pixels[:, :, min(c, pixels.shape[2] - 1)]] for c in range(3)])


def _light(value: Floats) -> Float32:
    """Converts sRGB values in [0, 1] to linear light (IEC 61966-2-1)."""
    light: Float32 = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4).astype(np.float32)
    return light


@cache
def _light_table(item_bytes: int) -> Float32:
    peak = peak_value(8 * item_bytes)
    return _light(np.arange(peak + 1) / peak)


@cache
def _slope_table(item_bytes: int) -> Float32:
    """Returns the derivative of linear light with respect to samples, for each sample value."""
    peak = peak_value(8 * item_bytes)
    value = np.arange(peak + 1) / peak
    slope = np.where(value <= 0.04045, 1 / 12.92, 2.4 / 1.055 * ((value + 0.055) / 1.055) ** 1.4)
    return (slope / peak).astype(np.float32)


def _add_doubled(total: Float32, slopes: Float32) -> None:
    """Adds the derivative with respect to the input of `halved`, float32 [3, H, W], in place."""
    height, width = total.shape[1:]
    quarter = np.float32(0.25) * slopes
    if height % 2:
        quarter[:, -1] *= 2
    if width % 2:
        quarter[:, :, -1] *= 2
    for y, x in product(range(2), repeat=2):
        phase = total[:, y::2, x::2]
        phase += quarter[:, : phase.shape[1], : phase.shape[2]]


def _sums_by_kernel(original: Float32, decoded: Float32, rows: slice) -> Float64:
    sums = np.zeros((3, 2, 3))
    original, decoded = np.ascontiguousarray(original), np.ascontiguousarray(decoded)
    compiled.ssimulacra2_sums(strip=_compared_rows(original, decoded, rows), sums=sums)
    return sums


@by_kernels(_sums_by_kernel)
def _sums(original: Float32, decoded: Float32, rows: slice) -> Float64:
    """Returns sums over rows of the three errors and of their fourth powers, [3, 2, 3]."""
    sums = np.zeros((3, 2, 3))
    for c, (x, y) in enumerate(zip(_xyb(original), _xyb(decoded), strict=True)):
        sums[c] += [[np.sum(e[rows] ** n, dtype=np.float64) for e in _Errors.of(x, y).values] for n in (1, 4)]
    return sums


def _slopes(original: Float32, decoded: Float32, error_weights: Float32) -> Float32:
    """Returns the derivative of the errors with respect to linear light, float32 [3, H, W]."""
    slopes = np.empty_like(decoded)
    height, width = original.shape[1:]

    def of_strip(rows: slice) -> None:
        compared = _compared_rows(original, decoded, rows)
        compiled.ssimulacra2_gradient(strip=compared, error_weights=error_weights, gradient=slopes)

    in_threads(of_strip, [rows for _, _, rows in _strips(height, width, 2 * _REACH)])
    return slopes


def _compared_rows(original: Float32, decoded: Float32, rows: slice) -> ComparedRows:
    height, width = original.shape[1:]
    return ComparedRows(
        original=original,
        decoded=decoded,
        height=height,
        width=width,
        first_row=rows.start,
        last_row=rows.stop,
        absorbance=_ABSORBANCE,
        bias=_BIAS,
        bias_root=float(np.cbrt(_BIAS)),
        taps=_taps(),
        constant=float(_SSIM_CONSTANT),
    )


def _strips(height: int, width: int, margin: int) -> Iterator[tuple[slice, slice, slice]]:
    """Yields strips: the rows with a margin, the strip among these, the strip in the image."""
    count = max(2, _STRIP_PIXELS // width // 2 * 2)  # even, for `halved`
    for first in range(0, height, count):
        last = min(height, first + count)
        top = max(0, first - margin)
        yield slice(top, last + margin), slice(first - top, last - top), slice(first, last)


@dataclass(frozen=True)
class _Errors:
    """Errors of one component of two images [H, W], with intermediate results."""

    x: Float32
    y: Float32
    mean_x: Float32
    mean_y: Float32
    variances: Float32
    luminance: Float32
    structure: Float32
    edge: Float32

    @classmethod
    def of(cls, x: Float32, y: Float32) -> _Errors:
        mean_x, mean_y, mean_xx, mean_yy, mean_xy = (_blurred(plane) for plane in (x, y, x * x, y * y, x * y))
        variances = (mean_xx - mean_x * mean_x) + (mean_yy - mean_y * mean_y) + _SSIM_CONSTANT
        structure = (2 * (mean_xy - mean_x * mean_y) + _SSIM_CONSTANT) / variances
        return cls(x, y, mean_x, mean_y, variances, 1 - (mean_x - mean_y) ** 2, structure, 1 + np.abs(x - mean_x))

    @property
    def values(self) -> tuple[Float32, Float32, Float32]:
        """Returns the errors: SSIM, edges added in y, and edges lost in y."""
        edges = (1 + np.abs(self.y - self.mean_y)) / self.edge - 1
        return np.maximum(1 - self.luminance * self.structure, 0), np.maximum(edges, 0), np.maximum(-edges, 0)


def _xyb(light: Float32) -> tuple[Float32, Float32, Float32]:
    """Converts linear light [3, H, W] to XYB, with B - Y instead of B, about in 0..1."""
    mixed = np.tensordot(_ABSORBANCE, light, 1) + np.float32(_BIAS)
    long, medium, short = np.cbrt(np.maximum(mixed, 0)) - np.float32(np.cbrt(_BIAS))
    x, y = (long - medium) / 2, (long + medium) / 2
    return 14 * x + np.float32(0.42), y + np.float32(0.01), (short - y) + np.float32(0.55)


@cache
def _taps() -> Float32:
    """Returns the window, five of nine taps from the centre, close to a Gaussian of deviation 1.5.

    Source: Charalampidis, "Recursive implementation of the Gaussian filter using truncated cosine
    functions", 2016, equations 37 to 56.
    """
    deviation, radius = 1.5, _REACH + 1
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
    """Filters a plane [H, W] with the window. Samples outside the plane are zeros."""
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
