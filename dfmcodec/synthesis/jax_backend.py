"""The evaluation of the correcting machine and of fitted machines with JAX."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from dfmcodec._types import Float32
from dfmcodec.fourier.jax_backend import calls, use_compilation_cache
from dfmcodec.synthesis.fitted import EvaluateStrip, FittedMachine, machine_colours, shifted_squares, strip_colours
from dfmcodec.synthesis.machine import DeepFourierMachine, Evaluate, machine_residual


def jax_evaluator(machine: DeepFourierMachine) -> Evaluate:
    """Returns the machine as a function on features float32 [rows, columns, FEATURES].

    See `machine_residual`.
    """
    use_compilation_cache()

    @jax.jit
    def evaluate_block(features: jax.Array) -> jax.Array:
        with jax.default_matmul_precision("highest"):
            residuals: jax.Array = machine_residual(machine, features, jnp)
        return residuals

    def evaluate(features: Float32) -> Float32:
        rows, columns = (-(-side // 32) * 32 for side in features.shape[:2])  # few shapes, compiled once each
        missing = rows - features.shape[0], columns - features.shape[1]
        with calls():
            residuals = np.asarray(evaluate_block(np.pad(features, ((0, missing[0]), (0, missing[1]), (0, 0)))))
        return residuals[: residuals.shape[0] - missing[0], : residuals.shape[1] - missing[1]]

    return evaluate


def jax_strip_synthesis() -> EvaluateStrip:
    """Returns the function that evaluates rows of a fitted image; see `synthesis.fitted`."""
    use_compilation_cache()

    def cosine_less_one_and_sine(turns: jax.Array) -> tuple[jax.Array, jax.Array]:
        angles = turns * jnp.float32(2 * jnp.pi)
        return jnp.cos(angles) - 1, jnp.sin(angles)

    colours_of = partial(machine_colours, cosine_and_sine=cosine_less_one_and_sine, xp=jnp)

    @jax.jit
    def strip(machine: FittedMachine, finest: jax.Array, coarser: jax.Array) -> jax.Array:
        with jax.default_matmul_precision("highest"):
            colours: jax.Array = strip_colours(machine, finest, coarser, colours_of, shifted_squares(jnp), jnp)
        return colours

    def evaluate(machine: FittedMachine, finest: Float32, coarser: Float32) -> Float32:
        with calls():
            return np.asarray(strip(machine, finest, coarser))

    return evaluate
