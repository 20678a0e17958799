"""Networks of the wavelet codec for tests."""

from __future__ import annotations

import numpy as np

from dfmcodec.codecs.wavelet.correction import BYTE, CELL_SAMPLES, FEATURES, CorrectionNetwork, FourierLayer


def random_correction(width, depth, seed=0):
    """A network of random bytes whose phases extend over several turns."""
    rng = np.random.default_rng(seed)

    def weights(*shape):
        return rng.integers(-BYTE, BYTE + 1, shape).astype(np.int8)

    def integers(low, high, count):
        return rng.integers(low, high, count).astype(np.int32)

    layers = tuple(
        FourierLayer(weights(n, 2 * width), integers(40, 400, n), integers(-40_000, 40_000, n))
        for n in (*[width] * (depth - 1), CELL_SAMPLES)
    )
    network = CorrectionNetwork(
        lift=weights(width, FEATURES),
        lift_factors=integers(100, 700, width),
        lift_constants=integers(-9000, 9000, width),
        lift_slopes=integers(-400, 400, width),
        layers=layers,
        bypass=weights(CELL_SAMPLES, width),
        bypass_factors=integers(50, 1500, CELL_SAMPLES),
    )
    network.check_exact()
    return network
