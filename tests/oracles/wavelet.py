"""The analysis of the wavelet codec, in NumPy; see `dfmcodec.codecs.wavelet.transform`."""

from __future__ import annotations

import numpy as np

from dfmcodec._types import Float32
from dfmcodec.codecs.wavelet.transform import (
    _ALPHA,
    _BETA,
    _DELTA,
    _GAMMA,
    _LOW_GAIN,
    FRACTION_BITS,
    Bands,
    _after,
    _before,
    _here,
)


def analyse_level(planes: Float32) -> tuple[Float32, Bands]:
    """Splits planes [C, H, W] into a low-pass band and three orientations."""
    top, bottom = _split(planes.transpose(1, 0, 2))  # along columns
    low, first = _split(top.transpose(2, 1, 0))
    second, third = _split(bottom.transpose(2, 1, 0))
    low, first, second, third = (np.ascontiguousarray(band.transpose(1, 2, 0)) for band in (low, first, second, third))
    return low, (first, second, third)


def _split(x: Float32) -> tuple[Float32, Float32]:
    """Splits axis 0 [n, ...] into low [ceil(n/2), ...] of gain 1 and high [floor(n/2), ...]."""
    if len(x) == 1:
        return x.copy(), x[:0].copy()
    one = np.float32(1 << FRACTION_BITS)
    low, high = x[0::2].copy(), x[1::2].copy()
    high += np.float32(_ALPHA) / one * (low[: len(high)] + _after(low, len(high)))
    low += np.float32(_BETA) / one * (_before(high, len(low)) + _here(high, len(low)))
    high += np.float32(_GAMMA) / one * (low[: len(high)] + _after(low, len(high)))
    low += np.float32(_DELTA) / one * (_before(high, len(low)) + _here(high, len(low)))
    return low / (np.float32(_LOW_GAIN) / one), high
