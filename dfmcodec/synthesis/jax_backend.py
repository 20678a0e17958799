"""The evaluation of the correcting machine with JAX."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from dfmcodec._types import Float32
from dfmcodec.fourier.jax_backend import calls, use_compilation_cache
from dfmcodec.synthesis.machine import DeepFourierMachine, Evaluate, machine_correction


def jax_evaluator(machine: DeepFourierMachine) -> Evaluate:
    """Returns the machine as a function on features float32 [rows, columns, FEATURES].

    See `machine_correction`.
    """
    use_compilation_cache()

    @jax.jit
    def evaluate_block(features: jax.Array) -> jax.Array:
        with jax.default_matmul_precision("highest"):
            corrections: jax.Array = machine_correction(machine, features, jnp)
        return corrections

    def evaluate(features: Float32) -> Float32:
        rows, columns = (-(-side // 32) * 32 for side in features.shape[:2])  # few shapes, compiled once each
        missing = rows - features.shape[0], columns - features.shape[1]
        with calls():
            corrections = np.asarray(evaluate_block(np.pad(features, ((0, missing[0]), (0, missing[1]), (0, 0)))))
        return corrections[: corrections.shape[0] - missing[0], : corrections.shape[1] - missing[1]]

    return evaluate
