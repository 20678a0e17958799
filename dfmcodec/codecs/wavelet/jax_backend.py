"""Evaluation of correction networks with JAX, pretrained or fitted."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from dfmcodec._types import Int8, Int32
from dfmcodec.codecs.wavelet.correction import CorrectionNetwork, Evaluate, correction_outputs
from dfmcodec.fourier.jax_backend import calls, use_compilation_cache


def jax_evaluator(correction: CorrectionNetwork, log_step: int) -> Evaluate:
    """Returns the network as a function of features, int8 [rows, columns, FEATURES].

    See `correction_outputs`. Sums of bytes are exact in float32.
    """
    use_compilation_cache()
    constants = correction.first_constants(log_step)

    @jax.jit
    def evaluate_block(features: jax.Array) -> jax.Array:
        with jax.default_matmul_precision("highest"):
            residuals: jax.Array = correction_outputs(correction, features, constants, jnp)
        return residuals

    def evaluate(features: Int8) -> Int32:
        rows, columns = (-(-side // 32) * 32 for side in features.shape[:2])  # few shapes, each compiled once
        missing = rows - features.shape[0], columns - features.shape[1]
        with calls():
            residuals = np.asarray(evaluate_block(np.pad(features, ((0, missing[0]), (0, missing[1]), (0, 0)))))
        return residuals[: residuals.shape[0] - missing[0], : residuals.shape[1] - missing[1]]

    return evaluate
