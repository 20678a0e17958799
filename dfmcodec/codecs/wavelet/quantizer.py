"""Quantisation: the step of each band, and coefficients from symbols.

The q_step of an image is in 1/64 code values, for a coefficient whose synthesis function has norm
1. The step of each band follows from it. A symbol represents a multiple of its band's step: a point
of one of the trellis's quantisers; see `trellis`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import as_strided

from dfmcodec._types import Int32
from dfmcodec.codecs.wavelet.transform import LOW_NORMS, MAX_UNITS, NORM_UNIT, synthesise_level
from dfmcodec.kernels import by_kernels, compiled
from dfmcodec.threads import in_threads

Q_STEP_UNIT = 64  # the q_step of one code value
MAX_STEP = (1 << 16) - 1  # the largest q_step
FINE = 64  # dequantised values are integer multiples of 1/64 of the band's step
_STEP_BITS = 8  # the step of a band has 8 more fractional bits than units


def band_step(q_step: int, norm: int) -> int:
    """Returns the step of a band in 2^-8 units, at least 1, for the q_step of the image in 1/64
    code values and the norm of the band's synthesis functions; see `BAND_NORMS` and `LOW_NORMS`.
    """
    return max(1, (q_step * (NORM_UNIT << _STEP_BITS) + norm // 2) // norm)


def dequantize_units(fine: Int32, q_step: int) -> Int32:
    """Converts coefficients, int32, from 1/FINE of their band's step to units. `q_step` is the step
    of the band in 2^-8 units.
    """
    limit = (MAX_UNITS << _STEP_BITS + 6) // q_step
    units: Int32 = (np.clip(fine, -limit, limit) * np.int32(q_step) + (1 << _STEP_BITS + 5)) >> _STEP_BITS + 6
    return units


def _synthesise_fine_by_kernel(
    low: Int32, fine: Sequence[Int32], steps: Sequence[int], out: Int32 | None = None
) -> Int32:
    first, second, third = fine
    height, width = low.shape[1] + second.shape[1], low.shape[2] + first.shape[2]
    samples = np.empty((len(low), height, width), dtype=np.int32) if out is None else out
    stride = samples.strides[1] // samples.itemsize
    low = np.ascontiguousarray(low)

    def synthesise(channel: int) -> None:
        compiled.synthesise_channel(
            low=low[channel],
            band_0=first[channel],
            band_1=second[channel],
            band_2=third[channel],
            step_0=steps[0],
            step_1=steps[1],
            step_2=steps[2],
            height=height,
            width=width,
            stride=stride,
            samples=as_strided(samples[channel], ((height - 1) * stride + width,), (samples.itemsize,)),
        )

    in_threads(synthesise, range(len(low)))
    return samples


@by_kernels(_synthesise_fine_by_kernel)
def synthesise_fine(low: Int32, fine: Sequence[Int32], steps: Sequence[int], out: Int32 | None = None) -> Int32:
    """Inverts one decomposition level, given three orientations of coefficients in 1/FINE of their
    steps, which are in 2^-8 units. `low` is int32 [C, ceil(h/2), ceil(w/2)], units. Returns int32
    [C, h, w], units; see `transform.synthesise_level`. `out` receives it, if given: a part of an
    array whose rows are contiguous.
    """
    samples = synthesise_level(low, [dequantize_units(*band) for band in zip(fine, steps, strict=True)])
    if out is None:
        return samples
    out[...] = samples
    return out


def log_step(q_step: int) -> int:
    """Returns about 8 log2(q_step) - 72, in integers: 0 for a step of 8 code values."""
    octave = q_step.bit_length() - 1
    return 8 * octave + (8 * q_step >> octave) - 8 - 72


def low_step(q_step: int, levels: int) -> int:
    """Returns the step of the coarsest low-pass band, in 2^-8 units.

    This band has no trellis, so it does not need the finer step of the union of quantisers.
    """
    return 3 * band_step(q_step, LOW_NORMS[levels - 1]) // 2


def low_units(symbols: Int32, q_step: int, levels: int) -> Int32:
    """Returns the coarsest low-pass band in units from its symbols, int32 of the same shape."""
    limit = (1 << 30) // FINE
    return dequantize_units(np.clip(symbols, -limit, limit) * np.int32(FINE), low_step(q_step, levels))
