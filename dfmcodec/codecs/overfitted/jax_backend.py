"""Evaluation of synthesis networks with JAX."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from dfmcodec._types import Float32
from dfmcodec.codecs.overfitted.synthesis import (
    EvaluateStrip,
    SynthesisNetwork,
    shifted_squares,
    strip_colours,
    synthesis_colours,
)
from dfmcodec.fourier.jax_backend import calls, use_compilation_cache


def jax_strip_synthesis() -> EvaluateStrip:
    """Returns the function that evaluates rows of an image; see `synthesis`."""
    use_compilation_cache()

    def cosine_less_one_and_sine(turns: jax.Array) -> tuple[jax.Array, jax.Array]:
        angles = turns * jnp.float32(2 * jnp.pi)
        return jnp.cos(angles) - 1, jnp.sin(angles)

    colours_of = partial(synthesis_colours, cosine_and_sine=cosine_less_one_and_sine, xp=jnp)

    @jax.jit
    def strip(synthesis: SynthesisNetwork, finest: jax.Array, coarser: jax.Array) -> jax.Array:
        with jax.default_matmul_precision("highest"):
            colours: jax.Array = strip_colours(synthesis, finest, coarser, colours_of, shifted_squares(jnp), jnp)
        return colours

    def evaluate(synthesis: SynthesisNetwork, finest: Float32, coarser: Float32) -> Float32:
        with calls():
            return np.asarray(strip(synthesis, finest, coarser))

    return evaluate
